"""Where claims lie: a folder that workers share offers the few atomic steps that claims need."""

import errno
import os
import secrets
from abc import ABC, abstractmethod
from pathlib import Path

from vsalient.errors import OutputError
from vsalient.staging import clock


class Store(ABC):
    """Small named records. All times are those of the store's own clock; the workers' clocks do not matter."""

    @abstractmethod
    def create(self, name: str, content: bytes) -> bool:
        """Make a record unless there is one; of several workers one succeeds."""

    @abstractmethod
    def put(self, name: str, content: bytes) -> None:
        """Make or replace a record in one step."""

    @abstractmethod
    def read(self, name: str) -> bytes | None:
        """A record's content, None when there is none."""

    @abstractmethod
    def exists(self, name: str) -> bool:
        """Whether there is such a record."""

    @abstractmethod
    def beat(self, name: str, content: bytes) -> bool:
        """Set a record's time to now; False when it is gone."""

    @abstractmethod
    def time(self, name: str) -> float | None:
        """When a record was last written or beaten, in seconds; None when it is gone."""

    @abstractmethod
    def now(self) -> float:
        """The store's clock, in seconds."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove a record if it is there."""


class FolderStore(Store):
    """Files in a folder, on a local disk or any network file system with exclusive creation.

    Raises:
        OutputError: the folder cannot be made or written to.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            clock(folder)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise OutputError(f"claims cannot be written to {folder}: {reason}; choose another -o") from error

    def create(self, name: str, content: bytes) -> bool:
        """See `Store`: a link to a whole file, so that nobody reads half a record."""
        path = self._path(name)
        draft = self._draft(path, content)
        try:
            path.hardlink_to(draft)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
                raise
            return self._create_plainly(path, content)
        finally:
            draft.unlink(missing_ok=True)
        return True

    @staticmethod
    def _create_plainly(path: Path, content: bytes) -> bool:
        try:
            with path.open("xb") as file:
                file.write(content)
        except FileExistsError:
            return False
        return True

    def put(self, name: str, content: bytes) -> None:
        """See `Store`."""
        path = self._path(name)
        self._draft(path, content).replace(path)

    def read(self, name: str) -> bytes | None:
        """See `Store`."""
        try:
            return (self._folder / name).read_bytes()
        except FileNotFoundError:
            return None

    def exists(self, name: str) -> bool:
        """See `Store`."""
        return (self._folder / name).exists()

    def beat(self, name: str, content: bytes) -> bool:
        """See `Store`: without a time given, a network file system takes its server's."""
        try:
            os.utime(self._folder / name)
        except FileNotFoundError:
            return False
        return True

    def time(self, name: str) -> float | None:
        """See `Store`."""
        try:
            return (self._folder / name).stat().st_mtime
        except FileNotFoundError:
            return None

    def now(self) -> float:
        """See `Store`."""
        return clock(self._folder)

    def remove(self, name: str) -> None:
        """See `Store`."""
        (self._folder / name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        path = self._folder / name
        path.parent.mkdir(exist_ok=True)
        return path

    @staticmethod
    def _draft(path: Path, content: bytes) -> Path:
        draft = path.with_name(f".{secrets.token_hex(8)}")
        with draft.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        return draft
