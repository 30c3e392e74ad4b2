"""Pictures as sources: a folder of frames, a still, an animation (GIF, APNG, WebP)."""

import itertools
import logging
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, ImageSequence, UnidentifiedImageError

from vsalient.errors import DecodeError, InputError, OptionError
from vsalient.media.source import Source, check_range, empty_range
from vsalient.types import Frame, Pixels, VideoInfo

log = logging.getLogger(__name__)

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})
"""Files that make a frame folder."""
ANIMATION_SUFFIXES = frozenset({".gif", ".apng", ".webp", ".png"})
"""Files that Pillow may find several pictures in."""
DEFAULT_RATE = Fraction(25)
"""Frames a second of a folder of frames, which has no clock of its own."""

_EXIF_ORIENTATION = 0x0112
_MILLISECOND = Fraction(1, 1000)
_PILLOW_ERRORS = (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError, EOFError)


def natural_key(path: Path) -> tuple[tuple[int, int, str], ...]:
    """Sort key in which frame 2 comes before frame 10; ties between 02 and 2 go by the text."""
    parts = re.split(r"(\d+)", path.name)
    return tuple((0, int(p), p) if p.isdecimal() else (1, 0, p.casefold()) for p in parts if p)


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


def _read(path: Path) -> Pixels:
    with Image.open(path) as image:
        return to_rgb(image)


class FrameFolder(Source):
    """The pictures of one folder in natural order, as frames at a fixed rate.

    A picture that cannot be read comes as a repeat of the last good one (of the next one when none came before) with
    `corrupt=True`.

    Args:
        path: the folder.
        rate: frames a second.
        start: seconds; earlier frames are left out.
        end: seconds; frames at or after it are left out.

    Raises:
        InputError: no pictures, none in the range, or (while reading) a picture of another size.
        DecodeError: no picture can be read.
    """

    def __init__(
        self, path: Path, *, rate: Fraction = DEFAULT_RATE, start: float | None = None, end: float | None = None
    ) -> None:
        check_range(start, end)
        if rate <= 0:
            raise OptionError(f"rate {rate} is not positive; give frames a second, such as 25.")
        files = list_images(path)
        if not files:
            raise InputError(f"{path} holds no pictures ({', '.join(sorted(IMAGE_SUFFIXES))}).")
        self._time_base = 1 / rate
        duration = len(files) / float(rate)
        numbered = [
            (number, file)
            for number, file in enumerate(files)
            if (start is None or number / rate >= start) and (end is None or number / rate < end)
        ]
        if not numbered:
            raise empty_range(path, start, end, duration)
        first = next((pixels for _, file in numbered if (pixels := self._try(file)) is not None), None)
        if first is None:
            raise DecodeError(f"{path}: not one picture could be read; the files are damaged.")
        self._path, self._files, self._size = path, numbered, first.shape
        # a.png beside a.jpg: their maps must not take each other's name.
        self._in_full = len({file.stem for file in files}) < len(files)
        self.corrupt_frames = 0
        self._stand_in = first
        self._indices = itertools.count()
        self._rest = iter(numbered)
        self.info = VideoInfo(
            path=path,
            width=first.shape[1],
            height=first.shape[0],
            rate=rate,
            time_base=self._time_base,
            codec="images",
            color_space="rgb",
            full_range=True,
            frames_estimate=len(numbered),
            duration=duration,
        )

    def __iter__(self) -> Iterator[Frame]:
        for number, file in self._rest:
            pixels = self._try(file)
            corrupt = pixels is None
            if pixels is None:
                self.corrupt_frames += 1
                pixels = self._stand_in
            if pixels.shape != self._size:
                height, width = pixels.shape[:2]
                raise InputError(
                    f"{file} is {width}x{height}, the pictures before it are {self.info.width}x{self.info.height}; "
                    "all frames of a folder must have one size."
                )
            self._stand_in = pixels
            name = file.name if self._in_full else file.stem
            yield Frame(pixels, next(self._indices), number, self._time_base, corrupt=corrupt, name=name)

    def close(self) -> None:
        """Let go of the files."""
        self._rest = iter(())

    @staticmethod
    def _try(file: Path) -> Pixels | None:
        try:
            return _read(file)
        except (*_PILLOW_ERRORS, DecodeError) as error:
            log.warning("%s cannot be read (%s).", file, error)
            return None


class ImageSource(Source):
    """One picture file: a still as a single frame, an animation with its own times in milliseconds.

    Raises:
        InputError: no such file, or no frame in the range.
        DecodeError: not a picture that Pillow reads.
    """

    def __init__(self, path: Path, *, start: float | None = None, end: float | None = None) -> None:
        check_range(start, end)
        if not path.exists():
            raise InputError(f"{path} does not exist; check the name.")
        self._path, self._start, self._end = path, start, end
        self.corrupt_frames = 0
        self._image = _open_image(path)
        self._count = count = getattr(self._image, "n_frames", 1)
        try:
            frames = self._deliver()
            first = next(frames, None)
        except (*_PILLOW_ERRORS, DecodeError) as error:
            self.close()
            raise DecodeError(f"{path} cannot be read ({error}).") from None
        if first is None:
            self.close()
            raise empty_range(path, start, end, None)
        self.info = VideoInfo(
            path=path,
            width=first.pixels.shape[1],
            height=first.pixels.shape[0],
            rate=None if count == 1 else Fraction(1000, _milliseconds(self._image)),
            time_base=_MILLISECOND,
            codec="images",
            color_space="rgb",
            full_range=True,
            frames_estimate=count,
        )
        self._frames = itertools.chain([first], frames)

    def __iter__(self) -> Iterator[Frame]:
        try:
            yield from self._frames
        except _PILLOW_ERRORS as error:
            self.cut_short = True
            log.warning("%s ends early (%s). What is there was read.", self._path, error)

    def close(self) -> None:
        """Let go of the files."""
        self._image.close()

    def _deliver(self) -> Iterator[Frame]:
        pts = 0
        indices = itertools.count()
        name = self._path.stem if self._count == 1 else None
        for image in ImageSequence.Iterator(self._image):
            seconds = pts / 1000
            if self._end is not None and seconds >= self._end:
                return
            if self._start is None or seconds >= self._start:
                yield Frame(to_rgb(image), next(indices), pts, _MILLISECOND, name=name)
            pts += _milliseconds(image)


def _open_image(path: Path) -> Image.Image:
    try:
        return Image.open(path)
    except _PILLOW_ERRORS:
        reason = "it is empty" if path.is_file() and path.stat().st_size == 0 else "its content is not a picture"
        raise DecodeError(f"{path} cannot be read as a picture: {reason}.") from None


def _milliseconds(image: Image.Image) -> int:
    """How long one picture of an animation stands; 100 ms when it does not say, as browsers have it."""
    duration: Any = image.info.get("duration", 0)
    return max(1, round(duration)) if duration else 100


def list_images(folder: Path) -> list[Path]:
    """The pictures right inside `folder`, in natural order; hidden files do not count."""
    files = (p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith("."))
    return sorted((p for p in files if p.is_file()), key=natural_key)
