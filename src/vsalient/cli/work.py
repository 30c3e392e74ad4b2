"""The work of `predict` and `segment` on one input: from a model's maps, or maps made earlier, to finished outputs."""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from vsalient.cli.doing import telling
from vsalient.cli.shared.choices import Reading
from vsalient.cli.shared.inputs import expected_frames
from vsalient.cli.shared.naming import stem_of
from vsalient.figures import Report
from vsalient.outputs.looks import Looks
from vsalient.procedure import Procedure
from vsalient.scale.agenda import Outcome, Task
from vsalient.scale.claims import Claim
from vsalient.types import VideoInfo

if TYPE_CHECKING:
    from vsalient.cli.shared.console import Console
    from vsalient.media import Source
    from vsalient.model import Model
    from vsalient.outputs.output import Output
    from vsalient.run import Maps
    from vsalient.segment.segmenter import Segmenting, Unsegmented
    from vsalient.segment.wanted import Wanted


class Pieces(Protocol):
    """What makes the maps of a long film piece by piece: `vsalient.cli.long.LongFilms`."""

    def maps(self, worker: "Worker", task: Task, source: "Source", report: Report) -> "Maps":
        """All maps of a film, as one run would make them."""

    def help(self, worker: "Worker", task: Task) -> None:
        """Compute what pieces are free of a film that another worker has."""

    def forget(self, task: Task) -> None:
        """The film's outputs stand: its pieces are no longer needed."""


@dataclass(kw_only=True)
class Worker:
    """Does one task after another with one model, which the first that needs it loads.

    Attributes:
        console: speaks on stderr.
        procedure: how the model is run.
        load: loads the model.
        looks: of the outputs.
        span: start, end in seconds, and frames a second of frame folders.
        reading: which frames are taken, and how.
        segmenting: from maps to masks.
        wanted: which of the objects that are found are kept; None for all.
        maps: input -> its maps made earlier; None when the model makes them.
        model: loaded so far.
        long: splits long films; None leaves them whole.
        named: what an input is called before people.
    """

    console: "Console"
    procedure: Procedure
    load: "Callable[[], Model]"
    looks: Looks
    span: tuple[float | None, float | None, float | None]
    segmenting: "Segmenting | Unsegmented"
    reading: Reading = field(default_factory=Reading)
    wanted: "Wanted | None" = None
    maps: dict[Path, Path] | None = None
    model: "Model | None" = None
    long: "Pieces | None" = None
    named: Callable[[Path], str] = str

    def work(self, task: Task, claim: Claim | None = None) -> Outcome:
        """Write all of a task's outputs; whoever has the claim guards it."""
        from vsalient.run import write_all
        from vsalient.segment.choosing import without_unwanted

        path, name, report = Path(task.source), self.named(Path(task.source)), Report()
        with telling(task.source) as outcome, ExitStack() as stack:
            # The source is opened first: whether it can be read is known long before PyTorch is loaded.
            source = stack.enter_context(self.open(path, deep=self.looks.deep))
            self.console.detail(f"{name}: {_describe(source.info)}")
            if self.wanted is not None:
                self.wanted.check_size(source.info.width, source.info.height)
            maps = without_unwanted(
                self._maps(task, source, report, stack), self.wanted, partial(report.busy, "segment")
            )
            segmenter = self.segmenting.begin(stem_of(path), lambda: self.open(path))
            frames = expected_frames(source.info, *self.span[:2])
            with self._opened(task, source.info, report) as outputs, self.console.frames(task.source, frames) as bar:
                write_all(
                    maps, outputs, report, segmenter=segmenter, on_result=lambda _, so_far: bar.advance(so_far.frames)
                )
            if self.long is not None:
                self.long.forget(task)
            if source.cut_short:
                outcome.state = "partial"
                outcome.error = "the file was cut short: the outputs hold the frames that are there"
            self.console.summary(name, report)
            outcome.summary = report.figures()
            outcome.engine = None if self.model is None else self.model.description
        return outcome

    def _maps(self, task: Task, source: "Source", report: Report, stack: ExitStack) -> "Maps":
        """The model's maps, or those made earlier, which stay open as long as the stack."""
        path = Path(task.source)
        if self.maps is None:
            model = self.loaded()
            if self.long:
                return self.long.maps(self, task, source, report)
            return model.maps(source, self.procedure, report, pictures=self._shows_pictures(task))
        from vsalient.run import made_earlier

        made = stack.enter_context(self.open(self.maps[path]))
        return made_earlier(source, made, report, cuts=self.procedure.cuts and made.info.path != path)

    def _shows_pictures(self, task: Task) -> bool:
        """Whether an output shows the frames, or masks are made or objects told apart with them."""
        from vsalient.outputs.kinds import find_kind
        from vsalient.segment.segmenter import Unsegmented

        if self.wanted is not None or not isinstance(self.segmenting, Unsegmented):
            return True
        return any(find_kind(kind).colour for kind in task.outputs)

    def _opened(self, task: Task, info: VideoInfo, report: Report) -> "AbstractContextManager[list[Output]]":
        from vsalient.media.addresses import address_of
        from vsalient.outputs import opened

        path = Path(task.source)
        sound = path if path.is_file() or address_of(path) is not None else None
        targets, span = list(task.outputs.items()), self.span[:2]
        return opened(
            targets,
            info,
            source=sound,
            span=span,
            overwrite=task.redo,
            looks=self.looks,
            stages=lambda: report.stages,
        )

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
            live=self.procedure.live,
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
