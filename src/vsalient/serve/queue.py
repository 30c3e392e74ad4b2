"""The queue of jobs: an SQLite file, so that what was accepted survives a restart."""

import json
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vsalient.errors import OutputError

STATES = ("receiving", "queued", "running", "done", "failed", "cancelled")
FINAL = ("done", "failed", "cancelled")
TRIES = 3
"""How often a job is begun before it counts as failed: one that brings the service down must not do so for ever."""
_CREATE = """
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY, state TEXT NOT NULL, name TEXT NOT NULL, arguments TEXT NOT NULL, source TEXT NOT NULL,
    created REAL NOT NULL, started REAL, ended REAL, tries INTEGER NOT NULL DEFAULT 0, size INTEGER NOT NULL DEFAULT 0,
    error TEXT, outputs TEXT NOT NULL DEFAULT '{}', figures TEXT NOT NULL DEFAULT '{}'
) STRICT;
CREATE INDEX IF NOT EXISTS by_state ON jobs (state, created);
"""


@dataclass
class QueuedJob:
    """One job.

    Attributes:
        id: 32 hex digits that nobody can guess.
        state: one of `STATES`.
        name: what the client called the video.
        arguments: the verb and its options.
        source: the file on disk.
        created, started, ended: seconds since 1970.
        tries: how often it was begun.
        size: bytes uploaded.
        error: one line.
        outputs: kind -> file name.
        figures: frames, seconds and so on.
    """

    id: str
    state: str
    name: str
    arguments: list[str]
    source: str
    created: float
    started: float | None = None
    ended: float | None = None
    tries: int = 0
    size: int = 0
    error: str | None = None
    outputs: dict[str, str] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)


class JobQueue:
    """Jobs in a database; its methods may be called by any thread.

    Raises:
        OutputError: the file cannot be written, or is no such database.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self.changed = threading.Condition(self._lock)
        try:
            self._base = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._base.row_factory = sqlite3.Row
            self._base.execute("PRAGMA journal_mode=WAL")
            # Survives a crash of the process at once, and one of the machine at the next checkpoint.
            self._base.execute("PRAGMA synchronous=NORMAL")
            self._base.executescript(_CREATE)
        except sqlite3.Error as error:
            raise OutputError(f"{path} cannot hold the queue: {error}; choose another --storage") from error

    def recover(self) -> list[QueuedJob]:
        """After a restart: what was running is queued again, what was being received is gone.

        Returns:
            The jobs whose upload never ended.
        """
        with self._write() as base:
            base.execute("UPDATE jobs SET state='queued', started=NULL WHERE state='running' AND tries < ?", (TRIES,))
            base.execute(
                "UPDATE jobs SET state='failed', ended=?, error='the service ended while it ran, several times' "
                "WHERE state='running'",
                (time.time(),),
            )
            broken = [_job(row) for row in base.execute("SELECT * FROM jobs WHERE state='receiving'")]
            base.execute("DELETE FROM jobs WHERE state='receiving'")
        return broken

    def add(self, name: str, arguments: list[str], *, limit: int) -> QueuedJob | None:
        """A job whose upload begins; None when `limit` jobs wait already."""
        job = QueuedJob(uuid.uuid4().hex, "receiving", name, arguments, "", time.time())
        with self._write() as base:
            (waiting,) = base.execute("SELECT COUNT(*) FROM jobs WHERE state IN ('receiving', 'queued')").fetchone()
            if waiting >= limit:
                return None
            base.execute(
                "INSERT INTO jobs (id, state, name, arguments, source, created) VALUES (?, ?, ?, ?, '', ?)",
                (job.id, job.state, name, json.dumps(arguments), job.created),
            )
        return job

    def received(self, job_id: str, source: Path, size: int) -> None:
        """The upload is whole: the job may run."""
        with self._write() as base:
            base.execute(
                "UPDATE jobs SET state='queued', source=?, size=? WHERE id=? AND state='receiving'",
                (str(source), size, job_id),
            )
            self.changed.notify_all()

    def describe(self, job: QueuedJob) -> None:
        """Set a job's name and arguments, which a form tells late."""
        with self._write() as base:
            base.execute(
                "UPDATE jobs SET name=?, arguments=? WHERE id=?", (job.name, json.dumps(job.arguments), job.id)
            )

    def drop(self, job_id: str) -> None:
        """Forget a job."""
        with self._write() as base:
            base.execute("DELETE FROM jobs WHERE id=?", (job_id,))

    def take(self) -> QueuedJob | None:
        """The oldest job that waits, now running; None when there is none."""
        with self._write() as base:
            row = base.execute(
                "UPDATE jobs SET state='running', started=?, tries=tries+1 WHERE id = "
                "(SELECT id FROM jobs WHERE state='queued' ORDER BY created LIMIT 1) RETURNING *",
                (time.time(),),
            ).fetchone()
        return None if row is None else _job(row)

    def end(self, job_id: str, state: str, *, error: str | None, outputs: dict[str, str], figures: Any) -> None:
        """A running job has ended; one that was cancelled meanwhile stays so."""
        with self._write() as base:
            base.execute(
                "UPDATE jobs SET state=?, ended=?, error=?, outputs=?, figures=? WHERE id=? AND state='running'",
                (state, time.time(), error, json.dumps(outputs), json.dumps(figures), job_id),
            )

    def back(self, job_id: str) -> None:
        """A running job waits again: the service stops. It does not count as a try."""
        with self._write() as base:
            base.execute("UPDATE jobs SET state='queued', tries=tries-1 WHERE id=? AND state='running'", (job_id,))

    def cancel(self, job_id: str) -> None:
        """A job that waits or runs is not wanted any more."""
        with self._write() as base:
            base.execute(
                "UPDATE jobs SET state='cancelled', ended=? WHERE id=? AND state IN ('queued', 'running')",
                (time.time(), job_id),
            )

    def get(self, job_id: str) -> QueuedJob | None:
        """One job, None when there is none of this id."""
        with self._lock:
            row = self._base.execute("SELECT * FROM jobs WHERE id=?", (job_id,)).fetchone()
        return None if row is None else _job(row)

    def ahead(self, job: QueuedJob) -> int:
        """How many jobs wait before this one."""
        with self._lock:
            (count,) = self._base.execute(
                "SELECT COUNT(*) FROM jobs WHERE state='queued' AND created < ?", (job.created,)
            ).fetchone()
        return int(count)

    def counts(self) -> dict[str, int]:
        """Jobs by state."""
        with self._lock:
            rows = self._base.execute("SELECT state, COUNT(*) FROM jobs GROUP BY state").fetchall()
        return dict.fromkeys(STATES, 0) | {str(state): int(count) for state, count in rows}

    def ended_before(self, when: float) -> list[QueuedJob]:
        """Jobs in a final state since before a time."""
        with self._lock:
            rows = self._base.execute(
                "SELECT * FROM jobs WHERE state IN ('done', 'failed', 'cancelled') AND ended < ?", (when,)
            ).fetchall()
        return [_job(row) for row in rows]

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._base.close()

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._base.execute("BEGIN IMMEDIATE")
            try:
                yield self._base
            except BaseException:
                self._base.execute("ROLLBACK")
                raise
            self._base.execute("COMMIT")


def _job(row: sqlite3.Row) -> QueuedJob:
    values = dict(row)
    for name in ("arguments", "outputs", "figures"):
        values[name] = json.loads(values[name])
    return QueuedJob(**values)
