"""S, E, F and weighted F against PySODMetrics, edge cases first."""

import warnings

import cv2
import numpy as np
import pytest

from vsalient import metrics
from vsalient.metrics.structure import has_empty_quadrant

sod = pytest.importorskip("py_sod_metrics")
pytestmark = pytest.mark.filterwarnings("ignore:This class will be removed")

MAPS = {
    "noise": lambda r, h, w: r.integers(0, 256, (h, w)),
    "smooth": lambda r, h, w: cv2.GaussianBlur(r.integers(0, 256, (h, w)).astype(np.uint8), (7, 7), 0),
    "constant": lambda r, h, w: np.full((h, w), r.integers(1, 255)),
    "black": lambda r, h, w: np.zeros((h, w)),
    "white": lambda r, h, w: np.full((h, w), 255),
    "binary": lambda r, h, w: r.integers(0, 2, (h, w)) * 255,
    "narrow": lambda r, h, w: r.integers(40, 90, (h, w)),
    "two levels": lambda r, h, w: np.where(r.random((h, w)) < 0.5, 31, 173),
    "one pixel": lambda r, h, w: (np.arange(h * w) == r.integers(h * w)).reshape(h, w) * 200,
    "flat but two": lambda r, h, w: np.pad(np.full((h, w), 77), 1, constant_values=(0, 255))[1:, 1:],
}
TRUTHS = {
    "noise": lambda r, h, w: r.random((h, w)) < 0.3,
    "empty": lambda r, h, w: np.zeros((h, w), bool),
    "full": lambda r, h, w: np.ones((h, w), bool),
    "one pixel": lambda r, h, w: (np.arange(h * w) == r.integers(h * w)).reshape(h, w),
    "block": lambda r, h, w: (np.arange(h)[:, None] >= h // 2) & (np.arange(w)[None] <= w // 2),
    "corner": lambda r, h, w: (np.arange(h)[:, None] >= h - 1) & (np.arange(w)[None] >= w - 1),
}
SHAPES = ((1, 1), (1, 7), (6, 1), (2, 3), (9, 13), (37, 52))


def cases(name_of_map, name_of_truth):
    rng = np.random.default_rng(sum(map(ord, name_of_map + name_of_truth)))
    for height, width in SHAPES:
        saliency = MAPS[name_of_map](rng, height, width)
        yield saliency[:height, :width].astype(np.uint8), TRUTHS[name_of_truth](rng, height, width)


def reference(kind, saliency, truth):
    measure = kind()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        measure.step(saliency, truth.astype(np.uint8) * 255)
    return measure


@pytest.mark.parametrize("truth_name", TRUTHS)
@pytest.mark.parametrize("map_name", MAPS)
def test_all_measures_equal_pysodmetrics(map_name, truth_name):
    for saliency, truth in cases(map_name, truth_name):
        fm = reference(sod.Fmeasure, saliency, truth)
        np.testing.assert_allclose(metrics.f_curve(saliency, truth)[::-1], fm.changeable_fms[0], rtol=0, atol=1e-12)
        assert metrics.adaptive_f(saliency, truth) == pytest.approx(float(fm.adaptive_fms[0]), abs=1e-12)

        em = reference(sod.Emeasure, saliency, truth)
        # A single pixel makes the reference divide by eps: compare relatively there.
        np.testing.assert_allclose(metrics.e_curve(saliency, truth)[::-1], em.changeable_ems[0], rtol=1e-12, atol=1e-12)
        assert metrics.adaptive_e(saliency, truth) == pytest.approx(float(em.adaptive_ems[0]), rel=1e-12, abs=1e-12)

        sm = float(reference(sod.Smeasure, saliency, truth).sms[0])
        ours = metrics.s_measure(saliency, truth)
        assert has_empty_quadrant(metrics.joint_histogram(saliency, truth)) == np.isnan(sm)
        assert 0 <= ours <= 1 + 1e-12
        if not np.isnan(sm):
            assert ours == pytest.approx(sm, abs=1e-12)

        wf = float(reference(sod.WeightedFmeasure, saliency, truth).weighted_fms[0])
        assert metrics.weighted_f(saliency, truth) == pytest.approx(wf, abs=1e-7)


def test_a_real_size_with_a_real_shape():
    rng = np.random.default_rng(4)
    truth = np.zeros((240, 427), np.uint8)
    cv2.ellipse(truth, (200, 120), (70, 45), 25, 0, 360, 255, -1)
    cv2.ellipse(truth, (60, 200), (20, 60), 0, 0, 360, 255, -1)
    saliency = cv2.GaussianBlur(np.roll(truth, (5, -7), (0, 1)), (31, 31), 0)
    saliency = cv2.add(saliency, rng.integers(0, 25, truth.shape, dtype=np.uint8))
    mask = truth > 128
    assert metrics.s_measure(saliency, truth) == pytest.approx(
        reference(sod.Smeasure, saliency, mask).sms[0], abs=1e-12
    )
    expected = reference(sod.WeightedFmeasure, saliency, mask).weighted_fms[0]
    assert metrics.weighted_f(saliency, truth) == pytest.approx(expected, abs=1e-7)


def test_ties_in_the_nearest_object_pixel_do_not_move_weighted_f():
    """Thin bars two pixels apart: half of the band is equally far from both."""
    rng = np.random.default_rng(9)
    truth = np.zeros((40, 40), bool)
    truth[::4, :] = True
    truth[:, ::5] = True
    for _ in range(5):
        saliency = rng.integers(0, 256, truth.shape).astype(np.uint8)
        expected = float(reference(sod.WeightedFmeasure, saliency, truth).weighted_fms[0])
        assert metrics.weighted_f(saliency, truth) == pytest.approx(expected, abs=1e-8)


def test_an_empty_quadrant_has_weight_zero():
    """The object lies in the last column, so the right half is empty; what is left is scored as usual."""
    truth = np.zeros((8, 6), bool)
    truth[:, -1] = True
    assert np.isnan(reference(sod.Smeasure, truth.astype(np.uint8) * 255, truth).sms[0])
    assert metrics.s_measure(truth, truth) == pytest.approx(1)
    assert metrics.s_measure(~truth, truth) < 0.3


def test_void_pixels_leave_no_trace():
    """A frame with void columns scores like the frame without them, where position does not matter."""
    rng = np.random.default_rng(1)
    saliency, truth = rng.integers(0, 256, (20, 30)).astype(np.uint8), rng.random((20, 30)) < 0.4
    void = np.zeros((20, 36), bool)
    void[:, 30:] = True
    wide, wide_truth = np.pad(saliency, ((0, 0), (0, 6)), constant_values=255), np.pad(truth, ((0, 0), (0, 6)))
    wide_truth[:, 33:] = True
    for measure in (metrics.f_curve, metrics.e_curve, metrics.adaptive_f, metrics.adaptive_e, metrics.s_measure):
        np.testing.assert_allclose(measure(wide, wide_truth, void), measure(saliency, truth), rtol=0, atol=1e-12)
    assert metrics.weighted_f(wide, wide_truth, void) == pytest.approx(metrics.weighted_f(saliency, truth), abs=1e-2)


def test_a_frame_that_is_void_everywhere_is_undefined():
    rng = np.random.default_rng(4)
    saliency, truth = rng.integers(0, 256, (9, 12)).astype(np.uint8), rng.random((9, 12)) < 0.4
    void = np.ones((9, 12), bool)
    for measure in (
        metrics.adaptive_f,
        metrics.adaptive_e,
        metrics.f_curve,
        metrics.e_curve,
        metrics.s_measure,
        metrics.weighted_f,
    ):
        assert np.isnan(measure(saliency, truth, void)).all(), measure
    names = metrics.select_metrics(["sod"])
    results = []
    for frames in ((None,), (None, void), (void,)):
        sequence = metrics.SequenceAccumulator("a", names)
        for number, mask in enumerate(frames):
            sequence.add(str(number), metrics.score_frame(saliency, truth, mask, metrics=frozenset(names)))
        results.append(sequence.finish())
    whole, mixed, nothing = results
    assert mixed.results() == whole.results()
    assert mixed.undefined["E"] == mixed.undefined["maxF, meanF"] == mixed.undefined["wF"] == 1
    assert np.isnan(list(nothing.results().values())).all()
    assert metrics.combine(results).results == pytest.approx(metrics.combine([whole]).results, abs=1e-15)
