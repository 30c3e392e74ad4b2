"""What every output offers, and how a file or folder comes to its final name only when it is whole."""

import contextlib
import errno
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import av

from vsalient.errors import OutputError
from vsalient.staging import publish, staged_name
from vsalient.types import Frame, SaliencyArray

_REASONS = {
    errno.EEXIST: "another run was quicker; overwrite it explicitly or choose another name",
    errno.ENOSPC: "the disk is full; free some space or choose another place",
    errno.EDQUOT: "the disk quota is used up; free some space or choose another place",
    errno.EFBIG: "the file would be larger than allowed; choose another place",
    errno.EACCES: "permission denied; choose another place",
    errno.EPERM: "permission denied; choose another place",
    errno.EROFS: "the file system is read-only; choose another place",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.ENAMETOOLONG: "the name is too long",
}


class Output(ABC):
    """Something that frames and their saliency are written to, one by one, in order.

    `close` puts the finished result in its place, `abort` leaves no trace. As a context manager it closes when the
    block ends well and aborts when it does not.

    Attributes:
        path: the final name.
    """

    path: Path

    @abstractmethod
    def write(self, frame: Frame, saliency: SaliencyArray) -> None:
        """Add one frame.

        Args:
            frame: the source's frame, uint8 RGB.
            saliency: (H, W) of the frame's size, foreground probability in [0, 1].

        Raises:
            OutputError: the place cannot be written to (full disk, no permission).
        """

    @abstractmethod
    def close(self) -> None:
        """Finish and move to the final name; calling it twice does no harm.

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


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn failures of the file system or of FFmpeg into one line that names `path`."""
    try:
        yield
    except (OSError, av.FFmpegError) as error:
        reason = _REASONS.get(error.errno or 0) or (error.strerror or str(error)).lower()
        raise OutputError(f"{path} cannot be written: {reason}.") from error


def hidden_sibling(path: Path) -> Path:
    """A name beside `path`, on the same file system, that is hidden and not in use; the suffix stays."""
    return staged_name(path)


def refuse_existing(path: Path, *, overwrite: bool) -> None:
    """Refuse to replace a file or a folder with content unless told to.

    Raises:
        OutputError: it is there already.
    """
    with writing(path):
        taken = any(path.iterdir()) if path.is_dir() else path.exists() or path.is_symlink()
    if taken and not overwrite:
        raise OutputError(f"{path} exists already; overwrite it explicitly or choose another name.")


class StagedFolder:
    """A folder filled under a hidden name beside its final one.

    Args:
        path: the final name; an empty folder may stand there.
        overwrite: a folder that stands there is replaced if it holds nothing but PNG files; else the new files are put
            among what it holds.

    Raises:
        OutputError: it exists with content and `overwrite` is off, or the place cannot be written to.
    """

    def __init__(self, path: Path, *, overwrite: bool = False) -> None:
        if path.exists() and not path.is_dir():
            raise OutputError(f"{path} is a file where a folder of pictures should go; choose another name.")
        refuse_existing(path, overwrite=overwrite)
        self.path = path
        self._overwrite = overwrite
        self._staging: Path | None = hidden_sibling(path)
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._staging.mkdir()

    def write(self, name: str, content: bytes) -> None:
        """Add one file.

        Raises:
            OutputError: the place cannot be written to.
        """
        assert self._staging is not None, "the folder is closed"
        with writing(self.path / name):
            (self._staging / name).write_bytes(content)

    def close(self) -> None:
        """Move the folder to its final name.

        Raises:
            OutputError: the place cannot be written to.
        """
        staging, self._staging = self._staging, None
        if staging is None:
            return
        with contextlib.ExitStack() as undo, writing(self.path):
            undo.callback(shutil.rmtree, staging, ignore_errors=True)
            if (
                not self._overwrite
                or not self.path.exists()
                or all(p.suffix.lower() == ".png" and p.is_file() for p in self.path.iterdir())
            ):
                publish(staging, self.path, overwrite=self._overwrite)
            else:
                for file in staging.iterdir():
                    file.replace(self.path / file.name)

    def abort(self) -> None:
        """Remove what was written."""
        if self._staging is not None:
            shutil.rmtree(self._staging, ignore_errors=True)
            self._staging = None
