"""The wired stages with fakes: order, equality with a plain computation, failing parts, bounded memory."""

import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from vsalient.checkpoints import WeightsEntry, registry
from vsalient.clips import plan_clips
from vsalient.errors import InputError, OptionError, OutputError
from vsalient.figures import Report
from vsalient.outputs import Output
from vsalient.pipeline import queue_depth, saliency_maps
from vsalient.procedure import Procedure, plan_procedure
from vsalient.run import write_all
from vsalient.types import Frame, Result, SaliencyArray
from vsalient.vocabulary import TAILS
from vsalient.workers import Ahead, Sink

NATIVE = Procedure(clip_length=4, overlap=2, geometry="native", multiple=8)


def frames(count: int, height: int = 10, width: int = 12) -> Iterator[Frame]:
    for index in range(count):
        pixels = np.full((height, width, 3), index * 3 % 256, np.uint8)
        yield Frame(pixels, index, pts=index * 2, time_base=Fraction(1, 50), corrupt=index == 3)


class BrightnessEngine:
    """Says a frame's brightness, plus a little for the slot, so that averages can be told apart."""

    def __init__(self, fail_at: int | None = None) -> None:
        self.clips: list[tuple[int, ...]] = []
        self.resets = 0
        self.fail_at = fail_at

    behind = open = most_open = 0

    def reset(self) -> None:
        self.resets += 1

    def submit(self, *clip: Any) -> Callable[[], NDArray[np.float32]]:
        maps = self.run(*clip)
        self.open += 1
        self.most_open = max(self.most_open, self.open)

        def wait() -> NDArray[np.float32]:
            self.open -= 1
            return maps

        return wait

    def run(
        self,
        frames: Sequence[torch.Tensor],
        indices: Sequence[int],
        outputs: Sequence[int] | None = None,
        priors: Mapping[str, Sequence[torch.Tensor]] | None = None,
    ) -> NDArray[np.float32]:
        if len(self.clips) == self.fail_at:
            raise InputError("the engine failed")
        self.clips.append(tuple(indices))
        slots = range(len(frames)) if outputs is None else outputs
        return np.stack([frames[slot][0].numpy() / np.float32(255) + 0.001 * slot for slot in slots])


def run(
    frames: Iterator[Frame],
    engine: "BrightnessEngine",
    procedure: Procedure,
    outputs: Sequence[Output],
    on_result: Callable[[Result, Report], None] | None = None,
) -> Report:
    report = Report()
    maps = saliency_maps(frames, engine, procedure, report=report)
    return write_all(maps, outputs, report, on_result=on_result)


class Memory(Output):
    """An output that keeps what it is given."""

    def __init__(self, fail_at: int | None = None, fail_finish: bool = False) -> None:
        self.path = Path("memory")
        self.maps: list[tuple[int, SaliencyArray]] = []
        self.state = "open"
        self.fail_at, self.fail_finish = fail_at, fail_finish
        self.thread: str | None = None

    def write(self, result: Result) -> None:
        if len(self.maps) == self.fail_at:
            raise OutputError("the disk is full")
        self.thread = threading.current_thread().name
        self.maps.append((result.index, result.saliency))

    def finish(self) -> None:
        if self.fail_finish:
            raise OutputError("cannot finish")

    def close(self) -> None:
        self.state = "closed"

    def abort(self) -> None:
        if self.state == "open":
            self.state = "aborted"


@pytest.fixture(autouse=True)
def _no_thread_stays() -> Iterator[None]:
    yield
    left = [thread.name for thread in threading.enumerate() if thread.name.startswith("vsalient")]
    assert not left


@pytest.mark.parametrize("tail", ["shift", "repeat-first", "repeat-last", "causal"])
@pytest.mark.parametrize("count", [1, 3, 4, 5, 11])
@pytest.mark.parametrize("behind", [0, 1, 2])  # clips that a GPU still works on
def test_every_frame_gets_the_mean_over_its_slots(count: int, tail: str, behind: int) -> None:
    assert tail in TAILS
    overlap = 3 if tail == "causal" else 1
    procedure = Procedure(clip_length=4, overlap=overlap, tail=tail, multiple=8)
    slots: dict[int, list[float]] = {}
    for clip in plan_clips(count, 4, overlap, tail=tail):
        for slot in clip.outputs or range(4):
            slots.setdefault(clip.indices[slot], []).append(slot * 0.001)
    engine, output = BrightnessEngine(), Memory()
    engine.behind = behind
    report = run(frames(count), engine, procedure, [output])
    assert engine.most_open == min(behind, len(engine.clips) - 1) + 1 and engine.open == 0
    assert [index for index, _ in output.maps] == list(range(count))
    for index, saliency in output.maps:
        assert saliency.shape == (10, 12)
        np.testing.assert_allclose(saliency, index * 3 / 255 + np.mean(slots[index]), rtol=1e-5)
    assert output.state == "closed" and output.thread == "vsalient-encode"
    assert report.frames == count and report.corrupt_frames == int(count > 3)
    assert report.clips == len(engine.clips) and engine.resets == 2  # before and after
    assert set(report.stages) == {"decode", "model", "finish", "encode"}
    assert report.first_map_seconds is not None and report.first_map_seconds <= report.seconds


@pytest.mark.parametrize("count", [1, 4, 9])
def test_clips_of_every_other_frame_still_give_every_frame_a_map(count: int) -> None:
    engine, output = BrightnessEngine(), Memory()
    run(frames(count), engine, Procedure(clip_length=3, overlap=1, multiple=8, interval=2), [output])
    assert [index for index, _ in output.maps] == list(range(count))
    for index, saliency in output.maps:
        np.testing.assert_allclose(saliency, index * 3 / 255, atol=0.0021)
    if count == 9:
        assert engine.clips[:2] == [(0, 2, 4), (1, 3, 5)]


def test_maps_come_while_frames_are_still_being_read() -> None:
    """A frame leaves as soon as its last clip is done: 20 frames in, no more are asked for, maps come."""
    gate = threading.Event()

    def slow() -> Iterator[Frame]:
        for frame in frames(40):
            if frame.index == 20:
                assert gate.wait(5)
            yield frame

    maps = saliency_maps(slow(), BrightnessEngine(), NATIVE)
    early = [next(maps)[0].index for _ in range(16)]
    assert early == list(range(16))
    gate.set()
    assert len(list(maps)) == 24


@pytest.mark.parametrize("broken_after", [0, 1, 9])
def test_a_failing_reader_reaches_the_user_after_the_maps_before_it(broken_after: int) -> None:
    def breaking() -> Iterator[Frame]:
        yield from frames(broken_after)
        raise InputError("the file is cut")

    output = Memory()
    with pytest.raises(InputError, match="the file is cut"):
        run(breaking(), BrightnessEngine(), NATIVE, [output])
    assert output.state == "aborted"


@pytest.mark.parametrize("fail_at", [0, 3])
def test_a_failing_engine_reaches_the_user(fail_at: int) -> None:
    output = Memory()
    with pytest.raises(InputError, match="the engine failed"):
        run(frames(200), BrightnessEngine(fail_at), NATIVE, [output])
    assert output.state == "aborted"


@pytest.mark.parametrize("fail_at", [0, 7, 199])
def test_a_failing_writer_stops_all_and_aborts_every_output(fail_at: int) -> None:
    outputs = [Memory(), Memory(fail_at)]
    with pytest.raises(OutputError, match="the disk is full"):
        run(frames(200), BrightnessEngine(), NATIVE, outputs)
    assert [output.state for output in outputs] == ["aborted", "aborted"]


def test_an_output_that_cannot_be_finished_is_aborted() -> None:
    outputs = [Memory(), Memory(fail_finish=True), Memory()]
    with pytest.raises(OutputError, match="cannot finish"):
        run(frames(5), BrightnessEngine(), NATIVE, outputs)
    assert [output.state for output in outputs] == ["aborted"] * 3, "none has its name before all are finished"


def test_one_output_that_cannot_even_be_aborted_hides_nothing() -> None:
    class Stubborn(Memory):
        def abort(self) -> None:
            raise OSError("gone")

    outputs = [Stubborn(), Memory(fail_at=1)]
    with pytest.raises(OutputError, match="the disk is full"):
        run(frames(50), BrightnessEngine(), NATIVE, outputs)
    assert outputs[1].state == "aborted"


def test_ctrl_c_in_the_caller_aborts() -> None:
    def interrupt(result: Result, report: Report) -> None:
        if result.index == 5:
            raise KeyboardInterrupt

    output = Memory()
    with pytest.raises(KeyboardInterrupt):
        run(frames(300), BrightnessEngine(), NATIVE, [output], on_result=interrupt)
    assert output.state == "aborted"


def test_no_frames_is_an_error_of_a_run_and_an_empty_stream() -> None:
    output = Memory()
    with pytest.raises(InputError, match="no frames"):
        run(frames(0), BrightnessEngine(), NATIVE, [output])
    assert output.state == "aborted"
    assert list(saliency_maps(frames(0), BrightnessEngine(), NATIVE)) == []


def test_a_change_of_size_is_an_error() -> None:
    def changing() -> Iterator[Frame]:
        yield from frames(2)
        yield Frame(np.zeros((4, 4, 3), np.uint8), 2, 4, Fraction(1, 50))

    with pytest.raises(InputError, match="frame 2 is 4x4, the frames before it 12x10"):
        list(saliency_maps(changing(), BrightnessEngine(), NATIVE))


def test_leaving_early_stops_the_threads() -> None:
    maps = saliency_maps(frames(10_000), BrightnessEngine(), NATIVE)
    next(maps)
    maps.close()


def test_frames_are_forgotten() -> None:
    """The frames alive at any time do not grow with the video."""
    alive = weakref.WeakValueDictionary[int, Frame]()

    class Weak(Frame):  # slots without __weakref__ forbid weak references to a Frame itself
        pass

    peaks = []

    def watched(count: int) -> Iterator[Frame]:
        for frame in frames(count, 60, 80):
            weak = Weak(frame.pixels, frame.index, frame.pts, frame.time_base)
            alive[frame.index] = weak
            peaks.append(len(alive))
            yield weak

    run(watched(300), BrightnessEngine(), NATIVE, [Memory()])
    bound = 8 + 2 + 8 + 2 * NATIVE.clip_length + 6
    assert max(peaks) <= bound, "decoded, inferred and encoded queues, and two clips"


def test_pictures_that_nobody_wants_are_let_go() -> None:
    """What is alive are those that the reader and the queue before the network hold, not those of whole clips."""
    alive = weakref.WeakValueDictionary[int, Any]()
    peaks = []

    class Watched(np.ndarray):  # a plain array takes no weak reference once it is a view's base
        pass

    def watched(count: int) -> Iterator[Frame]:
        for frame in frames(count, 60, 80):
            pixels = frame.pixels.copy().view(Watched)
            alive[frame.index] = pixels
            peaks.append(len(alive))
            yield Frame(pixels, frame.index, frame.pts, frame.time_base)
            del pixels

    wide = Procedure(clip_length=16, overlap=8, geometry="exact:16x16", multiple=8, cuts=False)
    shown = list(saliency_maps(watched(100), BrightnessEngine(), wide, pictures=False))
    assert [frame.index for frame, _ in shown] == list(range(100))
    assert max(peaks) <= 3
    for frame, saliency in shown:
        assert frame.pixels.shape == (60, 80, 3)
        assert not frame.pixels.any()
        assert saliency.shape == (60, 80)
    plain = saliency_maps(frames(100, 60, 80), BrightnessEngine(), wide)
    for (_, saliency), (_, expected) in zip(shown, plain, strict=True):
        np.testing.assert_array_equal(saliency, expected)


def test_queues_hold_fewer_large_frames() -> None:
    assert queue_depth(10, 12) == 8
    assert queue_depth(2160, 3840) == 1


def test_ahead_gives_the_items_then_the_error() -> None:
    def items() -> Iterator[int]:
        yield from range(5)
        raise ValueError("later")

    with Ahead(items(), 2, "vsalient-test") as ahead:
        assert [next(ahead) for _ in range(5)] == list(range(5))
        with pytest.raises(ValueError, match="later"):
            next(ahead)


def test_a_sink_tells_its_error_to_the_giver() -> None:
    def fail(item: int) -> None:
        raise OSError(28, "No space left on device")

    sink = Sink(fail, 2, "vsalient-test")
    with pytest.raises(OSError, match="No space"):
        for item in range(1000):
            sink.put(item)
    with pytest.raises(OSError, match="No space"):
        sink.finish()


def entry(architecture: str = "seg3dc", tail: str = "shift", clip_length: int = 8) -> WeightsEntry:
    return WeightsEntry(
        name="m", summary="s", architecture=architecture, clip_length=clip_length, overlap=3 % clip_length,
        geometry="short:480", multiple=32, licence="MIT", source="none", tail=tail,
    )  # fmt: skip


def test_the_paper_protocol_of_3dc_seg_is_the_official_one() -> None:
    official = registry()["3dc-seg"]
    procedure = plan_procedure(official, protocol="paper")
    assert procedure == Procedure(
        clip_length=8,
        overlap=3,
        tail="repeat-first",
        geometry="short:480",
        multiple=32,
        resample="pillow",
        interpolation="nearest",
        threshold="fixed:0.5",
        cuts=False,
    )
    assert plan_procedure(official, protocol="paper", overlap=7).overlap == 7
    assert plan_procedure(entry()).tail == "shift"


def test_what_does_not_fit_a_model_is_refused() -> None:
    with pytest.raises(OptionError, match="follows no paper"):
        plan_procedure(entry("lite3dc"), protocol="paper")
    with pytest.raises(OptionError, match="takes only centred"):
        plan_procedure(entry("conv3dnet", "centred", 3), tail="shift")
    with pytest.raises(OptionError, match="overlap 8"):
        plan_procedure(entry(), overlap=8)
    with pytest.raises(OptionError, match="geometry 'huge'"):
        plan_procedure(entry(), resolution="huge")


def test_the_overlap_follows_a_shorter_clip() -> None:
    assert plan_procedure(entry(), clip_length=2).overlap == 1
    assert plan_procedure(entry(), clip_length=1).overlap == 0
    assert plan_procedure(entry("conv3dnet", "centred", 3), clip_length=5).overlap == 4
