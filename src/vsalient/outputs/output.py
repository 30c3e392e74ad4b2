"""What every output offers, and what it is opened with."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from vsalient.outputs.looks import Looks
from vsalient.types import Result, VideoInfo


class Output(ABC):
    """Something that results are written to, one by one, in order.

    `finish` does what may still fail, `close` puts the finished thing in its place, `abort` leaves no trace. As a
    context manager it closes when the block ends well and aborts when it does not.

    Attributes:
        path: the final name.
    """

    path: Path

    @abstractmethod
    def write(self, result: Result) -> None:
        """Add one frame's result.

        Raises:
            OutputError: the place cannot be written to (full disk, no permission).
        """

    def finish(self) -> None:  # noqa: B027
        """Write what was held back, so that only the name is missing; nothing, unless the format needs it.

        Raises:
            OutputError: the place cannot be written to.
        """

    @abstractmethod
    def close(self) -> None:
        """Finish and take the final name; calling it twice does no harm.

        Raises:
            OutputError: the place cannot be written to; nothing is left behind then.
        """

    @abstractmethod
    def abort(self) -> None:
        """Remove whatever was written; does nothing once closed."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self.abort()


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """All that an output is opened with; each kind reads what it needs.

    Attributes:
        path: the final name of the file or folder; missing parents are made.
        info: facts of the source.
        source: the source's file, for its sound and pixel aspect; None for a frame folder.
        span: seconds of the source that become time zero of the output, and at which it ends, where it was cut.
        overwrite: replace what exists.
        looks: how it looks.
        stages: seconds that each stage of the run has been busy so far, by name; None where nobody counts.
        shared: what the outputs of one run have in common, by name.
    """

    path: Path
    info: VideoInfo
    source: Path | None = None
    span: tuple[float | None, float | None] = (None, None)
    overwrite: bool = False
    looks: Looks = field(default_factory=Looks)
    stages: Callable[[], Mapping[str, float]] | None = None
    shared: dict[str, Any] = field(default_factory=dict)
