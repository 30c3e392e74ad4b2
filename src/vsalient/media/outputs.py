"""The outputs by name: what can be asked for, checked before any work, and opened."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args

from vsalient.errors import OptionError, OutputError
from vsalient.media.alpha_video import AlphaVideo
from vsalient.media.foreground_video import GREEN, ForegroundVideo
from vsalient.media.heatmap_video import HeatmapVideo
from vsalient.media.map_folder import MapFolder
from vsalient.media.mask_folder import Binarise, MaskFolder, MaskStyle, halve
from vsalient.media.mask_video import MaskVideo
from vsalient.media.output import Output, refuse_existing
from vsalient.media.overlay_video import OverlayVideo
from vsalient.media.paint import TINT, Color
from vsalient.media.saliency_video import SaliencyVideo
from vsalient.media.video_output import VideoOutput
from vsalient.types import VideoInfo

OutputKind = Literal["video", "overlay", "heatmap", "alpha", "foreground", "mask-video", "maps", "masks"]

VIDEO_OUTPUTS: Mapping[str, type[VideoOutput]] = {
    "video": SaliencyVideo,
    "overlay": OverlayVideo,
    "heatmap": HeatmapVideo,
    "alpha": AlphaVideo,
    "foreground": ForegroundVideo,
    "mask-video": MaskVideo,
}
"""The kinds that are one video file; the others are folders of PNGs."""


def suffixes(kind: OutputKind) -> tuple[str, ...]:
    """The file suffixes a kind can be written to, the usual one first; none for a folder."""
    return tuple(VIDEO_OUTPUTS[kind].encodings) if kind in VIDEO_OUTPUTS else ()


def check_output(
    kind: OutputKind,
    path: str | Path,
    info: VideoInfo | None = None,
    *,
    source: Path | None = None,
    overwrite: bool = False,
) -> None:
    """Refuse an output that cannot work, before anything is decoded. Creates nothing.

    Args:
        kind: what to write.
        path: where.
        info: facts of the source, when known.
        source: its file, which must not be written over.
        overwrite: whether something that exists may be replaced.

    Raises:
        OptionError: unknown kind, a container that cannot hold it (alpha in .mp4), the input's own name or folder.
        OutputError: it exists already, or its place is no folder or cannot be written to.
    """
    path = Path(path)
    if kind not in get_args(OutputKind):
        raise OptionError(f"{kind!r} is no output; choose {', '.join(get_args(OutputKind))}.")
    origin = source or (info.path if info is not None else None)
    if origin is not None and path.resolve() == origin.resolve():
        raise OptionError(f"{path} is the input itself; choose another name for the output.")
    if origin is not None and path.resolve() in (*origin.resolve().parents, origin.parent.resolve()):
        raise OptionError(f"{path} is the folder that the input is in; choose another name for the output.")
    if kind in VIDEO_OUTPUTS:
        VIDEO_OUTPUTS[kind].check_suffix(path)
        if path.is_dir():
            raise OutputError(f"{path} is a folder where a video file should go; choose another name.")
    elif path.exists() and not path.is_dir():
        raise OutputError(f"{path} is a file where a folder of pictures should go; choose another name.")
    refuse_existing(path, overwrite=overwrite)
    place = path.parent
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir():
        raise OutputError(f"{path} cannot be written: {place} is a file, not a folder.")
    if not os.access(place, os.W_OK | os.X_OK):
        raise OutputError(f"{path} cannot be written: no permission to write in {place}; choose another place.")


def open_output(
    kind: OutputKind,
    path: str | Path,
    info: VideoInfo,
    *,
    source: Path | None = None,
    audio: bool = True,
    overwrite: bool = False,
    start: float | None = None,
    end: float | None = None,
    color: Color | None = None,
    binarise: Binarise = halve,
    mask_style: MaskStyle = "gray",
) -> Output:
    """Check and open one output.

    Args:
        kind: what to write.
        path: the file, or the folder for "maps" and "masks"; missing parents are made.
        info: facts of the source.
        source: the source's file, for sound; None for a frame folder.
        audio: carry the sound into overlay, heat-map, alpha and foreground videos.
        overwrite: replace what exists.
        start: seconds of the source that become time zero of the output, when it was cut.
        end: seconds of the source at which it was cut.
        color: tint of "overlay", background of "foreground".
        binarise: how "masks" and "mask-video" make a mask; at one half when not given.
        mask_style: how "masks" are stored.

    Raises:
        OptionError: the kind or its container makes no sense.
        OutputError: it exists already, or the place cannot be written to.
    """
    path = Path(path)
    check_output(kind, path, info, source=source, overwrite=overwrite)
    if kind == "maps":
        return MapFolder(path, info, overwrite=overwrite)
    if kind == "masks":
        return MaskFolder(path, info, binarise=binarise, style=mask_style, overwrite=overwrite)
    if kind == "mask-video":
        return MaskVideo(path, info, overwrite=overwrite, start=start, end=end, binarise=binarise)
    if kind == "video":
        return SaliencyVideo(path, info, overwrite=overwrite, start=start, end=end)
    if kind == "overlay":
        return OverlayVideo(
            path, info, source=source, audio=audio, overwrite=overwrite, start=start, end=end, color=color or TINT
        )
    if kind == "foreground":
        return ForegroundVideo(
            path, info, source=source, audio=audio, overwrite=overwrite, start=start, end=end, color=color or GREEN
        )
    chosen = HeatmapVideo if kind == "heatmap" else AlphaVideo
    return chosen(path, info, source=source, audio=audio, overwrite=overwrite, start=start, end=end)
