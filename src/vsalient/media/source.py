"""What every source of frames offers: its facts, its frames as a stream, and a count of the damaged ones."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

from vsalient.errors import InputError, OptionError
from vsalient.types import Frame, VideoInfo

_LATEST = 1e9  # seconds, 30 years: FFmpeg's clocks hold no much later time
_SLOWEST, _FASTEST = 0.001, 100_000  # frames a second


class Source(ABC):
    """Frames of one video, picture or frame folder, in presentation order. One pass; a context manager.

    Attributes:
        info: what the source says of itself.
        corrupt_frames: damaged pictures delivered so far (see `Frame.corrupt`).
        cut_short: the file ended before its end; known once all frames were delivered.
    """

    info: VideoInfo
    corrupt_frames: int = 0
    cut_short: bool = False

    @abstractmethod
    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames once; a later call goes on where the first one stopped."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the file; calling it twice does no harm."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def check_range(start: float | None, end: float | None) -> None:
    """Refuse a time range that is empty by itself.

    Raises:
        OptionError: a negative start, an end that is not after the start, or no number of seconds at all.
    """
    for name, seconds in (("start", start), ("end", end)):
        if seconds is not None and not abs(seconds) <= _LATEST:  # NaN too
            raise OptionError(f"{name} {seconds:g} s is no time in a video; give seconds from the beginning.")
    if start is not None and start < 0:
        raise OptionError(f"start {start:g} s is negative; give seconds from the beginning, 0 or more.")
    if end is not None and end <= (start or 0.0):
        raise OptionError(f"end {end:g} s is not after start {start or 0:g} s; give a later end.")


def exact_rate(rate: float | Fraction) -> Fraction:
    """Frames a second as a fraction that media files can hold.

    Raises:
        OptionError: not a rate from 0.001 to 100,000 frames a second.
    """
    if not _SLOWEST <= rate <= _FASTEST:  # NaN too
        raise OptionError(f"rate {float(rate):g} is impossible: give frames a second, from {_SLOWEST} to {_FASTEST}")
    return Fraction(rate).limit_denominator(10_000)


def empty_range(path: Path, start: float | None, end: float | None, duration: float | None) -> InputError:
    """The error for a range that holds no frame, with the length of the source when it is known."""
    span = f"from {start or 0:g} s" + (f" to {end:g} s" if end is not None else " on")
    length = f"; it lasts {duration:.2f} s" if duration else ""
    return InputError(f"{path} has no frame {span}{length}. Give another start or end.")
