"""The stages wired: frames → clips → network → stitched maps → outputs, as a stream over three or more threads.

Decoding and resizing run in one thread, the network in another, every output in its own; the caller's thread
brings the maps to the frame's size. Queues are bounded, and a frame is forgotten once its last clip is done, so
memory depends on the clip and the frame's size, never on the video's length.
"""

import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vsalient.clips import ClipPlanner
from vsalient.errors import InputError
from vsalient.procedure import Procedure
from vsalient.stitch import Stitcher
from vsalient.transforms import Geometry
from vsalient.types import Clip, Frame, Pixels, SaliencyArray
from vsalient.workers import Ahead, Sink

if TYPE_CHECKING:
    from torch import Tensor

STAGES = ("decode", "priors", "model", "finish", "encode")
"""Reading and resizing; optical flow for networks that need it; the network; bringing maps to the frame's size;
writing."""
QUEUE_BYTES = 32 << 20
"""What the frames waiting in one queue may weigh; at least two frames wait, at most eight: the network takes a
stride's worth at a time, and more would only cost memory."""


class EngineLike(Protocol):
    """What the pipeline needs of `vsalient.engine.Engine`."""

    def reset(self) -> None:
        """Forget cached features: another video begins."""

    def run(
        self,
        frames: "Sequence[Tensor]",
        indices: Sequence[int],
        outputs: Sequence[int] | None = None,
        priors: "Mapping[str, Sequence[Tensor]] | None" = None,
    ) -> NDArray[np.float32]:
        """Run one clip: T × (3, h, w) uint8 → (T', h, w) float32 probabilities of the kept slots."""


class OutputLike(Protocol):
    """What the pipeline needs of `vsalient.media.Output`."""

    def write(self, frame: Frame, saliency: SaliencyArray) -> None:
        """Add one frame's result."""

    def close(self) -> None:
        """Finish the file and give it its name."""

    def abort(self) -> None:
        """Leave nothing behind."""


@dataclass
class Report:
    """What a run has done so far.

    Attributes:
        frames: maps delivered.
        corrupt_frames: frames among them that stand in for damaged ones.
        clips: clips that went through the network.
        first_map_seconds: from the start of the run to the first map, None before it.
        seconds: from the start of the run until its end.
    """

    frames: int = 0
    corrupt_frames: int = 0
    clips: int = 0
    first_map_seconds: float | None = None
    seconds: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _busy: dict[tuple[str, int], float] = field(default_factory=dict, repr=False)

    @property
    def stages(self) -> dict[str, float]:
        """Busy seconds by stage, see `STAGES`; of several outputs the busiest counts."""
        with self._lock:
            busy = dict(self._busy)
        longest: dict[str, float] = {}
        for (stage, _), seconds in busy.items():
            longest[stage] = max(longest.get(stage, 0.0), seconds)
        return {stage: longest[stage] for stage in STAGES if stage in longest}

    @property
    def bottleneck(self) -> str:
        """The stage that was busy longest, "" before any was."""
        stages = self.stages
        return max(stages, key=stages.__getitem__, default="")

    def figures(self) -> dict[str, Any]:
        """Everything as plain values, rounded to milliseconds, for a JSON summary."""
        first = self.first_map_seconds
        return {
            "frames": self.frames,
            "corrupt_frames": self.corrupt_frames,
            "clips": self.clips,
            "seconds": round(self.seconds, 3),
            "frames_per_second": round(self.frames / self.seconds, 3) if self.seconds else None,
            "first_map_seconds": None if first is None else round(first, 3),
            "stage_seconds": {stage: round(seconds, 3) for stage, seconds in self.stages.items()},
            "bottleneck": self.bottleneck,
        }

    @contextmanager
    def busy(self, stage: str, lane: int = 0) -> Iterator[None]:
        """Count the time within the block as spent in `stage`; lanes of a stage work side by side."""
        start = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                self._busy[stage, lane] = self._busy.get((stage, lane), 0.0) + time.perf_counter() - start


@dataclass(frozen=True, slots=True, eq=False)
class _Input:
    """A frame with what the network takes of it: (3, h, w) uint8, and (1, h, w) float32 for each prior."""

    frame: Frame
    tensor: "Tensor"
    priors: "Mapping[str, Tensor]"


def saliency_maps(
    frames: Iterable[Frame],
    engine: EngineLike,
    procedure: Procedure,
    *,
    priors: tuple[str, ...] = (),
    report: Report | None = None,
) -> Generator[tuple[Frame, SaliencyArray], None, None]:
    """Run the network over a stream of frames.

    Args:
        frames: in order, their `index` counting 0, 1, 2, …; all of one size.
        engine: the network on its device.
        procedure: clip length, overlap, sizes.
        priors: per-frame inputs the network takes beside the picture, by name (`network.priors`).
        report: is kept up to date while the maps come.

    Yields:
        Every frame with its saliency map, (H, W) float32 in [0, 1] at the frame's size, in order.

    Raises:
        InputError: the frames' size changes.
        VsalientError: whatever the frames' source or the network raises, after the maps before it.
    """
    report = report or Report()
    start = time.perf_counter()
    source = iter(frames)
    with report.busy("decode"):
        first = next(source, None)
    if first is None:
        return
    geometry = Geometry.plan(
        procedure.geometry,
        (first.pixels.shape[0], first.pixels.shape[1]),
        multiple=procedure.multiple,
        resample=procedure.resample,
    )
    refine = _postprocessor(procedure)
    engine.reset()
    depth = queue_depth(first)
    inputs = Ahead(_prepare(first, source, geometry, priors, report), depth, "vsalient-decode")
    # Short: what comes out is taken at once, unless the outputs are behind, and those have queues of their own.
    maps = Ahead(_infer(inputs, engine, procedure, report), 2, "vsalient-model")
    try:
        for frame, values in maps:
            with report.busy("finish"):
                saliency = refine(frame.pixels, geometry.invert(values, procedure.interpolation))
            report.seconds = time.perf_counter() - start
            if report.first_map_seconds is None:
                report.first_map_seconds = report.seconds
            report.frames += 1
            report.corrupt_frames += frame.corrupt
            yield frame, saliency
    finally:
        # Both are told before either is waited for: the network's thread may itself be waiting for a frame.
        inputs.stop()
        maps.stop()
        maps.join()
        inputs.join()
        report.seconds = time.perf_counter() - start


def run(
    frames: Iterable[Frame],
    engine: EngineLike,
    procedure: Procedure,
    outputs: Sequence[OutputLike],
    *,
    priors: tuple[str, ...] = (),
    on_map: Callable[[Frame, Report], None] | None = None,
) -> Report:
    """Write every frame's map to all outputs, and finish them; on any error, abort them.

    Args:
        frames: as for `saliency_maps`, like the next two.
        engine: the network on its device.
        procedure: clip length, overlap, sizes.
        outputs: written in threads of their own, each by one thread.
        priors: as for `saliency_maps`.
        on_map: called in the caller's thread after each map, for progress.

    Returns:
        What was done and how long each stage was busy.

    Raises:
        InputError: there are no frames.
        VsalientError: whatever a stage raises.
    """
    report = Report()
    maps = saliency_maps(frames, engine, procedure, priors=priors, report=report)
    sinks: list[Sink[tuple[Frame, SaliencyArray]]] = []
    try:
        with closing(maps):
            for frame, saliency in maps:
                if not sinks:
                    depth = queue_depth(frame)
                    sinks = [
                        Sink(_writer(output, report, lane), depth, "vsalient-encode")
                        for lane, output in enumerate(outputs)
                    ]
                for sink in sinks:
                    sink.put((frame, saliency))
                if on_map is not None:
                    on_map(frame, report)
        if report.frames == 0:
            raise InputError("there are no frames to work on: check the start and the end that were asked for")
        for sink in sinks:
            sink.finish()
        for lane, output in enumerate(outputs):
            with report.busy("encode", lane):
                output.close()
    except BaseException:
        for sink in sinks:
            sink.stop()
        for output in outputs:
            output.abort()
        raise
    return report


def queue_depth(frame: Frame) -> int:
    """How many frames of this size may wait in one queue."""
    return max(2, min(8, QUEUE_BYTES // max(1, frame.pixels.nbytes)))


def _prepare(
    first: Frame, others: Iterator[Frame], geometry: Geometry, names: tuple[str, ...], report: Report
) -> Iterator[_Input]:
    """Frames → what the network takes of them; priors may look a few frames ahead."""
    stream = None
    if names:
        from vsalient.priors import prior_stream

        stream = prior_stream(names)
    waiting: dict[int, Frame] = {}
    frame: Frame | None = first
    while frame is not None:
        if frame.pixels.shape[:2] != geometry.source:
            height, width = frame.pixels.shape[:2]
            raise InputError(
                f"frame {frame.index} is {width}x{height}, the frames before it "
                f"{geometry.source[1]}x{geometry.source[0]}: all must have one size"
            )
        waiting[frame.index] = frame
        known: list[tuple[int, dict[str, SaliencyArray]]] = [(frame.index, {})]
        if stream is not None:
            with report.busy("priors"):
                known = stream.push(frame)
        with report.busy("decode"):
            ready = [_input(waiting.pop(index), maps, geometry) for index, maps in known]
        yield from ready
        with report.busy("decode"):
            frame = next(others, None)
    if stream is not None:
        for index, maps in stream.finish():
            yield _input(waiting.pop(index), maps, geometry)


def _input(frame: Frame, priors: Mapping[str, NDArray[np.float32]], geometry: Geometry) -> _Input:
    tensors = {name: geometry.apply_map(values) for name, values in priors.items()}
    return _Input(frame, geometry.apply(frame.pixels), tensors)


def _infer(
    inputs: Iterable[_Input], engine: EngineLike, procedure: Procedure, report: Report
) -> Iterator[tuple[Frame, SaliencyArray]]:
    """Inputs → frames with stitched maps of the network's size, each as soon as its last clip is done."""
    planner = ClipPlanner(procedure.clip_length, procedure.overlap, tail=procedure.tail)
    stitcher = Stitcher()
    frames: dict[int, Frame] = {}  # waiting for their maps
    held: dict[int, _Input] = {}  # may be read by a later clip

    def work(clips: Sequence[Clip]) -> Iterator[tuple[Frame, SaliencyArray]]:
        for clip in clips:
            with report.busy("model"):
                stitcher.add(clip, _run_clip(engine, clip, held))
            report.clips += 1
        for index in [index for index in held if index < planner.reads_from]:
            del held[index]
        for index, values in stitcher.ready(planner.writes_from):
            yield frames.pop(index), values

    for item in inputs:
        frames[item.frame.index] = item.frame
        held[item.frame.index] = item
        yield from work(planner.push(item.frame.index))
    yield from work(planner.finish())


def _run_clip(engine: EngineLike, clip: Clip, held: Mapping[int, _Input]) -> NDArray[np.float32]:
    slots = [held[index] for index in clip.indices]
    priors = {name: [slot.priors[name] for slot in slots] for name in slots[0].priors}
    return engine.run([slot.tensor for slot in slots], clip.indices, clip.outputs, priors or None)


def _writer(output: OutputLike, report: Report, lane: int) -> Callable[[tuple[Frame, SaliencyArray]], None]:
    def write(item: tuple[Frame, SaliencyArray]) -> None:
        with report.busy("encode", lane):
            output.write(*item)

    return write


def _postprocessor(procedure: Procedure) -> Callable[[Pixels, SaliencyArray], SaliencyArray]:
    if procedure.postprocess is None:
        return lambda pixels, saliency: saliency
    # The dense CRF is the only one there is; the weights registry admits no other name.
    from vsalient.segment.crf import DenseCrf

    return DenseCrf()
