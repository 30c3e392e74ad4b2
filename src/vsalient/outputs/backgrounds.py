"""What stands behind a cut-out object: a colour, a picture, a film, or the film's own ground, blurred."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np

from vsalient.errors import InputError, OptionError
from vsalient.media import Source, open_source
from vsalient.outputs.colors import parse_color
from vsalient.outputs.looks import Color
from vsalient.types import Frame, Pixels, Result


class Background(ABC):
    """Makes the picture behind the object, frame by frame, in order."""

    @abstractmethod
    def __call__(self, result: Result) -> Pixels:
        """(H, W, 3) uint8 RGB of the frame's size."""

    def close(self) -> None:  # noqa: B027
        """Let go of files."""


class Plain(Background):
    """One colour."""

    def __init__(self, color: Color) -> None:
        self._color = color
        self._made: Pixels | None = None

    def __call__(self, result: Result) -> Pixels:
        """(H, W, 3)."""
        shape = result.frame.pixels.shape
        if self._made is None or self._made.shape != shape:
            self._made = np.empty(shape, np.uint8)
            self._made[:] = self._color
        return self._made


class Blurred(Background):
    """The frame itself out of focus, with nothing of the object in it.

    Args:
        radius: standard deviation of the blur in pixels.
    """

    def __init__(self, radius: float) -> None:
        self._radius = radius

    def __call__(self, result: Result) -> Pixels:
        """(H, W, 3)."""
        pixels, cover = result.frame.pixels, result.cover
        height, width = cover.shape
        # A blur has no detail that a smaller picture could not hold.
        reduction = max(1, int(self._radius / 3))
        size = (max(1, width // reduction), max(1, height // reduction))
        small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).astype(np.float32)
        near = np.ones((3, 3), np.uint8)
        ground = 1 - cv2.dilate(np.asarray(cv2.resize(cover, size, interpolation=cv2.INTER_AREA), np.float32), near)
        ground = np.maximum(np.asarray(ground, np.float32), np.float32(1e-4))
        weighted = np.dstack([small * ground[..., None], ground])
        blurred = cv2.GaussianBlur(weighted, (0, 0), self._radius / reduction)
        mean = blurred[..., :3] / blurred[..., 3:]
        return np.asarray(cv2.resize(np.clip(mean + 0.5, 0, 255).astype(np.uint8), (width, height)), np.uint8)


class FilmBackground(Background):
    """A picture or a film that covers the frame, its middle kept; begun again where it ends, cut where it is longer.

    Args:
        path: a file that `vsalient.media` reads, or a folder of frames.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._source: Source | None = None
        self._frames: Iterator[Frame] | None = None
        self._shown: tuple[float, Pixels] | None = None
        self._next: tuple[float, Pixels] | None = None
        self._began: float | None = None  # time of the object's first frame
        self._round = 0.0  # seconds at which this round of the film began
        self._length = 0.0  # of a round, known at its end

    def __call__(self, result: Result) -> Pixels:
        """(H, W, 3)."""
        height, width = result.frame.pixels.shape[:2]
        if self._began is None:
            self._began = result.time
            self._shown = self._read(width, height)
            self._next = self._read(width, height)
        at = result.time - self._began + 1e-6
        while self._next is not None and self._next[0] <= at:
            self._shown, self._next = self._next, self._read(width, height)
        assert self._shown is not None
        return self._shown[1]

    def _read(self, width: int, height: int) -> tuple[float, Pixels] | None:
        """The film's next picture and when it is shown; None for a film of one picture, which stays."""
        for _ in range(2):
            if self._frames is None:
                self._source = open_source(self._path)
                self._frames = iter(self._source)
            frame = next(self._frames, None)
            if frame is not None:
                if frame.index == 0:
                    self._start = frame.time
                since = frame.time - self._start
                lasts = float(frame.duration * frame.time_base) if frame.duration else self._guess()
                self._length, self._count = since + lasts, frame.index + 1
                return self._round + since, cover_frame(frame.pixels, width, height)
            if self._count == 1:
                return None
            self.close()
            self._round += self._length
        raise InputError(f"{self._path} has no pictures to stand behind the object")

    def _guess(self) -> float:
        assert self._source is not None
        return 1 / float(self._source.info.rate or 25)

    def close(self) -> None:
        """Let go of the film."""
        if self._source is not None:
            self._source.close()
        self._source = self._frames = None


def cover_frame(pixels: Pixels, width: int, height: int) -> Pixels:
    """A picture scaled so that it covers a frame, its middle cut out; (height, width, 3)."""
    scale = max(width / pixels.shape[1], height / pixels.shape[0])
    size = (max(width, round(pixels.shape[1] * scale)), max(height, round(pixels.shape[0] * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    scaled = np.asarray(cv2.resize(pixels, size, interpolation=how), np.uint8)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    return np.ascontiguousarray(scaled[top : top + height, left : left + width])


def parse_background(text: str) -> Background:
    """Read "white", "#00b140", "blur:25", or the path of a picture or film, whose first picture is tried.

    Raises:
        OptionError: it is none of these, or the file cannot be read.
    """
    kind, colon, number = text.partition(":")
    if kind == "blur" and (colon or not Path(text).exists()):
        try:
            radius = float(number) if colon else 25.0
        except ValueError:
            radius = math.nan
        if not 0 < radius <= 1000:
            raise OptionError(f"--background '{text}' is no blur: give blur:PIXELS, such as blur:25")
        return Blurred(radius)
    with suppress(ValueError):
        return Plain(parse_color(text))
    path = Path(text).expanduser()
    if not path.exists():
        raise OptionError(
            f"--background '{text}' is no colour, and there is no such file: give a colour such as white or #rrggbb, "
            "blur:25, or a picture or film"
        )
    try:
        with open_source(path) as source:
            if next(iter(source), None) is None:
                raise InputError(f"{path} has no pictures")
    except InputError as error:
        raise OptionError(f"--background '{text}' cannot be read: {error}") from None
    return FilmBackground(path)
