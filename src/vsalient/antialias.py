"""PyTorch's bilinear, antialiased resizing of 8-bit pictures, to the bit, in NumPy: for programs without PyTorch.

Each direction by itself, across first, with triangular weights as wide as the step, in 16-bit integers, and rounded to
8 bits in between (`aten/src/ATen/native/cpu/UpSampleKernel.cpp`).
"""

import numpy as np
from numpy.typing import NDArray

Channels = NDArray[np.uint8]


def resize(pixels: Channels, size: tuple[int, int]) -> Channels:
    """(H, W, C) uint8 → (h, w, C) uint8, `size` = (h, w)."""
    return _along(_along(pixels, 1, size[1]), 0, size[0])


def _along(pixels: Channels, axis: int, length: int) -> Channels:
    if pixels.shape[axis] == length:
        return pixels
    places, weights, bits = _taps(pixels.shape[axis], length)
    shape = [1] * pixels.ndim
    shape[axis] = length
    total = np.full(1, 1 << (bits - 1), np.int32)  # rounds to nearest
    for place, weight in zip(places.T, weights.T, strict=True):
        total = total + np.take(pixels, place, axis).astype(np.int32) * weight.reshape(shape)
    return np.clip(total >> bits, 0, 255).astype(np.uint8)


def _taps(source: int, length: int) -> tuple[NDArray[np.int64], NDArray[np.int32], int]:
    """For each of `length` outputs the inputs it is made of, their weights (outputs, taps), and the weights' bits."""
    step = source / length
    reach = max(step, 1.0)
    centres = step * (np.arange(length) + 0.5)
    first = np.maximum((centres - reach + 0.5).astype(np.int64), 0)
    end = np.minimum((centres + reach + 0.5).astype(np.int64), source)
    places = first[:, None] + np.arange((end - first).max())
    shares = np.maximum(0.0, 1 - np.abs((places - centres[:, None] + 0.5) / reach))
    shares[places >= end[:, None]] = 0
    shares /= shares.sum(axis=1, keepdims=True)
    bits = 0
    while bits < 22 and int(0.5 + shares.max() * (1 << (bits + 1))) < 1 << 15:
        bits += 1
    return np.minimum(places, source - 1), (shares * (1 << bits) + 0.5).astype(np.int32), bits
