"""The masks as a video of black and white."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from vsalient.media.encoder import Encoding
from vsalient.media.mask_folder import Binarise, halve
from vsalient.media.video_output import FFV1_LEVELS, H264_LEVELS, VideoOutput
from vsalient.types import Frame, SaliencyArray, VideoInfo


class MaskVideo(VideoOutput):
    """0 and 255: .mkv lossless (FFV1), .mp4 and .mov within a few levels (H.264; threshold at 128 when reading).

    Args:
        binarise: saliency (H, W) in [0, 1] -> mask (H, W) bool; at one half when not given.
        path, info, source, audio, overwrite, start, end: see `VideoOutput`.
    """

    encodings: ClassVar[Mapping[str, Encoding]] = {".mkv": FFV1_LEVELS, ".mp4": H264_LEVELS, ".mov": H264_LEVELS}
    what = "a mask video"
    has_sound = False

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
        binarise: Binarise = halve,
    ) -> None:
        super().__init__(path, info, source=source, audio=audio, overwrite=overwrite, start=start, end=end)
        self._binarise = binarise

    def paint(self, frame: Frame, saliency: SaliencyArray) -> NDArray[np.uint8]:
        """(H, W) of 0 and 255."""
        return self._binarise(saliency).astype(np.uint8) * np.uint8(255)
