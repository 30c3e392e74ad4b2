"""The manifest: a JSON Lines file that says what became of every input, and from which a rerun goes on.

Three kinds of record, one a line:

- `run`: a run began; what was asked for (`asked`, and its fingerprint `settings`), and on what it runs.
- `begin`: an input was begun, with the paths that its outputs will have. An input that was begun and never ended was
  interrupted: what stands at those paths is ours and is done again.
- `end`: an input ended: done, partial (its file was cut short) or failed.

Lines are appended and fsynced one by one, so that what a run had done survives SIGKILL and a power failure. A last
line that was torn is dropped. A file has one writer at a time.
"""

import contextlib
import json
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from vsalient.errors import DataError, OptionError, OutputError
from vsalient.scale.identity import Identity, measure_file

MANIFEST_SCHEMA = 1
EVENTS = ("run", "begin", "end")


@dataclass
class Entry:
    """What a manifest knows of one input, the newest record counting.

    Attributes:
        input: its path as given.
        begun: an attempt was started and has no end yet.
        planned: the outputs' paths of the newest attempt.
        end: the newest `end` record, None while there is none.
        attempts: how often it was begun.
    """

    input: str
    begun: bool = False
    planned: tuple[str, ...] = ()
    end: dict[str, Any] | None = None
    attempts: int = 0

    @property
    def state(self) -> str:
        """done, partial, failed, or interrupted."""
        if self.begun or self.end is None:
            return "interrupted"
        return str(self.end.get("state", "failed"))

    def stands(self, settings: str, identity: Identity, outputs: Mapping[str, Path]) -> bool:
        """Whether nothing is left to do: ended well with these settings, this content and these outputs, all there."""
        end = self.end
        if end is None or self.begun or self.state not in ("done", "partial") or end.get("settings") != settings:
            return False
        if (end.get("size"), end.get("digest")) != (identity.size, identity.digest):
            return False
        written = {kind: record for kind, record in end.get("outputs", {}).items() if isinstance(record, dict)}
        if {kind: record.get("path") for kind, record in written.items()} != {k: str(p) for k, p in outputs.items()}:
            return False
        return all(measure_file(outputs[kind]) == record.get("size") for kind, record in written.items())


@dataclass
class Manifest:
    """What was read of one manifest file.

    Attributes:
        path: the file.
        entries: by input.
        runs: the `run` records, oldest first.
        torn: whether the last line was cut off.
    """

    path: Path
    entries: dict[str, Entry] = field(default_factory=dict)
    runs: list[dict[str, Any]] = field(default_factory=list)
    torn: bool = False

    @property
    def settings(self) -> str | None:
        """The fingerprint of the newest run."""
        return str(self.runs[-1].get("settings")) if self.runs else None

    def take(self, record: dict[str, Any]) -> None:
        """Add one record."""
        if record["record"] == "run":
            self.runs.append(record)
            return
        name = str(record["input"])
        entry = self.entries.setdefault(name, Entry(name))
        if record["record"] == "begin":
            entry.begun = True
            entry.attempts += 1
            entry.planned = tuple(str(path) for path in record.get("outputs", ()))
        else:
            entry.begun = False
            entry.end = record


def read_manifest(path: Path) -> Manifest:
    """Read a manifest; a torn last line is passed over.

    Raises:
        DataError: it cannot be read, a line is no record, or a later version wrote it.
    """
    manifest = Manifest(path)
    try:
        with path.open("rb") as file:
            for number, record in enumerate(_records(path, file, manifest), start=1):
                if record.get("schema") != MANIFEST_SCHEMA:
                    raise DataError(
                        f"{path} line {number} has schema {record.get('schema')!r}, this version reads "
                        f"{MANIFEST_SCHEMA}: take the version that wrote it, or another --manifest"
                    )
                manifest.take(record)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from error
    return manifest


def _records(path: Path, lines: Any, manifest: Manifest) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(lines, start=1):
        if not line.endswith(b"\n"):
            manifest.torn = True
            return
        try:
            record = json.loads(line)
            if record["record"] not in EVENTS or (record["record"] != "run" and not isinstance(record["input"], str)):
                raise ValueError(record["record"])
        except (ValueError, KeyError, TypeError, RecursionError):
            raise DataError(f"{path} line {number} is no record of a manifest: give another --manifest") from None
        yield record


class ManifestWriter:
    """Appends records to a manifest, each safe on the disk before the next step. Its methods may be called by threads.

    Args:
        path: the file; made if missing. A torn last line is cut off.
        settings: the fingerprint of what is asked for.
        asked: the same in full.
        resolved: what it runs on: version, machine, share.

    Raises:
        OutputError: it cannot be written, or another run is writing it.
    """

    def __init__(
        self, path: Path, *, settings: str, asked: Mapping[str, Any], resolved: Mapping[str, Any] | None = None
    ) -> None:
        self.path, self.settings = path, settings
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("r+b") if path.exists() else path.open("x+b")
        except OSError as error:
            raise OutputError(f"{path} cannot be written: {(error.strerror or str(error)).lower()}") from error
        try:
            _lock_file(self._file.fileno(), path)
            _cut_torn(self._file)
            self._append({"record": "run", "settings": settings, "asked": dict(asked), **(resolved or {})})
        except BaseException:
            self._file.close()
            raise

    def begin(self, source: str, outputs: Mapping[str, Path], **more: Any) -> None:
        """An input is begun; its outputs will stand at these paths."""
        self._append({"record": "begin", "input": source, "outputs": [str(path) for path in outputs.values()], **more})

    def end(
        self, source: str, state: str, *, identity: Identity | None = None, outputs: Mapping[str, Path], **more: Any
    ) -> None:
        """An input has ended as `state`: done, partial or failed."""
        record: dict[str, Any] = {"record": "end", "input": source, "state": state, "settings": self.settings}
        if identity is not None:
            record |= {"size": identity.size, "digest": identity.digest}
        record["outputs"] = {kind: {"path": str(path), "size": measure_file(path)} for kind, path in outputs.items()}
        self._append(record | more)

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._file.close()

    def _append(self, record: Mapping[str, Any]) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        # Names that are no UTF-8 stay readable as escapes.
        line = json.dumps({"schema": MANIFEST_SCHEMA, "time": now, **record}, separators=(",", ":")) + "\n"
        try:
            with self._lock:
                self._file.seek(0, os.SEEK_END)
                self._file.write(line.encode())
                self._file.flush()
                os.fsync(self._file.fileno())
        except OSError as error:
            raise OutputError(f"{self.path} cannot be written: {(error.strerror or str(error)).lower()}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def check_settings(manifest: Manifest, settings: str, asked: Mapping[str, Any], *, replace: bool) -> None:
    """Refuse to go on from a manifest of other settings, unless what it lists may be replaced.

    Raises:
        OptionError: names the first setting that differs.
    """
    if manifest.settings in (None, settings) or replace:
        return
    before = manifest.runs[-1].get("asked", {})
    differing = [name for name in sorted({*before, *asked}) if before.get(name) != asked.get(name)]
    name = differing[0] if differing else "settings"
    raise OptionError(
        f"{manifest.path} is of other settings ({name}: {before.get(name)!r} there, {asked.get(name)!r} now): "
        "give another --manifest, or --overwrite or --skip-existing to do again what differs"
    )


def _cut_torn(file: Any) -> None:
    """Cut off what stands behind the last line end."""
    end = file.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - (1 << 16))
        file.seek(start)
        block = file.read(end - start)
        found = block.rfind(b"\n")
        if found >= 0:
            file.truncate(start + found + 1)
            return
        end = start
    file.truncate(0)


def _lock_file(descriptor: int, path: Path) -> None:
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OutputError(f"{path} is being written by another run: give each worker a --manifest of its own") from None
    except OSError:  # a file system without locks
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
