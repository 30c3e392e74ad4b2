"""Optical flow between two frames behind one interface.

A flow field is (H, W, 2) float32: where a pixel of the first frame is found in the second, minus where it was, in
pixels of the frame, x first. Frames are RGB uint8.
"""

from typing import Any, Literal, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from vsalient.errors import InputError, OptionError
from vsalient.types import Pixels

Flow = NDArray[np.float32]
"""(H, W, 2) displacement in pixels, x then y."""

Grey = NDArray[np.uint8]
"""(h, w) uint8: a frame as `DisFlow` looks at it."""

FlowPreset = Literal["ultrafast", "fast", "light", "medium"]
FLOW_PRESETS: dict[FlowPreset, int] = {
    "ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
    "fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,
    "light": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
    "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
}
_LIGHT = 5, 4
"""Gradient steps a patch, and patch stride, of "light". OpenCV's medium has 25 and 3: twice the time, and its longer
search drifts off where there is little texture (docs/priors.md has the measurement)."""
_SMALLEST = 32  # DIS needs a few of its 8-pixel patches on each side


class FlowEstimator(Protocol):
    """Anything that measures motion between two frames of one size: our `DisFlow`, or a learned network."""

    def __call__(self, first: Pixels, second: Pixels) -> Flow:
        """Two (H, W, 3) uint8 RGB frames → the flow from the first to the second, (H, W, 2)."""
        ...


class DisFlow:
    """Dense inverse search (Kroeger et al., ECCV 2016) as OpenCV has it, on reduced frames.

    Keeps working memory between calls: one instance a thread.

    Args:
        preset: how far it searches and whether it refines; "medium" is the slowest and the most exact to a fraction of
            a pixel, "light" is its variational refinement behind a shorter search, for maps of what moves.
        longest: frames are reduced to this longest side first, and the flow is enlarged again; 0 keeps their size.

    Raises:
        OptionError: unknown preset or senseless size.
    """

    def __init__(self, preset: FlowPreset = "medium", *, longest: int = 428) -> None:
        if preset not in FLOW_PRESETS:
            raise OptionError(f"flow preset '{preset}' is unknown; use one of {', '.join(FLOW_PRESETS)}")
        if longest != 0 and longest < _SMALLEST:
            raise OptionError(f"longest side {longest} is too small for optical flow; use 0 or at least {_SMALLEST}")
        self.longest = longest
        self._search: Any = cv2.DISOpticalFlow.create(FLOW_PRESETS[preset])
        if preset == "light":
            steps, stride = _LIGHT
            self._search.setGradientDescentIterations(steps)
            self._search.setPatchStride(stride)

    def __call__(self, first: Pixels, second: Pixels) -> Flow:
        """Two (H, W, 3) uint8 RGB frames → the flow from the first to the second, (H, W, 2).

        Raises:
            InputError: the frames' sizes differ.
        """
        return resize_flow(self.reduced(first, second), (first.shape[0], first.shape[1]))

    def reduced(self, first: Pixels, second: Pixels) -> Flow:
        """The same flow on the grid where it is computed, (h, w, 2), in that grid's pixels.

        Raises:
            InputError: the frames' sizes differ.
        """
        if first.shape != second.shape:
            raise InputError(
                f"optical flow needs frames of one size, got {first.shape[1]}x{first.shape[0]} "
                f"and {second.shape[1]}x{second.shape[0]}"
            )
        return self.between(self.grey(first), self.grey(second))

    def grey(self, pixels: Pixels) -> Grey:
        """(H, W, 3) uint8 RGB → the reduced grey picture that flow is measured on: worth keeping for the next pair."""
        height, width = pixels.shape[:2]
        scale = min(1.0, self.longest / max(height, width)) if self.longest else 1.0
        size = (max(_SMALLEST, round(width * scale)), max(_SMALLEST, round(height * scale)))
        grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
        # Areas are averaged on the way down: skipped pixels would flicker, and flicker looks like motion.
        smaller = size[0] * size[1] < grey.size
        return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR))

    def between(self, first: Grey, second: Grey) -> Flow:
        """Two pictures that `grey` made of frames of one size → the flow between them, (h, w, 2), in their pixels."""
        # No start is given: that of the pair before would carry its errors on, and across cuts.
        flow: Flow = self._search.calc(first, second, None)
        return flow


def resize_flow(flow: Flow, size: tuple[int, int]) -> Flow:
    """A flow field on a grid of another size (H, W): resampled bilinearly, its vectors scaled along."""
    height, width = flow.shape[:2]
    if (height, width) == size:
        return flow
    smaller = size[0] * size[1] < height * width
    resized = cv2.resize(flow, size[::-1], interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
    # The two sides are rounded apart, so that x and y are scaled by numbers of their own.
    return np.asarray(resized * np.array([size[1] / width, size[0] / height], np.float32))
