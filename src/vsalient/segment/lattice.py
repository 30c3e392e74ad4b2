"""The permutohedral lattice: Gaussian filtering in a feature space of few dimensions, vectorised in NumPy.

Adams, Baek and Davis, "Fast High-Dimensional Filtering Using the Permutohedral Lattice" (2010). Samples are
splatted onto the corners of the simplices that tile the space, the occupied corners are blurred along the
lattice's axes, and the samples read the result back.
"""

import numpy as np
from numpy.typing import NDArray

from vsalient.errors import OptionError

Float = NDArray[np.float32]
Index = NDArray[np.int64]


class PermutohedralLattice:
    """A Gaussian filter of unit deviation over N fixed points in d dimensions; build once, filter often.

    The gain is not normalised: dividing by the filtered ones, or its symmetric form, is the caller's
    business. Against the exact sum the kernel's shape is off by a few percent (a spline stands in for the
    Gaussian).
    """

    def __init__(self, features: Float) -> None:
        """Place the points. `features` is (d, N) float32, each dimension divided by its kernel's deviation.

        Raises:
            OptionError: the points span so many deviations that lattice keys do not fit 62 bits.
        """
        dimensions = features.shape[0]
        corners = dimensions + 1
        remainder, rank, offset = _enclosing_simplex(features)
        self._weights = _barycentric(offset)
        keys, strides = _corner_keys(remainder, rank)
        # Points lie close together in colour and place: of N × (d + 1) corners a few percent differ.
        unique, inverse = np.unique(keys.reshape(-1), return_inverse=True)
        self._count = len(unique)
        self._vertex: Index = inverse.reshape(corners, -1)
        self._neighbours = _neighbours(unique, strides, corners)

    def filter(self, values: Float) -> Float:
        """Return for each point the kernel-weighted sum of `values` (N,) over all points, as (N,) float32."""
        count = self._count
        cells = np.zeros(count + 1, dtype=np.float32)  # the last cell is the empty neighbour
        splat = (self._weights * values).reshape(-1)
        cells[:count] = np.bincount(self._vertex.reshape(-1), splat, minlength=count)
        # One axis after the other: the axes are not orthogonal, yet the product of these blurs is nearly a Gaussian.
        for forward, backward in self._neighbours:
            cells[:count] = 0.5 * cells[:count] + 0.25 * (cells[forward] + cells[backward])
        read: Float = np.einsum("kn,kn->n", cells[self._vertex], self._weights)
        return read


def _enclosing_simplex(features: Float) -> tuple[NDArray[np.int64], NDArray[np.int64], Float]:
    """Return the remainder-0 corner (d+1, N), each coordinate's rank and the scaled distance from it."""
    d, count = features.shape
    corners = d + 1
    elevate = np.zeros((corners, d), dtype=np.float32)
    for j in range(d):
        # The blur adds a variance of 2/3 along each axis; this scale makes the whole a unit Gaussian (§3.1).
        scale = np.sqrt(2.0 / 3.0) * corners / np.sqrt((j + 1.0) * (j + 2.0))
        elevate[: j + 1, j] = scale
        elevate[j + 1, j] = -(j + 1) * scale
    elevated = elevate @ features
    nearest = np.rint(elevated / corners)
    residue = elevated - nearest * corners
    # The ranks of the residues say which of the simplices around the nearest remainder-0 point holds the sample.
    rank = np.zeros((corners, count), dtype=np.int64)
    for i in range(corners):
        for j in range(i + 1, corners):
            lower = residue[i] < residue[j]
            rank[i] += lower
            rank[j] += ~lower
    # Coordinates must sum to zero: those furthest off move by one step.
    rank += nearest.sum(axis=0).astype(np.int64)
    step = (rank < 0).astype(np.int64) - (rank > d)
    rank += step * corners
    remainder = (nearest.astype(np.int64) + step) * corners
    return remainder, rank, (elevated - remainder) / np.float32(corners)


def _barycentric(offset: Float) -> Float:
    """Return the weights (d+1, N) of the simplex's corners, remainder 0 first; they sum to 1."""
    ordered = -np.sort(-offset, axis=0)
    weights = np.empty_like(offset)
    weights[0] = 1.0 + ordered[-1] - ordered[0]
    weights[1:] = ordered[-2::-1] - ordered[:0:-1]
    return weights


def _corner_keys(remainder: Index, rank: Index) -> tuple[Index, Index]:
    """Return an integer for each point's corners, (d+1, N), and what a step of 1 in each coordinate adds."""
    corners, count = remainder.shape
    free = remainder[:-1]  # the last coordinate follows from the others
    # Room for the corners and for a blur's step beyond them, so that two keys never mean the same number.
    low = free.min(axis=1) - 2 * corners
    span = free.max(axis=1) - low + 2 * corners + 1
    if np.log2(span.astype(np.float64)).sum() >= 62:
        raise OptionError(
            f"Kernel widths are too small for this image: the lattice would span {int(span.max())} cells; "
            "give larger theta_alpha or theta_beta."
        )
    strides = np.concatenate([[1], np.cumprod(span[:-1])]).astype(np.int64)
    base = strides @ (free - low[:, None])
    ranked = np.zeros((corners, count), dtype=np.int64)
    np.put_along_axis(ranked, rank, np.broadcast_to(np.append(strides, 0)[:, None], rank.shape), axis=0)
    keys = np.empty((corners, count), dtype=np.int64)
    wrapped = np.zeros(count, dtype=np.int64)
    # Corner k adds k to every coordinate, and takes d + 1 back from the k coordinates of the highest ranks.
    for k in range(corners):
        if k:
            wrapped += ranked[corners - k]
        keys[k] = base + k * strides.sum() - corners * wrapped
    return keys, strides


def _neighbours(unique: Index, strides: Index, corners: int) -> list[tuple[Index, Index]]:
    """Return, for each lattice axis, the cells before and after each cell; `len(unique)` stands for none."""
    count = len(unique)
    pairs = []
    # A step along an axis adds d + 1 to its own coordinate and takes 1 from all; the last axis has no stride.
    for stride in [*strides, 0]:
        target = unique + (corners * stride - strides.sum())
        place = np.minimum(np.searchsorted(unique, target), count - 1)
        found = unique[place] == target
        forward = np.where(found, place, count)
        backward = np.full(count, count)
        backward[place[found]] = np.flatnonzero(found)
        pairs.append((forward, backward))
    return pairs
