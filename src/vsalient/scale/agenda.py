"""What is still to be done, in order, with what must wait: a failure for its next try, a busy claim for its owner."""

import heapq
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Task:
    """One input with its outputs.

    Attributes:
        source: the input as given.
        outputs: kind -> where it goes.
        redo: what stands there is ours, half done or of other settings, and may be replaced.
        attempts: failed tries so far in this run.
    """

    source: str
    outputs: dict[str, Path]
    redo: bool = False
    attempts: int = 0


@dataclass
class Outcome:
    """What became of a task, or of an input that never became one.

    Attributes:
        source: the input, as given or by its address.
        state: done, partial, failed, skipped (done before, or by another worker), or lost (taken over meanwhile).
        error: one line for partial (the source was cut short; the outputs hold what is there) and failed, else None.
        written: kind of output -> path or address, of what is done or partial.
        summary: figures: frames, seconds, stage times.
        warnings: lines that were logged on the way.
        engine: what the network ran on, in one line.
        final: another try would be no use (a wrong option, a model that cannot be loaded).
        note: why it was skipped.
    """

    source: str
    state: str
    error: str | None = None
    written: dict[str, Path | str] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    engine: str | None = None
    final: bool = False
    note: str = ""


class Agenda:
    """Hands out tasks to one or more threads; a task in hand may come back for later.

    Args:
        tasks: the first ones.
        feed: asked for more whenever nothing is ready; None where no more can come.
    """

    def __init__(self, tasks: Iterable[Task], feed: Callable[[], Iterable[Task]] | None = None) -> None:
        self._ready = deque(tasks)
        self._later: list[tuple[float, int, Task]] = []
        self._order = itertools.count()
        self._in_hand = 0
        self._closed = False
        self._feed = feed
        self._changed = threading.Condition()

    def take(self) -> Task | None:
        """The next task, waiting for one that must wait; None when all is done or the agenda was closed."""
        with self._changed:
            while not self._closed:
                now = time.monotonic()
                while self._later and self._later[0][0] <= now:
                    self._ready.append(heapq.heappop(self._later)[2])
                if not self._ready and self._feed is not None:
                    self._ready.extend(self._feed())
                if self._ready:
                    self._in_hand += 1
                    return self._ready.popleft()
                if not self._later and not self._in_hand and self._feed is None:
                    break
                wait = min(0.5, self._later[0][0] - now) if self._later else 0.5
                self._changed.wait(max(0.01, wait))
            self._changed.notify_all()
            return None

    def later(self, task: Task, seconds: float) -> None:
        """Give a task back, to be taken again after some seconds."""
        with self._changed:
            heapq.heappush(self._later, (time.monotonic() + seconds, next(self._order), task))
            self._in_hand -= 1
            self._changed.notify_all()

    def done(self) -> None:
        """A task in hand is finished."""
        with self._changed:
            self._in_hand -= 1
            self._changed.notify_all()

    def close(self) -> None:
        """Hand out nothing more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
