"""Weighted F-measure: errors count more when they are alone and far away (Margolin et al., CVPR 2014).

As PySODMetrics 1.6.2 computes it, without its two full-size transforms: the nearest object pixel is needed only in
a band of three pixels around the object, because the 7x7 smoothing is used on object pixels alone.
"""

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vsalient.metrics.arrays import Map8, Mask, pair
from vsalient.metrics.histograms import count
from vsalient.metrics.normalised import NormalisedFrame, normalise
from vsalient.metrics.sod import EPS

_GAUSSIAN_REACH = 3  # half of the 7x7 window
_SEARCH = 4  # a pixel of the band has an object pixel within (3, 3), so the nearest is less than 5 away


def weighted_f(
    saliency: NDArray[Any], truth: NDArray[Any], void: NDArray[Any] | None = None, *, beta2: float = 1.0
) -> float:
    """Return wF in [0, 1] of the min-max normalised map; 0 for an empty ground truth.

    Void pixels carry no error and no weight.

    Raises:
        DataError: the arrays do not fit each other.
    """
    level, mask, ignored = pair(saliency, truth, void)
    frame = normalise(count(level, mask, ignored), level, ignored)
    return weighted_f_of(frame, level, mask, ignored, beta2=beta2)


def weighted_f_of(
    frame: NormalisedFrame, saliency: Map8, truth: Mask, void: Mask | None, *, beta2: float = 1.0
) -> float:
    """Return wF of a frame that has been counted; NaN if every pixel is void."""
    if void is not None:
        if bool(void.all()):
            return float("nan")
        truth = truth & ~void
    objects = int(np.count_nonzero(truth))
    if objects == 0:
        return 0.0
    error = _errors(frame, saliency, truth)
    missed = _smoothed_error(error, truth)
    false = _weighted_background_error(error, truth, void)
    found = objects - missed
    recall = 1 - missed / objects
    precision = found / (found + false + EPS)
    return float((1 + beta2) * recall * precision / (recall + beta2 * precision + EPS))


def _errors(frame: NormalisedFrame, saliency: Map8, truth: Mask) -> NDArray[np.float64]:
    error = np.asarray(cv2.LUT(np.ascontiguousarray(saliency), frame.values), np.float64)
    np.subtract(1.0, error, out=error, where=truth)
    return error


def _smoothed_error(error: NDArray[np.float64], truth: Mask) -> float:
    """Return the sum over object pixels of min(error, smoothed error).

    Outside the object the error of the nearest object pixel stands in before the smoothing.
    """
    rows, columns = _box(truth)
    height, width = truth.shape
    # The object's box with the window's reach around it; beyond the picture the smoothing sees zeros.
    top, left = max(rows.start - _GAUSSIAN_REACH, 0), max(columns.start - _GAUSSIAN_REACH, 0)
    bottom, right = min(rows.stop + _GAUSSIAN_REACH, height), min(columns.stop + _GAUSSIAN_REACH, width)
    local_truth, local_error = truth[top:bottom, left:right], error[top:bottom, left:right]
    spread = np.where(local_truth, local_error, 0.0)
    window = np.ones((2 * _GAUSSIAN_REACH + 1, 2 * _GAUSSIAN_REACH + 1), np.uint8)
    band = (cv2.dilate(local_truth.view(np.uint8), window) > 0) & ~local_truth
    y, x = np.nonzero(band)
    source_y, source_x = _nearest_object_pixel(local_truth, y, x)
    spread[y, x] = local_error[source_y, source_x]
    kernel = np.exp(-(np.arange(-_GAUSSIAN_REACH, _GAUSSIAN_REACH + 1.0) ** 2) / 50.0)
    kernel /= kernel.sum()
    smooth = cv2.sepFilter2D(spread, cv2.CV_64F, kernel, kernel, borderType=cv2.BORDER_CONSTANT)
    return float(np.minimum(local_error, smooth)[local_truth].sum())


def _nearest_object_pixel(
    truth: Mask, y: NDArray[np.intp], x: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the nearest object pixel of each pixel in the band; of equally near ones the leftmost, then topmost.

    That is the choice of SciPy's feature transform, which the reference uses; another choice moves wF.
    """
    padded = np.pad(truth, _SEARCH).ravel()
    stride = truth.shape[1] + 2 * _SEARCH
    at = (y + _SEARCH) * stride + (x + _SEARCH)
    source_y, source_x = y.copy(), x.copy()
    left = np.arange(at.size)
    for dy, dx in _OFFSETS:
        if not left.size:
            break
        hit = padded[at[left] + dy * stride + dx]
        found = left[hit]
        source_y[found] += dy
        source_x[found] += dx
        left = left[~hit]
    return source_y, source_x


def _weighted_background_error(error: NDArray[np.float64], truth: Mask, void: Mask | None) -> float:
    """Return the sum over background pixels of error x (2 - 0.5^(distance / 5))."""
    distance = cv2.distanceTransform((~truth).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # In place: at full size, fresh arrays cost more than the arithmetic.
    weight = distance.astype(np.float64)
    weight *= math.log(0.5) / 5.0
    np.exp(weight, out=weight)
    np.subtract(2.0, weight, out=weight)
    counted = error if void is None else np.where(void, 0.0, error)
    # Object pixels have distance 0 and so weight 1: cheaper to take them out again than to leave them out.
    return float(np.vdot(counted, weight)) - float(error[truth].sum())


def _box(mask: Mask) -> tuple[slice, slice]:
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    return slice(y, y + height), slice(x, x + width)


def _offsets() -> tuple[tuple[int, int], ...]:
    reach = range(-_SEARCH, _SEARCH + 1)
    near = [(dy, dx) for dy in reach for dx in reach if 0 < dy * dy + dx * dx <= 2 * _GAUSSIAN_REACH * _GAUSSIAN_REACH]
    return tuple(sorted(near, key=lambda o: (o[0] ** 2 + o[1] ** 2, o[1], o[0])))


_OFFSETS = _offsets()
