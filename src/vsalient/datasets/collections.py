"""Data sets to train on, told by their layout: which picture goes with which ground truth, in which sequence and split.

Nothing is decoded here. The layouts are those of the releases and of the loaders that most people use:

- two trees, `FRAMES/SEQ/*` beside `TRUTHS/SEQ/*`: DAVIS 2016 and 2017 (`JPEGImages/480p`, `Annotations/480p`),
  YouTube-VOS (`train/JPEGImages`), SegTrack v2 (`GroundTruth/SEQ[/OBJECT]`, objects united), ViSal (`Images`,
  `GroundTruth`), VOT2016 with its masks;
- side by side, `SEQ/TRUTH/*` with the frames in `SEQ/FRAMES/*` or in `SEQ` itself: FBMS-59 (`GroundTruth`), DAVSOD
  (`Imgs`, `GT_object_level`), VOS and the copies of ViSal that saliency papers pass on (`Imgs`, `GT`), USVD, 10-Clips;
- stills: two folders (DUTS, ECSSD, HKU-IS), `CLASS/Src` and `CLASS/GT` (THUR15K), `.jpg` beside `.png` (MSRA10K, also
  below `Imgs`), COCO's instances (`annotations/instances_*.json`).
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vsalient.datasets.found import Found, FoundPair
from vsalient.datasets.masks import Backdrop
from vsalient.datasets.names import PICTURES, bare, last_number, natural

SOFT_SUFFIX = ".soft"
"""`key.soft.png` is a soft mask of `key`, whatever its source is called."""

_FRAMES = re.compile(r"^(jpegimages|images?|imgs?|frames?|input|src|rgb|sequences|vot\d*)$|-image$", re.IGNORECASE)
_TRUTHS = re.compile(
    r"^(annotations?(_unsupervised)?|ground[-_ ]?truth(_mask)?|gt|gt_object_level|masks?|labels?|segmentations?)$"
    r"|[-_]masks?$|[-_]gt$",
    re.IGNORECASE,
)
_RESOLUTIONS = ("480p", "Full-Resolution", "1080p", "")
_STILLS = re.compile(r"duts|ecssd|hku|msra|thur|omron|pascal|sod\b|stills", re.IGNORECASE)
_CONFIDENCE = re.compile(r"_PROB_gt$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Collection:
    """What was found below a folder.

    Attributes:
        layout: "two trees", "side by side", "stills" or "coco".
        sequences: in natural order.
    """

    layout: str
    sequences: list[Found] = field(default_factory=list)


def find_collection(root: Path) -> Collection | None:
    """Recognise a data set's folder; None where no picture has a ground truth."""
    from vsalient.datasets.coco import find_coco

    for layout, find in (
        ("coco", find_coco),
        ("two trees", _two_trees),
        ("side by side", _side_by_side),
        ("stills", _stills),
    ):
        sequences = [found for found in find(root) if found.pairs]
        if sequences:
            return Collection(layout, sorted(sequences, key=lambda found: natural(found.name)))
    return None


def pictures(folder: Path) -> list[Path]:
    """The pictures of a folder in natural order; annotators' confidence (FBMS) is none."""
    if not folder.is_dir():
        return []
    found = (p for p in folder.iterdir() if p.suffix.lower() in PICTURES and not p.name.startswith("."))
    return sorted((p for p in found if not _CONFIDENCE.search(p.stem)), key=lambda p: natural(p.name))


def _folders(folder: Path) -> list[Path]:
    found = (p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    return sorted(found, key=lambda p: natural(p.name))


def pair_up(
    images: Sequence[Path], masks: Sequence[Sequence[Path]], background: Backdrop | None = None
) -> list[FoundPair]:
    """Pair images with the masks of one or several objects: by name, without `_gt` and the like, else by number.

    Images between labelled ones stay, without a mask: what moves is seen between neighbours, not between labels.
    """
    for key in (_stem, lambda path: bare(_stem(path)), lambda path: last_number(_stem(path)) or ""):
        tables = [{key(mask): mask for mask in some} for some in masks]
        found = [[table[key(image)] for table in tables if key(image) and key(image) in table] for image in images]
        labelled = [place for place, masks_of_one in enumerate(found) if masks_of_one]
        if labelled:
            span = slice(labelled[0], labelled[-1] + 1)
            return [_pair(*one, background) for one in zip(images[span], found[span], strict=True)]
    return []


def _stem(path: Path) -> str:
    return path.stem.removesuffix(SOFT_SUFFIX)


def _pair(image: Path, masks: Sequence[Path], background: Backdrop | None) -> FoundPair:
    if not masks:
        return FoundPair(image.read_bytes, None)
    return FoundPair(
        image.read_bytes,
        masks[0].read_bytes,
        soft=masks[0].stem.endswith(SOFT_SUFFIX),
        more=tuple(mask.read_bytes for mask in masks[1:]),
        background=background if masks[0].suffix.lower() == ".ppm" else None,
    )


def _folders_below(root: Path, depth: int = 4, above: frozenset[Path] = frozenset()) -> Iterator[Path]:
    """A folder and the folders below it, links back to one that they are in left out."""
    yield root
    above |= {root.resolve()}
    if depth:
        for folder in _folders(root):
            if folder.resolve() not in above:
                yield from _folders_below(folder, depth - 1, above)


def _place(folder: Path, root: Path) -> tuple[str, ...]:
    return folder.relative_to(root).parts


def _two_trees(root: Path) -> Iterator[Found]:
    """`FRAMES[/480p]/SEQ/*` beside `TRUTHS[/480p]/SEQ[/OBJECT]/*`."""
    for base in _folders_below(root, 2):
        frames = [p for p in _folders(base) if _FRAMES.search(p.name)]
        truths = [p for p in _folders(base) if _TRUTHS.search(p.name) and p not in frames]
        found = list(_trees(root, base, frames, truths))
        yield from found


def _trees(root: Path, base: Path, frames: Sequence[Path], truths: Sequence[Path]) -> Iterator[Found]:
    for images in frames:
        for masks in truths:
            for inner in _RESOLUTIONS:
                sequences = _folders(images / inner) if (images / inner).is_dir() else []
                found = [Found(s.name, _in_tree(s, masks / inner / s.name), _place(base, root)) for s in sequences]
                if any(sequence.pairs for sequence in found):
                    yield from found
                    return


def _in_tree(images: Path, truth: Path) -> list[FoundPair]:
    if not truth.is_dir():
        return []
    objects = [p for p in _folders(truth) if re.fullmatch(r"\d{1,2}", p.name)]
    return pair_up(pictures(images), [pictures(truth), *(pictures(p) for p in objects)])


def _side_by_side(root: Path) -> Iterator[Found]:
    """`SEQ/TRUTH/*` with frames in `SEQ/FRAMES/*` or in `SEQ`."""
    for base in _folders_below(root):
        inner = _folders(base)
        truths = [p for p in inner if _TRUTHS.search(p.name) and pictures(p)]
        if not truths:
            continue
        frames = next((p for p in inner if _FRAMES.search(p.name) and p not in truths and pictures(p)), None)
        if frames is not None and (base == root or frames.name.lower() == "src" or _STILLS.search(base.name)):
            continue  # two folders of stills
        # The coarse truth of all objects before that of single ones (DAVSOD keeps both).
        truth = min(truths, key=lambda p: (p.name.lower() != "gt_object_level", p.name))
        white = any(p.name.endswith("Def.dat") or _CONFIDENCE.search(p.stem) for p in truth.iterdir())
        name = base.name if base != root else root.resolve().name
        yield Found(
            name, pair_up(pictures(frames or base), [pictures(truth)], "white" if white else None), _place(base, root)
        )


def _stills(root: Path) -> Iterator[Found]:
    """Two folders whose names say image and mask, or masks beside images; anywhere below the root."""
    for base in _folders_below(root, 3):
        inner = _folders(base)
        masks = [p for p in inner if re.search(r"mask|gt|truth|annot|label", p.name, re.IGNORECASE) and pictures(p)]
        images = [
            p
            for p in inner
            if re.search(r"im(age|g)s?|^src$", p.name, re.IGNORECASE) and p not in masks and pictures(p)
        ]
        files = pictures(base)
        if images and masks:
            image_files, mask_files = pictures(images[0]), pictures(masks[0])
        else:
            image_files = [p for p in files if p.suffix.lower() != ".png"]
            mask_files = [p for p in files if p.suffix.lower() == ".png"]
        masks_by_stem = {_stem(mask): mask for mask in mask_files}
        for image in image_files:
            if image.stem in masks_by_stem:
                yield Found(image.stem, [_pair(image, [masks_by_stem[image.stem]], None)], _place(base, root))
