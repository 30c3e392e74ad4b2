"""From boxes to the window that is cut out of every frame."""

from dataclasses import dataclass
from fractions import Fraction

import cv2
import numpy as np
from numpy.typing import NDArray

from vsalient.errors import OptionError
from vsalient.reframe.boxes import Boxes
from vsalient.reframe.path import follow
from vsalient.types import Pixels, VideoInfo

_ROOM = 0.04
"""Room left around the object, as a share of the window, where there is any."""


def parse_aspect(text: str) -> Fraction:
    """Read "9:16" or "1.85".

    Raises:
        OptionError: it is no shape of a picture: 1:10 to 10:1.
    """
    width, colon, height = text.partition(":")
    try:
        aspect = Fraction(width.strip()) / Fraction(height.strip()) if colon else Fraction(width.strip())
    except (ValueError, ZeroDivisionError):
        aspect = Fraction(0)
    if not Fraction(1, 10) <= aspect <= 10:
        raise OptionError(f"--aspect '{text}' makes no sense: give WIDTH:HEIGHT from 1:10 to 10:1, such as 9:16")
    return aspect


@dataclass(frozen=True, slots=True)
class Window:
    """The size of what is cut out, in whole even pixels of the frame."""

    width: int
    height: int

    @classmethod
    def of(cls, info: VideoInfo, aspect: Fraction) -> "Window":
        """The largest window of this aspect, pixels not square taken into account.

        Raises:
            OptionError: the film is too small for it.
        """
        stored = aspect / info.pixel_aspect
        height = min(Fraction(info.height), info.width / stored)
        size = (2 * round(height * stored / 2), 2 * round(height / 2))
        width, tall = (
            min(side, whole - whole % 2) for side, whole in zip(size, (info.width, info.height), strict=True)
        )
        if width < 16 or tall < 16:
            raise OptionError(f"{info.path} is {info.width}x{info.height}: too small for --aspect {aspect}")
        return cls(width, tall)


def window_path(boxes: Boxes, info: VideoInfo, window: Window) -> NDArray[np.float64]:
    """Where the window's left and top edges are in every frame, (T, 2), in pixels and parts of them."""
    edges = boxes.steady()
    places = np.empty((len(edges), 2))
    places[:] = ((info.width - window.width) / 2, (info.height - window.height) / 2)
    for axis, (side, whole) in enumerate(((window.width, info.width), (window.height, info.height))):
        if side >= whole:
            continue
        for begin, end in boxes.shots():
            near, far = edges[begin:end, axis], edges[begin:end, axis + 2]
            if np.isnan(near).all():
                continue
            middle = np.clip((near + far - side) / 2, 0, whole - side)
            room = np.minimum(_ROOM * side, np.maximum(0, (side - (far - near)) / 2))
            low, high = np.clip(far + room - side, 0, whole - side), np.clip(near - room, 0, whole - side)
            # An object larger than the window: the window is within it, or where it has most of it.
            low, high = np.minimum(low, high), np.maximum(low, high)
            larger = far - near > side
            low, high = np.where(larger, middle, low), np.where(larger, middle, high)
            places[begin:end, axis] = np.clip(follow(low, high, middle), 0, whole - side)
    return places


def cut_window(pixels: Pixels, window: Window, left: float, top: float) -> Pixels:
    """Cut a window at parts of a pixel, so that slow moves do not jump; (height, width, 3)."""
    move = np.array([[1, 0, left], [0, 1, top]], np.float64)
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    size = (window.width, window.height)
    return np.asarray(cv2.warpAffine(pixels, move, size, flags=how, borderMode=cv2.BORDER_REPLICATE), np.uint8)
