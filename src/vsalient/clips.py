"""Frames to overlapping clips, as a stream: which frame stands in which slot, and when a frame is done with.

A planner is told of every frame as it is decoded and answers with the clips that have become complete. It
never needs the video's length, so the last clips, where frames run out, follow a named *tail policy*:

- `shift` (our default): the last clip is moved back so that it is full and ends at the last frame. Only a
  video shorter than one clip is filled up, by repeating its last frame.
- `repeat-first`: the official 3DC-Seg code. Clips start at 0, s, 2s, … for every start below the number of
  frames; with n frames left for a clip of T, its first frame is repeated:
  `[start] × (T − n + 1), start + 1, …`.
- `repeat-last`: the text of the 3DC-Seg paper (section 4.2). Clips start at 0, s, 2s, … until every frame is
  covered; the last frame fills the last clip.
- `live` (`ClipPlanner(live=True)`, whatever the tail): clips end at the newest frame, and only their last s slots yield
  maps; before the first frame, and after the last, the nearest one is repeated. Nothing is averaged.
- `centred`, `causal`: one clip a frame, of which only the middle (or the last) slot yields a map; frames
  beyond the video's ends repeat the nearest one. For networks that predict one frame of their clip.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator

from vsalient.errors import OptionError
from vsalient.types import Clip
from vsalient.vocabulary import PER_FRAME_TAILS, TAILS, Tail

LONGEST_CLIP = 1024
"""Frames in a clip at most: far more than any network was trained on."""


def check_clips(length: int, overlap: int, tail: str = "shift", interval: int = 1) -> None:
    """Raise OptionError unless the numbers describe a plan that can be followed."""
    if tail not in TAILS:
        raise OptionError(f"tail policy {tail!r} is unknown: choose one of {', '.join(TAILS)}")
    if length < 1:
        raise OptionError(f"clip length {length} is too small: it must be at least 1 frame")
    if length > LONGEST_CLIP:
        raise OptionError(f"clip length {length} is too large: a clip is held in memory, at most {LONGEST_CLIP} frames")
    if not 0 <= overlap < length:
        raise OptionError(
            f"overlap {overlap} does not fit a clip length of {length}: choose one from 0 to {length - 1}"
        )
    if tail in PER_FRAME_TAILS and overlap != length - 1:
        raise OptionError(
            f"overlap {overlap} does not fit the tail policy {tail}, which has one clip a frame: leave the "
            f"overlap out, or give {length - 1}"
        )
    if interval < 1:
        raise OptionError(f"frame interval {interval} is too small: it must be at least 1")


class ClipPlanner:
    """Plans clips of `length` frames, `interval` apart, that overlap by `overlap` frames.

    With an interval of k, the frames 0, k, 2k, … form one sequence, 1, k + 1, … the next, and so on; each is
    cut into clips on its own, so that every frame still gets a map.

    With `live` a map is given as soon as `length - overlap` new frames are here.

    Raises:
        OptionError: the numbers do not fit each other (see `check_clips`).
    """

    def __init__(
        self, length: int, overlap: int, *, tail: Tail = "shift", interval: int = 1, live: bool = False
    ) -> None:
        check_clips(length, overlap, tail, interval)
        self.length, self.overlap, self.tail, self.interval = length, overlap, tail, interval
        self._sequences: list[_Sequence] = [
            _PerFrame(length, tail, phase, interval)
            if tail in PER_FRAME_TAILS
            else _Live(length, length - overlap, tail, phase, interval)
            if live
            else _Overlapping(length, length - overlap, tail, phase, interval)
            for phase in range(interval)
        ]
        self._frames = 0
        self._clips = 0
        self._finished = False

    @property
    def reads_from(self) -> int:
        """The lowest frame index that a later clip can contain: pictures before it may be forgotten."""
        return self._frames if self._finished else min(s.source(s.reads_from) for s in self._sequences)

    @property
    def writes_from(self) -> int:
        """The lowest frame index whose map a later clip can still change: maps before it are final."""
        return self._frames if self._finished else min(s.source(s.writes_from) for s in self._sequences)

    def push(self, index: int) -> list[Clip]:
        """Take note of frame `index` (0, 1, 2, … without a gap); returns the clips that are complete now."""
        assert index == self._frames and not self._finished, (index, self._frames, self._finished)
        self._frames += 1
        return self._clip(self._sequences[index % self.interval], last=False)

    def finish(self) -> list[Clip]:
        """No more frames: returns the clips of the tail, after which every frame is covered."""
        assert not self._finished
        clips = [clip for sequence in self._sequences for clip in self._clip(sequence, last=True)]
        self._finished = True
        return clips

    def _clip(self, sequence: "_Sequence", *, last: bool) -> list[Clip]:
        planned = sequence.finish() if last else sequence.push()
        clips = [
            Clip(self._clips + offset, tuple(sequence.source(local) for local in indices), sequence.outputs)
            for offset, indices in enumerate(planned)
        ]
        self._clips += len(clips)
        return clips


def plan_clips(frames: int, length: int, overlap: int, *, tail: Tail = "shift", interval: int = 1) -> Iterator[Clip]:
    """All clips of a video of `frames` frames, in the order in which the planner gives them."""
    planner = ClipPlanner(length, overlap, tail=tail, interval=interval)
    for index in range(frames):
        yield from planner.push(index)
    yield from planner.finish()


class _Sequence(ABC):
    """The frames phase, phase + interval, …: local index i stands for frame phase + i × interval."""

    outputs: tuple[int, ...] | None = None
    reads_from = 0
    writes_from = 0

    def __init__(self, length: int, tail: Tail, phase: int, interval: int) -> None:
        self.length, self.tail, self.phase, self.interval = length, tail, phase, interval
        self.frames = 0

    def source(self, local: int) -> int:
        return self.phase + local * self.interval

    @abstractmethod
    def push(self) -> list[tuple[int, ...]]: ...

    @abstractmethod
    def finish(self) -> list[tuple[int, ...]]: ...


class _Overlapping(_Sequence):
    """Clips at 0, s, 2s, …; `next` is the start of the next one."""

    def __init__(self, length: int, stride: int, tail: Tail, phase: int, interval: int) -> None:
        super().__init__(length, tail, phase, interval)
        self.stride = stride
        self.next = 0

    def push(self) -> list[tuple[int, ...]]:
        self.frames += 1
        clips = []
        if self.frames == self.next + self.length:
            clips.append(tuple(range(self.next, self.frames)))
            self.next += self.stride
        self.reads_from = self.writes_from = self._earliest()
        return clips

    def _earliest(self) -> int:
        """A moved-back tail clip starts after the last clip and ends no earlier than the newest frame."""
        if self.tail != "shift" or self.next == 0:
            return self.next
        # Whoever forgot a frame that the tail clip reads would find out at the video's end only.
        return min(self.next, max(self.next - self.stride + 1, self.frames - self.length))

    def finish(self) -> list[tuple[int, ...]]:
        length, frames = self.length, self.frames
        # The end of the last clip that was given out; the frames behind it have no map yet.
        covered = self.next - self.stride + length if self.next else 0
        if self.tail == "repeat-first":
            # The official list goes on though every frame is covered: those clips change its averages.
            starts = range(self.next, frames, self.stride)
            return [(start,) * (length - (frames - start)) + tuple(range(start, frames)) for start in starts]
        if covered >= frames:
            return []
        if self.tail == "shift" and frames >= length:
            return [tuple(range(frames - length, frames))]
        return [tuple(range(self.next, frames)) + (frames - 1,) * (length - (frames - self.next))]


class _Live(_Sequence):
    """Clips that end at the newest frame, every `stride` frames; their last `stride` slots are kept."""

    def __init__(self, length: int, stride: int, tail: Tail, phase: int, interval: int) -> None:
        super().__init__(length, tail, phase, interval)
        self.stride = stride
        self.outputs = tuple(range(length - stride, length))

    def push(self) -> list[tuple[int, ...]]:
        self.frames += 1
        return self._clip(self.frames) if self.frames % self.stride == 0 else []

    def finish(self) -> list[tuple[int, ...]]:
        # The last frame fills the slots behind it, as if the film paused.
        return self._clip(self.frames + -self.frames % self.stride) if self.frames % self.stride else []

    def _clip(self, end: int) -> list[tuple[int, ...]]:
        last = self.frames - 1
        clip = tuple(min(max(end - self.length + slot, 0), last) for slot in range(self.length))
        self.writes_from = self.frames
        self.reads_from = min(max(self.frames + self.stride - self.length, 0), last)
        return [clip]


class _PerFrame(_Sequence):
    """One clip a frame; `kept` is the slot of the frame itself."""

    def __init__(self, length: int, tail: Tail, phase: int, interval: int) -> None:
        super().__init__(length, tail, phase, interval)
        self.kept = length // 2 if tail == "centred" else length - 1
        self.outputs = (self.kept,)

    def push(self) -> list[tuple[int, ...]]:
        self.frames += 1
        # The clip of a frame is complete once the frames behind its slot are here.
        after = self.length - 1 - self.kept
        return self._clips(self.frames - after)

    def finish(self) -> list[tuple[int, ...]]:
        return self._clips(self.frames)

    def _clips(self, end: int) -> list[tuple[int, ...]]:
        """The clips of the frames before `end` that have none yet."""
        last = self.frames - 1
        clips = [
            tuple(min(max(centre - self.kept + slot, 0), last) for slot in range(self.length))
            for centre in range(self.writes_from, end)
        ]
        self.writes_from = max(self.writes_from, end)
        # At the end the last frame fills the slots beyond it, so that it is never forgotten before.
        self.reads_from = min(max(self.writes_from - self.kept, 0), max(last, 0))
        return clips
