"""Numbers of a frame's mask: area, box, centroid, mean confidence, number of objects."""

from dataclasses import dataclass

import cv2
import numpy as np

from vsalient.types import InstanceMap, MaskArray, SaliencyArray


@dataclass(frozen=True, slots=True)
class Measure:
    """What is known of one region of a frame.

    Attributes:
        area: pixels.
        box: x, y, width, height of the smallest box around it, in pixels; None when the region is empty.
        centroid: x, y of the mean pixel position, in pixels from the centre of the top left pixel; None when empty.
        confidence: mean saliency over the region, in [0, 1]; None when empty.
        objects: 8-connected parts.
    """

    area: int
    box: tuple[int, int, int, int] | None
    centroid: tuple[float, float] | None
    confidence: float | None
    objects: int


def measure(mask: MaskArray, saliency: SaliencyArray) -> Measure:
    """Measure a mask (H, W) whose saliency map (H, W) is in [0, 1]."""
    pixels = mask.view(np.uint8)
    left, top, width, height = cv2.boundingRect(pixels)
    if width == 0:
        return Measure(0, None, None, None, 0)
    inside = pixels[top : top + height, left : left + width]
    parts, _, stats, centroids = cv2.connectedComponentsWithStats(inside, connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA].astype(np.float64)
    x, y = (areas @ centroids[1:]) / areas.sum()
    confidence = cv2.mean(saliency[top : top + height, left : left + width], mask=inside)[0]
    return Measure(
        area=int(areas.sum()),
        box=(left, top, width, height),
        centroid=(float(x) + left, float(y) + top),
        confidence=float(confidence),
        objects=parts - 1,
    )


def measure_instances(instances: InstanceMap, saliency: SaliencyArray) -> dict[int, Measure]:
    """Measure each numbered object of a frame, by its number, in ascending order."""
    numbers = np.unique(instances)
    return {int(number): measure(instances == number, saliency) for number in numbers if number > 0}
