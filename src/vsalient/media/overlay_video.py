"""The video with its salient object tinted and outlined."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from vsalient.media.encoder import Encoding
from vsalient.media.paint import TINT, Color, Tint
from vsalient.media.video_output import H264, VideoOutput
from vsalient.types import Frame, SaliencyArray, VideoInfo


class OverlayVideo(VideoOutput):
    """H.264, BT.709, with the source's sound.

    Args:
        color: of the object, RGB.
        strength: how much of the colour covers the object, 0 to 1.
        dim: how much the background is darkened, 0 to 1.
        contour: draw a line around the object.
        path, info, source, audio, overwrite, start, end: see `VideoOutput`.
    """

    encodings: ClassVar[Mapping[str, Encoding]] = {".mp4": H264, ".mkv": H264, ".mov": H264}
    what = "an overlay video"

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
        color: Color = TINT,
        strength: float = 0.4,
        dim: float = 0.35,
        contour: bool = True,
    ) -> None:
        super().__init__(path, info, source=source, audio=audio, overwrite=overwrite, start=start, end=end)
        self._tint = Tint(color, strength=strength, dim=dim, contour=contour)

    def paint(self, frame: Frame, saliency: SaliencyArray) -> NDArray[np.uint8]:
        """(H, W, 3) RGB."""
        return self._tint(frame.pixels, saliency)
