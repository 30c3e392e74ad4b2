"""The outputs for editors: the object cut out by a matte, with alpha, on another ground, or as two files."""

import threading
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import cv2
import numpy as np
from numpy.typing import NDArray

from vsalient.outputs.animation import AnimationOutput
from vsalient.outputs.encodings import eight_bits, encodings
from vsalient.outputs.output import Opening, Output
from vsalient.outputs.painters import deep_pixels
from vsalient.outputs.pictures import PictureFolder
from vsalient.outputs.video import film
from vsalient.types import Pixels, Result

if TYPE_CHECKING:
    from vsalient.matte import Matte
    from vsalient.outputs.looks import Looks


class Cut:
    """Makes the matte of each result, in order; outputs that share one have each frame's made once, by the first.

    Args:
        looks: `matte` says how.
        deep: take the colours from the frames' deep pictures.
    """

    def __init__(self, looks: "Looks", *, deep: bool = False) -> None:
        from vsalient.matte import Matter

        self._matter, self._deep = Matter(looks.matte), deep
        self._scene = 0
        self._lock = threading.Lock()
        # A matte lives as long as its result: until the last output has done with it.
        self._made: WeakKeyDictionary[Result, Matte] = WeakKeyDictionary()

    @classmethod
    def of(cls, given: Opening, *, deep: bool = False) -> "Cut":
        """The one that all outputs of a run share, with colours of as many bits."""
        name = "deep cut" if deep else "cut"
        cut = given.shared.get(name)
        if not isinstance(cut, Cut):
            cut = given.shared[name] = cls(given.looks, deep=deep)
        return cut

    def __call__(self, result: Result) -> "Matte":
        """Cut out one frame."""
        with self._lock:
            if result not in self._made:
                if result.frame.scene != self._scene:
                    self._scene = result.frame.scene
                    self._matter.reset()
                deep = deep_pixels(result) if self._deep else None
                self._made[result] = self._matter(result.frame.pixels, result.cover, deep)
            return self._made[result]

    def rgba(self, result: Result) -> NDArray[Any]:
        """(H, W, 4), straight alpha; uint16 where the colours are deep."""
        return self(result).rgba()

    def alpha(self, result: Result) -> NDArray[np.uint8]:
        """(H, W) alpha alone."""
        return self(result).alpha

    def colors(self, result: Result) -> NDArray[Any]:
        """(H, W, 3) the object's own colours, reaching a little beyond it."""
        return self(result).colors


def alpha(given: Opening) -> Output:
    """The object with a transparent ground: VP9 or ProRes 4444 with the sound, or a GIF or WebP animation."""
    paint = Cut.of(given, deep=given.looks.deep).rgba
    if given.path.suffix.lower() in (".gif", ".webp"):
        return AnimationOutput(given, paint)
    return film(given, encodings("alpha", given.looks.encoding), paint)


def foreground(given: Opening) -> Output:
    """The object on another ground."""
    from vsalient.outputs.backgrounds import Plain, parse_background

    looks, cut = given.looks, Cut.of(given)
    behind = Plain(looks.background) if looks.behind is None else parse_background(looks.behind)

    def paint(result: Result) -> Pixels:
        matte = cut(result)
        cover = np.asarray(matte.alpha, np.float32) * np.float32(1 / 255)
        return np.asarray(cv2.blendLinear(matte.colors, behind(result), cover, 1 - cover), np.uint8)

    return film(given, encodings("colour", eight_bits(looks.encoding)), paint, release=behind.close)


def matte(given: Opening) -> Output:
    """Alpha alone, as gray levels over the full range."""
    return film(given, encodings("levels", given.looks.encoding), Cut.of(given).alpha, sound=False)


def fill(given: Opening) -> Output:
    """The object's own colours alone, not yet multiplied by alpha: the other half of `matte`."""
    paint = Cut.of(given, deep=given.looks.deep).colors
    return film(given, encodings("colour", given.looks.encoding), paint)


def cutouts(given: Opening) -> Output:
    """RGBA pictures with soft alpha; what is transparent is black or the object's nearest colour."""
    cut = Cut.of(given)
    return PictureFolder(given, lambda result: rgba_png(cut.rgba(result)))


def rgba_png(picture: NDArray[np.uint8]) -> bytes:
    """Encode (H, W, 4) RGBA as a PNG."""
    _, content = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGBA2BGRA), [cv2.IMWRITE_PNG_COMPRESSION, 2])
    return bytes(content)
