"""All metrics of one frame at once, from one pass over its pixels."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vsalient.metrics import fixation, saliency, sod, structure, weighted
from vsalient.metrics.arrays import BINARISE_AT, Map8, Mask
from vsalient.metrics.boundary import boundary_f
from vsalient.metrics.histograms import Counts, JointHistogram, count
from vsalient.metrics.normalised import normalise
from vsalient.metrics.region import jaccard_of_histogram

_NORMALISED = frozenset({"maxF", "meanF", "adpF", "S", "E", "wF"})


@dataclass(frozen=True, slots=True)
class FrameScores:
    """What one frame contributes.

    Attributes:
        values: metric -> number, NaN where undefined (`MAE`, `adpF`, `S`, `adpE`, `wF`, `J`, `F`, `CC`, ...).
        curves: (256,) over thresholds: `precision`, `recall` (NaN where undefined), `sod_f`, `e`.
        musigma: precision and recall at mean + standard deviation, or None if not asked for.
        counts: (2, 256) pixels off and on the object by grey value; None in fixation mode.
        empty_quadrant: S has a quadrant of weight 0.
    """

    values: dict[str, float] = field(default_factory=dict)
    curves: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    musigma: tuple[float, float] | None = None
    counts: Counts | None = None
    empty_quadrant: bool = False


def score_frame(prediction: Map8, truth: Mask, void: Mask | None = None, *, metrics: frozenset[str]) -> FrameScores:
    """Return every metric in `metrics` of a map against an object mask; T needs two frames and is not among them.

    Args:
        prediction: (H, W) uint8 saliency map.
        truth: (H, W) bool ground truth.
        void: (H, W) bool pixels to leave out, or None.
        metrics: names of the catalogue.
    """
    histogram = count(prediction, truth, void)
    values: dict[str, float] = {}
    curves: dict[str, NDArray[np.float64]] = {}
    if "MAE" in metrics:
        values["MAE"] = saliency.mae_of_histogram(histogram)
    if "Fmax" in metrics:
        curves["precision"], curves["recall"] = saliency.precision_recall_of_histogram(histogram)
    if metrics & _NORMALISED:
        _score_normalised(values, curves, histogram, prediction, truth, void, metrics)
    if "J" in metrics:
        values["J"] = jaccard_of_histogram(histogram)
    if "F" in metrics:
        values["F"] = boundary_f(prediction >= BINARISE_AT, truth, void)
    if "CC" in metrics:
        values["CC"] = fixation.cc_of_histogram(histogram)
    if "AUC" in metrics:
        values["AUC"] = fixation.auc_of_histogram(histogram)
    if "NSS" in metrics:
        values["NSS"] = fixation.nss_of_histogram(histogram)
    return FrameScores(
        values=values,
        curves=curves,
        musigma=saliency.musigma_of_histogram(histogram) if "Fadp_musigma" in metrics else None,
        counts=histogram.counts.sum(axis=0),
        empty_quadrant="S" in metrics and structure.has_empty_quadrant(histogram),
    )


def score_fixations(
    prediction: Map8,
    density: Map8,
    points: Mask,
    negatives: NDArray[np.int64] | None,
    *,
    metrics: frozenset[str],
) -> FrameScores:
    """Return every fixation metric in `metrics`.

    Args:
        prediction: (H, W) uint8 saliency map.
        density: (H, W) uint8 fixation density map, for CC, KL and SIM.
        points: (H, W) bool fixation points, for AUC, NSS and sAUC.
        negatives: (H, W) how often each pixel was fixated in other sequences, for sAUC.
        metrics: names of the catalogue.
    """
    values: dict[str, float] = {}
    if metrics & {"AUC", "NSS"}:
        histogram = count(prediction, points, None)
        values |= {"AUC": fixation.auc_of_histogram(histogram), "NSS": fixation.nss_of_histogram(histogram)}
    if "CC" in metrics:
        values["CC"] = fixation.cc(prediction, density)
    if "sAUC" in metrics and negatives is not None:
        values["sAUC"] = fixation.sauc(prediction, points, negatives)
    if "KL" in metrics:
        values["KL"] = fixation.kl(prediction, density)
    if "SIM" in metrics:
        values["SIM"] = fixation.sim(prediction, density)
    return FrameScores(values={name: value for name, value in values.items() if name in metrics})


def _score_normalised(
    values: dict[str, float],
    curves: dict[str, NDArray[np.float64]],
    histogram: JointHistogram,
    prediction: Map8,
    truth: Mask,
    void: Mask | None,
    metrics: frozenset[str],
) -> None:
    frame = normalise(histogram, prediction, void)
    if metrics & {"maxF", "meanF"}:
        curves["sod_f"] = sod.f_curve_of(frame)
    if "adpF" in metrics:
        values["adpF"] = sod.adaptive_f_of(frame)
    if "S" in metrics:
        values["S"] = structure.s_measure_of(frame)
    if "E" in metrics:
        curves["e"] = sod.e_curve_of(frame)
        values["adpE"] = sod.adaptive_e_of(frame)
    if "wF" in metrics:
        values["wF"] = weighted.weighted_f_of(frame, prediction, truth, void)
