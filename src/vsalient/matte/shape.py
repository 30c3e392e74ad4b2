"""What is done to the shape of a soft map: levels, holes, specks; and to alpha: choke and feather."""

import cv2
import numpy as np
from numpy.typing import NDArray

from vsalient.types import SaliencyArray


def stretch(saliency: SaliencyArray, low: float, high: float) -> SaliencyArray:
    """Make `low` and less 0, `high` and more 1, and what is between even."""
    if (low, high) == (0.0, 1.0):
        return saliency
    scale = 1.0 / (high - low)
    return np.asarray(np.clip(saliency * np.float32(scale) - np.float32(low * scale), 0, 1), np.float32)


UNSURE_HOLE, UNSURE_SHARE = 0.05, 20.0
"""A hole in which no probability is below the first is the network's doubt, not a view through the object: it is filled
where it is up to so many times as large."""


def remove_small(
    saliency: SaliencyArray, *, holes: float, specks: float, probability: SaliencyArray | None = None
) -> SaliencyArray:
    """Fill small holes of a soft map, and clear small specks.

    A speck is a connected part above 0 that is smaller than `specks`, all of it: what leads over to a large part is
    part of it, whatever its probability. A hole is a part below 1 within the object, not at the frame's border, that
    is smaller than `holes`.

    Args:
        saliency: (h, w) in [0, 1], stretched, so that ground is 0 and the inside 1.
        holes: share of the frame.
        specks: share of the frame.
        probability: (h, w) the map before it was stretched, to tell doubt from a view through.
    """
    result = saliency
    size = saliency.size
    if specks and (least := specks * size) > 1:
        result = _where_small(result, (result > 0).astype(np.uint8), least, 0.0, border=True)
    if holes and (least := holes * size) > 1:
        parts = (result < 1).astype(np.uint8)
        if probability is not None:
            larger = _where_small(result, parts, least * UNSURE_SHARE, 1.0, border=False)
            result = _where_unsure(result, larger, probability)
        result = _where_small(result, parts, least, 1.0, border=False)
    return result


def _where_small(
    saliency: SaliencyArray, part: NDArray[np.uint8], least: float, value: float, *, border: bool
) -> SaliencyArray:
    count, labels, stats, _ = cv2.connectedComponentsWithStats(part, connectivity=8)
    if count <= 1:
        return saliency
    small = stats[:, cv2.CC_STAT_AREA] < least
    if not border:
        height, width = saliency.shape
        left, top = stats[:, cv2.CC_STAT_LEFT], stats[:, cv2.CC_STAT_TOP]
        right, bottom = left + stats[:, cv2.CC_STAT_WIDTH], top + stats[:, cv2.CC_STAT_HEIGHT]
        small &= (left > 0) & (top > 0) & (right < width) & (bottom < height)
    small[0] = False  # label 0 is all that is not part
    if not small.any():
        return saliency
    return np.where(small[labels], np.float32(value), saliency)


def _where_unsure(before: SaliencyArray, filled: SaliencyArray, probability: SaliencyArray) -> SaliencyArray:
    """Of the holes that were filled, leave those open in which the map is sure somewhere that there is nothing."""
    count, labels = cv2.connectedComponents((filled != before).astype(np.uint8), connectivity=8)
    if count <= 1:
        return before
    through = np.zeros(count, np.bool_)
    through[np.unique(labels[probability < UNSURE_HOLE])] = True
    through[0] = True
    return np.where(through[labels], before, filled)


def choke(alpha: NDArray[np.uint8], pixels: float) -> NDArray[np.uint8]:
    """Move the edge inwards by so many pixels, or outwards if negative; (H, W) uint8.

    Whole pixels by a disk, the rest by mixing the next two; the frame's border is no edge.
    """
    whole, part = divmod(abs(pixels), 1)
    work = cv2.erode if pixels > 0 else cv2.dilate
    near = _by_disk(work, alpha, int(whole))
    if part < 0.01:
        return near
    far = _by_disk(work, alpha, int(whole) + 1)
    return np.asarray(cv2.addWeighted(near, 1 - part, far, part, 0), np.uint8)


def _by_disk(work: object, alpha: NDArray[np.uint8], radius: int) -> NDArray[np.uint8]:
    if radius == 0:
        return alpha
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    # OpenCV's own border value lets neither operation come in from outside.
    return np.asarray(work(alpha, disk), np.uint8)  # type: ignore[operator]


def feather(alpha: NDArray[np.uint8], pixels: float) -> NDArray[np.uint8]:
    """Blur alpha with a Gaussian of so many pixels; (H, W) uint8, the border repeated."""
    if pixels <= 0:
        return alpha
    return np.asarray(cv2.GaussianBlur(alpha, (0, 0), pixels, borderType=cv2.BORDER_REPLICATE), np.uint8)
