"""Pictures as sources: a folder of frames, a still, an animation (GIF, APNG, WebP)."""

import itertools
import logging
import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from PIL import Image, ImageSequence

from vsalient.datasets.names import Key, natural
from vsalient.errors import DecodeError, InputError, MissingDependencyError, OptionError
from vsalient.media.picture import FILM_SUFFIXES, IMAGE_SUFFIXES, PICTURE_ERRORS, open_picture, read_picture, to_rgb
from vsalient.media.source import Source, check_range, empty_range
from vsalient.types import Frame, Pixels, VideoInfo

log = logging.getLogger(__name__)

ANIMATION_SUFFIXES = frozenset({".gif", ".apng", ".webp", ".png", ".avif", ".avifs"})
"""Files that Pillow may find several pictures in."""
DEFAULT_RATE = Fraction(25)
"""Frames a second of a folder of frames, which has no clock of its own."""

_NUMBER = re.compile(r"%0?(\d{0,2})d")
_MILLISECOND = Fraction(1, 1000)


def natural_key(path: Path) -> Key:
    """Sort key by a path's last part, in natural order."""
    return natural(path.name)


class FrameFolder(Source):
    """The pictures of one folder in natural order, as frames at a fixed rate.

    A picture that cannot be read comes as a repeat of the last good one (of the next one when none came before) with
    `corrupt=True`.

    Args:
        path: the folder.
        rate: frames a second.
        start: seconds; earlier frames are left out.
        end: seconds; frames at or after it are left out.
        files: the pictures, in order; those of the folder when None.

    Raises:
        InputError: no pictures, none in the range, or (while reading) a picture of another size.
        DecodeError: no picture can be read.
    """

    def __init__(
        self,
        path: Path,
        *,
        rate: Fraction = DEFAULT_RATE,
        start: float | None = None,
        end: float | None = None,
        files: Sequence[Path] | None = None,
    ) -> None:
        check_range(start, end)
        if rate <= 0:
            raise OptionError(f"rate {rate} is not positive; give frames a second, such as 25.")
        files = list_images(path) if files is None else list(files)
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
        read = ((file, self._try(file)) for _, file in numbered)
        found = next(((file, pixels) for file, pixels in read if pixels is not None), None)
        if found is None:
            raise DecodeError(f"{path}: not one picture could be read; the files are damaged.")
        first = found[1]
        self._first: tuple[Path, Pixels] | None = found  # not to be read twice
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
            pixels = self._known(file)
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
            yield Frame(pixels, next(self._indices), number, self._time_base, corrupt=corrupt, name=name, duration=1)

    def _known(self, file: Path) -> Pixels | None:
        """A picture's pixels; what was in vain until the first good one was found is not tried again."""
        if self._first is None:
            return self._try(file)
        known, pixels = self._first
        if file != known:
            return None
        self._first = None
        return pixels

    def close(self) -> None:
        """Let go of the files."""
        self._rest = iter(())

    @staticmethod
    def _try(file: Path) -> Pixels | None:
        try:
            return read_picture(file)
        except MissingDependencyError:
            raise
        except (*PICTURE_ERRORS, DecodeError) as error:
            log.warning("%s cannot be read (%s).", file, error)
            return None


class ImageSource(Source):
    """One picture file: a still as a single frame, an animation (of Pillow's) with its own times in milliseconds.

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
        try:
            self._count = count = getattr(self._image, "n_frames", 1)
            frames = self._deliver()
            first = next(frames, None)
        except (*PICTURE_ERRORS, DecodeError) as error:
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
        except PICTURE_ERRORS as error:
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
                # Looked up after the pixels: some formats say how long a picture stands only with them.
                pixels = to_rgb(image)
                stands = _milliseconds(image) if self._count > 1 else None
                yield Frame(pixels, next(indices), pts, _MILLISECOND, name=name, duration=stands)
            pts += _milliseconds(image)


def _open_image(path: Path) -> Image.Image:
    try:
        if path.suffix.lower() in FILM_SUFFIXES:
            return Image.fromarray(read_picture(path))
        return open_picture(path)
    except PICTURE_ERRORS:
        reason = "it is empty" if path.is_file() and path.stat().st_size == 0 else "its content is not a picture"
        raise DecodeError(f"{path} cannot be read as a picture: {reason}.") from None


def _milliseconds(image: Image.Image) -> int:
    """How long one picture of an animation stands; 100 ms when it does not say, as browsers have it."""
    duration: Any = image.info.get("duration", 0)
    return max(1, round(duration)) if duration else 100


def numbered(pattern: Path) -> list[Path]:
    """The pictures that a name such as `frame%05d.png` stands for, in the order of their numbers; none for other names.

    The number may have any digits from as many on as the pattern asks for, as FFmpeg has it.
    """
    match = _NUMBER.search(pattern.name)
    if match is None or not pattern.parent.is_dir():
        return []
    least = int(match[1] or 1)
    before, after = re.escape(pattern.name[: match.start()]), re.escape(pattern.name[match.end() :])
    name = re.compile(f"{before}([0-9]{{{least},}}){after}")
    found = [(int(hit[1]), file) for file in pattern.parent.iterdir() if (hit := name.fullmatch(file.name))]
    return [file for _, file in sorted(found) if file.is_file()]


def list_images(folder: Path) -> list[Path]:
    """The pictures right inside `folder`, in natural order; hidden files do not count."""
    files = (p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith("."))
    return sorted((p for p in files if p.is_file()), key=natural_key)
