"""`vsalient evaluate` through the real command line: layouts, protocols, errors, outputs."""

import csv
import io
import json
import math
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from evaluation_data import DAVIS_PALETTE, disc, make_set, soft, write, write_gray_video, write_labels
from vsalient import metrics
from vsalient.cli.app import main
from vsalient.datasets.masks import read_map
from vsalient.datasets.presets import PRESETS
from vsalient.errors import DecodeError
from vsalient.evaluation import evaluate

SHARED = Path(__file__).resolve().parents[2] / "shared"
FAST = "MAE,Fmax,J,F"


@pytest.fixture
def run(capsys):
    """Run the command; returns (exit code, stdout, stderr)."""

    def call(*args):
        with pytest.raises(SystemExit) as end:
            main(["evaluate", *map(str, args)])
        out = capsys.readouterr()
        return end.value.code, out.out, out.err

    return call


@pytest.fixture
def scores(run):
    """Run with --json; returns the parsed document."""

    def call(*args):
        code, out, err = run(*args, "--json")
        assert code == 0, err
        return json.loads(out)

    return call


def dataset(document, which=0):
    return document["predictions"][which]["dataset"]


def test_davis_tree_scores_by_definition(tmp_path, scores):
    make_set(tmp_path, {"cat": range(6), "dog": range(4)})
    document = scores(tmp_path / "pred", tmp_path / "gt", "--metrics", "MAE,Fmax,S,J,F")
    truth = {name: [disc(f) > 128 for f in range(n)] for name, n in (("cat", 6), ("dog", 4))}
    maps = {name: [soft(f, 2) for f in range(n)] for name, n in (("cat", 6), ("dog", 4))}

    def mean(of):
        return np.mean([np.mean([of(m, t) for m, t in zip(maps[n], truth[n], strict=True)]) for n in truth])

    result = dataset(document)
    assert result["MAE"] == pytest.approx(mean(metrics.mae), abs=1e-12)
    assert result["S"] == pytest.approx(mean(metrics.s_measure), abs=1e-12)
    assert result["J_mean"] == pytest.approx(mean(lambda m, t: metrics.jaccard(m >= 128, t)), abs=1e-12)
    assert result["F_mean"] == pytest.approx(mean(lambda m, t: metrics.boundary_f(m >= 128, t)), abs=1e-12)
    assert result["O"] == pytest.approx((result["J_mean"] + result["F_mean"]) / 2)
    assert [sequence["name"] for sequence in document["predictions"][0]["sequences"]] == ["cat", "dog"]
    assert len(document["predictions"][0]["curves"]["precision"]) == 256


def test_the_davis16_protocol_drops_first_and_last_frame(tmp_path, scores):
    make_set(tmp_path, {"cat": range(5)})
    (tmp_path / "pred/cat/00000.png").unlink()  # not needed then
    (tmp_path / "pred/cat/00004.png").unlink()
    document = scores(tmp_path / "pred", tmp_path / "gt", "--count", "davis16", "--metrics", "J")
    assert document["predictions"][0]["sequences"][0]["frames"] == ["00001", "00002", "00003"]


def test_davis16_preset_knows_root_split_and_protocol(tmp_path, run, scores):
    names = PRESETS["davis16"].splits["val"]
    for name in names:
        for frame in range(3):
            write(tmp_path / "DAVIS/Annotations/480p" / name / f"{frame:05d}.png", disc(frame))
            write(tmp_path / "maps" / name / f"{frame:05d}.png", disc(frame))
    write(tmp_path / "maps/bear/00000.png", disc(0))  # a training sequence: no mistake
    document = scores(tmp_path / "maps", tmp_path / "DAVIS", "--dataset", "davis16", "--metrics", "davis")
    assert document["protocol"] == "davis16" and len(document["predictions"][0]["sequences"]) == 20
    assert document["predictions"][0]["frames"] == 20
    assert dataset(document)["O"] == 1
    code, _, err = run(tmp_path / "maps", tmp_path / "DAVIS", "--dataset", "davis16", "--split", "train")
    assert code == 1 and "lacks 30 of 30 sequences" in err


def test_splits_by_file_and_by_list(tmp_path, scores):
    make_set(tmp_path, {name: range(2) for name in ("a", "b", "c")})
    split = tmp_path / "val.txt"
    split.write_text("# held out\n/JPEGImages/480p/c/00000.jpg /Annotations/480p/c/00000.png\na\n")
    for given, expected in ((split, ["c", "a"]), ("b", ["b"]), ("all", ["a", "b", "c"])):
        document = scores(tmp_path / "pred", tmp_path / "gt", "--split", given, "--metrics", "MAE")
        assert [sequence["name"] for sequence in document["predictions"][0]["sequences"]] == expected


def test_sparse_ground_truth_passes_other_predictions_over(tmp_path, run, scores):
    for frame in range(1, 42):
        write(tmp_path / "pred/cars1" / f"cars1_{frame:02d}.png", soft(frame, 2))
        if frame % 20 == 1:
            write(tmp_path / "FBMS/Testset/cars1/GroundTruth" / f"{frame:03d}_gt.png", disc(frame))
        write(tmp_path / "FBMS/Testset/cars1" / f"cars1_{frame:02d}.jpg", disc(frame))
    args = (tmp_path / "pred", tmp_path / "FBMS", "--dataset", "fbms", "--split", "cars1", "--metrics", "MAE")
    document = scores(*args)
    assert document["predictions"][0]["sequences"][0]["frames"] == ["001_gt", "021_gt", "041_gt"]
    assert document["predictions"][0]["extra_frames"] == 38
    expected = np.mean([metrics.mae(soft(frame, 2), disc(frame)) for frame in (1, 21, 41)])
    assert dataset(document)["MAE"] == pytest.approx(expected, abs=1e-12)
    code, out, _ = run(*args)
    assert code == 0 and "38 frames predicted without ground truth" in out
    code, _, err = run(*args, "--extra", "error")
    assert code == 1 and "38 frames without ground truth" in err


def test_objects_of_segtrack_are_united(tmp_path, scores):
    halves = np.hsplit(disc(3), [20])
    left, right = np.hstack([halves[0], 0 * halves[1]]), np.hstack([0 * halves[0], halves[1]])
    for number, part in (("1", left), ("2", right)):
        write(tmp_path / "ST/GroundTruth/girl" / number / "00000.png", part)
    write(tmp_path / "pred/girl/00000.png", disc(3))
    args = (tmp_path / "pred", tmp_path / "ST", "--dataset", "segtrackv2", "--split", "girl", "--metrics", "J")
    assert dataset(scores(*args))["J_mean"] == 1


def test_flat_folders_and_videos(tmp_path, scores):
    for frame in range(8):
        write(tmp_path / "gt" / f"{frame}.png", disc(frame))
        write(tmp_path / "maps" / f"{frame}.png", soft(frame, 1))
    video = write_gray_video(tmp_path / "map.mkv", [soft(frame, 1) for frame in range(8)])
    truth_video = write_gray_video(tmp_path / "truth.mkv", [disc(frame) for frame in range(8)])
    expected = dataset(scores(tmp_path / "maps", tmp_path / "gt", "--metrics", FAST))
    assert expected["MAE"] == pytest.approx(np.mean([metrics.mae(soft(f, 1), disc(f)) for f in range(8)]), abs=1e-12)
    for prediction, truth in ((video, tmp_path / "gt"), (video, truth_video), (tmp_path / "maps", truth_video)):
        assert dataset(scores(prediction, truth, "--metrics", FAST)) == pytest.approx(expected), (prediction, truth)


def test_the_names_that_predict_gives_are_understood(tmp_path, scores):
    make_set(tmp_path, {"cat": range(3), "dog": range(3)}, shifts={"pred": 0})
    expected = dataset(scores(tmp_path / "pred", tmp_path / "gt", "--metrics", FAST))
    (tmp_path / "mixed").mkdir()
    (tmp_path / "pred/cat").rename(tmp_path / "mixed/cat_maps")
    write_gray_video(tmp_path / "mixed/dog_saliency.mkv", [soft(frame, 0) for frame in range(3)])
    assert dataset(scores(tmp_path / "mixed", tmp_path / "gt", "--metrics", FAST)) == pytest.approx(expected)


def test_two_kinds_of_predictions_of_one_sequence_are_refused(tmp_path, run):
    make_set(tmp_path, {"cat": range(2)})
    for ending in ("maps", "masks"):
        write(tmp_path / f"mixed/cat_{ending}/00000.png", disc(0))
    code, _, err = run(tmp_path / "mixed", tmp_path / "gt", "--missing", "skip")
    assert code == 1 and "cat_maps, cat_masks could all belong to sequence cat" in err and err.count("\n") == 1


def test_frames_of_a_video_without_sparse_ground_truth_are_counted(tmp_path, scores):
    for frame in (0, 4, 8):
        write(tmp_path / "gt" / f"{frame}.png", disc(frame))
    video = write_gray_video(tmp_path / "map.mkv", [disc(frame) for frame in range(10)])
    args = (video, tmp_path / "gt", "--extra", "ignore", "--metrics", "J")
    document = scores(*args)
    assert dataset(document)["J_mean"] == 1 and document["predictions"][0]["extra_frames"] == 7
    document = scores(*args, "--count", "davis16")
    assert document["predictions"][0]["frames"] == 1 and document["predictions"][0]["extra_frames"] == 7


def test_a_video_against_sparse_ground_truth_needs_the_frames_names(tmp_path, run, scores):
    for frame in range(20, 60, 20):
        write(tmp_path / "gt" / f"{frame:03d}.png", disc(frame))
    for frame in range(10, 50):
        write(tmp_path / "frames" / f"{frame:03d}.jpg", disc(frame))
    video = write_gray_video(tmp_path / "map.mkv", [disc(frame) for frame in range(10, 50)])
    args = (video, tmp_path / "gt", "--extra", "ignore", "--metrics", "J")
    code, _, err = run(*args)
    assert code == 1 and "--frames" in err
    document = scores(*args, "--frames", tmp_path / "frames")
    assert dataset(document)["J_mean"] == 1
    assert document["predictions"][0]["sequences"][0]["frames"] == ["020", "040"]


def test_videos_of_another_length_are_refused(tmp_path, run, scores):
    for frame in range(4):
        write(tmp_path / "gt" / f"{frame}.png", disc(frame))
    long = write_gray_video(tmp_path / "long.mkv", [disc(frame) for frame in range(6)])
    short = write_gray_video(tmp_path / "short.mkv", [disc(frame) for frame in range(3)])
    code, _, err = run(long, tmp_path / "gt")
    assert code == 1 and "2 frames more" in err
    assert scores(long, tmp_path / "gt", "--extra", "ignore", "--metrics", "J")["predictions"][0]["extra_frames"] == 2
    code, _, err = run(short, tmp_path / "gt")
    assert code == 1 and "ended before" in err
    document = scores(short, tmp_path / "gt", "--missing", "zero", "--metrics", "J")
    assert dataset(document)["J_mean"] == pytest.approx(0.75)


def test_missing_frames(tmp_path, run, scores):
    make_set(tmp_path, {"cat": range(4), "dog": range(2)}, shifts={"pred": 0})
    (tmp_path / "pred/cat/00002.png").unlink()
    args = (tmp_path / "pred", tmp_path / "gt", "--metrics", "J")
    code, out, err = run(*args)
    assert code == 1 and out == ""
    assert err.count("\n") == 1 and "lack 1 of 6 frames" in err and "00002" in err and "--missing zero" in err
    full = metrics.jaccard(soft(0, 0), disc(0))
    assert dataset(scores(*args, "--missing", "zero"))["J_mean"] == pytest.approx(full * (0.75 + 1) / 2, abs=0.02)
    document = scores(*args, "--missing", "skip")
    assert dataset(document)["J_mean"] == pytest.approx(full, abs=0.02)
    assert document["predictions"][0]["absent_frames"] == 1
    code, out, _ = run(*args, "--missing", "skip")
    assert "1 frame without a prediction left out" in out


def test_a_missing_sequence_is_no_smaller_mean(tmp_path, run, scores):
    make_set(tmp_path, {"cat": range(3), "dog": range(3)}, shifts={"pred": 0})
    for path in (tmp_path / "pred/dog").iterdir():
        path.unlink()
    args = (tmp_path / "pred", tmp_path / "gt", "--metrics", "J")
    code, _, err = run(*args)
    assert code == 1 and "no prediction at all for dog" in err
    zero = scores(*args, "--missing", "zero")
    assert zero["predictions"][0]["sequences"][1]["results"]["J_mean"] == 0
    assert dataset(zero)["J_mean"] == pytest.approx(zero["predictions"][0]["sequences"][0]["results"]["J_mean"] / 2)
    code, out, _ = run(*args, "--missing", "skip")
    assert "1 of 2 sequences left out" in out and "3 frames without a prediction left out" in out


def test_extra_frames_and_sequences(tmp_path, run, scores):
    make_set(tmp_path, {"cat": range(3)})
    write(tmp_path / "pred/cat/00009.png", disc(9))
    code, _, err = run(tmp_path / "pred", tmp_path / "gt")
    assert code == 1 and "1 frames without ground truth" in err and "--extra ignore" in err
    (tmp_path / "pred/cat/00009.png").unlink()
    write(tmp_path / "pred/cow/00000.png", disc(0))
    code, _, err = run(tmp_path / "pred", tmp_path / "gt")
    assert code == 1 and "without ground truth: cow" in err
    document = scores(tmp_path / "pred", tmp_path / "gt", "--extra", "ignore", "--metrics", "J")
    assert document["predictions"][0]["extra_sequences"] == 1
    _, out, _ = run(tmp_path / "pred", tmp_path / "gt", "--extra", "ignore", "--metrics", "J")
    assert "1 sequence predicted without ground truth passed over" in out
    document = scores(tmp_path / "pred", tmp_path / "gt", "--split", "cat", "--metrics", "J")
    assert document["predictions"][0]["extra_sequences"] == 0


def test_nothing_in_common(tmp_path, run):
    write(tmp_path / "pred/cat/00000.png", disc(0))
    write(tmp_path / "gt/dog/00000.png", disc(0))
    code, _, err = run(tmp_path / "pred", tmp_path / "gt", "--missing", "skip")
    assert code == 1 and "no frame in common" in err and "cat" in err and "dog" in err
    write(tmp_path / "gt/emu/00000.png", disc(0))
    code, _, err = run(tmp_path / "pred/cat", tmp_path / "gt")
    assert code == 1 and "predicted: frames without a sequence's folder; ground truth: dog, emu" in err


def test_sizes(tmp_path, run, scores):
    write(tmp_path / "gt/00000.png", disc(0))
    write(tmp_path / "pred/00000.png", cv2.resize(disc(0), (128, 96), interpolation=cv2.INTER_NEAREST))
    args = (tmp_path / "pred", tmp_path / "gt", "--metrics", "J")
    code, _, err = run(*args)
    assert code == 1 and "128x96" in err and "64x48" in err and "--size-mismatch resize" in err
    document = scores(*args, "--size-mismatch", "resize")
    assert dataset(document)["J_mean"] > 0.95
    assert document["predictions"][0]["resized_frames"] == 1


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\nrubbish", b"hello"])
def test_unreadable_pictures(tmp_path, run, content):
    write(tmp_path / "gt/00000.png", disc(0))
    (tmp_path / "pred").mkdir()
    (tmp_path / "pred/00000.png").write_bytes(content)
    code, _, err = run(tmp_path / "pred", tmp_path / "gt")
    assert code == 1 and "00000.png cannot be decoded" in err and err.count("\n") == 1


def test_truncated_pictures(tmp_path, run):
    write(tmp_path / "gt/00000.png", disc(0))
    path = write_labels(tmp_path / "pred/00000.png", disc(0) // 255)
    path.write_bytes(path.read_bytes()[:-60])
    code, _, err = run(tmp_path / "pred", tmp_path / "gt")
    assert code == 1 and "00000.png cannot be decoded" in err


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_damaged_pictures_make_no_other_noise(tmp_path, capfd, damage):
    path = write(tmp_path / "0.png", soft(0, 0))
    data = bytearray(path.read_bytes())
    if damage == "cut":
        del data[len(data) // 2 :]
    else:
        data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(DecodeError, match=r"0\.png cannot be decoded"):
        read_map(path)
    assert capfd.readouterr().err == ""  # image libraries write there by themselves


@pytest.mark.skipif(sys.platform == "win32", reason="needs process groups")
def test_an_interrupt_ends_all_workers_in_silence(tmp_path):
    make_set(tmp_path, {name: range(12) for name in "abcd"})
    command = [sys.executable, "-m", "vsalient", "evaluate", *[str(tmp_path / "pred")] * 9, str(tmp_path / "gt")]
    process = subprocess.Popen(
        [*command, "--jobs", "2", "--metrics", "all"], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    deadline = time.monotonic() + 20
    # The resource tracker is the first child, workers are the others; without /proc a guess must do.
    while time.monotonic() < deadline and process.poll() is None:
        if len(children.read_text().split()) > 1 if children.exists() else time.monotonic() > deadline - 18:
            break
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert err.strip() == "Interrupted."


def test_colour_pictures_are_refused(tmp_path, run):
    write(tmp_path / "gt/00000.png", disc(0))
    write(tmp_path / "pred/00000.png", np.dstack([disc(0), disc(0, 4), disc(0)]))
    code, _, err = run(tmp_path / "pred", tmp_path / "gt")
    assert code == 1 and "colour picture" in err


def test_palette_masks_hold_labels_and_void(tmp_path, scores):
    labels = (disc(0) > 0).astype(np.uint8) * 2
    labels[:, 26:40] = 255
    write_labels(tmp_path / "gt/00000.png", labels)
    outside = disc(0).copy()
    outside[:, 26:] = 0
    outside[20:30, 30:36] = 255  # false, but void
    write(tmp_path / "pred/00000.png", outside)
    result = dataset(scores(tmp_path / "pred", tmp_path / "gt", "--metrics", "MAE,J,F"))
    assert result["J_mean"] == result["F_mean"] == 1 and result["MAE"] == 0


def test_gray_void_value(tmp_path, scores):
    truth = disc(0)
    truth[:, 26:] = 85
    write(tmp_path / "gt/00000.png", truth)
    write(tmp_path / "pred/00000.png", np.where(np.arange(64) < 26, disc(0), 0).astype(np.uint8))
    args = (tmp_path / "pred", tmp_path / "gt", "--metrics", "J")
    assert dataset(scores(*args))["J_mean"] < 0.5  # a gray label is an object
    assert dataset(scores(*args, "--void", "85"))["J_mean"] == 1


@pytest.mark.parametrize("labels", [(85, 255), (85, 170, 255), (127, 254), (100, 200), (1, 2), (3, 90)])
@pytest.mark.parametrize("suffix", ["png", "pgm", "tif"])
def test_gray_labels_are_objects(tmp_path, run, scores, labels, suffix):
    for frame in range(2):
        truth = np.zeros((48, 96), np.uint8)
        for number, label in enumerate(labels):
            truth[10 + frame : 25 + frame, 30 * number + 3 : 30 * number + 24] = label
        write(tmp_path / f"gt/{frame:05d}.{suffix}", truth)
        write(tmp_path / f"pred/{frame:05d}.png", np.where(truth > 0, 255, 0).astype(np.uint8))
    assert dataset(scores(tmp_path / "pred", tmp_path / "gt", "--metrics", "J,Fmax"))["J_mean"] == 1


def test_gray_shades_that_are_neither_labels_nor_a_mask_are_refused(tmp_path, run):
    ramp = cv2.resize(np.arange(64, dtype=np.uint8)[None], (640, 480), interpolation=cv2.INTER_NEAREST)
    write(tmp_path / "gt/0.png", ramp)
    write(tmp_path / "pred/0.png", ramp)
    code, _, err = run(tmp_path / "pred", tmp_path / "gt")
    assert code == 1 and "neither labels nor a mask" in err and "gt/0.png" in err and err.count("\n") == 1


def official_fbms(root):
    """As FBMS-59 is released: colours on white with `_PROB_gt` and Def.dat beside, gray labels, black on white."""
    truths = {}
    for name in ("cats01", "cars1", "dogs01"):
        place = root / "FBMS/Testset" / name
        for number in range(1, 42):
            first, second = disc(number % 15), disc(number % 15, shift=18)
            write(place / f"{name}_{number:04d}.jpg", np.dstack([first] * 3))
            if number not in (1, 20, 40):
                continue
            truth = (first > 0) | (second > 0) if name == "cars1" else first > 0
            truths[name, number] = truth
            if name == "cars1":
                gray = np.where(first > 0, 255, np.where(second > 0, 85, 0)).astype(np.uint8)
                write(place / f"GroundTruth/{name}_{number:04d}.pgm", gray)
                continue
            colour = np.full((*truth.shape, 3), 255, np.uint8)
            colour[truth] = (0, 255, 255) if name == "cats01" else 0
            write(place / f"GroundTruth/{name}_{number:04d}_gt.ppm", colour)
            write(place / f"GroundTruth/{name}_{number:04d}_PROB_gt.ppm", colour[::-1])
        (place / f"GroundTruth/{name}Def.dat").write_text("Total number of regions:\n2\n")
    return truths


@pytest.mark.parametrize("dataset_name", ["fbms", "custom"])
def test_fbms_as_released(tmp_path, scores, dataset_name):
    truths = official_fbms(tmp_path)
    for name, number in truths:
        for extra in (-1, 0, 1):
            mask = truths[name, number].astype(np.uint8) * np.uint8(255)
            write(tmp_path / f"pred/{name}/{name}_{number + extra:04d}.png", mask)
    args = ["--split", "all"] if dataset_name == "custom" else ["--split", "cats01,cars1,dogs01"]
    root = tmp_path / "FBMS" if dataset_name == "fbms" else tmp_path / "FBMS/Testset"
    document = scores(
        tmp_path / "pred", root, "--dataset", dataset_name, *args, "--extra", "ignore", "--metrics", "J,MAE"
    )
    assert document["predictions"][0]["frames"] == 9
    assert dataset(document) == {"MAE": 0, "MAE_pooled": 0, "J_mean": 1, "J_recall": 1, "J_decay": 0}


def test_two_folders_of_one_sequence_and_linked_folders(tmp_path, run, scores):
    make_set(tmp_path, {"cat": range(2)})
    (tmp_path / "gt/cat/loop").symlink_to(tmp_path / "gt")
    assert dataset(scores(tmp_path / "pred", tmp_path / "gt", "--metrics", "J"))["J_mean"] > 0.3
    write(tmp_path / "two/bear/GT/0.png", disc(0))
    write(tmp_path / "two/bear/masks/0.png", disc(1))
    code, _, err = run(tmp_path / "pred", tmp_path / "two")
    assert code == 1 and "both hold sequence bear" in err


def test_names_with_digits_that_are_no_numbers(tmp_path, scores):
    for name in ("1²2", "1²10", "café3"):
        write(tmp_path / f"gt/{name}.png", disc(0))
        write(tmp_path / f"pred/{name}.png", disc(0))
    assert dataset(scores(tmp_path / "pred", tmp_path / "gt", "--metrics", "J"))["J_mean"] == 1


def test_other_formats_of_the_same_masks(tmp_path, scores):
    write(tmp_path / "gt/a.png", disc(0))
    forms = {
        "one bit": Image.fromarray(disc(0) > 0),
        "16 bits": Image.fromarray(disc(0).astype(np.uint16) * 257),
        "rgb": Image.fromarray(np.dstack([disc(0)] * 3)),
        "rgba": Image.fromarray(np.dstack([disc(0)] * 4)),
        "labels": Image.fromarray(disc(0) // 255, "P"),
    }
    forms["labels"].putpalette(DAVIS_PALETTE)
    gray_palette = Image.fromarray(disc(0) // 255, "P")
    gray_palette.putpalette([0, 0, 0, 255, 255, 255])
    forms["black and white palette"] = gray_palette
    for name, image in forms.items():
        (tmp_path / name).mkdir()
        image.save(tmp_path / name / "a.png")
        assert dataset(scores(tmp_path / name, tmp_path / "gt", "--metrics", "J,MAE"))["MAE"] == 0, name
    (tmp_path / "webp").mkdir()
    Image.fromarray(disc(0)).save(tmp_path / "webp/a.webp", lossless=True)
    assert dataset(scores(tmp_path / "webp", tmp_path / "gt", "--metrics", "MAE"))["MAE"] == 0


def test_labels_in_gray_pictures_are_not_taken_for_black_maps(tmp_path, run, scores):
    write(tmp_path / "gt/a.png", disc(0))
    write(tmp_path / "pred/a.png", disc(0) // 255)
    args = (tmp_path / "pred", tmp_path / "gt", "--metrics", "J")
    code, _, err = run(*args)
    assert code == 1 and "never exceed 1 of 255" in err
    assert dataset(scores(*args, "--values", "labels"))["J_mean"] == 1
    assert dataset(scores(*args, "--values", "gray"))["J_mean"] == 0
    # A ground truth of 0 and 1 can be nothing else than a mask.
    assert dataset(scores(tmp_path / "gt", tmp_path / "pred", "--metrics", "J"))["J_mean"] == 1


def test_long_sequences_and_processes(tmp_path, scores):
    size = (12, 16)
    for frame in range(300):
        write(tmp_path / "gt/long" / f"{frame}.png", disc(0, -8, size))
        # Perfect for the first half, nothing after it: the decay is 1.
        write(tmp_path / "pred/long" / f"{frame}.png", disc(0, -8, size) if frame < 150 else np.zeros(size, np.uint8))
    for name in ("gt", "pred"):
        write(tmp_path / name / "short/0.png", disc(0, -8, size))
    args = (tmp_path / "pred", tmp_path / "gt", "--metrics", "davis")
    one, two = scores(*args, "--jobs", "1"), scores(*args, "--jobs", "2")
    assert one == two
    results = one["predictions"][0]["sequences"][0]["results"]
    assert one["predictions"][0]["sequences"][0]["frames"][:11] == [str(frame) for frame in range(11)]
    assert (results["J_mean"], results["J_decay"], results["J_recall"]) == (0.5, 1.0, 0.5)


def test_errors_cross_from_processes(tmp_path, run):
    make_set(tmp_path, {"cat": range(2), "dog": range(2)})
    (tmp_path / "pred/dog/00001.png").write_bytes(b"no")
    code, _, err = run(tmp_path / "pred", tmp_path / "gt", "--jobs", "2", "--metrics", "J")
    assert code == 1 and "dog/00001.png cannot be decoded" in err and err.count("\n") == 1


def test_undefined_frames_are_counted_on_the_page(tmp_path, run):
    make_set(tmp_path, {"cat": range(3)})
    write(tmp_path / "gt/cat/00001.png", 0 * disc(0))
    code, out, _ = run(tmp_path / "pred", tmp_path / "gt", "--metrics", "Fmax,CC,AUC")
    assert code == 0
    assert "Fmax undefined in 1 of 3 frames" in out and "CC undefined in 1 of 3 frames" in out


def test_comparison_csv_and_tables(tmp_path, run, scores):
    make_set(tmp_path, {"cat": range(3), "dog": range(3)}, shifts={"good": 1, "bad": 9})
    args = (tmp_path / "good", tmp_path / "bad", tmp_path / "gt")
    document = scores(*args, "--metrics", FAST)
    assert [result["name"] for result in document["predictions"]] == ["good", "bad"]
    assert dataset(document, 0)["J_mean"] > dataset(document, 1)["J_mean"]
    code, out, err = run(*args, "--metrics", FAST)
    assert code == 0 and err == ""
    assert "good" in out and f"{dataset(document)['J_mean']:.4f}" in out and "cat" in out
    code, out, _ = run(*args, "--metrics", FAST, "--csv", tmp_path / "out.csv")
    assert code == 0 and "J_mean" in out
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text())))
    assert [(row["prediction"], row["level"], row["sequence"]) for row in rows[:3]] == [
        ("good", "dataset", ""), ("good", "sequence", "cat"), ("good", "sequence", "dog"),
    ]  # fmt: skip
    assert float(rows[0]["Fmax"]) == dataset(document)["Fmax"]
    code, out, _ = run(*args, "--metrics", "J", "--csv")
    assert code == 0 and out.startswith("prediction,level,sequence,frames,J_mean")


def test_narrow_terminals_get_more_tables_not_cut_numbers(tmp_path, run, monkeypatch):
    make_set(tmp_path, {"cat [x]": range(2), "dog": range(2)})
    monkeypatch.setattr("vsalient.cli.scoreboard._PIPED_WIDTH", 60)
    code, out, _ = run(tmp_path / "pred", tmp_path / "gt", "--metrics", "davis,sod")
    assert code == 0 and "…" not in out.replace("… over frames", "")
    assert max(map(len, out.splitlines())) <= 60
    assert out.count("J_mean") == out.count("F_decay") == 1 and "cat [x]" in out


def test_json_stands_before_paths_without_eating_them(tmp_path, run):
    make_set(tmp_path, {"cat": range(2)})
    code, out, _ = run("--json", tmp_path / "pred", tmp_path / "gt", "--metrics", "J")
    assert code == 0 and json.loads(out)["metrics"] == ["J"]
    code, out, _ = run("--json", tmp_path / "x.json", tmp_path / "pred", tmp_path / "gt", "--metrics", "J")
    assert code == 0 and "J_mean" in out and json.loads((tmp_path / "x.json").read_text())["metrics"] == ["J"]


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["gt"], 1, "--model and --frames"),
        (["pred", "nowhere"], 1, "ground truth nowhere does not exist"),
        (["nowhere", "gt"], 1, "predictions nowhere does not exist"),
        (["pred", "gt", "--metrics", "J,K"], 1, "unknown metric 'K'"),
        (["pred", "gt", "--metrics", "KL"], 1, "--fixations"),
        (["pred", "gt", "--split", "nothing.txt"], 1, "split 'nothing.txt'"),
        (["pred", "gt", "--split", "cow"], 1, "lacks 1 of 1 sequences"),
        (["pred", "gt", "--dataset", "davis71"], 2, "davis71"),
        (["pred", "gt", "--json", "--csv"], 1, "cannot both go to stdout"),
        (["pred", "gt", "--report", "nowhere/x.html"], 1, "its folder does not exist"),
        (["pred", "gt", "--keep-maps", "x"], 1, "belongs to --model"),
        (["gt", "--model", "3dc-lite"], 1, "--frames"),
        (["pred", "empty"], 1, "holds no pictures"),
        (["pred/cat/00000.png", "gt"], 1, "is no video"),
        (["pred", "gt", "--count", "davis16"], 1, "--count all-frames"),
        (["pred", "gt", "--protocol", "davis16"], 1, "--count davis16"),
        (["pred", "gt", "--protocol", "no-such"], 2, "default, paper"),
    ],
)
def test_mistakes_are_one_line(tmp_path, run, monkeypatch, args, code, message):
    monkeypatch.chdir(tmp_path)
    make_set(tmp_path, {"cat": range(2)})
    (tmp_path / "empty").mkdir()
    got, out, err = run(*args)
    assert got == code and out == "" and message in err
    if code == 1:
        assert err.count("\n") == 1


def test_fixation_mode(tmp_path, scores, run):
    rng = np.random.default_rng(3)
    points, density, maps = {}, {}, {}
    for sequence in ("a", "b", "c"):
        for frame in range(2):
            key = (sequence, frame)
            points[key] = rng.random((20, 30)) < 0.03
            density[key] = cv2.GaussianBlur(points[key].astype(np.float32), (9, 9), 0)
            density[key] = (density[key] / density[key].max() * 255).astype(np.uint8)
            maps[key] = rng.integers(0, 256, (20, 30)).astype(np.uint8)
            for folder, pixels in (("maps", density), ("fixation", points), ("pred", maps)):
                write(tmp_path / folder / sequence / f"{frame}.png", pixels[key].astype(np.uint8))
    document = scores(tmp_path / "pred", tmp_path / "maps", "--fixations", tmp_path / "fixation")

    def mean(of):
        return np.mean([of(key) for key in points])

    def others(key):
        return np.sum([points[other] for other in points if other[0] != key[0]], axis=0)

    expected = {
        "CC": mean(lambda k: metrics.cc(maps[k], density[k])),
        "AUC": mean(lambda k: metrics.auc(maps[k], points[k])),
        "NSS": mean(lambda k: metrics.nss(maps[k], points[k])),
        "sAUC": mean(lambda k: metrics.sauc(maps[k], points[k], others(k))),
        "KL": mean(lambda k: metrics.kl(maps[k], density[k])),
        "SIM": mean(lambda k: metrics.sim(maps[k], density[k])),
    }
    assert dataset(document) == pytest.approx(expected, abs=1e-12)
    code, _, err = run(tmp_path / "pred", tmp_path / "maps", "--fixations", tmp_path / "fixation", "--metrics", "J")
    assert code == 1 and "fixation" in err


def test_model_runs_first(tmp_path, monkeypatch, scores, run):
    pytest.importorskip("torch")
    from tiny_model import install, stripe_mask, stripes

    install(monkeypatch, tmp_path)
    for frame, pixels in enumerate(stripes(6)):
        write(tmp_path / "frames/JPEGImages/480p/red" / f"{frame:05d}.png", pixels)
        write(tmp_path / "gt/red" / f"{frame:05d}.png", stripe_mask(frame).astype(np.uint8) * 255)
    document = scores(
        tmp_path / "gt", "--model", "3dc-lite", "--device", "cpu", "--frames", tmp_path / "frames", "--metrics", FAST,
        "--keep-maps", tmp_path / "kept",
    )  # fmt: skip
    assert document["predictions"][0]["name"] == "3dc-lite"
    size, speed = (document["predictions"][0][key] for key in ("parameters", "frames_per_second"))
    assert size == 4 and speed > 0
    assert dataset(document)["J_mean"] > 0.9
    assert sorted(path.name for path in (tmp_path / "kept/3dc-lite/red").iterdir())[-1] == "00005.png"
    # In tables too, beside what the user says himself.
    args = (tmp_path / "kept/3dc-lite", tmp_path / "gt", "--model", "3dc-lite", "--device", "cpu", "--frames",
            tmp_path / "frames", "--metrics", "MAE", "--table", tmp_path / "t.md",
            "--column", "params (M)=7,8")  # fmt: skip
    code, out, err = run(*args)
    assert code == 0, err
    head, _, given, ran = (tmp_path / "t.md").read_text().splitlines()
    assert head.endswith("params (M) | frames/s |") and given.endswith("| 7 | – |") and "| 8 | " in ran
    assert float(ran.split("|")[-2]) > 0 and "frames/s" in out


def test_the_library_call(tmp_path):
    make_set(tmp_path, {"cat": range(3)})
    seen = []
    result = evaluate(
        [tmp_path / "pred"],
        tmp_path / "gt",
        metrics=["J", "T"],
        progress=lambda name, *counts: seen.append((name, counts)),
    )
    numbers = result.predictions[0].dataset.results
    assert list(numbers) == ["J_mean", "J_recall", "J_decay", "T"] and all(map(math.isfinite, numbers.values()))
    assert len(result.predictions[0].sequences[0].values["T"]) == 2
    assert seen == [("cat", (1, 1))]


def test_help_and_module_entry():
    done = subprocess.run(
        [sys.executable, "-m", "vsalient", "evaluate", "--help"], capture_output=True, text=True, check=True, timeout=60
    )
    assert "--missing" in done.stdout and "davis16" in done.stdout


@pytest.mark.shared
def test_davis_masks_moved_a_little(tmp_path, scores):
    archive = SHARED / "data/davis16-train-00.tar"
    if not archive.exists():
        pytest.skip("needs the DAVIS training masks beside the project")
    with tarfile.open(archive) as tar:
        for member in tar:
            sequence, _, name = member.name.partition("/")
            if sequence == "bear" and name.endswith(".png") and int(name[:5]) < 12:
                mask = np.array(Image.open(io.BytesIO(tar.extractfile(member).read())).convert("L"))
                write(tmp_path / "gt/bear" / name, mask)
                write(tmp_path / "pred/bear" / name, np.roll(mask, 3, 1))
            elif sequence > "bear":
                break
    document = scores(tmp_path / "pred", tmp_path / "gt", "--count", "davis16")
    result = dataset(document)
    assert document["predictions"][0]["frames"] == 10
    assert 0.9 < result["J_mean"] < 0.99 and result["F_mean"] == pytest.approx(1, abs=1e-2)  # 3 px is within reach
    assert 0.9 < result["wF"] < 1 and 0.9 < result["S"] < 1 and result["MAE"] < 0.02


@pytest.mark.slow
def test_a_networks_options_reach_it(tmp_path, run, scores):
    """Dense clips and another resolution give other maps; a clip too short for its overlap is one line."""
    for frame in range(5):
        write(tmp_path / f"gt/cat/{frame:05d}.png", disc(frame))
        write(tmp_path / f"frames/cat/{frame:05d}.png", np.dstack([disc(frame)] * 3))
    args = (
        tmp_path / "gt",
        "--model",
        "scnn-s",
        "--device",
        "cpu",
        "--frames",
        tmp_path / "frames",
        "--metrics",
        "MAE",
    )
    plain = dataset(scores(*args))["MAE"]
    changed = dataset(scores(*args, "--resolution", "exact:64x64", "--dtype", "float32"))["MAE"]
    assert changed != plain
    code, _, err = run(*args, "--overlap", "9", "--clip-length", "4")
    assert code == 1 and err.rstrip().splitlines()[-1].startswith("Error: ")
