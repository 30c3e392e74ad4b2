"""One pass over a frame: 256-bin histograms of the saliency, apart for four quadrants and for object and rest.

Nearly every metric is a function of these 8 x 256 counts: MAE, precision and recall at every threshold, F, E, S,
both adaptive thresholds, AUC, CC, NSS, and J at every threshold.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vsalient.metrics.arrays import Map8, Mask, pair

Counts = NDArray[np.int64]

GRAY_LEVELS: Counts = np.arange(256, dtype=np.int64)
"""The 256 grey values, as integers."""

_EXACT_FLOAT32 = 1 << 24
"""OpenCV hands its counts back as float32, which is exact up to here."""


@dataclass(frozen=True, slots=True)
class JointHistogram:
    """The counts of one frame.

    Attributes:
        counts: (4, 2, 256) pixels: quadrant (left top, right top, left bottom, right bottom of the ground truth's
            centroid), ground truth (0 rest, 1 object), grey value. Void pixels are in none.
        shape: (height, width) of the frame.
        split: (rows, columns) of the left top quadrant.
    """

    counts: Counts
    shape: tuple[int, int]
    split: tuple[int, int]

    @property
    def background(self) -> Counts:
        """(256,) counts of the saliency outside the object."""
        return self.counts[:, 0].sum(axis=0)  # type: ignore[no-any-return]

    @property
    def foreground(self) -> Counts:
        """(256,) counts of the saliency on the object."""
        return self.counts[:, 1].sum(axis=0)  # type: ignore[no-any-return]

    @property
    def values(self) -> Counts:
        """(256,) counts of the saliency over the whole frame."""
        return self.counts.sum(axis=(0, 1))  # type: ignore[no-any-return]


def joint_histogram(saliency: NDArray[Any], truth: NDArray[Any], void: NDArray[Any] | None = None) -> JointHistogram:
    """Count a frame's pixels by quadrant, ground truth and grey value.

    Args:
        saliency: (H, W) uint8 map, or floats in [0, 1] (rounded to 256 levels).
        truth: (H, W) ground truth, bool or above 128.
        void: (H, W) pixels to leave out, or None.

    Raises:
        DataError: the arrays do not fit each other.
    """
    return count(*pair(saliency, truth, void))


def count(saliency: Map8, truth: Mask, void: Mask | None) -> JointHistogram:
    """`joint_histogram` of arrays that have been checked."""
    if void is not None:
        truth = truth & ~void
    valid = None if void is None else (~void).view(np.uint8)
    labels = np.ascontiguousarray(truth).view(np.uint8)
    height, width = labels.shape
    row, column = _centroid_split(labels)
    counts = np.zeros((4, 2, 256), np.int64)
    for quadrant, (rows, columns) in enumerate(quadrant_slices((height, width), (row, column))):
        if rows.start < rows.stop and columns.start < columns.stop:
            part = None if valid is None else valid[rows, columns]
            counts[quadrant] = _histogram(saliency[rows, columns], labels[rows, columns], part)
    return JointHistogram(counts, (height, width), (row, column))


def quadrant_slices(shape: tuple[int, int], split: tuple[int, int]) -> tuple[tuple[slice, slice], ...]:
    """Return the (rows, columns) of the four quadrants, in the order of `JointHistogram.counts`."""
    (height, width), (row, column) = shape, split
    top, bottom = slice(0, row), slice(row, height)
    left, right = slice(0, column), slice(column, width)
    return (top, left), (top, right), (bottom, left), (bottom, right)


def at_least(counts: Counts) -> Counts:
    """Return (..., 256): how many pixels have this value or more."""
    return np.cumsum(counts[..., ::-1], axis=-1)[..., ::-1]


def _centroid_split(labels: Map8) -> tuple[int, int]:
    """Return the size of the left top quadrant: the rounded centroid, 1-based as in the S-measure's own code."""
    height, width = labels.shape
    per_column = cv2.reduce(labels, 0, cv2.REDUCE_SUM, dtype=cv2.CV_32S).ravel().astype(np.int64)
    pixels = int(per_column.sum())
    if pixels == 0:
        return min(round(height / 2) + 1, height), min(round(width / 2) + 1, width)
    per_row = cv2.reduce(labels, 1, cv2.REDUCE_SUM, dtype=cv2.CV_32S).ravel().astype(np.int64)
    row = int(per_row @ np.arange(height, dtype=np.int64)) / pixels
    column = int(per_column @ np.arange(width, dtype=np.int64)) / pixels
    # Python rounds halves to even, as NumPy does in the reference.
    return round(row) + 1, round(column) + 1


def _histogram(saliency: Map8, labels: Map8, valid: Map8 | None) -> Counts:
    """Return (2, 256) counts; big pictures in bands of rows, so that the float32 counts stay exact."""
    band = max(1, _EXACT_FLOAT32 // saliency.shape[1])
    counts = np.zeros((2, 256), np.int64)
    for start in range(0, saliency.shape[0], band):
        rows = slice(start, start + band)
        mask = None if valid is None else valid[rows]
        joint = cv2.calcHist([saliency[rows], labels[rows]], [0, 1], mask, [256, 2], [0, 256, 0, 2])
        counts += joint.T.astype(np.int64)
    return counts
