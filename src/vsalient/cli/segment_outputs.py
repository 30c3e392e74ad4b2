"""What `segment` writes: the kinds by name, and the end of the pipeline that makes and writes segments."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, Protocol

import cv2
import numpy as np

from vsalient.cli.naming import AnyJob, AnyTarget, Form, check_folder
from vsalient.errors import OptionError, OutputError
from vsalient.media import AlphaVideo, MaskFolder, MaskVideo, Output, OutputKind, OverlayVideo, check_output, suffixes
from vsalient.media.map_folder import picture_name
from vsalient.media.mask_folder import DAVIS_PALETTE, MaskStyle
from vsalient.media.output import StagedFolder
from vsalient.media.png import encode_png
from vsalient.segment.segmenter import Segment, Segmenter
from vsalient.segment.tables import CocoMasks, CsvMeasures, JsonMeasures
from vsalient.types import Frame, SaliencyArray, VideoInfo

SegmentKind = Literal["masks", "mask-video", "contours", "cutout", "alpha", "coco", "csv", "json"]


def _check_text(suffix: str, path: Path) -> None:
    if path.suffix.lower() != suffix:
        raise OptionError(f"{path.name}: this kind of file must end in {suffix}; change -o")
    if path.is_dir():
        raise OutputError(f"{path} is a folder where a file should go; choose another name.")


def _check_pictures(kind: OutputKind, name: str, path: Path) -> None:
    check_folder(name, path)
    check_output(kind, path, overwrite=True)


def _check_video(kind: OutputKind, path: Path) -> None:
    check_output(kind, path, overwrite=True)


FORMS: dict[SegmentKind, Form] = {
    "mask-video": Form("mask", suffixes("mask-video")[0], partial(_check_video, "mask-video")),
    "contours": Form("contours", suffixes("overlay")[0], partial(_check_video, "overlay")),
    "alpha": Form("alpha", suffixes("alpha")[0], partial(_check_video, "alpha")),
    "masks": Form("masks", "", partial(_check_pictures, "masks", "masks")),
    "cutout": Form("cutout", "", partial(_check_pictures, "maps", "cut-outs")),
    "coco": Form("coco", ".json", partial(_check_text, ".json")),
    "csv": Form("measures", ".csv", partial(_check_text, ".csv")),
    "json": Form("measures", ".json", partial(_check_text, ".json")),
}
"""What `--write` takes, in the order of finishing: a video's encoder may still fail then, so videos come first."""


@dataclass(frozen=True, slots=True)
class Looks:
    """How outputs look.

    Attributes:
        mask_style: of the "masks" folder: 0/255 in gray, or DAVIS's palette with 0/1 (object numbers if there are).
        instances: objects are numbered.
        audio: carry the sound into contours and alpha videos.
        overwrite: replace what exists.
        span: start and end in seconds of what was cut from the source.
    """

    mask_style: MaskStyle = "gray"
    instances: bool = False
    audio: bool = True
    overwrite: bool = False
    span: tuple[float | None, float | None] = (None, None)


class SegmentWriter(Protocol):
    """Something that segments are written to, one by one, in order."""

    def write(self, segment: Segment) -> None:
        """Add one frame."""

    def close(self) -> None:
        """Finish, and give it its name."""

    def abort(self) -> None:
        """Leave nothing behind."""


class SegmentSink:
    """An output of the pipeline that turns maps into segments and hands them to its writers."""

    def __init__(self, segmenter: Segmenter, writers: Sequence[SegmentWriter]) -> None:
        self._segmenter = segmenter
        self._writers = writers

    def write(self, frame: Frame, saliency: SaliencyArray) -> None:
        """Add a frame and its map; segments may come out later."""
        for segment in self._segmenter.push(frame, saliency):
            self._spread(segment)

    def close(self) -> None:
        """Write the segments that waited, and finish all outputs."""
        for segment in self._segmenter.finish():
            self._spread(segment)
        for writer in self._writers:
            writer.close()

    def abort(self) -> None:
        """Leave nothing behind."""
        for writer in self._writers:
            writer.abort()

    def _spread(self, segment: Segment) -> None:
        for writer in self._writers:
            writer.write(segment)


class MaskWriter:
    """Writes masks to an output made for saliency: 1 inside, 0 outside."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def write(self, segment: Segment) -> None:
        """Add one mask."""
        self._output.write(segment.frame, segment.mask.astype(np.float32))

    def close(self) -> None:
        """Finish the output."""
        self._output.close()

    def abort(self) -> None:
        """Leave nothing behind."""
        self._output.abort()


class PictureFolder(ABC):
    """A folder with one PNG a frame that appears when it is whole."""

    def __init__(self, path: Path, *, overwrite: bool) -> None:
        self._folder = StagedFolder(path, overwrite=overwrite)

    def write(self, segment: Segment) -> None:
        """Add one picture."""
        self._folder.write(picture_name(segment.frame), self.encode(segment))

    @abstractmethod
    def encode(self, segment: Segment) -> bytes:
        """The PNG file of one frame."""

    def close(self) -> None:
        """Move the folder to its final name."""
        self._folder.close()

    def abort(self) -> None:
        """Leave nothing behind."""
        self._folder.abort()


class InstanceFolder(PictureFolder):
    """Object numbers as indices of DAVIS's palette; there are 255, number 256 has index 1 again."""

    def encode(self, segment: Segment) -> bytes:
        """Encode the numbers."""
        assert segment.instances is not None
        numbers = segment.instances
        return encode_png(np.where(numbers > 0, (numbers - 1) % 255 + 1, 0).astype(np.uint8), DAVIS_PALETTE)


class CutoutFolder(PictureFolder):
    """RGBA pictures: the object's own colours, everything else transparent and black."""

    def encode(self, segment: Segment) -> bytes:
        """Encode the cut-out; hidden colours are erased, they would only take space and show secrets."""
        alpha = segment.mask.astype(np.uint8) * np.uint8(255)
        picture = np.dstack([segment.frame.pixels[:, :, ::-1] & alpha[:, :, None], alpha])
        _, content = cv2.imencode(".png", picture, [cv2.IMWRITE_PNG_COMPRESSION, 2])
        return bytes(content)


def open_writers(job: AnyJob[SegmentKind], info: VideoInfo, looks: Looks) -> list[SegmentWriter]:
    """Open all outputs of a job; if one fails, leave none behind.

    Raises:
        OutputError: one cannot be written.
    """
    with ExitStack() as undo:
        writers: list[SegmentWriter] = []
        for target in job.targets:
            writer = _open(target, job.source, info, looks)
            undo.callback(writer.abort)
            writers.append(writer)
        undo.pop_all()
    return writers


def _open(target: AnyTarget[SegmentKind], source: Path, info: VideoInfo, looks: Looks) -> SegmentWriter:
    path, overwrite = target.path, looks.overwrite
    start, end = looks.span
    match target.kind:
        case "masks" if looks.instances and looks.mask_style == "palette":
            return InstanceFolder(path, overwrite=overwrite)
        case "masks":
            return MaskWriter(MaskFolder(path, info, style=looks.mask_style, overwrite=overwrite))
        case "cutout":
            return CutoutFolder(path, overwrite=overwrite)
        case "coco":
            return CocoMasks(path, str(source))
        case "csv":
            return CsvMeasures(path)
        case "json":
            return JsonMeasures(path, str(source))
        case "mask-video":
            return MaskWriter(MaskVideo(path, info, overwrite=overwrite, start=start, end=end))
    sound = source if source.is_file() else None
    if target.kind == "alpha":
        return MaskWriter(
            AlphaVideo(path, info, source=sound, audio=looks.audio, overwrite=overwrite, start=start, end=end)
        )
    assert target.kind == "contours", target.kind
    overlay = OverlayVideo(
        path, info, source=sound, audio=looks.audio, overwrite=overwrite, start=start, end=end, strength=0.0, dim=0.0
    )
    return MaskWriter(overlay)
