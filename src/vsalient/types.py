"""What flows through the pipeline: frozen records of frames, clips, videos and results. NumPy only, no torch."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""(H, W, 3) RGB, uint8, upright."""
SaliencyArray = NDArray[np.float32]
"""(H, W) foreground probability in [0, 1]."""
MaskArray = NDArray[np.bool_]
"""(H, W), True where the object is."""
InstanceMap = NDArray[np.int32]
"""(H, W), 0 for background, else the number of the object that the pixel belongs to."""
Binarise = Callable[[SaliencyArray], MaskArray]
"""Saliency (H, W) in [0, 1] -> mask (H, W)."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One decoded RGB image.

    Attributes:
        pixels: (H, W, 3) uint8 RGB, rotation already applied.
        index: 0-based position among the frames delivered from this source.
        pts: presentation time in units of `time_base`.
        time_base: seconds per unit of `pts`.
        corrupt: the picture was damaged and stands in for the real one.
        duration: how long it stands, in units of `time_base`, None when nothing says.
        scene: 0-based number of the scene, which a hard cut ends; 0 throughout where nobody looked for cuts.
        deep: (H, W, 3) uint16, 0 to 65535: the same RGB as the source codes it, in its own primaries and transfer
            function (PQ, HLG too); None unless asked for.
        name: the file's stem for a picture and in a frame folder (there its full name where stems repeat), else None.
    """

    pixels: Pixels
    index: int
    pts: int
    time_base: Fraction
    corrupt: bool = False
    name: str | None = None
    duration: int | None = None
    scene: int = 0
    deep: NDArray[np.uint16] | None = None

    @property
    def time(self) -> float:
        """Presentation time in seconds."""
        return float(self.pts * self.time_base)

    def without_picture(self) -> "Frame":
        """The same frame with a black picture of its size that takes no memory: 25 MB less at 4K."""
        black = np.broadcast_to(np.uint8(0), self.pixels.shape)
        return replace(self, pixels=black, deep=None)


@dataclass(frozen=True, slots=True)
class Chapter:
    """A chapter of a film: from `start` to `end` in seconds, with its title, "" for none."""

    start: Fraction
    end: Fraction
    title: str


@dataclass(frozen=True, slots=True)
class Extras:
    """What a film carries beside pictures and sound.

    Attributes:
        tags: name and text of title, creation time, place and the like.
        chapters: in order.
        timecode: of the first frame, such as 01:00:00:00; None when it has none.
        left_out: the tracks that no output takes over, in words.
    """

    tags: tuple[tuple[str, str], ...] = ()
    chapters: tuple[Chapter, ...] = ()
    timecode: str | None = None
    left_out: tuple[str, ...] = ()


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
        pixel_aspect: width over height of a pixel, upright; 1 for nearly all videos.
        interlaced: frames are stored as two fields of different moments.
        hdr: "PQ" or "HLG" where that was mapped to standard dynamic range, else "".
        color_tags: primaries, transfer function and matrix by their numbers in ITU-T H.273; BT.709's where untagged.
        breaks_off: frames may end before the source does, whose sound must end with them.
        extras: title, chapters and the like; None where a source has no such thing.
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
    pixel_aspect: Fraction = Fraction(1)
    interlaced: bool = False
    hdr: str = ""
    color_tags: tuple[int, int, int] = (1, 1, 1)
    breaks_off: bool = False
    extras: Extras | None = None


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


def halve(saliency: SaliencyArray) -> MaskArray:
    """The mask of what is more likely object than not."""
    return saliency >= 0.5


@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """One frame and what was made of it: what a network said, and what a segmentation made of that.

    Attributes:
        frame: the decoded frame; `frame.pixels` is (H, W, 3) uint8 RGB, upright.
        saliency: (H, W) float32, each pixel's probability to belong to the salient object, in [0, 1].
        segmented: (H, W), True where the object is; None where nothing was segmented.
        instances: (H, W) numbers of objects, None unless they were asked for.
        binarise: makes `mask` of the map where nothing was segmented.
    """

    frame: Frame
    saliency: SaliencyArray
    segmented: MaskArray | None = None
    instances: InstanceMap | None = None
    binarise: Binarise = halve

    @cached_property
    def mask(self) -> MaskArray:
        """(H, W), True where the object is: as segmented, else as the map's threshold says."""
        return self.binarise(self.saliency) if self.segmented is None else self.segmented

    @property
    def cover(self) -> SaliencyArray:
        """How much of each pixel is object, (H, W) float32 in [0, 1]: the mask where one was made, else the map."""
        return self.saliency if self.segmented is None else self.segmented.astype(np.float32)

    @property
    def index(self) -> int:
        """Position among the frames of this source, from 0."""
        return self.frame.index

    @property
    def pts(self) -> int:
        """Presentation time in units of `frame.time_base`."""
        return self.frame.pts

    @property
    def time(self) -> float:
        """Presentation time in seconds."""
        return self.frame.time

    def _repr_png_(self) -> bytes:
        """What a notebook shows: the frame, darkened where nothing stands out."""
        from io import BytesIO

        from PIL import Image

        light = np.float32(0.25) + np.float32(0.75) * self.cover
        shown = BytesIO()
        Image.fromarray((self.frame.pixels * light[:, :, None]).astype(np.uint8)).save(shown, "png")
        return shown.getvalue()

    def __repr__(self) -> str:
        height, width = self.saliency.shape
        name = "" if self.frame.name is None else f" '{self.frame.name}'"
        numbers = "" if self.instances is None else f", {len(np.unique(self.instances[self.instances > 0]))} objects"
        return (
            f"<Result {self.index}{name} at {self.time:.3f} s: {width}x{height}, saliency {self.saliency.min():.2f} to "
            f"{self.saliency.max():.2f}, mask {self.mask.mean():.1%}{numbers}>"
        )
