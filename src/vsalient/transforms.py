"""Frames to what a network takes, and maps back to the frame's size.

A geometry is written as `native`, `short:480` (the shorter side becomes 480), `exact:112x112` or
`area:256x448` (height × width: the frame's own shape at that area, sides rounded to the network's multiple).
Zero padding to the multiple follows, centred, the odd pixel at the bottom and right (3DC-Seg's official code).
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vsalient import antialias
from vsalient.errors import OptionError
from vsalient.types import Pixels, SaliencyArray
from vsalient.vocabulary import GEOMETRY, GEOMETRY_FORMS

if TYPE_CHECKING:
    from torch import Tensor

Resample = Literal["antialias", "pillow"]
"""How frames are resized, both bilinear with antialiasing: `antialias` is PyTorch's uint8 kernel, within one
grey level of `pillow`, which is bit for bit what the official 3DC-Seg code does and five times slower."""
Interpolation = Literal["bilinear", "nearest"]
"""How maps are resized to the frame."""

_LARGEST_SIDE = 16384


@dataclass(frozen=True, slots=True)
class Geometry:
    """How a frame of one size becomes a network's input.

    Attributes:
        source: the frame's (height, width).
        scaled: (height, width) after resizing.
        padding: zero rows and columns added at (top, bottom, left, right).
        resample: see `Resample`.
    """

    source: tuple[int, int]
    scaled: tuple[int, int]
    padding: tuple[int, int, int, int]
    resample: Resample = "antialias"

    @classmethod
    def plan(
        cls, spec: str, source: tuple[int, int], *, multiple: int = 1, resample: Resample = "antialias"
    ) -> "Geometry":
        """Work out the geometry `spec` for frames of `source` (height, width).

        Raises:
            OptionError: the specification cannot be read, or asks for an input of absurd size.
        """
        height, width = _scaled(spec, source, multiple)
        if max(height, width) > _LARGEST_SIDE:
            raise OptionError(
                f"geometry {spec} makes {width}x{height} of a {source[1]}x{source[0]} frame, more than "
                f"{_LARGEST_SIDE} pixels a side: choose a smaller one"
            )
        rows, columns = -height % multiple, -width % multiple
        padding = (rows // 2, rows - rows // 2, columns // 2, columns - columns // 2)
        return cls(source, (height, width), padding, resample)

    @property
    def network(self) -> tuple[int, int]:
        """The network's (height, width)."""
        top, bottom, left, right = self.padding
        return self.scaled[0] + top + bottom, self.scaled[1] + left + right

    def apply(self, pixels: Pixels) -> "Tensor":
        """(H, W, 3) uint8 → (3, h, w) uint8 tensor, resized and padded with black."""
        # Imported here so that a geometry can be checked before PyTorch's second of start-up.
        import torch
        from torch.nn import functional as F

        assert pixels.shape[:2] == self.source, (pixels.shape, self.source)
        if self.resample == "pillow" and self.scaled != self.source:
            image = Image.fromarray(pixels).resize(self.scaled[::-1], Image.Resampling.BILINEAR)
            pixels = np.array(image)
        tensor = torch.from_numpy(pixels if pixels.flags.writeable else pixels.copy()).permute(2, 0, 1)
        if tensor.shape[1:] != self.scaled:
            # uint8 in channels-last order takes a vectorised path, fifty times faster than float.
            tensor = F.interpolate(tensor[None], self.scaled, mode="bilinear", antialias=True)[0]
        top, bottom, left, right = self.padding
        return F.pad(tensor, (left, right, top, bottom)) if any(self.padding) else tensor

    def apply_array(self, pixels: Pixels) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 → (3, h, w) uint8, what `apply` gives, without PyTorch and slower."""
        if self.scaled != self.source:
            pillow = Image.Resampling.BILINEAR
            pixels = (
                np.asarray(Image.fromarray(pixels).resize(self.scaled[::-1], pillow))
                if self.resample == "pillow"
                else antialias.resize(pixels, self.scaled)
            )
        top, bottom, left, right = self.padding
        return np.ascontiguousarray(np.pad(pixels, ((top, bottom), (left, right), (0, 0))).transpose(2, 0, 1))

    def apply_map(self, values: NDArray[np.float32]) -> "Tensor":
        """(H, W) float32 → (1, h, w) float32 tensor, resized and padded alike; for per-frame priors."""
        import torch

        return torch.from_numpy(self.apply_map_array(values))

    def apply_map_array(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """(H, W) float32 → (1, h, w) float32, what `apply_map` gives."""
        shrinks = self.scaled[0] * self.scaled[1] < values.size
        if values.shape != self.scaled:
            how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
            values = np.asarray(cv2.resize(values, self.scaled[::-1], interpolation=how), np.float32)
        top, bottom, left, right = self.padding
        return np.pad(values, ((top, bottom), (left, right)))[None]

    def invert(self, values: SaliencyArray, interpolation: Interpolation = "bilinear") -> SaliencyArray:
        """(h, w) float32 → (H, W) float32: the padding is cut off, the rest resized to the frame."""
        assert values.shape == self.network, (values.shape, self.network)
        top, left = self.padding[0], self.padding[2]
        values = values[top : top + self.scaled[0], left : left + self.scaled[1]]
        if self.scaled == self.source:
            return np.ascontiguousarray(values)
        if interpolation == "nearest":
            # Pillow, as the official 3DC-Seg code: OpenCV's nearest is half a pixel off.
            image = Image.fromarray(values).resize(self.source[::-1], Image.Resampling.NEAREST)
            return np.array(image, np.float32)
        return np.asarray(cv2.resize(values, self.source[::-1], interpolation=cv2.INTER_LINEAR), np.float32)


def check_geometry(spec: str) -> None:
    """Raise OptionError unless `spec` is the specification of a geometry."""
    _scaled(spec, (480, 854), 1)


def _scaled(spec: str, source: tuple[int, int], multiple: int) -> tuple[int, int]:
    match = GEOMETRY.fullmatch(spec)
    if match is None:
        raise OptionError(f"geometry '{spec}' is unknown: write {GEOMETRY_FORMS}")
    native, short, side, _, first, second = match.groups()
    height, width = source
    if native:
        return source
    if short:
        scale = int(side) / min(source)
        # Rounds half to even, as the official code's numpy.around does.
        return max(1, round(height * scale)), max(1, round(width * scale))
    if spec.startswith("exact"):
        return int(first), int(second)
    area = int(first) * int(second)
    scale = math.sqrt(area / (height * width))
    rows, columns = (_to_multiple(length * scale, multiple) for length in source)
    # A strip thinner than the multiple is widened; its length gives way so that the area stays.
    if height * scale < multiple:
        columns = _to_multiple(area / rows, multiple)
    elif width * scale < multiple:
        rows = _to_multiple(area / columns, multiple)
    return rows, columns


def _to_multiple(length: float, multiple: int) -> int:
    return max(multiple, round(length / multiple) * multiple)
