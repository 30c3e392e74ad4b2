"""Where training pictures come from: tar shards and the folder layouts of the field's data sets.

Every source is a list of sequences of (image, mask) pairs; a still is a sequence of one. Folders are read when a pair
is asked for; shards are held in memory as they are, compressed. Masks are labels, or soft where their source says so:
`soft:PATH`, or a file called `key.soft.png`.
"""

import logging
import tarfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from vsalient.datasets.collections import SOFT_SUFFIX, find_collection
from vsalient.datasets.found import FoundPair, Reader
from vsalient.datasets.masks import decode_soft, decode_truth
from vsalient.datasets.pictures import decode_picture
from vsalient.datasets.spec import DataSpec
from vsalient.datasets.splits import choose_sequences, refuse_known
from vsalient.errors import DataError, DecodeError, OptionError

log = logging.getLogger(__name__)


@dataclass
class PairSource:
    """Image and mask files by sequence, in order.

    Attributes:
        origin: what was read, for messages.
        names: one name a sequence.
        pairs: per sequence, one a frame.
        weight: how often this source is drawn from, against others; 0 stands for its number of sequences.
        note: which part of the data set this is, for people; "" where it is all of it.
    """

    origin: str
    names: list[str] = field(default_factory=list)
    pairs: list[list[FoundPair]] = field(default_factory=list)
    weight: float = 0.0
    note: str = ""

    @property
    def frames(self) -> int:
        """All pairs, those without a mask too."""
        return sum(len(x) for x in self.pairs)

    def length(self, sequence: int) -> int:
        """Pairs of a sequence."""
        return len(self.pairs[sequence])

    def is_soft(self, sequence: int, index: int) -> bool:
        """Whether a pair's mask holds probabilities × 255."""
        return self.pairs[sequence][index].soft

    def is_labelled(self, sequence: int, index: int) -> bool:
        """Whether a frame has a mask."""
        return self.pairs[sequence][index].mask is not None

    def labelled(self, sequence: int) -> list[int]:
        """The frames of a sequence that have a mask, at least one."""
        return [i for i in range(self.length(sequence)) if self.is_labelled(sequence, i)]

    def read(self, sequence: int, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """One pair decoded: RGB (H, W, 3) and mask (H, W) uint8.

        A mask is 0 or 255, read as every ground truth is (`vsalient.datasets.masks`; void counts as background); a soft
        one is probability × 255 and comes as it is, however dim. A frame without a mask comes with one of zeros.

        Raises:
            DataError: a file cannot be decoded or its values mean nothing, or the two differ in size.
        """
        pair = self.pairs[sequence][index]
        where = f"{self.origin}: {self.names[sequence]} #{index}"
        image = cv2.imdecode(np.frombuffer(pair.image(), np.uint8), cv2.IMREAD_COLOR)
        if image is None:
            raise DataError(f"{where}: the image or its mask cannot be decoded")
        mask = np.zeros(image.shape[:2], np.uint8) if pair.mask is None else self._mask(pair, pair.mask, where)
        if image.shape[:2] != mask.shape:
            raise DataError(
                f"{where}: image {image.shape[1]}×{image.shape[0]} but mask {mask.shape[1]}×{mask.shape[0]}"
            )
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8), mask

    def _mask(self, pair: FoundPair, first: Reader, where: str) -> NDArray[np.uint8]:
        try:
            if pair.soft:
                return decode_soft(first(), where)
            mask = decode_truth(first(), where, background=pair.background).mask
            for reader in pair.more:
                other = decode_truth(reader(), where).mask
                if other.shape != mask.shape:
                    raise DataError(f"{where}: the masks of its objects differ in size")
                mask = mask | other
            return mask.astype(np.uint8) * np.uint8(255)
        except DecodeError as error:
            raise DataError(str(error)) from error

    def select(self, *, keep: Sequence[str] = (), drop: Sequence[str] = ()) -> "PairSource":
        """Only the sequences of `keep` (all when empty) that are not in `drop`."""
        chosen = [i for i, n in enumerate(self.names) if (not keep or n in keep) and n not in drop]
        names, pairs = [self.names[i] for i in chosen], [self.pairs[i] for i in chosen]
        return PairSource(self.origin, names, pairs, self.weight, self.note)


def open_pairs(spec: Path | DataSpec, *, allow_test: bool = False) -> PairSource:
    """Read a tar shard or recognise a data-set folder (layouts: `vsalient.datasets.collections`).

    Args:
        spec: where it is; a `DataSpec` also says which split, how often it is drawn from and whether its masks are
            soft. A mask called `key.soft.png` is soft in any source.
        allow_test: whether the validation and test parts of known sets may be trained on.

    Raises:
        DataError: missing, no pairs found, or a part that is for testing.
        OptionError: no such split.
    """
    spec = spec if isinstance(spec, DataSpec) else DataSpec(spec)
    path = spec.path
    if not path.exists():
        raise DataError(f"{path}: no such data")
    if path.is_file():
        if spec.split is not None:
            raise OptionError(f"{path}:{spec.split}: a tar has no splits; leave :{spec.split} out")
        source = _read_shard(path)
        refuse_known(source.names, path, allow_test=allow_test)
    else:
        source = PairSource(str(path))
        collection = find_collection(path)
        if collection is not None:
            chosen, source.note = choose_sequences(collection, path, spec.split, allow_test=allow_test)
            source.names, source.pairs = [found.name for found in chosen], [found.pairs for found in chosen]
    if not source.names:
        raise DataError(
            f"{path}: no image and mask pairs found; expected a tar of key.webp and key.png, JPEGImages beside "
            "Annotations (DAVIS, YouTube-VOS), GroundTruth inside each sequence (FBMS), images beside masks, or a "
            "layout of docs/training.md"
        )
    source.weight = spec.weight
    if spec.soft:
        source.pairs = [[replace(pair, soft=True) for pair in pairs] for pairs in source.pairs]
    _look_into(source)
    return source


def _look_into(source: PairSource, most: int = 16) -> None:
    """Read a few masks before hours of work begin; say so where they look like probabilities that nothing calls soft.

    Raises:
        DataError: a mask whose values mean nothing.
    """
    masks = [
        (q, i, pair.mask)
        for q, pairs in enumerate(source.pairs)
        for i, pair in enumerate(pairs)
        if pair.mask is not None and not pair.soft
    ]
    shades = []
    for q, i, mask in masks[:: -(-len(masks) // most) or 1]:
        where = f"{source.origin}: {source.names[q]} #{i}"
        data = mask()
        try:
            decode_truth(data, where)
            pixels = decode_picture(data, where).pixels
        except DataError as error:
            if "declare its source soft" in str(error):
                raise DataError(f"{error} (--data soft:{source.origin})") from error
            raise
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
    stills = PairSource(source.origin, weight=source.weight, note=source.note)
    videos = PairSource(source.origin, weight=source.weight, note=source.note)
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
        files = [f for _, f in sorted(found[name].items()) if "image" in f]
        labelled = [place for place, f in enumerate(files) if len(f) > 1]
        if labelled:
            source.names.append(name)
            source.pairs.append([_held_pair(f) for f in files[labelled[0] : labelled[-1] + 1]])
    return source


def _held_pair(files: dict[str, bytes]) -> FoundPair:
    mask = files.get("mask", files.get("soft"))
    return FoundPair(
        _held(files["image"]), None if mask is None else _held(mask), soft="soft" in files and "mask" not in files
    )


class _held:  # noqa: N801 - reads like the function it is
    """Bytes in memory as a reader that can be sent to worker processes."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __call__(self) -> bytes:
        return self.data
