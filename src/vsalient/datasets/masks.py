"""What the values of a ground-truth picture mean: one rule, for evaluation, segmentation and training alike.

| picture | object | void |
|---|---|---|
| palette | every label above 0 | 255 |
| grey, one value beside 0, or 0 and 255 | every value above 0 | - |
| grey, few values, none of them a blend of its neighbours | every value above 0: a label map | - |
| grey, edges blended between 0 and 255 (anti-aliased, resized), or JPEG | above 128 | - |
| grey, many values that are no blends, or that never exceed 128 | refused: neither labels nor a mask | - |
| colours on black, or on white | every other colour: a label map | - |

A *soft* truth (probability × 255) is none of these. Its source declares it; nothing here guesses it from the values.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from vsalient.datasets.pictures import Picture, decode_picture, grey8, read_file
from vsalient.errors import DataError
from vsalient.types import MaskArray

PixelValues = Literal["auto", "gray", "labels"]
"""What a picture's values mean: "auto" goes by the table above, "gray" cuts above 128, "labels" takes all above 0."""
Backdrop = Literal["black", "white"]

FOREGROUND_ABOVE = 128
"""Grey ground truth is foreground strictly above this value, as in PySODMetrics."""
VOID_LABEL = 255
"""The palette index that marks pixels to leave out (PASCAL VOC, DAVIS)."""
_MOST_LABELS = 16
"""More different grey values than this are shades, not labels."""


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """Ground truth of one frame.

    Attributes:
        mask: (H, W) bool, True where an object is.
        void: (H, W) bool, pixels to leave out; None where there are none.
    """

    mask: MaskArray
    void: MaskArray | None = None


def decode_truth(
    data: bytes,
    where: object,
    *,
    values: PixelValues = "auto",
    void_value: int | None = None,
    background: Backdrop | None = None,
) -> Truth:
    """Read a ground-truth file's bytes as `truth_of` does.

    Raises:
        DecodeError, DataError: as `decode_picture` and `truth_of`.
    """
    picture = decode_picture(data, where)
    return truth_of(picture, where, values=values, void_value=void_value, background=background)


def read_truth(
    paths: tuple[Path, ...],
    values: PixelValues = "auto",
    void_value: int | None = None,
    background: Backdrop | None = None,
) -> Truth:
    """Return the ground truth of one frame, the union of its objects' files (usually one).

    `background` is that of the `.ppm` files of a data set that writes them on white (FBMS); other files are on black.

    Raises:
        InputError: a file cannot be read, or is no picture.
        DataError: as `truth_of`, or the objects' files differ in size.
    """
    truths = [
        decode_truth(
            read_file(path),
            path,
            values=values,
            void_value=void_value,
            background=background if path.suffix.lower() == ".ppm" else None,
        )
        for path in paths
    ]
    first = truths[0]
    for path, other in zip(paths[1:], truths[1:], strict=True):
        if other.mask.shape != first.mask.shape:
            raise DataError(f"{path} has another size than {paths[0]}; the objects of a frame must have one size")
    if len(truths) == 1:
        return first
    mask: MaskArray = np.logical_or.reduce([truth.mask for truth in truths])
    voids = [truth.void for truth in truths if truth.void is not None]
    void = np.logical_or.reduce(voids) & ~mask if voids else None
    return Truth(mask, void)


def read_map(path: Path, values: PixelValues = "auto") -> NDArray[np.uint8]:
    """Return an (H, W) uint8 saliency map; palette labels (and gray ones, on request) become 0 and 255.

    Raises:
        InputError: the file cannot be read, or is no picture.
        DataError: it is a colour picture.
    """
    picture = decode_picture(read_file(path), path)
    if not picture.colour and (picture.indexed or values == "labels"):
        return (picture.pixels > 0).astype(np.uint8) * np.uint8(255)
    return grey8(picture, path)


def read_points(path: Path) -> MaskArray:
    """Return (H, W) bool fixation points: whatever is above 0.

    Raises:
        InputError, DataError: as `read_map`.
    """
    return read_map(path, "labels") > 0


def decode_soft(data: bytes, where: object) -> NDArray[np.uint8]:
    """Read a map that its source declares soft: (H, W) uint8, probability × 255, whatever its values are.

    Raises:
        DecodeError: it is no picture, or damaged.
        DataError: it is a colour picture or holds palette labels.
    """
    return grey8(decode_picture(data, where), where)


def truth_of(
    picture: Picture,
    where: object,
    *,
    values: PixelValues = "auto",
    void_value: int | None = None,
    background: Backdrop | None = None,
) -> Truth:
    """What is object and what is void in a ground-truth picture.

    Args:
        picture: the decoded file.
        where: its path or name, for messages.
        values: see `PixelValues`.
        void_value: a grey value or label that marks pixels to leave out, beside 255 in palettes.
        background: the background's colour, where the data set's format says so; None finds it: black, or white
            where no black is.

    Raises:
        DataError: values that are neither labels nor a mask, or colours on an unknown background.
    """
    pixels = picture.pixels
    if background == "white" and not _has_white(picture):
        background = None
    if picture.colour:
        return Truth(_coloured(pixels, where, background))
    void: MaskArray | None = None if void_value is None else pixels == void_value
    if picture.indexed:
        edge = pixels == VOID_LABEL
        # A file that is read as labels on request may well say 255 for its one object.
        if values != "labels" or bool(((pixels > 0) & ~edge).any()):
            void = edge if void is None else void | edge
        mask = pixels > 0
    elif values == "labels":
        mask = pixels > 0
    elif values == "gray":
        level = grey8(picture, where)
        mask = level > (FOREGROUND_ABOVE if level.max(initial=0) > 1 else 0)
    else:
        if background == "white":
            pixels = np.iinfo(pixels.dtype).max - pixels
        if void is not None:
            pixels = np.where(void, 0, pixels).astype(pixels.dtype)
        mask = _grey_mask(pixels, where, lossy=picture.lossy)
    if void is None or not bool(void.any()):
        return Truth(np.asarray(mask, np.bool_))
    return Truth(np.asarray(mask & ~void, np.bool_), void)


def _has_white(picture: Picture) -> bool:
    white = picture.pixels == 255
    return bool((white.all(axis=2) if picture.colour else white).any())


def _coloured(pixels: NDArray[np.uint8], where: object, background: Backdrop | None) -> MaskArray:
    black, white = (pixels == 0).all(axis=2), (pixels == 255).all(axis=2)
    if background is None:
        if bool(black.any()) == bool(white.any()):
            raise DataError(
                f"{where} is a colour picture whose background is neither black nor white alone; give palette or gray "
                "masks, or name the data set it belongs to"
            )
        background = "black" if bool(black.any()) else "white"
    return np.asarray(~(white if background == "white" else black), np.bool_)


def _grey_mask(pixels: NDArray[Any], where: object, *, lossy: bool) -> MaskArray:
    counts = np.bincount(pixels.ravel(), minlength=256)
    levels = np.flatnonzero(counts)
    scale = 257 if pixels.dtype == np.uint16 and levels[-1] > 255 else 1
    if len(levels) <= 1 or (len(levels) == 2 and levels[0] == 0):
        return np.asarray(pixels > 0, np.bool_)
    blended = lossy or _blended(pixels, levels)
    if not blended and len(levels) <= _MOST_LABELS:
        return np.asarray(pixels > 0, np.bool_)
    if not blended or levels[-1] <= FOREGROUND_ABOVE * scale:
        raise DataError(
            f"{where} has {len(levels)} gray values up to {levels[-1]}: neither labels nor a mask of 0 and 255; "
            "write masks, or declare its source soft where the values are probabilities"
        )
    return np.asarray(pixels > FOREGROUND_ABOVE * scale, np.bool_)


def _blended(pixels: NDArray[Any], levels: NDArray[np.intp]) -> bool:
    """Whether the values between 0 and 255 are edges, made by interpolation, and not labels.

    A blend lies between a darker and a lighter pixel near it; the inside of a labelled region does not. One pixel in
    four may be odd, as the ends of thin things are.
    """
    low, top, block = int(levels[0]), int(levels[-1]), np.ones((5, 5), np.uint8)
    if len(levels) <= _MOST_LABELS and (low != 0 or top not in (255, 65535)):
        return False
    between = (pixels > low) & (pixels < top)
    for level in levels[1:-1]:
        # What JPEG left beside edges, kept in a format without loss: nearly black or white, and never a region.
        if (level <= low + 8 or level >= top - 8) and not cv2.erode((pixels == level).astype(np.uint8), block).any():
            between &= pixels != level
    explained = (cv2.erode(pixels, block) < pixels) & (cv2.dilate(pixels, block) > pixels)
    return int((between & ~explained).sum()) * 4 <= int(between.sum())
