"""COCO's run-length encoding of masks: column-major runs, and the compressed string that its tools read."""

from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from vsalient.errors import DataError
from vsalient.types import MaskArray

Runs = NDArray[np.int64]
"""Lengths of alternating runs in column-major order; the first counts background and may be 0."""


class Rle(TypedDict):
    """A mask as COCO writes it: `size` is [height, width], `counts` the compressed string."""

    size: list[int]
    counts: str


def encode(mask: MaskArray) -> Rle:
    """Return the compressed encoding of an (H, W) bool mask."""
    return {"size": [int(mask.shape[0]), int(mask.shape[1])], "counts": compress(runs_of(mask))}


def decode(rle: Rle) -> MaskArray:
    """Return the (H, W) bool mask of an encoding.

    Raises:
        DataError: the string is broken or its runs do not fill the size.
    """
    height, width = rle["size"]
    runs = decompress(rle["counts"])
    if (runs < 0).any() or int(runs.sum()) != height * width:
        raise DataError(f"Run-length string covers {int(runs.sum())} pixels, not {height}x{width}; it is damaged.")
    values = np.arange(len(runs)) % 2 == 1
    mask: MaskArray = np.repeat(values, runs).reshape(width, height).T
    return mask


def runs_of(mask: MaskArray) -> Runs:
    """Return the run lengths of an (H, W) bool mask."""
    flat = np.ravel(mask, order="F")
    if flat.size == 0:
        return np.zeros(0, dtype=np.int64)
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    runs = np.diff(np.concatenate([[0], edges, [flat.size]]))
    return np.concatenate([[0], runs]) if flat[0] else runs


def compress(runs: Runs) -> str:
    """Return COCO's string of run lengths.

    From the fourth run on, a run is written as its difference to the one two before it. A number is cut
    into 5-bit groups, the lowest first, with a sixth bit on all but the last and the sign in the last
    group's top bit; 48 is added to make each a printable character.
    """
    values = runs.copy()
    values[3:] -= runs[1:-2]
    text = bytearray()
    for value in values.tolist():
        while True:
            group = value & 0x1F
            value >>= 5
            done = value == -1 if group & 0x10 else value == 0
            text.append(group + (48 if done else 80))
            if done:
                break
    return text.decode("ascii")


def decompress(text: str) -> Runs:
    """Return the run lengths of COCO's string.

    Raises:
        DataError: a character is out of range, or the string ends within a number.
    """
    runs: list[int] = []
    value = shift = 0
    for character in text:
        group = ord(character) - 48
        if not 0 <= group < 64:
            raise DataError(f"Run-length string has the character {character!r}, which COCO's code does not use.")
        value |= (group & 0x1F) << shift
        shift += 5
        if group & 0x20:
            continue
        if group & 0x10:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    if shift:
        raise DataError("Run-length string ends in the middle of a number; it is cut off.")
    return np.array(runs, dtype=np.int64)
