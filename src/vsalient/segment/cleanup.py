"""What users do to masks by hand otherwise: specks, holes, the largest objects, flicker, instances with lasting ids."""

from collections import deque

import cv2
import numpy as np

from vsalient.errors import OptionError
from vsalient.segment.binarise import IndexedMask
from vsalient.segment.regions import Labels, label, label_with_areas, overlaps, select
from vsalient.types import InstanceMap, MaskArray

TRACK_PATIENCE = 12
"""Frames that an object may be out of sight and still get its number back where it was."""


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


PIECE, GAP = 0.25, 2.0
"""A part smaller than the first share of an object may be a piece of it: a speck up to so many of its sides (roots of
its area) away, the less the larger it is."""


class InstanceTracker:
    """Numbers a mask's connected parts so that an object keeps its number from frame to frame.

    A part takes the number of the object that it overlaps most, the largest overlap first; each number is given once a
    frame so, and a part that is left gets that of a much larger object nearby, whose piece it is, or a new one. Objects
    that touch become one; there is no appearance model. An object that vanishes is remembered where it was for
    `patience` frames.
    """

    def __init__(self, *, patience: int = TRACK_PATIENCE) -> None:
        """Take the number of frames that a vanished object is remembered."""
        self.patience = patience
        self._memory: InstanceMap | None = None
        self._age: dict[int, int] = {}
        self._next = 1

    def push(self, mask: MaskArray) -> InstanceMap:
        """Return the objects' numbers, (H, W) int32, of the next frame's mask."""
        count, parts, areas = label_with_areas(mask)
        numbers = np.zeros(count, dtype=np.int32)
        for part, number in self._matches(parts, count):
            if numbers[part] == 0 and number not in numbers:
                numbers[part] = number
        for part in 1 + np.argsort(-areas[1:], kind="stable"):  # new numbers from the largest part down
            if numbers[part] == 0:
                numbers[part] = self._owner(int(part), parts, areas, numbers)
            if numbers[part] == 0:
                numbers[part] = self._next
                self._next += 1
        instances: InstanceMap = numbers[parts]
        self._remember(instances, {int(number) for number in numbers[1:]})
        return instances

    def forget(self) -> None:
        """Another scene begins: what comes is new, and numbers go on."""
        self._memory = None
        self._age = {}

    def _owner(self, part: int, parts: Labels, areas: Labels, numbers: Labels) -> int:
        """The object of this frame that a new part is a piece of: much larger, and near; 0 if there is none.

        Only one that was there before: what comes together is told apart. A hand behind a skirt, a wheel behind a
        pole: what parts from an object for some frames keeps its number.
        """
        known = [k for k in range(1, len(areas)) if int(numbers[k]) in self._age]
        large = [k for k in known if areas[part] < PIECE * areas[k]]
        if not large:
            return 0
        piece = parts == part
        best, nearest = 0, np.inf
        for other in sorted(large, key=lambda k: -int(areas[k]))[:4]:
            gaps = cv2.distanceTransform((parts != other).astype(np.uint8), cv2.DIST_L2, 3)
            gap = float(gaps[piece].min()) / float(np.sqrt(areas[other]))
            # The smaller, the farther it may be: a speck is no object, half a person is one.
            allowed = GAP * (1 - float(areas[part]) / (PIECE * float(areas[other])))
            if gap < min(allowed, nearest):
                best, nearest = int(numbers[other]), gap
        return best

    def _matches(self, parts: Labels, count: int) -> list[tuple[int, int]]:
        """Return (part, remembered number) pairs that overlap, the largest overlap first."""
        if self._memory is None or count == 1:
            return []
        found = sorted(overlaps(self._memory, parts), key=lambda pair: -pair[2])
        return [(part, number) for number, part, _ in found]

    def _remember(self, instances: InstanceMap, present: set[int]) -> None:
        self._age = {number: age + 1 for number, age in self._age.items() if number not in present}
        gone = [number for number, age in self._age.items() if age > self.patience]
        for number in gone:
            del self._age[number]
        if self._memory is None:
            self._memory = instances.copy()
        else:
            stale = np.isin(self._memory, [*present, *gone])
            self._memory = np.where(instances > 0, instances, np.where(stale, 0, self._memory))
        self._age.update(dict.fromkeys(present, 0))
