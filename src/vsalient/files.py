"""Files and folders that appear under their final name when they are whole, or not at all: the one way to write here.

What is being written bears a hidden name of `vsalient.staging`, is created by us and by nobody before us, and follows
no link. `commit` gives it its final name in one step, `discard` leaves no trace.
"""

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from vsalient.errors import OutputError
from vsalient.staging import publish, staged_name

_REASONS = {
    errno.EEXIST: "another run was quicker; overwrite it explicitly or choose another name",
    errno.ENOSPC: "the disk is full; free some space or choose another place",
    errno.EDQUOT: "the disk quota is used up; free some space or choose another place",
    errno.EFBIG: "the file would be larger than allowed; choose another place",
    errno.EACCES: "permission denied; choose another place",
    errno.EPERM: "permission denied; choose another place",
    errno.EROFS: "the file system is read-only; choose another place",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.EISDIR: "it is a folder",
    errno.ELOOP: "its links lead in a circle",
    errno.ENAMETOOLONG: "the name is too long",
}


@contextlib.contextmanager
def writing(path: Path, *also: type[Exception]) -> Iterator[None]:
    """Turn failures of the file system into one line that names `path`; `also` names a library's own errors.

    Raises:
        OutputError: what happened inside.
    """
    caught: tuple[type[Exception], ...] = (OSError, *also)
    try:
        yield
    except caught as error:
        number = getattr(error, "errno", None)
        text = getattr(error, "strerror", None) or str(error)
        raise OutputError(f"{path} cannot be written: {_REASONS.get(number or 0) or text.lower()}.") from error


def refuse_existing(path: Path, *, overwrite: bool) -> None:
    """Refuse to replace a file or a folder with content unless told to.

    Raises:
        OutputError: it is there already.
    """
    with writing(path):
        taken = any(path.iterdir()) if path.is_dir() else os.path.lexists(path)
    if taken and not overwrite:
        raise OutputError(f"{path} exists already; overwrite it explicitly or choose another name.")


class StagedFile:
    """A file that is written under a hidden name beside its final one.

    Args:
        path: the final name; missing folders above it are made.
        overwrite: replace what stands there; else what another run put there meanwhile stays too.

    Attributes:
        path: the final name.
        place: where it is written meanwhile; an empty file of ours stands there.

    Raises:
        OutputError: it exists and `overwrite` is off, or the place cannot be written to.
    """

    def __init__(self, path: Path, *, overwrite: bool = True) -> None:
        refuse_existing(path, overwrite=overwrite)
        self.path = path
        self.place = staged_name(path)
        self._overwrite, self._open = overwrite, True
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            # "x" is O_EXCL: a link that somebody planted under this name would be an error, never followed.
            self.place.open("xb").close()

    def write(self, content: bytes | str) -> None:
        """Fill the file; text is UTF-8, its line ends stay as they are.

        Raises:
            OutputError: the place cannot be written to.
        """
        with writing(self.path):
            self.place.write_bytes(content.encode() if isinstance(content, str) else content)

    def text(self) -> IO[str]:
        """The file opened for text in UTF-8, to be written bit by bit.

        Raises:
            OutputError: the place cannot be written to.
        """
        with writing(self.path):
            return self.place.open("w", encoding="utf-8", newline="")

    def commit(self) -> None:
        """Give the file its final name; a second call does nothing.

        Raises:
            OutputError: it cannot be done; nothing is left behind then.
        """
        if not self._open:
            return
        try:
            with writing(self.path):
                publish(self.place, self.path, overwrite=self._overwrite)
            self._open = False
        finally:
            self.discard()

    def discard(self) -> None:
        """Remove what was written; does nothing once committed."""
        if self._open:
            self._open = False
            with contextlib.suppress(OSError):
                self.place.unlink(missing_ok=True)


class StagedFolder:
    """A folder that is filled under a hidden name beside its final one.

    Args:
        path: the final name; an empty folder may stand there. A link to a folder stands for that folder.
        overwrite: a folder that stands there is replaced, in one step, if it holds nothing but PNG files; else what it
            holds and is not written anew stays in it.

    Raises:
        OutputError: it exists with content and `overwrite` is off, or the place cannot be written to.
    """

    def __init__(self, path: Path, *, overwrite: bool = False) -> None:
        if path.exists() and not path.is_dir():
            raise OutputError(f"{path} is a file where a folder of pictures should go; choose another name.")
        refuse_existing(path, overwrite=overwrite)
        self.path = path
        self._overwrite, self._open = overwrite, True
        with writing(path):
            # A link cannot be exchanged for a folder: work where it leads.
            self._final = path.resolve() if path.is_symlink() else path
            self._place = staged_name(self._final)
            self._final.parent.mkdir(parents=True, exist_ok=True)
            self._place.mkdir()

    def write(self, name: str, content: bytes) -> None:
        """Add one file.

        Raises:
            OutputError: the place cannot be written to.
        """
        assert self._open, "the folder is closed"
        with writing(self.path / name):
            (self._place / name).write_bytes(content)

    def commit(self) -> None:
        """Give the folder its final name; a second call does nothing.

        Raises:
            OutputError: it cannot be done; what stood there stands there still, and nothing is left behind.
        """
        if not self._open:
            return
        try:
            with writing(self.path):
                if self._overwrite and self._final.is_dir():
                    self._keep_others()
                publish(self._place, self._final, overwrite=self._overwrite)
            self._open = False
        finally:
            self.discard()

    def discard(self) -> None:
        """Remove what was written; does nothing once committed."""
        if self._open:
            self._open = False
            shutil.rmtree(self._place, ignore_errors=True)

    def _keep_others(self) -> None:
        """Link what the old folder holds into the new one, so that both can change places whole."""
        others = list(self._final.iterdir())
        if all(other.suffix.lower() == ".png" and other.is_file() for other in others):
            return
        for other in others:
            here = self._place / other.name
            if os.path.lexists(here):
                continue
            if other.is_dir() and not other.is_symlink():
                shutil.copytree(other, here, symlinks=True, copy_function=_link)
            else:
                _link(other, here)


def write_whole(path: Path, content: bytes | str, *, overwrite: bool = True) -> None:
    """Write a file in one step.

    Raises:
        OutputError: the place cannot be written to; nothing is left behind then.
    """
    staged = StagedFile(path, overwrite=overwrite)
    try:
        staged.write(content)
        staged.commit()
    finally:
        staged.discard()


def _link(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """A second name for a file, or a copy where the file system knows no second names."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)
