"""Connected parts of masks: labels, choosing among them, and which parts of two frames overlap."""

import cv2
import numpy as np
from numpy.typing import NDArray

from vsalient.types import MaskArray

Labels = NDArray[np.int32]
"""(H, W) part numbers, 0 for what lies outside."""

_FEW = 256
_MOST_BINS = 1 << 20


def label(mask: MaskArray, connectivity: int = 8) -> tuple[int, Labels]:
    """Return the number of labels, 0 included, and the label image of a mask's connected parts."""
    count, labels = cv2.connectedComponents(mask.view(np.uint8), connectivity=connectivity, ltype=cv2.CV_32S)
    return count, np.asarray(labels, dtype=np.int32)


def label_with_areas(mask: MaskArray, connectivity: int = 8) -> tuple[int, Labels, Labels]:
    """Return the same, and each label's area in pixels."""
    count, labels, areas, _ = label_with_boxes(mask, connectivity)
    return count, labels, areas


def label_with_boxes(mask: MaskArray, connectivity: int = 8) -> tuple[int, Labels, Labels, Labels]:
    """Return the same, each label's area, and each label's top, left, height and width, (labels, 4)."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(
        mask.view(np.uint8), connectivity=connectivity, ltype=cv2.CV_32S
    )
    order = (cv2.CC_STAT_TOP, cv2.CC_STAT_LEFT, cv2.CC_STAT_HEIGHT, cv2.CC_STAT_WIDTH)
    return (
        count,
        np.asarray(labels, np.int32),
        np.asarray(stats[:, cv2.CC_STAT_AREA], dtype=np.int32),
        np.asarray(stats[:, order], np.int32),
    )


def select(keep: NDArray[np.bool_], labels: Labels) -> MaskArray:
    """Return the mask of the labels for which `keep` is true."""
    if len(keep) <= _FEW:  # a table of bytes is ten times as fast as indexing
        table = np.zeros(_FEW, dtype=np.uint8)
        table[: len(keep)] = keep
        chosen: MaskArray = np.asarray(cv2.LUT(labels.astype(np.uint8), table), dtype=np.uint8).view(np.bool_)
        return chosen
    mask: MaskArray = keep[labels]
    return mask


def overlaps(first: Labels, second: Labels) -> list[tuple[int, int, int]]:
    """Return (label of `first`, label of `second`, shared pixels), labels above 0, by ascending labels."""
    shared = np.flatnonzero((first > 0) & (second > 0))
    left, right = first.reshape(-1)[shared], second.reshape(-1)[shared]
    if len(shared) == 0:
        return []
    base = int(right.max()) + 1
    codes = left.astype(np.int64) * base + right
    if (int(left.max()) + 1) * base <= _MOST_BINS:
        counts = np.bincount(codes)
        pairs = np.flatnonzero(counts)
        counts = counts[pairs]
    else:
        pairs, counts = np.unique(codes, return_counts=True)
    return [(int(pair // base), int(pair % base), int(n)) for pair, n in zip(pairs, counts, strict=True)]
