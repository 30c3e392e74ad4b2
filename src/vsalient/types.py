"""What flows through the pipeline: frozen records of frames, clips and videos. NumPy only, no torch."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""(H, W, 3) RGB, uint8, upright."""
SaliencyArray = NDArray[np.float32]
"""(H, W) foreground probability in [0, 1]."""
MaskArray = NDArray[np.bool_]
"""(H, W), True where the object is."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One decoded RGB image.

    Attributes:
        pixels: (H, W, 3) uint8 RGB, rotation already applied.
        index: 0-based position among the frames delivered from this source.
        pts: presentation time in units of `time_base`.
        time_base: seconds per unit of `pts`.
        corrupt: the picture was damaged and stands in for the real one.
        name: the file's stem for a picture and in a frame folder (there its full name where stems repeat), else None.
    """

    pixels: Pixels
    index: int
    pts: int
    time_base: Fraction
    corrupt: bool = False
    name: str | None = None

    @property
    def time(self) -> float:
        """Presentation time in seconds."""
        return float(self.pts * self.time_base)


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What a source says of itself, after rotation. Counts and durations are estimates, never relied upon.

    Attributes:
        path: the file, or the folder of frames.
        width, height: upright size in pixels.
        rate: average frames a second, None when unknown.
        time_base: seconds per unit of pts.
        rotation: degrees that were undone (0, 90, 180, 270).
        codec: FFmpeg's codec name, or "images".
        pixel_format: FFmpeg's name of the stored format, "" for images.
        bit_depth: bits a component.
        color_space: "bt601", "bt709", "bt2020" or "rgb": the matrix used to decode.
        full_range: whether luma spans 0-255.
        frames_estimate: the container's own count, None when it has none.
        duration: seconds, None when unknown.
        has_audio: whether an audio stream stands beside the video.
    """

    path: Path
    width: int
    height: int
    rate: Fraction | None
    time_base: Fraction
    rotation: int = 0
    codec: str = ""
    pixel_format: str = ""
    bit_depth: int = 8
    color_space: str = "bt601"
    full_range: bool = False
    frames_estimate: int | None = None
    duration: float | None = None
    has_audio: bool = False


@dataclass(frozen=True, slots=True)
class Clip:
    """T frames fed together: which source frame stands in each slot.

    Attributes:
        number: 0-based count of clips.
        indices: frame index per slot, length T; a repeated index fills a clip longer than its frames.
        outputs: the slots whose maps are kept, None for all of them (conv3dnet keeps the middle one).
    """

    number: int
    indices: tuple[int, ...]
    outputs: tuple[int, ...] | None = None

    def __len__(self) -> int:
        return len(self.indices)
