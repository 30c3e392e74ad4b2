"""Residual motion: what moves against the camera, as two cheap maps that a network can take beside each frame."""

import cv2
import numpy as np

from vsalient.priors.flow import Flow, camera_flow, resize_flow
from vsalient.types import SaliencyArray

GRID = 112
"""Longest side of the maps: a quarter of 3dc-lite's 448 pixels."""


def residual_maps(flow: Flow, *, longest: int = GRID) -> tuple[SaliencyArray, SaliencyArray]:
    """Two views of the speed that is left when the camera's motion is taken out of a flow field.

    With m the residual speed, the first is m² / (m² + τ²), where τ is 0.7 times the speed that 3 % of the frame
    exceed and at least one pixel at 480p: what moves most, however slowly. The second is m / (m + μ), μ two pixels at
    480p: whether that is motion to speak of. Both are zero where nothing moves against the camera.

    Args:
        flow: (H, W, 2).
        longest: longest side of the maps.

    Returns:
        Two maps (h, w) float32 in [0, 1), on a grid of the frame's shape that is not larger than the flow's.
    """
    height, width = flow.shape[:2]
    scale = min(1.0, longest / max(height, width))
    small = resize_flow(flow, (max(8, round(height * scale)), max(8, round(width * scale))))
    own = small - camera_flow(small, samples=1500)
    speed = np.asarray(cv2.magnitude(own[..., 0], own[..., 1]), np.float32)
    unit = max(small.shape[:2]) / 1700  # half a pixel at 480p
    fast = max(2 * unit, 0.7 * float(np.percentile(speed, 97)))
    squared = speed * speed
    return squared / (squared + np.float32(fast * fast)), speed / (speed + np.float32(4 * unit))
