"""The camera's part of a flow field: the planar motion that most of the frame follows."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from vsalient.priors.flow import Flow

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Camera:
    """What a fit found.

    Attributes:
        flow: (H, W, 2), the model's motion at every pixel.
        share: how much of the frame follows it, in [0, 1]: the mean of the last fit's weights. A low share says that
            the model is in doubt, as where an object fills the frame and may itself have been taken for the camera.
    """

    flow: Flow
    share: float


def camera_flow(flow: Flow, *, samples: int = 4000, rounds: int = 12) -> Flow:
    """`fit_camera`'s flow: (H, W, 2), the camera's motion at every pixel of `flow`."""
    return fit_camera(flow, samples=samples, rounds=rounds).flow


def fit_camera(flow: Flow, *, samples: int = 4000, rounds: int = 12) -> Camera:
    """Fit the camera's motion to a flow field.

    An 8-parameter model (a plane seen by a moving, turning or zooming camera; Bergen et al., ECCV 1992) is fitted by
    iteratively reweighted least squares with Geman-McClure weights. It begins with the frame's border, where objects
    are rarer than in its middle, and its tolerance shrinks from the flow's own spread to the residuals' noise.
    Deterministic.

    Args:
        flow: (H, W, 2).
        samples: about how many positions are looked at.
        rounds: reweightings.
    """
    height, width = flow.shape[:2]
    stride = max(1, round((height * width / samples) ** 0.5))
    terms, start = _samples(height, width, stride)
    half = stride // 2
    seen = flow[half::stride, half::stride].reshape(-1, 2)
    count = len(seen)
    targets = np.concatenate([seen[:, 0], seen[:, 1]])
    # Half a pixel at 480p: what dense flow cannot tell apart from noise anyway.
    finest = max(height, width) / 1700
    spread, weights = 0.0, start
    parameters = np.zeros(8, np.float32)
    ridge = 1e-9 * count * np.eye(8)
    for number in range(rounds):
        weighted = terms * np.concatenate([weights, weights])
        # float32 for what is many, float64 for the eight equations.
        normal = (weighted @ terms.T).astype(np.float64) + ridge
        parameters = np.linalg.solve(normal, (weighted @ targets).astype(np.float64)).astype(np.float32)
        off = targets - parameters @ terms
        squared = off[:count] ** 2 + off[count:] ** 2
        noise = 1.5 * float(np.partition(squared, count // 2)[count // 2]) ** 0.5
        spread = max(2 * noise, finest) if number == 0 else max(finest, min(spread * 0.8, 3 * noise))
        weights = np.asarray((spread**2 / (spread**2 + squared)) ** 2, np.float32)
    # The model is linear in its terms, row and column apart: a whole design matrix would be ten times slower.
    u, v = _axes(height, width)
    b = parameters
    a = b[6] * u + b[7] * v
    whole = np.empty((height, width, 2), np.float32)
    whole[..., 0] = (b[0] + b[1] * u) + v * b[2] + a * u
    whole[..., 1] = (b[3] + b[4] * u) + v * b[5] + a * v
    return Camera(whole, float(np.sqrt(weights).mean()))


def _axes(height: int, width: int) -> tuple[Floats, Floats]:
    """Columns (1, W) and rows (H, 1) less the frame's centre, the longer side from −1 to 1."""
    scale = 2.0 / max(width, height)
    u, v = (np.arange(width)[None] - width / 2) * scale, (np.arange(height)[:, None] - height / 2) * scale
    return u.astype(np.float32), v.astype(np.float32)


@lru_cache(maxsize=8)
def _samples(height: int, width: int, stride: int) -> tuple[Floats, Floats]:
    """The model's terms at every `stride`-th position, (8, 2·N), x's then y's; and the first weights (N,)."""
    half = stride // 2
    y, x = np.mgrid[half:height:stride, half:width:stride]
    columns, rows = _axes(height, width)
    u, v = columns[0, x.ravel()], rows[y.ravel(), 0]
    one, zero = np.ones_like(u), np.zeros_like(u)
    across = np.stack([one, u, v, zero, zero, zero, u * u, u * v])
    down = np.stack([zero, zero, zero, one, u, v, u * v, v * v])
    border = np.minimum.reduce([x / width, 1 - x / width, y / height, 1 - y / height]).ravel()
    return np.concatenate([across, down], axis=1), np.where(border < 0.15, 1.0, 0.1).astype(np.float32)
