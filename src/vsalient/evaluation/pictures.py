"""Gray videos and pictures as maps and ground truth; what their values mean is in `vsalient.datasets.masks`."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from vsalient.datasets.masks import PixelValues, Truth, truth_of
from vsalient.datasets.pictures import Picture, grey8, plain_pixels
from vsalient.metrics.arrays import Map8


def truth_of_map(pixels: Map8, where: object, values: PixelValues = "auto", void_value: int | None = None) -> Truth:
    """Return the ground truth in a gray video frame; video codecs blur, so its values are never labels unasked."""
    return truth_of(Picture(pixels, lossy=True), where, values=values, void_value=void_value)


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
            yield grey8(Picture(plain_pixels(frame.pixels, path)), path)
