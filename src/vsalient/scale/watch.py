"""An input folder under watch: what has come and is complete. It polls, since network file systems tell nothing."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vsalient.errors import InputError, OptionError
from vsalient.media import find_sources

SETTLED = 3.0
"""Seconds without a change after which a file counts as complete."""
POLL = 1.0
UNFINISHED = (".part", ".partial", ".tmp", ".temp", ".crdownload", ".download", ".filepart", ".!ut", ".aria2")
"""Endings that mean a copy or a transfer is under way."""


@dataclass
class _Seen:
    stamp: tuple[int, int, int]
    since: float
    given: bool = False


class Watch:
    """Looks at folders whenever it is asked, and says what is new and complete.

    A file that is replaced after it was given is given again. Hidden files, and files whose name or whose neighbour's
    name says that a transfer is under way, are left alone.

    Args:
        folders: what to watch.
        settled: seconds without a change after which an input counts as complete.

    Attributes:
        folders: what is watched.

    Raises:
        OptionError: one is no folder.
    """

    def __init__(self, folders: Sequence[str], *, settled: float = SETTLED) -> None:
        for folder in folders:
            if not Path(folder).is_dir():
                raise OptionError(f"--watch needs folders, {folder} is none")
        self.folders, self._settled = [Path(folder) for folder in folders], settled
        self._seen: dict[Path, _Seen] = {}
        self._looked = float("-inf")

    def new(self) -> Iterator[Path]:
        """What has become complete since the last call; looks at the disk at most once a second."""
        now = time.monotonic()
        if now - self._looked < min(POLL, self._settled / 2):
            return
        self._looked = now
        for path in self._inputs():
            stamp = _stamp(path)
            if stamp is None:
                continue
            seen = self._seen.get(path)
            if seen is None or seen.stamp != stamp:
                self._seen[path] = _Seen(stamp, now)
            elif not seen.given and now - seen.since >= self._settled and stamp[0]:
                seen.given = True
                yield path

    def _inputs(self) -> Iterator[Path]:
        for folder in self.folders:
            try:
                found = find_sources([folder])
            except InputError:  # empty so far
                continue
            for path in found:
                names = (path.name.lower(), *(f"{path.name.lower()}{ending}" for ending in UNFINISHED))
                if path.name.startswith(".") or names[0].endswith(UNFINISHED):
                    continue
                if not any((path.parent / name).exists() for name in names[1:]):
                    yield path


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """Size, time of the last change and, of a folder, how many files it has; None when it has gone."""
    try:
        if not path.is_dir():
            status = path.stat()
            return status.st_size, status.st_mtime_ns, 1
        files = [file.stat() for file in path.iterdir() if file.is_file()]
        return sum(s.st_size for s in files), max((s.st_mtime_ns for s in files), default=0), len(files)
    except OSError:
        return None
