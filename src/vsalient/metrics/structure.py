"""S-measure: how alike object and rest, and four quadrants, are in structure (Fan et al., ICCV 2017).

As PySODMetrics 1.6.2 computes it, from sums over histograms instead of over pixels. All sums are exact integers.
Where a quadrant is empty (the ground truth's centroid lies in the last row or column) the reference yields NaN;
here the quadrant has weight 0, and `has_empty_quadrant` says so.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vsalient.metrics.histograms import GRAY_LEVELS, Counts, JointHistogram, quadrant_slices
from vsalient.metrics.normalised import NormalisedFrame, normalised
from vsalient.metrics.sod import EPS

ALPHA = 0.5
"""Weight of the object term against the region term."""


def s_measure(
    saliency: NDArray[Any], truth: NDArray[Any], void: NDArray[Any] | None = None, *, alpha: float = ALPHA
) -> float:
    """Return S in [0, 1] of the min-max normalised map.

    Empty ground truth: 1 - mean of the map; all-foreground: its mean.

    Raises:
        DataError: the arrays do not fit each other.
    """
    return s_measure_of(normalised(saliency, truth, void), alpha=alpha)


def s_measure_of(frame: NormalisedFrame, *, alpha: float = ALPHA) -> float:
    """Return S of a normalised frame; NaN if every pixel is void."""
    foreground, background = frame.histogram.foreground, frame.histogram.background
    objects, pixels = int(foreground.sum()), int(foreground.sum() + background.sum())
    if pixels == 0:
        return float("nan")
    if objects in (0, pixels):
        mean = _sums(foreground + background, frame)[0] / (pixels * frame.scale)
        return 1.0 - mean if objects == 0 else mean
    share = objects / pixels
    object_score = share * _object_score(foreground, frame, inverted=False)
    object_score += (1 - share) * _object_score(background, frame, inverted=True)
    return max(0.0, alpha * object_score + (1 - alpha) * _region_score(frame, pixels))


def has_empty_quadrant(histogram: JointHistogram) -> bool:
    """Whether the split leaves a quadrant without pixels while there is an object: S is NaN in the reference."""
    objects = int(histogram.foreground.sum())
    if objects in (0, int(histogram.values.sum())):
        return False
    return bool((histogram.counts.sum(axis=(1, 2)) == 0).any())


def _sums(counts: Counts, frame: NormalisedFrame) -> tuple[int, int]:
    """Return the sums of the normalised values and of their squares, in units of 1 / scale and 1 / scale^2."""
    levels = GRAY_LEVELS - frame.offset
    return int(counts @ levels), int(counts @ (levels * levels))


def _object_score(counts: Counts, frame: NormalisedFrame, *, inverted: bool) -> float:
    pixels = int(counts.sum())
    total, squares = _sums(counts, frame)
    mean = total / (pixels * frame.scale)
    mean = 1 - mean if inverted else mean
    variance = (pixels * squares - total * total) / (pixels * (pixels - 1) * frame.scale**2) if pixels > 1 else 0.0
    return float(2 * mean / (mean**2 + 1 + variance**0.5 + EPS))


def _region_score(frame: NormalisedFrame, pixels: int) -> float:
    histogram = frame.histogram
    score = 0.0
    for quadrant, counts in enumerate(histogram.counts):
        size = int(counts.sum())
        if size:
            area = quadrant_slices(histogram.shape, histogram.split)[quadrant]
            score += size / pixels * _ssim(counts, frame, area)
    return score


def _ssim(counts: Counts, frame: NormalisedFrame, area: tuple[slice, slice]) -> float:
    objects = int(counts[1].sum())
    both = counts[0] + counts[1]
    size = int(both.sum())
    total, squares = _sums(both, frame)
    inside, _ = _sums(counts[1], frame)
    if size * squares == total * total and objects in (0, size):
        return _constant_ssim(both, frame, area)
    x, y = total / (size * frame.scale), objects / size
    below = size * (size - 1 + EPS)
    var_x = (size * squares - total * total) / frame.scale**2 / below
    var_y = (size * objects - objects * objects) / below
    covariance = (size * inside - total * objects) / frame.scale / below
    alpha = 4 * x * y * covariance
    beta = (x**2 + y**2) * (var_x + var_y)
    if alpha != 0:
        return alpha / (beta + EPS)
    return 1.0 if beta == 0 else 0.0


def _constant_ssim(counts: Counts, frame: NormalisedFrame, area: tuple[slice, slice]) -> float:
    """Return the score of a quadrant where map and ground truth are both constant.

    It is 1 by the formula. The reference, however, asks whether a variance is exactly 0, and its mean of n equal
    floats need not be that float: then it answers 0. To agree, the same mean of the same view is taken here.
    """
    value = float(frame.values[int(np.flatnonzero(counts)[0])])
    if value in (0.0, 1.0):
        return 1.0
    view = np.full(frame.histogram.shape, value)[area]
    return 1.0 if float(view.mean()) == value else 0.0
