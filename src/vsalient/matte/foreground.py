"""The object's own colours: where it mixes with the ground at its edge, and under what is transparent."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vsalient.matte.edges import Values
from vsalient.matte.grid import Band, Grid
from vsalient.types import MaskArray

NEAR, FAR = 1, 6
"""Cells of half the reduced grid that colours are averaged over, and where nothing certain is that near."""
MARGIN = 6
"""Cells around the object that are given its colours: a codec mixes neighbours, so what stands there shows."""


def spread(pixels: Values, weight: Values) -> Values:
    """(h, w, 3) means of the colours around each cell by weight (h, w): near ones, or far ones where there are none."""
    weighted = np.dstack([pixels * weight[..., None], weight])
    near, far = (cv2.blur(weighted, (2 * radius + 1, 2 * radius + 1)) for radius in (NEAR, FAR))
    total = near + np.float32(1e-3) * far
    return np.asarray(total[..., :3] / np.maximum(total[..., 3:], np.float32(1e-9)), np.float32)


def edge_colors(colors: Values, alpha: Values, object_colors: Values, ground_colors: Values) -> Values:
    """The object's part of mixed colours.

    The estimate from blurred object and ground of Forte (“Approximate fast foreground colour estimation”, ICIP 2021,
    eq. 4): of what the two means leave unexplained, the object has its share by alpha.

    Args:
        colors: (N, 3) as seen, on one scale with the next ones.
        alpha: (N,) in [0, 1].
        object_colors: (N, 3) mean colour of the object nearby.
        ground_colors: (N, 3) mean colour of the ground nearby.
    """
    cover = alpha[:, None]
    rest = colors - cover * object_colors - (1 - cover) * ground_colors
    own: Values = object_colors + cover * rest
    return own


def own_colors(
    grid: Grid, pixels: NDArray[Any], small: NDArray[Any], alpha: NDArray[np.uint8], *, estimate: bool
) -> NDArray[Any]:
    """The frame with the object's own colours at its edge and around it, and black beyond; (H, W, 3) of its type.

    Args:
        grid: of the frame's size.
        pixels: (H, W, 3) the frame, uint8 or uint16.
        small: (h, w, 3) the frame on the grid.
        alpha: (H, W), 0 to 255.
        estimate: take the ground's part out of mixed colours; without, only hidden colours are replaced.
    """
    top = np.iinfo(pixels.dtype).max
    cells = np.asarray(grid.shrink(alpha), np.float32) * np.float32(1 / 255)
    result = np.zeros_like(pixels)
    view, frame = _views(grid, cells)
    cells = cells[view]
    if cells.size == 0:
        return result
    rows, columns = cells.shape
    # Means are as smooth on half the grid, and cost a quarter.
    half = (max(1, columns // 2), max(1, rows // 2))
    fewer = cv2.resize(small[view], half, interpolation=cv2.INTER_AREA).astype(np.float32)
    cover = np.asarray(cv2.resize(cells, half, interpolation=cv2.INTER_AREA), np.float32)
    colored = spread(fewer, _certain(cover))
    fill = cv2.resize(colored, (columns, rows))
    # Beyond the means' reach all is black: no cell takes part in the margin that lies half there.
    reached = cv2.erode((colored.max(axis=2) > 0).astype(np.uint8), np.ones((3, 3), np.uint8))
    near = cv2.dilate((cells > 0).astype(np.uint8), np.ones((2 * MARGIN + 1, 2 * MARGIN + 1), np.uint8))
    near = cv2.min(near, cv2.resize(reached, (columns, rows), interpolation=cv2.INTER_NEAREST))
    backing = np.clip(fill + np.float32(0.5), 0, top).astype(pixels.dtype) * near[..., None]
    height, width = result[frame].shape[:2]
    size = (columns * grid.step, rows * grid.step)
    part = np.ascontiguousarray(cv2.resize(backing, size, interpolation=cv2.INTER_NEAREST)[:height, :width])
    cv2.copyTo(pixels[frame], alpha[frame], part)
    result[frame] = part
    if estimate:
        edge = np.zeros(grid.shape, np.bool_)
        edge[view] = _edge_cells(cells)
        band = Band(grid, edge)
        share = band.take(alpha)
        mixed = (share > 0) & (share < 255)
        band.keep(mixed)
        both = np.zeros((*grid.shape, 3), np.float32)
        both[view] = fill
        object_colors = band.sample(both)
        both[view] = cv2.resize(spread(fewer, np.square(1 - cover)), (columns, rows))
        cover_of_each = share[mixed].astype(np.float32) * np.float32(1 / 255)
        own = edge_colors(band.take(pixels).astype(np.float32), cover_of_each, object_colors, band.sample(both))
        band.put(result, np.clip(own + np.float32(0.5), 0, top).astype(pixels.dtype))
    return result


def _views(grid: Grid, cells: Values) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """The part of the grid, and of the frame, that the object and its surroundings take; empty where it is nowhere."""
    left, top, width, height = cv2.boundingRect((cells > 0).astype(np.uint8))
    if width == 0:
        return (slice(0), slice(0)), (slice(0), slice(0))
    around = 2 * FAR + MARGIN
    rows, columns, step = *cells.shape, grid.step
    top, bottom = max(0, top - around), min(rows, top + height + around)
    left, right = max(0, left - around), min(columns, left + width + around)
    return (slice(top, bottom), slice(left, right)), (
        slice(top * step, bottom * step),
        slice(left * step, right * step),
    )


def _certain(cells: Values) -> Values:
    """Where the object's colours can be read off: all inside, else the best there is."""
    inside = cv2.erode(cells, np.ones((3, 3), np.uint8))
    solid = (inside >= 0.98).astype(np.float32)
    best = float(cells.max())
    # A thin or a faint object has no inside: what is surest stands in, a hundred times lighter.
    solid += np.float32(0.01) * (cells >= max(0.25, 0.8 * best)).astype(np.float32)
    return np.asarray(solid, np.float32)


def _edge_cells(cells: Values) -> MaskArray:
    """Cells in which alpha is between, or may be at one of their pixels."""
    side = np.ones((3, 3), np.uint8)
    return np.asarray((cv2.dilate(cells, side) > 0) & (cv2.erode(cells, side) < 1), np.bool_)
