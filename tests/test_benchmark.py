"""`vsalient benchmark`: rows with figures, in a process each; reasons where a model does not run."""

import json

import pytest

from tiny_model import install
from vsalient.benchmarking import make_video, yardstick
from vsalient.cli.app import main
from vsalient.media import open_source


def cli(capsys, *args):
    with pytest.raises(SystemExit) as end:
        main([str(arg) for arg in args])
    return end.value.code, capsys.readouterr()


def test_a_row_in_this_process(monkeypatch, tmp_path, capsys):
    install(monkeypatch, tmp_path)
    code, said = cli(capsys, "benchmark", "3dc-lite", "--here", "--size", "96x64", "--seconds", "0.2")
    assert code == 0, said.err
    row = json.loads(said.out.strip().splitlines()[-1])
    assert row["model"] == "3dc-lite" and row["weights"] == "own" and "cpu" in row["engine"]
    assert 4 <= row["frames"] <= 150
    assert all(row[name] > 0 for name in ("frames_per_second", "cpu_ms", "first_map_seconds", "yardstick"))
    assert row["peak_mib"] is None or row["peak_mib"] > 50


@pytest.mark.slow
def test_rows_of_real_models_and_of_one_that_does_not_run(capsys):
    options = ["--size", "128x64", "--seconds", "0.1", "--engine", "torch", "--json"]
    code, said = cli(capsys, "benchmark", "3dc-lite", *options)
    assert code == 0, said.err
    (row,) = json.loads(said.out)
    assert row["frames"] >= 8 and row["weights"] == "own"
    code, said = cli(capsys, "benchmark", "3dc-lite", *options[:-1], "--device", "cuda:99")
    assert code == 1 and "cuda:99" in said.out and len(said.out.strip().splitlines()) == 2


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--size", "854"], "width x height"),
        (["--size", "855x480"], "even"),
        (["no-such-model"], "no-such-model"),
        (["--device", "gpu"], "unknown device 'gpu'"),
    ],
)
def test_wrong_options_are_one_line(options, text, capsys):
    code, said = cli(capsys, "benchmark", *options)
    assert code == 1 and text in said.err and len(said.err.strip().splitlines()) == 1 and not said.out


def test_the_yardstick_and_the_video_are_what_they_say(tmp_path):
    assert yardstick(1) > 0
    with open_source(make_video(tmp_path / "v.mp4", 128, 96, 12)) as source:
        frames = list(source)
    assert len(frames) == 12 and frames[0].pixels.shape == (96, 128, 3)
    assert (frames[0].pixels != frames[-1].pixels).mean() > 0.5
