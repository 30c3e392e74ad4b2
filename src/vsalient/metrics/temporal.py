"""Temporal stability T: how much the predicted contour has to bend from one frame to the next (DAVIS, section 4).

Contours are described by shape contexts (Belongie et al., 2002; 12 angles x 5 radii) and matched in order by dynamic
time warping; T is the mean cost of the matched pairs, 0 for a contour that keeps its shape. Contours come from
OpenCV, simplified within 3 pixels and resampled at 3 pixels, where the DAVIS code uses its own polygon tracer: values
follow that code closely but are not equal to it. T is therefore optional and no part of O.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vsalient.metrics.arrays import as_mask, same_shape

Points = NDArray[np.float64]

_TOLERANCE = 3.0
_SPACING = 3.0
_ANGLES = 12
_RADII = np.geomspace(1 / 8, 2.0, 5)
_EPS = 2.2204e-16


def temporal_stability(first: NDArray[Any], second: NDArray[Any]) -> float:
    """Return T >= 0 between the predicted masks of two neighbouring frames; NaN if either is empty.

    Args:
        first: (H, W) mask: bool, a 0/1 label image, or a soft map (8-bit, foreground from 128 on).
        second: (H, W) the next frame's.

    Raises:
        DataError: the masks do not have one size.
    """
    a, b = as_mask(first), as_mask(second)
    same_shape(a.shape, b.shape, "first mask", "second mask")
    contour_a, contour_b = _longest_contour(a), _longest_contour(b)
    if contour_a is None or contour_b is None:
        return float("nan")
    cost = _chi_square(_shape_contexts(contour_a), _shape_contexts(contour_b))
    # A contour has no natural first point: the first match finds a start in the middle of its longest run of
    # one-to-one pairs, the second one is made from there.
    start_a, start_b = _anchor(_match(cost))
    pairs = _match(np.roll(cost, (-start_a, -start_b), axis=(0, 1)))
    pairs = np.mod(pairs + np.array((start_a, start_b)), cost.shape)
    return float(np.mean([cost[i, j] for i, j in _one_to_one(pairs, cost)]))


def _longest_contour(mask: NDArray[np.bool_]) -> Points | None:
    """Return (n, 2) points, at most 3 pixels apart, on the longest outline."""
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return None
    longest = max(contours, key=lambda contour: cv2.arcLength(contour, True))
    corners: Points = cv2.approxPolyDP(longest, _TOLERANCE, True).reshape(-1, 2).astype(np.float64)
    sides = np.roll(corners, -1, axis=0) - corners
    parts = np.maximum(1, np.ceil(np.hypot(sides[:, 0], sides[:, 1]) / _SPACING)).astype(int)
    steps = [corner + side * (np.arange(n) / n)[:, None] for corner, side, n in zip(corners, sides, parts, strict=True)]
    outline: Points = np.concatenate(steps)
    return outline


def _shape_contexts(points: Points) -> NDArray[np.float64]:
    """Return (n, 60): for each point, the share of the others in each bin of direction and log distance."""
    delta = points[None, :, :] - points[:, None, :]
    distance = np.hypot(delta[..., 0], delta[..., 1])
    mean = float(distance.mean())
    # Bin 0 is the outermost that counts; 5 means beyond the last radius.
    ring = np.searchsorted(_RADII, distance / mean if mean else distance, side="right")
    angle = np.mod(np.arctan2(delta[..., 1], delta[..., 0]), 2 * np.pi)
    sector = np.minimum((angle / (2 * np.pi / _ANGLES)).astype(int), _ANGLES - 1)
    size = len(points)
    inside = ring < len(_RADII)
    bins = len(_RADII) * _ANGLES
    flat = np.arange(size)[:, None] * bins + ring * _ANGLES + sector
    counts = np.bincount(flat[inside], minlength=size * bins).reshape(size, bins).astype(np.float64)
    shares: NDArray[np.float64] = counts / (counts.sum(axis=1, keepdims=True) + _EPS)
    return shares


def _chi_square(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (n, m): 0.5 sum (a - b)^2 / (a + b), row by row to keep the memory at m x 60."""
    return np.stack([0.5 * ((row - b) ** 2 / (row + b + _EPS)).sum(axis=1) for row in a])


def _match(cost: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return (k, 2) the cheapest path from (0, 0) to the last pair, by steps of (1, 1), (1, 0) and (0, 1)."""
    n, m = cost.shape
    # total[i + 1, j + 1]: the cheapest way to (i, j); anti-diagonals are independent of themselves.
    total = np.full((n + 1, m + 1), np.inf)
    total[0, 0] = 0.0
    for diagonal in range(n + m - 1):
        i = np.arange(max(0, diagonal - m + 1), min(n, diagonal + 1))
        j = diagonal - i
        best = np.minimum(np.minimum(total[i, j], total[i, j + 1]), total[i + 1, j])
        total[i + 1, j + 1] = best + cost[i, j]
    path = [(n - 1, m - 1)]
    while path[-1] != (0, 0):
        i, j = path[-1]
        ways = ((total[i, j], (i - 1, j - 1)), (total[i, j + 1], (i - 1, j)), (total[i + 1, j], (i, j - 1)))
        path.append(min(ways)[1])
    return np.array(path[::-1], np.intp)


def _anchor(path: NDArray[np.intp]) -> tuple[int, int]:
    """Return the middle pair of the path's longest run of diagonal steps."""
    diagonal = (np.diff(path, axis=0) == 1).all(axis=1)
    best, length, begin = 0, 0, 0
    for at, straight in enumerate(diagonal):
        if not straight:
            begin = at + 1
        elif at + 1 - begin > length:
            best, length = begin, at + 1 - begin
    i, j = path[best + length // 2]
    return int(i), int(j)


def _one_to_one(pairs: NDArray[np.intp], cost: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Keep the cheapest pair of each point, first of the one contour, then of the other."""
    kept = [(int(i), int(j)) for i, j in pairs]
    for side in (0, 1):
        best: dict[int, tuple[int, int]] = {}
        for pair in kept:
            held = best.get(pair[side])
            if held is None or cost[pair] < cost[held]:
                best[pair[side]] = pair
        kept = list(best.values())
    return kept
