"""The outputs by name, one row a kind: how it is called, what it may be written to, what it needs, what opens it.

A new kind is a row here and a function that opens it; everything else (the command line's help and names, the checks,
the Python interface) reads this table. Nothing heavy is imported: a row names its opener, which is loaded on use.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from vsalient.errors import OptionError
from vsalient.outputs.output import Opening, Output


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of output.

    Attributes:
        name: what `--write` takes.
        label: how the default name ends: `{stem}_{label}`.
        what: what it is called in messages.
        endings: the file endings it can be written to, the usual one first; none for a folder of PNGs.
        opens: "module:function", which takes an `Opening` and returns an `Output`.
        colour: it shows the frames, so that maps alone do not do.
        levels: its pictures are gray levels to compute with.
        deep: it can be written in 10 bits.
    """

    name: str
    label: str
    what: str
    endings: tuple[str, ...]
    opens: str
    colour: bool = False
    levels: bool = False
    deep: bool = False

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder of PNGs."""
        return not self.endings

    def default_name(self, stem: str, ending: str | None = None) -> str:
        """The name of the output of a source with this stem; `ending` in place of the usual one."""
        return f"{stem}_{self.label}{(self.endings or ('',))[0] if ending is None else ending}"

    @property
    def still_endings(self) -> tuple[str, ...]:
        """What it can be written to where the source is one picture, the usual first; none for folders and tables."""
        if not self.endings or self.endings[0] not in (".mp4", ".mkv", ".webm"):
            return ()
        return (".png", ".webp") if ".webm" in self.endings else (".png", ".jpg", ".jpeg", ".webp")

    def check_ending(self, path: Path, *, still: bool = False) -> None:
        """Refuse a name that this kind cannot have.

        Args:
            path: the name.
            still: the source is one picture.

        Raises:
            OptionError: names the endings that it can have.
        """
        ending = path.suffix.lower()
        if str(path) == "-" and self.still_endings:
            return  # a video on stdout
        able = self.still_endings + self.endings if still else self.endings
        if not self.is_folder and ending not in able:
            raise OptionError(
                f"{path.name}: {self.what} cannot be written to {ending or 'a name without suffix'}; "
                f"use {' or '.join(able)}."
            )

    def opener(self) -> Callable[[Opening], Output]:
        """Load what opens it."""
        module, _, function = self.opens.partition(":")
        opener: Callable[[Opening], Output] = getattr(importlib.import_module(module), function)
        return opener


_VIDEO = (".mp4", ".mkv", ".mov")
_LOSSLESS = (".mkv", ".mp4", ".mov")
_VIDEOS, _PICTURES, _TABLES, _MATTED = (
    f"vsalient.outputs.{module}" for module in ("video", "pictures", "tables", "matted")
)
KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("video", "saliency", "a saliency video", _VIDEO, f"{_VIDEOS}:levels", levels=True),
        Kind("mask-video", "mask", "a mask video", _LOSSLESS, f"{_VIDEOS}:mask_video", levels=True),
        Kind("overlay", "overlay", "an overlay video", _VIDEO, f"{_VIDEOS}:overlay", colour=True, deep=True),
        Kind("contours", "contours", "a contour video", _VIDEO, f"{_VIDEOS}:contours", colour=True, deep=True),
        Kind("heatmap", "heatmap", "a heat-map video", _VIDEO, f"{_VIDEOS}:heatmap", colour=True),
        Kind(
            "alpha",
            "alpha",
            "video with alpha",
            (".webm", ".mov", ".webp", ".gif"),
            f"{_MATTED}:alpha",
            colour=True,
            deep=True,
        ),
        Kind("foreground", "foreground", "a foreground video", _VIDEO, f"{_MATTED}:foreground", colour=True),
        Kind("matte", "matte", "a matte video", _LOSSLESS, f"{_MATTED}:matte", colour=True, levels=True),
        Kind("fill", "fill", "a video of the object's colours", _VIDEO, f"{_MATTED}:fill", colour=True, deep=True),
        Kind("report", "report", "a report", (".html",), "vsalient.review.recorder:report", colour=True),
        Kind("maps", "maps", "maps", (), f"{_PICTURES}:maps"),
        Kind("masks", "masks", "masks", (), f"{_PICTURES}:mask_pictures"),
        Kind("cutout", "cutout", "cut-outs", (), f"{_MATTED}:cutouts", colour=True),
        Kind("coco", "coco", "COCO annotations", (".json",), f"{_TABLES}:coco"),
        Kind("prompts", "prompts", "a file of prompts", (".json",), "vsalient.outputs.annotations:prompts"),
        Kind(
            "youtube-vis",
            "youtubevis",
            "YouTube-VIS annotations",
            (".json",),
            "vsalient.outputs.annotations:youtube_vis",
        ),
        Kind("cvat", "cvat", "a CVAT import", (".xml",), "vsalient.outputs.annotations:cvat"),
        Kind(
            "label-studio",
            "labelstudio",
            "a Label Studio import",
            (".json",),
            "vsalient.outputs.annotations:label_studio",
        ),
        Kind("roi", "roi", "a file of regions", (".json",), "vsalient.reframe.roi:roi"),
        Kind("csv", "measures", "a table of measures", (".csv",), f"{_TABLES}:csv_measures"),
        Kind("json", "measures", "a file of measures", (".json",), f"{_TABLES}:json_measures"),
    )
}
"""Name -> kind, in the order in which outputs are finished: a video's encoder may still fail then, so videos come
first."""


def find_kind(kind: str | Kind) -> Kind:
    """The kind of this name.

    Raises:
        OptionError: there is none; names the closest.
    """
    if isinstance(kind, Kind):
        return kind
    if kind not in KINDS:
        close = get_close_matches(kind, KINDS, 1, 0.5)
        hint = f"did you mean {close[0]}? There are" if close else "choose from"
        raise OptionError(f"output '{kind}' is unknown: {hint} {', '.join(KINDS)}")
    return KINDS[kind]
