"""The reduced grid that a matte is worked out on, and the full-size pixels around the object's edge."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vsalient.matte.edges import Values
from vsalient.types import MaskArray, SaliencyArray

LONGEST_SIDE = 480
"""About the longest side of the reduced grid: a little finer than the networks see."""


@dataclass(frozen=True)
class Grid:
    """A frame's size and its reduction by a whole factor; cells at the right and bottom may be cut.

    Attributes:
        height, width: of the frame.
        step: pixels along a cell's side.
    """

    height: int
    width: int
    step: int

    @classmethod
    def of(cls, height: int, width: int) -> "Grid":
        """The grid for frames of a size."""
        return cls(height, width, max(1, round(max(height, width) / LONGEST_SIDE)))

    @cached_property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the reduced grid."""
        return -(-self.height // self.step), -(-self.width // self.step)

    def shrink(self, picture: Any) -> Any:
        """(H, W) or (H, W, C) brought to the grid by the mean of each cell; the type stays."""
        if self.step == 1:
            return picture
        rows, columns = self.shape
        below, right = rows * self.step - self.height, columns * self.step - self.width
        if below or right:
            picture = cv2.copyMakeBorder(picture, 0, below, 0, right, cv2.BORDER_REPLICATE)
        step = self.step
        while step % 2 == 0:  # by two at a time OpenCV is several times as fast
            step //= 2
            picture = cv2.resize(picture, (columns * step, rows * step), interpolation=cv2.INTER_AREA)
        return picture if step == 1 else cv2.resize(picture, (columns, rows), interpolation=cv2.INTER_AREA)

    def enlarge(self, values: Any) -> Any:
        """(h, w) or (h, w, C) on the grid brought to the frame's size, bilinearly; the type stays."""
        if self.step == 1:
            return values
        rows, columns = self.shape
        size = (columns * self.step, rows * self.step)
        return cv2.resize(values, size, interpolation=cv2.INTER_LINEAR)[: self.height, : self.width]


class Band:
    """The full-size pixels of some of a grid's cells, as one long row: work on an edge costs as the edge is long.

    Args:
        grid: the grid.
        cells: (h, w), True where a cell's pixels are wanted.

    Attributes:
        rows, columns: (N,) positions in the frame.
    """

    _LINE = 4096  # a row of N pixels is folded to lines of so many: OpenCV's remap takes no longer ones

    def __init__(self, grid: Grid, cells: MaskArray) -> None:
        self.grid = grid
        step = grid.step
        y, x = np.nonzero(cells)
        inner = np.arange(step, dtype=np.int64)
        shape = (len(y), step, step)
        rows = np.broadcast_to((y[:, None] * step + inner)[:, :, None], shape).reshape(-1)
        columns = np.broadcast_to((x[:, None] * step + inner)[:, None, :], shape).reshape(-1)
        self.rows, self.columns = rows, columns
        self._flat = rows * grid.width + columns
        if grid.height % step or grid.width % step:
            self.keep((rows < grid.height) & (columns < grid.width))

    def keep(self, wanted: MaskArray) -> None:
        """Forget the pixels that are not wanted, (N,)."""
        self.rows, self.columns, self._flat = self.rows[wanted], self.columns[wanted], self._flat[wanted]
        self.__dict__.pop("_maps", None)

    def __len__(self) -> int:
        return len(self._flat)

    def take(self, picture: NDArray[Any]) -> NDArray[Any]:
        """(H, W) or (H, W, C) → (N,) or (N, C)."""
        return np.take(picture.reshape(self.grid.height * self.grid.width, *picture.shape[2:]), self._flat, axis=0)

    def put(self, picture: NDArray[Any], values: NDArray[Any]) -> None:
        """Write (N,) or (N, C) into (H, W) or (H, W, C), which must be contiguous."""
        picture.reshape(self.grid.height * self.grid.width, *picture.shape[2:])[self._flat] = values

    @cached_property
    def _maps(self) -> tuple[Values, Values]:
        lines = -(-len(self) // self._LINE)
        padded = np.zeros((2, lines * self._LINE), np.float32)
        step = np.float32(self.grid.step)
        padded[0, : len(self)] = (self.columns + np.float32(0.5)) / step - np.float32(0.5)
        padded[1, : len(self)] = (self.rows + np.float32(0.5)) / step - np.float32(0.5)
        x, y = padded.reshape(2, lines, self._LINE)
        return x, y

    def sample(self, values: Values) -> Values:
        """(h, w) or (h, w, C ≤ 4) float32 on the grid → (N,) or (N, C), bilinearly."""
        if len(self) == 0:
            return np.zeros((0, *values.shape[2:]), np.float32)
        if self.grid.step == 1:
            return self.take(values)
        sampled = cv2.remap(values, *self._maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(sampled, np.float32).reshape(-1, *values.shape[2:])[: len(self)]


def shrink_map(grid: Grid, saliency: SaliencyArray) -> Values:
    """(H, W) saliency on the grid, (h, w) float32."""
    return np.asarray(grid.shrink(np.ascontiguousarray(saliency, np.float32)), np.float32)


def shrink_pixels(grid: Grid, pixels: NDArray[Any]) -> NDArray[Any]:
    """(H, W, 3) pixels on the grid, (h, w, 3) of the same type."""
    return np.asarray(grid.shrink(pixels), pixels.dtype)
