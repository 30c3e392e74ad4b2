"""The saliency maps as a gray video: white is salient."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from vsalient.media.encoder import Encoding
from vsalient.media.paint import to_gray
from vsalient.media.video_output import FFV1_LEVELS, H264_LEVELS, VideoOutput
from vsalient.types import Frame, SaliencyArray


class SaliencyVideo(VideoOutput):
    """Gray levels over the full range: .mkv lossless (FFV1), .mp4 and .mov within 2 levels of 255 (H.264)."""

    encodings: ClassVar[Mapping[str, Encoding]] = {".mp4": H264_LEVELS, ".mkv": FFV1_LEVELS, ".mov": H264_LEVELS}
    what = "a saliency video"
    has_sound = False

    def paint(self, frame: Frame, saliency: SaliencyArray) -> NDArray[np.uint8]:
        """(H, W) levels."""
        return to_gray(saliency)
