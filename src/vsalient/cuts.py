"""Hard cuts, found in the stream: where one scene ends and another begins from one frame to the next.

Two neighbouring frames of one scene agree once motion is undone, whatever the exposure; across a cut they do not, and
the flow that tries to make them agree is rough. A frame begins a scene when its change from the frame before stands out
among its neighbours' (as in PySceneDetect's AdaptiveDetector, whose measure is a difference of colours), and neither a
flash nor a fast pan explains it. NumPy and OpenCV only.
"""

import itertools
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from vsalient.types import Frame, Pixels

_SIDE = 96  # pixels of the longer side that changes are measured at
_LEAST = 0.14  # a change below this is never a cut
_ABOVE, _MARGIN = 1.5, 0.02  # a cut changes more than this times what its neighbours do, and this on top
_AROUND = 2  # neighbours on either side
_STILL = 0.004  # a smaller change is a repeated picture, which tells nothing of what is usual
_REACH = 12  # frames back at most to the last pictures that were not repeats
_AHEAD = 4  # frames that are waited for after one that may begin a scene
_STRANGE = 0.6  # changes above this all mean the same: nothing in common
_SAME = 0.45  # frames further apart match when they differ by less than this share of the change at hand
_ALIKE = 0.75  # the same where brightness too says that something has come back
_FLASH = 8.0  # levels of mean luma that a flash or a black frame differs by at least
_BRIGHT = 40.0  # levels after which brightness alone nearly decides
_PER_LEVEL, _MOVED_ON = (
    1 / 250,
    0.45,
)  # what comes back with its brightness may have moved on by so much a level, and at most
_RESTORED = 0.35  # share of the flash that may be left when it is over
_STEADY = 0.35  # a pan's neighbours move by at least this share of its step
_PANNED = 0.2  # what both frames show of a pan differs by less than this,
_BLURRED = 0.45  # or than this where the neighbours move as far,
_FOLLOWED = 10.0  # and further than so many pixels of a look, which the flow follows by itself

_Luma = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class _Look:
    """What is kept of a frame: (h, w) luma less its mean over its spread, the same as 8 bits, and the mean."""

    even: _Luma
    levels: NDArray[np.uint8]
    mean: float


class CutFinder:
    """Says of each frame in turn whether it begins a new scene; most are known at once, some a few frames later.

    The first frame begins no new scene. Scenes shorter than three frames, and flashes, stay part of what is around.
    """

    def __init__(self) -> None:
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self._flow.setFinestScale(0)
        self._looks: deque[_Look] = deque()  # of decided frames the last few, of all undecided ones
        self._changes: deque[float] = deque()  # each look's from the one before it
        self._moves: deque[float] = deque()  # how far most of the picture moved, in pixels of a look
        self._decided = 0  # how many of them

    def push(self, pixels: Pixels) -> list[bool]:
        """Take the next frame, (H, W, 3) uint8; give what is now known, in order, of the oldest frames not yet told."""
        look = _look(pixels)
        same_size = bool(self._looks) and self._looks[-1].even.shape == look.even.shape
        change, move = self._compare(self._looks[-1], look) if same_size else (0.0, 0.0)
        self._changes.append(change)
        self._moves.append(move)
        self._looks.append(look)
        return self._decide(final=False)

    def finish(self) -> list[bool]:
        """Give what is left to be told; the finder is then as new."""
        told = self._decide(final=True)
        for kept in (self._looks, self._changes, self._moves):
            kept.clear()
        self._decided = 0
        return told

    def _decide(self, *, final: bool) -> list[bool]:
        told = []
        while self._decided < len(self._looks):
            at = self._decided
            if self._changes[at] > _LEAST and len(self._looks) <= at + _AHEAD and not final:
                break
            cut = self._changes[at] > _LEAST and self._begins_scene(at)
            if cut:
                self._changes[at] = 0.0  # not what is usual for the frames after it
            told.append(cut)
            self._decided += 1
        while self._decided > _REACH:
            for kept in (self._looks, self._changes, self._moves):
                kept.popleft()
            self._decided -= 1
        return told

    def _begins_scene(self, at: int) -> bool:
        change = self._changes[at]
        changes = list(self._changes)
        before = [value for value in changes[:at] if value > _STILL][-_AROUND:]
        after = [value for value in changes[at + 1 :] if value > _STILL][:_AROUND]
        usual = max((*before, *after), default=0.0)
        # Where nothing comes after, half of the evidence is missing.
        if change <= _ABOVE * usual + _MARGIN or (not after and change <= 2 * _ABOVE * usual + 4 * _MARGIN):
            return False
        looks, moves = list(self._looks), list(self._moves)
        earlier, later = looks[max(0, at - _AHEAD) : at], looks[at : at + _AHEAD]
        near = (*changes[max(1, at + 1 - _AHEAD) : at], *changes[at + 1 : at + _AHEAD])
        change = min(change, _STRANGE)
        if self._goes_on(earlier, later, change, interrupted=max(near, default=0.0) > _SAME * change):
            return False
        around = max((*moves[max(1, at - _AROUND) : at], *moves[at + 1 : at + 1 + _AROUND]), default=0.0)
        return not self._is_pan(earlier[-1], later[0], change, around)

    def _goes_on(self, earlier: Sequence[_Look], later: Sequence[_Look], change: float, *, interrupted: bool) -> bool:
        """Whether some frame before matches some frame after: what lies between was a flash, or a black frame.

        An interruption ends as it began, with another great change (`interrupted`), or is told by its brightness.
        """
        last, first = earlier[-1], later[0]
        step = abs(first.mean - last.mean)
        abrupt = any(abs(b.mean - a.mean) > step / 2 for a, b in itertools.pairwise(earlier))
        share = _ALIKE if step < _BRIGHT else (1 + _ALIKE) / 2
        for a in earlier:
            for b in later:
                if a is last and b is first:
                    continue
                flash = (a is last or (b is first and abrupt)) and step > _FLASH
                if flash and abs(b.mean - a.mean) < _RESTORED * step:
                    limit = max(share * change, min(_PER_LEVEL * step, _MOVED_ON) if step > _BRIGHT else 0.0)
                elif interrupted:
                    limit = _SAME * change
                else:
                    continue
                if self._compare(a, b)[0] < limit:
                    return True
        return False

    def _is_pan(self, first: _Look, second: _Look, change: float, around: float) -> bool:
        """Whether one frame is the other moved by more than optical flow can follow, while the camera moves anyway."""
        for x, y in _shifts(first.even, second.even):
            far = float(np.hypot(x, y))
            if around >= _STEADY * far:
                a, b = _overlap(first, second, x, y)
                as_far = far > _FOLLOWED and abs(around - far) < far / 4
                limit = _BLURRED if as_far else min(_SAME * change, _PANNED)
                if a.even.size >= 0.3 * first.even.size and self._compare(a, b)[0] < limit:
                    return True
        return False

    def _compare(self, first: _Look, second: _Look) -> tuple[float, float]:
        """How little two frames have in common, and how far most of the picture moved.

        The first is 1 - their correlation once motion is undone, and half the flow's roughness: 0 for the same picture,
        about 1 for two that have nothing to do with each other.
        """
        flow = np.asarray(self._flow.calc(first.levels, second.levels, None))  # type: ignore[call-overload]
        height, width = first.levels.shape
        y, x = np.mgrid[:height, :width].astype(np.float32)
        x += flow[..., 0]
        y += flow[..., 1]
        inside = (x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1)
        moved = cv2.remap(second.levels, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        rough = float(np.abs(np.diff(flow, axis=0)).mean() + np.abs(np.diff(flow, axis=1)).mean())
        move = float(np.hypot(np.median(flow[..., 0]), np.median(flow[..., 1])))
        return 1.0 - _correlation(first.levels[inside], moved[inside]) + rough / 2, move


def mark_scenes(frames: Iterable[Frame]) -> Iterator[Frame]:
    """Number the scenes: each frame with its `scene`, 0, 1, 2, …; a few frames behind where a cut may be."""
    finder = CutFinder()
    waiting: deque[Frame] = deque()
    scene = 0
    for frame in frames:
        waiting.append(frame)
        for cut in finder.push(frame.pixels):
            scene += cut
            yield replace(waiting.popleft(), scene=scene)
    for cut in finder.finish():
        scene += cut
        yield replace(waiting.popleft(), scene=scene)


def _look(pixels: Pixels) -> _Look:
    height, width = pixels.shape[:2]
    scale = min(1.0, _SIDE / max(height, width))
    size = (max(16, round(width * scale)), max(16, round(height * scale)))
    small = cv2.cvtColor(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    mean, spread = float(small.mean()), float(small.std())
    even = (small.astype(np.float32) - np.float32(mean)) / np.float32(spread + 4)
    return _Look(even, np.clip(even * 48 + 128, 0, 255).astype(np.uint8), mean)


def _correlation(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """Pearson's, 1 for two pictures without structure."""
    if first.size < 50:
        return 0.0
    if first.std() <= 1 and second.std() <= 1:
        return 1.0
    if first.std() <= 1 or second.std() <= 1:
        return 0.0
    return float(np.corrcoef(first.astype(np.float32), second.astype(np.float32))[0, 1])


def _shifts(first: _Luma, second: _Luma) -> Iterator[tuple[int, int]]:
    """Whole-picture moves (x, y) that may bring the first frame onto the second."""
    height, width = first.shape
    window = cv2.createHanningWindow((width, height), cv2.CV_32F)
    (x, y), _ = cv2.phaseCorrelate(first, second, window)
    yield from _far(x, y)
    third = width // 3
    for left in (0, third, width - third):
        part = first[height // 6 : height - height // 6, left : left + third]
        _, _, _, place = cv2.minMaxLoc(cv2.matchTemplate(second, part, cv2.TM_CCOEFF_NORMED))
        yield from _far(place[0] - left, place[1] - height // 6)


def _far(x: float, y: float) -> Iterator[tuple[int, int]]:
    """A move that is one: what stands still needs no explanation."""
    if max(abs(x), abs(y)) >= 3:
        yield round(x), round(y)


def _overlap(first: _Look, second: _Look, x: int, y: int) -> tuple[_Look, _Look]:
    """What both frames show when the first is moved by (x, y)."""
    height, width = first.even.shape
    ours = np.s_[max(0, -y) : height - max(0, y), max(0, -x) : width - max(0, x)]
    theirs = np.s_[max(0, y) : height - max(0, -y), max(0, x) : width - max(0, -x)]
    return tuple(  # type: ignore[return-value]
        _Look(look.even[place], np.ascontiguousarray(look.levels[place]), look.mean)
        for look, place in ((first, ours), (second, theirs))
    )
