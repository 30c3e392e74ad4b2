"""Hysteresis over space and time: a weak region survives where it touches a strong one."""

from collections import deque
from collections.abc import Iterator

import numpy as np

from vsalient.errors import OptionError
from vsalient.segment.binarise import IndexedMask, Threshold
from vsalient.segment.regions import Labels, label, overlaps, select
from vsalient.types import MaskArray, SaliencyArray

LOOK_AHEAD = 16
"""Frames a weak region may wait for a strong one that appears later."""


class _Group:
    """A set of weak regions connected through space and time; a forest of parents, as in union-find."""

    __slots__ = ("last", "parent", "strong")

    def __init__(self, last: int, strong: bool) -> None:
        self.parent: _Group | None = None
        self.last = last
        self.strong = strong

    def root(self) -> "_Group":
        group = self
        while group.parent is not None:
            group = group.parent
        # Shorten the way for the next who asks: groups of a long video would else become chains as long as it.
        node = self
        while node.parent is not None:
            node.parent, node = group, node.parent
        return group

    def join(self, other: "_Group") -> None:
        mine, theirs = self.root(), other.root()
        if mine is not theirs:
            # Which of both becomes the root does not matter: strength and age are kept at the root alone.
            theirs.parent = mine
            mine.last = max(mine.last, theirs.last)
            mine.strong = mine.strong or theirs.strong


class _Held:
    """A frame that waits: its weak regions' labels (0 is background) and their groups (by label − 1)."""

    __slots__ = ("groups", "index", "labels", "position")

    def __init__(self, index: int, position: int, labels: Labels, groups: list[_Group]) -> None:
        self.index = index
        self.position = position
        self.labels = labels
        self.groups = groups

    def settled(self, newest: int) -> bool:
        """Whether no later frame can change this frame's mask."""
        # A weak group that ended before the newest frame has nothing left to touch; a strong one stays strong.
        roots = (group.root() for group in self.groups)
        return all(root.strong or root.last < newest for root in roots)

    def mask(self) -> MaskArray:
        return select(np.array([False, *(group.root().strong for group in self.groups)]), self.labels)


class HysteresisThreshold(Threshold):
    """Keeps the regions `map >= low` that hold, or are connected to, a pixel with `map >= high`.

    Regions are 8-connected within a frame, and two regions of neighbouring frames are connected when they
    share a pixel. A region that becomes strong only later is recovered if that happens within `look_ahead`
    frames; strength carries forward in time without limit. At most `look_ahead + 1` label images are held.
    """

    def __init__(self, low: float, high: float, *, look_ahead: int = LOOK_AHEAD) -> None:
        """Take both levels, in [0, 1], and how many frames a mask may wait.

        Raises:
            OptionError: the levels are out of order or out of range, or `look_ahead` is negative.
        """
        if not 0.0 <= low <= high <= 1.0:
            raise OptionError(
                f"Hysteresis levels {low:g},{high:g} must be 0 ≤ low ≤ high ≤ 1, for example hysteresis:0.3,0.7."
            )
        if look_ahead < 0:
            raise OptionError(f"A look-ahead of {look_ahead} frames is not possible; give 0 or more.")
        self.low = low
        self.high = high
        self.look_ahead = look_ahead
        self.spec = f"hysteresis:{low:g},{high:g}"
        self._held: deque[_Held] = deque()
        self._newest: _Held | None = None
        self._count = 0

    def push(self, index: int, saliency: SaliencyArray) -> list[IndexedMask]:
        """Take a map; return the masks that no later frame can change, or that waited long enough."""
        count, labels = label(saliency >= np.float32(self.low))
        strong = np.zeros(count, dtype=np.bool_)
        # low <= high: every pixel above the high level lies in some region of the low one.
        strong[labels[saliency >= np.float32(self.high)]] = True
        groups = [_Group(self._count, bool(flag)) for flag in strong[1:]]
        if self._newest is not None and self._newest.groups and groups:
            for before, now, _ in overlaps(self._newest.labels, labels):
                groups[now - 1].join(self._newest.groups[before - 1])
        self._newest = _Held(index, self._count, labels, groups)
        self._held.append(self._newest)
        self._count += 1
        return list(self._release())

    def finish(self) -> list[IndexedMask]:
        """Return the masks of all frames that still wait."""
        held, self._held, self._newest = self._held, deque(), None
        return [(frame.index, frame.mask()) for frame in held]

    def fresh(self, sequence: str | None = None) -> Threshold:
        """Return an unused threshold with the same levels."""
        return HysteresisThreshold(self.low, self.high, look_ahead=self.look_ahead)

    def _release(self) -> Iterator[IndexedMask]:
        newest = self._count - 1
        # Masks leave in order, so that one frame that is not settled holds back those behind it, up to the look-ahead.
        while self._held:
            first = self._held[0]
            if newest - first.position < self.look_ahead and not first.settled(newest):
                return
            self._held.popleft()
            yield first.index, first.mask()
