"""Score sequences: pictures decoded in threads, sequences in parallel processes, a few frames in memory at a time."""

import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vsalient.datasets.layout import Folder, Video
from vsalient.datasets.masks import PixelValues, Truth, read_map, read_points, read_truth
from vsalient.errors import DataError, VsalientError
from vsalient.evaluation.pictures import GrayVideo, resize_map, truth_of_map
from vsalient.evaluation.plan import Item, Missing, SequencePlan
from vsalient.metrics.arrays import BINARISE_AT, Map8, Mask
from vsalient.metrics.frame import FrameScores, score_fixations, score_frame
from vsalient.metrics.scores import SequenceAccumulator, SequenceScores
from vsalient.metrics.temporal import temporal_stability

SizeMismatch = Literal["error", "resize"]
ScoringProgress = Callable[[str, int, int], None]
"""Called with a sequence's name, how many are done, and of how many."""


@dataclass(frozen=True, slots=True)
class Options:
    """How frames are read and scored.

    Attributes:
        metrics: names of the catalogue.
        missing: what a frame without a prediction counts as.
        size_mismatch: whether a prediction of another size is an error or resized.
        values: what pixel values mean.
        void_value: ground-truth value that marks pixels to leave out.
        negatives: file with the fixation counts of all sequences (sAUC); each sequence takes its own
            out again.
        block: frames of a voxel of Fadp_voxel.
    """

    metrics: tuple[str, ...]
    missing: Missing = "error"
    size_mismatch: SizeMismatch = "error"
    values: PixelValues = "auto"
    void_value: int | None = None
    negatives: Path | None = None
    block: int = 4


@dataclass(frozen=True, slots=True)
class Scored:
    """A scored sequence and what happened on the way.

    Attributes:
        scores: its numbers.
        absent: frames without a prediction, counted as empty or left out.
        resized: predictions resized to the ground truth.
        extra: predicted frames without ground truth.
        highest: largest predicted value.
    """

    scores: SequenceScores
    absent: int
    resized: int
    extra: int
    highest: int


@dataclass(frozen=True, slots=True, eq=False)
class _Loaded:
    """One frame's pictures, (H, W) each: a prediction, and a truth or (in fixation mode) a density and its points."""

    prediction: Map8 | None
    truth: Truth | None
    density: Map8 | None = None
    points: Mask | None = None


def score_sequences(
    plans: Sequence[SequencePlan], options: Options, *, jobs: int = 1, progress: ScoringProgress | None = None
) -> list[Scored]:
    """Score every sequence.

    Args:
        plans: from `plan_prediction`.
        options: how.
        jobs: processes; 1 works in this one.
        progress: told after every sequence.

    Raises:
        VsalientError: from the first sequence that fails.
    """
    jobs = max(1, min(jobs, len(plans)))
    outcomes: dict[int, Scored] = {}
    if jobs == 1:
        threads = min(4, os.cpu_count() or 1)
        for at, plan in enumerate(plans):
            outcomes[at] = score_sequence(plan, options, threads=threads)
            if progress is not None:
                progress(plan.name, len(outcomes), len(plans))
        return [outcomes[at] for at in range(len(plans))]
    threads = max(1, (os.cpu_count() or 1) // jobs) + 1
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_begin_scorer) as pool:
        try:
            # The longest first, so that no worker is left with it at the end.
            order = sorted(range(len(plans)), key=lambda at: -len(plans[at].items))
            with _interrupts_held():
                futures = {pool.submit(score_sequence, plans[at], options, threads=threads): at for at in order}
            for future in as_completed(futures):
                outcomes[futures[future]] = future.result()
                if progress is not None:
                    progress(plans[futures[future]].name, len(outcomes), len(plans))
        except BrokenProcessPool as error:
            raise VsalientError(
                "a worker process died, most likely for lack of memory; use fewer with --jobs, or --jobs 1"
            ) from error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [outcomes[at] for at in range(len(plans))]


def score_sequence(plan: SequencePlan, options: Options, *, threads: int = 1) -> Scored:
    """Score one sequence.

    Raises:
        VsalientError: an unreadable file, a wrong size, a video that ends early or late.
    """
    metrics = frozenset(options.metrics)
    accumulator = SequenceAccumulator(plan.name, options.metrics, block=options.block)
    negatives = _Negatives(plan, options)
    before: Mask | None = None
    absent = resized = highest = 0
    stream = _Predictions(plan, options, threads)
    for item, loaded in stream:
        shape = _shape_of(loaded)
        prediction = loaded.prediction
        if prediction is None:
            absent += 1
            if options.missing == "error":
                raise DataError(f"{_where(plan, item)} has no prediction: the video ended before it")
            if options.missing == "skip":
                before = None
                continue
            prediction = np.zeros(shape, np.uint8)
        elif prediction.shape != shape:
            resized += 1
            prediction = _fit(prediction, shape, plan, item, options)
        highest = max(highest, int(prediction.max()))
        accumulator.add(item.frame, _score(prediction, loaded, negatives, metrics))
        if "T" in metrics:
            mask = prediction >= BINARISE_AT
            if before is not None and before.shape == mask.shape:
                accumulator.add_pair("T", temporal_stability(before, mask))
            before = mask
    return Scored(accumulator.finish(), absent, resized, plan.extra + stream.extra, highest)


def _score(prediction: Map8, loaded: _Loaded, negatives: "_Negatives", metrics: frozenset[str]) -> FrameScores:
    if loaded.truth is not None:
        return score_frame(prediction, loaded.truth.mask, loaded.truth.void, metrics=metrics)
    assert loaded.density is not None and loaded.points is not None
    counts = negatives.at(loaded.points.shape)
    return score_fixations(prediction, loaded.density, loaded.points, counts, metrics=metrics)


class _Predictions:
    """The frames of a sequence in order, decoded a few ahead."""

    def __init__(self, plan: SequencePlan, options: Options, threads: int) -> None:
        self._plan, self._options, self._threads = plan, options, threads
        self._truth = GrayVideo(plan.truth.path) if isinstance(plan.truth, Video) else None
        self._prediction = GrayVideo(plan.prediction.path) if isinstance(plan.prediction, Video) else None
        self.extra = 0

    def __iter__(self) -> Iterator[tuple[Item, _Loaded]]:
        # A video can only be read in order, so only pictures gain from several threads.
        threads = 1 if self._truth or self._prediction else self._threads
        waiting: deque[tuple[Item, Future[_Loaded]]] = deque()
        with ThreadPoolExecutor(threads, thread_name_prefix="vsalient-decode") as pool:
            try:
                for item in self._plan.items:
                    waiting.append((item, pool.submit(self._load, item)))
                    if len(waiting) > 2 * threads:
                        first, future = waiting.popleft()
                        yield first, future.result()
                while waiting:
                    first, future = waiting.popleft()
                    yield first, future.result()
            finally:
                for _, future in waiting:
                    future.cancel()
        self._finish()

    def _load(self, item: Item) -> _Loaded:
        options = self._options
        prediction = self._load_prediction(item)
        if item.points:
            assert not isinstance(item.truth, int)
            density = read_map(item.truth[0], "gray")
            marks = read_points(item.points[0])
            if marks.shape != density.shape:
                raise DataError(
                    f"{item.points[0]} and {item.truth[0]} differ in size; fixation points and density must have one"
                )
            return _Loaded(prediction, None, density, marks)
        if isinstance(item.truth, int):
            assert self._truth is not None
            pixels = self._truth.get(item.truth)
            if pixels is None:
                raise DataError(f"ground truth {self._plan.truth.path} ended before frame {item.truth}")
            where = f"{self._plan.truth.path}, frame {item.truth}"
            return _Loaded(prediction, truth_of_map(pixels, where, options.values, options.void_value))
        stored = self._plan.truth
        background = stored.background if isinstance(stored, Folder) else None
        return _Loaded(prediction, read_truth(item.truth, options.values, options.void_value, background))

    def _load_prediction(self, item: Item) -> Map8 | None:
        if isinstance(item.prediction, int):
            assert self._prediction is not None
            return self._prediction.get(item.prediction)
        return None if item.prediction is None else read_map(item.prediction, self._options.values)

    def _finish(self) -> None:
        """Look for predicted frames past the last one that counts."""
        if self._prediction is None:
            return
        rest = self._prediction.rest()
        # The protocol itself drops the last frame of the ground truth.
        expected = self._plan.after
        if self._plan.whole and rest > expected:
            raise DataError(
                f"{self._plan.prediction.path if self._plan.prediction else ''} has {rest - expected} frames more than "
                "the ground truth; give the whole ground truth, or pass them over with --extra ignore"
            )
        used = sum(item.prediction is not None for item in self._plan.items)
        self.extra = max(0, self._prediction.read - used - self._plan.dropped)


class _Negatives:
    """How often each pixel was fixated in the other sequences, for sAUC."""

    def __init__(self, plan: SequencePlan, options: Options) -> None:
        self._counts: NDArray[np.int64] | None = None
        self._sized: dict[tuple[int, ...], NDArray[np.int64]] = {}
        if "sAUC" in options.metrics and options.negatives is not None:
            total = np.load(options.negatives)
            self._counts = total - count_fixations(plan, total.shape)

    def at(self, shape: tuple[int, ...]) -> NDArray[np.int64] | None:
        """Return the counts at a frame's size; None without sAUC."""
        if self._counts is None:
            return None
        if shape not in self._sized:
            self._sized = {shape: _scale_counts(self._counts, shape)}
        return self._sized[shape]


def count_fixations(plan: SequencePlan, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Return how often each pixel of a common size was fixated in a sequence."""
    counts = np.zeros(shape, np.int64)
    for item in plan.items:
        marks = read_points(item.points[0]).astype(np.int64)
        counts += marks if marks.shape == shape else _scale_counts(marks, shape)
    return counts


def _scale_counts(counts: NDArray[np.int64], shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Move every count to the pixel at its place in another size; the sum stays."""
    if counts.shape == shape:
        return counts
    scaled = np.zeros(shape, np.int64)
    y, x = np.nonzero(counts)
    np.add.at(scaled, (y * shape[0] // counts.shape[0], x * shape[1] // counts.shape[1]), counts[y, x])
    return scaled


def _fit(prediction: Map8, shape: tuple[int, int], plan: SequencePlan, item: Item, options: Options) -> Map8:
    if options.size_mismatch == "error":
        raise DataError(
            f"{_where(plan, item)}: the prediction is {prediction.shape[1]}x{prediction.shape[0]}, the ground truth "
            f"{shape[1]}x{shape[0]}; write maps of the frame's size, or resize them with --size-mismatch resize"
        )
    return resize_map(prediction, shape)


def _shape_of(loaded: _Loaded) -> tuple[int, int]:
    plane = loaded.truth.mask if loaded.truth is not None else loaded.density
    assert plane is not None
    return plane.shape[0], plane.shape[1]


def _where(plan: SequencePlan, item: Item) -> str:
    return f"sequence {plan.name}, frame {item.frame}" if plan.name else f"frame {item.frame}"


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Let processes begin that do not hear Ctrl-C before they are ready: each would print its own traceback.

    They inherit what this thread blocks. The signal may reach another thread, so its handler waits as well: a process
    that is left half begun would complain too.
    """
    handler = signal.getsignal(signal.SIGINT)
    deaf = handler in (signal.SIG_IGN, None)  # nohup, or a job in the background
    if sys.platform == "win32" or deaf or threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        if came:
            signal.raise_signal(signal.SIGINT)


def _begin_scorer() -> None:
    """End at once and in silence on Ctrl-C, and keep to one core: the parallelism is between sequences."""
    import cv2

    cv2.setNumThreads(1)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
