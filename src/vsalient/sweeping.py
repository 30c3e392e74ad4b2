"""The only sweeper of the project: what killed runs left is removed, what others are writing is not.

What a resumable run keeps on purpose lies in folders named `.NAME.vsalient-run-ID`; those are swept by hand alone
(`vsalient clean --runs`), like the records of claims.
"""

import contextlib
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from vsalient.staging import STAGED, clock, owner_lives, owner_stamp, shortened

FOREIGN_AGE = 24 * 3600.0
"""Seconds without a change after which what another machine left is taken for abandoned."""
RUN_MARK = ".vsalient-run-"
"""Part of the names of folders that a run keeps on purpose, to go on from."""
CLAIMS = ".vsalient-claims"
"""The folder beside outputs that claims lie in."""
CLAIM_AGE = 600.0
"""Seconds without a heart-beat after which no claim is alive."""
_CLAIM = re.compile(r".*-[0-9a-f]{12}\.\d+")


@dataclass(frozen=True, slots=True)
class Leftover:
    """What a run that is gone left behind.

    Attributes:
        path: where it lies (or lay).
        size: bytes, all files of a folder together.
    """

    path: Path
    size: int


def sweep(folders: Iterable[Path], *, foreign_age: float = FOREIGN_AGE, dry_run: bool = False) -> list[Leftover]:
    """Remove what runs that are gone left in these folders (not in folders below them).

    Only what bears our mark, belongs to this user and has a dead owner goes. Whether the owner is dead is known on the
    machine that it ran on; what comes from elsewhere must not have changed for `foreign_age` seconds by the clock of
    the file system it lies on. Folders that cannot be read or written are passed over.

    Args:
        folders: where to look.
        foreign_age: seconds.
        dry_run: only say what would go.

    Returns:
        What was removed, or would be.
    """
    removed: list[Leftover] = []
    for folder in dict.fromkeys(Path(folder) for folder in folders):
        now: float | None = None
        for path, stamp, status in _staged(folder):
            alive = owner_lives(stamp)
            if alive is None:
                now = clock(folder) if now is None else now
                alive = now - max(status.st_mtime, _newest(path)) < foreign_age
            if alive:
                continue
            leftover = Leftover(path, sum(size for size, _ in _files(path)))
            if dry_run or _remove(path):
                removed.append(leftover)
    return removed


def kept_runs(folders: Iterable[Path], *, foreign_age: float = FOREIGN_AGE, dry_run: bool = False) -> list[Leftover]:
    """Remove what unfinished runs keep to go on from, unless something in it is fresh.

    Args:
        folders: where outputs go.
        foreign_age: seconds without a change after which nobody is taken to be at work on it.
        dry_run: only say what would go.
    """
    found = []
    for folder in dict.fromkeys(Path(folder) for folder in folders):
        for path in _marked(folder, RUN_MARK):
            if clock(folder) - _newest(path) >= foreign_age:
                found += _gone(path, dry_run)
    return found


def remove_claims(folders: Iterable[Path], *, dry_run: bool = False) -> list[Leftover]:
    """Remove the records of claims beside outputs, where no claim was renewed lately.

    Args:
        folders: where outputs go.
        dry_run: only say what would go.
    """
    found = []
    for folder in dict.fromkeys(Path(folder) for folder in folders):
        for path in _marked(folder, CLAIMS):
            held = [file.stat().st_mtime for file in path.rglob("*") if _CLAIM.fullmatch(file.name)]
            if not held or clock(folder) - max(held) >= CLAIM_AGE:
                found += _gone(path, dry_run)
    return found


def _marked(folder: Path, mark: str) -> list[Path]:
    """Folders of this user whose names have the mark."""
    user = os.getuid() if hasattr(os, "getuid") else None
    found = []
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if mark in path.name and path.name.startswith(".") and path.is_dir() and not path.is_symlink():
                found += [path] * (user in (None, path.stat().st_uid))
    return sorted(found)


def _gone(path: Path, dry_run: bool) -> list[Leftover]:
    leftover = Leftover(path, sum(size for size, _ in _files(path)))
    return [leftover] if dry_run or _remove(path) else []


def fence(path: Path) -> None:
    """Take what others have staged for `path` out of their reach.

    A process that was stopped for long and wakes cannot publish afterwards: the name it would rename is gone.
    """
    for staged, owner, _ in _staged(path.parent):
        parts = STAGED.fullmatch(staged.name)
        if owner != owner_stamp() and parts is not None and parts["stem"] == shortened(path.stem):
            _remove(staged)


def _staged(folder: Path) -> Iterator[tuple[Path, str, os.stat_result]]:
    """What bears our mark and is this user's: no links, nothing of others."""
    user = os.getuid() if hasattr(os, "getuid") else None
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            parts = STAGED.fullmatch(entry.name) if entry.name.startswith(".") else None
            if parts is None:
                continue
            with contextlib.suppress(OSError):
                status = entry.stat(follow_symlinks=False)
                regular = stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)
                if regular and user in (None, status.st_uid):
                    yield Path(entry.path), parts["stamp"], status


def _remove(path: Path) -> bool:
    # A name of our own first: of two sweepers one wins, and an owner that wakes finds nothing to rename.
    taken = path.with_name(f".gone.vsalient-{owner_stamp()}-{secrets.token_hex(4)}")
    try:
        path.rename(taken)
    except OSError:
        return False
    if taken.is_dir():
        shutil.rmtree(taken, ignore_errors=True)
    else:
        taken.unlink(missing_ok=True)
    return True


def _files(path: Path) -> Iterator[tuple[int, float]]:
    """(bytes, time of the last change) of a file, or of the files in a folder."""
    for file in (path, *path.rglob("*")) if path.is_dir() else (path,):
        with contextlib.suppress(OSError):
            status = file.lstat()
            if not stat.S_ISDIR(status.st_mode):
                yield status.st_size, status.st_mtime


def _newest(path: Path) -> float:
    return max((time for _, time in _files(path)), default=0.0)
