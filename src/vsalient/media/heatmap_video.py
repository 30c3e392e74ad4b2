"""The video in gray under a heat map of its saliency."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from vsalient.media.encoder import Encoding
from vsalient.media.paint import Heat
from vsalient.media.video_output import H264, VideoOutput
from vsalient.types import Frame, SaliencyArray, VideoInfo


class HeatmapVideo(VideoOutput):
    """H.264, BT.709, with the source's sound.

    Args:
        strength: how much the colour covers where saliency is 1, 0 to 1.
        path, info, source, audio, overwrite, start, end: see `VideoOutput`.
    """

    encodings: ClassVar[Mapping[str, Encoding]] = {".mp4": H264, ".mkv": H264, ".mov": H264}
    what = "a heat-map video"

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
        strength: float = 0.75,
    ) -> None:
        super().__init__(path, info, source=source, audio=audio, overwrite=overwrite, start=start, end=end)
        self._heat = Heat(strength=strength)

    def paint(self, frame: Frame, saliency: SaliencyArray) -> NDArray[np.uint8]:
        """(H, W, 3) RGB."""
        return self._heat(frame.pixels, saliency)
