"""The object's box in every frame: found on its map, without outliers, with how sure it is."""

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from vsalient.types import SaliencyArray

_SHARE = 0.2
"""Parts of the object smaller than this share of the largest are left out of its box."""


@dataclass
class Boxes:
    """Collects one film's boxes, in order.

    Attributes:
        found: x, y, width, height in pixels of each frame; NaN where there is no object.
        sure: mean probability inside, 0 where there is none.
        starts: frames at which a shot begins, 0 among them.
    """

    found: list[tuple[float, float, float, float]] = field(default_factory=list)
    sure: list[float] = field(default_factory=list)
    starts: list[int] = field(default_factory=lambda: [0])
    _scene: int = 0

    def push(self, saliency: SaliencyArray, scene: int = 0) -> None:
        """Take the next frame's map, (H, W) in [0, 1], and the number of its scene."""
        if scene != self._scene and self.found:
            self.starts.append(len(self.found))
        self._scene = scene
        box, sure = box_of(saliency)
        self.found.append(box)
        self.sure.append(sure)

    def steady(self) -> NDArray[np.float64]:
        """(T, 4) edges left, top, right, bottom: medians of five frames, gaps within a shot bridged.

        A shot without any object has its middle: NaN is left nowhere but in a film that has no object at all.
        """
        values = np.asarray(self.found, np.float64).reshape(-1, 4)
        edges = np.column_stack([values[:, :2], values[:, :2] + values[:, 2:]])
        for begin, end in self.shots():
            part = edges[begin:end]
            known = np.flatnonzero(~np.isnan(part[:, 0]))
            if len(known) == 0:
                continue
            for column in range(4):
                part[:, column] = np.interp(np.arange(len(part)), known, part[known, column])
            padded = np.pad(part, ((2, 2), (0, 0)), mode="edge")
            part[:] = np.median(np.stack([padded[k : k + len(part)] for k in range(5)]), axis=0)
        return edges

    def shots(self) -> list[tuple[int, int]]:
        """First frame of each shot and the one after its last."""
        return list(zip(self.starts, [*self.starts[1:], len(self.found)], strict=True))


def box_of(saliency: SaliencyArray, threshold: float = 0.5) -> tuple[tuple[float, float, float, float], float]:
    """The box of the object's main parts, x, y, width, height, and the mean probability in them; NaN and 0 without."""
    mask = (saliency >= threshold).astype(np.uint8)
    count, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    if count == 1:
        return (np.nan, np.nan, np.nan, np.nan), 0.0
    areas = stats[1:, cv2.CC_STAT_AREA]
    kept = stats[1:][areas >= _SHARE * areas.max()]
    left, top = int(kept[:, cv2.CC_STAT_LEFT].min()), int(kept[:, cv2.CC_STAT_TOP].min())
    right = int((kept[:, cv2.CC_STAT_LEFT] + kept[:, cv2.CC_STAT_WIDTH]).max())
    bottom = int((kept[:, cv2.CC_STAT_TOP] + kept[:, cv2.CC_STAT_HEIGHT]).max())
    sure = float(saliency[mask > 0].mean())
    return (float(left), float(top), float(right - left), float(bottom - top)), sure
