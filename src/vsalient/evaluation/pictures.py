"""Read maps and masks from pictures and gray videos, and say what their values mean.

Gray pictures hold values 0..255: ground truth is foreground above 128. Palette pictures hold labels, as DAVIS writes
them: 0 is background, 255 void, everything else an object.
"""

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from vsalient.errors import DataError, DecodeError, InputError
from vsalient.metrics.arrays import TRUTH_ABOVE, Map8, Mask

Values = Literal["auto", "gray", "labels"]

VOID_LABEL = 255
_PNG = b"\x89PNG"
_COLOUR_NOISE = 24
"""Channels of a gray picture that went through JPEG or a video codec differ by less than this."""


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A decoded file.

    Attributes:
        pixels: (H, W) uint8 gray values or labels.
        labels: whether the values are labels.
    """

    pixels: Map8
    labels: bool


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """Ground truth of one frame.

    Attributes:
        mask: (H, W) bool.
        void: (H, W) bool pixels to leave out, or None.
        highest: largest gray value seen, 255 for labels; tells masks stored as 0/1 from real ones.
    """

    mask: Mask
    void: Mask | None
    highest: int


def read_picture(path: Path, values: Values = "auto") -> Picture:
    """Decode a gray or palette picture.

    Raises:
        InputError: the file cannot be read.
        DecodeError: it is no picture, or damaged.
        DataError: it is a colour picture.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    # Byte 25 of a PNG is its colour type; 3 is a palette, which OpenCV would turn into colours. Of a damaged file,
    # OpenCV's libraries would speak on stderr by themselves; Pillow raises.
    if data[:4] == _PNG and (data[25:26] == b"\x03" or not _is_whole(data)):
        return _read_with_pillow(data, path, values)
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    if pixels is None:
        return _read_with_pillow(data, path, values)
    return Picture(_to_gray(pixels, path), values == "labels")


def read_map(path: Path, values: Values = "auto") -> Map8:
    """Return an (H, W) uint8 saliency map; labels become 0 and 255."""
    picture = read_picture(path, values)
    return (picture.pixels > 0).astype(np.uint8) * np.uint8(255) if picture.labels else picture.pixels


def read_truth(paths: tuple[Path, ...], values: Values = "auto", void_value: int | None = None) -> Truth:
    """Return the ground truth of one frame, the union of its objects' files.

    Args:
        paths: usually one file.
        values: what pixel values mean; "auto" trusts palettes to be labels.
        void_value: a value that marks pixels to leave out, besides 255 in labels.
    """
    truths = [_truth_of(read_picture(path, values), values, void_value) for path in paths]
    first = truths[0]
    for path, other in zip(paths[1:], truths[1:], strict=True):
        if other.mask.shape != first.mask.shape:
            raise DataError(f"{path} has another size than {paths[0]}; the objects of a frame must have one size")
    if len(truths) == 1:
        return first
    mask = np.logical_or.reduce([truth.mask for truth in truths])
    voids = [truth.void for truth in truths if truth.void is not None]
    void = np.logical_or.reduce(voids) & ~mask if voids else None
    return Truth(mask, void, max(truth.highest for truth in truths))


def truth_of_map(pixels: Map8, values: Values = "auto", void_value: int | None = None) -> Truth:
    """Return the ground truth in a gray video frame."""
    return _truth_of(Picture(pixels, values == "labels"), values, void_value)


def resize_map(pixels: Map8, shape: tuple[int, int]) -> Map8:
    """Resize a map to (height, width): bilinear on its 8-bit values, before any threshold."""
    resized = cv2.resize(pixels, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized, np.uint8)


class GrayVideo:
    """A gray video, read forwards once.

    Attributes:
        read: frames read so far.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._frames: Iterator[Map8] | None = None
        self.read = 0
        self._ended = False

    def get(self, index: int) -> Map8 | None:
        """Return the frame at a position not before the last one asked for; None past the end."""
        while not self._ended:
            pixels = self._advance()
            if pixels is not None and self.read - 1 == index:
                return pixels
        return None

    def rest(self) -> int:
        """Return how many frames are left, by reading them."""
        count = 0
        while self._advance() is not None:
            count += 1
        return count

    def _advance(self) -> Map8 | None:
        if self._ended:
            return None
        if self._frames is None:
            self._frames = _gray_frames(self._path)
        pixels = next(self._frames, None)
        self._ended = pixels is None
        self.read += pixels is not None
        return pixels


def count_frames(path: Path) -> int:
    """Return the number of frames of a video, by decoding it: containers' own counts cannot be trusted."""
    return sum(1 for _ in _gray_frames(path))


def _gray_frames(path: Path) -> Iterator[Map8]:
    # Here, so that folders of pictures need no video library.
    from vsalient.media import open_source

    with open_source(path) as source:
        for frame in source:
            yield _to_gray(frame.pixels, path)


def _truth_of(picture: Picture, values: Values, void_value: int | None) -> Truth:
    pixels = picture.pixels
    void = pixels == void_value if void_value is not None else None
    if picture.labels:
        mask = pixels > 0
        # A gray file read as labels on request may well say 255 for its one object.
        if values != "labels" or int(np.count_nonzero(mask & (pixels < VOID_LABEL))):
            void = pixels == VOID_LABEL if void is None else void | (pixels == VOID_LABEL)
        highest = 255
    else:
        highest = int(pixels.max())
        mask = pixels > 0 if highest == 1 else pixels > TRUTH_ABOVE
    if void is None or not bool(void.any()):
        return Truth(mask, None, highest)
    return Truth(mask & ~void, void, highest)


def _is_whole(png: bytes) -> bool:
    """Whether all chunks of a PNG are there and their checksums right."""
    at = 8
    while at + 12 <= len(png):
        length, kind = struct.unpack_from(">I4s", png, at)
        end = at + 12 + length
        if end > len(png) or zlib.crc32(png[at + 4 : end - 4]) != int.from_bytes(png[end - 4 : end], "big"):
            return False
        if kind == b"IEND":
            return True
        at = end
    return False


def _read_with_pillow(data: bytes, path: Path, values: Values) -> Picture:
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            if image.mode == "P":
                return _from_palette(image, values)
            gray = image.convert("L") if image.mode in ("1", "L", "LA") else image.convert("RGB")
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        reason = "it is no picture" if isinstance(error, UnidentifiedImageError) else str(error)
        raise DecodeError(f"{path} cannot be decoded: {reason}; write it again or leave it out") from error
    return Picture(_to_gray(np.asarray(gray), path), values == "labels")


def _from_palette(image: Image.Image, values: Values) -> Picture:
    indices = np.asarray(image)
    palette = np.array(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
    used = np.flatnonzero(np.bincount(indices.ravel(), minlength=256))
    colours = palette[used[used < len(palette)]]
    # Two values that are black and white, or a ramp of grays, are a gray picture that happens to have a palette.
    gray = len(colours) == len(used) and bool((colours == colours[:, :1]).all()) and bool((colours > 1).any())
    if values == "labels" or not gray:
        return Picture(indices, True)
    table = np.zeros(256, np.uint8)
    table[used] = colours[:, 0]
    return Picture(table[indices], False)


def _to_gray(pixels: NDArray[Any], path: Path) -> Map8:
    if pixels.dtype == np.uint16:
        pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if pixels.dtype != np.uint8:
        raise DataError(f"{path} holds {pixels.dtype} values; write maps with 8 or 16 bits a pixel")
    if pixels.ndim == 2:
        return pixels
    if pixels.shape[2] == 2:
        return np.ascontiguousarray(pixels[..., 0])
    first, second, third = pixels[..., 0], pixels[..., 1], pixels[..., 2]
    difference = max(int(cv2.absdiff(first, second).max()), int(cv2.absdiff(second, third).max()))
    if difference > _COLOUR_NOISE:
        raise DataError(f"{path} is a colour picture; give gray maps (0..255) or palette masks")
    return np.ascontiguousarray(second)
