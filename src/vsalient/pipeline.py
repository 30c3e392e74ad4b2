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
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from vsalient.clips import ClipPlanner
from vsalient.cuts import mark_scenes
from vsalient.errors import InputError, OptionError
from vsalient.figures import Report
from vsalient.procedure import Procedure
from vsalient.stitch import Stitcher
from vsalient.transforms import Geometry
from vsalient.types import Clip, Frame, Pixels, SaliencyArray
from vsalient.workers import Ahead

if TYPE_CHECKING:
    from torch import Tensor

    from vsalient.priors import Between, PriorStream

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
    """A frame with what the network takes of it: (3, h, w) uint8, and (1, h, w) float32 for each prior.

    A frame that the network is not to see has no tensor, but the motion to its neighbours, on the network's grid.
    """

    frame: Frame
    tensor: "Tensor | None"
    priors: "Mapping[str, Tensor]"
    between: "Between | None" = None


def saliency_maps(
    frames: Iterable[Frame],
    engine: EngineLike,
    procedure: Procedure,
    *,
    priors: tuple[str, ...] = (),
    report: Report | None = None,
    held: AbstractContextManager[None] | None = None,
    pictures: bool = True,
) -> Generator[tuple[Frame, SaliencyArray], None, None]:
    """Run the network over a stream of frames.

    Args:
        frames: in order, their `index` counting 0, 1, 2, …; all of one size.
        engine: the network on its device.
        procedure: clip length, overlap, sizes.
        priors: per-frame inputs the network takes beside the picture, by name (`network.priors`).
        report: is kept up to date while the maps come.
        pictures: whether the frames' pictures are wanted with the maps. Else each is let go once the network's input is
            made of it, and a black one stands for it: those of a clip in 4K weigh 200 MB.
        held: entered before the first frame and left after the last: the engine is for one video at a time.

    Yields:
        Every frame, with the number of its scene, and its saliency map, (H, W) float32 in [0, 1] at the frame's size,
        in order.

    Raises:
        InputError: the frames' size changes.
        VsalientError: whatever the frames' source or the network raises, after the maps before it.
    """
    report = report or Report()
    with held or nullcontext():
        start = time.perf_counter()
        source = mark_scenes(frames) if procedure.cuts else iter(frames)
        with report.busy("decode"):
            first = next(source, None)
        if first is None:
            return
        if procedure.live:
            report.follow()
        report.arrived(first.index)
        geometry = Geometry.plan(
            procedure.geometry,
            (first.pixels.shape[0], first.pixels.shape[1]),
            multiple=procedure.multiple,
            resample=procedure.resample,
        )
        refine = _postprocessor(procedure)
        depth = queue_depth(*first.pixels.shape[:2])
        idle = getattr(engine, "idle", None)  # an engine that rests over stretches of the film says where
        if procedure.fast and idle is not None:
            raise OptionError("fast does not go with working on parts of a film: leave one of the two out")
        keep = pictures or procedure.postprocess is not None
        prepared = _prepare(first, source, geometry, priors, report, idle, procedure, keep=keep)
        del first  # the name would hold it as long as the video lasts
        inputs = Ahead(prepared, depth, "vsalient-decode")
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
    idle: Callable[[int], bool] | None,
    procedure: Procedure,
    *,
    keep: bool,
) -> Iterator[_Input]:
    """Frames → what the network takes of them; priors may look a few frames ahead, within their scene.

    Of a frame that `idle` says nobody will look at, the input is that of the frame before it.
    """
    stream, fast = None, procedure.fast
    if names or fast:
        from vsalient.priors.choose import PriorTools

        stream = PriorTools(procedure.flow, procedure.classifier).stream(names, every=2 if fast else 1)
        stream.idle, stream.live = idle, procedure.live
    inputs = _Inputs(geometry, names, stream, report, idle, fast=fast, keep=keep)
    frame: Frame | None = first
    del first
    while frame is not None:
        if frame.pixels.shape[:2] != geometry.source:
            height, width = frame.pixels.shape[:2]
            raise InputError(
                f"frame {frame.index} is {width}x{height}, the frames before it "
                f"{geometry.source[1]}x{geometry.source[0]}: all must have one size"
            )
        yield from inputs.push(frame)
        with report.busy("decode"):
            frame = next(others, None)
        if frame is not None:
            report.arrived(frame.index)
    yield from inputs.finish()


class _Inputs:
    """Makes inputs of frames; in a fast run of every second one of a scene."""

    def __init__(
        self,
        geometry: Geometry,
        names: tuple[str, ...],
        stream: "PriorStream | None",
        report: Report,
        idle: Callable[[int], bool] | None,
        *,
        fast: bool,
        keep: bool,
    ) -> None:
        self._geometry, self._names, self._stream, self._report, self._fast = geometry, names, stream, report, fast
        self._keep = keep
        self._idle = idle
        self._made_last: _Input | None = None
        self._waiting: dict[int, Frame] = {}
        self._scene: int | None = None
        self._ordinal = 0

    def push(self, frame: Frame) -> Iterator[_Input]:
        if frame.scene != self._scene:
            yield from self.finish()
        self._scene = frame.scene
        self._waiting[frame.index] = frame
        known: list[tuple[int, dict[str, SaliencyArray]]] = [(frame.index, {})]
        if self._stream is not None:
            with self._report.busy("priors"):
                known = self._stream.push(frame)
        with self._report.busy("decode"):
            ready = self._made(known)
        yield from ready

    def finish(self) -> Iterator[_Input]:
        """The end of a scene."""
        if self._stream is not None:
            yield from self._made(self._stream.finish())
        self._ordinal = 0

    def _made(self, known: Sequence[tuple[int, Mapping[str, NDArray[np.float32]]]]) -> list[_Input]:
        found = []
        for index, priors in known:
            frame, skipped = self._waiting.pop(index), self._fast and self._ordinal % 2 == 1
            self._ordinal += 1
            shown = frame if self._keep else frame.without_picture()
            if skipped:
                from vsalient.priors import between_on

                assert self._stream is not None and self._stream.between is not None
                way = between_on(self._stream.between, self._geometry.scaled, self._geometry.padding)
                found.append(_Input(shown, None, {}, way))
                continue
            last = self._made_last
            if last is not None and self._idle is not None and self._idle(index):
                found.append(_Input(shown, last.tensor, last.priors))
                continue
            tensors = {name: self._geometry.apply_map(priors[name]) for name in self._names}
            self._made_last = _Input(shown, self._geometry.apply(frame.pixels), tensors)
            found.append(self._made_last)
        return found


def _infer(
    inputs: Iterable[_Input], engine: EngineLike, procedure: Procedure, report: Report
) -> Iterator[tuple[Frame, SaliencyArray]]:
    """Inputs → frames with stitched maps of the network's size, each as soon as its last clip is done."""
    begins: Callable[[int], None] | None = getattr(engine, "begins", None)  # asked of one that counts all frames
    for _, items in itertools.groupby(inputs, key=lambda item: item.frame.scene):
        engine.reset()
        scene = _Scene(procedure, report, begins)
        for item in itertools.chain(items, [None]):
            for clip in scene.finish() if item is None else scene.push(item):
                with report.busy("model"):
                    scene.begun.append((clip, engine.submit(*scene.slots(clip))))
                scene.fetch(engine.behind)
            yield from scene.ready(0 if item is None else engine.behind)


class _Scene:
    """What one scene needs between its frames and its maps; its frames are counted from 0."""

    def __init__(self, procedure: Procedure, report: Report, begins: Callable[[int], None] | None) -> None:
        self._planner = ClipPlanner(
            procedure.clip_length,
            procedure.overlap,
            tail=procedure.tail,
            interval=procedure.interval,
            live=procedure.live,
        )
        self._stitcher = Stitcher()
        self._report, self._begins = report, begins
        self._frames: dict[int, Frame] = {}  # waiting for their maps
        self._held: dict[int, _Input] = {}  # may be read by a later clip
        self.begun: deque[tuple[Clip, Callable[[], NDArray[np.float32]]]] = deque()  # a GPU may be at work on these
        self._between: dict[int, _Input] = {}  # what the network does not see, by the frame that comes after it
        self._last: SaliencyArray | None = None
        self._count = 0
        self._over = False

    def push(self, item: _Input) -> Iterable[Clip]:
        """The clips that are whole with this input."""
        if self._count == 0 and self._begins is not None:
            self._begins(item.frame.index)
        if item.tensor is None:
            self._between[self._count] = item
            return ()
        self._frames[self._count], self._held[self._count] = item.frame, item
        self._count += 1
        return self._planner.push(self._count - 1)

    def finish(self) -> Iterable[Clip]:
        """The clips at the scene's end."""
        self._over = True
        return self._planner.finish()

    def slots(
        self, clip: Clip
    ) -> tuple[list["Tensor"], Sequence[int], Sequence[int] | None, dict[str, list["Tensor"]] | None]:
        """A clip as the engine takes it."""
        slots = [self._held[index] for index in clip.indices]
        priors = {name: [slot.priors[name] for slot in slots] for name in slots[0].priors}
        return [slot.tensor for slot in slots if slot.tensor is not None], clip.indices, clip.outputs, priors or None

    def fetch(self, behind: int) -> None:
        """Wait for the maps of the oldest clips, until at most `behind` are left at work."""
        while len(self.begun) > behind:
            clip, wait = self.begun.popleft()
            with self._report.busy("model"):
                self._stitcher.add(clip, wait())
            self._report.clips += 1

    def ready(self, behind: int) -> Iterator[tuple[Frame, SaliencyArray]]:
        """The frames whose maps no later clip changes."""
        self.fetch(behind)
        for index in [index for index in self._held if index < self._planner.reads_from]:
            del self._held[index]
        final = min([self._planner.writes_from, *(min(clip.indices) for clip, _ in self.begun)])
        for index, values in self._stitcher.ready(final):
            yield from self._skipped(index, values)
            self._last = values
            yield self._frames.pop(index), values
        if self._over:
            yield from self._skipped(self._count, None)

    def _skipped(self, index: int, values: SaliencyArray | None) -> Iterator[tuple[Frame, SaliencyArray]]:
        if index in self._between:
            from vsalient.priors import carried_between

            item = self._between.pop(index)
            assert item.between is not None and self._last is not None
            yield item.frame, carried_between(self._last, values, item.between)


def _postprocessor(procedure: Procedure) -> Callable[[Pixels, SaliencyArray], SaliencyArray]:
    if procedure.postprocess is None:
        return lambda pixels, saliency: saliency
    # The dense CRF is the only one there is; the weights registry admits no other name.
    from vsalient.segment.crf import DenseCrf

    return DenseCrf()
