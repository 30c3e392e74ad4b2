"""Accumulate frames into a sequence's scores, and sequences into a data set's."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import nan

import numpy as np
from numpy.typing import NDArray

from vsalient.metrics.aggregate import PrecisionRecallMean, mean_defined, statistics
from vsalient.metrics.catalogue import results_of
from vsalient.metrics.frame import FrameScores
from vsalient.metrics.histograms import GRAY_LEVELS, Counts, at_least
from vsalient.metrics.saliency import Curve, at_or_above_musigma, f1_pooled, f_max, f_measure

_SOD_CURVES = {"sod_f": ("maxF", "meanF"), "e": ("E",)}
"""Curves that are means over frames, and the metrics that need them."""


@dataclass(frozen=True, slots=True)
class SequenceScores:
    """One sequence, summed up. Small and picklable: its size is a few numbers a frame.

    Attributes:
        name: of the sequence.
        metrics: what was computed.
        frames: the names of the frames that count, in order.
        values: metric -> (frames,) numbers, NaN where undefined; `T` has one for each pair of neighbours.
        curves: (256,) means over frames: `precision`, `recall`, `tpr`, `fpr`, `sod_f`, `e`.
        musigma: mean precision and recall at mean + standard deviation of each map; `voxel` of each block of frames.
        counts: (2, 256) pooled pixels off and on the object by grey value.
        curve_frames: frames that `sod_f` and `e` are means of: all but those void everywhere.
        undefined: metric -> frames left out of its mean. `Fmax` and `Fadp_musigma` count those without recall,
            `Fmax (some thresholds)` those without precision at the threshold that most maps stay below, and
            `Fadp_musigma (precision)` those without it at their own.
        flagged: metric -> frames with an edge case that was settled by convention.
    """

    name: str
    metrics: tuple[str, ...]
    frames: tuple[str, ...]
    values: dict[str, NDArray[np.float64]]
    curves: dict[str, Curve]
    musigma: tuple[float, float]
    counts: Counts
    curve_frames: int
    undefined: dict[str, int] = field(default_factory=dict)
    flagged: dict[str, int] = field(default_factory=dict)
    voxel: tuple[float, float] = (nan, nan)

    def results(self) -> dict[str, float]:
        """Return the sequence's numbers by the names of the catalogue (`*_frames` belong to data sets only)."""
        values = {name: mean_defined(scores) for name, scores in self.values.items()}
        values |= _of_curves(self.curves, self.musigma, self.voxel)
        values |= _of_counts(self.counts)
        for name in ("J", "F"):
            if name in self.values:
                values |= _davis_measures(name, self.values[name])
        return _ordered(values, self.metrics, pooled=False)


@dataclass(frozen=True, slots=True)
class DatasetScores:
    """A data set, summed up.

    Attributes:
        results: name -> number, in the order of the catalogue.
        curves: (256,) means over sequences: `precision`, `recall`, `f` (of those two), `tpr` and `fpr` (the ROC curve:
            recall, and the share of what is no object that is above the threshold), `sod_f`, `e`.
        undefined, flagged: sums over the sequences.
        frames: how many frames count.
    """

    results: dict[str, float]
    curves: dict[str, Curve]
    undefined: dict[str, int]
    flagged: dict[str, int]
    frames: int


class SequenceAccumulator:
    """Takes in frames one by one; holds a few sums and a few numbers a frame.

    Args:
        name: of the sequence.
        metrics: names of the catalogue.
        block: frames of a voxel of Fadp_voxel; the last one may be shorter.
    """

    def __init__(self, name: str, metrics: Sequence[str], *, block: int = 4) -> None:
        self._name = name
        self._metrics = tuple(metrics)
        self._frames: list[str] = []
        self._values: dict[str, list[float]] = {}
        self._sums: dict[str, Curve] = {
            name: np.zeros(256) for name in _SOD_CURVES if {*_SOD_CURVES[name]} & {*metrics}
        }
        self._curve_frames = 0
        self._precision_recall = PrecisionRecallMean()
        self._musigma = PrecisionRecallMean(())
        self._voxel = PrecisionRecallMean(())
        self._block: list[Counts] = []
        self._length = block
        self._roc = PrecisionRecallMean()
        self._counts: Counts = np.zeros((2, 256), np.int64)
        self._empty_quadrants = 0

    def add(self, frame: str, scores: FrameScores) -> None:
        """Take in one frame."""
        self._frames.append(frame)
        for name, value in scores.values.items():
            self._values.setdefault(name, []).append(value)
        # Void everywhere, and both curves are NaN.
        sod = {name: scores.curves[name] for name in self._sums if not np.isnan(scores.curves[name][0])}
        for name, curve in sod.items():
            self._sums[name] += curve
        self._curve_frames += bool(sod)
        if "precision" in scores.curves:
            self._precision_recall.add(scores.curves["precision"], scores.curves["recall"])
        if scores.musigma is not None:
            self._musigma.add(*scores.musigma)
        if scores.counts is not None:
            self._counts += scores.counts
            if "AUC" in self._metrics:
                self._roc.add(*_roc(scores.counts))
            if "Fadp_voxel" in self._metrics:
                self._block.append(scores.counts)
                if len(self._block) == self._length:
                    self._end_block()
        self._empty_quadrants += scores.empty_quadrant

    def add_pair(self, name: str, value: float) -> None:
        """Take in a number that belongs to two neighbouring frames (T)."""
        self._values.setdefault(name, []).append(value)

    def _end_block(self) -> None:
        """One threshold, mean + standard deviation, for all frames of a block (dsrfcn3d, section 3.1)."""
        above = at_or_above_musigma(np.sum(self._block, axis=(0, 1))) if self._block else np.zeros(256, np.bool_)
        for background, foreground in self._block:
            hits, pixels = int(foreground[above].sum()), int(foreground.sum())
            chosen = hits + int(background[above].sum())
            self._voxel.add(hits / chosen if chosen else nan, hits / pixels if pixels else nan)
        self._block = []

    def finish(self) -> SequenceScores:
        """Return the sequence's scores."""
        self._end_block()
        frames = len(self._frames)
        used = self._curve_frames
        curves = {name: total / used if used else np.full(256, nan) for name, total in self._sums.items()}
        values = {name: np.array(scores) for name, scores in self._values.items()}
        undefined = {name: int(np.isnan(scores).sum()) for name, scores in values.items()}
        undefined |= {", ".join(_SOD_CURVES[name]): frames - used for name in self._sums}
        if "Fmax" in self._metrics:
            curves["precision"], curves["recall"] = self._precision_recall.mean()
            undefined["Fmax"] = self._precision_recall.without_recall
            undefined["Fmax (some thresholds)"] = self._precision_recall.without_precision
        if "AUC" in self._metrics and self._roc.offered:
            curves["tpr"], curves["fpr"] = self._roc.mean()
        precision, recall = self._musigma.mean()
        if "Fadp_musigma" in self._metrics:
            undefined["Fadp_musigma"] = self._musigma.without_recall
            undefined["Fadp_musigma (precision)"] = self._musigma.without_precision
        return SequenceScores(
            name=self._name,
            metrics=self._metrics,
            frames=tuple(self._frames),
            values=values,
            curves=curves,
            musigma=(float(precision), float(recall)),
            counts=self._counts,
            curve_frames=used,
            undefined={name: n for name, n in undefined.items() if n},
            voxel=(float(self._voxel.mean()[0]), float(self._voxel.mean()[1])),
            flagged={"S (a quadrant is empty)": self._empty_quadrants} if self._empty_quadrants else {},
        )


def combine(sequences: Sequence[SequenceScores]) -> DatasetScores:
    """Return the data set's scores: means over sequences, and the pooled variants.

    A sequence without a single defined frame is left out of that metric's mean and counted as undefined.
    """
    metrics = sequences[0].metrics if sequences else ()
    undefined: dict[str, int] = {}
    flagged: dict[str, int] = {}
    for sequence in sequences:
        for total, part in ((undefined, sequence.undefined), (flagged, sequence.flagged)):
            for name, number in part.items():
                total[name] = total.get(name, 0) + number
    each = [sequence.results() for sequence in sequences]
    values = {name: mean_defined([result[name] for result in each]) for name in (each[0] if each else ())}
    curves = _mean_curves(sequences)
    musigma = PrecisionRecallMean(())
    for sequence in sequences:
        musigma.add(*sequence.musigma)
    voxel = PrecisionRecallMean(())
    for sequence in sequences:
        voxel.add(*sequence.voxel)
    values |= _of_curves(curves, _mean_pair(musigma), _mean_pair(voxel))
    values |= _of_counts(np.sum([sequence.counts for sequence in sequences], axis=0))
    values |= _over_frames(sequences)
    if "precision" in curves:
        curves["f"] = f_measure(curves["precision"], curves["recall"])
    return DatasetScores(
        results=_ordered(values, metrics, pooled=True),
        curves=curves,
        undefined=undefined,
        flagged=flagged,
        frames=sum(len(sequence.frames) for sequence in sequences),
    )


def _mean_curves(sequences: Sequence[SequenceScores]) -> dict[str, Curve]:
    names = sequences[0].curves if sequences else {}
    curves: dict[str, Curve] = {}
    for name in _SOD_CURVES:
        if name in names:
            parts = [sequence.curves[name] for sequence in sequences if sequence.curve_frames]
            curves[name] = np.mean(parts, axis=0) if parts else np.full(256, nan)
    for first, second in (("precision", "recall"), ("tpr", "fpr")):
        if first in names:
            mean = PrecisionRecallMean()
            for sequence in sequences:
                mean.add(sequence.curves[first], sequence.curves[second])
            curves[first], curves[second] = mean.mean()
    return curves


def _mean_pair(mean: PrecisionRecallMean) -> tuple[float, float]:
    first, second = mean.mean()
    return float(first), float(second)


def _roc(counts: Counts) -> tuple[Curve, Curve]:
    """A frame's true and false positive rates over the thresholds (conv3dnet Eq. 4, 5), NaN where undefined."""
    background, foreground = at_least(counts[0]), at_least(counts[1])
    blank = np.full(256, nan)
    return (
        foreground / foreground[0] if foreground[0] else blank,
        background / background[0] if background[0] else blank,
    )


def _over_frames(sequences: Sequence[SequenceScores]) -> dict[str, float]:
    """Return the `*_frames` numbers: every frame of the data set weighs alike."""
    values: dict[str, float] = {}
    for name in ("adpF", "S", "adpE", "wF"):
        scores = [sequence.values[name] for sequence in sequences if name in sequence.values]
        values[f"{name}_frames"] = mean_defined(np.concatenate(scores)) if scores else nan
    some = [sequence for sequence in sequences if sequence.curve_frames]
    weights = [sequence.curve_frames for sequence in some]
    for curve, letter in (("sod_f", "F"), ("e", "E")):
        parts = [sequence.curves[curve] for sequence in some if curve in sequence.curves]
        if parts:
            pooled = np.average(parts, axis=0, weights=weights)
            values |= {f"max{letter}_frames": float(pooled.max()), f"mean{letter}_frames": float(pooled.mean())}
    return values


def _of_curves(curves: dict[str, Curve], musigma: tuple[float, float], voxel: tuple[float, float]) -> dict[str, float]:
    values = {"Fadp_musigma": float(f_measure(*musigma)), "Fadp_voxel": float(f_measure(*voxel))}
    if "precision" in curves:
        values["Fmax"] = f_max(curves["precision"], curves["recall"])
    for curve, letter in (("sod_f", "F"), ("e", "E")):
        if curve in curves:
            values |= {
                f"max{letter}": float(curves[curve].max()),
                f"mean{letter}": float(curves[curve].mean()),
            }
    return values


def _of_counts(counts: Counts) -> dict[str, float]:
    background, foreground = counts
    pixels = int(counts.sum())
    wrong = int(background @ GRAY_LEVELS) + int(foreground @ (255 - GRAY_LEVELS))
    return {
        "MAE_pooled": wrong / (255 * pixels) if pixels else nan,
        "F1_pooled": f1_pooled(foreground, background),
    }


def _davis_measures(name: str, scores: NDArray[np.float64]) -> dict[str, float]:
    numbers = statistics(scores)
    return {f"{name}_mean": numbers.mean, f"{name}_recall": numbers.recall, f"{name}_decay": numbers.decay}


def _ordered(values: dict[str, float], metrics: tuple[str, ...], *, pooled: bool) -> dict[str, float]:
    if "J_mean" in values and "F_mean" in values:
        values["O"] = values["J&F"] = (values["J_mean"] + values["F_mean"]) / 2
    names = (name for name in results_of(metrics) if pooled or not name.endswith("_frames"))
    return {name: values.get(name, nan) for name in names}
