"""Calm over time: a map is mixed with the one before, carried along the optical flow, until the picture is cut."""

import cv2
import numpy as np
from numpy.typing import NDArray

from vsalient.priors.flow import DisFlow
from vsalient.types import Pixels, SaliencyArray

_FLOW_LONGEST = 240
_DIFFERENCE = 14.0
"""Levels of grey at which a pixel's history counts for 1/e."""
_CUT_LEVELS, _CUT_SHARE = 30, 0.45
"""A cut: so many levels off in so large a share of the frame, after the motion is undone."""


class Steady:
    """Mixes each map with its predecessors of the same shot.

    Recursive, so that no frame has to wait: what is kept is one map and one small picture. History counts only where
    the picture carried along agrees with the present one, so that what is uncovered or new is seen at once.

    Args:
        strength: share of the history where the pictures agree, 0 to below 1.
    """

    def __init__(self, strength: float) -> None:
        self._strength = strength
        self._flow = DisFlow("ultrafast", longest=_FLOW_LONGEST)
        self._before: tuple[Pixels, NDArray[np.uint8], SaliencyArray] | None = None

    def reset(self) -> None:
        """Forget what was: another film, or a cut, begins."""
        self._before = None

    def __call__(self, pixels: Pixels, saliency: SaliencyArray) -> SaliencyArray:
        """Take (h, w, 3) uint8 and (h, w) of one reduced size, in order; return the calmer map."""
        if self._strength == 0:
            return saliency
        height, width = saliency.shape
        grey = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.uint8)
        before, self._before = self._before, (pixels, grey, saliency)
        if before is None or before[2].shape != saliency.shape:
            return saliency
        old_pixels, old_grey, old = before
        flow = self._flow.reduced(pixels, old_pixels)
        scale = (width / flow.shape[1], height / flow.shape[0])
        x, y = cv2.split(cv2.resize(flow, (width, height)))
        x = x * np.float32(scale[0]) + np.arange(width, dtype=np.float32)
        y = y * np.float32(scale[1]) + np.arange(height, dtype=np.float32)[:, None]
        carried = cv2.remap(old, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        seen = cv2.remap(old_grey, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        difference = np.asarray(cv2.blur(cv2.absdiff(grey, seen), (3, 3)), np.uint8)
        if float(np.count_nonzero(difference > _CUT_LEVELS)) > _CUT_SHARE * difference.size:
            return saliency
        outside = (x < -1) | (y < -1) | (x > width) | (y > height)
        table = self._strength * np.exp(-((np.arange(256) / _DIFFERENCE) ** 2))
        weight = np.take(table.astype(np.float32), difference)
        weight[outside] = 0
        calm = np.asarray(saliency + weight * (carried - saliency), np.float32)
        self._before = (pixels, grey, calm)
        return calm
