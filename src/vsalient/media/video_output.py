"""What the outputs that are one video file share."""

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from vsalient.errors import OptionError
from vsalient.media.encoder import Encoding, VideoEncoder
from vsalient.media.output import Output
from vsalient.types import Frame, SaliencyArray, VideoInfo

H264 = Encoding("libx264", "yuv420p", {"preset": "veryfast", "crf": "18"})
"""For looking at: plays everywhere, no visible loss."""
H264_LEVELS = Encoding("libx264", "gray", {"preset": "ultrafast", "qp": "4"})
"""For maps: levels come back within 2 of 255."""
FFV1_LEVELS = Encoding("ffv1", "gray")
"""For maps, lossless."""


class VideoOutput(Output):
    """A video file with one picture for each frame, at the frame's own time.

    Args:
        path: final name; the suffix must be one of `encodings`.
        info: facts of the source.
        source: the source's file, for its sound and pixel aspect; None for a frame folder.
        audio: carry the sound over, in outputs that have it.
        overwrite: replace a file that exists.
        start: seconds of the source that become time zero (where it was cut).
        end: seconds of the source at which it was cut.

    Raises:
        OptionError: the suffix does not fit.
        OutputError: the file exists, or the place cannot be written to.
    """

    encodings: ClassVar[Mapping[str, Encoding]]
    """Suffix -> how to encode; the first is the usual one."""
    what: ClassVar[str]
    """What it is called in messages."""
    has_sound: ClassVar[bool] = True

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
    ) -> None:
        self.path = Path(path)
        self.check_suffix(self.path)
        self._encoder = VideoEncoder(
            self.path,
            info,
            self.encodings[self.path.suffix.lower()],
            source=source,
            audio=audio and self.has_sound,
            overwrite=overwrite,
            start=start,
            end=end,
        )

    @classmethod
    def check_suffix(cls, path: Path) -> None:
        """Refuse a container that cannot hold this output.

        Raises:
            OptionError: names the suffixes that can.
        """
        suffix = path.suffix.lower()
        if suffix not in cls.encodings:
            raise OptionError(
                f"{path.name}: {cls.what} cannot be written to {suffix or 'a name without suffix'}; "
                f"use {' or '.join(cls.encodings)}."
            )

    @abstractmethod
    def paint(self, frame: Frame, saliency: SaliencyArray) -> NDArray[np.uint8]:
        """The picture to write: (H, W) gray, (H, W, 3) RGB or (H, W, 4) RGBA."""

    def write(self, frame: Frame, saliency: SaliencyArray) -> None:
        """Paint and encode one frame."""
        assert saliency.shape == frame.pixels.shape[:2], f"{saliency.shape} for {frame.pixels.shape}"
        self._encoder.write(self.paint(frame, saliency), frame.pts, frame.time_base)

    def close(self) -> None:
        """Finish the file and move it to its final name."""
        self._encoder.close()

    def abort(self) -> None:
        """Remove what was written."""
        self._encoder.abort()
