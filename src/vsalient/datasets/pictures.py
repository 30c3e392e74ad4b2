"""Decode the pictures that data sets keep maps and masks in, without losing what their values may mean.

What the values stand for is decided in `vsalient.datasets.masks`; here a file becomes numbers.
"""

import io
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from vsalient.errors import DataError, DecodeError, InputError

_PNG = b"\x89PNG"
_COLOUR_NOISE = 24
"""Channels of a grey picture that went through JPEG or a video codec differ by less than this."""


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A decoded file.

    Attributes:
        pixels: (H, W) uint8 or uint16 grey values, (H, W) uint8 palette indices, or (H, W, 3) uint8 RGB.
        indexed: whether the pixels are palette indices, which can only be labels.
        lossy: whether the format changes values a little (JPEG, WebP), so that labels cannot be kept in it.
    """

    pixels: NDArray[Any]
    indexed: bool = False
    lossy: bool = False

    @property
    def colour(self) -> bool:
        """Whether the pixels are RGB."""
        return self.pixels.ndim == 3


def read_file(path: Path) -> bytes:
    """A file's bytes.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error


def decode_picture(data: bytes, where: object) -> Picture:
    """Decode a picture's bytes.

    Args:
        data: a whole file.
        where: its path or name, for messages.

    Raises:
        DecodeError: it is no picture, or damaged.
        DataError: its values are of a kind that neither maps nor masks have.
    """
    lossy = data[:3] == b"\xff\xd8\xff" or (data[8:12] == b"WEBP" and b"VP8L" not in data[12:64])
    # Byte 25 of a PNG is its colour type; 3 is a palette, which OpenCV would turn into colours. Of a damaged file,
    # OpenCV's libraries would speak on stderr by themselves; Pillow raises.
    if data[:4] == _PNG and (data[25:26] == b"\x03" or not _is_whole(data)):
        return _with_pillow(data, where, lossy)
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    if pixels is None:
        return _with_pillow(data, where, lossy)
    if pixels.ndim == 3:
        pixels = pixels[..., 0] if pixels.shape[2] < 3 else pixels[..., 2::-1]
    return Picture(plain(pixels, where), lossy=lossy)


def grey8(picture: Picture, where: object) -> NDArray[np.uint8]:
    """A grey picture's values on 0…255, (H, W); 16-bit ones are scaled.

    Raises:
        DataError: it is a colour picture or holds labels.
    """
    pixels = picture.pixels
    if picture.colour:
        raise DataError(f"{where} is a colour picture; give gray maps (0..255) or palette masks")
    if picture.indexed:
        raise DataError(f"{where} holds palette labels, not gray values; give a gray map (0..255)")
    if pixels.dtype == np.uint16:
        pixels = (pixels.astype(np.uint32) + 128) // 257
    return np.ascontiguousarray(pixels, np.uint8)


def plain(pixels: NDArray[Any], where: object) -> NDArray[Any]:
    """Floats as bytes, and grey where all three channels say the same."""
    if pixels.dtype.kind == "f" and pixels.size and float(pixels.min()) >= 0 and float(pixels.max()) <= 1:
        pixels = np.rint(pixels * 255).astype(np.uint8)
    if pixels.dtype not in (np.uint8, np.uint16):
        raise DataError(f"{where} holds {pixels.dtype} values; write maps with 8 or 16 bits a pixel")
    if pixels.ndim == 2:
        return pixels
    first, second, third = (np.ascontiguousarray(pixels[..., i]) for i in range(3))
    noise = _COLOUR_NOISE * (257 if pixels.dtype == np.uint16 else 1)
    if max(int(cv2.absdiff(first, second).max()), int(cv2.absdiff(second, third).max())) <= noise:
        return second
    return np.ascontiguousarray(pixels >> 8 if pixels.dtype == np.uint16 else pixels, np.uint8)


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


def _with_pillow(data: bytes, where: object, lossy: bool) -> Picture:
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            if image.mode in ("P", "PA"):
                return _from_palette(image)
            if image.mode in ("1", "L", "LA"):
                pixels = np.asarray(image.convert("L"))
            elif image.mode in ("I;16", "I;16B", "I", "F"):
                pixels = np.asarray(image)
                if pixels.dtype.kind == "i" and pixels.size and pixels.min() >= 0 and pixels.max() <= 65535:
                    pixels = pixels.astype(np.uint16)
            else:
                pixels = np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        reason = "it is no picture" if isinstance(error, UnidentifiedImageError) else str(error)
        raise DecodeError(f"{where} cannot be decoded: {reason}; write it again or leave it out") from error
    return Picture(plain(pixels, where), lossy=lossy)


def _from_palette(image: Image.Image) -> Picture:
    indices = np.asarray(image.getchannel(0) if image.mode == "PA" else image)
    palette = np.array(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
    used = np.flatnonzero(np.bincount(indices.ravel(), minlength=256))
    colours = palette[used[used < len(palette)]]
    # Two values that are black and white, or a ramp of grays, are a gray picture that happens to have a palette.
    gray = len(colours) == len(used) and bool((colours == colours[:, :1]).all()) and bool((colours > 1).any())
    if not gray:
        return Picture(indices, indexed=True)
    table = np.zeros(256, np.uint8)
    table[used] = colours[:, 0]
    return Picture(table[indices])
