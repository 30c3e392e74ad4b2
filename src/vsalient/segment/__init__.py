"""Saliency maps to object masks: thresholds, boundary snapping, dense CRF, clean-up, measures and run lengths of masks.

NumPy and OpenCV only; higra, for boundary snapping, is imported when it is used.
"""

from vsalient.segment.boundary import BoundarySnap
from vsalient.segment.cleanup import TemporalMedian, fill_holes, keep_largest, remove_specks
from vsalient.segment.contours import ContourDetector, GradientContours
from vsalient.segment.crf import DenseCrf
from vsalient.segment.objects import InstanceTracker
from vsalient.segment.segmenter import Cleanup, Segmenter
from vsalient.segment.thresholds import Threshold, parse_threshold

__all__ = [
    "BoundarySnap",
    "Cleanup",
    "ContourDetector",
    "DenseCrf",
    "GradientContours",
    "InstanceTracker",
    "Segmenter",
    "TemporalMedian",
    "Threshold",
    "fill_holes",
    "keep_largest",
    "parse_threshold",
    "remove_specks",
]
