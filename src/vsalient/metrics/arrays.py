"""What the metrics accept: how arrays become 8-bit maps, masks and void masks."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vsalient.errors import DataError

Map8 = NDArray[np.uint8]
"""(H, W) saliency in 0..255."""
Mask = NDArray[np.bool_]
"""(H, W), True where the object is."""

BINARISE_AT = 128
"""Soft maps become masks at this value and above (DAVIS part of the conventions)."""
TRUTH_ABOVE = 128
"""Ground truth is foreground strictly above this value, as in PySODMetrics."""


def as_map(saliency: NDArray[Any]) -> Map8:
    """Return an (H, W) uint8 map.

    uint8 passes as it is, bool becomes 0 and 255, floats in [0, 1] are rounded to the nearest of 256 levels,
    which is what writing them as an 8-bit PNG does.

    Raises:
        DataError: not two-dimensional, empty, of another type, not finite, or outside [0, 1].
    """
    _check_plane(saliency, "saliency map")
    if saliency.dtype == np.uint8:
        return saliency
    if saliency.dtype == np.bool_:
        return saliency.astype(np.uint8) * np.uint8(255)
    if np.issubdtype(saliency.dtype, np.floating):
        return np.rint(_unit_floats(saliency) * 255.0).astype(np.uint8)
    raise DataError(f"a saliency map has type {saliency.dtype}; give uint8 in 0..255, floats in [0, 1] or a bool mask")


def as_truth(truth: NDArray[Any], *, what: str = "ground truth") -> Mask:
    """Return an (H, W) bool ground truth: values above 128 are foreground; 0/1 label images count as masks.

    Floats in [0, 1] are taken at their 8-bit values, as maps are.
    """
    return _as_mask(truth, TRUTH_ABOVE + 1, what)


def as_mask(prediction: NDArray[Any]) -> Mask:
    """Return an (H, W) bool predicted mask: values of 128 and above; 0/1 label images count as masks."""
    return _as_mask(prediction, BINARISE_AT, "predicted mask")


def as_void(void: NDArray[Any] | None, shape: tuple[int, ...]) -> Mask | None:
    """Return a bool void mask of `shape` (any non-zero pixel), or None where there is nothing to leave out."""
    if void is None:
        return None
    same_shape(void.shape, shape, "void mask", "ground truth")
    mask = void if void.dtype == np.bool_ else void != 0
    return mask if bool(mask.any()) else None


def same_shape(first: tuple[int, ...], second: tuple[int, ...], a: str, b: str) -> None:
    """Raise DataError unless two shapes are equal."""
    if first != second:
        raise DataError(f"the {a} is {_size(first)} and the {b} {_size(second)}; they must have one size")


def pair(saliency: NDArray[Any], truth: NDArray[Any], void: NDArray[Any] | None) -> tuple[Map8, Mask, Mask | None]:
    """Check and convert what every saliency metric takes."""
    level, mask = as_map(saliency), as_truth(truth)
    same_shape(level.shape, mask.shape, "saliency map", "ground truth")
    return level, mask, as_void(void, mask.shape)


def as_floats(values: NDArray[Any], what: str) -> NDArray[np.float64]:
    """Return an (H, W) float64 copy of any numeric map, for the metrics that are free of scale.

    Raises:
        DataError: not two-dimensional, empty or not finite.
    """
    _check_plane(values, what)
    floats = values.astype(np.float64)
    if not bool(np.isfinite(floats).all()):
        raise DataError(f"the {what} holds NaN or infinite values; every pixel must be a number")
    return floats


def _as_mask(values: NDArray[Any], at: int, what: str) -> Mask:
    _check_plane(values, what)
    if values.dtype == np.bool_:
        return values
    if np.issubdtype(values.dtype, np.floating):
        return np.rint(_unit_floats(values) * 255.0) >= at
    if not np.issubdtype(values.dtype, np.integer):
        raise DataError(f"the {what} has type {values.dtype}; give a bool mask or an 8-bit image")
    return values > 0 if int(values.max()) <= 1 else values >= at


def _unit_floats(values: NDArray[Any]) -> NDArray[Any]:
    low, high = float(values.min()), float(values.max())
    # Written so that NaN fails too.
    if not (low >= 0.0 and high <= 1.0):
        raise DataError(f"a float map spans {low:g}..{high:g}; it must lie in [0, 1]")
    return values


def _check_plane(values: NDArray[Any], what: str) -> None:
    if values.ndim != 2 or values.size == 0:
        raise DataError(f"the {what} has shape {values.shape}; give a non-empty (height, width) array")


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]}" if len(shape) == 2 else str(shape)
