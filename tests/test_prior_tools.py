"""What priors are made with: the superpixel classifier's verb, a package's optical flow, and where they are named."""

import importlib.metadata
import json
import shutil

import numpy as np
import pytest
import torch

from test_training import run_cli
from training_data import shard
from vsalient import entry_points
from vsalient.errors import CheckpointError, OptionError
from vsalient.priors import DisFlow, SuperpixelClassifier
from vsalient.priors import choose as choosing
from vsalient.priors.choose import PriorTools
from vsalient.training.data import ClipStream
from vsalient.training.recipe import ClipRecipe
from vsalient.training.sources import Mixture, open_pairs, split_stills


@pytest.fixture
def data(tmp_path):
    return shard(tmp_path / "data.tar", videos=2, frames=5)


@pytest.fixture
def classifier(data, tmp_path, capsys):
    path = tmp_path / "classifier.npz"
    code, out, err = run_cli("train", "superpixels", "--data", data, "--out", path, "--steps", "60", "--frames", "6",
                             "--json", capsys=capsys)  # fmt: skip
    assert code == 0, err
    told = json.loads(out)
    assert told["frames"] == 6 and told["superpixels"] > 6 and told["cross_entropy"] < 0.69
    return path


def clips(data, **recipe):
    stills, videos = split_stills(open_pairs(data))
    table = {"frames": 3, "size": (48, 64), "kinds": {"video": 1.0}} | recipe
    return ClipStream(Mixture([stills]), Mixture([videos]), ClipRecipe(**table), priors=("motion",))


def test_a_recipe_and_an_entry_take_the_classifier(classifier, data, tmp_path, capsys, monkeypatch):
    ours, theirs = clips(data)[0], clips(data, classifier=str(classifier))[0]
    assert torch.equal(ours.frames, theirs.frames)
    assert not torch.equal(ours.priors["motion"], theirs.priors["motion"])

    monkeypatch.setenv("VSALIENT_MODELS", str(tmp_path / "models"))
    made = tmp_path / "made"
    train = ("train", "stan", "--data", data, "--out", tmp_path / "runs", "--workers", "0", "--device", "cpu",
             "--set", "config.width=0.03125", "--set", "clips.size=[32,32]", "--set", "steps=1", "--set", "batch=1",
             "--set", "held_out=[]", "--set", f'clips.classifier="{classifier}"')  # fmt: skip
    for command in (train, ("train", "export", tmp_path / "runs/stan", "--out", made, "--name", "with",
                     "--set", "licence=MIT"),
                    ("models", "add", made)):  # fmt: skip
        code, _, err = run_cli(*command, capsys=capsys)
        assert code == 0, err
    assert 'classifier = "classifier.npz"' in (made / "entry.toml").read_text()
    assert (tmp_path / "models/with/classifier.npz").read_bytes() == classifier.read_bytes()
    shutil.copytree(made, tmp_path / "plain")
    shutil.copytree(made, tmp_path / "lacking", ignore=shutil.ignore_patterns("*.npz"))
    for command, message in (
        (("models", "add", tmp_path / "lacking", "--force"), "lacks the superpixel classifier classifier.npz"),
        (("models", "publish", made, "--repo", "me/with", "--dry-run"), "names the superpixel classifier"),
    ):
        code, _, err = run_cli(*command, capsys=capsys)
        assert code == 1 and message in err and "Traceback" not in err
    text = (made / "entry.toml").read_text().replace('name = "with"', 'name = "without"')
    (tmp_path / "plain/entry.toml").write_text(text.replace('classifier = "classifier.npz"\n', ""))
    run_cli("models", "add", tmp_path / "plain", capsys=capsys)
    folder = tmp_path / "frames"
    folder.mkdir()
    import cv2

    source = open_pairs(data)
    for i in range(4):
        cv2.imwrite(str(folder / f"{i:05d}.png"), source.read(source.names.index("clip0"), i)[0][..., ::-1])
    seen = {}
    real = choosing.SuperpixelClassifier.load
    monkeypatch.setattr(choosing.SuperpixelClassifier, "load", lambda path: seen.setdefault(str(path), real(path)))
    choosing._classifier.cache_clear()
    for name in ("with", "without"):
        code, _, err = run_cli("predict", folder, "--model", name, "-o", tmp_path / f"maps-{name}", "--write", "maps",
                               capsys=capsys)  # fmt: skip
        assert code == 0, err
    assert list(seen) == [str(tmp_path / "models/with/classifier.npz")]
    (tmp_path / "models/with/classifier.npz").unlink()
    code, _, err = run_cli("predict", folder, "--model", "with", "-o", tmp_path / "again", capsys=capsys)
    assert code == 1 and "no superpixel classifier at" in err and "Traceback" not in err


class Still:
    """A flow estimator that sees nothing move."""

    def __call__(self, first, second):
        return np.zeros((*first.shape[:2], 2), np.float32)


def test_a_package_offers_optical_flow(data, monkeypatch):
    point = importlib.metadata.EntryPoint("still", f"{__name__}:Still", choosing.FLOW_GROUP)
    monkeypatch.setattr(entry_points, "offered", lambda group: {"still": point})
    entry_points.made.cache_clear()
    assert isinstance(choosing.flow_estimator("still"), Still)
    assert clips(data)[0].priors["motion"].any()
    assert not clips(data, flow="still")[0].priors["motion"].any()
    with pytest.raises(OptionError, match=r"optical flow 'raft' is unknown: .*vsalient\.flow \(still\)"):
        clips(data, flow="raft")
    assert isinstance(PriorTools().stream(("motion",))._estimate, DisFlow)


def test_bad_classifiers_are_one_line(tmp_path, data, capsys):
    with pytest.raises(CheckpointError, match="no superpixel classifier"):
        clips(data, classifier=str(tmp_path / "no.npz"))
    arrays = SuperpixelClassifier.fit(np.random.rand(8, 5).astype(np.float32), np.ones(8, np.float32), steps=1).arrays
    np.savez(tmp_path / "odd.npz", **{**arrays, "weight2": np.zeros((3, 3), np.float32)})
    with pytest.raises(CheckpointError, match="do not fit each other"):
        SuperpixelClassifier.load(tmp_path / "odd.npz")
    np.savez_compressed(tmp_path / "huge.npz", **{**arrays, "weight2": np.zeros(1 << 25, np.float32)})
    with pytest.raises(CheckpointError, match="more than 64 MiB"):
        SuperpixelClassifier.load(tmp_path / "huge.npz")
    for args, message in (
        (("--data", data, "--out", tmp_path / "a.pt"), "ends in .npz"),
        (("--data", data, "--out", tmp_path / "a.npz", "--flow", "raft"), "'raft' is unknown"),
        (("--data", data, "--out", tmp_path / "no/a.npz"), "no folder"),
        (("--data", data, "--out", tmp_path / "a.npz", "--without", "clip0", "--without", "clip1"), "stills only"),
    ):
        code, out, err = run_cli("train", "superpixels", *args, capsys=capsys)
        assert code in (1, 2) and message in err and "Traceback" not in err and out == ""
