"""The options for many videos, and the batch loop of `predict` and `segment` under them."""

import contextlib
import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from vsalient.cli.asked import asked_options, child_arguments
from vsalient.cli.many_options import META
from vsalient.cli.shared.inputs import find_inputs
from vsalient.cli.shared.naming import Job, keep_wanted
from vsalient.cli.shared.outcome import print_path
from vsalient.errors import OptionError, VsalientError
from vsalient.scale.agenda import Agenda, Outcome, Task
from vsalient.scale.batch import Ledger, TaskLoop, Work
from vsalient.scale.claims import Claims
from vsalient.scale.identity import fingerprint, plain_value
from vsalient.scale.manifest import ManifestWriter, check_settings, read_manifest
from vsalient.version import __version__

if TYPE_CHECKING:
    from vsalient.cli.shared.console import Console
    from vsalient.cli.work import Worker
    from vsalient.scale.remote import Remote
    from vsalient.scale.watch import Watch

log = logging.getLogger(__name__)

Plan = Callable[[Sequence[Path]], list[Job]]


@dataclass
class Many:
    """What was asked for of many videos, and what becomes of it.

    Attributes:
        manifest, shard, claim, claim_timeout, jobs, retries, timeout, split_long, watch, runner, address, worker: the
            options.
        ledger: what is known of the inputs and where it is recorded.
        piece_seconds: of the pieces of long films; None leaves them whole.
        remote: inputs and outputs by address.
        redo: inputs whose outputs stand and may be replaced.
        watching: looks for new inputs.
        plan: from inputs to jobs, for those that come later.
        ended: what became of inputs so far.
    """

    manifest: str | None = None
    shard: str | None = None
    claim: bool = False
    claim_timeout: float = 60.0
    jobs: int = 1
    retries: int = 0
    timeout: float | None = None
    split_long: str | None = None
    watch: bool = False
    runner: str = "local"
    address: str | None = None
    worker: bool = False
    ledger: Ledger = field(default_factory=lambda: Ledger(""))
    redo: set[Path] = field(default_factory=set)
    watching: "Watch | None" = None
    plan: Plan | None = None
    ended: list[Outcome] = field(default_factory=list)
    piece_seconds: float | None = None
    remote: "Remote | None" = None
    _manifest: Path | None = None
    _stdout: TextIO = field(default_factory=lambda: sys.stdout)

    @classmethod
    def current(cls) -> "Many":
        """Of the command that is running."""
        context = click.get_current_context()
        made = context.meta.get(f"{META}.made")
        if not isinstance(made, Many):
            made = context.meta[f"{META}.made"] = cls(**context.meta.get(META, {}))
        return made

    def inputs(self, inputs: Sequence[str], *, keep_going: bool, quiet: bool) -> list[Path]:
        """As `find_inputs`; nothing yet for a child that is told its inputs, and where folders are watched.

        Raises:
            OptionError: what is to be watched is no folder.
        """
        if self.worker:
            return []
        near = [text for text in inputs if not self._is_far(text)]
        if len(near) < len(inputs):
            assert self.remote is not None
            found = [path for text in inputs if text not in near for path in self.remote.expand(text)]
            if near:
                more, self.ended = find_inputs(near, keep_going=keep_going, quiet=quiet)
                found += more
            return found
        if self.watch:
            from vsalient.scale.watch import Watch

            self.watching = Watch(inputs)
            return []
        found, self.ended = find_inputs(inputs, keep_going=keep_going, quiet=quiet)
        return found

    def output(self, text: str | None) -> str | None:
        """`-o`, or where outputs are made that go to an address.

        Raises:
            OutputError: the address cannot be written to.
        """
        if self.worker or text is None or not self._is_far(text):
            return text
        assert self.remote is not None
        return self.remote.output(text)

    def _is_far(self, text: str) -> bool:
        if "://" not in text:
            return False
        from vsalient.scale.remote import Remote, is_remote, shown

        if not is_remote(text):
            return False
        if self.manifest is not None or self.claim or self.watch or self.split_long is not None or self.runner == "ray":
            raise OptionError(
                f"--manifest, --claim, --watch, --split-long and --runner ray do not go with {shown(text)}: "
                "take --shard and --skip-existing over local folders, or mount the bucket"
            )
        if self.remote is None:
            self.remote = Remote()
            click.get_current_context().call_on_close(self.remote.close)
        return True

    def wanted(
        self, sources: Sequence[Path], plan: Plan, settings: Mapping[str, Any], *, overwrite: bool, skip_existing: bool
    ) -> list[Job]:
        """The jobs of this worker's share, without what exists and is to be skipped.

        Args:
            sources: all inputs; names that collide are found among all of them, whatever the share.
            plan: from inputs to jobs.
            settings: what was asked for beyond the options: procedure and the like.
            overwrite: replace outputs that exist and that no record of ours speaks of.
            skip_existing: leave them alone.

        Raises:
            OptionError: a share outside its range, or a manifest of other settings.
            OutputError: an output exists, or a manifest or claim cannot be written.
        """
        self._check()
        asked = {}
        if self.manifest is not None or self.claim or self.split_long is not None:
            asked = plain_value({**asked_options(click.get_current_context()), **settings})
        self.ledger = Ledger(fingerprint(asked), retries=self.retries)
        if self.worker:
            return []
        self.plan = plan
        jobs = plan(sources)
        share = None
        if self.shard is not None:
            from vsalient.scale.shares import parse_share

            share = parse_share(self.shard)
            jobs = [job for job in jobs if share.holds(job.source)]
        replace = overwrite or skip_existing
        if self.manifest is not None:
            self._manifest = self._manifest_path(share)
            if self._manifest.exists():
                self.ledger.before = read_manifest(self._manifest)
                check_settings(self.ledger.before, self.ledger.settings, asked, replace=replace)
        if self.claim:
            self.ledger.claims = Claims(self.ledger.settings, patience=self.claim_timeout, redo_other=replace)
            click.get_current_context().call_on_close(self.ledger.claims.close)
            self.ledger.claims.prepare([target.path.parent for job in jobs for target in job.targets[:1]])
        self._sweep(jobs)
        if self.watching is not None:
            self._refuse_loop(plan)
        if self.remote is not None and not overwrite:
            self.remote.refuse_existing([target.path for job in jobs for target in job.targets])
        ours = {job.source for job in jobs if self.ledger.ours(_task(job))}
        self.redo = {job.source for job in jobs if job.source in ours or overwrite}
        kept = {
            job.source: job
            for job in keep_wanted(
                [job for job in jobs if job.source not in ours], overwrite=overwrite, skip_existing=skip_existing
            )
        }
        if self._manifest is not None:
            resolved = {"version": __version__, **_machine(), "share": None if share is None else str(share)}
            self.ledger.writer = ManifestWriter(
                self._manifest, settings=self.ledger.settings, asked=asked, resolved=resolved
            )
            click.get_current_context().call_on_close(self.ledger.writer.close)
        return [kept.get(job.source, job) for job in jobs]

    def _check(self) -> None:
        if self.runner == "ray" and (self.watch or self.claim):
            name = "--watch" if self.watch else "--claim"
            raise OptionError(f"{name} does not go with --runner ray, which hands out the inputs: leave one out")
        if self.split_long is not None:
            from vsalient.scale.long import parse_length

            self.piece_seconds = parse_length(self.split_long)
            if self.runner == "ray" or (self.claim and (self.jobs > 1 or self.timeout is not None)):
                raise OptionError(
                    "--split-long does not go with --runner ray, nor with --claim and --jobs or --timeout: "
                    "start as many workers with --claim instead"
                )
        if self.address is not None and self.runner != "ray":
            raise OptionError("--address is for --runner ray: give both, or leave it out")

    def _manifest_path(self, share: Any) -> Path:
        import socket

        assert self.manifest is not None
        fields = {"shard": "1-1", "host": socket.gethostname(), "pid": os.getpid()}
        if share is not None:
            fields["shard"] = f"{share.index + 1}-{share.count}"
        try:
            return Path(self.manifest.format(**fields)).expanduser()
        except (KeyError, ValueError, IndexError, AttributeError):
            raise OptionError(
                f"--manifest '{self.manifest}' is no template: use {{shard}}, {{host}}, {{pid}}"
            ) from None

    def _sweep(self, jobs: Sequence[Job]) -> None:
        from vsalient.sweeping import sweep

        removed = sweep({target.path.parent for job in jobs for target in job.targets})
        if removed:
            log.info("Swept %d leftovers of runs that were killed.", len(removed))

    def _refuse_loop(self, plan: Plan) -> None:
        """Outputs in a folder under watch would be the next inputs."""
        assert self.watching is not None
        for folder in self.watching.folders:
            for job in plan([folder / "film.mp4"]):
                for target in job.targets:
                    if folder.resolve() in target.path.resolve().parents:
                        raise OptionError(f"outputs would go into {folder}, which is watched: choose another -o")

    # The loop.

    @contextlib.contextmanager
    def outcomes(self, worker: "Worker", jobs: Sequence[Job], *, keep_going: bool) -> Iterator[Iterator[Outcome]]:
        """Do all jobs; what becomes of them comes as they end."""
        by_source = {str(job.source): job for job in jobs}
        tasks = [_task(job, redo=job.source in self.redo) for job in jobs if job.targets]
        standing = [Outcome(str(job.source), "skipped", note="its outputs exist") for job in jobs if not job.targets]
        feed = (lambda: self._arrived(by_source)) if self.watching is not None else None
        batch = TaskLoop(Agenda(tasks, feed), self.ledger, keep_going=keep_going or self.watch)
        self.split(worker)
        long = worker.long
        if long is not None and self.claim:
            batch.helper = lambda task: long.help(worker, task)
        if self.remote is not None:
            worker.named = self.remote.address
        with contextlib.ExitStack() as stack:
            if self.runner == "ray":
                from vsalient.ray import run_tasks

                # Ray's own messages go to stdout, where only results belong.
                stack.enter_context(contextlib.redirect_stdout(sys.stderr))

                arguments = child_arguments(click.get_current_context())
                hand_over = partial(run_tasks, arguments=arguments, actors=self.jobs, address=self.address)
                ended = batch.run_elsewhere(tasks, partial(hand_over, timeout=self.timeout))
            else:
                crew = stack.enter_context(self._crew(worker))
                ended = batch.run(crew if self.remote is None else [self.remote.around(work) for work in crew])
            yield chain(standing, stack.enter_context(contextlib.closing(ended)))

    def note(self, console: "Console", outcome: Outcome, *, print_paths: bool) -> None:
        """Take note of what became of an input, and say what nobody has said yet."""
        if self.remote is not None:  # what is printed is uploaded by now
            outcome.source = self.remote.address(outcome.source)
            outcome.written = {kind: self.remote.address(path) for kind, path in outcome.written.items()}
        self.ended.append(outcome)
        if outcome.state == "skipped":
            console.say(f"{outcome.source}: skipped, {outcome.note}")
        elif self._elsewhere:
            for line in outcome.warnings:
                console.say(line)
            if outcome.state != "failed":
                frames, seconds = outcome.summary.get("frames", 0), outcome.summary.get("seconds") or 0.0
                console.say(f"{outcome.source}: {frames} frames in {seconds:.1f} s")
        if outcome.state == "failed" and self.watch:  # the end of the batch may be far away
            console.say(f"{outcome.source}: {outcome.error}")
        if print_paths:
            with contextlib.redirect_stdout(self._stdout):
                for path in outcome.written.values():
                    if str(path) != "-":
                        print_path(path)

    @property
    def _elsewhere(self) -> bool:
        """Whether other processes do the work, whose own consoles are silent."""
        return self.runner == "ray" or self.jobs > 1 or self.timeout is not None

    def split(self, worker: "Worker") -> None:
        """Let the worker split long films, if that was asked for."""
        if self.piece_seconds is not None:
            from vsalient.cli.long import LongFilms

            worker.long = LongFilms(self.piece_seconds, self.ledger.settings, self.ledger.claims)

    @contextlib.contextmanager
    def _crew(self, worker: "Worker") -> Iterator[Sequence[Work]]:
        if not self._elsewhere:
            yield [worker.work]
            return
        from vsalient.scale.worker import WorkerProcess, thread_settings

        arguments = child_arguments(click.get_current_context())
        if self.split_long is not None:
            arguments += ["--split-long", self.split_long]
        # The user's own defaults are among the arguments already.
        settings = thread_settings(self.jobs) | {"VSALIENT_CONFIG": os.devnull}
        extra = None if worker.maps is None else {str(k): str(v) for k, v in worker.maps.items()}
        children = [
            WorkerProcess(arguments, environment=settings, timeout=self.timeout, extra=extra) for _ in range(self.jobs)
        ]
        try:
            yield children
        except BaseException:
            with ThreadPoolExecutor(len(children)) as pool:
                list(pool.map(WorkerProcess.stop, children))
            raise
        finally:
            with ThreadPoolExecutor(len(children)) as pool:
                list(pool.map(WorkerProcess.close, children))

    def _arrived(self, by_source: dict[str, Job]) -> Iterable[Task]:
        assert self.watching is not None and self.plan is not None
        for path in self.watching.new():
            try:
                jobs = self.plan([path])
            except VsalientError as error:
                self.ended.append(Outcome(str(path), "failed", str(error)))
                log.error("%s: %s", path, error)
                continue
            for job in jobs:
                again = str(job.source) in by_source
                redo = again or job.source in self.redo or self.ledger.ours(_task(job))
                kept = keep_wanted([job], overwrite=redo, skip_existing=True)[0]
                if kept.targets:
                    by_source[str(job.source)] = kept
                    yield _task(kept, redo=redo)


def _task(job: Job, *, redo: bool = False) -> Task:
    return Task(str(job.source), {target.kind: target.path for target in job.targets}, redo)


def _machine() -> dict[str, Any]:
    import platform
    import socket

    return {"host": socket.gethostname(), "platform": platform.platform(terse=True), "cpu": platform.machine()}
