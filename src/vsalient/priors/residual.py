"""Residual motion: what moves against the camera, as cheap maps that a network can take beside each frame."""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from vsalient.priors.camera import fit_camera
from vsalient.priors.flow import Flow, resize_flow
from vsalient.types import SaliencyArray

RESIDUAL_SIDE = 112
"""Longest side of the maps: a quarter of 3dc-lite's 448 pixels."""
MEMORY = 4
"""How many frames the carried mean looks at, the current one among them."""
KEPT = 0.6
"""Share of the mean so far in the next one; the current frame's map has the rest."""


@dataclass(frozen=True, slots=True, eq=False)
class Residual:
    """What is left of a flow field when the camera's part is taken out.

    Attributes:
        relative: (h, w) float32 in [0, 1), m² / (m² + τ²): what moves most, however slowly.
        speed: (h, w) float32 in [0, 1), m / (m + μ): whether that is motion to speak of.
        share: how much of the frame follows the camera's model, in [0, 1] (`vsalient.priors.camera.Camera`).
        flow: (h, w, 2), the flow itself on the maps' grid, in its pixels.
    """

    relative: SaliencyArray
    speed: SaliencyArray
    share: float
    flow: Flow


def residual_motion(flow: Flow, *, longest: int = RESIDUAL_SIDE) -> Residual:
    """The speed that is left when the camera's motion is taken out of a flow field, in two views.

    With m the residual speed, τ is 0.7 times the speed that 3 % of the frame exceed and at least one pixel at 480p, and
    μ is two pixels at 480p. Both maps are zero where nothing moves against the camera.

    Args:
        flow: (H, W, 2).
        longest: longest side of the maps, whose grid has the frame's shape and is not larger than the flow's.
    """
    height, width = flow.shape[:2]
    scale = min(1.0, longest / max(height, width))
    small = resize_flow(flow, (max(8, round(height * scale)), max(8, round(width * scale))))
    camera = fit_camera(small, samples=800)
    own: Flow = small - camera.flow
    # Not cv2.magnitude: its last bit depends on where in memory the arrays lie, and a resumed training run must not.
    squared = own[..., 0] ** 2 + own[..., 1] ** 2
    speed: SaliencyArray = np.sqrt(squared)
    unit = max(small.shape[:2]) / 1700  # half a pixel at 480p
    place = int(0.97 * (speed.size - 1))
    fast = max(2 * unit, 0.7 * float(np.partition(speed.ravel(), place)[place]))
    return Residual(
        squared / (squared + np.float32(fast**2)), speed / (speed + np.float32(4 * unit)), camera.share, small
    )


def residual_maps(flow: Flow, *, longest: int = RESIDUAL_SIDE) -> tuple[SaliencyArray, SaliencyArray]:
    """`residual_motion`'s two maps (h, w) float32 in [0, 1): relative to the fastest part, and in pixels."""
    found = residual_motion(flow, longest=longest)
    return found.relative, found.speed


class CarriedMean:
    """A running mean of maps that is carried along the flow: a(t) = 0.6 · a(t − 1), moved + 0.4 · m(t).

    What moved a moment ago still belongs to the object, though it rests now; noise does not come twice. It sees the
    last `MEMORY` frames only, the oldest of which stands for all before it, so that it can be begun anywhere in a video
    and is the same four frames later.
    """

    def __init__(self) -> None:
        self._maps: list[SaliencyArray] = []

    def clear(self) -> None:
        """Forget what was seen: another video begins, or another shot."""
        self._maps = []

    def push(self, current: SaliencyArray, moved: Flow | None) -> SaliencyArray:
        """Take the next frame's map and give the mean.

        Args:
            current: (h, w).
            moved: (h, w, 2), where in the frame before each pixel was, less where it is now, in the grid's pixels; None
                where that frame shows the same picture.

        Returns:
            (h, w) float32, of the maps' range.
        """
        kept = self._maps[-(MEMORY - 1) :]
        if kept and kept[0].shape != current.shape:
            kept = []
        if kept and moved is not None:
            x, y = _cell_grid(*current.shape)
            places = x + moved[..., 0], y + moved[..., 1]
            stacked = cv2.remap(np.dstack(kept), *places, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            channels = np.asarray(stacked, np.float32).reshape(*current.shape, len(kept))
            kept = [channels[..., number] for number in range(len(kept))]
        self._maps = [*kept, current]
        mean = self._maps[0]
        for later in self._maps[1:]:
            mean = np.float32(KEPT) * mean + np.float32(1 - KEPT) * later
        return np.asarray(mean, np.float32)


@lru_cache(maxsize=8)
def _cell_grid(height: int, width: int) -> tuple[SaliencyArray, SaliencyArray]:
    """Columns and rows of every pixel, (H, W) float32 each."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    return x, y
