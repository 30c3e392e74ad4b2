"""The loop over many inputs: skip what is done, claim, work, try again, record; in one thread or in several."""

import queue
import random
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from vsalient.errors import VsalientError, one_line
from vsalient.scale.agenda import Agenda, Outcome, Task
from vsalient.scale.claims import Claim, ClaimLost, Claims
from vsalient.scale.identity import Identity, identify
from vsalient.scale.manifest import Manifest, ManifestWriter

Work = Callable[[Task, Claim | None], Outcome]
"""Does one task; expected failures are outcomes, not exceptions."""
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


@dataclass
class _Turn:
    """One go at a task: what its input is now, the claim on it, and what became of it where that is known already."""

    identity: Identity | None = None
    claim: Claim | None = None
    outcome: Outcome | None = None


class TaskLoop:
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

    def run(self, workers: Sequence[Work]) -> Generator[Outcome, None, None]:
        """Work with each of `workers` in a thread of its own (a single one in this thread); outcomes as they come.

        Raises:
            Exception: whatever a worker raises that is no expected failure.
        """
        return self._loop(workers[0]) if len(workers) == 1 else self._side_by_side(workers)

    def _side_by_side(self, workers: Sequence[Work]) -> Generator[Outcome, None, None]:
        outcomes: queue.Queue[Outcome | BaseException | None] = queue.Queue()

        def follow(work: Work) -> None:
            try:
                for outcome in self._loop(work):
                    outcomes.put(outcome)
            except BaseException as error:
                outcomes.put(error)
                self._agenda.close()
            finally:
                outcomes.put(None)

        threads = [threading.Thread(target=follow, args=(work,), name="vsalient-job", daemon=True) for work in workers]
        for thread in threads:
            thread.start()
        running = len(threads)
        try:
            while running:
                try:
                    item = outcomes.get(timeout=0.5)  # short: an endless wait cannot be interrupted on Windows
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
        self, tasks: Sequence[Task], run: Callable[[Sequence[Task]], Iterator[Outcome]]
    ) -> Generator[Outcome, None, None]:
        """Hand all tasks at once to something that schedules by itself; yield outcomes as they come.

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
                yield self._record(task, None, Outcome(task.source, "failed", one_line(error)))
                continue
            if known:
                yield Outcome(task.source, "skipped", note="done before, says the manifest")
            else:
                by_source[task.source] = task
        while by_source:
            for task in by_source.values():
                if self._ledger.writer is not None:
                    self._ledger.writer.begin(task.source, task.outputs, attempt=task.attempts + 1)
            again: dict[str, Task] = {}
            for outcome in run(list(by_source.values())):
                task = by_source[outcome.source]
                keep = self._ledger.writer is not None and outcome.state != "failed"
                self._record(task, identify(Path(task.source)) if keep else None, outcome)
                if outcome.state == "failed" and not outcome.final and task.attempts < self._ledger.retries:
                    again[task.source] = task
                    continue
                yield outcome
            for task in again.values():
                task.attempts += 1
            by_source = again

    def _loop(self, work: Work) -> Generator[Outcome, None, None]:
        while (task := self._agenda.take()) is not None:
            turn = self._begin(task)
            outcome = None if turn is None else turn.outcome
            if turn is not None and outcome is None:
                try:
                    with turn.claim.guarding() if turn.claim is not None else nullcontext():
                        outcome = work(task, turn.claim)
                except ClaimLost as error:
                    outcome = Outcome(task.source, "lost", str(error))
                outcome = self._end(task, turn, outcome)
            if outcome is None:  # it waits for its next turn
                continue
            self._agenda.done()
            yield outcome
            if outcome.state == "failed" and (not self._keep_going or outcome.final):
                self._agenda.close()

    def _begin(self, task: Task) -> _Turn | None:
        """See whether a task is still to be done, and take it; None when it must wait."""
        ledger, turn = self._ledger, _Turn()
        try:
            if ledger.writer is not None or ledger.claims is not None:
                turn.identity = identify(Path(task.source))
            if ledger.stands(task, turn.identity):
                return _Turn(outcome=Outcome(task.source, "skipped", note="done before, says the manifest"))
            if ledger.claims is not None:
                state, turn.claim = ledger.claims.take(task.source, task.outputs)
                if state == "busy":
                    if self.helper is not None:
                        self.helper(task)
                    self._agenda.later(task, BUSY_WAIT * random.uniform(0.5, 1.5))
                    return None
                if turn.claim is None:
                    return _Turn(outcome=Outcome(task.source, "skipped", note=f"{state} by another worker"))
                task.redo = task.redo or turn.claim.again
        except (VsalientError, OSError) as error:
            return _Turn(outcome=self._record(task, None, Outcome(task.source, "failed", one_line(error))))
        if ledger.writer is not None:
            ledger.writer.begin(task.source, task.outputs, attempt=task.attempts + 1)
        return turn

    def _end(self, task: Task, turn: _Turn, outcome: Outcome) -> Outcome | None:
        """Record what became of a turn, and let the claim go; None when the task gets another turn."""
        ledger, claims = self._ledger, self._ledger.claims
        again = outcome.state == "failed" and not outcome.final and task.attempts < ledger.retries
        if claims is not None and turn.claim is not None:
            if again or outcome.state == "lost":
                claims.release(turn.claim)
            elif outcome.state == "failed":
                claims.failed(turn.claim, outcome.error or "")
            else:
                claims.done(turn.claim, task.outputs, state=outcome.state)
        if outcome.state == "lost":
            lost = "taken over by another worker meanwhile"
            return Outcome(task.source, "skipped", note=lost, warnings=outcome.warnings)
        self._record(task, turn.identity, outcome)
        if not again:
            return outcome
        task.attempts += 1
        task.redo = True
        self._agenda.later(task, min(LONGEST_WAIT, ledger.backoff * 2 ** (task.attempts - 1)))
        return None

    def _record(self, task: Task, identity: Identity | None, outcome: Outcome) -> Outcome:
        outputs = task.outputs if outcome.state in ("done", "partial") else {}
        outcome.written = dict(outputs)
        if self._ledger.writer is not None:
            more = {"warnings": outcome.warnings, "error": outcome.error, "engine": outcome.engine}
            self._ledger.writer.end(
                task.source,
                outcome.state,
                identity=identity,
                outputs=outputs,
                attempt=task.attempts + 1,
                **outcome.summary,
                **{name: value for name, value in more.items() if value},
            )
        return outcome
