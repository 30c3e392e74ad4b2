"""Where claims lie: a folder that workers share, or a bucket. Each offers the few atomic steps that claims need."""

import contextlib
import errno
import os
import secrets
import threading
from abc import ABC, abstractmethod
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vsalient.errors import OptionError, OutputError
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


class BucketStore(Store):
    """Objects below a prefix of an S3 bucket. Creation is a conditional put (`If-None-Match: *`).

    Args:
        files: an fsspec file system.
        prefix: bucket and folder, without the scheme.

    Raises:
        OptionError: the storage has no conditional put that is known to work.
        OutputError: the bucket cannot be written to.
    """

    def __init__(self, files: Any, prefix: str) -> None:
        protocol = files.protocol if isinstance(files.protocol, str) else files.protocol[0]
        if protocol not in ("s3", "s3a", "memory"):
            raise OptionError(f"--claim on {protocol}:// has no conditional put to rely on: use --shard")
        self._files, self._prefix = files, prefix.rstrip("/")
        self._memory = protocol == "memory"
        try:
            self.now()
        except OSError as error:
            raise OutputError(f"claims cannot be written to {prefix}: {error}") from error

    def create(self, name: str, content: bytes) -> bool:
        """See `Store`."""
        if self._memory:  # one process: a lock does
            with _MEMORY:
                if self._files.exists(self._path(name)):
                    return False
                self._files.pipe_file(self._path(name), content)
                return True
        try:
            self._files.pipe_file(self._path(name), content, mode="create")
        except FileExistsError:
            return False
        except OSError as error:
            if "PreconditionFailed" in str(error) or "ConditionalRequestConflict" in str(error):
                return False
            raise
        return True

    def put(self, name: str, content: bytes) -> None:
        """See `Store`."""
        self._files.pipe_file(self._path(name), content)

    def read(self, name: str) -> bytes | None:
        """See `Store`."""
        try:
            return bytes(self._files.cat_file(self._path(name)))
        except FileNotFoundError:
            return None

    def exists(self, name: str) -> bool:
        """See `Store`."""
        return self.time(name) is not None

    def beat(self, name: str, content: bytes) -> bool:
        """See `Store`: only the owner writes its record, and takers make new ones."""
        if not self.exists(name):
            return False
        self.put(name, content)
        return True

    def time(self, name: str) -> float | None:
        """See `Store`."""
        try:
            self._files.invalidate_cache()
            changed = self._files.modified(self._path(name))
        except FileNotFoundError:
            return None
        stamp: datetime = changed if changed.tzinfo else changed.replace(tzinfo=UTC)
        return stamp.timestamp()

    def now(self) -> float:
        """See `Store`."""
        probe = f"probe-{secrets.token_hex(8)}"
        self.put(probe, b"")
        try:
            return self.time(probe) or 0.0
        finally:
            with contextlib.suppress(FileNotFoundError):
                self.remove(probe)

    def remove(self, name: str) -> None:
        """See `Store`."""
        with contextlib.suppress(FileNotFoundError):
            self._files.rm_file(self._path(name))

    def _path(self, name: str) -> str:
        return f"{self._prefix}/{name}"


_MEMORY = threading.Lock()
