"""`vsalient reproduce`: a row a paper through the real command, what is lacking in one line, going on after a break."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from tiny_model import install
from vsalient.cli.app import root
from vsalient.cli.reproduce import PAPER_NAMES as OFFERED
from vsalient.datasets.presets import SEGTRACK_V2
from vsalient.errors import OptionError
from vsalient.reproduce.hand import Hand, lacking, parse_data
from vsalient.reproduce.making import kept_for_training
from vsalient.reproduce.papers import PAPERS, choose_rows
from vsalient.reproduce.quick import make_set
from vsalient.training.recipe import load_recipe, load_stages


def vsalient(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "vsalient", "reproduce", *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "NO_COLOR": "1"},
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("paper", "chosen", "labels"),
    [
        ("dsrfcn3d", ("--row", "table-4/dsfcn3d-davis"), {"F-Adap": 0.729, "MAE": 0.040}),
        ("conv3dnet", ("--table", "3"), {"PLCC": 0.8145, "AUC": 0.9325, "NSS": 2.9485}),
        ("3dc-seg", ("--table", "2b", "--row", "aspp"), {"J&F": 0.810}),
        ("scnn", ("--row", "fig-7b/fg"), {"MAE": None, "F-max of the PR curve": None}),
        ("stan", ("--figure", "6a", "--row", "stl"), {"F-measure": None, "MAE": None}),
    ],
)
def test_a_row_of_each_paper_runs_on_a_made_up_set(paper, chosen, labels):
    result = vsalient(paper, "--quick", *chosen, "--json", "--device", "cpu")
    assert result.returncode == 0, result.stderr
    (row,) = json.loads(result.stdout)
    assert row["theirs"] == labels
    assert set(row["ours"]) == set(labels) and row["sequences"] == 2
    assert "training" in result.stderr and "mean nothing" in row["differs"][0]


@pytest.fixture
def davis(tmp_path, monkeypatch) -> Path:
    """Made-up sequences under a DAVIS-like root, and RedNet in SCNN's place."""
    install(monkeypatch, tmp_path / "models", name="scnn")
    return make_set(tmp_path / "set") / "test"


def run_here(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(root, ["reproduce", *map(str, arguments)], standalone_mode=False)
    if result.exception is not None:
        return 1, result.stdout, str(result.exception)
    return int(result.return_value or 0), result.stdout, result.stderr


def test_a_row_with_weights_is_measured_and_not_done_twice(davis, tmp_path):
    asked = ("scnn", "--row", "fig-5/davis", "--data", f"davis16={davis}", "--split", "up,down", "-o", tmp_path / "out")
    code, first, said = run_here(*asked)
    assert code == 0, said
    # Its square is orange, and the network finds what is red and not green.
    assert "  MAE" in first and "0.058" in first and "2 sequences" in first
    assert "measured on the sequences of up,down" in first
    assert list((tmp_path / "out").rglob("maps-*")) == []
    code, again, _ = run_here(*asked)
    assert code == 0 and "done before" in again
    # Another split is another result.
    other = [*asked[:-3], "up", *asked[-2:]]
    assert "1 sequence\n" in run_here(*other)[1]


def test_masks_are_measured_where_the_row_says_so(davis, tmp_path, monkeypatch):
    pytest.importorskip("higra")
    install(monkeypatch, tmp_path / "more", name="dsrfcn3d", clip_length=4)
    said = ("dsrfcn3d", "--table", "5", "--data", f"davis16={davis}", "--split", "up,down", "-o", tmp_path / "out")
    code, shown, err = run_here(*said, "--json")
    assert code == 0, err
    (row,) = json.loads(shown)
    assert row["theirs"]["J mean"] == 0.651 and row["ours"]["O"] == pytest.approx(
        (row["ours"]["J mean"] + row["ours"]["F mean"]) / 2
    )


@pytest.mark.slow
def test_run_times_need_no_data(davis, tmp_path):
    code, shown, err = run_here("scnn", "--table", "I", "--row", "scnnf", "-o", tmp_path / "out", "--json")
    assert code == 0, err
    rows = json.loads(shown)
    assert [row["theirs"] for row in rows] == [{"seconds a frame": 2.53}]
    assert rows[0]["ours"]["seconds a frame"] > 0


def test_a_break_leaves_whole_sequences_that_are_not_made_again(davis, tmp_path, monkeypatch):
    from vsalient.evaluation import predict

    asked = ("scnn", "--row", "fig-5/davis", "--data", f"davis16={davis}", "--split", "up,down", "-o", tmp_path / "out")
    written: list[Path] = []
    real = predict._write_map

    def breaks(path, saliency):
        written.append(path)
        if len(written) == 9:
            raise KeyboardInterrupt
        real(path, saliency)

    monkeypatch.setattr(predict, "_write_map", breaks)
    with pytest.raises(click.Abort):
        from vsalient.cli.reproduce import command

        command.main(list(map(str, asked)), standalone_mode=False)
    monkeypatch.setattr(predict, "_write_map", lambda path, saliency: (written.append(path), real(path, saliency)))
    written.clear()
    code, shown, said = run_here(*asked)
    assert code == 0, said
    assert len(written) == 6 and len({path.parent for path in written}) == 1
    assert "2 sequences" in shown


def test_what_is_lacking_is_one_line_that_names_it():
    result = vsalient("conv3dnet", "--table", "3", "--row", "davis")
    assert result.returncode == 1
    assert result.stderr.splitlines() == [
        "conv3dnet table-3/davis: needs data davis16 (--data davis16=FOLDER); weights of conv3dnet (--weights FILE, "
        "or --train)"
    ]
    (row,) = choose_rows("dsrfcn3d", ("table-4",), ("rfcn3d-davis",))
    assert "msra10k" in lacking(row, Hand()) and "--train" in lacking(row, Hand())
    assert lacking(row, Hand(data={"davis16": Path()}, train=True, train_on=("x",))) == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "Usage"),
        (("--table", "3"), "say which paper"),
        (("scnn", "--table", "9"), "no row of table-9"),
        (("scnn", "--row", "nothing"), "no row 'nothing'"),
        (("scnn", "--data", "somewhere"), "say which data set it is"),
        (("scnn", "--data", "davis16=nowhere"), "no such folder"),
        (("scnn", "--data", "mars=nowhere"), "unknown data set 'mars'"),
        (("scnn", "--set", "steps=3"), "belong to --train"),
        (("scnn", "--weights", "nowhere.pt"), "no such file"),
        (("3dc-seg", "--table", "2a", "--row", "r-2-1-d-34", "--quick"), "cannot run quickly"),
    ],
)
def test_bad_input_is_one_line(arguments, said):
    code, out, err = run_here(*arguments)
    assert (code != 0 or not arguments) and said in out + err
    assert "Traceback" not in err


def test_list_names_every_row(tmp_path):
    code, out, _ = run_here("--list", "--json")
    rows = json.loads(out)
    assert code == 0 and len(rows) == sum(map(len, PAPERS.values())) > 50
    folder = tmp_path / "DAVIS"
    folder.mkdir()
    _, out, _ = run_here("scnn", "--figure", "5", "--list", "--data", folder)
    assert "fig-5/davis  can run" in out and "needs data fbms" in out


def test_every_row_is_whole():
    assert tuple(PAPERS) == OFFERED
    for paper, rows in PAPERS.items():
        assert len({row.key for row in rows}) == len(rows)
        for row in rows:
            assert (row.test is None) == any(n.result in ("seconds", "seconds_100", "parameters") for n in row.numbers)
            assert row.paper == paper and (row.metrics or row.test is None)
            if row.training is not None:
                load_stages(load_recipe(row.training.recipe, row.training.overrides), row.training.overrides)


@pytest.mark.slow
def test_a_network_is_trained_goes_on_and_is_never_measured_on_what_it_saw(tmp_path):
    """SegTrack v2's share for training is left out of the measure, and the result says so."""
    made = make_set(tmp_path / "set")
    for part, home in (("JPEGImages/480p", "JPEGImages"), ("Annotations/480p", "GroundTruth")):
        for name in SEGTRACK_V2:
            shutil.copytree(made / "train" / part / "left", tmp_path / "SegTrackv2" / home / name)
    asked = ["dsrfcn3d", "--table", "4", "--row", "rfcn3d-segtrack2", "--data", tmp_path / "SegTrackv2", "--train"]
    tiny = ["--set", "steps=2", "--set", "config.width=0.0625", "--set", "clips.size=[32, 32]", "--device", "cpu"]
    code, _, said = run_here(*asked, *tiny, "-o", tmp_path / "out")
    assert code == 1 and "needs data msra10k, ecssd, hku-is, thur15k, 10-clips, davis16" in said
    sets = ["--data", f"davis16={made / 'train'}", "--data", f"10-clips={made / 'test'}"]
    for name in ("msra10k", "ecssd", "hku-is", "thur15k"):
        sets += ["--data", f"{name}={made / 'stills'}"]
    asked += [*sets, *tiny, "--json", "-o", tmp_path / "out"]
    code, shown, said = run_here(*asked)
    assert code == 0, said
    (row,) = json.loads(shown)
    assert row["sequences"] == 6 and row["theirs"] == {"F-Adap": 0.682, "MAE": 0.045}
    left = next(text for text in row["differs"] if "not trained on" in text)
    assert sum(name in left.split(": ")[1].split(", ") for name in SEGTRACK_V2) == 6
    assert any("steps=2" in text for text in row["differs"])
    code, shown, said = run_here(*asked)
    assert json.loads(shown)[0]["before"] and "step 2 of 2" in said


def test_a_split_that_is_not_there_is_told_before_training(davis, tmp_path):
    asked = ("scnn", "--row", "fig-7b/os", "--data", f"davis16={davis}", "--train", "--train-on", davis)
    code, _, said = run_here(*asked, "-o", tmp_path / "out")
    assert code == 1 and "lacks 50 of 50 sequences" in said and "training" not in said


def test_a_place_is_meant_as_it_is_written():
    assert {row.place for row in choose_rows("scnn", ("fig-7",))} == {"Fig. 7a", "Fig. 7b", "Fig. 7c"}
    assert {row.place for row in choose_rows("scnn", ("table-I",))} == {"Table I"}
    assert {row.place for row in choose_rows("3dc-seg", ("table-2", "table-3"))} == {
        *("Table 2a", "Table 2b", "Table 2c", "Table 3")
    }


def test_data_is_named_or_told_by_its_folder(tmp_path):
    for name in ("DAVIS", "FBMS_Testset", "SegTrackv2", "DAVIS-2017"):
        (tmp_path / name).mkdir()
    found = parse_data([str(tmp_path / "DAVIS"), str(tmp_path / "FBMS_Testset"), f"segtrackv2={tmp_path}/SegTrackv2"])
    assert list(found) == ["davis16", "fbms", "segtrackv2"]
    with pytest.raises(OptionError, match="say which"):
        parse_data([str(tmp_path / "DAVIS-2017")])


def test_a_random_split_is_the_same_everywhere():
    names = [f"s{n}" for n in range(14)]
    kept = kept_for_training(names, 0.6)
    assert len(kept) == 8 and kept == kept_for_training(names[::-1], 0.6)
