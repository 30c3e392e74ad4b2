"""Threads with bounded queues between them: errors cross over, and nobody waits for a thread that has died.

No thread of ours runs when the interpreter ends: one that is inside PyTorch or FFmpeg then would abort the process.
"""

import atexit
import contextlib
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

T = TypeVar("T")


_PATIENCE = 60.0
"""Seconds that the end of the program waits for a thread to come back from a clip or a read."""
_running: "weakref.WeakSet[Ahead[Any] | Sink[Any]]" = weakref.WeakSet()


class Stopped(Exception):  # noqa: N818 - a signal between threads, not an error
    """The other side of a channel has gone."""


class Channel(Generic[T]):
    """A bounded queue between one producer and one consumer, either of which may leave at any time."""

    def __init__(self, depth: int) -> None:
        self._items: deque[T] = deque()
        self._depth = depth
        self._changed = threading.Condition()
        self._ended = False
        self._stopped = False
        self._error: BaseException | None = None

    def put(self, item: T) -> None:
        """Add an item, waiting for room. Raises Stopped, or the consumer's error, when it has gone."""
        with self._changed:
            self._wait(lambda: self._stopped or len(self._items) < self._depth)
            if self._stopped:
                raise self._error or Stopped
            self._items.append(item)
            self._changed.notify_all()

    def get(self) -> T:
        """Take the next item, waiting for one.

        Raises:
            StopIteration: the producer has ended.
            Stopped: the channel was stopped.
            BaseException: the producer's own error, after the items that came before it.
        """
        with self._changed:
            self._wait(lambda: self._stopped or self._ended or len(self._items) > 0)
            if self._stopped:
                raise Stopped
            if self._items:
                self._changed.notify_all()
                return self._items.popleft()
            if self._error is not None:
                raise self._error
            raise StopIteration

    def end(self, error: BaseException | None = None) -> None:
        """The producer has no more items, because of `error` if one is given."""
        with self._changed:
            self._ended, self._error = True, self._error or error
            self._changed.notify_all()

    def stop(self, error: BaseException | None = None) -> None:
        """Drop everything and wake both sides; a later `put` raises `error` if one is given."""
        with self._changed:
            self._stopped, self._error = True, self._error or error
            self._items.clear()
            self._changed.notify_all()

    def _wait(self, condition: Callable[[], bool]) -> None:
        # The timeout lets Ctrl-C through on Windows, where an endless wait cannot be interrupted.
        while not self._changed.wait_for(condition, timeout=0.5):
            pass


class Ahead(Generic[T], Iterator[T]):
    """Iterates over `items` in a thread of its own, at most `depth` items ahead of the reader.

    The items' error comes out of `next()` after the items before it. Leaving the `with` block early closes the
    iterator (within its thread) and waits for the thread.
    """

    def __init__(self, items: Iterable[T], depth: int, name: str) -> None:
        self._items = items
        self._channel: Channel[T] = Channel(depth)
        self._thread = _start(self, self._run, name)

    def __next__(self) -> T:
        return self._channel.get()

    def stop(self) -> None:
        """Ask the thread to leave, and wake whoever reads."""
        self._channel.stop()

    def join(self, timeout: float | None = None) -> None:
        """Wait until the thread has left, for `timeout` seconds at most."""
        self._thread.join(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self.join()

    def _run(self) -> None:
        iterator = iter(self._items)
        try:
            for item in iterator:
                self._channel.put(item)
        except Stopped:
            self._channel.stop()
        except BaseException as error:
            self._channel.end(error)
        else:
            self._channel.end()
        finally:
            close = getattr(iterator, "close", None)
            if close is not None:
                close()


class Sink(Generic[T]):
    """Hands items to `consume` in a thread of its own, at most `depth` items behind the giver."""

    def __init__(self, consume: Callable[[T], None], depth: int, name: str) -> None:
        self._consume = consume
        self._channel: Channel[T] = Channel(depth)
        self._error: BaseException | None = None
        self._thread = _start(self, self._run, name)

    def put(self, item: T) -> None:
        """Hand over an item, waiting for room; raises the error that `consume` raised, if it has."""
        self._channel.put(item)

    def finish(self) -> None:
        """Wait until every item is consumed; raises the error that `consume` raised, if it has."""
        self._channel.end()
        self._thread.join()
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Ask the thread to leave; the items that wait are dropped."""
        self._channel.stop()

    def join(self, timeout: float | None = None) -> None:
        """Wait until the thread has left, for `timeout` seconds at most."""
        self._thread.join(timeout)

    def _run(self) -> None:
        try:
            while True:
                try:
                    item = self._channel.get()
                except (StopIteration, Stopped):
                    return
                self._consume(item)
        except BaseException as error:
            self._error = error
            self._channel.stop(error)


def stop_all() -> None:
    """Stop all threads, and wait for them; the program is about to end."""
    running = list(_running)
    with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C once more: nobody wants to wait
        for worker in running:
            worker.stop()
        last = time.monotonic() + _PATIENCE
        for worker in running:
            worker.join(max(0.0, last - time.monotonic()))


def _start(worker: "Ahead[Any] | Sink[Any]", run: Callable[[], None], name: str) -> threading.Thread:
    # Registered with the first thread, hence after PyTorch's own handlers, and called before them.
    if not _running:
        atexit.unregister(stop_all)
        atexit.register(stop_all)
    _running.add(worker)
    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    return thread
