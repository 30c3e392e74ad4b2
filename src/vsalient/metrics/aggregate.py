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
    """A running mean of precision and of recall, at one threshold or at 256.

    Each is averaged over the frames (or sequences) where it is defined, whatever the other one is: recall where there
    is an object to find, precision where the map has a pixel at the threshold. A map that is missing, or too dim for a
    threshold, so costs recall there.
    """

    def __init__(self, shape: tuple[int, ...] = (256,)) -> None:
        self._precision = np.zeros(shape)
        self._recall = np.zeros(shape)
        self._precise: NDArray[np.int64] = np.zeros(shape, np.int64)
        self._recalled: NDArray[np.int64] = np.zeros(shape, np.int64)
        self.offered = 0

    def add(self, precision: Any, recall: Any) -> None:
        """Take in one frame's (or sequence's) values, NaN where undefined."""
        p, r = np.asarray(precision, np.float64), np.asarray(recall, np.float64)
        self._precision += np.where(np.isfinite(p), p, 0.0)
        self._recall += np.where(np.isfinite(r), r, 0.0)
        self._precise += np.isfinite(p)
        self._recalled += np.isfinite(r)
        self.offered += 1

    def mean(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return mean precision and mean recall, NaN where no frame defines it."""
        return _quotient(self._precision, self._precise), _quotient(self._recall, self._recalled)

    @property
    def without_recall(self) -> int:
        """How many frames have no recall: nothing to find."""
        return self.offered - int(self._recalled.max(initial=0))

    @property
    def without_precision(self) -> int:
        """How many frames have no precision at the threshold that most of them stay below."""
        return self.offered - int(self._precise.min(initial=self.offered))


def _quotient(total: NDArray[np.float64], count: NDArray[np.int64]) -> NDArray[np.float64]:
    mean: NDArray[np.float64] = np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)
    return mean


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
