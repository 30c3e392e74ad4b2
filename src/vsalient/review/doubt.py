"""How much a map is to be doubted, from itself and its neighbours, without any ground truth."""

import cv2
import numpy as np
from numpy.typing import NDArray

from vsalient.priors.flow import DisFlow
from vsalient.types import Pixels, SaliencyArray

_LONGEST = 240
_LEAST_DOUBT = 1e-3


class Doubt:
    """Collects the doubt of one film's frames, in order.

    Two things that go along with a map's error, multiplied and rooted. The first is how undecided its own probabilities
    are, Σ min(p, 1 − p) / Σ p: they are means over the clips that hold a frame, and over the mirrored view where there
    is one, so that clips that disagree leave them in the middle. The second is how far the map is from its neighbours'
    carried along the optical flow, 1 − Σ min / Σ max.
    """

    def __init__(self) -> None:
        self._flow = DisFlow("ultrafast", longest=_LONGEST)
        self._undecided: list[float] = []
        self._apart: list[float] = []  # of each frame from the one before
        self._before: tuple[Pixels, SaliencyArray] | None = None

    def __len__(self) -> int:
        return len(self._undecided)

    def push(self, pixels: Pixels, saliency: SaliencyArray) -> None:
        """Take the next frame, (H, W, 3) uint8 and (H, W) in [0, 1]."""
        height, width = saliency.shape
        scale = min(1.0, _LONGEST / max(height, width))
        size = (max(32, round(width * scale)), max(32, round(height * scale)))
        small = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
        values = np.asarray(cv2.resize(saliency, size, interpolation=cv2.INTER_AREA), np.float32)
        whole = float(values.sum())
        self._undecided.append(float(np.minimum(values, 1 - values).sum()) / max(whole, 1.0))
        if self._before is not None:
            flow = self._flow.reduced(small, self._before[0])
            self._apart.append(_unlike(values, self._before[1], flow))
        self._before = (small, values)

    def scores(self) -> NDArray[np.float64]:
        """(T,) doubt of every frame so far, 0 (none) to about 1."""
        count = len(self._undecided)
        if count == 0:
            return np.zeros(0)
        undecided = np.clip(np.asarray(self._undecided), _LEAST_DOUBT, 1)
        if count == 1:
            return undecided
        apart = np.asarray(self._apart)
        left, right = np.concatenate([apart[:1], apart]), np.concatenate([apart, apart[-1:]])
        doubt: NDArray[np.float64] = np.sqrt(undecided * np.clip((left + right) / 2, _LEAST_DOUBT, 1))
        return doubt


def _unlike(values: SaliencyArray, before: SaliencyArray, flow: NDArray[np.float32]) -> float:
    height, width = values.shape
    scale = np.array([width / flow.shape[1], height / flow.shape[0]], np.float32)
    flow = np.asarray(cv2.resize(flow, (width, height)), np.float32) * scale
    x = flow[..., 0] + np.arange(width, dtype=np.float32)
    y = flow[..., 1] + np.arange(height, dtype=np.float32)[:, None]
    carried = np.asarray(cv2.remap(before, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)
    either = float(np.maximum(values, carried).sum())
    # Where neither frame has an object there is nothing to disagree about.
    return 1 - float(np.minimum(values, carried).sum()) / either if either > 1 else 0.0


def to_review(
    scores: NDArray[np.float64], times: NDArray[np.float64], *, most: int = 12, apart: float = 0.5
) -> list[int]:
    """Indices of the frames to look at, the most doubtful first, no two nearer than `apart` seconds."""
    chosen: list[int] = []
    for index in np.argsort(-scores, kind="stable"):
        if all(abs(times[index] - times[other]) >= apart for other in chosen):
            chosen.append(int(index))
        if len(chosen) == most:
            break
    return chosen
