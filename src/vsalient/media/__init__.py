"""Pixels in: videos, pictures and frame folders to frames; and the video encoder that outputs share."""

from vsalient.media.find import find_sources, is_photo, open_source
from vsalient.media.source import Source, check_range, exact_rate

__all__ = ["Source", "check_range", "exact_rate", "find_sources", "is_photo", "open_source"]
