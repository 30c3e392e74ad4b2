"""`vsalient evaluate`: intervals and tests, tables for papers, ROC and voxels, template names, a network's options."""

import json
import math

import numpy as np
import pytest

from evaluation_data import disc, make_set, soft, write, write_gray_video, write_labels
from vsalient import metrics
from vsalient.cli.app import main
from vsalient.evaluation.assignment import best_pairs
from vsalient.evaluation.compare import compare, intervals
from vsalient.metrics.scores import SequenceAccumulator


@pytest.fixture
def run(capsys):
    """Run the command; returns (exit code, stdout, stderr)."""

    def call(*args):
        with pytest.raises(SystemExit) as end:
            main(["evaluate", *map(str, args)])
        out = capsys.readouterr()
        return end.value.code or 0, out.out, out.err

    return call


def test_intervals_and_a_paired_test(tmp_path, run):
    names = [f"s{number:02d}" for number in range(8)]
    make_set(tmp_path, {name: range(2 + i % 3) for i, name in enumerate(names)}, shifts={"near": 1, "far": 6})
    args = (tmp_path / "near", tmp_path / "far", tmp_path / "gt", "--metrics", "J,F,MAE,Fmax")
    code, out, err = run(*args, "--intervals", "--json")
    assert code == 0, err
    near, far = json.loads(out)["predictions"]
    low, high = near["intervals"]["J_mean"]
    assert low <= near["dataset"]["J_mean"] <= high
    assert near["against_first"] == {}
    test = far["against_first"]["J_mean"]
    assert test["sequences"] == 8
    assert test["difference"] == pytest.approx(far["dataset"]["J_mean"] - near["dataset"]["J_mean"])
    assert test["p"] == pytest.approx(2 / 2**8)  # every sequence is worse: two ways of 256 are as far
    assert near["dataset"]["J&F"] == near["dataset"]["O"]
    code, out, _ = run(*args, "--intervals")
    assert code == 0 and "95 % intervals" in out and "p 0.0078" in out


def test_intervals_hold_the_middle_of_what_is_drawn():
    rng = np.random.default_rng(5)
    values = rng.normal(0.6, 0.1, 40)
    sequences = []
    for number, value in enumerate(values):
        accumulator = SequenceAccumulator(str(number), ("J",))
        accumulator.add("0", metrics.FrameScores(values={"J": float(value)}))
        sequences.append(accumulator.finish())
    found = intervals(sequences)["J_mean"]
    spread = 1.96 * values.std() / math.sqrt(len(values))
    assert found.low == pytest.approx(values.mean() - spread, abs=0.01)
    assert found.high == pytest.approx(values.mean() + spread, abs=0.01)
    same = compare(sequences, sequences)["J_mean"]
    assert same.mean == 0 and same.p == 1


def test_tables_for_papers(tmp_path, run):
    make_set(tmp_path, {"cat": range(3), "dog": range(3)}, shifts={"my_net": 1, "other": 7})
    args = (tmp_path / "my_net", tmp_path / "other", tmp_path / "gt", "--metrics", "J&F,MAE")
    more = ("--column", "fps=12.5,3", "--column", "params (M)=1.9,28.7")
    code, out, err = run(*args, *more, "--table", tmp_path / "t.md")
    assert code == 0, err
    assert "12.5" in out and "params (M)" in out
    rows = (tmp_path / "t.md").read_text("utf-8").splitlines()
    assert rows[0].startswith("| | ".replace("| | ", "|  | ")) and rows[0].endswith("| fps | params (M) |")
    assert "MAE ↓" in rows[0] and "J&F ↑" in rows[0]
    assert rows[2].startswith("| my_net | **") and rows[2].endswith("| 12.5 | 1.9 |")
    assert run(*args, *more, "--table", tmp_path / "t.tex")[0] == 0
    text = (tmp_path / "t.tex").read_text("utf-8")
    assert r"my\_net & \textbf{" in text and r"J\&F $\uparrow$" in text and r"\bottomrule" in text
    for wrong in (("--table", tmp_path / "t.doc"), ("--column", "fps=1"), ("--column", "1,2")):
        code, _, err = run(*args, *wrong)
        assert code != 0 and err.count("\n") == 1, err


def test_roc_and_voxels_by_their_definition():
    rng = np.random.default_rng(3)
    frames = [(rng.integers(0, 256, (9, 12)).astype(np.uint8), rng.random((9, 12)) < 0.4) for _ in range(5)]
    frames[1] = (frames[1][0], np.zeros((9, 12), bool))
    accumulator = SequenceAccumulator("a", ("AUC", "Fadp_voxel"), block=2)
    for number, (saliency, truth) in enumerate(frames):
        chosen = frozenset({"AUC", "Fadp_voxel"})
        accumulator.add(str(number), metrics.score_frame(saliency, truth, metrics=chosen))
    scores = accumulator.finish()
    rates = [[(s >= t)[g].mean() if g.any() else np.nan for t in (0, 90, 255)] for s, g in frames]
    np.testing.assert_allclose(scores.curves["tpr"][[0, 90, 255]], np.nanmean(rates, axis=0))
    wrong = [[(s >= t)[~g].mean() for t in (0, 90, 255)] for s, g in frames]
    np.testing.assert_allclose(scores.curves["fpr"][[0, 90, 255]], np.mean(wrong, axis=0))
    precisions, recalls = [], []
    for block in (frames[:2], frames[2:4], frames[4:]):
        every = np.concatenate([s.ravel() for s, _ in block]).astype(float)
        level = every.mean() + every.std()
        for saliency, truth in block:
            above = saliency >= level
            precisions.append((above & truth).sum() / above.sum() if above.any() else np.nan)
            recalls.append((above & truth).sum() / truth.sum() if truth.any() else np.nan)
    precision, recall = np.nanmean(precisions), np.nanmean(recalls)
    expected = 1.3 * precision * recall / (0.3 * precision + recall)
    assert scores.results()["Fadp_voxel"] == pytest.approx(expected)


def test_predictions_named_by_a_template(tmp_path, run):
    for name in ("bmx", "bmx-trees", "cat"):
        for frame in range(3):
            write(tmp_path / f"gt/{name}/{frame:05d}.png", disc(frame, size=(48, 64)))
        pictures = [soft(frame, 0) for frame in range(3)]
        write_gray_video(tmp_path / f"pred/{name}_3dc-lite.mkv", pictures)
    code, out, err = run(tmp_path / "pred", tmp_path / "gt", "--metrics", "J", "--json")
    assert code == 0, err
    scores = json.loads(out)["predictions"][0]
    assert [sequence["name"] for sequence in scores["sequences"]] == ["bmx", "bmx-trees", "cat"]
    assert scores["dataset"]["J_mean"] > 0.9


def test_options_of_a_network_need_one(tmp_path, run):
    make_set(tmp_path, {"cat": range(2)})
    for option in (("--overlap", "3"), ("--resolution", "native"), ("--flip",), ("--dtype", "float32")):
        code, _, err = run(tmp_path / "pred", tmp_path / "gt", *option)
        assert code != 0 and f"{option[0]} belongs to --model" in err


def test_a_networks_dim_maps_are_maps(tmp_path, run, monkeypatch):
    """A network that never says more than 10 of 255 is scored, where a user's such pictures would be refused."""
    from vsalient.evaluation import evaluate

    for frame in range(2):
        write(tmp_path / f"gt/{frame}.png", disc(frame))
        write(tmp_path / f"dim/{frame}.png", disc(frame) // 25)
    code, _, err = run(tmp_path / "dim", tmp_path / "gt")
    assert code == 1 and "look like labels" in err
    result = evaluate([tmp_path / "dim"], tmp_path / "gt", metrics=["Fmax"], maps=[tmp_path / "dim"])
    assert result.predictions[0].dataset.results["Fmax"] == 1


def test_pairs_are_the_best_ones():
    optimise = pytest.importorskip("scipy.optimize")
    rng = np.random.default_rng(0)
    for _ in range(60):
        rows, columns = sorted(rng.integers(1, 9, 2), reverse=True)
        gain = rng.random((rows, columns)).round(1)
        chosen = best_pairs(gain)
        assert len(set(chosen)) == columns
        best = gain[optimise.linear_sum_assignment(-gain)].sum()
        assert gain[chosen, range(columns)].sum() == pytest.approx(best)


def test_objects_are_paired_over_the_sequence(tmp_path, run):
    """Swapped labels cost nothing; a missing object costs its own J and F; void counts for nothing."""

    def labels(frame, *boxes):
        plane = np.zeros((60, 90), np.uint8)
        for label, x, y in boxes:
            plane[y : y + 20, x + frame : x + frame + 20] = label
        return plane

    for frame in range(3):
        truth = labels(frame, (1, 2, 5), (2, 35, 30))
        truth[0:3] = 255
        write_labels(tmp_path / f"gt/cat/{frame:05d}.png", truth)
        predicted = labels(frame, (2, 2, 5), (3, 35, 30), (1, 62, 2))
        write_labels(tmp_path / f"pred/cat/{frame:05d}.png", predicted)
        write_labels(tmp_path / f"gt/dog/{frame:05d}.png", labels(frame, (1, 2, 5), (2, 35, 30)))
        write_labels(tmp_path / f"pred/dog/{frame:05d}.png", labels(frame, (1, 35, 30)))
    code, out, err = run(tmp_path / "pred", tmp_path / "gt", "--objects", "--json")
    assert code == 0, err
    scores = json.loads(out)["predictions"][0]
    assert [entry["name"] for entry in scores["sequences"]] == ["cat/1", "cat/2", "dog/1", "dog/2"]
    assert [entry["results"]["J_mean"] for entry in scores["sequences"]] == [1, 1, 0, 1]
    assert scores["dataset"]["J&F"] == pytest.approx(0.75)
    code, _, err = run(tmp_path / "pred", tmp_path / "gt", "--objects", "--metrics", "MAE")
    assert code != 0 and "J and F only" in err
