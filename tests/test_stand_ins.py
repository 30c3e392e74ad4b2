"""A paper's name runs out of a plain install: what stands in says so, and gives way to the paper's own weights."""

import json
import os
import subprocess
import sys

import pytest

from vsalient.checkpoints import find_entry, registry
from vsalient.errors import FetchError, OptionError, WeightsError
from vsalient.procedure import plan_procedure


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VSALIENT_CACHE", str(tmp_path / "cache"))


def test_a_name_without_weights_gives_its_stand_in():
    entry = find_entry("scnn")
    assert entry.name == "scnn-s" and entry.stands_for == "scnn"
    assert "in place of scnn" in entry.introduction and "J 0.661" in entry.introduction
    assert "research" in entry.introduction
    assert "stands_for" not in entry.to_table()


def test_own_weights_are_never_put_into_another_network():
    assert find_entry("scnn", own_weights=True).name == "scnn"


def test_every_stand_in_is_there_and_of_the_same_architecture():
    known = registry()
    pairs = [(known[name], known[known[name].stand_in]) for name in known if known[name].stand_in]
    assert {entry.name for entry, _ in pairs} >= {"3dc-seg", "dsrfcn3d", "scnn", "stan"}
    assert pairs
    for entry, other in pairs:
        assert other.source == "bundled" and other.architecture == entry.architecture


def test_the_paper_s_procedure_refuses_a_stand_in():
    with pytest.raises(OptionError, match=r"models import scnn FILE"):
        plan_procedure(find_entry("scnn"), protocol="paper")
    assert plan_procedure(find_entry("scnn", own_weights=True), protocol="paper").clip_length == 1


def test_names_without_a_stand_in_say_what_to_do():
    from vsalient.checkpoints.network import load_network

    bare = [name for name in registry() if registry()[name].source == "none" and not registry()[name].stand_in]
    for name in bare:
        with pytest.raises(WeightsError, match="never published"):
            load_network(name)


def test_what_cannot_be_fetched_names_the_small_one(monkeypatch):
    from vsalient.checkpoints.network import load_network

    assert find_entry("3dc-seg").name == "3dc-seg"
    monkeypatch.setenv("VSALIENT_OFFLINE", "1")
    with pytest.raises(
        FetchError, match="models import 3dc-seg FILE`; the small `--model 3dc-seg-s` is in the package"
    ):
        load_network("3dc-seg")


def test_predict_by_the_paper_s_name(tmp_path):
    from PIL import Image

    folder = tmp_path / "clip"
    folder.mkdir()
    for i in range(2):
        Image.new("RGB", (96, 64), (40 * i, 90, 120)).save(folder / f"{i:03d}.png")
    command = [sys.executable, "-m", "vsalient", "predict", str(folder), "--model", "scnn", "-w", "maps", "--json"]
    command += ["-o", str(tmp_path / "out")]
    result = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "NO_COLOR": "1"})
    assert result.returncode == 0, result.stderr
    said = " ".join(result.stderr.split())
    assert "scnn-s (in place of scnn, at 0.1875 of its width" in said and "weights for research use" in said
    assert json.loads(result.stdout)
    refused = subprocess.run([*command[:-2], "--protocol", "paper"], capture_output=True, text=True)
    assert refused.returncode != 0 and "models import scnn" in " ".join(refused.stderr.split())
