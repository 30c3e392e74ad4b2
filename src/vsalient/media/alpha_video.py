"""The object cut out, with its probability as alpha, for editors and web pages."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from vsalient.media.encoder import Encoding
from vsalient.media.paint import with_alpha
from vsalient.media.video_output import VideoOutput
from vsalient.types import Frame, SaliencyArray


class AlphaVideo(VideoOutput):
    """Straight (not premultiplied) alpha with the source's sound: .webm (VP9) or .mov (ProRes 4444)."""

    encodings: ClassVar[Mapping[str, Encoding]] = {
        ".webm": Encoding(
            "libvpx-vp9",
            "yuva420p",
            {"crf": "24", "b": "0", "deadline": "realtime", "cpu-used": "7", "row-mt": "1", "auto-alt-ref": "0"},
        ),
        ".mov": Encoding("prores_ks", "yuva444p10le", {"profile": "4444", "alpha_bits": "16", "vendor": "apl0"}),
    }
    what = "video with alpha"

    def paint(self, frame: Frame, saliency: SaliencyArray) -> NDArray[np.uint8]:
        """(H, W, 4) RGBA."""
        return with_alpha(frame.pixels, saliency)
