"""The work of `predict` and `segment` on one input: from a model's maps, or maps made earlier, to finished outputs."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from vsalient.cli.shared.choices import Reading
from vsalient.cli.shared.inputs import expected_frames
from vsalient.cli.shared.naming import Job, stem_of
from vsalient.cli.shared.outcome import Outcome, print_path
from vsalient.figures import Report
from vsalient.outputs.looks import Looks
from vsalient.procedure import Procedure
from vsalient.types import Binarise, VideoInfo, halve

if TYPE_CHECKING:
    from vsalient.cli.shared.console import Console
    from vsalient.media import Source
    from vsalient.model import Model
    from vsalient.run import Maps
    from vsalient.segment.segmenter import Segmenting


class Pieces(Protocol):
    """What makes the maps of a long film piece by piece: `vsalient.cli.long.LongFilms`."""

    def maps(self, worker: "Worker", job: Job, source: "Source", report: Report) -> "Maps":
        """All maps of a film, as one run would make them."""

    def help(self, worker: "Worker", job: Job) -> None:
        """Compute what pieces are free of a film that another worker has."""

    def forget(self, job: Job) -> None:
        """The film's outputs stand: its pieces are no longer needed."""


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
        named: what an input is called before people.
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
    long: "Pieces | None" = None
    named: Callable[[Path], str] = str

    def work(self, job: Job) -> Outcome:
        """Write all of a job's outputs."""
        outcome = Outcome(str(job.source), {target.kind: target.path for target in job.targets})
        if not job.targets:
            outcome.skipped = True
            self.console.say(f"{self.named(job.source)}: skipped, its outputs exist")
            return outcome
        with ExitStack() as stack:
            # The source is opened first: whether it can be read is known long before PyTorch is loaded.
            source = stack.enter_context(self.open(job.source, deep=self.looks.deep))
            self.console.detail(f"{self.named(job.source)}: {_describe(source.info)}")
            made = None if self.maps is None else stack.enter_context(self.open(self.maps[job.source]))
            report = self._write(job, source, made)
            if source.cut_short:
                outcome.partial = True
                outcome.error = "the file was cut short: the outputs hold the frames that are there"
        self.console.summary(self.named(job.source), report)
        outcome.summary = report.figures()
        if self.print_paths:
            for target in job.targets:
                if str(target.path) != "-":
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
            self.console.frames(str(job.source), expected_frames(source.info, start, end)) as bar,
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

    def open(self, path: Path, *, deep: bool = False) -> "Source":
        """Open an input, in the span that was asked for; `deep` for its pictures in all their bits."""
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
            deep=deep,
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
            fast = "; fast: every second frame, the maps between carried along the flow" * self.procedure.fast
            self.console.say(f"{self.model.entry.introduction} on {self.model.description}{fast}")
        return self.model


def _describe(info: VideoInfo) -> str:
    rate = f"{float(info.rate):g} frames/s" if info.rate else "unknown rate"
    turned = f", turned by {info.rotation}°" if info.rotation else ""
    sound = ", with sound" if info.has_audio else ""
    return f"{info.width}x{info.height}, {rate}, {info.codec} {info.pixel_format} {info.color_space}{turned}{sound}"
