"""The work of `segment` on one input: from a model's maps, or from maps made earlier, to the finished outputs."""

import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import dataclass
from fractions import Fraction
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vsalient.cli.common import Outcome, expected_frames, print_path
from vsalient.cli.naming import AnyJob, stem_of
from vsalient.cli.segment_outputs import Looks, SegmentKind, SegmentSink, open_writers
from vsalient.errors import InputError
from vsalient.media import exact_rate, open_source
from vsalient.media.images import list_images
from vsalient.pipeline import Report, queue_depth
from vsalient.segment.segmenter import Cleanup, MapRefiner, MaskRefiner, Segmenter
from vsalient.segment.thresholds import Threshold
from vsalient.types import Frame, SaliencyArray
from vsalient.workers import Ahead

if TYPE_CHECKING:
    from vsalient.api import Model
    from vsalient.cli.progress import FrameBar, Narrator
    from vsalient.media import Source
    from vsalient.procedure import Procedure

SegmentJob = AnyJob[SegmentKind]
_GRAY_TOLERANCE = 24
"""How far colours of a gray video may drift apart in 4:2:0 compression."""


@dataclass(frozen=True, slots=True)
class Steps:
    """What is done to the maps of every input, see `Segmenter`."""

    threshold: Threshold
    refine_map: MapRefiner | None
    refine_mask: MaskRefiner | None
    cleanup: Cleanup
    instances: bool

    def segmenter(self, sequence: str, again: Callable[[], AbstractContextManager["Source"]]) -> Segmenter:
        """Prepare for one input."""
        return Segmenter(
            self.threshold.fresh(sequence),
            refine_map=self.refine_map,
            refine_mask=self.refine_mask,
            cleanup=self.cleanup,
            instances=self.instances,
            again=again,
        )


@dataclass
class Worker:
    """Does one job after another with one model, which the first job that needs it loads.

    Attributes:
        narrator: speaks on stderr.
        steps: from maps to masks.
        looks: of the outputs.
        procedure: how the model is run.
        load: loads the model.
        maps: input -> its maps made earlier; None when the model makes them.
        span: start, end in seconds, and frames a second of frame folders.
        print_paths: print what was written on stdout.
    """

    narrator: "Narrator"
    steps: Steps
    looks: Looks
    procedure: "Procedure"
    load: Callable[[], "Model"]
    maps: dict[Path, Path] | None
    span: tuple[float | None, float | None, float | None]
    print_paths: bool
    model: "Model | None" = None

    def work(self, job: SegmentJob) -> Outcome:
        """Write all of a job's outputs."""
        outcome = Outcome(str(job.source), {target.kind: target.path for target in job.targets})
        if not job.targets:
            outcome.skipped = True
            self.narrator.say(f"{job.source}: skipped, its outputs exist")
            return outcome
        with ExitStack() as stack:
            source = stack.enter_context(self._open(job.source))
            maps = stack.enter_context(self._open(self.maps[job.source])) if self.maps is not None else None
            if maps is None and self.model is None:
                self.model = self.load()
                self.narrator.say(f"{self.model.name} on {self.model.description}")
            segmenter = self.steps.segmenter(stem_of(job.source), lambda: self._open(job.source))
            sink = SegmentSink(segmenter, open_writers(job, source.info, self.looks))
            start, end, _ = self.span
            bar = stack.enter_context(self.narrator.frames(job.source.name, expected_frames(source.info, start, end)))
            if maps is not None:
                report = _run_over_maps(source, maps, sink, bar)
            else:
                assert self.model is not None
                report = self.model.write(
                    source, self.procedure, [sink], on_map=lambda frame, report: bar.advance(report.frames)
                )
            if source.cut_short:
                outcome.partial = True
                outcome.error = "the file was cut short: the outputs hold the frames that are there"
        self.narrator.summary(str(job.source), report)
        outcome.summary = report.figures()
        if self.print_paths:
            for target in job.targets:
                print_path(target.path)
        return outcome

    def _open(self, path: Path) -> "Source":
        start, end, rate = self.span
        return open_source(path, start=start, end=end, rate=None if rate is None else exact_rate(rate))


def pair_maps(sources: list[Path], maps: Path) -> dict[Path, Path]:
    """Find each input's maps: `maps` itself for one input, else what is named like the input inside it.

    Raises:
        InputError: there are none, or several that would fit.
    """
    if not maps.exists():
        raise InputError(f"{maps} does not exist; give --maps a folder of maps or a gray video.")
    inside = list(maps.iterdir()) if maps.is_dir() else []
    found: dict[Path, Path] = {}
    for source in sources:
        stem = stem_of(source)
        names = (stem, f"{stem}_maps", f"{stem}_saliency")
        fitting = [entry for entry in inside if stem_of(entry) in names and _has_frames(entry)]
        if len(fitting) > 1:
            raise InputError(f"{fitting[0]} and {fitting[1]} could both be the maps of {source}; remove one.")
        if fitting:
            found[source] = fitting[0]
        elif len(sources) == 1 and _has_frames(maps):
            found[source] = maps
        else:
            raise InputError(f"{maps} holds no maps of {source}; they must be called {' or '.join(names)}.")
    return found


def _has_frames(path: Path) -> bool:
    return path.is_file() or bool(list_images(path))


def _run_over_maps(frames: "Source", maps: "Source", sink: SegmentSink, bar: "FrameBar") -> Report:
    """Feed maps made earlier; on any error leave no output behind."""
    report = Report()
    began = time.perf_counter()

    def pairs() -> Generator[tuple[Frame, SaliencyArray], None, None]:
        feed = zip_longest(frames, maps)
        while True:
            with report.busy("decode"):
                frame, picture = next(feed, (None, None))
                if frame is None and picture is None:
                    return
                if frame is None or picture is None:
                    more, fewer = (maps, frames) if frame is None else (frames, maps)
                    count = (frame or picture).index  # type: ignore[union-attr]
                    raise InputError(
                        f"{fewer.info.path} ends after {count} frames, {more.info.path} goes on; "
                        "give as many maps as frames."
                    )
                saliency = to_saliency(picture, maps.info.path)
                report.corrupt_frames += frame.corrupt or picture.corrupt
            yield frame, saliency

    try:
        depth = queue_depth(Frame(np.empty((frames.info.height, frames.info.width, 3), np.uint8), 0, 0, Fraction(1)))
        with closing(pairs()) as source, Ahead(source, depth, "vsalient-decode") as items:
            for frame, saliency in items:
                with report.busy("encode"):
                    sink.write(frame, saliency)
                report.frames += 1
                bar.advance(report.frames)
        with report.busy("encode"):
            sink.close()
    except BaseException:
        sink.abort()
        raise
    report.seconds = time.perf_counter() - began
    return report


def to_saliency(picture: Frame, path: Path) -> SaliencyArray:
    """A gray picture as a saliency map, (H, W) float32 in [0, 1].

    Raises:
        InputError: it is in colour.
    """
    middle = picture.pixels[:, :, 1]
    if picture.index == 0:
        spread = np.ptp(picture.pixels.reshape(-1, 3).astype(np.int16), axis=1)
        if float(np.quantile(spread, 0.99)) > _GRAY_TOLERANCE:
            raise InputError(f"{path} is in colour; give --maps gray pictures or a gray video, as predict writes them.")
    saliency: SaliencyArray = middle * np.float32(1.0 / 255.0)
    return saliency
