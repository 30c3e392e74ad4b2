"""Where training pictures come from: tar shards and the folder layouts of the field's data sets.

Every source is a list of sequences of (image, mask) pairs; a still is a sequence of one. Folders are read when a pair
is asked for; shards are held in memory as they are, compressed. Masks are labels, or soft where their source says so:
`soft:PATH`, or a file called `key.soft.png`.
"""

import logging
import re
import tarfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from vsalient.datasets.masks import decode_soft, decode_truth
from vsalient.datasets.pictures import decode_picture
from vsalient.datasets.spec import DataSpec
from vsalient.errors import DataError, DecodeError

log = logging.getLogger(__name__)

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".ppm"}
SOFT_SUFFIX = ".soft"
"""`key.soft.png` is a soft mask of `key`, whatever its source is called."""
Reader = Callable[[], bytes]


@dataclass(frozen=True, slots=True)
class Pair:
    """One frame's files.

    Attributes:
        image, mask: give the bytes.
        soft: whether the mask holds probabilities × 255, as its source says.
    """

    image: Reader
    mask: Reader
    soft: bool = False


@dataclass
class PairSource:
    """Image and mask files by sequence, in order.

    Attributes:
        origin: what was read, for messages.
        names: one name a sequence.
        pairs: per sequence, one a frame.
        weight: how often this source is drawn from, against others; 0 stands for its number of sequences.
    """

    origin: str
    names: list[str] = field(default_factory=list)
    pairs: list[list[Pair]] = field(default_factory=list)
    weight: float = 0.0

    @property
    def frames(self) -> int:
        """All pairs."""
        return sum(len(x) for x in self.pairs)

    def length(self, sequence: int) -> int:
        """Pairs of a sequence."""
        return len(self.pairs[sequence])

    def is_soft(self, sequence: int, index: int) -> bool:
        """Whether a pair's mask holds probabilities × 255."""
        return self.pairs[sequence][index].soft

    def read(self, sequence: int, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """One pair decoded: RGB (H, W, 3) and mask (H, W) uint8.

        A mask is 0 or 255, read as every ground truth is (`vsalient.datasets.masks`; void counts as background); a soft
        one is probability × 255 and comes as it is, however dim.

        Raises:
            DataError: a file cannot be decoded or its values mean nothing, or the two differ in size.
        """
        pair = self.pairs[sequence][index]
        where = f"{self.origin}: {self.names[sequence]} #{index}"
        image = cv2.imdecode(np.frombuffer(pair.image(), np.uint8), cv2.IMREAD_COLOR)
        if image is None:
            raise DataError(f"{where}: the image or its mask cannot be decoded")
        mask = self._mask(pair, where)
        if image.shape[:2] != mask.shape:
            raise DataError(
                f"{where}: image {image.shape[1]}×{image.shape[0]} but mask {mask.shape[1]}×{mask.shape[0]}"
            )
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8), mask

    def _mask(self, pair: Pair, where: str) -> NDArray[np.uint8]:
        try:
            if pair.soft:
                return decode_soft(pair.mask(), where)
            return decode_truth(pair.mask(), where).mask.astype(np.uint8) * np.uint8(255)
        except DecodeError as error:
            raise DataError(str(error)) from error

    def select(self, *, keep: Sequence[str] = (), drop: Sequence[str] = ()) -> "PairSource":
        """Only the sequences of `keep` (all when empty) that are not in `drop`."""
        chosen = [i for i, n in enumerate(self.names) if (not keep or n in keep) and n not in drop]
        names, pairs = [self.names[i] for i in chosen], [self.pairs[i] for i in chosen]
        return PairSource(self.origin, names, pairs, self.weight)


def open_source(spec: Path | DataSpec) -> PairSource:
    """Read a tar shard or recognise a data-set folder.

    Args:
        spec: where it is; a `DataSpec` also says how often it is drawn from and whether its masks are soft. A mask
            called `key.soft.png` is soft in any source.

    Layouts: `JPEGImages[/480p]/SEQ` beside `Annotations[/480p]/SEQ` (DAVIS, YouTube-VOS: frames without a mask are
    left out); `SEQ/*.jpg` with `SEQ/GroundTruth/*` (FBMS); two folders of stills whose names say image and mask
    (DUTS-TR-Image, DUTS-TR-Mask; MSRA: `.jpg` beside `.png` in one folder).

    Raises:
        DataError: missing, or no pairs found; the message names the layouts.
    """
    spec = spec if isinstance(spec, DataSpec) else DataSpec(spec)
    path = spec.path
    if not path.exists():
        raise DataError(f"{path}: no such data")
    if path.is_file():
        source = _read_shard(path)
    else:
        source = _davis(path) or _fbms(path) or _image_mask(path) or PairSource(str(path))
    if not source.names:
        raise DataError(
            f"{path}: no image and mask pairs found; expected a tar of key.webp and key.png, JPEGImages beside "
            "Annotations (DAVIS, YouTube-VOS), GroundTruth inside each sequence (FBMS), or images beside masks"
        )
    source.weight = spec.weight
    if spec.soft:
        source.pairs = [[replace(pair, soft=True) for pair in pairs] for pairs in source.pairs]
    _look(source)
    return source


def _look(source: PairSource, most: int = 16) -> None:
    """Read a few masks before hours of work begin; say so where they look like probabilities that nothing calls soft.

    Raises:
        DataError: a mask whose values mean nothing.
    """
    places = [(q, i) for q, pairs in enumerate(source.pairs) for i in range(len(pairs)) if not pairs[i].soft]
    shades = []
    for q, i in places[:: -(-len(places) // most) or 1]:
        where = f"{source.origin}: {source.names[q]} #{i}"
        data = source.pairs[q][i].mask()
        try:
            decode_truth(data, where)
            pixels = decode_picture(data, where).pixels
        except DecodeError:
            continue  # told when it is read; a folder may hold one broken file among thousands
        shades.append(float(((pixels > 12) & (pixels < 243)).mean()) if len(np.unique(pixels)) > 16 else 0.0)
    if shades and float(np.mean(shades)) > 0.02:
        log.warning(
            "%s: its masks hold shades of gray and are cut at the middle; write soft:%s to keep them as probabilities",
            source.origin,
            source.origin,
        )


class Mixture:
    """Several sources as one to draw sequences from, each source as often as its weight says.

    Args:
        sources: empty ones are left out.
    """

    def __init__(self, sources: Sequence[PairSource]) -> None:
        self.sources = [s for s in sources if s.names]
        weights = np.array([s.weight or len(s.names) for s in self.sources], float)
        self.shares = weights / weights.sum() if len(weights) else weights

    def __bool__(self) -> bool:
        return bool(self.sources)

    @property
    def sequences(self) -> int:
        """All sequences."""
        return sum(len(s.names) for s in self.sources)

    @property
    def frames(self) -> int:
        """All pairs."""
        return sum(s.frames for s in self.sources)

    def draw(self, rng: np.random.Generator) -> tuple[PairSource, int]:
        """A source and one of its sequences."""
        source = self.sources[int(rng.choice(len(self.sources), p=self.shares))]
        return source, int(rng.integers(len(source.names)))


def split_stills(source: PairSource) -> tuple[PairSource, PairSource]:
    """The sequences of one pair (stills) and the longer ones (videos)."""
    stills = PairSource(source.origin, weight=source.weight)
    videos = PairSource(source.origin, weight=source.weight)
    for name, pairs in zip(source.names, source.pairs, strict=True):
        home = stills if len(pairs) == 1 else videos
        home.names.append(name)
        home.pairs.append(pairs)
    return stills, videos


def _read_shard(path: Path) -> PairSource:
    found: dict[str, dict[str, dict[str, bytes]]] = defaultdict(lambda: defaultdict(dict))
    try:
        with tarfile.open(path) as tar:
            for member in tar:
                handle = tar.extractfile(member) if member.isfile() else None
                if handle is not None:
                    key, _, suffix = member.name.rpartition(".")
                    kind = "mask" if suffix == "png" else "image"
                    if kind == "mask" and key.endswith(SOFT_SUFFIX):
                        key, kind = key.removesuffix(SOFT_SUFFIX), "soft"
                    found[key.rpartition("/")[0] or key][key][kind] = handle.read()
    except (tarfile.TarError, OSError) as error:
        raise DataError(f"{path}: not a readable tar shard: {error}") from None
    source = PairSource(str(path))
    for name in sorted(found):
        files = [f for _, f in sorted(found[name].items()) if "image" in f and len(f) > 1]
        if files:
            source.names.append(name)
            source.pairs.append(
                [
                    Pair(_held(f["image"]), _held(f["mask"] if "mask" in f else f["soft"]), soft="mask" not in f)
                    for f in files
                ]
            )
    return source


class _held:  # noqa: N801 - reads like the function it is
    """Bytes in memory as a reader that can be sent to worker processes."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __call__(self) -> bytes:
        return self.data


def _natural(path: Path) -> list[int | str]:
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.name)]


def _pictures(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted((p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES), key=_natural)


def _stem(mask: Path) -> str:
    return mask.stem.removesuffix(SOFT_SUFFIX)


def _pair(image: Path, mask: Path) -> Pair:
    return Pair(image.read_bytes, mask.read_bytes, soft=mask.stem.endswith(SOFT_SUFFIX))


def _add(source: PairSource, name: str, images: Sequence[Path], masks: Sequence[Path]) -> None:
    by_stem = {_stem(m): m for m in masks}
    pairs = [_pair(i, by_stem[i.stem]) for i in images if i.stem in by_stem]
    if pairs:
        source.names.append(name)
        source.pairs.append(pairs)


def _davis(path: Path) -> PairSource | None:
    for inner in ("480p", "Full-Resolution", "1080p", ""):
        images, masks = path / "JPEGImages" / inner, path / "Annotations" / inner
        if images.is_dir() and masks.is_dir():
            source = PairSource(str(path))
            for folder in sorted(p for p in images.iterdir() if p.is_dir()):
                _add(source, folder.name, _pictures(folder), _pictures(masks / folder.name))
            if source.names:
                return source
    return None


def _fbms(path: Path) -> PairSource | None:
    source = PairSource(str(path))
    for truth in sorted(path.glob("**/GroundTruth")):
        images = _pictures(truth.parent)
        masks = _pictures(truth)
        # FBMS writes `marple1_001_gt.png` or `001_gt.png` for `marple1_001.jpg`.
        by_number = {re.sub(r"_gt$", "", _stem(m)): m for m in masks}
        pairs = []
        for image in images:
            mask = by_number.get(image.stem) or by_number.get(re.findall(r"\d+", image.stem)[-1] if image.stem else "")
            if mask is not None:
                pairs.append(_pair(image, mask))
        if pairs:
            source.names.append(truth.parent.name)
            source.pairs.append(pairs)
    return source if source.names else None


def _image_mask(path: Path) -> PairSource | None:
    source = PairSource(str(path))
    folders = [p for p in path.iterdir() if p.is_dir()]
    words = re.compile(r"mask|gt|truth|annot|label", re.IGNORECASE)
    masks = [p for p in folders if words.search(p.name)]
    images = [p for p in folders if re.search(r"im(age|g)s?", p.name, re.IGNORECASE) and p not in masks]
    image_files = _pictures(images[0]) if images else [p for p in _pictures(path) if p.suffix.lower() != ".png"]
    mask_files = _pictures(masks[0]) if masks else [p for p in _pictures(path) if p.suffix.lower() == ".png"]
    by_stem = {_stem(m): m for m in mask_files}
    for image in image_files:
        if image.stem in by_stem:
            source.names.append(image.stem)
            source.pairs.append([_pair(image, by_stem[image.stem])])
    return source if source.names else None
