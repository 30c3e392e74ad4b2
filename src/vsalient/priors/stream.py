"""Priors of a video's frames as they come, with one frame of look-ahead."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction

import cv2
import numpy as np
from numpy.typing import NDArray

from vsalient.errors import OptionError
from vsalient.priors.between import Between, find_between
from vsalient.priors.classifier import SuperpixelClassifier
from vsalient.priors.flow import DisFlow, Flow, FlowEstimator, Grey, resize_flow
from vsalient.priors.motion import DeepFeatures, MotionPrior, flow_strength
from vsalient.priors.residual import CarriedMean, residual_motion
from vsalient.types import Frame, Pixels, SaliencyArray
from vsalient.vocabulary import PRIORS, RESIDUAL

# The names of `PRIORS`: the temporal prior of SCNN and STAN; grey flow; what moves against the camera, relative to the
# fastest part, in pixels, and as a mean that is carried along the flow over four frames; and, the same everywhere in a
# frame, how much of it follows the camera's model.

REPEATED = 0.2
"""Less of the usual change than this share, and a frame shows the picture again (x264 at CRF 23 left up to 0.12)."""
LOOK_BACK = 4
"""How many frames in a row are measured against one that differed."""
GREYS = 8
"""How many reduced pictures are kept: all that frames are measured against, except beyond a long pause."""
CUT = 3.0
"""More than this many times the usual change, at least `CUT_LEVELS` grey levels, and another composition, is another
shot."""
CUT_LEVELS = 12.0
ALIKE = 0.5
"""Correlation of two pictures of 16×9 pixels below which they are differently composed: of first frames of 50 videos
with last frames of others 95 % lie below, frames of a shot only where the camera is swung round. It tells a cut from
motion that sets in after a pause."""

Priors = dict[str, SaliencyArray]
"""Prior by name: (h, w) float32 in [0, 1] that covers the frame; residual maps are smaller than it."""


class PriorStream:
    """Priors of a video's frames as they come; a frame's are known when its successor is.

    Flow goes from a frame to the next one, for the last frame of a shot to the one before. Where the next frame shows
    the same picture again, as in files whose frame rate is above their camera's, it goes back to the last frame that
    differed, as long as that is not long ago and no cut lies between. A video of one frame has no motion to speak of:
    its priors are zero.

    Attributes:
        seconds: wall time spent so far a stage, "flow" and "prior".
        frames: frames that were given out.
        between: of the frame that was given out last, if it is one that gets no priors, the motion to its neighbours.
        idle: says of which frames nobody will look at the priors; theirs are zero and cost next to nothing. What is
            known of repeats and cuts goes on, and a few frames later all is as if none had been idle.
    """

    idle: Callable[[int], bool] | None = None
    live = False

    def __init__(self, names: tuple[str, ...], flow: FlowEstimator, motion: MotionPrior, *, every: int = 1) -> None:
        self.names = names
        self._every = every
        # A mean that is carried from frame to frame needs them all.
        self._all = every == 1 or "residual_mean" in names
        reused = isinstance(flow, DisFlow) and set(names) <= set(RESIDUAL)
        self._quick = flow if reused and isinstance(flow, DisFlow) else DisFlow("light", longest=336)
        self.seconds: dict[str, float] = {"flow": 0.0, "prior": 0.0}
        self.frames = 0
        self._estimate = flow
        # Residual maps are small: flow need not be enlarged for them.
        self._small = set(names) <= set(RESIDUAL)
        self._motion = motion
        self._mean = CarriedMean()
        self._last: Frame | None = None
        self._before: Frame | None = None
        self.between: Between | None = None
        self._forget()

    def _forget(self) -> None:
        self._differed: Frame | None = None
        self._moved, self._paused, self._measured = 0.0, 0, 0
        self._greys: dict[tuple[DisFlow, int], Grey] = {}
        self._previous: Frame | None = None
        self._mean.clear()
        self._ordinal = -1
        self._ahead: Flow | None = None  # from the frame before to this one, on the maps' grid
        self._again = self._cut = False  # between the frame before and this one

    def push(self, frame: Frame) -> list[tuple[int, Priors]]:
        """Take the next frame; give the priors, by frame index, that are now known (none or one).

        Raises:
            InputError: the frame's size differs from the one before.
            MissingDependencyError: scikit-image is not installed.
        """
        self._before, self._last = self._last, frame
        if self.live:
            return [self._priors(frame, self._before)]
        if self._before is None:
            return []
        return [self._priors(self._before, frame)]

    def finish(self) -> list[tuple[int, Priors]]:
        """Give the last frame's priors; the stream is then as new."""
        last, before = self._last, self._before
        self._last = self._before = None
        found = [] if last is None or self.live else [self._priors(last, before)]
        self._forget()
        return found

    def _priors(self, frame: Frame, other: Frame | None) -> tuple[int, Priors]:
        self.frames += 1
        self._ordinal += 1
        previous, self.between = self._previous, None
        if self._every > 1:
            self._previous = frame
        if self._ordinal % self._every and previous is not None:
            with self._timed("flow"):
                after = self._last if self._last is not None and self._last is not frame else None
                greys = [None if f is None else self._grey(self._quick, f) for f in (previous, frame, after)]
                assert greys[0] is not None and greys[1] is not None
                self.between = find_between(self._quick, greys[0], greys[1], greys[2])
            if not self._all and other is not None:
                self._partner(frame, other)
                self._ahead = None
                return frame.index, {}
        if other is None:
            return frame.index, {n: np.zeros(frame.pixels.shape[:2], np.float32) for n in self.names}
        again, cut = self._again, self._cut
        with self._timed("flow"):
            partner = self._partner(frame, other)
            if self.idle is not None and self.idle(frame.index):
                self._mean.clear()
                self._ahead = None
                return frame.index, {n: np.zeros(frame.pixels.shape[:2], np.float32) for n in self.names}
            flow = self._flow(frame, partner)
        with self._timed("prior"):
            made: Priors = {}
            if "motion" in self.names:
                made["motion"] = self._motion(frame.pixels, flow)
            if "flow" in self.names:
                made["flow"] = flow_strength(flow)
            if not made.keys() >= set(self.names):
                found = residual_motion(flow)
                share = np.full(found.speed.shape, found.share, np.float32)
                made |= {"residual": found.relative, "residual_speed": found.speed, "camera_share": share}
                if "residual_mean" in self.names:
                    if cut:
                        self._mean.clear()
                    moved = None if again else self._moved_from(frame, partner, found.flow)
                    made["residual_mean"] = self._mean.push(found.relative, moved)
                self._ahead = found.flow if partner.index > frame.index else None
        return frame.index, {name: made[name] for name in self.names}

    def _moved_from(self, frame: Frame, partner: Frame, flow: Flow) -> Flow | None:
        """Where in the frame before each pixel was, less where it is: measured, or the way from there turned round."""
        if partner.index == frame.index - 1:
            return flow
        return None if self._ahead is None else -self._ahead

    def _flow(self, frame: Frame, partner: Frame) -> Flow:
        if not isinstance(self._estimate, DisFlow) or frame.pixels.shape != partner.pixels.shape:
            return self._estimate(frame.pixels, partner.pixels)
        flow = self._estimate.between(self._grey(self._estimate, frame), self._grey(self._estimate, partner))
        return flow if self._small else resize_flow(flow, (frame.pixels.shape[0], frame.pixels.shape[1]))

    def _grey(self, flow: DisFlow, frame: Frame) -> Grey:
        """A frame's reduced picture, made once: a frame is the second of one pair and the first of the next."""
        key = flow, frame.index
        if key not in self._greys:
            self._greys[key] = flow.grey(frame.pixels)
            for oldest in list(self._greys)[:-GREYS]:
                del self._greys[oldest]
        return self._greys[key]

    def _partner(self, frame: Frame, other: Frame) -> Frame:
        """The frame to measure motion against: `other`, or the last that differed, where `other` shows the same
        picture or another shot.
        """
        change, back = _change(frame, other), self._differed
        least = REPEATED * self._moved
        self._again = self._measured > 0 and change < least
        jump = self._measured > 0 and change > max(CUT * self._moved, CUT_LEVELS)
        self._cut = jump and _alike(frame, other) < ALIKE
        # What changed much more than usual lies behind a cut.
        near = back is not None and least <= _change(frame, back) <= 2 * self._moved
        if self._again and self._paused < LOOK_BACK and back is not None and near:
            self._paused += 1
            return back
        if self._cut:  # the next frame begins as a video does
            self._differed, self._paused, self._moved, self._measured = None, 0, 0.0, 0
            return back if back is not None and near else other
        self._differed, self._paused = frame, 0
        # A repeated frame does not lower the measure of what is usual much, nor a jerk raise it, once it is known.
        usual = max(change, 0.7 * self._moved)
        self._moved = usual if self._measured < 3 else min(usual, 3 * self._moved)
        self._measured += 1
        return other

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] += time.perf_counter() - start


def _change(first: Frame, second: Frame) -> float:
    """Mean absolute difference of green at every fourth pixel; endless for frames of different sizes."""
    a, b = first.pixels[::4, ::4, 1], second.pixels[::4, ::4, 1]
    return float(np.abs(a.astype(np.int16) - b).mean()) if a.shape == b.shape else float("inf")


def _alike(first: Frame, second: Frame) -> float:
    """Correlation of the two pictures' composition, in [−1, 1]; of plain ones, 1 or 0: are they as bright?"""
    a, b = (cv2.resize(f.pixels[::4, ::4, 1], (16, 9), interpolation=cv2.INTER_AREA).ravel() for f in (first, second))
    if a.std() < 1 or b.std() < 1:
        return 0.0 if abs(float(a.mean()) - float(b.mean())) > CUT_LEVELS else 1.0
    return float(np.corrcoef(a, b)[0, 1])


def prior_stream(
    names: Sequence[str],
    *,
    flow: FlowEstimator | None = None,
    classifier: SuperpixelClassifier | None = None,
    features: DeepFeatures | None = None,
    levels: Sequence[int] = (),
    every: int = 1,
) -> PriorStream:
    """A stream that computes the named priors.

    Args:
        names: some of `PRIORS`.
        flow: measures motion; None takes `DisFlow()`, or `DisFlow("light", longest=336)` where only residual maps are
            asked for, whose grid is a third of that.
        classifier: trained superpixel classifier for the motion prior; None takes the untrained measure.
        features: the deep features that the classifier was trained on.
        levels: segmentations of the motion prior, see `MotionPrior`.
        every: only each `every`-th frame of a video gets priors, the others an empty table unless one of the priors
            needs them all, and `between`.

    Raises:
        OptionError: an unknown name.
    """
    unknown = [name for name in names if name not in PRIORS]
    if unknown:
        raise OptionError(f"prior '{unknown[0]}' is unknown; known: {', '.join(PRIORS)}")
    if flow is None:
        flow = DisFlow("light", longest=336) if set(names) <= set(RESIDUAL) else DisFlow()
    motion = MotionPrior(classifier=classifier, features=features, levels=levels)
    return PriorStream(tuple(names), flow, motion, every=every)


def clip_maps(
    frames: Sequence[Pixels] | NDArray[np.uint8],
    names: Sequence[str],
    *,
    flow: FlowEstimator | None = None,
    stream: PriorStream | None = None,
    lead: int = 0,
) -> dict[str, SaliencyArray]:
    """Priors of a clip at once, as training wants them.

    Args:
        frames: T pictures (H, W, 3) uint8 RGB of one size, in order.
        names: some of `PRIORS`.
        flow: as for `prior_stream`.
        stream: makes the priors, instead of one of our own with that flow.
        lead: how many frames at the beginning only lend their motion to those after them, and get no maps
            themselves: three let "residual_mean" begin as it is within a video.

    Returns:
        By name (T − lead, h, w) float32 in [0, 1], on the grid that the prior has.

    Raises:
        OptionError: an unknown name.
        InputError: the pictures differ in size.
    """
    stream = stream or prior_stream(names, flow=flow)
    found: list[tuple[int, Priors]] = []
    for index, pixels in enumerate(frames):
        found += stream.push(Frame(np.ascontiguousarray(pixels), index, index, Fraction(1, 25)))
    found += stream.finish()
    return {name: np.stack([maps[name] for index, maps in found if index >= lead]) for name in names}
