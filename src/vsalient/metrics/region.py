"""Region similarity J: the intersection over union of two masks (DAVIS, Perazzi et al., CVPR 2016, section 4)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vsalient.metrics.arrays import BINARISE_AT, as_mask, as_truth, as_void, same_shape
from vsalient.metrics.histograms import JointHistogram


def jaccard(prediction: NDArray[Any], truth: NDArray[Any], void: NDArray[Any] | None = None) -> float:
    """Return J in [0, 1] of a predicted mask; two empty masks score 1.

    Args:
        prediction: (H, W) mask: bool, a 0/1 label image, or a soft map (8-bit, foreground from 128 on).
        truth: (H, W) ground truth: bool, a 0/1 label image, or 8-bit with foreground above 128.
        void: (H, W) pixels that count for nothing, or None.

    Raises:
        DataError: the arrays do not have one size.
    """
    mask, reference = as_mask(prediction), as_truth(truth)
    same_shape(mask.shape, reference.shape, "predicted mask", "ground truth")
    ignored = as_void(void, reference.shape)
    if ignored is not None:
        mask, reference = mask & ~ignored, reference & ~ignored
    return _ratio(int(np.count_nonzero(mask & reference)), int(np.count_nonzero(mask | reference)))


def jaccard_of_histogram(histogram: JointHistogram, level: int = BINARISE_AT) -> float:
    """Return J of the map binarised at `level` and above."""
    foreground = histogram.foreground
    inside = int(foreground[level:].sum())
    return _ratio(inside, int(foreground.sum()) + int(histogram.background[level:].sum()))


def _ratio(intersection: int, union: int) -> float:
    return intersection / union if union else 1.0
