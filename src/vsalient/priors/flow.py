"""Optical flow between two frames behind one interface, and the camera's part of it.

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

Preset = Literal["ultrafast", "fast", "medium"]
PRESETS: dict[Preset, int] = {
    "ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
    "fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,
    "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
}
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
        preset: how far it searches and whether it refines; "medium" is the best and the slowest.
        longest: frames are reduced to this longest side first, and the flow is enlarged again; 0 keeps their size.

    Raises:
        OptionError: unknown preset or senseless size.
    """

    def __init__(self, preset: Preset = "medium", *, longest: int = 428) -> None:
        if preset not in PRESETS:
            raise OptionError(f"flow preset '{preset}' is unknown; use one of {', '.join(PRESETS)}")
        if longest != 0 and longest < _SMALLEST:
            raise OptionError(f"longest side {longest} is too small for optical flow; use 0 or at least {_SMALLEST}")
        self.longest = longest
        self._search: Any = cv2.DISOpticalFlow.create(PRESETS[preset])

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
        height, width = first.shape[:2]
        scale = min(1.0, self.longest / max(height, width)) if self.longest else 1.0
        size = (max(_SMALLEST, round(width * scale)), max(_SMALLEST, round(height * scale)))
        flow: Flow = self._search.calc(_grey(first, size), _grey(second, size), None)
        return flow


def _grey(pixels: Pixels, size: tuple[int, int]) -> NDArray[np.uint8]:
    """(H, W, 3) → grey (h, w) at `size` = (w, h)."""
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    smaller = size[0] * size[1] < grey.size
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR))


def resize_flow(flow: Flow, size: tuple[int, int]) -> Flow:
    """A flow field on a grid of another size (H, W): resampled bilinearly, its vectors scaled along."""
    height, width = flow.shape[:2]
    if (height, width) == size:
        return flow
    smaller = size[0] * size[1] < height * width
    resized = cv2.resize(flow, size[::-1], interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
    return np.asarray(resized * np.array([size[1] / width, size[0] / height], np.float32))


def camera_flow(flow: Flow, *, samples: int = 4000, rounds: int = 12) -> Flow:
    """The part of a flow field that the camera makes: the planar motion that most of the frame follows.

    An 8-parameter model (a plane seen by a moving, turning or zooming camera; Bergen et al., ECCV 1992) is fitted by
    iteratively reweighted least squares with Geman-McClure weights. It begins with the frame's border, where objects
    are rarer than in its middle, and its tolerance shrinks from the flow's own spread to the residuals' noise.
    Deterministic.

    Args:
        flow: (H, W, 2).
        samples: about how many positions are looked at.
        rounds: reweightings.

    Returns:
        (H, W, 2): the model's motion at every pixel.
    """
    height, width = flow.shape[:2]
    stride = max(1, round((height * width / samples) ** 0.5))
    half = stride // 2
    y, x = np.mgrid[half:height:stride, half:width:stride]
    seen = flow[y, x].reshape(-1, 2).astype(np.float64)
    design = _design(x.ravel(), y.ravel(), width, height)  # N 2 8
    border = np.minimum.reduce([x / width, 1 - x / width, y / height, 1 - y / height]).ravel()
    weights = np.where(border < 0.15, 1.0, 0.1)
    # Half a pixel at 480p: what dense flow cannot tell apart from noise anyway.
    finest = max(height, width) / 1700
    spread = 0.0
    parameters = np.zeros(8)
    rows, targets = design.reshape(-1, 8), seen.reshape(-1)
    for number in range(rounds):
        weighted = (rows * np.repeat(weights, 2)[:, None]).T
        normal = weighted @ rows + 1e-9 * np.eye(8) * len(seen)
        parameters = np.linalg.solve(normal, weighted @ targets)
        residual = np.hypot(*(targets - rows @ parameters).reshape(-1, 2).T)
        noise = 1.5 * float(np.median(residual))
        spread = max(2 * noise, finest) if number == 0 else max(finest, min(spread * 0.8, 3 * noise))
        weights = (spread**2 / (spread**2 + residual**2)) ** 2
    # Everywhere: the same model, row and column apart, which a whole design matrix would make ten times slower.
    u, v = _centred(np.arange(width)[None], np.arange(height)[:, None], width, height)
    a, b = parameters[6] * u + parameters[7] * v, parameters
    across, down = b[0] + b[1] * u + b[2] * v + a * u, b[3] + b[4] * u + b[5] * v + a * v
    return np.stack([across, down], axis=2).astype(np.float32)


def _centred(
    x: NDArray[np.int64], y: NDArray[np.int64], width: int, height: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Positions less the frame's centre, the longer side from −1 to 1."""
    scale = np.float64(2.0 / max(width, height))
    return (x - width / 2) * scale, (y - height / 2) * scale


def _design(x: NDArray[np.int64], y: NDArray[np.int64], width: int, height: int) -> NDArray[np.float64]:
    """The model's terms at positions x, y: (N, 2, 8), coordinates centred and of the order of one."""
    u, v = _centred(x, y, width, height)
    one, zero = np.ones_like(u), np.zeros_like(u)
    across = np.stack([one, u, v, zero, zero, zero, u * u, u * v], axis=1)
    down = np.stack([zero, zero, zero, one, u, v, u * v, v * v], axis=1)
    return np.stack([across, down], axis=1)
