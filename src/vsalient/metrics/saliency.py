"""MAE, precision, recall and F as the video papers define them (dsrfcn3d section 3.1, SCNN Eq. 11, STAN section 4).

No min-max anywhere: a map is compared at its 8-bit values, `map >= t` for t = 0..255. A precision without a single
pixel above the threshold, and a recall without a true pixel, are undefined: NaN here, skipped and counted by
`vsalient.metrics.aggregate`.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vsalient.metrics.arrays import as_floats, as_truth, as_void, same_shape
from vsalient.metrics.histograms import GRAY_LEVELS, Counts, JointHistogram, at_least, joint_histogram

Curve = NDArray[np.float64]
"""(256,) one value per threshold t = 0..255."""

BETA2 = 0.3
"""beta^2 of the F-measure in papers 1, 4 and 5: precision counts more."""


def mae(saliency: NDArray[Any], truth: NDArray[Any], void: NDArray[Any] | None = None) -> float:
    """Return the mean absolute error in [0, 1] between a map and its ground truth; floats are not rounded.

    Raises:
        DataError: the arrays do not fit each other.
    """
    if not np.issubdtype(saliency.dtype, np.floating):
        return mae_of_histogram(joint_histogram(saliency, truth, void))
    values, mask = as_floats(saliency, "saliency map"), as_truth(truth)
    same_shape(values.shape, mask.shape, "saliency map", "ground truth")
    error = np.abs(values - mask)
    ignored = as_void(void, mask.shape)
    return float(np.mean(error if ignored is None else error[~ignored]))


def mae_of_histogram(histogram: JointHistogram) -> float:
    """Return the MAE of a counted frame; NaN if every pixel is void."""
    pixels = int(histogram.values.sum())
    return absolute_error(histogram) / pixels if pixels else float("nan")


def absolute_error(histogram: JointHistogram) -> float:
    """Return the sum over all pixels of |map - truth|, for the MAE pooled over a data set."""
    wrong = int(histogram.background @ GRAY_LEVELS) + int(histogram.foreground @ (255 - GRAY_LEVELS))
    return wrong / 255.0


def precision_recall_curve(
    saliency: NDArray[Any], truth: NDArray[Any], void: NDArray[Any] | None = None
) -> tuple[Curve, Curve]:
    """Return (256,) precision and recall of `saliency >= t`, t = 0..255; NaN where undefined.

    Raises:
        DataError: the arrays do not fit each other.
    """
    return precision_recall_of_histogram(joint_histogram(saliency, truth, void))


def precision_recall_of_histogram(histogram: JointHistogram) -> tuple[Curve, Curve]:
    """Return the precision and recall curves of a counted frame."""
    hits = at_least(histogram.foreground)
    return _divide(hits, hits + at_least(histogram.background)), _divide(hits, np.broadcast_to(hits[0], 256))


def precision_recall_musigma(
    saliency: NDArray[Any], truth: NDArray[Any], void: NDArray[Any] | None = None
) -> tuple[float, float]:
    """Return precision and recall at the map's own threshold, mean + population standard deviation.

    NaN where undefined. Source: dsrfcn3d section 3.1, F-Adap.
    """
    return musigma_of_histogram(joint_histogram(saliency, truth, void))


def musigma_of_histogram(histogram: JointHistogram) -> tuple[float, float]:
    """Return precision and recall of a counted frame at mean + standard deviation of its map."""
    above = at_or_above_musigma(histogram.values)
    hits = int(histogram.foreground[above].sum())
    chosen = hits + int(histogram.background[above].sum())
    pixels = int(histogram.foreground.sum())
    return hits / chosen if chosen else float("nan"), hits / pixels if pixels else float("nan")


def at_or_above_musigma(values: Counts) -> NDArray[np.bool_]:
    """Return (256,) bool: which grey values are >= mean + standard deviation, decided in exact integers.

    With n pixels, sum s and sum of squares q: v >= s/n + sqrt(n q - s^2)/n, without a rounding that would make
    a constant or a two-valued map flip.
    """
    n, s, q = int(values.sum()), int(values @ GRAY_LEVELS), int(values @ (GRAY_LEVELS * GRAY_LEVELS))
    spread = n * q - s * s
    return np.array([n * v >= s and (n * v - s) ** 2 >= spread for v in range(256)])


def f_measure(precision: Any, recall: Any, beta2: float = BETA2) -> Any:
    """Return (1 + beta2) P R / (beta2 P + R), elementwise; 0 where both are 0, NaN where one is NaN."""
    p, r = np.asarray(precision, np.float64), np.asarray(recall, np.float64)
    below = beta2 * p + r
    f = np.divide((1.0 + beta2) * p * r, below, out=np.zeros_like(below), where=below != 0)
    return f if f.ndim else float(f)


def f_max(precision: Curve, recall: Curve, beta2: float = BETA2) -> float:
    """Return the largest F over the thresholds of two curves; NaN if none is defined."""
    scores = f_measure(precision, recall, beta2)
    return float(np.nanmax(scores)) if bool(np.isfinite(scores).any()) else float("nan")


def f1_pooled(foreground: Counts, background: Counts) -> float:
    """Return the largest F1 over all thresholds of pixels pooled over a whole data set (3DC-Seg's protocol).

    Args:
        foreground: (256,) counts of the saliency on the object, summed over all frames.
        background: (256,) the same off the object.
    """
    hits, misses = at_least(foreground), at_least(background)
    chosen_and_true = hits + misses + int(foreground.sum())
    scores = np.divide(2.0 * hits, chosen_and_true, out=np.zeros(256), where=chosen_and_true != 0)
    return float(scores.max()) if int(foreground.sum()) else float("nan")


def _divide(above: Counts, below: Counts) -> Curve:
    quotient: Curve = np.divide(above, below, out=np.full(256, np.nan), where=below != 0)
    return quotient
