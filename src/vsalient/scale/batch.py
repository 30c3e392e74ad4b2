"""The loop over many inputs: skip what is done, claim, work, try again, record; in one thread or in several."""

import queue
import random
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from vsalient.errors import VsalientError
from vsalient.scale.agenda import Agenda, Result, Task
from vsalient.scale.claims import Claim, ClaimLost, Claims
from vsalient.scale.identity import Identity, identify
from vsalient.scale.manifest import Manifest, ManifestWriter

Work = Callable[[Task, Claim | None], Result]
"""Does one task; expected failures are results, not exceptions."""
BUSY_WAIT = 2.0
"""Seconds until a claim that another worker holds is looked at again."""
LONGEST_WAIT = 60.0


@dataclass
class Ledger:
    """What is known of inputs and where it is written down.

    Attributes:
        settings: fingerprint of what is asked for.
        before: the manifest as it was when the run began, None without one.
        writer: where this run is recorded, None for nowhere.
        claims: shared with other workers, None when nobody else is at it.
        retries: further tries of an input that failed.
        backoff: seconds before the first further try; each later one waits twice as long.
    """

    settings: str
    before: Manifest | None = None
    writer: ManifestWriter | None = None
    claims: Claims | None = None
    retries: int = 0
    backoff: float = 1.0

    def ours(self, task: Task) -> bool:
        """Whether what stands at the outputs' places is known to be ours: it may then be replaced or taken for done."""
        entry = self.before.entries.get(task.source) if self.before is not None else None
        if entry is not None:
            known = {*entry.planned, *(str(o.get("path")) for o in (entry.end or {}).get("outputs", {}).values())}
            if {str(path) for path in task.outputs.values()} <= known:
                return True
        return self.claims is not None and self.claims.knows(task.outputs)

    def stands(self, task: Task, identity: Identity | None) -> bool:
        """Whether the manifest has it as done, with these settings, this content and these outputs."""
        entry = self.before.entries.get(task.source) if self.before is not None else None
        return entry is not None and identity is not None and entry.stands(self.settings, identity, task.outputs)


class Batch:
    """Runs tasks.

    Args:
        agenda: what is to be done.
        ledger: what is known, and where it is recorded.
        keep_going: go on when an input fails for good; else nothing new is begun.

    Attributes:
        helper: takes a hand in an input that another worker holds.
    """

    def __init__(self, agenda: Agenda, ledger: Ledger, *, keep_going: bool) -> None:
        self._agenda, self._ledger, self._keep_going = agenda, ledger, keep_going
        self.helper: Callable[[Task], None] | None = None

    def run(self, workers: Sequence[Work]) -> Generator[Result, None, None]:
        """Work with each of `workers` in a thread of its own (a single one in this thread); yield results as they come.

        Raises:
            Exception: whatever a worker raises that is no expected failure.
        """
        if len(workers) == 1:
            yield from self._loop(workers[0])
            return
        results: queue.Queue[Result | BaseException | None] = queue.Queue()

        def follow(work: Work) -> None:
            try:
                for result in self._loop(work):
                    results.put(result)
            except BaseException as error:
                results.put(error)
                self._agenda.close()
            finally:
                results.put(None)

        threads = [threading.Thread(target=follow, args=(work,), name="vsalient-job", daemon=True) for work in workers]
        for thread in threads:
            thread.start()
        running = len(threads)
        try:
            while running:
                try:
                    item = results.get(timeout=0.5)  # short: an endless wait cannot be interrupted on Windows
                except queue.Empty:
                    continue
                if item is None:
                    running -= 1
                elif isinstance(item, BaseException):
                    raise item
                else:
                    yield item
        finally:
            self._agenda.close()

    def run_elsewhere(
        self, tasks: Sequence[Task], run: Callable[[Sequence[Task]], Iterator[Result]]
    ) -> Generator[Result, None, None]:
        """Hand all tasks at once to something that schedules by itself; yield results as they come.

        Args:
            tasks: in any order; what is done already is not handed on.
            run: does tasks; called again with those that failed and may be tried again.

        Raises:
            Exception: whatever `run` raises.
        """
        by_source: dict[str, Task] = {}
        for task in tasks:
            try:
                known = self._ledger.stands(task, identify(Path(task.source)) if self._ledger.before else None)
            except VsalientError as error:
                yield self._record(task, None, Result(task.source, "failed", _line(error)))
                continue
            if known:
                yield Result(task.source, "skipped", note="done before, says the manifest")
            else:
                by_source[task.source] = task
        while by_source:
            for task in by_source.values():
                if self._ledger.writer is not None:
                    self._ledger.writer.begin(task.source, task.outputs, attempt=task.attempts + 1)
            again: dict[str, Task] = {}
            for result in run(list(by_source.values())):
                task = by_source[result.source]
                keep = self._ledger.writer is not None and result.state != "failed"
                self._record(task, identify(Path(task.source)) if keep else None, result)
                if result.state == "failed" and not result.final and task.attempts < self._ledger.retries:
                    again[task.source] = task
                    continue
                yield result
            for task in again.values():
                task.attempts += 1
            by_source = again

    def _loop(self, work: Work) -> Iterator[Result]:
        while (task := self._agenda.take()) is not None:
            result = self._one(task, work)
            if result is None:
                continue
            self._agenda.done()
            yield result
            if result.state == "failed" and (not self._keep_going or result.final):
                self._agenda.close()

    def _one(self, task: Task, work: Work) -> Result | None:
        """Do one task as far as it can be done now; None when it must wait."""
        ledger = self._ledger
        identity = None
        try:
            if ledger.writer is not None or ledger.claims is not None:
                identity = identify(Path(task.source))
            if ledger.stands(task, identity):
                return Result(task.source, "skipped", note="done before, says the manifest")
            claim = None
            if ledger.claims is not None:
                state, claim = ledger.claims.take(task.source, task.outputs)
                if state == "busy":
                    if self.helper is not None:
                        self.helper(task)
                    self._agenda.later(task, BUSY_WAIT * random.uniform(0.5, 1.5))
                    return None
                if claim is None:
                    return Result(task.source, "skipped", note=f"{state} by another worker")
                task.redo = task.redo or claim.again
        except (VsalientError, OSError) as error:
            return self._record(task, None, Result(task.source, "failed", _line(error)))
        result = self._attempt(task, claim, work)
        if result.state == "lost":
            if ledger.claims is not None and claim is not None:
                ledger.claims.release(claim)
            return Result(
                task.source, "skipped", note="taken over by another worker meanwhile", warnings=result.warnings
            )
        if result.state == "failed" and not result.final and task.attempts < ledger.retries:
            self._record(task, identity, result)
            if ledger.claims is not None and claim is not None:
                ledger.claims.release(claim)
            task.attempts += 1
            task.redo = True
            self._agenda.later(task, min(LONGEST_WAIT, ledger.backoff * 2 ** (task.attempts - 1)))
            return None
        if ledger.claims is not None and claim is not None:
            if result.state == "failed":
                ledger.claims.failed(claim, result.error or "")
            else:
                ledger.claims.done(claim, task.outputs, state=result.state)
        return self._record(task, identity, result)

    def _attempt(self, task: Task, claim: Claim | None, work: Work) -> Result:
        if self._ledger.writer is not None:
            self._ledger.writer.begin(task.source, task.outputs, attempt=task.attempts + 1)
        try:
            with claim.guarding() if claim is not None else nullcontext():
                return work(task, claim)
        except ClaimLost as error:
            return Result(task.source, "lost", str(error))

    def _record(self, task: Task, identity: Identity | None, result: Result) -> Result:
        if self._ledger.writer is not None:
            written = task.outputs if result.state in ("done", "partial") else {}
            more = {"warnings": result.warnings, "error": result.error, "engine": result.engine}
            self._ledger.writer.end(
                task.source,
                result.state,
                identity=identity,
                outputs=written,
                attempt=task.attempts + 1,
                **result.summary,
                **{name: value for name, value in more.items() if value},
            )
        return result


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())
