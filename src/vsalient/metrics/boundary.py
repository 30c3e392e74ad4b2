"""Contour accuracy F: do the boundaries of two masks lie within a few pixels of each other?

DAVIS (Perazzi et al., CVPR 2016, section 4), with the matching of `davis2017-evaluation`: each boundary is dilated
by a disk and intersected with the other. The masks are packed into 64-bit words, 64 pixels each, so that a dilation
by a disk of radius r is about 2 r + 1 row-wise ORs instead of the visit of every pixel of the disk.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vsalient.metrics.arrays import Mask, as_mask, as_truth, as_void, same_shape

Words = NDArray[np.uint64]
"""(..., H, W / 64) rows of pixels, the leftmost pixel in the lowest bit of the first word."""

BOUND = 0.008
"""The tolerance, as a share of the image diagonal."""

_ONE = np.uint64(1)
_WORD = 64
_BITS_OF_BYTE = np.array([bin(value).count("1") for value in range(256)], np.uint8)


def boundary_f(
    prediction: NDArray[Any],
    truth: NDArray[Any],
    void: NDArray[Any] | None = None,
    *,
    bound: float = BOUND,
) -> float:
    """Return the boundary F in [0, 1]; two masks without a boundary score 1.

    Args:
        prediction: (H, W) mask: bool, a 0/1 label image, or a soft map (8-bit, foreground from 128 on).
        truth: (H, W) ground truth: bool, a 0/1 label image, or 8-bit with foreground above 128.
        void: (H, W) pixels that are background in both masks, or None.
        bound: tolerance as a share of the diagonal, rounded up to whole pixels; from 1 on, pixels.

    Raises:
        DataError: the arrays do not have one size.
    """
    precision, recall = boundary_precision_recall(prediction, truth, void, bound=bound)
    total = precision + recall
    return 2.0 * precision * recall / total if total else 0.0


def boundary_precision_recall(
    prediction: NDArray[Any],
    truth: NDArray[Any],
    void: NDArray[Any] | None = None,
    *,
    bound: float = BOUND,
) -> tuple[float, float]:
    """Return the share of the predicted boundary near the true one, and of the true one near the predicted.

    Only one boundary there: (1, 0) without a predicted one, (0, 1) without a true one; none at all: (1, 1).
    """
    mask, reference = as_mask(prediction), as_truth(truth)
    same_shape(mask.shape, reference.shape, "predicted mask", "ground truth")
    ignored = as_void(void, reference.shape)
    if ignored is not None:
        mask, reference = mask & ~ignored, reference & ~ignored
    height, width = reference.shape
    edges = _boundary(_pack(np.stack((mask, reference))), width)
    predicted, true = _count_pixels(edges[0]), _count_pixels(edges[1])
    if predicted == 0 or true == 0:
        return float(predicted == 0), float(true == 0)
    near = _dilate(edges, tolerance((height, width), bound))
    return _count_pixels(edges[0] & near[1]) / predicted, _count_pixels(edges[1] & near[0]) / true


def boundary_map(mask: NDArray[Any]) -> Mask:
    """Return the (H, W) bool boundary: pixels that differ from the east, south or south-east neighbour.

    The last row looks east only, the last column south only, the last pixel nowhere: the picture's border is no
    boundary.
    """
    pixels = as_mask(mask)
    words = _boundary(_pack(pixels[None]), pixels.shape[1])[0]
    return np.unpackbits(words.view(np.uint8), axis=-1, bitorder="little", count=pixels.shape[1]).astype(bool)


def tolerance(shape: tuple[int, int], bound: float = BOUND) -> int:
    """Return the matching radius in pixels: ceil(bound x diagonal), or `bound` itself from 1 on."""
    return int(bound) if bound >= 1 else math.ceil(bound * float(np.linalg.norm(shape)))


def _pack(masks: NDArray[np.bool_]) -> Words:
    """Pack (N, H, W) into (N, H, ceil(W / 64)) words."""
    count, height, width = masks.shape
    packed = np.zeros((count, height, -(-width // _WORD) * 8), np.uint8)
    packed[..., : -(-width // 8)] = np.packbits(masks, axis=-1, bitorder="little")
    return packed.view("<u8")


def _west(words: Words, by: int) -> Words:
    """Move every pixel `by` (1..63) to the left; zeros enter."""
    moved = words >> np.uint64(by)
    moved[..., :-1] |= words[..., 1:] << np.uint64(_WORD - by)
    return moved


def _east(words: Words, by: int) -> Words:
    """Move every pixel `by` (1..63) to the right; zeros enter."""
    moved = words << np.uint64(by)
    moved[..., 1:] |= words[..., :-1] >> np.uint64(_WORD - by)
    return moved


def _boundary(words: Words, width: int) -> Words:
    # At the border a pixel stands in for its missing neighbour, which leaves exactly the reference's cases:
    # the last row compares with the east, the last column with the south, the corner with nothing.
    last = words[..., -1] & (_ONE << np.uint64((width - 1) % _WORD))
    east = _west(words, 1)
    east[..., -1] |= last
    edge = words ^ east
    edge[..., :-1, :] |= (words[..., :-1, :] ^ words[..., 1:, :]) | (words[..., :-1, :] ^ east[..., 1:, :])
    return edge


def _dilate(words: Words, radius: int) -> Words:
    """Dilate by the disk x^2 + y^2 <= radius^2; bits beyond the width may be set and mean nothing."""
    height = words.shape[-2]
    dilated = np.zeros_like(words)
    run, reach = words, 0  # `run`: dilated along the row by `reach` pixels to both sides
    for offset in range(radius, -1, -1):
        half = math.isqrt(radius * radius - offset * offset)
        while reach < half:
            # No further than reach + 1, or pixels near the left and right ends would fall out and leave gaps.
            step = min(half - reach, reach + 1, _WORD - 1)
            run = run | _east(run, step) | _west(run, step)
            reach += step
        if offset < height:
            dilated[..., offset:, :] |= run[..., : height - offset, :]
            if offset:
                dilated[..., : height - offset, :] |= run[..., offset:, :]
    return dilated


def _count_pixels(words: Words) -> int:
    if hasattr(np, "bitwise_count"):
        return int(np.bitwise_count(words).sum(dtype=np.int64))
    return int(_BITS_OF_BYTE[np.ascontiguousarray(words).view(np.uint8)].sum(dtype=np.int64))
