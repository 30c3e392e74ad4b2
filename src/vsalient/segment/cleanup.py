"""What users do to masks by hand otherwise: specks, holes, the largest objects, flicker."""

from collections import deque

import numpy as np

from vsalient.errors import OptionError
from vsalient.segment.binarise import IndexedMask
from vsalient.segment.regions import label, label_with_areas, select
from vsalient.types import MaskArray


def remove_specks(mask: MaskArray, min_area: int) -> MaskArray:
    """Return the mask without its 8-connected parts of fewer than `min_area` pixels."""
    count, labels, areas = label_with_areas(mask)
    keep = np.zeros(count, dtype=np.bool_)
    keep[1:] = areas[1:] >= min_area
    return mask.copy() if keep[1:].all() else select(keep, labels)


def keep_largest(mask: MaskArray, number: int) -> MaskArray:
    """Return the mask's `number` largest 8-connected parts."""
    count, labels, areas = label_with_areas(mask)
    if count - 1 <= number:
        return mask.copy()
    keep = np.zeros(count, dtype=np.bool_)
    keep[1 + np.argsort(-areas[1:], kind="stable")[:number]] = True
    return select(keep, labels)


def fill_holes(mask: MaskArray) -> MaskArray:
    """Return the mask with every background region filled that does not reach the image's border."""
    count, labels = label(~mask, 4)
    hole = np.ones(count, dtype=np.bool_)
    hole[0] = False
    for rim in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        hole[rim] = False
    return mask | select(hole, labels) if hole.any() else mask.copy()


class TemporalMedian:
    """Each pixel takes what it is in most of `window` frames around its own; less at both ends of a sequence.

    The window is odd; near the ends it shrinks evenly on both sides, so the first and last mask pass
    unchanged.
    """

    def __init__(self, window: int) -> None:
        """Take the number of frames, odd.

        Raises:
            OptionError: the number is even or below 1.
        """
        if window < 1 or window % 2 == 0:
            raise OptionError(f"A temporal median over {window} frames has no middle; give an odd number, such as 5.")
        self.window = window
        self._reach = window // 2
        self._held: deque[IndexedMask] = deque(maxlen=window)
        self._seen = 0
        self._done = 0

    def push(self, index: int, mask: MaskArray) -> list[IndexedMask]:
        """Take a mask; return those whose window is complete."""
        self._held.append((index, mask))
        self._seen += 1
        result = []
        while self._done + min(self._done, self._reach) < self._seen:
            result.append(self._median(min(self._done, self._reach)))
        return result

    def finish(self) -> list[IndexedMask]:
        """Return the masks whose window the sequence's end cuts short."""
        result = []
        while self._done < self._seen:
            result.append(self._median(min(self._done, self._reach, self._seen - 1 - self._done)))
        return result

    def _median(self, reach: int) -> IndexedMask:
        middle = self._done - (self._seen - len(self._held))
        self._done += 1
        index, mask = self._held[middle]
        if reach == 0:
            return index, mask
        votes = np.zeros(mask.shape, dtype=np.uint16)
        for offset in range(-reach, reach + 1):
            votes += self._held[middle + offset][1]
        return index, votes > reach
