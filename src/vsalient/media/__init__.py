"""Pixels in and out: videos, pictures and frame folders to frames; saliency to videos and PNGs."""

from vsalient.media.alpha_video import AlphaVideo
from vsalient.media.find import find_sources, open_source
from vsalient.media.foreground_video import ForegroundVideo
from vsalient.media.heatmap_video import HeatmapVideo
from vsalient.media.map_folder import MapFolder
from vsalient.media.mask_folder import MaskFolder
from vsalient.media.mask_video import MaskVideo
from vsalient.media.output import Output
from vsalient.media.outputs import OutputKind, check_output, open_output, suffixes
from vsalient.media.overlay_video import OverlayVideo
from vsalient.media.saliency_video import SaliencyVideo
from vsalient.media.source import Source, check_range, exact_rate

__all__ = [
    "AlphaVideo",
    "ForegroundVideo",
    "HeatmapVideo",
    "MapFolder",
    "MaskFolder",
    "MaskVideo",
    "Output",
    "OutputKind",
    "OverlayVideo",
    "SaliencyVideo",
    "Source",
    "check_output",
    "check_range",
    "exact_rate",
    "find_sources",
    "open_output",
    "open_source",
    "suffixes",
]
