"""What a frame's motion says before a network looks: optical flow, superpixels of it, and the motion prior.

`prior_stream` computes priors frame by frame with one frame of look-ahead. NumPy and OpenCV only.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from vsalient.errors import OptionError
from vsalient.priors.classifier import SuperpixelClassifier
from vsalient.priors.flow import DisFlow, Flow, FlowEstimator, camera_flow
from vsalient.priors.motion import DeepFeatures, MotionPrior, flow_strength
from vsalient.priors.residual import residual_maps
from vsalient.priors.superpixels import flow_superpixels
from vsalient.types import Frame, SaliencyArray

__all__ = [
    "PRIORS",
    "DeepFeatures",
    "DisFlow",
    "Flow",
    "FlowEstimator",
    "MotionPrior",
    "PriorStream",
    "SuperpixelClassifier",
    "camera_flow",
    "flow_strength",
    "flow_superpixels",
    "prior_stream",
    "residual_maps",
]

RESIDUAL = ("residual", "residual_speed")
PRIORS: tuple[str, ...] = ("motion", "flow", *RESIDUAL)
"""Names that `prior_stream` knows: the temporal prior of SCNN and STAN, grey flow, and 3dc-lite's two maps of what
moves against the camera."""

REPEATED = 0.2
"""Less of the usual change than this share, and a frame shows the picture again (x264 at CRF 23 left up to 0.12)."""
LOOK_BACK = 4
"""How many frames in a row are measured against one that differed."""

Priors = dict[str, SaliencyArray]
"""Prior by name: (h, w) float32 in [0, 1] that covers the frame; residual maps are smaller than it."""


class PriorStream:
    """Priors of a video's frames as they come; a frame's are known when its successor is.

    Flow goes from a frame to the next one, for the last frame to the one before. Where the next frame shows the same
    picture again, as in files whose frame rate is above their camera's, it goes back to the last frame that differed,
    as long as that is not long ago and no cut lies between. A video of one frame has no motion to speak of: its priors
    are zero.

    Attributes:
        seconds: wall time spent so far a stage, "flow" and "prior".
        frames: frames whose priors were given out.
    """

    def __init__(self, names: tuple[str, ...], flow: FlowEstimator, motion: MotionPrior) -> None:
        self.names = names
        self.seconds: dict[str, float] = {"flow": 0.0, "prior": 0.0}
        self.frames = 0
        # Residual maps are small: flow need not be enlarged for them.
        self._estimate = flow.reduced if isinstance(flow, DisFlow) and set(names) <= set(RESIDUAL) else flow
        self._motion = motion
        self._last: Frame | None = None
        self._before: Frame | None = None
        self._forget()

    def _forget(self) -> None:
        self._differed: Frame | None = None
        self._moved, self._paused, self._measured = 0.0, 0, 0

    def push(self, frame: Frame) -> list[tuple[int, Priors]]:
        """Take the next frame; give the priors, by frame index, that are now known (none or one).

        Raises:
            InputError: the frame's size differs from the one before.
            MissingDependencyError: scikit-image is not installed.
        """
        self._before, self._last = self._last, frame
        if self._before is None:
            return []
        return [self._priors(self._before, frame)]

    def finish(self) -> list[tuple[int, Priors]]:
        """Give the last frame's priors; the stream is then as new."""
        last, before = self._last, self._before
        self._last = self._before = None
        found = [] if last is None else [self._priors(last, before)]
        self._forget()
        return found

    def _priors(self, frame: Frame, other: Frame | None) -> tuple[int, Priors]:
        self.frames += 1
        if other is None:
            return frame.index, {n: np.zeros(frame.pixels.shape[:2], np.float32) for n in self.names}
        with self._timed("flow"):
            flow = self._estimate(frame.pixels, self._partner(frame, other).pixels)
        with self._timed("prior"):
            made: Priors = {}
            if "motion" in self.names:
                made["motion"] = self._motion(frame.pixels, flow)
            if "flow" in self.names:
                made["flow"] = flow_strength(flow)
            if not made.keys() >= set(self.names):
                made.update(zip(RESIDUAL, residual_maps(flow), strict=True))
        return frame.index, {name: made[name] for name in self.names}

    def _partner(self, frame: Frame, other: Frame) -> Frame:
        """The frame to measure motion against: `other`, or while it shows the same picture, the last that differed."""
        change, back = _change(frame, other), self._differed
        least = REPEATED * self._moved
        again = change < least and self._paused < LOOK_BACK
        # What changed much more than usual lies behind a cut.
        if again and back is not None and least <= _change(frame, back) <= 2 * self._moved:
            self._paused += 1
            return back
        self._differed, self._paused = frame, 0
        # A repeated frame does not lower the measure of what is usual much, nor does a cut raise it, once it is known.
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


def prior_stream(
    names: Sequence[str],
    *,
    flow: FlowEstimator | None = None,
    classifier: SuperpixelClassifier | None = None,
    features: DeepFeatures | None = None,
) -> PriorStream:
    """A stream that computes the named priors.

    Args:
        names: some of `PRIORS`.
        flow: measures motion; `DisFlow()` when None.
        classifier: trained superpixel classifier for the motion prior; None takes the untrained measure.
        features: the deep features that the classifier was trained on.

    Raises:
        OptionError: an unknown name.
    """
    unknown = [name for name in names if name not in PRIORS]
    if unknown:
        raise OptionError(f"prior '{unknown[0]}' is unknown; known: {', '.join(PRIORS)}")
    return PriorStream(tuple(names), flow or DisFlow(), MotionPrior(classifier=classifier, features=features))
