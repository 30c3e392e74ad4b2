"""Find the sequences in a folder tree, a flat folder or videos, and pair predictions with ground truth.

Only names are looked at here; nothing is decoded.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from vsalient.datasets.names import PICTURES, VIDEOS, bare, few, natural
from vsalient.datasets.presets import Preset
from vsalient.errors import DataError, InputError

if TYPE_CHECKING:
    from vsalient.datasets.masks import Backdrop

_TRUTH_FOLDERS = frozenset(
    {
        "groundtruth",
        "ground-truth",
        "ground_truth",
        "ground_truth_mask",
        "gt",
        "gt_object_level",
        "annotations",
        "masks",
    }
)
_FRAME_FOLDERS = ("JPEGImages/480p", "JPEGImages/1080p", "JPEGImages", "Imgs", "Images", "images", "frames")
_FRAMES_INSIDE = frozenset({"imgs", "images", "input", "src", "frames", "jpegimages"})
"""Folders of a sequence's frames, beside that of its ground truth."""
_NO_FRAMES = _TRUTH_FOLDERS | {"gt_instance_level", "fixationmaps", "fixations"}
_PASSED_OVER = re.compile(r"_PROB_gt$", re.IGNORECASE)
"""FBMS keeps the annotators' confidence beside each ground truth."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A sequence stored as pictures.

    Attributes:
        frames: frame name -> its files, in natural order; several files are objects to be united.
        path: the folder, for messages.
        background: of its `.ppm` files, where the data set says so.
    """

    frames: dict[str, tuple[Path, ...]]
    path: Path
    background: "Backdrop | None" = None


@dataclass(frozen=True, slots=True)
class Video:
    """A sequence stored as a gray video."""

    path: Path


Stored = Folder | Video

TreeKind = Literal["truth", "frames", "maps"]
Tree = dict[str, Stored]
"""Sequence name -> how it is stored. The name is "" for a flat folder or a single file."""


def find_tree(root: Path, what: str, preset: Preset | None = None, split: str | None = None) -> Tree:
    """Return the sequences below a path.

    Args:
        root: a folder tree in DAVIS layout (`sequence/00000.png`), a flat folder of pictures, a folder of videos, or
            one video.
        what: "ground truth" or "predictions", for messages.
        preset: for ground truth: where in the data set's own tree to look.
        split: for ground truth: the part that is wanted, where parts lie in folders of their own.

    Raises:
        InputError: nothing there, or no pictures and no videos in it.
    """
    if not root.exists():
        raise InputError(f"{what} {root} does not exist; give a folder of masks or maps, or a gray video")
    if root.is_file():
        if root.suffix.lower() in PICTURES or root.suffix.lower() not in VIDEOS:
            raise InputError(f"{what} {root} is no video; give a folder of pictures, or {few(sorted(VIDEOS), 9)}")
        return {"": Video(root)}
    places = (*preset.split_roots.get(split or preset.split or "", ()), *preset.roots) if preset else ()
    for below in places:
        if (root / below).is_dir():
            root = root / below
            break
    tree: Tree = {}
    kind: TreeKind = "truth" if preset is not None else "frames" if what == "frames" else "maps"
    _walk(root, root, tree, kind, set())
    if preset is not None and preset.objects:
        tree = _unite_objects(tree)
    if not tree:
        raise InputError(
            f"{what} {root} holds no pictures ({few(sorted(PICTURES), 9)}) and no videos; "
            "expected sequence/00000.png, a flat folder, or videos"
        )
    return dict(sorted(tree.items(), key=lambda item: natural(item[0])))


def find_frames(root: Path) -> Tree:
    """Return the sequences of video frames below a path; the usual folders of data sets are entered.

    Raises:
        InputError: nothing there, or no pictures and no videos in it.
    """
    below = next((root / name for name in _FRAME_FOLDERS if (root / name).is_dir()), root)
    return find_tree(below, "frames")


def select_sequences(tree: Tree, names: Sequence[str] | None, root: Path) -> Tree:
    """Keep the sequences of a split; a flat folder or single video is always kept.

    Raises:
        DataError: the split names a sequence without ground truth.
    """
    if names is None or set(tree) == {""}:
        return tree
    by_last = {name.rsplit("/", 1)[-1]: name for name in tree}
    missing = [name for name in names if name not in tree and name not in by_last]
    if missing:
        raise DataError(
            f"ground truth {root} lacks {len(missing)} of {len(names)} sequences of the split: {few(missing)}; "
            "give the right folder, another --split, or --split all"
        )
    return {name: tree[name if name in tree else by_last[name]] for name in names}


def find_partner(name: str, truth: Collection[str], predictions: Tree) -> Stored | None:
    """Return the prediction of a sequence, one of those named in `truth`.

    It has the same name, or the same last folder, or that with an ending like `_saliency` or `_maps`, or with the
    ending that most predictions have (`bear_3dc-lite`, `bus_3dc-lite`, as a template writes), or it is the only one on
    both sides.

    Raises:
        DataError: several would fit, as where maps and masks of a sequence lie side by side.
    """
    if name in predictions:
        return predictions[name]
    last = name.rsplit("/", 1)[-1]
    ends = {key: key.rsplit("/", 1)[-1] for key in predictions}
    template = _common_ending([key.rsplit("/", 1)[-1] for key in truth], list(ends.values()))
    for matches in (
        [k for k, end in ends.items() if end == last],
        [k for k, end in ends.items() if bare(end) == last],
        [k for k, end in ends.items() if template and end == last + template],
    ):
        if len(matches) > 1:
            raise DataError(f"{few(matches)} could all belong to sequence {last}; keep one of them in the folder given")
        if matches:
            return predictions[matches[0]]
    if len(truth) == len(predictions) == 1 and ("" in truth or "" in predictions):
        return next(iter(predictions.values()))
    return None


def _common_ending(truth: Sequence[str], predictions: Sequence[str]) -> str:
    """What a template put behind the sequences' names, "" where no one ending stands out."""
    counts: dict[str, int] = {}
    known = set(truth)
    for name in predictions:
        # `bmx_a` is sequence bmx with `_a`, unless it is a sequence itself.
        cuts = [at for at, letter in enumerate(name) if letter in "_-." and name[:at] in known]
        if name not in known and cuts:
            counts[name[cuts[-1] :]] = counts.get(name[cuts[-1] :], 0) + 1
    ranked = sorted(counts.items(), key=lambda item: -item[1])
    if not ranked or (len(ranked) > 1 and ranked[1][1] == ranked[0][1]):
        return ""
    return ranked[0][0]


def _walk(folder: Path, root: Path, tree: Tree, kind: TreeKind, seen: set[Path]) -> None:
    truth = kind == "truth"
    real = folder.resolve()
    if real in seen:
        return  # a link to a folder that has been read, or to one that it is in
    seen.add(real)
    entries = sorted((entry for entry in folder.iterdir() if not entry.name.startswith(".")), key=lambda e: e.name)
    folders = [entry for entry in entries if entry.is_dir()]
    if kind == "frames":
        folders = [entry for entry in folders if entry.name.lower() not in _NO_FRAMES]
    inner = [entry for entry in folders if truth and entry.name.lower() in _TRUTH_FOLDERS]
    if inner:
        # A data set that keeps frames and ground truth of a sequence side by side.
        for entry in inner:
            _walk(entry, root, tree, kind, seen)
        return
    pictures = [
        entry
        for entry in entries
        if entry.suffix.lower() in PICTURES and entry.is_file() and not (truth and _PASSED_OVER.search(entry.stem))
    ]
    if pictures:
        if truth and len({path.stem for path in pictures}) < len(pictures):
            # MSRA10K keeps `.jpg` pictures and `.png` masks of one name in one folder.
            masks = {path.stem for path in pictures if path.suffix.lower() == ".png"}
            pictures = [path for path in pictures if path.suffix.lower() == ".png" or path.stem not in masks]
        name = _sequence_name(folder, root, kind)
        frames: dict[str, tuple[Path, ...]] = {
            path.stem: (path,) for path in sorted(pictures, key=lambda path: natural(path.stem))
        }
        if len(frames) != len(pictures):
            raise InputError(f"{folder} holds two pictures of one name with different endings; keep one of each")
        held = tree.get(name)
        if isinstance(held, Folder):
            raise InputError(f"{held.path} and {folder} both hold sequence {name or root.name}; keep one of them")
        tree[name] = Folder(frames, folder, "white" if truth and _is_fbms(entries) else None)
    for entry in entries:
        if entry.suffix.lower() in VIDEOS - PICTURES and entry.is_file():
            name = _sequence_name(entry.with_suffix(""), root, "maps")
            if name in tree:
                raise InputError(f"{folder} holds sequence {name} twice, as pictures and as video; keep one of them")
            tree[name] = Video(entry)
    for entry in folders:
        _walk(entry, root, tree, kind, seen)


def _is_fbms(entries: Sequence[Path]) -> bool:
    """Whether a folder of ground truth is as FBMS-59 was released: its colours stand on white, not on black."""
    return any(entry.name.endswith("Def.dat") or _PASSED_OVER.search(entry.stem) for entry in entries)


def _sequence_name(folder: Path, root: Path, kind: TreeKind) -> str:
    dropped = {"truth": _TRUTH_FOLDERS, "frames": _FRAMES_INSIDE, "maps": frozenset[str]()}[kind]
    return "/".join(part for part in folder.relative_to(root).parts if part.lower() not in dropped)


def _unite_objects(tree: Tree) -> Tree:
    united: Tree = {}
    for name, stored in tree.items():
        sequence = re.sub(r"/\d{1,2}$", "", name)
        held = united.get(sequence)
        if isinstance(stored, Folder) and isinstance(held, Folder):
            names = sorted({*held.frames, *stored.frames}, key=natural)
            frames = {frame: held.frames.get(frame, ()) + stored.frames.get(frame, ()) for frame in names}
            united[sequence] = Folder(frames, held.path, held.background)
        else:
            united[sequence] = stored
    return united
