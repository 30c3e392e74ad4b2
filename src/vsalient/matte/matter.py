"""Saliency maps to mattes, frame by frame: alpha and the object's own colours."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vsalient.matte.foreground import own_colors
from vsalient.matte.grid import Grid, shrink_map, shrink_pixels
from vsalient.matte.options import MatteOptions
from vsalient.matte.refine import refine
from vsalient.matte.shape import choke, feather, remove_small, stretch
from vsalient.matte.steady import Steady
from vsalient.types import Pixels, SaliencyArray


@dataclass(frozen=True, slots=True, eq=False)
class Matte:
    """One frame's cut-out, straight (not premultiplied).

    Attributes:
        alpha: (H, W) uint8, 0 to 255.
        colors: (H, W, 3) uint8, or uint16 of deep pictures: the object's own colours; black, or its nearest colours,
            where alpha is 0.
    """

    alpha: NDArray[np.uint8]
    colors: NDArray[Any]

    def rgba(self) -> NDArray[Any]:
        """(H, W, 4) for files with alpha."""
        return np.dstack([self.colors, self.alpha * self.colors.dtype.type(np.iinfo(self.colors.dtype).max // 255)])


class Matter:
    """Makes the mattes of one film, in order.

    On a reduced grid of about 480 cells a map is calmed along the flow, stretched, and rid of holes and specks; at the
    frame's own size its edge is then found again by colour (`vsalient.matte.refine`). Memory: a few small pictures.

    Args:
        options: what the matte is to be like.
    """

    def __init__(self, options: MatteOptions | None = None) -> None:
        self.options = options or MatteOptions()
        self._steady = Steady(self.options.steady)

    def reset(self) -> None:
        """Forget the frames before: another film or shot begins."""
        self._steady.reset()

    def __call__(self, pixels: Pixels, saliency: SaliencyArray, deep: NDArray[np.uint16] | None = None) -> Matte:
        """The next frame's matte; (H, W, 3) uint8 RGB and (H, W) in [0, 1] of one size.

        With `deep`, (H, W, 3) uint16, the colours are taken from there.
        """
        assert pixels.shape[:2] == saliency.shape, f"{saliency.shape} for {pixels.shape}"
        options = self.options
        pixels = np.ascontiguousarray(pixels)
        grid = Grid.of(*saliency.shape)
        small = shrink_pixels(grid, pixels)
        if options.style == "raw":
            alpha = np.asarray(cv2.convertScaleAbs(stretch(saliency, *options.low_high), alpha=255.0), np.uint8)
        else:
            probability = self._steady(small, shrink_map(grid, saliency))
            values = stretch(probability, *options.low_high)
            values = remove_small(values, holes=options.holes, specks=options.specks, probability=probability)
            alpha = refine(grid, pixels, small, values, probability, sharp=options.style == "sharp")
        if options.choke:
            alpha = choke(alpha, options.choke)
        alpha = feather(alpha, options.feather)
        if options.invert:
            alpha = 255 - alpha
        estimate = options.decontaminate and options.style != "raw"
        if deep is None:
            return Matte(alpha, own_colors(grid, pixels, small, alpha, estimate=estimate))
        deep = np.ascontiguousarray(deep)
        return Matte(alpha, own_colors(grid, deep, shrink_pixels(grid, deep), alpha, estimate=estimate))
