"""A map as PySODMetrics sees it: min-max normalised, quantised again, with its adaptive threshold.

This normalisation belongs to the metrics F (`maxF`, `meanF`, `adpF`), S, E and wF alone. It exists so that their
numbers are those of the reference; the papers' own metrics do without it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vsalient.metrics.arrays import Map8, Mask, pair
from vsalient.metrics.histograms import Counts, JointHistogram, count

_TIE = 1e-9


@dataclass(frozen=True, slots=True)
class NormalisedFrame:
    """The counts of one frame after the reference's min-max.

    Attributes:
        histogram: the counts of the map before normalisation.
        low, high: smallest and largest grey value that occur.
        values: (256,) the normalised value in [0, 1] of each grey value low..high; a constant map is left alone.
        foreground, background: (256,) counts by the value quantised again, `uint8(value * 255)`.
        adaptive: (foreground, background) pixels at or above the adaptive threshold min(2 mean, 1).
    """

    histogram: JointHistogram
    low: int
    high: int
    values: NDArray[np.float64]
    foreground: Counts
    background: Counts
    adaptive: tuple[int, int]

    @property
    def scale(self) -> int:
        """Grey levels between 0 and 1 after normalisation."""
        return 255 if self.low == self.high else self.high - self.low

    @property
    def offset(self) -> int:
        """The grey level that becomes 0."""
        return 0 if self.low == self.high else self.low


def normalised(saliency: NDArray[Any], truth: NDArray[Any], void: NDArray[Any] | None = None) -> NormalisedFrame:
    """Count and normalise a frame.

    Raises:
        DataError: the arrays do not fit each other.
    """
    level, mask, ignored = pair(saliency, truth, void)
    return normalise(count(level, mask, ignored), level, ignored)


def normalise(histogram: JointHistogram, saliency: Map8, void: Mask | None) -> NormalisedFrame:
    """Normalise a counted frame; the map itself is looked at only where its threshold falls on one of its values."""
    foreground, background = histogram.foreground, histogram.background
    present = np.flatnonzero(foreground + background)
    low, high = (int(present[0]), int(present[-1])) if present.size else (0, 0)
    # The reference's own float operations in its own order, on 256 values instead of every pixel.
    values = np.arange(256) / 255
    if low != high:
        values = np.clip((values - values[low]) / (values[high] - values[low]), 0.0, 1.0)
    quantised = (values * 255).astype(np.uint8)
    chosen = values >= _adaptive_threshold(foreground + background, values, saliency, void)
    return NormalisedFrame(
        histogram=histogram,
        low=low,
        high=high,
        values=values,
        foreground=_regroup(foreground, quantised),
        background=_regroup(background, quantised),
        adaptive=(int(foreground[chosen].sum()), int(background[chosen].sum())),
    )


def _adaptive_threshold(counts: Counts, values: NDArray[np.float64], saliency: Map8, void: Mask | None) -> float:
    pixels = int(counts.sum())
    if not pixels:
        return 1.0
    threshold = 2.0 * float(counts @ values) / pixels
    # A sum over 256 counts and a sum over all pixels round differently. Where that could move a pixel across the
    # threshold, the mean is taken as the reference takes it.
    if bool((np.abs(values - threshold) < _TIE)[counts > 0].any()) or abs(threshold - 1.0) < _TIE:
        plane = values[saliency] if void is None else values[saliency][~void]
        threshold = 2.0 * float(plane.mean())
    return min(threshold, 1.0)


def _regroup(counts: Counts, quantised: NDArray[np.uint8]) -> Counts:
    # Weights below 2^53 are exact as floats.
    return np.bincount(quantised, weights=counts, minlength=256).astype(np.int64)
