"""Names for what is being written: hidden, random, stamped with their owner; how they become final; who sweeps them.

A file or folder is written as `.NAME.vsalient-PLACE-PID-START-RANDOM.SUFFIX` beside its final name and renamed when it
is whole. The stamp says which process owns it, so that a later run can tell what a killed one left behind from what
another one is writing at this moment: see `vsalient.sweeping`.
"""

import contextlib
import ctypes
import errno
import functools
import hashlib
import os
import re
import secrets
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

STAGED = re.compile(
    r"\.(?P<stem>.*)\.vsalient-(?P<stamp>(?P<place>[0-9a-f]{8})-(?P<pid>\d+)-(?P<start>\d+))-[0-9a-f]{8}(\.[^.]*)?",
    re.DOTALL,
)
"""What `staged_name` makes."""
_NOREPLACE, _EXCHANGE = 1, 2  # flags of renameat2(2)
_AT_FDCWD = -100
_UNSUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EPERM, errno.EMLINK)


def owner_stamp() -> str:
    """`PLACE-PID-START` of this process: it differs for every process on every machine."""
    return f"{_machine_mark()}-{os.getpid()}-{_started(os.getpid()) or 0}"


def staged_name(path: Path) -> Path:
    """A hidden name beside `path`, on the same file system, that nobody can guess; the suffix stays."""
    return path.with_name(f".{shortened(path.stem)}.vsalient-{owner_stamp()}-{secrets.token_hex(4)}{path.suffix}")


def owner_lives(stamp: str) -> bool | None:
    """Whether the process with this stamp is alive; None when that cannot be known from here."""
    place, pid, start = stamp.split("-")
    if place != _machine_mark():
        return None
    if int(start):
        return _started(int(pid)) == int(start)
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is somebody else's
        return True
    return True


def publish(staged: Path, path: Path, *, overwrite: bool = False) -> None:
    """Give what is whole its final name, in one step.

    Args:
        staged: a file or a folder on the same file system.
        path: the final name; an empty folder may stand there when `staged` is a folder.
        overwrite: replace what stands there; else another run that was quicker wins.

    Raises:
        FileExistsError: something stands there, and `overwrite` is off.
        OSError: the file system refuses.
    """
    for check in tuple(_checks):
        check()
    if staged.is_dir():
        _publish_folder(staged, path, overwrite=overwrite)
    elif overwrite:
        staged.replace(path)
    elif not _rename_over(staged, path, _NOREPLACE):
        try:
            path.hardlink_to(staged)
        except FileExistsError:
            raise
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            # Neither way (FAT, some network file systems): what is left is to look first.
            if os.path.lexists(path):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from None
            staged.replace(path)
        else:
            staged.unlink()


def _publish_folder(staged: Path, path: Path, *, overwrite: bool) -> None:
    try:
        staged.rename(path)  # POSIX: onto nothing or an empty folder, atomically
        return
    except OSError as error:
        if not path.is_dir() or path.is_symlink():
            raise
        if not overwrite:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from error
    if not _rename_over(staged, path, _EXCHANGE):
        old = staged_name(path)
        path.rename(old)
        try:
            staged.rename(path)
        except OSError:
            old.rename(path)
            raise
        staged = old
    shutil.rmtree(staged, ignore_errors=True)


@contextlib.contextmanager
def guarded(check: Callable[[], None]) -> Iterator[None]:
    """Call `check` before anything is published within the block, in any thread; what it raises stops that.

    For work that may have been taken over by another worker in the meantime. One block at a time in a process.
    """
    _checks.append(check)
    try:
        yield
    finally:
        _checks.remove(check)


_checks: list[Callable[[], None]] = []


def clock(folder: Path) -> float:
    """The time of the file system that `folder` lies on, in seconds: machines that share it agree on no other.

    Raises:
        OSError: nothing can be written there.
    """
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".vsalient-clock-") as probe:
        return os.fstat(probe.fileno()).st_mtime


def shortened(stem: str) -> str:
    """A stem as staged names have it: at most 120 bytes, so that the mark still fits into a name."""
    return os.fsdecode(os.fsencode(stem)[:120]) if len(os.fsencode(stem)) > 120 else stem


@functools.cache
def _machine_mark() -> str:
    """Names this machine since it was started, and within it the container: where process ids mean something."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
    with contextlib.suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))  # noqa: PTH115 - its target is no path
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]


def _started(pid: int) -> int | None:
    """When a process began, in clock ticks since the machine's start; None where it is gone or nobody can say."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    # A zombie's parent has not looked yet; it works no more.
    return None if fields[0] in "ZX" else int(fields[19])


def _rename_over(source: Path, target: Path, flag: int) -> bool:
    """renameat2 with a flag; False where kernel or file system lack it.

    Raises:
        OSError: any other failure.
    """
    call = _renameat2()
    if call is None:
        return False
    if call(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), ctypes.c_uint(flag)) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP):
        return False
    raise OSError(number, os.strerror(number), str(source), None, str(target))


@functools.cache
def _renameat2() -> "ctypes._NamedFuncPointer | None":
    if sys.platform != "linux":
        return None
    return getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
