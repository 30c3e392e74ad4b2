"""Saliency map to mask: the interface of all thresholds, and those that look at one map or one clip."""

from abc import ABC, abstractmethod
from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from vsalient.errors import OptionError
from vsalient.types import MaskArray, SaliencyArray

IndexedMask = tuple[int, MaskArray]
"""A frame's index and its mask."""

_CONSTANT_LEVEL = 0.5
_CONSTANT_SPREAD = 1e-6


class Threshold(ABC):
    """Turns a stream of saliency maps into a stream of masks, one for each map and in the same order.

    An object serves one sequence; `fresh` makes the next one.

    Attributes:
        spec: the text this threshold was made from, such as "adaptive".
        per_frame: a map's mask depends on that map alone, and `push` answers at once.
    """

    spec: str
    per_frame: bool = False

    @abstractmethod
    def push(self, index: int, saliency: SaliencyArray) -> list[IndexedMask]:
        """Take the map of frame `index`, (H, W) in [0, 1]; return the masks that are now certain."""

    def finish(self) -> Iterable[IndexedMask]:
        """Return the masks still held back, once; the stream is then over."""
        return []

    @abstractmethod
    def fresh(self, sequence: str | None = None) -> "Threshold":
        """Return an unused threshold with the same settings, for the sequence of this name."""


class FrameThreshold(Threshold):
    """A threshold that sees one map at a time: `mask = saliency >= level(saliency)`.

    A map without contrast (one value everywhere) has no statistics to go by: it is all object when that
    value is at least 0.5, and empty otherwise. Taken literally, `map >= mean + 0` would call an all-zero map
    all object.
    """

    per_frame = True

    @abstractmethod
    def level(self, saliency: SaliencyArray) -> float:
        """Return the threshold for this map."""

    def binarise(self, saliency: SaliencyArray) -> MaskArray:
        """Return the (H, W) bool mask of one (H, W) map."""
        mask: MaskArray = saliency >= np.float32(self.level(saliency))
        return mask

    __call__ = binarise

    def push(self, index: int, saliency: SaliencyArray) -> list[IndexedMask]:
        """Return this frame's mask."""
        return [(index, self.binarise(saliency))]

    def fresh(self, sequence: str | None = None) -> Threshold:
        """Return itself: nothing is remembered between maps."""
        return self


class FixedThreshold(FrameThreshold):
    """The same level for every map."""

    def __init__(self, value: float) -> None:
        """Take the level, in [0, 1].

        Raises:
            OptionError: the level is outside [0, 1].
        """
        if not 0.0 <= value <= 1.0:
            raise OptionError(f"Threshold {value:g} is outside 0 to 1; give a probability, for example fixed:0.5.")
        self.value = value
        self.spec = f"fixed:{value:g}"

    def level(self, saliency: SaliencyArray) -> float:
        """Return the fixed level."""
        return self.value


class AdaptiveThreshold(FrameThreshold):
    """Mean plus population standard deviation of the map (dsrfcn3d §3.1: θ = μ + η)."""

    spec = "adaptive"

    def level(self, saliency: SaliencyArray) -> float:
        """Return μ + η of this map."""
        mean, deviation = cv2.meanStdDev(saliency)
        return _adaptive_level(float(mean[0, 0]), float(deviation[0, 0]))


class OtsuThreshold(FrameThreshold):
    """The level that best parts the map's 256-bin histogram in two (Otsu 1979)."""

    spec = "otsu"

    def level(self, saliency: SaliencyArray) -> float:
        """Return the lower edge of the upper class, between two of the 256 grey levels."""
        grey = quantise(saliency)
        low, high, _, _ = cv2.minMaxLoc(grey)
        if low == high:
            return _CONSTANT_LEVEL
        best, _ = cv2.threshold(grey, 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
        return (float(best) + 0.5) / 255.0


class ClipAdaptiveThreshold(Threshold):
    """Mean plus standard deviation over all maps of a clip (dsrfcn3d §3.1, read as one saliency voxel block).

    Clips are consecutive blocks of `length` maps without overlap; the last one may be shorter. A mask comes
    out when its block is full, so at most `length` maps are held.
    """

    def __init__(self, length: int) -> None:
        """Take the clip's length in frames.

        Raises:
            OptionError: the length is not positive.
        """
        if length < 1:
            raise OptionError(f"A clip of {length} frames is not possible; give 1 or more.")
        self.length = length
        self.spec = "adaptive"
        self._held: list[tuple[int, SaliencyArray]] = []

    def push(self, index: int, saliency: SaliencyArray) -> list[IndexedMask]:
        """Hold the map; return the whole clip's masks when this map completes it."""
        self._held.append((index, saliency))
        return self.finish() if len(self._held) == self.length else []

    def finish(self) -> list[IndexedMask]:
        """Return the masks of the maps that are held."""
        held, self._held = self._held, []
        if not held:
            return []
        moments = [cv2.meanStdDev(saliency) for _, saliency in held]
        means = np.array([float(mean[0, 0]) for mean, _ in moments])
        squares = np.array([float(deviation[0, 0]) ** 2 for _, deviation in moments]) + means**2
        mean = float(means.mean())
        deviation = float(np.sqrt(max(float(squares.mean()) - mean**2, 0.0)))
        level = np.float32(_adaptive_level(mean, deviation))
        return [(index, saliency >= level) for index, saliency in held]

    def fresh(self, sequence: str | None = None) -> Threshold:
        """Return an unused threshold with the same clip length."""
        return ClipAdaptiveThreshold(self.length)


def quantise(saliency: SaliencyArray) -> NDArray[np.uint8]:
    """Return the map as (H, W) uint8 grey levels, `round(255 × map)`: what a PNG of it holds."""
    return np.asarray(cv2.convertScaleAbs(saliency, alpha=255.0), dtype=np.uint8)


def _adaptive_level(mean: float, deviation: float) -> float:
    return _CONSTANT_LEVEL if deviation < _CONSTANT_SPREAD else mean + deviation
