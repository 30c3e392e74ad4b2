"""What every source of frames offers: its facts, its frames as a stream, and a count of the damaged ones."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from vsalient.errors import InputError, OptionError
from vsalient.types import Frame, VideoInfo


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
        OptionError: a negative start, or an end that is not after the start.
    """
    if start is not None and start < 0:
        raise OptionError(f"start {start:g} s is negative; give seconds from the beginning, 0 or more.")
    if end is not None and end <= (start or 0.0):
        raise OptionError(f"end {end:g} s is not after start {start or 0:g} s; give a later end.")


def empty_range(path: Path, start: float | None, end: float | None, duration: float | None) -> InputError:
    """The error for a range that holds no frame, with the length of the source when it is known."""
    span = f"from {start or 0:g} s" + (f" to {end:g} s" if end is not None else " on")
    length = f"; it lasts {duration:.2f} s" if duration else ""
    return InputError(f"{path} has no frame {span}{length}. Give another start or end.")
