"""The object on a plain colour."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from vsalient.media.encoder import Encoding
from vsalient.media.paint import Color, cut_out
from vsalient.media.video_output import H264, VideoOutput
from vsalient.types import Frame, SaliencyArray, VideoInfo

GREEN: Color = (0, 177, 64)
"""The usual chroma-key green."""


class ForegroundVideo(VideoOutput):
    """H.264, BT.709, with the source's sound.

    Args:
        color: of the background, RGB.
        path, info, source, audio, overwrite, start, end: see `VideoOutput`.
    """

    encodings: ClassVar[Mapping[str, Encoding]] = {".mp4": H264, ".mkv": H264, ".mov": H264}
    what = "a foreground video"

    def __init__(
        self,
        path: Path,
        info: VideoInfo,
        *,
        source: Path | None = None,
        audio: bool = True,
        overwrite: bool = False,
        start: float | None = None,
        end: float | None = None,
        color: Color = GREEN,
    ) -> None:
        super().__init__(path, info, source=source, audio=audio, overwrite=overwrite, start=start, end=end)
        self._color = color

    def paint(self, frame: Frame, saliency: SaliencyArray) -> NDArray[np.uint8]:
        """(H, W, 3) RGB."""
        return cut_out(frame.pixels, saliency, self._color)
