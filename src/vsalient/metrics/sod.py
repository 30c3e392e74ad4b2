"""F and E as PySODMetrics 1.6.2 computes them: at all 256 thresholds, and at the adaptive threshold.

F: Achanta et al., CVPR 2009, beta^2 = 0.3. E: Fan et al., IJCAI 2018. The maps are min-max normalised first
(`vsalient.metrics.normalised`). Curves run over t = 0..255 upwards; the reference's run downwards.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vsalient.metrics.histograms import Counts, at_least
from vsalient.metrics.normalised import NormalisedFrame, normalised
from vsalient.metrics.saliency import BETA2, Curve

EPS = float(np.spacing(1))
"""The reference's eps."""


def f_curve(saliency: NDArray[Any], truth: NDArray[Any], void: NDArray[Any] | None = None) -> Curve:
    """Return (256,) F of the normalised map at t = 0..255; its maximum is maxF, its mean meanF.

    An empty ground truth scores 0, as in the reference.
    """
    return f_curve_of(normalised(saliency, truth, void))


def adaptive_f(saliency: NDArray[Any], truth: NDArray[Any], void: NDArray[Any] | None = None) -> float:
    """Return adpF: F of the normalised map at min(2 mean, 1)."""
    return adaptive_f_of(normalised(saliency, truth, void))


def e_curve(saliency: NDArray[Any], truth: NDArray[Any], void: NDArray[Any] | None = None) -> Curve:
    """Return (256,) E of the normalised map at t = 0..255; its maximum is maxE, its mean meanE."""
    return e_curve_of(normalised(saliency, truth, void))


def adaptive_e(saliency: NDArray[Any], truth: NDArray[Any], void: NDArray[Any] | None = None) -> float:
    """Return adpE: E of the normalised map at min(2 mean, 1)."""
    return adaptive_e_of(normalised(saliency, truth, void))


def f_curve_of(frame: NormalisedFrame) -> Curve:
    """Return the F curve of a normalised frame; NaN if every pixel is void."""
    if _counts_nothing(frame):
        return np.full(256, np.nan)
    hits = at_least(frame.foreground)
    return _f(hits, hits + at_least(frame.background), int(hits[0]))


def adaptive_f_of(frame: NormalisedFrame) -> float:
    """Return adpF of a normalised frame; NaN if every pixel is void."""
    if _counts_nothing(frame):
        return float("nan")
    hits, misses = frame.adaptive
    return float(_f(np.array([hits]), np.array([hits + misses]), int(frame.foreground.sum()))[0])


def e_curve_of(frame: NormalisedFrame) -> Curve:
    """Return the E curve of a normalised frame; NaN if every pixel is void."""
    if _counts_nothing(frame):
        return np.full(256, np.nan)
    return _e(at_least(frame.foreground), at_least(frame.background), frame)


def adaptive_e_of(frame: NormalisedFrame) -> float:
    """Return adpE of a normalised frame; NaN if every pixel is void."""
    if _counts_nothing(frame):
        return float("nan")
    hits, misses = frame.adaptive
    return float(_e(np.array([hits]), np.array([misses]), frame)[0])


def _f(hits: Counts, chosen: Counts, pixels: int) -> Curve:
    precision = hits / np.maximum(chosen, 1)
    recall = hits / max(pixels, 1)
    above = (1 + BETA2) * precision * recall
    scores: Curve = above / np.where(above == 0, 1, BETA2 * precision + recall)
    return scores


def _counts_nothing(frame: NormalisedFrame) -> bool:
    return not (frame.foreground.any() or frame.background.any())


def _e(hits: Counts, misses: Counts, frame: NormalisedFrame) -> Curve:
    """Return E for masks with `hits` pixels on and `misses` off the object.

    The alignment of Fan et al. takes only four values, one for each pairing of predicted and true label.
    """
    objects = int(frame.foreground.sum())
    pixels = objects + int(frame.background.sum())
    chosen = hits + misses
    if objects == 0:
        aligned: NDArray[Any] = pixels - chosen
    elif objects == pixels:
        aligned = chosen
    else:
        prediction, truth = chosen / pixels, objects / pixels
        counts = np.stack((hits, misses, objects - hits, pixels - chosen - (objects - hits)))
        a = np.stack((1 - prediction, 1 - prediction, -prediction, -prediction))
        b = np.array((1 - truth, -truth, 1 - truth, -truth))[:, None]
        alignment = 2 * (a * b) / (a * a + b * b + EPS)
        aligned = ((alignment + 1) ** 2 / 4 * counts).sum(axis=0)
    return aligned / (pixels - 1 + EPS)
