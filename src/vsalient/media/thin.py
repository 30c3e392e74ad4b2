"""Fewer frames of a source: every N-th, and no more than so many."""

from collections.abc import Iterator
from dataclasses import replace

from vsalient.errors import OptionError
from vsalient.media.source import Source
from vsalient.types import Frame


def check_thinning(every: int, limit: int | None) -> None:
    """Refuse numbers that leave no frame.

    Raises:
        OptionError: one is below 1.
    """
    if every < 1:
        raise OptionError(f"--every {every} is impossible: give 1 for every frame, 2 for every second one")
    if limit is not None and limit < 1:
        raise OptionError(f"--limit {limit} leaves no frame: give 1 or more")


class Thinned(Source):
    """Every N-th frame of a source, from the first on, and at most so many of them.

    Frames keep their times and stand until the next one that is kept; their indices are counted anew.

    Args:
        source: where the frames come from; closed with this.
        every: 1 for all frames.
        limit: how many at most, None for no limit.

    Raises:
        OptionError: a number below 1.
    """

    def __init__(self, source: Source, *, every: int = 1, limit: int | None = None) -> None:
        check_thinning(every, limit)
        self._source, self._every, self._limit = source, every, limit
        info = source.info
        count = info.frames_estimate
        if count is not None:
            count = -(-count // every) if limit is None else min(limit, -(-count // every))
        rate = info.rate / every if info.rate else None
        self.info = replace(info, rate=rate, frames_estimate=count, breaks_off=info.breaks_off or limit is not None)
        self._frames = self._kept()

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames once."""
        yield from self._frames

    def close(self) -> None:
        """Let go of the source."""
        self._source.close()

    def _kept(self) -> Iterator[Frame]:
        held: Frame | None = None
        index = 0
        for number, frame in enumerate(self._source):
            if number % self._every:
                # It passes unseen, and the kept one stands on.
                if held is not None and held.duration is not None and frame.duration is not None:
                    held = replace(held, duration=held.duration + frame.duration)
                continue
            if held is not None:
                yield held
                if index == self._limit:
                    return
            held = replace(frame, index=index)
            index += 1
            self.corrupt_frames += frame.corrupt
        if held is not None:
            yield held
        self.cut_short = self._source.cut_short
