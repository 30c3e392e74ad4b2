"""Weak labels: the quadratic programme against a grid, fusion, the erase list, and `vsalient train weak-labels`."""

import itertools
import json
import os
import sys

import cv2
import numpy as np
import pytest

from training_data import SIZE, encode, pair
from vsalient.cli.app import main
from vsalient.errors import DataError, OptionError
from vsalient.training.erasing import EraseList
from vsalient.training.simplex import solve_simplex
from vsalient.training.sources import open_pairs
from vsalient.training.weak_labels import MapSource, fuse_maps, given_weights, learn_weights, weak_label

SEQUENCES, FRAMES = ("bear", "bus"), 4


def problem(maps, truth):
    """A and b of the programme for maps (n, pixels) and truth (pixels,)."""
    return maps @ maps.T / truth.size, maps @ truth / truth.size


def source(name, maps):
    """A MapSource of arrays by frame name, in one sequence."""
    return MapSource(name, {"": list(maps)}, lambda _, frame: maps[frame])


@pytest.fixture
def folders(tmp_path):
    """Maps of a good source, of noise and of one that is always wrong, ground truth, and pictures."""
    rng = np.random.default_rng(0)
    for sequence, index in itertools.product(SEQUENCES, range(FRAMES)):
        image, mask = pair(3 * index + (20 if sequence == "bus" else 0))
        maps = {
            "good": np.clip(mask * 0.7 + rng.normal(30, 10, SIZE), 0, 255),
            "noise": rng.integers(0, 256, SIZE),
            "wrong": 255.0 - mask,
            "truth": mask,
        }
        for name, pixels in maps.items():
            folder = tmp_path / name / sequence
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{index:05d}.png").write_bytes(encode(pixels.astype(np.uint8), "PNG"))
        folder = tmp_path / "pictures" / sequence
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{index:05d}.jpg").write_bytes(encode(image, "JPEG"))
    return tmp_path


def cli(capsys, *args):
    with pytest.raises(SystemExit) as end:
        main(["train", "weak-labels", *map(str, args)])
    captured = capsys.readouterr()
    return end.value.code, captured.out, captured.err


def read_mask(path):
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


def jaccard(mask, truth):
    return float(((mask > 0) & (truth > 0)).sum() / ((mask > 0) | (truth > 0)).sum())


@pytest.mark.parametrize("seed", range(12))
def test_the_programme_is_solved_as_well_as_a_grid_can_and_better(seed):
    rng = np.random.default_rng(seed)
    count = 2 + seed % 3
    truth = (rng.random(60) < 0.3).astype(float)
    maps = np.clip(truth * rng.random((count, 1)) + rng.random((count, 60)) * rng.random((count, 1)) * 1.5, 0, 1)
    gram, target = problem(maps, truth)
    weights = solve_simplex(gram, target)
    assert weights.min() >= 0 and weights.sum() == pytest.approx(1, abs=1e-12)

    def cost(w):
        return float(w @ gram @ w - 2 * target @ w)

    steps = 40
    grid = [np.array(g) / steps for g in itertools.product(range(steps + 1), repeat=count) if sum(g) == steps]
    best = min(grid, key=cost)
    assert cost(weights) <= cost(best) + 1e-12
    assert np.abs(weights - best).max() <= 1 / steps + 0.02 or cost(best) - cost(weights) < 1e-3


def test_no_feasible_direction_improves_the_solution():
    """Karush-Kuhn-Tucker: the gradient is equal on the support and not lower off it."""
    rng = np.random.default_rng(5)
    for _ in range(30):
        maps, truth = rng.random((5, 40)), (rng.random(40) < 0.4).astype(float)
        gram, target = problem(maps, truth)
        weights = solve_simplex(gram, target)
        gradient = 2 * (gram @ weights - target)
        inside = weights > 1e-9
        assert np.ptp(gradient[inside]) < 1e-9
        assert (gradient[~inside] >= gradient[inside].mean() - 1e-9).all()


def test_a_known_mixture_is_found_again():
    rng = np.random.default_rng(1)
    maps = rng.random((3, 500))
    truth = np.array([0.6, 0.3, 0.1]) @ maps
    assert solve_simplex(*problem(maps, truth)) == pytest.approx([0.6, 0.3, 0.1], abs=1e-9)


def test_equal_sources_share_and_one_source_gets_all():
    for seed in range(20):
        good, other = np.random.default_rng(seed).random(50), np.zeros(50)
        gram, target = problem(np.stack([good, good, other]), good)
        assert solve_simplex(gram, target) == pytest.approx([0.5, 0.5, 0], abs=1e-9)
    assert solve_simplex(gram[:1, :1], target[:1]) == pytest.approx([1.0])


def test_too_many_sources_are_refused():
    with pytest.raises(OptionError, match="at most 12"):
        solve_simplex(np.eye(13), np.ones(13))


def test_the_good_source_outweighs_the_noise():
    rng = np.random.default_rng(3)
    truth = {str(i): (pair(3 * i)[1] / 255).astype(np.float32) for i in range(3)}
    good = {k: np.clip(v * 0.9 + 0.05, 0, 1) for k, v in truth.items()}
    noise = {k: rng.random(SIZE).astype(np.float32) for k in truth}
    fusion = learn_weights([source("good", good), source("noise", noise)], source("truth", truth))
    assert fusion.weights[0] > 0.95 and fusion.frames == 3
    assert fusion.fused <= min(fusion.alone) + 1e-12
    direct = np.mean([(truth[k] - fuse_maps([good[k], noise[k]], fusion.weights)) ** 2 for k in truth])
    assert fusion.fused == pytest.approx(float(direct), abs=1e-6)


def test_every_frame_counts_alike_whatever_its_size():
    """One large frame favours the first source, two small ones the second."""
    sizes = {"a": (40, 40), "b": (4, 4), "c": (4, 4)}
    truth = {k: np.ones(s, np.float32) for k, s in sizes.items()}
    first = {k: np.full(s, 0.9 if k == "a" else 0.1, np.float32) for k, s in sizes.items()}
    second = {k: np.full(s, 0.1 if k == "a" else 0.9, np.float32) for k, s in sizes.items()}
    fusion = learn_weights([source("first", first), source("second", second)], source("truth", truth))
    assert fusion.weights[1] > fusion.weights[0]


def test_fusion_is_the_weighted_sum_at_the_first_map_s_size():
    first, second = np.full((4, 6), 0.2, np.float32), np.full((8, 12), 0.6, np.float32)
    assert fuse_maps([first, second], [0.25, 0.75]) == pytest.approx(np.full((4, 6), 0.5), abs=1e-6)


def test_labels_are_cut_between_the_two_modes():
    saliency = np.where(pair(0)[1] > 0, 0.45, 0.15).astype(np.float32)
    assert np.array_equal(weak_label(saliency), pair(0)[1] > 0)
    assert not weak_label(np.zeros(SIZE, np.float32)).any()


@pytest.mark.parametrize("weights", [[1.0], [1.0, -0.5], [0.0, 0.0], [float("nan"), 1.0]])
def test_impossible_weights_are_refused(weights):
    sources = [source("a", {}), source("b", {})]
    with pytest.raises(OptionError, match="weights"):
        given_weights(sources, weights)


def test_erase_list_knows_sequences_frames_ranges_and_boxes():
    erase = EraseList(["# looked at on Monday", "bear", "bus/00001..00002", "camel/00003 2,1,3,2", "/7"])
    assert erase.leaves_out("bear", "00000") and erase.leaves_out("set/bear", "00004")
    assert [erase.leaves_out("bus", f"{i:05d}") for i in range(4)] == [False, True, True, False]
    assert not erase.leaves_out("camel", "00003") and erase.leaves_out("", "7")
    mask = np.ones((4, 6), bool)
    cleaned = erase.clean("camel", "00003", mask)
    expected = np.ones((4, 6), bool)
    expected[1:3, 2:5] = False
    assert np.array_equal(cleaned, expected) and mask.all()
    assert erase.clean("camel", "00002", mask) is mask
    erase.require_used()


@pytest.mark.parametrize("line", ["bear 1,2,3", "bear 1,2,0,4", "bear/", "bear/9..3"])
def test_erase_lines_that_say_nothing_are_named(line):
    with pytest.raises(DataError, match="line 2"):
        EraseList(["", line])


def test_cli_learns_weights_and_writes_a_data_set_that_trains(folders, capsys):
    # Ground truth of one sequence only, as in the paper: its weights serve the other one.
    for path in (folders / "truth/bus").iterdir():
        path.unlink()
    (folders / "truth/bus").rmdir()
    out = folders / "weak"
    code, text, err = cli(capsys, folders / "good", folders / "noise", folders / "wrong", "--truth", folders / "truth",
                          "--frames", folders / "pictures", "--out", out, "--json")  # fmt: skip
    assert code == 0, err
    told = json.loads(text)
    weights = [s["weight"] for s in told["sources"]]
    assert weights[0] > 0.8 and weights[2] == 0 and sum(weights) == pytest.approx(1)
    assert told["labelled_frames"] == FRAMES
    assert (told["manual"], told["weak"], told["erased"], told["empty"]) == (4, 4, 0, 0)
    assert told["squared_error"] <= min(s["squared_error"] for s in told["sources"])
    for index in range(FRAMES):
        weak = read_mask(out / f"Annotations/bus/{index:05d}.png")
        assert set(np.unique(weak)) == {0, 255}
        assert jaccard(weak, pair(3 * index + 20)[1]) > 0.9
        assert np.array_equal(read_mask(out / f"Annotations/bear/{index:05d}.png"), pair(3 * index)[1])
    data = open_pairs(out)
    assert data.names == list(SEQUENCES) and data.frames == 2 * FRAMES
    data.read(1, 0)


def test_cli_weights_can_be_equal_given_or_of_another_run(folders, capsys):
    good, noise = folders / "good", folders / "noise"
    code, text, _ = cli(capsys, good, noise, "--out", folders / "equal", "--json")
    assert code == 0
    assert [s["weight"] for s in json.loads(text)["sources"]] == [0.5, 0.5]
    code, text, _ = cli(capsys, good, noise, "--out", folders / "given", "--weights", "3,1", "--json")
    assert [s["weight"] for s in json.loads(text)["sources"]] == [0.75, 0.25]
    file = folders / "given/weights.json"
    code, text, _ = cli(capsys, good, noise, "--out", folders / "again", "--weights", file)
    assert text.startswith("0.750  ") and "8 weak and 0 manual labels" in text


def test_cli_erases_what_the_list_says(folders, capsys):
    (folders / "erase.txt").write_text("bus\nbear/00001\nbear/00002 0,0,64,24\n")
    out = folders / "weak"
    code, text, err = cli(capsys, folders / "good", "--erase", folders / "erase.txt", "--out", out)
    assert code == 0, err
    assert "3 weak and 0 manual labels; 5 erased" in text
    assert sorted(p.name for p in out.rglob("*.png")) == ["00000.png", "00002.png", "00003.png"]
    mask = read_mask(out / "Annotations/bear/00002.png")
    assert not mask[:24].any() and mask[24:].any()


def test_cli_takes_a_flat_folder(folders, capsys):
    code, _, err = cli(capsys, folders / "good/bear", folders / "noise/bear", "--truth", folders / "truth/bear",
                       "--frames", folders / "pictures/bear", "--out", folders / "weak")  # fmt: skip
    assert code == 0, err
    assert open_pairs(folders / "weak").frames == FRAMES


RETRAIN = """
import shutil, sys
from pathlib import Path
labels, predictions, number = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
init, weights = sys.argv[4], Path(sys.argv[5])
assert (labels / "Annotations/bear/00000.png").is_file()
before = "start" if init == "start.pt" else Path(init).read_text()
weights.write_text(f"{{before}}+{{number}}")
shutil.copytree({truth!r}, predictions)
print("trained", number)
"""


def test_cli_iterates_with_the_retrained_network_s_maps(folders, capsys):
    """A stand-in for training whose network is perfect: its weight must become 1, and in round 2 it comes in once."""
    script = folders / "retrain.py"
    script.write_text(RETRAIN.format(truth=str(folders / "truth")))
    kept = folders / "kept" / "bear"
    kept.mkdir(parents=True)
    for path in (folders / "truth/bear").iterdir():
        os.link(path, kept / path.name)
    code, text, err = cli(capsys, folders / "good", folders / "noise", "--truth", folders / "kept", "--out",
                          folders / "weak", "--iterations", "2", "--json", "--retrain",
                          f"{sys.executable} {script} {{labels}} {{predictions}} {{iteration}} {{init}} {{weights}}",
                          "--init", "start.pt")  # fmt: skip
    assert code == 0, err
    # Algorithm 1: each round trains on from the weights of the one before.
    assert (folders / "weak/round-1/weights.pt").read_text() == "start+1"
    assert (folders / "weak/round-2/weights.pt").read_text() == "start+1+2"
    rounds = json.loads(text)
    assert [len(r["sources"]) for r in rounds] == [2, 3, 3]
    assert rounds[2]["sources"][2]["source"].endswith("predictions")
    assert rounds[1]["sources"][2]["weight"] == pytest.approx(1, abs=1e-6)
    assert rounds[1]["squared_error"] < rounds[0]["squared_error"]
    assert jaccard(read_mask(folders / "weak/round-2/Annotations/bus/00001.png"), pair(23)[1]) == 1
    assert "round 2: " in err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((), "SOURCE"),
        (("good", "--truth", "truth", "--weights", "1"), "exclude each other"),
        (("good", "--iterations", "2"), "needs --retrain"),
        (("good", "--retrain", "true"), "{predictions}"),
        (("good", "--retrain", "false {predictions}"), "exit code 1"),
        (("good", "--init", "a.pt", "--retrain", "false {predictions}"), "which does not name it"),
        (("good", "--iterations", "2", "--retrain", "true {predictions} {init}"), "must name {weights}"),
        (("good", "--iterations", "2", "--retrain", "cp -r good {predictions}/ {init} {weights}"), "exit code 1"),
        (("good", "--iterations", "2", "--retrain", "true {predictions} {init} {weights}"), "left no weights at weak/"),
        (("good", "--retrain", "no-such-command {predictions}"), "cannot run no-such-command"),
        (("good", "--weights", "one"), "write numbers"),
        (("good", "--weights", "1,2"), "2 weights for 1 sources"),
        (("nowhere",), "does not exist"),
        (("good", "--erase", "nothing.txt"), "is no file"),
        (("good", "--erase", "typo.txt"), "'baer' fits no frame"),
        (("good", "short"), "short lacks 1 of the 4 frames that good has in sequence bus (00003)"),
        (("good", "--truth", "elsewhere"), "no frame of elsewhere has a map in good"),
        (("good", "--frames", "elsewhere"), "no pictures of sequence"),
    ],
)
def test_cli_bad_input_is_one_line(folders, args, message, capsys, monkeypatch):
    import shutil

    monkeypatch.chdir(folders)
    (folders / "typo.txt").write_text("baer\n")
    shutil.copytree("good", "short")
    os.unlink("short/bus/00003.png")
    for name in ("one", "two"):
        shutil.copytree("truth/bear", f"elsewhere/{name}")
    code, out, err = cli(capsys, *args, "--out", "weak")
    assert code in (1, 2) and message in err and "Traceback" not in err
    assert out == "" or "--retrain" in args  # a retraining that fails comes after the first round's table
    assert len([line for line in err.splitlines() if line.startswith("Error")]) == 1


def test_cli_never_removes_what_it_did_not_write(folders, capsys):
    out = folders / "data"
    foreign = out / "Annotations" / "bear"
    foreign.mkdir(parents=True)
    (foreign / "00000.png").write_bytes(b"precious")
    assert "not empty" in cli(capsys, folders / "good", "--out", out)[2]
    assert "not made by weak-labels" in cli(capsys, folders / "good", "--out", out, "--overwrite")[2]
    assert (foreign / "00000.png").read_bytes() == b"precious"
    own = folders / "own"
    assert cli(capsys, folders / "good", "--out", own)[0] == 0
    (own / "Annotations/bear/99999.png").write_bytes(b"stale")
    assert cli(capsys, folders / "good", "--out", own, "--overwrite")[0] == 0
    assert not (own / "Annotations/bear/99999.png").exists()
