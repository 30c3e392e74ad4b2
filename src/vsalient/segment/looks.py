"""How objects look: their colours as shares of bins, and how alike two of them are."""

import cv2
import numpy as np
from numpy.typing import NDArray

from vsalient.segment.regions import Labels
from vsalient.types import Frame, Pixels, SaliencyArray

_LOOKS_SIDE = 240  # about the shorter side that colours are counted at
_BINS = (6, 12, 12)  # of lightness, a and b
_FEWEST = 16  # pixels of which colours say something

ColorShares = NDArray[np.float32]
"""The share of an object's pixels in each bin of colour."""


def pictured(frame: Frame, saliency: SaliencyArray) -> Pixels | None:
    """The frame's pixels, unless they are the map once more, whose levels tell nothing of colours."""
    levels = np.rint(saliency[::16, ::16] * np.float32(255)).astype(np.uint8)
    return None if np.array_equal(levels, frame.pixels[::16, ::16, 1]) else frame.pixels


class Colors:
    """The frame's colours, counted in bins on a coarser grid."""

    def __init__(self, pixels: Pixels) -> None:
        self.pixels = pixels
        self.step = max(1, min(pixels.shape[:2]) // _LOOKS_SIDE)
        self._coarse = bins_of(pixels[:: self.step, :: self.step])

    def looks(self, labels: Labels, count: int) -> dict[int, ColorShares]:
        """Label -> the share of its pixels in each bin, for labels from 1 to below `count` with enough of them."""
        size = int(np.prod(_BINS))
        coarse = labels[:: self.step, :: self.step]
        inside = coarse > 0
        numbers, bins = coarse[inside], self._coarse[inside]
        order = np.argsort(numbers, kind="stable")
        present, starts = np.unique(numbers[order], return_index=True)
        found = {}
        for number, mine in zip(present, np.split(bins[order], starts)[1:], strict=True):
            if number < count and len(mine) >= _FEWEST:
                found[int(number)] = _lent(np.bincount(mine, minlength=size) / len(mine))
        return found


def bins_of(pixels: Pixels) -> Labels:
    """(H, W) the bin of each pixel's colour."""
    lab = cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2LAB)
    light, a, b = (_BIN_TABLES[k][lab[..., k]] for k in range(3))
    return np.asarray(light + a + b, np.int32)


def _tables() -> list[NDArray[np.int32]]:
    levels = np.arange(256)
    # Most of what is filmed lies in the middle half of a and b.
    hues = [np.clip((levels - 64) * count // 128, 0, count - 1) for count in _BINS[1:]]
    light = levels * _BINS[0] // 256
    steps = (light * _BINS[1] * _BINS[2], hues[0] * _BINS[2], hues[1])
    return [step.astype(np.int32) for step in steps]


_BIN_TABLES = _tables()


def _lent(shares: NDArray[np.float64]) -> ColorShares:
    """Each bin lent in part to its neighbours, so that a shade more is not another colour."""
    cube = shares.reshape(_BINS)
    for axis in range(3):
        ends = [(1, 1) if k == axis else (0, 0) for k in range(3)]
        wide = np.pad(cube, ends, mode="edge")
        cube = 0.5 * cube + 0.25 * (np.roll(wide, 1, axis) + np.roll(wide, -1, axis))[_inner(axis)]
    return np.asarray(cube.reshape(-1) / cube.sum(), np.float32)


def _inner(axis: int) -> tuple[slice, ...]:
    return tuple(slice(1, -1) if k == axis else slice(None) for k in range(3))


def similarity(first: ColorShares, second: ColorShares) -> float:
    """How much two shares of colours agree, 0 to 1 (Bhattacharyya)."""
    return float(np.sqrt(first * second).sum())
