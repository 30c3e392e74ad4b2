"""How fast it goes, and how long it will take: one video, and the batch around it."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

_WINDOW = 30.0
"""Seconds over which the rate is taken."""
_FIRST = 1.0
"""Seconds before which no rate is told: maps come in bursts, a clip at a time."""


class Pace:
    """Counts frames of one video.

    Args:
        total: how many there will be, None when nobody knows.
        clock: seconds.
    """

    def __init__(self, total: int | None, clock: Callable[[], float] = time.monotonic) -> None:
        self.total = total
        self.done = 0
        self._clock = clock
        self._began = clock()
        # The wait for the first clip counts: rates begin low and rise, instead of beginning with hundreds.
        self._seen: deque[tuple[float, int]] = deque([(self._began, 0)])

    def reach(self, frames: int) -> None:
        """`frames` are done by now; containers' counts may be wrong, so the total may have to go."""
        now = self._clock()
        self.done = frames
        if self.total is not None and frames > self.total:
            self.total = None
        if now - self._seen[-1][0] >= 0.25:
            self._seen.append((now, frames))
        while len(self._seen) > 2 and now - self._seen[1][0] > _WINDOW:
            self._seen.popleft()

    @property
    def seconds(self) -> float:
        """Since the video began."""
        return self._clock() - self._began

    @property
    def rate(self) -> float | None:
        """Frames a second over the last half minute, None before there is one."""
        (then, frames), now = self._seen[0], self._clock()
        return (self.done - frames) / (now - then) if now - then >= _FIRST and self.done > frames else None

    @property
    def share(self) -> float:
        """How much of the video is done, 0 to 1; 0 where nobody knows."""
        return min(1.0, self.done / self.total) if self.total else 0.0

    @property
    def left(self) -> float | None:
        """Seconds that the video will still take, None when nobody knows."""
        return (self.total - self.done) / self.rate if self.total is not None and self.rate else None


class BatchPace:
    """Several videos, one after another; the time left goes by the sizes of their files.

    Args:
        sources: the videos and frame folders that are still to be done.
        clock: seconds.
    """

    def __init__(self, sources: Sequence[Path], clock: Callable[[], float] = time.monotonic) -> None:
        self.count = len(sources)
        self.number = 0
        self._clock = clock
        self._began = clock()
        self._sizes = [_source_weight(source) for source in sources]

    def next(self) -> None:
        """Another video begins."""
        self.number += 1

    def left(self, pace: Pace) -> float | None:
        """Seconds that the batch will still take, while a video is at this pace; None when nobody knows."""
        if not 0 < self.number <= self.count or pace.rate is None:
            return None
        now = self._sizes[self.number - 1]
        rest = sum(self._sizes[self.number :])
        done = sum(self._sizes[: self.number - 1]) + now * pace.share
        if not done:
            return None
        own = pace.left if pace.left is not None else 0.0
        return own + (self._clock() - self._began) * rest / done


def clock_text(seconds: float) -> str:
    """Seconds as 0:42, 3:07 or 1:02:03."""
    minutes, second = divmod(max(0, round(seconds)), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


def _source_weight(source: Path) -> float:
    try:
        if source.is_dir():
            return float(sum(entry.stat().st_size for entry in source.iterdir() if entry.is_file()) or 1)
        return float(source.stat().st_size or 1)
    except OSError:
        return 1.0
