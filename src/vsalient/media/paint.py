"""Saliency as pictures: gray levels, a tint with a contour, a heat map, a cut-out."""

import cv2
import numpy as np
from numpy.typing import NDArray

from vsalient.types import Pixels, SaliencyArray

Color = tuple[int, int, int]
"""Red, green, blue, 0-255."""

TINT: Color = (255, 45, 85)
"""The overlay's colour: rare in nature, so it reads on grass, water, skin and asphalt."""

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


def heat_table() -> NDArray[np.uint8]:
    """(256, 1, 3) RGB colour table of the heat map, dark to bright."""
    stops = np.array(_HEAT_STOPS, np.float32)
    at = np.linspace(0, len(stops) - 1, 256)
    channels = [np.interp(at, np.arange(len(stops)), stops[:, c]) for c in range(3)]
    return np.round(np.stack(channels, axis=-1)).astype(np.uint8)[:, None]


class Tint:
    """The frame with its object tinted, a contour around it and the rest dimmed.

    Args:
        color: of the object.
        strength: how much of the colour covers the object, 0 to 1.
        dim: how much the background is darkened, 0 to 1.
        contour: draw a line where the saliency crosses one half.
    """

    def __init__(self, color: Color = TINT, *, strength: float = 0.4, dim: float = 0.35, contour: bool = True) -> None:
        self._color, self._strength, self._dim, self._contour = color, strength, dim, contour
        self._line = tuple(round(c + (255 - c) * 0.35) for c in color)

    def __call__(self, pixels: Pixels, saliency: SaliencyArray) -> Pixels:
        """Paint one frame; (H, W, 3) uint8."""
        keep = (1 - self._dim) + (self._dim - self._strength) * saliency
        cover = self._strength * saliency
        result = np.empty_like(pixels)
        for channel, value in enumerate(self._color):
            mixed = cv2.multiply(pixels[:, :, channel], keep, dtype=cv2.CV_32F)
            result[:, :, channel] = cv2.convertScaleAbs(cv2.scaleAdd(cover, float(value), mixed))
        if self._contour:
            inside = (saliency >= 0.5).astype(np.uint8)
            thickness = max(1, round(min(pixels.shape[:2]) / 240))
            # An object that leaves the picture goes on outside: no line along the picture's own border.
            beyond = thickness + 1
            around = cv2.copyMakeBorder(inside, beyond, beyond, beyond, beyond, cv2.BORDER_REPLICATE)
            lines, _ = cv2.findContours(around, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(result, lines, -1, self._line, thickness, cv2.LINE_AA, offset=(-beyond, -beyond))
        return result


class Heat:
    """The frame in gray under a heat map: the more salient, the more the colour covers.

    Args:
        strength: how much of the colour covers where saliency is 1, 0 to 1; half as much where it is 0.
    """

    def __init__(self, *, strength: float = 0.75) -> None:
        self._strength = strength
        self._table = heat_table()

    def __call__(self, pixels: Pixels, saliency: SaliencyArray) -> Pixels:
        """Paint one frame; (H, W, 3) uint8."""
        colors = cv2.applyColorMap(to_gray(saliency), self._table)
        gray = cv2.cvtColor(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        cover = (0.5 + 0.5 * saliency) * np.float32(self._strength)
        return np.asarray(cv2.blendLinear(gray, colors, 1 - cover, cover), np.uint8)


def cut_out(pixels: Pixels, saliency: SaliencyArray, color: Color) -> Pixels:
    """The object on a plain colour, mixed by its probability; (H, W, 3) uint8."""
    plain = np.empty_like(pixels)
    plain[:] = color
    return np.asarray(cv2.blendLinear(pixels, plain, saliency, 1 - saliency), np.uint8)


def with_alpha(pixels: Pixels, saliency: SaliencyArray) -> NDArray[np.uint8]:
    """(H, W, 4) RGBA, not premultiplied, the probability as alpha."""
    return np.dstack([pixels, to_gray(saliency)])
