"""The threshold that maximises a sequence's F-measure; it sees the ground truth, so it is for analysis."""

import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vsalient.datasets.masks import read_truth
from vsalient.datasets.names import PICTURES, natural
from vsalient.errors import DataError, OptionError
from vsalient.segment.binarise import IndexedMask, Threshold, quantise
from vsalient.types import MaskArray, SaliencyArray

BETA_SQUARED = 0.3


class MaxFThreshold(Threshold):
    """One level for the whole sequence: the best of 256 by F-measure with β² = 0.3 (dsrfcn3d §3.1, F-Max).

    Precision is averaged over the frames whose map reaches the level, recall over those with an object, and F is taken
    of the averages. The maps wait as compressed grey levels in a temporary file on disk, so memory stays that
    of one frame; all masks come out of `finish`.
    """

    def __init__(self, ground_truth: Path) -> None:
        """Take a folder with one mask per frame, or a folder of such folders named like the sequences.

        Raises:
            OptionError: the folder does not exist.
        """
        if not ground_truth.is_dir():
            raise OptionError(
                f"Ground truth {ground_truth} is not a folder; give max-f:FOLDER with one mask per frame."
            )
        self.ground_truth = ground_truth
        self.spec = f"max-f:{ground_truth}"
        self.level: float | None = None
        self._truths = _mask_files(ground_truth)
        self._chunks: dict[int, tuple[int, int, tuple[int, ...]]] = {}
        # Closed by finish, or with this object: the file has no name and outlives neither.
        self._spool = tempfile.TemporaryFile(prefix="vsalient-")  # noqa: SIM115
        self._precision = np.zeros(256)
        self._recall = np.zeros(256)
        self._found = np.zeros(256)
        self._with_object = 0

    def push(self, index: int, saliency: SaliencyArray) -> list[IndexedMask]:
        """Count this map against its ground truth and set it aside; nothing is certain yet.

        Raises:
            DataError: there is no ground truth for this frame, or it has another size.
        """
        number = len(self._chunks)
        if number >= len(self._truths):
            raise DataError(
                f"Ground truth {self.ground_truth} has {len(self._truths)} masks, fewer than there are frames"
                "; give the folder of one sequence with a mask per frame."
            )
        read = read_truth((self._truths[number],))
        truth = read.mask
        valid = np.ones(truth.shape, np.bool_) if read.void is None else ~read.void
        if truth.shape != saliency.shape:
            raise DataError(
                f"Ground truth {self._truths[number]} is {truth.shape[1]}x{truth.shape[0]} but its map is "
                f"{saliency.shape[1]}x{saliency.shape[0]}; both must have the same size."
            )
        grey = quantise(saliency)
        self._count(grey[valid], truth[valid])
        packed = zlib.compress(grey.tobytes(), 1)
        self._chunks[index] = (self._spool.tell(), len(packed), grey.shape)
        self._spool.write(packed)
        return []

    def finish(self) -> Iterator[IndexedMask]:
        """Choose the level, then yield every frame's mask.

        Raises:
            DataError: there is more ground truth than there were frames.
        """
        if len(self._chunks) != len(self._truths):
            raise DataError(
                f"Ground truth {self.ground_truth} has {len(self._truths)} masks, but the sequence has "
                f"{len(self._chunks)} frames; give the folder of one sequence with a mask per frame."
            )
        best = self._best()
        self.level = best / 255.0
        return self._masks(best)

    def saliency(self, index: int) -> SaliencyArray:
        """Return the map of frame `index` as it was set aside, 8 bits deep, while `finish` is being read."""
        grey: SaliencyArray = self._grey(index) * np.float32(1.0 / 255.0)
        return grey

    def fresh(self, sequence: str | None = None) -> Threshold:
        """Return an unused threshold; a subfolder named like the sequence is then its ground truth."""
        own = self.ground_truth / sequence if sequence else self.ground_truth
        return MaxFThreshold(own if own.is_dir() else self.ground_truth)

    def _count(self, grey: NDArray[np.uint8], truth: MaskArray) -> None:
        inside = np.bincount(grey[truth], minlength=256)[::-1].cumsum()[::-1]
        above = np.bincount(grey, minlength=256)[::-1].cumsum()[::-1]
        # As in the F-measure that `vsalient evaluate` reports: each mean over the frames where it is defined.
        found = above > 0
        self._precision[found] += inside[found] / above[found]
        self._found += found
        if inside[0]:
            self._recall += inside / inside[0]
            self._with_object += 1

    def _best(self) -> int:
        precision, recall = self._precision / np.maximum(self._found, 1), self._recall / max(self._with_object, 1)
        weighted = BETA_SQUARED * precision + recall
        score = np.divide((1 + BETA_SQUARED) * precision * recall, weighted, where=weighted > 0, out=np.zeros(256))
        return int(score.argmax()) if score.any() else 255

    def _masks(self, best: int) -> Iterator[IndexedMask]:
        for index in self._chunks:
            yield index, self._grey(index) >= best
        self._spool.close()

    def _grey(self, index: int) -> NDArray[np.uint8]:
        start, size, shape = self._chunks[index]
        self._spool.seek(start)
        return np.frombuffer(zlib.decompress(self._spool.read(size)), dtype=np.uint8).reshape(shape)


def _mask_files(folder: Path) -> list[Path]:
    """Return the folder's mask images in natural order; empty when it holds only folders."""
    files = [path for path in folder.iterdir() if path.suffix.lower() in PICTURES and path.is_file()]
    return sorted(files, key=lambda path: natural(path.name))
