"""One picture file to RGB: Pillow for most kinds, FFmpeg for those of film work, pillow-heif for those of phones."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from vsalient.errors import DecodeError, MissingDependencyError
from vsalient.types import Pixels

HEIF_SUFFIXES = frozenset({".heic", ".heif", ".hif"})
"""What phones save; read with the extra `heif`."""
FILM_SUFFIXES = frozenset({".exr", ".dpx"})
"""What film work saves; read with FFmpeg."""
IMAGE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".tif", ".tiff", ".avif"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".jp2", ".j2k", ".j2c", ".jpf", ".jpx"}
    | HEIF_SUFFIXES
    | FILM_SUFFIXES
)
"""Files that make a frame folder."""
PICTURE_ERRORS = (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError, EOFError)
"""What reading a damaged picture may raise in Pillow."""

_EXIF_ORIENTATION = 0x0112
_STILL_BRANDS = {b"avif", b"avis", b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1", b"MiHE", b"MiHB"}


def is_still(path: Path) -> bool:
    """Whether a file is a picture in MP4's clothes (AVIF, HEIC), whatever it is called."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        head = file.read(12)
        return head[4:8] == b"ftyp" and head[8:12] in _STILL_BRANDS
    return False


def read_picture(path: Path) -> Pixels:
    """The first picture of a file, upright.

    Raises:
        DecodeError: a kind of picture with no defined brightness.
        MissingDependencyError: HEIC without the extra that reads it.
        Exception: one of `PICTURE_ERRORS`.
    """
    if path.suffix.lower() in FILM_SUFFIXES:
        return _read_film(path)
    with open_picture(path) as image:
        return to_rgb(image)


def open_picture(path: Path) -> Image.Image:
    """A file as Pillow has it, with HEIC where that can be read.

    Raises:
        MissingDependencyError: HEIC without the extra that reads it.
        Exception: one of `PICTURE_ERRORS`.
    """
    if path.suffix.lower() in HEIF_SUFFIXES or is_still(path):
        _know_heif(path)
    return Image.open(path)


def _know_heif(path: Path) -> None:
    with path.open("rb") as file:
        if file.read(12)[8:12] in (b"avif", b"avis"):
            return  # Pillow reads these itself
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        raise MissingDependencyError(
            f"{path} is a HEIC picture, which needs one more package: pip install 'vsalient[heif]', or save it as JPEG."
        ) from None
    register_heif_opener()


def to_rgb(image: Image.Image) -> Pixels:
    """A Pillow image as upright (H, W, 3) uint8: EXIF orientation applied, 16 bits scaled to 8, alpha over black.

    Raises:
        DecodeError: a kind of picture with no defined brightness, such as floating point.
    """
    if image.getexif().get(_EXIF_ORIENTATION, 1) != 1:
        image = ImageOps.exif_transpose(image)
    if image.mode == "F":
        raise DecodeError("it holds floating-point values; save it as 8 or 16 bits")
    if image.mode.startswith("I"):
        deep = np.asarray(image).astype(np.int64)
        gray = (np.clip(deep, 0, 65535) >> 8).astype(np.uint8)
        return np.repeat(gray[:, :, None], 3, axis=2)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, image)
    return np.array(image.convert("RGB"), np.uint8)


def _read_film(path: Path) -> Pixels:
    """EXR, whose values are linear light, with the curve of sRGB; DPX as it is."""
    with contextlib.ExitStack() as stack:
        try:
            container = stack.enter_context(av.open(str(path), "r", metadata_errors="replace"))
            stream = container.streams.video[0]
            if stream.codec_context.name == "exr":
                stream.codec_context.options = {"apply_trc": "iec61966_2_1"}
            frame = next(_picture_frames(container))
        except (av.FFmpegError, IndexError, StopIteration):
            raise OSError("it is not a picture that FFmpeg reads") from None
        return np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)


def _picture_frames(container: "av.container.InputContainer") -> "Iterator[av.VideoFrame]":
    yield from container.decode(video=0)
