"""From frames to sequences to a data set: the order of averaging, which moves numbers more than anything else.

Every metric is averaged over the frames of a sequence, then over sequences, unless its name says otherwise:
`*_frames` weighs every frame of the data set alike, `*_pooled` every pixel. F of the papers is computed from the
averaged precision and recall, and only then maximised over thresholds.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

RECALL_ABOVE = 0.5


@dataclass(frozen=True, slots=True)
class Statistics:
    """DAVIS's three numbers of a sequence.

    Attributes:
        mean: over frames.
        recall: share of frames strictly above 0.5.
        decay: mean of the first quarter minus mean of the last.
    """

    mean: float
    recall: float
    decay: float


def statistics(values: ArrayLike) -> Statistics:
    """Return mean, recall and decay of one sequence's scores, in frame order; NaN frames are left out."""
    scores = _defined(values)
    if not scores.size:
        return Statistics(float("nan"), float("nan"), float("nan"))
    return Statistics(float(scores.mean()), recall(scores), decay(scores))


def recall(values: ArrayLike, above: float = RECALL_ABOVE) -> float:
    """Return the share of scores strictly above a bar; NaN without scores."""
    scores = _defined(values)
    return float(np.mean(scores > above)) if scores.size else float("nan")


def decay(values: ArrayLike, bins: int = 4) -> float:
    """Return mean(first quarter) - mean(last quarter) of one sequence's scores; NaN without scores.

    The quarters' edges are round(linspace(1, n, 5) + 1e-10) - 1, and neighbours share the frame on the edge. The
    DAVIS code holds the edges in 8 bits, which wrap around from frame 256 on; here they do not.
    """
    scores = _defined(values)
    if not scores.size:
        return float("nan")
    edges = (np.round(np.linspace(1, scores.size, bins + 1) + 1e-10) - 1).astype(np.int64)
    first = scores[edges[0] : edges[1] + 1]
    last = scores[edges[bins - 1] : edges[bins] + 1]
    return float(first.mean() - last.mean())


def mean_defined(values: ArrayLike) -> float:
    """Return the mean of what is not NaN; NaN if nothing is."""
    scores = _defined(values)
    return float(scores.mean()) if scores.size else float("nan")


class PrecisionRecallMean:
    """A running mean of precision and recall, at one threshold or at 256.

    A frame (or sequence) whose precision or recall is undefined at a threshold is skipped there, in both means.
    """

    def __init__(self, shape: tuple[int, ...] = (256,)) -> None:
        self._precision = np.zeros(shape)
        self._recall = np.zeros(shape)
        self.counted: NDArray[np.int64] = np.zeros(shape, np.int64)
        self.offered = 0

    def add(self, precision: Any, recall: Any) -> None:
        """Take in one frame's (or sequence's) values, NaN where undefined."""
        p, r = np.asarray(precision, np.float64), np.asarray(recall, np.float64)
        defined = np.isfinite(p) & np.isfinite(r)
        self._precision += np.where(defined, p, 0.0)
        self._recall += np.where(defined, r, 0.0)
        self.counted += defined
        self.offered += 1

    def mean(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return mean precision and mean recall, NaN where every frame was skipped."""
        blank = np.full(self.counted.shape, np.nan)
        some = self.counted > 0
        precision = np.divide(self._precision, self.counted, out=blank.copy(), where=some)
        return precision, np.divide(self._recall, self.counted, out=blank, where=some)

    @property
    def skipped_everywhere(self) -> int:
        """How many frames were skipped even at the threshold that skipped the fewest."""
        return self.offered - int(self.counted.max(initial=0))

    @property
    def skipped_somewhere(self) -> int:
        """How many frames were skipped at the threshold that skipped the most."""
        return self.offered - int(self.counted.min(initial=self.offered))


def average_precision_recall(
    sequences: Iterable[Sequence[tuple[ArrayLike, ArrayLike]]], shape: tuple[int, ...] = (256,)
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return precision and recall averaged over frames, then over sequences.

    Args:
        sequences: for each sequence, (precision, recall) of each frame, NaN where undefined.
        shape: of one frame's precision: (256,) for curves, () for single values.
    """
    dataset = PrecisionRecallMean(shape)
    for frames in sequences:
        sequence = PrecisionRecallMean(shape)
        for precision, recall_ in frames:
            sequence.add(precision, recall_)
        dataset.add(*sequence.mean())
    return dataset.mean()


def _defined(values: ArrayLike) -> NDArray[np.float64]:
    scores = np.asarray(values, np.float64).ravel()
    defined: NDArray[np.float64] = scores[~np.isnan(scores)]
    return defined
