"""Stopping a run between two steps: a signal, or the time that it was given."""

import contextlib
import os
import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any, Self

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class Stopping:
    """While it is entered, the first signal to stop is only noted; a second one acts as it would have without.

    Used as a context manager: on leaving, a noted signal is sent again, so that whoever called ends as the signal
    asks for (exit codes stay those of the signal).

    Args:
        minutes: stop after this time too; None for no limit.
    """

    def __init__(self, minutes: float | None = None) -> None:
        self.signal: int | None = None
        self.deadline = None if minutes is None else time.monotonic() + 60 * minutes
        self._before: dict[int, Any] = {}

    def __call__(self) -> bool:
        """Whether to stop now."""
        return self.signal is not None or (self.deadline is not None and time.monotonic() >= self.deadline)

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:  # nohup, or a job in the background
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()
        if error is None and self.signal is not None:
            signal.raise_signal(self.signal)

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal is None:
            self.signal = number
            return
        self._restore()
        signal.raise_signal(number)


def stand_apart() -> None:
    """For worker processes: what stops the whole group of processes shall reach the main one alone.

    It still needs their clips for the step it is in, and ends them itself.
    """
    with contextlib.suppress(OSError, AttributeError):
        os.setpgid(0, 0)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
