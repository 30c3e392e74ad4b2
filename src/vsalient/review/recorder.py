"""`-w report`: records film and maps while they come, and makes the review page of them."""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vsalient.files import StagedFile
from vsalient.media.encoder import Encoding, VideoEncoder
from vsalient.outputs.output import Opening, Output
from vsalient.review.doubt import Doubt, to_review
from vsalient.review.page import write_page
from vsalient.types import Frame, Result, SaliencyArray, VideoInfo

LINES = 480
"""Lines at which a film is shown."""
# 2.2 Mbit/s: with base64's third, and what a constant rate overshoots, under 25 MB a minute.
_PAGE_RATE = {"preset": "veryfast", "crf": "23", "maxrate": "2200k", "bufsize": "4400k", "g": "24", "bf": "0"}


class Recorder:
    """Collects frames with one or several maps each, and writes the page.

    Args:
        path: the HTML file.
        info: facts of the film.
        maps: what the maps are called.
        overwrite: replace what exists.
        stages: seconds that each stage has been busy so far, by name; None leaves those curves out.
    """

    def __init__(
        self,
        path: Path,
        info: VideoInfo,
        maps: Sequence[str],
        *,
        overwrite: bool = False,
        stages: Callable[[], Mapping[str, float]] | None = None,
    ) -> None:
        self.path = path
        self._stages = stages
        self._busy: list[Mapping[str, float]] = []
        self._info, self._maps = info, list(maps)
        scale = min(1.0, LINES / min(info.height, info.width))
        self._width = max(2, 2 * round(info.width * float(info.pixel_aspect) * scale / 2))
        self._height = max(2, 2 * round(info.height * scale / 2))
        self._page = StagedFile(path, overwrite=overwrite)
        self._folder = tempfile.TemporaryDirectory(prefix="vsalient-")
        self._video = Path(self._folder.name) / "film.mp4"
        stacked = VideoInfo(
            self._video, self._width, self._height * (len(self._maps) + 1), info.rate, Fraction(1, 90000)
        )
        self._encoder = VideoEncoder(self._video, stacked, Encoding("libx264", "yuv420p", _PAGE_RATE))
        self._doubts = [Doubt() for _ in self._maps]
        self._areas: list[list[float]] = [[] for _ in self._maps]
        self._times: list[float] = []
        self._took: list[float] = []
        self._clock = time.perf_counter()
        self._finished = False

    def write(self, frame: Frame, maps: Sequence[SaliencyArray]) -> None:
        """Add a frame and its maps, (H, W) in [0, 1] each."""
        size = (self._width, self._height)
        parts = [np.asarray(cv2.resize(frame.pixels, size, interpolation=cv2.INTER_AREA), np.uint8)]
        for saliency, doubt, areas in zip(maps, self._doubts, self._areas, strict=True):
            doubt.push(frame.pixels, saliency)
            areas.append(round(float(np.count_nonzero(saliency >= 0.5)) / saliency.size, 5))
            levels = cv2.convertScaleAbs(cv2.resize(saliency, size, interpolation=cv2.INTER_AREA), alpha=255.0)
            parts.append(np.asarray(cv2.cvtColor(levels, cv2.COLOR_GRAY2RGB), np.uint8))
        self._times.append(frame.time)
        now = time.perf_counter()
        self._took.append(round(1000 * (now - self._clock), 1))
        self._clock = now
        if self._stages is not None:
            self._busy.append(self._stages())
        since = round((frame.time - self._times[0]) * 90000)
        length = round(frame.duration * frame.time_base * 90000) if frame.duration else None
        self._encoder.write(np.ascontiguousarray(np.concatenate(parts)), since, Fraction(1, 90000), length)

    def finish(self) -> None:
        """Write the page, but for its name; a second call does nothing."""
        if self._finished:
            return
        self._finished = True
        self._encoder.close()
        with self._page.text() as file:
            write_page(file, self._video, self._facts())
        self._folder.cleanup()

    def _facts(self) -> dict[str, Any]:
        scores = [doubt.scores() for doubt in self._doubts]
        worst: NDArray[np.float64] = np.max(scores, axis=0)
        times = np.asarray(self._times)
        name = self._info.path.name
        rate = f", {float(self._info.rate):.3g} frames/s" if self._info.rate else ""
        return {
            "title": name if len(self._maps) == 1 else f"{name}: {' and '.join(self._maps)}",
            "subtitle": f"{self._info.width} × {self._info.height}{rate}, {len(times)} frames; mean doubt "
            + ", ".join(f"{float(np.mean(values)):.2f}" for values in scores),
            "width": self._width,
            "height": self._height,
            "maps": self._maps,
            "times": [round(value, 4) for value in self._times],
            "area": self._areas,
            "doubt": [[round(float(value), 4) for value in values] for values in scores],
            # The first frame waits for the model and for the first clip: it would flatten the curve.
            "milliseconds": [0.0, *self._took[1:]],
            "stages": _a_frame(self._busy),
            "review": [[index, round(float(worst[index]), 4)] for index in to_review(worst, times)],
        }

    def close(self) -> None:
        """Finish and take the final name."""
        self.finish()
        self._page.commit()

    def abort(self) -> None:
        """Leave nothing behind."""
        self._encoder.abort()
        self._folder.cleanup()
        self._page.discard()


def _a_frame(busy: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    """Stage -> its milliseconds a frame, a mean over the second around, for stages work ahead by clips."""
    found = {}
    for stage in busy[-1] if len(busy) > 1 else ():
        so_far = np.array([seconds.get(stage, 0.0) for seconds in busy])
        reach = min(12, len(busy) - 1)
        after = np.minimum(np.arange(len(busy)) + reach, len(busy) - 1)
        before = np.maximum(after - 2 * reach, 0)
        spent = 1000 * (so_far[after] - so_far[before]) / (after - before)
        found[stage] = [round(float(value), 2) for value in spent]
    return found


class ReportOutput(Output):
    """The review page as an output of a run."""

    def __init__(self, given: Opening) -> None:
        self.path = given.path
        self._recorder = Recorder(given.path, given.info, ["map"], overwrite=given.overwrite, stages=given.stages)

    def write(self, result: Result) -> None:
        """Add one frame."""
        self._recorder.write(result.frame, [result.cover])

    def finish(self) -> None:
        """Write the page, but for its name."""
        self._recorder.finish()

    def close(self) -> None:
        """Finish and take the final name."""
        self._recorder.close()

    def abort(self) -> None:
        """Leave nothing behind."""
        self._recorder.abort()


def report(given: Opening) -> Output:
    """One HTML file to go through film and map."""
    return ReportOutput(given)
