"""What is found of a data set to train on: a sequence, its frames, and how each one's files are read."""

from collections.abc import Callable
from dataclasses import dataclass

from vsalient.datasets.masks import Backdrop

Reader = Callable[[], bytes]
"""Gives a file's bytes."""


@dataclass(frozen=True, slots=True)
class FoundPair:
    """One frame's files.

    Attributes:
        image, mask: give the bytes; a frame between labelled ones may have no mask (None).
        soft: whether the mask holds probabilities × 255, as its source says.
        more: masks of the frame's further objects, to be united.
        background: of a mask on white, where the layout says so.
    """

    image: Reader
    mask: Reader | None
    soft: bool = False
    more: tuple[Reader, ...] = ()
    background: Backdrop | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """A sequence with ground truth; a still is a sequence of one.

    Attributes:
        name: of the sequence.
        pairs: its frames in order, from the first that has a ground truth to the last.
        place: the folders it was found in, below the data set's root, from which a split may be read.
    """

    name: str
    pairs: list[FoundPair]
    place: tuple[str, ...] = ()
