"""Pixels in and out: videos, pictures and frame folders to frames; saliency to videos and PNGs."""

from vsalient.media.find import find_sources, open_source
from vsalient.media.source import Source

__all__ = ["Source", "find_sources", "open_source"]
