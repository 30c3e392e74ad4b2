"""The outputs that are a folder of PNGs, one a frame: an encoder, and the openers of the kinds."""

from collections.abc import Callable

import numpy as np

from vsalient.files import StagedFolder
from vsalient.outputs.output import Opening, Output
from vsalient.outputs.painters import black_and_white, gray
from vsalient.outputs.png import encode_png
from vsalient.types import Frame, Result

# DAVIS's palette, that of PASCAL VOC: bits 0, 3, 6 of an index make red's top bits, 1, 4, 7 green's, 2, 5 blue's.
DAVIS_PALETTE = bytes(
    sum(((index >> (3 * bit + channel)) & 1) << (7 - bit) for bit in range(3))
    for index in range(256)
    for channel in range(3)
)


class PictureFolder(Output):
    """A folder with one PNG a frame, which appears when it is whole.

    Args:
        given: where and how.
        encode: result -> the PNG file.

    Raises:
        OutputError: it exists with content, or the place cannot be written to.
    """

    def __init__(self, given: Opening, encode: Callable[[Result], bytes]) -> None:
        self.path = given.path
        self._encode = encode
        self._folder = StagedFolder(given.path, overwrite=given.overwrite)

    def write(self, result: Result) -> None:
        """Write one picture."""
        self._folder.write(picture_name(result.frame), self._encode(result))

    def close(self) -> None:
        """Move the folder to its final name."""
        self._folder.commit()

    def abort(self) -> None:
        """Remove what was written."""
        self._folder.discard()


def picture_name(frame: Frame) -> str:
    """The frame's own name for a frame folder, else its index in five digits."""
    return f"{frame.name if frame.name is not None else f'{frame.index:05d}'}.png"


def maps(given: Opening) -> Output:
    """8-bit gray, 255 is salient."""
    return PictureFolder(given, lambda result: encode_png(gray(result)))


def mask_pictures(given: Opening) -> Output:
    """Masks in the style of `Looks.mask_style`."""
    palette = given.looks.mask_style == "palette"
    return PictureFolder(given, _indexed if palette else lambda result: encode_png(black_and_white(result)))


def _indexed(result: Result) -> bytes:
    if result.instances is None:
        return encode_png(result.mask.astype(np.uint8), DAVIS_PALETTE)
    # A palette has 255 colours beside the background's: object 256 has the first one again.
    numbers = np.where(result.instances > 0, (result.instances - 1) % 255 + 1, 0)
    return encode_png(numbers.astype(np.uint8), DAVIS_PALETTE)
