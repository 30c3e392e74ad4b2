"""J, boundary F, MAE, precision, recall and F, against brute force, hand-made cases and trackeval."""

import math
from pathlib import Path

import numpy as np
import pytest

from vsalient import metrics
from vsalient.errors import DataError, OptionError
from vsalient.metrics import outlines
from vsalient.metrics.boundary import tolerance
from vsalient.metrics.histograms import count

RNG = np.random.default_rng(7)


def blob(shape, box):
    mask = np.zeros(shape, bool)
    mask[box] = True
    return mask


def noisy_pair(rng, shape):
    truth = rng.random(shape) < 0.05
    for _ in range(2):
        truth |= np.roll(truth, 1, 0) | np.roll(truth, 1, 1)
    return rng.random(shape) < 0.4 * truth + 0.1, truth


def boundary_by_hand(mask):
    """The rule, pixel by pixel."""
    height, width = mask.shape
    edge = np.zeros_like(mask)
    for y in range(height):
        for x in range(width):
            east = mask[y, x] ^ mask[y, x + 1] if x + 1 < width else False
            south = mask[y, x] ^ mask[y + 1, x] if y + 1 < height else False
            both = mask[y, x] ^ mask[y + 1, x + 1] if x + 1 < width and y + 1 < height else False
            edge[y, x] = east | south | both
            if y == height - 1:
                edge[y, x] = east
            if x == width - 1:
                edge[y, x] = south and y < height - 1
    return edge


def boundary_f_by_hand(prediction, truth, radius):
    a, b = boundary_by_hand(prediction), boundary_by_hand(truth)
    at, bt = np.argwhere(a), np.argwhere(b)
    if not len(at) or not len(bt):
        precision, recall = float(not len(at)), float(not len(bt))
    else:
        near = ((at[:, None] - bt[None]) ** 2).sum(-1) <= radius**2
        precision, recall = near.any(1).mean(), near.any(0).mean()
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (13, 17), (40, 64), (33, 65), (30, 130)])
def test_boundary_map_is_the_xor_rule(shape):
    for density in (0.1, 0.5, 0.9):
        mask = np.random.default_rng(3).random(shape) < density
        np.testing.assert_array_equal(metrics.boundary_map(mask), boundary_by_hand(mask))


@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (25, 1), (20, 31), (48, 64), (40, 129)])
@pytest.mark.parametrize("radius", [1, 2, 5, 9, 20])
def test_boundary_f_equals_brute_force(shape, radius):
    rng = np.random.default_rng(radius)
    for _ in range(3):
        prediction, truth = noisy_pair(rng, shape)
        expected = boundary_f_by_hand(prediction, truth, radius)
        assert metrics.boundary_f(prediction, truth, bound=radius) == pytest.approx(expected, abs=1e-12)


def test_boundary_f_with_a_radius_beyond_one_word():
    prediction, truth = blob((20, 400), np.s_[5:10, 10:12]), blob((20, 400), np.s_[5:10, 140:142])
    for radius in (64, 100, 129, 131, 150):
        expected = boundary_f_by_hand(prediction, truth, radius)
        assert metrics.boundary_f(prediction, truth, bound=radius) == pytest.approx(expected, abs=1e-12)


def test_boundary_edge_cases():
    empty, full, dot = np.zeros((30, 40), bool), np.ones((30, 40), bool), blob((30, 40), np.s_[9, 9])
    assert metrics.boundary_f(empty, empty) == 1
    assert metrics.boundary_f(full, full) == 1  # the picture's border is no boundary
    assert metrics.boundary_f(full, empty) == 1  # neither has one
    assert metrics.boundary_precision_recall(dot, empty) == (0, 1)
    assert metrics.boundary_precision_recall(empty, dot) == (1, 0)
    assert metrics.boundary_f(dot, empty) == metrics.boundary_f(empty, dot) == 0
    assert metrics.boundary_f(dot, dot) == 1
    assert tolerance((480, 854)) == 8


def test_the_lookup_table_counts_like_numpy(monkeypatch):
    prediction, truth = noisy_pair(np.random.default_rng(5), (40, 70))
    expected = metrics.boundary_f(prediction, truth)
    monkeypatch.delattr(np, "bitwise_count", raising=False)  # NumPy 1.26 has none
    assert metrics.boundary_f(prediction, truth) == expected


def test_j_and_f_against_trackeval():
    module = pytest.importorskip("trackeval.metrics.j_and_f")
    mask_utils = pytest.importorskip("pycocotools.mask")
    rng = np.random.default_rng(2)
    frames = [noisy_pair(rng, (60, 107)) for _ in range(11)]
    frames[2] = (np.zeros_like(frames[2][0]), frames[2][1])
    frames[3] = (frames[3][0], np.zeros_like(frames[3][1]))
    frames[4] = (np.zeros_like(frames[4][0]), np.zeros_like(frames[4][1]))
    frames[5] = (np.ones_like(frames[5][0]), np.ones_like(frames[5][1]))

    def encode(mask):
        return mask_utils.encode(np.asfortranarray(mask.astype(np.uint8)))

    reference = module.JAndF().eval_sequence({
        "num_timesteps": len(frames), "num_tracker_ids": 1, "num_gt_ids": 1,
        "gt_dets": [[encode(t)] for _, t in frames], "tracker_dets": [[encode(p)] for p, _ in frames],
        "gt_ids": [np.array([0])] * len(frames), "tracker_ids": [np.array([0])] * len(frames),
    })  # fmt: skip
    j = metrics.statistics([metrics.jaccard(p, t) for p, t in frames])
    f = metrics.statistics([metrics.boundary_f(p, t) for p, t in frames])
    ours = {"J-Mean": j.mean, "J-Recall": j.recall, "J-Decay": j.decay}
    ours |= {"F-Mean": f.mean, "F-Recall": f.recall, "F-Decay": f.decay}
    for name, value in ours.items():
        assert value == pytest.approx(reference[name], abs=1e-9), name


def test_jaccard_edge_cases_and_void():
    empty, full = np.zeros((4, 5), bool), np.ones((4, 5), bool)
    assert metrics.jaccard(empty, empty) == 1
    assert metrics.jaccard(full, empty) == metrics.jaccard(empty, full) == 0
    half = blob((4, 5), np.s_[:2])
    assert metrics.jaccard(half, full) == 0.5
    assert metrics.jaccard(half, full, void=~half) == 1  # what is void counts for nothing
    assert metrics.jaccard(full, full, void=full) == 1  # nothing left: both empty
    soft = np.where(half, 128, 127).astype(np.uint8)
    assert metrics.jaccard(soft, half) == 1  # 128 is foreground
    assert metrics.jaccard(half.astype(np.uint8), full.astype(np.uint8) * 255) == 0.5  # 0/1 label images


def test_floats_are_taken_at_their_8_bit_values():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    for kind in (np.float32, np.float64):
        floats = levels.astype(kind) / kind(255)
        assert metrics.jaccard(floats, levels >= 128) == 1
        assert metrics.jaccard(levels > 128, floats) == 1  # as ground truth, 128 is background
        np.testing.assert_array_equal(metrics.joint_histogram(floats, floats).foreground, levels.ravel() > 128)


def test_void_is_background_for_the_boundary():
    truth = blob((40, 60), np.s_[10:30, 10:30])
    void = blob((40, 60), np.s_[10:30, 20:40])
    expected = boundary_f_by_hand(truth & ~void, truth & ~void, 1)
    assert metrics.boundary_f(blob((40, 60), np.s_[10:30, 10:36]), truth, void=void) == expected == 1


def test_decay_beyond_256_frames_does_not_wrap():
    scores = np.linspace(1, 0, 1000)
    edges = np.round(np.linspace(1, 1000, 5) + 1e-10).astype(int) - 1
    expected = scores[: edges[1] + 1].mean() - scores[edges[3] :].mean()
    assert metrics.decay(scores) == pytest.approx(expected, abs=1e-12)
    assert metrics.decay(scores) == pytest.approx(0.75, abs=0.01)


def test_short_sequences_have_statistics():
    assert metrics.statistics([0.7]) == metrics.Statistics(0.7, 1.0, 0.0)
    assert metrics.decay([1.0, 0.0]) == 1.0
    assert math.isnan(metrics.statistics([]).mean)
    assert metrics.recall([0.5, 0.5 + 1e-9]) == 0.5  # strictly above


def test_mae_counts_levels_without_min_max():
    saliency = np.array([[0, 100], [200, 255]], np.uint8)
    truth = np.array([[0, 0], [255, 255]], np.uint8)
    assert metrics.mae(saliency, truth) == pytest.approx((100 + 55) / 255 / 4, abs=1e-12)
    assert metrics.mae(saliency / 255.0, truth) == pytest.approx((100 + 55) / 255 / 4, abs=1e-12)
    assert metrics.mae(np.full((3, 3), 0.3001), np.zeros((3, 3))) == pytest.approx(0.3001)  # floats are not rounded
    void = np.array([[0, 1], [0, 0]])
    assert metrics.mae(saliency, truth, void) == pytest.approx(55 / 255 / 3, abs=1e-12)


def test_precision_recall_by_threshold():
    saliency = RNG.integers(0, 256, (23, 31)).astype(np.uint8)
    truth = RNG.random((23, 31)) < 0.3
    precision, recall = metrics.precision_recall_curve(saliency, truth)
    for t in (0, 1, 77, 128, 254, 255):
        above = saliency >= t
        assert precision[t] == pytest.approx((above & truth).sum() / above.sum(), abs=1e-12)
        assert recall[t] == pytest.approx((above & truth).sum() / truth.sum(), abs=1e-12)


def test_undefined_precision_and_recall_are_nan():
    dim, truth = np.full((5, 5), 100, np.uint8), blob((5, 5), np.s_[:2])
    precision, recall = metrics.precision_recall_curve(dim, truth)
    assert np.isnan(precision[101:]).all() and np.isfinite(precision[:101]).all()
    assert (recall[101:] == 0).all()
    assert np.isnan(metrics.precision_recall_curve(dim, np.zeros((5, 5), bool))[1]).all()


@pytest.mark.parametrize(
    "saliency",
    [
        np.full((4, 4), 37, np.uint8),  # constant: mean + 0 selects everything
        np.array([[0, 255], [0, 255]], np.uint8),  # mean + sigma is exactly 255
        np.array([[0, 255], [255, 255]], np.uint8),  # mean + sigma is above 255: nothing selected
        RNG.integers(0, 256, (9, 14)).astype(np.uint8),
    ],
)
def test_musigma_threshold(saliency):
    truth = np.zeros(saliency.shape, bool)
    truth[0] = True
    above = saliency >= saliency.mean(dtype=np.float64) + saliency.std(dtype=np.float64)
    precision, recall = metrics.precision_recall_musigma(saliency, truth)
    if above.any():
        assert precision == pytest.approx((above & truth).sum() / above.sum(), abs=1e-12)
    else:
        assert math.isnan(precision)
    assert recall == pytest.approx((above & truth).sum() / truth.sum(), abs=1e-12)


def test_f_measure_and_its_orders():
    assert metrics.f_measure(0.5, 0.25) == pytest.approx(1.3 * 0.125 / (0.15 + 0.25))
    assert metrics.f_measure(0.0, 0.0) == 0
    assert np.isnan(metrics.f_measure(np.array([np.nan]), np.array([0.5]))).all()
    # Precision and recall are averaged over frames, then over sequences, and F is taken last.
    precision, recall = metrics.average_precision_recall([[(1.0, 0.2), (0.0, 0.4)], [(0.8, 0.8)]], shape=())
    assert (precision, recall) == (pytest.approx(0.65), pytest.approx(0.55))


def test_precision_and_recall_are_each_averaged_where_they_are_defined():
    mean = metrics.PrecisionRecallMean(())
    mean.add(0.5, 0.5)
    mean.add(np.nan, 0.0)  # nothing above the threshold: nothing is found either
    mean.add(0.0, np.nan)  # empty ground truth: whatever is found is wrong
    assert mean.mean() == (0.25, 0.25)
    assert (mean.without_recall, mean.without_precision) == (1, 1)


def test_missing_maps_cost_recall():
    """Half of the maps are right, half are not there: recall is one half, precision 1."""
    truth = np.zeros((8, 10), bool)
    truth[2:5, 3:7] = True
    right = truth.astype(np.uint8) * np.uint8(255)
    accumulator = metrics.SequenceAccumulator("half", ("Fmax",))
    for number in range(6):
        saliency = right if number % 2 else np.zeros_like(right)
        accumulator.add(str(number), metrics.score_frame(saliency, truth, metrics=frozenset({"Fmax"})))
    expected = 1.3 * 1.0 * 0.5 / (0.3 * 1.0 + 0.5)
    assert metrics.combine([accumulator.finish()]).results["Fmax"] == pytest.approx(expected, abs=1e-12)


def test_f1_pooled_is_the_best_over_all_thresholds():
    saliency = [RNG.integers(0, 256, (11, 7)).astype(np.uint8) for _ in range(3)]
    truth = [RNG.random((11, 7)) < 0.4 for _ in range(3)]
    counts = sum(count(s, t, None).counts.sum(axis=0) for s, t in zip(saliency, truth, strict=True))
    pixels, labels = np.concatenate([s.ravel() for s in saliency]), np.concatenate([t.ravel() for t in truth])
    best = max(2 * ((pixels >= t) & labels).sum() / ((pixels >= t).sum() + labels.sum()) for t in range(256))
    assert metrics.f1_pooled(counts[1], counts[0]) == pytest.approx(best, abs=1e-12)


def test_histogram_counts_every_pixel_once():
    saliency = RNG.integers(0, 256, (31, 45)).astype(np.uint8)
    truth, void = RNG.random((31, 45)) < 0.3, RNG.random((31, 45)) < 0.1
    histogram = metrics.joint_histogram(saliency, truth, void)
    np.testing.assert_array_equal(histogram.foreground, np.bincount(saliency[truth & ~void], minlength=256))
    np.testing.assert_array_equal(histogram.background, np.bincount(saliency[~truth & ~void], minlength=256))


def test_histogram_of_bands_is_the_histogram(monkeypatch):
    saliency, truth = RNG.integers(0, 256, (31, 45)).astype(np.uint8), RNG.random((31, 45)) < 0.3
    whole = metrics.joint_histogram(saliency, truth).counts
    monkeypatch.setattr("vsalient.metrics.histograms._EXACT_FLOAT32", 100)
    np.testing.assert_array_equal(metrics.joint_histogram(saliency, truth).counts, whole)


@pytest.mark.parametrize(
    ("saliency", "truth"),
    [
        (np.zeros((4, 5), np.uint8), np.zeros((5, 4), bool)),
        (np.zeros((4, 5, 3), np.uint8), np.zeros((4, 5), bool)),
        (np.zeros((0, 5), np.uint8), np.zeros((0, 5), bool)),
        (np.full((4, 5), 1.5), np.zeros((4, 5), bool)),
        (np.full((4, 5), np.nan), np.zeros((4, 5), bool)),
        (np.zeros((4, 5), np.int32), np.zeros((4, 5), bool)),
    ],
)
def test_arrays_that_do_not_fit_are_refused(saliency, truth):
    with pytest.raises(DataError):
        metrics.precision_recall_curve(saliency, truth)


def test_temporal_stability():
    yy, xx = np.mgrid[:120, :160]
    disc = (yy - 60) ** 2 + (xx - 70) ** 2 < 35**2
    moved = np.roll(disc, 9, 1)
    star = disc & ~(((yy - 60) % 20 < 8) & (abs(xx - 70) > 15))
    assert metrics.temporal_stability(disc, disc) == 0
    assert metrics.temporal_stability(disc, moved) < 0.1  # a shift bends nothing
    assert metrics.temporal_stability(disc, star) > 0.25
    assert math.isnan(metrics.temporal_stability(disc, np.zeros_like(disc)))
    assert math.isnan(metrics.temporal_stability(disc, blob(disc.shape, np.s_[5, 5])))  # no outline of four points


@pytest.mark.shared
def test_temporal_stability_is_the_davis_tools():
    path = Path(__file__).resolve().parents[2] / "shared" / "vectors" / "temporal_stability_480p.npz"
    if not path.is_file():
        pytest.skip("no reference vectors beside the project")
    with np.load(path) as stored:
        masks = np.unpackbits(stored["masks"], axis=-1)[..., : stored["shape"][2]].astype(bool)
        expected = stored["per_pair"]
    for k, value in enumerate(expected):
        assert metrics.temporal_stability(masks[1 + k], masks[2 + k]) == pytest.approx(value, abs=1e-6)


def test_outlines_run_along_cracks_and_part_at_junctions():
    mask = np.zeros((30, 40), bool)
    mask[2:12, 3:13] = True  # two squares that touch by a corner, and a hole in the second
    mask[12:25, 13:31] = True
    mask[16:20, 18:24] = False
    curves = list(outlines._closed_curves(mask))
    assert sorted(len(curve) for curve in curves) == sorted([4 * 10 + 1, 2 * (13 + 18) + 1, 2 * (4 + 6) + 1])
    assert all(curve[0] == curve[-1] for curve in curves)
    square = np.zeros((30, 40), bool)
    square[4:20, 6:30] = True
    corners = outlines.longest_outline(square, 3.0)
    assert {tuple(point) for point in corners.tolist()} == {(6, 4), (30, 4), (30, 20), (6, 20)}
    assert corners[0].tolist() == corners[-1].tolist() == [6, 4]
    assert len(outlines.resample(corners, 3.0)) == 2 * (8 + 6) + 1


def test_every_public_name_is_documented():
    text = (Path(__file__).resolve().parents[1] / "docs" / "evaluate.md").read_text("utf-8")
    assert [name for name in metrics.__all__ if f"`{name}`" not in text and f"metrics.{name}(" not in text] == []


def test_metric_selection():
    default = metrics.select_metrics(["default"])
    assert "T" not in default and "KL" not in default and "wF" in default
    assert metrics.select_metrics(["J_mean", "maxE"]) == ("E", "J")
    assert metrics.select_metrics(["O"]) == ("J", "F")
    assert "O" in metrics.results_of(("J", "F")) and "O" not in metrics.results_of(("J",))
    assert metrics.select_metrics(["default"], fixation=True) == metrics.GROUPS["fixation"]
    for wrong, fixation in (("nonsense", False), ("KL", False), ("J", True)):
        with pytest.raises(OptionError):
            metrics.select_metrics([wrong], fixation=fixation)


def test_sequences_and_data_set_average_in_the_papers_order():
    """Three sequences of different length, by the definition."""
    rng = np.random.default_rng(11)
    names = ("MAE", "Fmax", "Fadp_musigma", "F1_pooled", "maxF", "S", "J")
    sequences, maps = [], []
    for length in (1, 4, 2):
        accumulator = metrics.SequenceAccumulator(str(length), names)
        frames = []
        for number in range(length):
            saliency, truth = rng.integers(0, 250, (12, 15)).astype(np.uint8), rng.random((12, 15)) < 0.3
            if length == 4 and number == 1:
                truth[:] = False
            frames.append((saliency, truth))
            accumulator.add(str(number), metrics.score_frame(saliency, truth, metrics=frozenset(names)))
        sequences.append(accumulator.finish())
        maps.append(frames)
    result = metrics.combine(sequences)

    def means(of):
        return [np.mean([of(*frame) for frame in frames], axis=0) for frames in maps]

    assert result.results["MAE"] == pytest.approx(np.mean(means(metrics.mae)), abs=1e-12)
    curves = [[metrics.precision_recall_curve(*frame) for frame in frames] for frames in maps]
    precision, recall = metrics.average_precision_recall(curves)
    assert result.results["Fmax"] == pytest.approx(np.nanmax(metrics.f_measure(precision, recall)), abs=1e-12)
    assert result.results["maxF"] == pytest.approx(np.mean(means(metrics.f_curve), axis=0).max(), abs=1e-12)
    every = [frame for frames in maps for frame in frames]
    pooled = np.mean([metrics.f_curve(*frame) for frame in every], axis=0).max()
    assert result.results["maxF_frames"] == pytest.approx(pooled, abs=1e-12)
    assert result.results["S_frames"] == pytest.approx(np.mean([metrics.s_measure(*f) for f in every]), abs=1e-12)
    assert result.results["MAE_pooled"] == pytest.approx(np.mean([metrics.mae(*f) for f in every]), abs=1e-12)
    assert result.undefined["Fmax"] == 1 and result.undefined["Fadp_musigma"] == 1
    assert result.undefined["Fmax (some thresholds)"] == len(every)  # nothing reaches 250
    assert result.frames == 7
