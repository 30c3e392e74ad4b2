"""The work of `predict` and `segment` on one input: from a model's maps, or maps made earlier, to finished outputs."""

import json
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vsalient.cli.editing import Editing
from vsalient.cli.many import Many
from vsalient.cli.shared.choices import BatchChoice, OutputChoice, Reading
from vsalient.cli.shared.inputs import expected_frames
from vsalient.cli.shared.naming import Job, keep_wanted, stem_of
from vsalient.cli.shared.outcome import Outcome, input_records, print_path
from vsalient.cli.shared.plain import plain, valid
from vsalient.figures import Report
from vsalient.outputs.looks import Looks
from vsalient.procedure import Procedure
from vsalient.types import Binarise, VideoInfo, halve
from vsalient.version import __version__

if TYPE_CHECKING:
    from vsalient.api import Model
    from vsalient.cli.long import LongFilms
    from vsalient.cli.shared.console import Console
    from vsalient.media import Source
    from vsalient.segment.segmenter import Segmenting


@dataclass(kw_only=True)
class Worker:
    """Does one job after another with one model, which the first job that needs it loads.

    Attributes:
        console: speaks on stderr.
        procedure: how the model is run.
        load: loads the model.
        looks: of the outputs.
        overwrite: replace what exists.
        span: start, end in seconds, and frames a second of frame folders.
        reading: which frames are taken, and how.
        print_paths: print what was written on stdout.
        segmenting: from maps to masks; None leaves the maps as they are.
        binarise: makes masks where there is no segmenting.
        maps: input -> its maps made earlier; None when the model makes them.
        model: loaded so far.
        long: splits long films; None leaves them whole.
    """

    console: "Console"
    procedure: Procedure
    load: "Callable[[], Model]"
    looks: Looks
    overwrite: bool
    span: tuple[float | None, float | None, float | None]
    print_paths: bool
    reading: Reading = field(default_factory=Reading)
    segmenting: "Segmenting | None" = None
    binarise: Binarise = halve
    maps: dict[Path, Path] | None = None
    model: "Model | None" = None
    long: "LongFilms | None" = None

    def work(self, job: Job) -> Outcome:
        """Write all of a job's outputs."""
        outcome = Outcome(str(job.source), {target.kind: target.path for target in job.targets})
        if not job.targets:
            outcome.skipped = True
            self.console.say(f"{job.source}: skipped, its outputs exist")
            return outcome
        with ExitStack() as stack:
            # The source is opened first: whether it can be read is known long before PyTorch is loaded.
            source = stack.enter_context(self.open(job.source))
            self.console.detail(f"{job.source}: {_describe(source.info)}")
            made = None if self.maps is None else stack.enter_context(self.open(self.maps[job.source]))
            report = self._write(job, source, made)
            if source.cut_short:
                outcome.partial = True
                outcome.error = "the file was cut short: the outputs hold the frames that are there"
        self.console.summary(str(job.source), report)
        outcome.summary = report.figures()
        if self.print_paths:
            for target in job.targets:
                print_path(target.path)
        return outcome

    def _write(self, job: Job, source: "Source", made: "Source | None") -> Report:
        from vsalient.outputs import opened
        from vsalient.run import made_earlier, results, write_all

        report = Report()
        model = self.loaded() if made is None else None
        start, end, _ = self.span
        segmenter = None
        if self.segmenting is not None:
            segmenter = self.segmenting.begin(stem_of(job.source), lambda: self.open(job.source))
        from vsalient.media.addresses import address_of

        targets = [(target.kind, target.path) for target in job.targets]
        sound = job.source if job.source.is_file() or address_of(job.source) is not None else None
        with (
            opened(
                targets, source.info, source=sound, span=(start, end), overwrite=self.overwrite, looks=self.looks
            ) as outputs,
            self.console.frames(job.source.name, expected_frames(source.info, start, end)) as bar,
        ):
            if model is not None and self.long is not None:
                maps = self.long.maps(self, job, source, report)
            elif model is not None:
                maps = model.maps(source, self.procedure, report)
            else:
                assert made is not None
                maps = made_earlier(source, made, report, cuts=self.procedure.cuts and made.info.path != job.source)
            found = results(maps, segmenter=segmenter, binarise=self.binarise, report=report)
            write_all(found, outputs, report, on_result=lambda result, report: bar.advance(report.frames))
        if self.long is not None:
            self.long.forget(job)
        return report

    def open(self, path: Path) -> "Source":
        """Open an input, in the span that was asked for."""
        from vsalient.media import exact_rate, open_source

        start, end, rate = self.span
        return open_source(
            path,
            start=start,
            end=end,
            rate=None if rate is None else exact_rate(rate),
            deinterlace=self.reading.deinterlace,
            every=self.reading.every,
            limit=self.reading.limit,
        )

    def prepare(self) -> None:
        """Load the model, if one is needed, before the first job.

        Raises:
            ModelLoadError: it cannot be loaded.
        """
        if self.maps is None:
            self.loaded()

    def loaded(self) -> "Model":
        """The model, loaded by the first who asks."""
        if self.model is None:
            self.model = self.load()
            self.console.say(f"{self.model.entry.introduction} on {self.model.description}")
        return self.model

    def run(
        self,
        jobs: Sequence[Job],
        failed: Sequence[Outcome],
        *,
        keep_going: bool,
        as_json: bool,
        settings: dict[str, Any],
    ) -> int:
        """Do all jobs, print the JSON summary if it was asked for and the table of what became of each.

        Returns:
            The exit code.

        Raises:
            VsalientError: what ended the batch.
        """
        many = Many.current()
        if many.worker:
            from vsalient.cli.serving import serve_requests

            many.split(self)
            return serve_requests(self)
        began = time.perf_counter()
        self.console.begin([job.source for job in jobs if job.targets])
        outcomes = list(failed)
        failure: BaseException | None
        try:
            failure = many.run(self, jobs, outcomes, keep_going=keep_going)
        except KeyboardInterrupt as stop:  # Ctrl-C, or a signal to end: what was done is said all the same
            failure = stop
        if as_json:
            summary = {
                "version": __version__,
                "model": self.model.name if self.model else None,
                "engine": self.model.description if self.model else None,
                "procedure": asdict(self.procedure) if self.maps is None else None,
                **settings,
                "seconds": round(time.perf_counter() - began, 3),
                "inputs": input_records(outcomes),
                "failed": sum(outcome.error is not None for outcome in outcomes),
                "interrupted": isinstance(failure, KeyboardInterrupt),
            }
            click.echo(json.dumps(summary, indent=2))
        if failure is not None:
            raise failure
        self.console.table(outcomes)
        return int(any(outcome.error is not None for outcome in outcomes))


def start(
    inputs: Sequence[str],
    outputs: OutputChoice,
    editing: Editing,
    batch: BatchChoice,
    *,
    name: str,
    endings: dict[str, str],
    worker: Callable[["Console", list[Path]], Worker],
    procedure: Procedure,
    settings: dict[str, Any],
) -> int:
    """Find the inputs, plan their outputs, and do the work, or say what it would be.

    Args:
        inputs: what was typed.
        outputs: where they go.
        editing: the editors' choices.
        batch: how the batch goes.
        name: what `{model}` stands for.
        endings: kind -> file ending, where it is not the usual one.
        worker: makes the worker for these inputs.
        procedure: how the model is run.
        settings: for the JSON summary.

    Returns:
        The exit code.

    Raises:
        VsalientError: what is wrong with the inputs or outputs, or what ended the batch.
    """
    many = Many.current()
    sources, failed = many.inputs(inputs, keep_going=batch.keep_going, quiet=batch.quiet)
    sources = editing.sources(sources)
    plan = editing.checked(outputs.plan(model=name, endings=endings, skip_existing=batch.skip_existing))
    flags = {"overwrite": batch.overwrite, "skip_existing": batch.skip_existing}
    made = worker(batch.console(), sources)
    if batch.dry_run:
        return show_plan(keep_wanted(plan(sources), **flags), failed, as_json=batch.as_json)
    jobs = many.wanted(sources, plan, {"procedure": procedure}, **flags)
    return made.run(jobs, failed, keep_going=batch.keep_going, as_json=batch.as_json, settings=settings)


def show_plan(jobs: Sequence[Job], failed: Sequence[Outcome], *, as_json: bool) -> int:
    """Say on stdout what would be written where.

    Returns:
        The exit code: 1 if inputs failed already.
    """
    if as_json:
        planned = [
            {
                "input": valid(str(job.source)),
                "outputs": {target.kind: valid(str(target.path)) for target in job.targets},
                "replaced": [target.kind for target in job.targets if target.exists],
            }
            for job in jobs
        ]
        click.echo(json.dumps({"dry_run": True, "inputs": planned, "failed": len(failed)}, indent=2))
        return int(bool(failed))
    for outcome in failed:
        click.echo(f"failed: {plain(outcome.error or outcome.source)}")
    for job in jobs:
        if not job.targets:
            click.echo(f"{plain(str(job.source))}: skipped, its outputs exist")
        for target in job.targets:
            note = " (replaced)" if target.exists else ""
            click.echo(f"{plain(str(job.source))} -> {plain(str(target.path))}{note}")
    return int(bool(failed))


def _describe(info: VideoInfo) -> str:
    rate = f"{float(info.rate):g} frames/s" if info.rate else "unknown rate"
    turned = f", turned by {info.rotation}°" if info.rotation else ""
    sound = ", with sound" if info.has_audio else ""
    return f"{info.width}x{info.height}, {rate}, {info.codec} {info.pixel_format} {info.color_space}{turned}{sound}"
