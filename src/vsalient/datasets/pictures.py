"""Decode the pictures that data sets keep maps and masks in, without losing what their values may mean.

What the values stand for is decided in `vsalient.datasets.masks`; here a file becomes numbers.
"""

import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from vsalient.errors import DataError, DecodeError, InputError

_MOST_PIXELS = 1 << 27
"""A header that promises more than 16k by 8k is a mistake or a trap."""
# What Pillow merely warns of (sizes, damaged tags) is either refused here or of no matter to the values.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
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
    # Pillow, though OpenCV is an eighth faster at 480p: of a damaged file its libraries speak on stderr by themselves.
    lossy = data[:3] == b"\xff\xd8\xff" or (data[8:12] == b"WEBP" and b"VP8L" not in data[12:64])
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.width * image.height > _MOST_PIXELS:
                raise DataError(f"{where} says that it is {image.width}x{image.height}; that is no map")
            image.load()
            if image.mode in ("P", "PA"):
                return _from_palette(image)
            return Picture(plain_pixels(_values(image), where), lossy=lossy)
    except DataError:
        raise
    except Exception as error:  # decoders raise whatever a crafted file makes them trip over
        reason = "it is no picture" if isinstance(error, UnidentifiedImageError) else str(error) or type(error).__name__
        line = " ".join(reason.split())
        raise DecodeError(f"{where} cannot be decoded: {line}; write it again or leave it out") from error


def _values(image: Image.Image) -> NDArray[Any]:
    if image.mode in ("1", "L", "LA", "La"):
        return np.asarray(image.convert("L"))
    if image.mode in ("I;16", "I;16B", "I;16L", "I", "F"):
        pixels = np.asarray(image)
        if pixels.dtype.kind in "iu" and pixels.size and pixels.min() >= 0 and pixels.max() <= 65535:
            return pixels.astype(np.uint16)
        return pixels
    return np.asarray(image.convert("RGB"))


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


def plain_pixels(pixels: NDArray[Any], where: object) -> NDArray[Any]:
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
