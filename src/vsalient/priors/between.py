"""The map of a frame that the network did not see, from its neighbours' maps and the motion to each of them."""

from dataclasses import dataclass

import cv2
import numpy as np

from vsalient.priors.flow import DisFlow, Flow, Grey, resize_flow
from vsalient.types import SaliencyArray

TOLERATED_LEVELS = 4.0
"""Grey levels by which a neighbour's picture, moved, may miss the frame before it counts for less."""


@dataclass(frozen=True, slots=True, eq=False)
class Between:
    """Where a frame's pixels are found in its two neighbours.

    Attributes:
        back: (h, w, 2), in the frame before.
        ahead: (h, w, 2), in the frame after; None at the end of a video.
        share: (h, w) float32 in [0, 1], how much the frame before counts: where one neighbour's picture, moved along
            its flow, does not look like the frame, as behind an edge or beyond a cut, the other one does.
    """

    back: Flow
    ahead: Flow | None
    share: SaliencyArray


def find_between(flow: DisFlow, before: Grey, frame: Grey, after: Grey | None) -> Between:
    """Measure the motion from a frame to its neighbours, all three as `flow.grey` made them."""
    back = flow.between(frame, before)
    if after is None:
        return Between(back, None, np.ones(frame.shape, np.float32))
    ahead = flow.between(frame, after)
    here = frame.astype(np.float32)
    missed = [
        cv2.GaussianBlur(np.abs(here - moved(other.astype(np.float32), way)), (0, 0), 2.0)
        for other, way in ((before, back), (after, ahead))
    ]
    # The sigmoid of the difference: two exponentials' shares, without dividing nothing by nothing.
    share = 1 / (1 + np.exp(np.clip((missed[0] - missed[1]) / TOLERATED_LEVELS, -20, 20)))
    return Between(back, ahead, np.asarray(share, np.float32))


def between_on(found: Between, scaled: tuple[int, int], padding: tuple[int, int, int, int]) -> Between:
    """The same on the grid of the maps: (height, width) after scaling, and rows and columns added around it."""
    top, bottom, left, right = padding
    around = ((top, bottom), (left, right))

    def on(flow: Flow) -> Flow:
        return np.pad(resize_flow(flow, scaled), (*around, (0, 0)))

    share = np.pad(cv2.resize(found.share, scaled[::-1], interpolation=cv2.INTER_LINEAR), around, mode="edge")
    return Between(on(found.back), None if found.ahead is None else on(found.ahead), np.asarray(share, np.float32))


def carried_between(before: SaliencyArray, after: SaliencyArray | None, found: Between) -> SaliencyArray:
    """The neighbours' maps, moved to this frame and mixed.

    Args:
        before: the map of the frame before, (h, w) float32.
        after: that of the frame after, on the same grid; None at the end of a video.
        found: the motion, on that grid too.

    Returns:
        (h, w) float32.
    """
    first = moved(before, found.back)
    if after is None or found.ahead is None:
        return first
    second = moved(after, found.ahead)
    return np.asarray(second + (first - second) * found.share, np.float32)


def moved(values: SaliencyArray, flow: Flow) -> SaliencyArray:
    """A neighbour's map as it is seen from this frame, whose pixels `flow` finds there."""
    height, width = values.shape
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    places = x + flow[..., 0], y + flow[..., 1]
    return np.asarray(cv2.remap(values, *places, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)
