"""Frames → scenes → clips → network → stitched maps of the frame's size, as a stream over three threads.

Decoding and resizing run in one thread, the network in another; the caller's thread brings the maps to the frame's
size. Each scene between hard cuts is a sequence of its own: its clips, flow and features know nothing of the others, so
that its maps are those it would have alone. Queues are bounded, and a frame is forgotten once its last clip is done, so
memory depends on the clip and the frame's size, never on the video's length.
"""

import itertools
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from vsalient.clips import ClipPlanner
from vsalient.cuts import mark_scenes
from vsalient.errors import InputError
from vsalient.figures import Report
from vsalient.procedure import Procedure
from vsalient.stitch import Stitcher
from vsalient.transforms import Geometry
from vsalient.types import Clip, Frame, Pixels, SaliencyArray
from vsalient.workers import Ahead

if TYPE_CHECKING:
    from torch import Tensor

QUEUE_BYTES = 32 << 20
"""What the frames waiting in one queue may weigh; at least one frame waits, at most eight: the network takes a
stride's worth at a time, and more would only cost memory."""


class EngineLike(Protocol):
    """What the pipeline needs of `vsalient.engine.Engine`.

    Attributes:
        behind: how many clips may be submitted before the maps of the first are asked for.
    """

    behind: int

    def reset(self) -> None:
        """Forget cached features: another video, or another scene, begins."""

    def submit(
        self,
        frames: "Sequence[Tensor]",
        indices: Sequence[int],
        outputs: Sequence[int] | None = None,
        priors: "Mapping[str, Sequence[Tensor]] | None" = None,
    ) -> Callable[[], NDArray[np.float32]]:
        """Begin one clip: T × (3, h, w) uint8 → what waits for (T', h, w) float32 probabilities of the kept slots."""


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
        Every frame, with the number of its scene, and its saliency map, (H, W) float32 in [0, 1] at the frame's size,
        in order.

    Raises:
        InputError: the frames' size changes.
        VsalientError: whatever the frames' source or the network raises, after the maps before it.
    """
    report = report or Report()
    start = time.perf_counter()
    source = mark_scenes(frames) if procedure.cuts else iter(frames)
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
    depth = queue_depth(*first.pixels.shape[:2])
    idle = getattr(engine, "idle", None)  # an engine that rests over stretches of the film says where
    inputs = Ahead(_prepare(first, source, geometry, priors, report, idle), depth, "vsalient-decode")
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
        engine.reset()  # features and pinned memory are not kept until the next video
        report.seconds = time.perf_counter() - start


def queue_depth(height: int, width: int) -> int:
    """How many frames of this size may wait in one queue."""
    return max(1, min(8, QUEUE_BYTES // max(1, 3 * height * width)))


def _prepare(
    first: Frame,
    others: Iterator[Frame],
    geometry: Geometry,
    names: tuple[str, ...],
    report: Report,
    idle: Callable[[int], bool] | None = None,
) -> Iterator[_Input]:
    """Frames → what the network takes of them; priors may look a few frames ahead, within their scene.

    Of a frame that `idle` says nobody will look at, the input is that of the frame before it.
    """
    stream = None
    last: _Input | None = None

    def made(frame: Frame, maps: Mapping[str, NDArray[np.float32]]) -> _Input:
        nonlocal last
        if last is not None and idle is not None and idle(frame.index):
            return _Input(frame, last.tensor, last.priors)
        last = _input(frame, maps, geometry)
        return last

    if names:
        from vsalient.priors import prior_stream

        stream = prior_stream(names)
        stream.idle = idle
    waiting: dict[int, Frame] = {}
    frame: Frame | None = first
    scene = first.scene
    while frame is not None:
        if stream is not None and frame.scene != scene:
            yield from (made(waiting.pop(index), maps) for index, maps in stream.finish())
        scene = frame.scene
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
            ready = [made(waiting.pop(index), maps) for index, maps in known]
        yield from ready
        with report.busy("decode"):
            frame = next(others, None)
    if stream is not None:
        for index, maps in stream.finish():
            yield made(waiting.pop(index), maps)


def _input(frame: Frame, priors: Mapping[str, NDArray[np.float32]], geometry: Geometry) -> _Input:
    tensors = {name: geometry.apply_map(values) for name, values in priors.items()}
    return _Input(frame, geometry.apply(frame.pixels), tensors)


def _infer(
    inputs: Iterable[_Input], engine: EngineLike, procedure: Procedure, report: Report
) -> Iterator[tuple[Frame, SaliencyArray]]:
    """Inputs → frames with stitched maps of the network's size, each as soon as its last clip is done."""
    for _, scene in itertools.groupby(inputs, key=lambda item: item.frame.scene):
        engine.reset()
        yield from _infer_scene(scene, engine, procedure, report)


def _infer_scene(
    inputs: Iterable[_Input], engine: EngineLike, procedure: Procedure, report: Report
) -> Iterator[tuple[Frame, SaliencyArray]]:
    """The same for one scene, whose frames are counted from 0."""
    planner = ClipPlanner(procedure.clip_length, procedure.overlap, tail=procedure.tail, interval=procedure.interval)
    stitcher = Stitcher()
    frames: dict[int, Frame] = {}  # waiting for their maps
    held: dict[int, _Input] = {}  # may be read by a later clip

    begun: deque[tuple[Clip, Callable[[], NDArray[np.float32]]]] = deque()  # a GPU may still be at work on these

    def fetch(behind: int) -> None:
        while len(begun) > behind:
            clip, wait = begun.popleft()
            with report.busy("model"):
                stitcher.add(clip, wait())
            report.clips += 1

    def work(clips: Sequence[Clip], behind: int) -> Iterator[tuple[Frame, SaliencyArray]]:
        for clip in clips:
            with report.busy("model"):
                begun.append((clip, _begin_clip(engine, clip, held)))
            fetch(behind)
        fetch(behind)
        for index in [index for index in held if index < planner.reads_from]:
            del held[index]
        final = min([planner.writes_from, *(min(clip.indices) for clip, _ in begun)])
        for index, values in stitcher.ready(final):
            yield frames.pop(index), values

    begins: Callable[[int], None] | None = getattr(engine, "begins", None)  # asked of one that counts all frames
    for index, item in enumerate(inputs):
        if index == 0 and begins is not None:
            begins(item.frame.index)
        frames[index] = item.frame
        held[index] = item
        yield from work(planner.push(index), engine.behind)
    yield from work(planner.finish(), engine.behind)
    yield from work([], 0)


def _begin_clip(engine: EngineLike, clip: Clip, held: Mapping[int, _Input]) -> Callable[[], NDArray[np.float32]]:
    slots = [held[index] for index in clip.indices]
    priors = {name: [slot.priors[name] for slot in slots] for name in slots[0].priors}
    return engine.submit([slot.tensor for slot in slots], clip.indices, clip.outputs, priors or None)


def _postprocessor(procedure: Procedure) -> Callable[[Pixels, SaliencyArray], SaliencyArray]:
    if procedure.postprocess is None:
        return lambda pixels, saliency: saliency
    # The dense CRF is the only one there is; the weights registry admits no other name.
    from vsalient.segment.crf import DenseCrf

    return DenseCrf()
