"""CC, NSS, AUC, sAUC, KL and SIM against their definitions."""

import math

import numpy as np
import pytest

from vsalient import metrics
from vsalient.errors import DataError
from vsalient.metrics.fixation import auc_of_histogram, cc_of_histogram, nss_of_histogram

RNG = np.random.default_rng(21)
SALIENCY = RNG.integers(0, 12, (14, 19)).astype(np.uint8) * 20
POSITIVES = RNG.random((14, 19)) < 0.2


def auc_by_pairs(on, off):
    """The chance that a positive beats a negative, pair by pair."""
    a, b = np.asarray(on, float)[:, None], np.asarray(off, float)[None]
    return float(((a > b) + 0.5 * (a == b)).mean())


def test_definitions():
    assert metrics.auc(SALIENCY, POSITIVES) == pytest.approx(
        auc_by_pairs(SALIENCY[POSITIVES], SALIENCY[~POSITIVES]), abs=1e-12
    )
    assert metrics.cc(SALIENCY, POSITIVES) == pytest.approx(
        np.corrcoef(SALIENCY.ravel(), POSITIVES.ravel())[0, 1], abs=1e-12
    )
    expected = ((SALIENCY - SALIENCY.mean()) / SALIENCY.std())[POSITIVES].mean()
    assert metrics.nss(SALIENCY, POSITIVES) == pytest.approx(expected, abs=1e-12)


def test_histograms_give_the_same():
    for saliency in (SALIENCY, RNG.integers(0, 256, (50, 60)).astype(np.uint8)):
        positives = RNG.random(saliency.shape) < 0.1
        histogram = metrics.joint_histogram(saliency, positives)
        assert auc_of_histogram(histogram) == pytest.approx(metrics.auc(saliency, positives), abs=1e-12)
        assert cc_of_histogram(histogram) == pytest.approx(metrics.cc(saliency, positives), abs=1e-12)
        assert nss_of_histogram(histogram) == pytest.approx(metrics.nss(saliency, positives), abs=1e-12)


def test_scale_does_not_matter():
    floats = SALIENCY.astype(np.float64) * 3.7 - 200
    for measure in (metrics.auc, metrics.nss, metrics.cc):
        assert measure(floats, POSITIVES) == pytest.approx(measure(SALIENCY, POSITIVES), abs=1e-12)


@pytest.mark.parametrize("value", [0, 31, 255])
def test_constant_maps(value):
    flat = np.full(SALIENCY.shape, value, np.uint8)
    histogram = metrics.joint_histogram(flat, POSITIVES)
    assert metrics.auc(flat, POSITIVES) == auc_of_histogram(histogram) == 0.5
    assert math.isnan(metrics.cc(flat, POSITIVES)) and math.isnan(cc_of_histogram(histogram))
    assert math.isnan(metrics.nss(flat, POSITIVES)) and math.isnan(nss_of_histogram(histogram))


@pytest.mark.parametrize("positives", [np.zeros_like(POSITIVES), np.ones_like(POSITIVES)])
def test_no_positives_or_no_negatives(positives):
    histogram = metrics.joint_histogram(SALIENCY, positives)
    assert math.isnan(metrics.auc(SALIENCY, positives)) and math.isnan(auc_of_histogram(histogram))
    assert math.isnan(metrics.cc(SALIENCY, positives)) and math.isnan(cc_of_histogram(histogram))
    if positives.any():
        assert metrics.nss(SALIENCY, positives) == pytest.approx(0, abs=1e-12)
    else:
        assert math.isnan(metrics.nss(SALIENCY, positives)) and math.isnan(nss_of_histogram(histogram))


def test_shuffled_auc_takes_all_negatives_with_their_counts():
    counts = RNG.integers(0, 3, SALIENCY.shape)
    off = np.repeat(SALIENCY.ravel(), counts.ravel())
    assert metrics.sauc(SALIENCY, POSITIVES, counts) == pytest.approx(auc_by_pairs(SALIENCY[POSITIVES], off), abs=1e-12)
    expected = auc_by_pairs(SALIENCY[POSITIVES], SALIENCY[counts > 0])
    assert metrics.sauc(SALIENCY, POSITIVES, counts > 0) == pytest.approx(expected, abs=1e-12)
    with pytest.raises(DataError):
        metrics.sauc(SALIENCY, POSITIVES, counts - 5)


def test_kl_and_sim_as_mit_defines_them():
    density = RNG.random(SALIENCY.shape)
    a, b = SALIENCY / SALIENCY.sum(), density / density.sum()
    eps = np.finfo(float).eps
    assert metrics.kl(SALIENCY, density) == pytest.approx(np.sum(b * np.log(eps + b / (a + eps))), abs=1e-9)
    a, b = (m - m.min() for m in (SALIENCY.astype(float), density))
    assert metrics.sim(SALIENCY, density) == pytest.approx(np.minimum(a / a.sum(), b / b.sum()).sum(), abs=1e-12)
    assert metrics.kl(density, density) == pytest.approx(0, abs=1e-12)
    assert metrics.sim(density, density) == pytest.approx(1)
    assert metrics.sim(np.zeros_like(density), density) == 0
    assert math.isnan(metrics.sim(np.ones_like(density), density))
    assert math.isnan(metrics.kl(density, np.zeros_like(density)))


def test_undefined_frames_are_left_out_and_counted():
    accumulator = metrics.SequenceAccumulator("s", ("CC", "AUC", "NSS"))
    wanted = frozenset(("CC", "AUC", "NSS"))
    accumulator.add("0", metrics.score_frame(SALIENCY, POSITIVES, metrics=wanted))
    accumulator.add("1", metrics.score_frame(np.zeros_like(SALIENCY), POSITIVES, metrics=wanted))
    result = metrics.combine([accumulator.finish()])
    assert result.results["CC"] == pytest.approx(metrics.cc(SALIENCY, POSITIVES))
    assert result.results["AUC"] == pytest.approx((metrics.auc(SALIENCY, POSITIVES) + 0.5) / 2)
    assert result.undefined == {"CC": 1, "NSS": 1}
