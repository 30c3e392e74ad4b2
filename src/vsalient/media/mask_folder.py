"""The masks as a folder of PNGs: black and white, or in DAVIS's palette."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np

from vsalient.media.map_folder import picture_name
from vsalient.media.output import Output, StagedFolder
from vsalient.media.png import encode_png
from vsalient.types import Frame, MaskArray, SaliencyArray, VideoInfo

Binarise = Callable[[SaliencyArray], MaskArray]
"""Saliency (H, W) in [0, 1] -> mask (H, W)."""
MaskStyle = Literal["gray", "palette"]

# DAVIS's palette, that of PASCAL VOC: bits 0, 3, 6 of an index make red's top bits, 1, 4, 7 green's, 2, 5 blue's.
DAVIS_PALETTE = bytes(
    sum(((index >> (3 * bit + channel)) & 1) << (7 - bit) for bit in range(3))
    for index in range(256)
    for channel in range(3)
)


def halve(saliency: SaliencyArray) -> MaskArray:
    """The mask of what is more likely object than not."""
    return saliency >= 0.5


class MaskFolder(Output):
    """PNG masks, one a frame; the folder appears when it is whole.

    Args:
        path: the folder.
        info: facts of the source; not needed, taken so that all outputs are opened alike.
        binarise: how saliency becomes a mask; at one half when not given.
        style: "gray" for levels 0 and 255, "palette" for DAVIS's indices 0 and 1 in its palette.
        overwrite: replace a folder with content (see `StagedFolder`).

    Raises:
        OutputError: it exists with content, or the place cannot be written to.
    """

    def __init__(
        self,
        path: Path,
        info: VideoInfo | None = None,
        *,
        binarise: Binarise = halve,
        style: MaskStyle = "gray",
        overwrite: bool = False,
    ) -> None:
        self.path = Path(path)
        self._binarise, self._style = binarise, style
        self._folder = StagedFolder(self.path, overwrite=overwrite)

    def write(self, frame: Frame, saliency: SaliencyArray) -> None:
        """Write one mask."""
        mask = self._binarise(saliency).astype(np.uint8)
        content = encode_png(mask, DAVIS_PALETTE) if self._style == "palette" else encode_png(mask * np.uint8(255))
        self._folder.write(picture_name(frame), content)

    def close(self) -> None:
        """Move the folder to its final name."""
        self._folder.close()

    def abort(self) -> None:
        """Remove what was written."""
        self._folder.abort()
