"""Temporal stability T: how much the predicted contour has to bend from one frame to the next (DAVIS, section 4).

The longest outline is described by shape contexts (Belongie et al., 2002; 12 angles x 5 radii) and matched in order by
the cheapest path; T is five times the mean cost of the matched pairs, 0 for a contour that keeps its shape. Equal to
the DAVIS tool (its Python code, April 2016) but where two paths are equally cheap, which its heap decides.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vsalient.metrics.arrays import as_mask, same_shape
from vsalient.metrics.outlines import longest_outline, resample

Points = NDArray[np.float64]

_TOLERANCE = 3.0
"""Of the outline's simplification, in half pixels."""
_SPACING = 3.0
_ANGLES = 12
_RADII = np.logspace(np.log10(1 / 8), np.log10(2.0), 5)
_EPS = 2.2204e-16
_SCALE = 5.0
"""The DAVIS tool multiplies its mean cost by this before it prints it."""


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
    contour_a, contour_b = _contour(a), _contour(b)
    if contour_a is None or contour_b is None:
        return float("nan")
    cost = _chi_square(_shape_contexts(contour_a), _shape_contexts(contour_b))
    # A contour has no natural first point: the cheapest pair of a first match becomes the last one of a second.
    path = _match(cost)[:0:-1]
    start = np.array(path[int(cost[path[:, 0], path[:, 1]].argmin())] if len(path) else (0, 0)) + 1
    pairs = _match(np.roll(cost, (-int(start[0]), -int(start[1])), axis=(0, 1)))[::-1]
    pairs = np.mod(pairs + start, cost.shape)
    return _SCALE * float(np.mean([cost[i, j] for i, j in _one_to_one(pairs, cost)]))


def _contour(mask: NDArray[np.bool_]) -> Points | None:
    """Return (n, 2) points, at most 3 pixels apart, on the longest outline."""
    outline = longest_outline(mask, _TOLERANCE)
    return None if outline is None else resample(outline, _SPACING).astype(np.float64)


def _shape_contexts(points: Points) -> NDArray[np.float64]:
    """Return (n, 60): for each point, the share of the others in each bin of direction and log distance."""
    delta = points[None, :, :] - points[:, None, :]
    distance = np.hypot(delta[..., 0], delta[..., 1])
    mean = float(distance.mean())
    # Bin 0 is the outermost that counts; 5 means beyond the last radius.
    ring = np.searchsorted(_RADII, distance / mean if mean else distance, side="right")
    angle = np.fmod(np.arctan2(delta[..., 1], delta[..., 0]) + 2 * np.pi, 2 * np.pi)
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
