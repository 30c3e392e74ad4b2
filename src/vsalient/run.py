"""From maps to files: results out of the maps of a model, or of maps made earlier, and every output fed with them.

Predicting is segmenting without a segmenter; whichever it is, each output works in a thread of its own.
"""

import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing, nullcontext
from itertools import chain, zip_longest

import numpy as np

from vsalient.cuts import mark_scenes
from vsalient.errors import InputError
from vsalient.figures import Report
from vsalient.media import Source
from vsalient.outputs.output import Output
from vsalient.outputs.sink import abort_all
from vsalient.pipeline import queue_depth
from vsalient.segment.segmenter import Segmenter, Unsegmented
from vsalient.types import Frame, Result, SaliencyArray
from vsalient.workers import Ahead, Sink

_GRAY_TOLERANCE = 24
"""How far colours of a gray video may drift apart in 4:2:0 compression."""

Maps = Generator[tuple[Frame, SaliencyArray], None, None]
"""Frames with their saliency maps, (H, W) float32 in [0, 1]."""


def write_all(
    maps: Maps,
    outputs: Sequence[Output],
    report: Report,
    *,
    segmenter: Segmenter | Unsegmented | None = None,
    on_result: Callable[[Result, Report], None] | None = None,
) -> Report:
    """Make results of maps, write every one to all outputs, and finish them; on any error, abort them.

    All outputs are finished, which can still fail, before the first one takes its final name.

    Args:
        maps: as `vsalient.pipeline.saliency_maps` or `made_earlier` yields them; closed at the end.
        outputs: opened; each is fed by one thread.
        report: of the run that makes the maps; is kept up to date.
        segmenter: makes masks, and may hold results back for a while; unused so far. None leaves the maps as they are.
        on_result: called in the caller's thread after each result, for progress.

    Returns:
        The report.

    Raises:
        InputError: there are no frames.
        VsalientError: whatever a stage raises.
    """
    began = time.perf_counter()
    report.outputs = max(1, len(outputs))
    step = segmenter or Unsegmented()
    sinks: list[Sink[Result]] = []
    try:
        with closing(maps):
            for made in chain(maps, [None]):
                with report.busy("segment") if isinstance(step, Segmenter) else nullcontext():
                    ready = step.finish() if made is None else step.push(*made)
                for result in ready:
                    if not sinks:
                        depth = queue_depth(*result.saliency.shape)
                        writers = [_writer(output, report, lane) for lane, output in enumerate(outputs)]
                        sinks = [Sink(writer, depth, "vsalient-encode") for writer in writers]
                    for sink in sinks:
                        sink.put(result)
                    if on_result is not None:
                        on_result(result, report)
        if report.frames == 0:
            raise InputError("there are no frames to work on: check the start and the end that were asked for")
        for sink in sinks:
            sink.finish()
        for lane, output in enumerate(outputs):
            with report.busy("encode", lane):
                output.finish()
        for output in outputs:
            output.close()
    except BaseException:
        for sink in sinks:
            sink.stop()
        for sink in sinks:
            sink.join()
        abort_all(outputs)
        raise
    report.seconds = time.perf_counter() - began
    return report


def made_earlier(frames: Source, maps: Source, report: Report, *, cuts: bool = False) -> Maps:
    """Frames with maps that lie in gray pictures or in a gray video, read in a thread of their own.

    Args:
        frames: the frames, or the maps once more.
        maps: the maps.
        report: is kept up to date.
        cuts: look for hard cuts in the frames; see `vsalient.cuts`.

    Raises:
        InputError: there are more of one than of the other, or the maps are in colour.
    """
    began = time.perf_counter()
    depth = queue_depth(frames.info.height, frames.info.width)
    with closing(_pairs(frames, maps, report, cuts)) as pairs, Ahead(pairs, depth, "vsalient-decode") as ahead:
        for frame, saliency in ahead:
            report.seconds = time.perf_counter() - began
            if report.first_map_seconds is None:
                report.first_map_seconds = report.seconds
            report.frames += 1
            yield frame, saliency


def _pairs(frames: Source, maps: Source, report: Report, cuts: bool) -> Maps:
    marked: Iterable[Frame] = mark_scenes(frames) if cuts else frames
    feed: Iterable[tuple[Frame | None, Frame | None]] = zip_longest(marked, maps)
    iterator = iter(feed)
    while True:
        with report.busy("decode"):
            frame, picture = next(iterator, (None, None))
            if frame is None and picture is None:
                return
            if frame is None or picture is None:
                more, fewer = (maps, frames) if frame is None else (frames, maps)
                there = picture if frame is None else frame
                assert there is not None
                raise InputError(
                    f"{fewer.info.path} ends after {there.index} frames, {more.info.path} goes on; "
                    "give as many maps as frames."
                )
            saliency = to_saliency(picture, maps)
            report.corrupt_frames += frame.corrupt or picture.corrupt
        yield frame, saliency


def to_saliency(picture: Frame, maps: Source) -> SaliencyArray:
    """A gray picture as a saliency map, (H, W) float32 in [0, 1].

    Raises:
        InputError: it is in colour.
    """
    middle = picture.pixels[:, :, 1]
    if picture.index == 0:
        spread = np.ptp(picture.pixels.reshape(-1, 3).astype(np.int16), axis=1)
        if float(np.quantile(spread, 0.99)) > _GRAY_TOLERANCE:
            raise InputError(
                f"{maps.info.path} is in colour; give --maps gray pictures or a gray video, as predict writes them."
            )
    saliency: SaliencyArray = middle * np.float32(1.0 / 255.0)
    return saliency


def _writer(output: Output, report: Report, lane: int) -> Callable[[Result], None]:
    def write(result: Result) -> None:
        with report.busy("encode", lane):
            output.write(result)
        report.delivered(result.frame.index)

    return write
