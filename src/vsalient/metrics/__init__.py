"""The numbers: one file a family, on NumPy arrays of one frame, and the orders in which frames are averaged.

All conventions are in `docs/evaluate.md`. Maps are uint8 in 0..255 or floats in [0, 1]; ground truth is bool, or
8-bit with foreground above 128; `void` marks pixels that count for nothing.
"""

from vsalient.metrics.aggregate import (
    PrecisionRecallMean,
    Statistics,
    average_precision_recall,
    decay,
    mean_defined,
    recall,
    statistics,
)
from vsalient.metrics.boundary import boundary_f, boundary_map, boundary_precision_recall
from vsalient.metrics.catalogue import CATALOGUE, GROUPS, LOWER_IS_BETTER, Metric, results_of, select_metrics
from vsalient.metrics.fixation import auc, cc, kl, nss, sauc, sim
from vsalient.metrics.frame import FrameScores, score_fixations, score_frame
from vsalient.metrics.histograms import JointHistogram, joint_histogram
from vsalient.metrics.region import jaccard
from vsalient.metrics.saliency import (
    f1_pooled,
    f_max,
    f_measure,
    mae,
    precision_recall_curve,
    precision_recall_musigma,
)
from vsalient.metrics.scores import DatasetScores, SequenceAccumulator, SequenceScores, combine
from vsalient.metrics.sod import adaptive_e, adaptive_f, e_curve, f_curve
from vsalient.metrics.structure import s_measure
from vsalient.metrics.temporal import temporal_stability
from vsalient.metrics.weighted import weighted_f

__all__ = [
    "CATALOGUE",
    "GROUPS",
    "LOWER_IS_BETTER",
    "DatasetScores",
    "FrameScores",
    "JointHistogram",
    "Metric",
    "PrecisionRecallMean",
    "SequenceAccumulator",
    "SequenceScores",
    "Statistics",
    "adaptive_e",
    "adaptive_f",
    "auc",
    "average_precision_recall",
    "boundary_f",
    "boundary_map",
    "boundary_precision_recall",
    "cc",
    "combine",
    "decay",
    "e_curve",
    "f1_pooled",
    "f_curve",
    "f_max",
    "f_measure",
    "jaccard",
    "joint_histogram",
    "kl",
    "mae",
    "mean_defined",
    "nss",
    "precision_recall_curve",
    "precision_recall_musigma",
    "recall",
    "results_of",
    "s_measure",
    "sauc",
    "score_fixations",
    "score_frame",
    "select_metrics",
    "sim",
    "statistics",
    "temporal_stability",
    "weighted_f",
]
