"""Fixation-style metrics: CC (PLCC), NSS, AUC, sAUC, KL, SIM (conv3dnet section 3.1 and the MIT definitions).

Paper 2 takes the object mask as the positive set. In fixation mode the positives are fixation points, and CC, KL and
SIM compare with a fixation density map. Maps may be uint8 or floats of any scale. Undefined is NaN.
"""

import math
from math import nan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vsalient.errors import DataError
from vsalient.metrics.arrays import Mask, as_floats, as_truth, as_void, same_shape
from vsalient.metrics.histograms import GRAY_LEVELS, Counts, JointHistogram

MIT_EPS = 2.220446049250313e-16


def cc(saliency: NDArray[Any], reference: NDArray[Any], void: NDArray[Any] | None = None) -> float:
    """Return Pearson's correlation (PLCC) of a map with a mask or a density map; NaN if either is constant."""
    a, b = _two_maps(saliency, reference, void)
    if a.size == 0 or _constant(a) or _constant(b):
        return nan
    a, b = a - a.mean(), b - b.mean()
    return float((a @ b) / np.sqrt((a @ a) * (b @ b)))


def nss(saliency: NDArray[Any], positives: NDArray[Any], void: NDArray[Any] | None = None) -> float:
    """Return the mean of the map, standardised by its population deviation, over the positive pixels.

    NaN for a constant map and without positives.
    """
    values, chosen = _map_and_mask(saliency, positives, void)
    if _constant(values) or not bool(chosen.any()):
        return nan
    return float((values[chosen].mean() - values.mean()) / values.std())


def auc(
    saliency: NDArray[Any],
    positives: NDArray[Any],
    negatives: NDArray[Any] | None = None,
    void: NDArray[Any] | None = None,
) -> float:
    """Return the exact area under the ROC curve, ties at one half.

    Args:
        saliency: (H, W) map of any scale.
        positives: (H, W) mask: the object, or the fixation points.
        negatives: (H, W) mask, or counts a pixel; None takes every pixel that is no positive.
        void: (H, W) pixels to leave out, or None.

    Returns:
        The chance that a positive has more saliency than a negative; NaN without positives or negatives.
    """
    values, chosen = _map_and_mask(saliency, positives, void)
    if negatives is None:
        weights: NDArray[Any] = (~chosen).astype(np.int64)
    else:
        same_shape(negatives.shape, saliency.shape, "negatives", "saliency map")
        ignored = as_void(void, saliency.shape)
        weights = negatives.ravel() if ignored is None else negatives[~ignored]
        weights = (weights > 0).astype(np.int64) if weights.dtype == np.bool_ else weights.astype(np.int64)
        if weights.size and int(weights.min()) < 0:
            raise DataError("the negatives hold a count below 0; give a mask, or how often each pixel is one")
    levels, where = np.unique(values, return_inverse=True)
    where = where.ravel()
    on = np.bincount(where[chosen], minlength=levels.size)
    off = np.bincount(where, weights=weights, minlength=levels.size).astype(np.int64)
    return _auc(on, off)


def sauc(saliency: NDArray[Any], positives: NDArray[Any], negatives: NDArray[Any]) -> float:
    """Return the shuffled AUC: negatives are the fixations of other pictures, all of them, ties at one half.

    Args:
        saliency: (H, W) map of any scale.
        positives: (H, W) mask of this frame's fixations.
        negatives: (H, W) mask, or counts a pixel, of other frames' fixations. A pixel may be both.
    """
    return auc(saliency, positives, negatives)


def kl(saliency: NDArray[Any], density: NDArray[Any]) -> float:
    """Return the Kullback-Leibler divergence of a map from a fixation density map (MIT's KLdiv), 0 at best.

    Both are divided by their sums, an all-zero map stays; NaN for an all-zero density.
    """
    a, b = _two_maps(saliency, density, None)
    if not bool(b.any()):
        return nan
    a, b = _to_sum_one(a), _to_sum_one(b)
    return float(np.sum(b * np.log(MIT_EPS + b / (a + MIT_EPS))))


def sim(saliency: NDArray[Any], density: NDArray[Any]) -> float:
    """Return the histogram intersection of a map and a density map (MIT's similarity), 1 at best.

    Both are min-max normalised, then divided by their sums. An all-zero map scores 0; any other constant is NaN.
    """
    a, b = _two_maps(saliency, density, None)
    for values in (a, b):
        if _constant(values) and bool(values.any()):
            return nan
    return float(np.minimum(_to_sum_one(_stretch(a)), _to_sum_one(_stretch(b))).sum())


def cc_of_histogram(histogram: JointHistogram) -> float:
    """Return CC of a counted frame's map with its mask, from exact integer sums."""
    n, s, q, k, inside = _moments(histogram)
    spread, truth_spread = n * q - s * s, n * k - k * k
    if spread == 0 or truth_spread == 0:
        return nan
    return (n * inside - s * k) / (math.sqrt(spread) * math.sqrt(truth_spread))


def nss_of_histogram(histogram: JointHistogram) -> float:
    """Return NSS of a counted frame's map over its mask, from exact integer sums."""
    n, s, q, k, inside = _moments(histogram)
    spread = n * q - s * s
    if spread == 0 or k == 0:
        return nan
    return (n * inside - s * k) / (k * math.sqrt(spread))


def auc_of_histogram(histogram: JointHistogram) -> float:
    """Return the exact AUC of a counted frame's map against its mask."""
    return _auc(histogram.foreground, histogram.background)


def _auc(on: Counts, off: Counts) -> float:
    positives, negatives = int(on.sum()), int(off.sum())
    if positives == 0 or negatives == 0:
        return nan
    # Twice the number of ordered pairs, in integers: 2 for a negative below, 1 for a tie.
    below = np.cumsum(off) - off
    wins = int(on @ (2 * below + off))
    return wins / (2 * positives * negatives)


def _moments(histogram: JointHistogram) -> tuple[int, int, int, int, int]:
    """Return pixels, sum and sum of squares of the map, object pixels, and the map's sum over them."""
    foreground, values = histogram.foreground, histogram.values
    n, s, q = int(values.sum()), int(values @ GRAY_LEVELS), int(values @ (GRAY_LEVELS * GRAY_LEVELS))
    return n, s, q, int(foreground.sum()), int(foreground @ GRAY_LEVELS)


def _map_and_mask(
    saliency: NDArray[Any], positives: NDArray[Any], void: NDArray[Any] | None
) -> tuple[NDArray[np.float64], Mask]:
    values, chosen = as_floats(saliency, "saliency map"), as_truth(positives, what="mask of positives")
    same_shape(values.shape, chosen.shape, "saliency map", "mask of positives")
    ignored = as_void(void, values.shape)
    return (values.ravel(), chosen.ravel()) if ignored is None else (values[~ignored], chosen[~ignored])


def _two_maps(
    saliency: NDArray[Any], reference: NDArray[Any], void: NDArray[Any] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    a, b = as_floats(saliency, "saliency map"), as_floats(reference, "reference map")
    same_shape(a.shape, b.shape, "saliency map", "reference map")
    ignored = as_void(void, a.shape)
    return (a.ravel(), b.ravel()) if ignored is None else (a[~ignored], b[~ignored])


def _constant(values: NDArray[np.float64]) -> bool:
    return values.size == 0 or float(values.min()) == float(values.max())


def _to_sum_one(values: NDArray[np.float64]) -> NDArray[np.float64]:
    total = float(values.sum())
    return values / total if total else values


def _stretch(values: NDArray[np.float64]) -> NDArray[np.float64]:
    low, high = float(values.min()), float(values.max())
    return (values - low) / (high - low) if high > low else values
