"""Painters: a result as the picture that a video or a PNG shows."""

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vsalient.errors import OptionError
from vsalient.media.hdr import NAMES, from_sdr
from vsalient.outputs.looks import TINT, Color
from vsalient.types import Pixels, Result, SaliencyArray

Painter = Callable[[Result], NDArray[Any]]
"""A result -> (H, W) gray, (H, W, 3) RGB or (H, W, 4) RGBA; uint8, or uint16 for deep outputs."""

# Saliency 0 … 1 in even steps, CIE L* rising evenly from 2 to 95 so that equal steps look equal: black, indigo, violet,
# rose, orange, pale yellow.
_HEAT_STOPS: tuple[Color, ...] = (
    (4, 4, 20),
    (40, 11, 84),
    (101, 21, 110),
    (159, 42, 99),
    (212, 72, 66),
    (245, 125, 21),
    (250, 193, 39),
    (252, 255, 164),
)


def to_gray(saliency: SaliencyArray) -> NDArray[np.uint8]:
    """(H, W) probability to 0-255, rounded."""
    return np.asarray(cv2.convertScaleAbs(saliency, alpha=255.0), np.uint8)


def gray(result: Result) -> NDArray[np.uint8]:
    """The map as gray levels, (H, W)."""
    return to_gray(result.saliency)


def black_and_white(result: Result) -> NDArray[np.uint8]:
    """The mask as 0 and 255, (H, W)."""
    return result.mask.astype(np.uint8) * np.uint8(255)


def heat_table() -> NDArray[np.uint8]:
    """(256, 1, 3) RGB colour table of the heat map, dark to bright."""
    stops = np.array(_HEAT_STOPS, np.float32)
    at = np.linspace(0, len(stops) - 1, 256)
    channels = [np.interp(at, np.arange(len(stops)), stops[:, c]) for c in range(3)]
    return np.round(np.stack(channels, axis=-1)).astype(np.uint8)[:, None]


def deep_pixels(result: Result) -> NDArray[np.uint16]:
    """A frame's picture as its source codes it, (H, W, 3) uint16.

    Raises:
        OptionError: it was not asked for when the source was opened.
    """
    if result.frame.deep is None:
        raise OptionError("10 bits need a film: its frames must be read as they are coded")
    return result.frame.deep


def coded(color: Color, transfer: int) -> tuple[float, ...]:
    """A colour as a source of this transfer function codes it, 0 to 65535."""
    values = np.array(color) / 255
    return tuple((65535 * (from_sdr(values, transfer) if transfer in NAMES else values)).tolist())


class Tint:
    """The frame with its object tinted, a line where it begins and the rest darkened.

    Args:
        color: of the object.
        strength: how much of the colour covers the object, 0 to 1.
        dim: how much the background is darkened, 0 to 1.
        transfer: paint the frames' deep pictures, whose transfer function this is.
    """

    def __init__(
        self, color: Color = TINT, *, strength: float = 0.4, dim: float = 0.35, transfer: int | None = None
    ) -> None:
        self._strength, self._dim, self._deep = strength, dim, transfer is not None
        red, green, blue = (round(c + (255 - c) * 0.35) for c in color)
        self._color: tuple[float, ...] = color
        self._line: tuple[float, ...] = red, green, blue
        if transfer is not None:
            self._color, self._line = coded(color, transfer), coded((red, green, blue), transfer)

    def __call__(self, result: Result) -> NDArray[Any]:
        """Paint one frame; (H, W, 3) uint8, or uint16 of deep pictures."""
        pixels: NDArray[Any] = deep_pixels(result) if self._deep else result.frame.pixels
        saliency = result.cover
        keep = (1 - self._dim) + (self._dim - self._strength) * saliency
        cover = self._strength * saliency
        painted = np.empty_like(pixels)
        for channel, value in enumerate(self._color):
            mixed = cv2.multiply(pixels[:, :, channel], keep, dtype=cv2.CV_32F)
            mixed = cv2.scaleAdd(cover, float(value), mixed)
            painted[:, :, channel] = np.rint(mixed) if self._deep else cv2.convertScaleAbs(mixed)
        inside = (saliency >= 0.5).astype(np.uint8)
        thickness = max(1, round(min(pixels.shape[:2]) / 240))
        # An object that leaves the picture goes on outside: no line along the picture's own border.
        beyond = thickness + 1
        around = cv2.copyMakeBorder(inside, beyond, beyond, beyond, beyond, cv2.BORDER_REPLICATE)
        lines, _ = cv2.findContours(around, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        if not self._deep:
            cv2.drawContours(painted, lines, -1, self._line, thickness, cv2.LINE_AA, offset=(-beyond, -beyond))
            return painted
        # OpenCV smooths lines in 8 bits alone: how much of each pixel the line takes, then.
        drawn = np.zeros_like(inside)
        cv2.drawContours(drawn, lines, -1, 255, thickness, cv2.LINE_AA, offset=(-beyond, -beyond))
        at = drawn > 0
        share = drawn[at, None] * np.float32(1 / 255)
        painted[at] = np.rint(painted[at] + (np.array(self._line, np.float32) - painted[at]) * share)
        return painted


class Heat:
    """The frame in gray under a heat map: the more salient, the more the colour covers.

    Args:
        strength: how much of the colour covers where saliency is 1, 0 to 1; half as much where it is 0.
    """

    def __init__(self, *, strength: float = 0.75) -> None:
        self._strength = strength
        self._table = heat_table()

    def __call__(self, result: Result) -> Pixels:
        """Paint one frame; (H, W, 3) uint8."""
        pixels, saliency = result.frame.pixels, result.cover
        colors = cv2.applyColorMap(to_gray(saliency), self._table)
        gray = cv2.cvtColor(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        cover = (0.5 + 0.5 * saliency) * np.float32(self._strength)
        return np.asarray(cv2.blendLinear(gray, colors, 1 - cover, cover), np.uint8)
