"""Recipes, the loop and `vsalient train`: overrides, exact resume, two processes, errors."""

import csv
import dataclasses
import json
import os
import subprocess
import sys

import pytest
import torch

from training_data import shard
from vsalient import models
from vsalient.cli.app import main
from vsalient.errors import CheckpointError, DataError, OptionError
from vsalient.training.initial import initialise
from vsalient.training.loop import Trained, Trainer, schedule
from vsalient.training.recipe import built_in, load_recipe, load_stages
from vsalient.training.sources import open_pairs

RECIPE = """
architecture = "lite3dc"
config = { channels = [8, 8, 8, 8, 8], motion = 0 }
steps = 4
batch = 2
precision = "float32"
validate_every = 4
save_every = 2
ema = 0.9
held_out = ["clip1"]

[clips]
frames = 2
size = [32, 64]
kinds = { video = 0.5, independent = 0.5 }

[loss]
terms = { cross-entropy = 1.0, iou = 1.0 }
scales = [1.0, 0.5]

[optimiser]
rate = 1e-3
encoder_rate = 0.0
warmup = 1
"""


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(RECIPE)
    return path


@pytest.fixture
def data(tmp_path):
    return shard(tmp_path / "data.tar")


def train(recipe, data, out, *overrides, **options):
    return Trainer(load_recipe(str(recipe), overrides), [open_pairs(data)], out, workers=0, **options)


def run_cli(*args, capsys):
    with pytest.raises(SystemExit) as exit_info:
        main([*map(str, args)])
    captured = capsys.readouterr()
    return exit_info.value.code, captured.out, captured.err


@pytest.mark.parametrize("name", built_in())
def test_built_in_recipes_are_sound(name):
    recipe = load_recipe(name)
    assert recipe.name == name
    assert all(stage in built_in() for stage in recipe.stages)


@pytest.mark.parametrize(
    ("override", "error", "message"),
    [
        ("optimiser.rat=1", DataError, "unknown field 'rat'"),
        ("steps=many", DataError, "must be a whole number"),
        ("clips.size=[3]", DataError, "list of 2"),
        ("precision=half", DataError, "one of auto, float32"),
        ("loss.terms={luck=1.0}", DataError, "'luck'"),
        ("clips.kinds={dream=1.0}", DataError, "'dream'"),
        ("optimiser.schedule_steps=2", DataError, "schedule_steps must be 0 or at least steps"),
        ("steps", OptionError, "key=value"),
    ],
)
def test_bad_recipes_say_what_is_wrong(recipe, override, error, message):
    with pytest.raises(error, match=message):
        load_recipe(str(recipe), [override])


def test_unknown_recipe_names_the_built_in_ones():
    with pytest.raises(DataError, match="3dc-lite"):
        load_recipe("3dc-light")


def test_overrides_reach_nested_values(recipe):
    loaded = load_recipe(str(recipe), ["optimiser.rate=5e-5", "clips.frames=3", 'held_out=["a"]'])
    assert (loaded.optimiser.rate, loaded.clips.frames, loaded.held_out) == (5e-5, 3, ("a",))


def test_schedules(recipe):
    cosine = load_recipe(str(recipe), ["steps=100", "optimiser.warmup=10"])
    assert schedule(cosine, 0) == pytest.approx(0.1)
    assert schedule(cosine, 99) < 0.03
    early = load_recipe(str(recipe), ["steps=50", "optimiser.warmup=10", "optimiser.schedule_steps=100"])
    assert schedule(early, 49) == schedule(cosine, 49) > 0.4
    step = load_recipe(str(recipe), ["optimiser.schedule=step", "optimiser.step_size=10", "optimiser.gamma=0.1"])
    assert schedule(step, 9) == 1 and schedule(step, 25) == pytest.approx(0.01)


@pytest.mark.parametrize("kinds", ["{ video = 0.5, independent = 0.5 }", "{ stills = 0.5, transplant = 0.5 }"])
def test_a_resumed_run_ends_as_an_unbroken_one(recipe, data, tmp_path, kinds):
    kinds = f"clips.kinds={kinds}"
    whole = train(recipe, data, tmp_path / "whole", kinds)
    whole.run()
    first = train(recipe, data, tmp_path / "broken", kinds)

    class Stop(Exception):
        pass

    def stop(progress):
        if progress.step == 3:  # one step past the checkpoint: that step is lost and done again
            raise Stop

    with pytest.raises(Stop):
        first.run(stop)
    second = train(recipe, data, tmp_path / "broken", kinds)
    assert second.step == 2
    second.run()
    for key, value in whole.network.state_dict().items():
        assert torch.equal(value, second.network.state_dict()[key]), key
        assert torch.equal(whole.average[key], second.average[key]), key
    assert whole.best == second.best > 0


def test_a_fixed_seed_gives_the_same_run_and_another_seed_does_not(recipe, data, tmp_path):
    losses = []
    for number, override in enumerate(["seed=1", "seed=1", "seed=2"]):
        trainer = train(recipe, data, tmp_path / str(number), override, "steps=1")
        trainer.run()
        losses.append(trainer.running)
    assert losses[0] == losses[1] != losses[2]


def test_a_frozen_encoder_stays_and_the_rest_moves(recipe, data, tmp_path):
    trainer = train(recipe, data, tmp_path / "run", "steps=1")
    before = {k: v.clone() for k, v in trainer.network.state_dict().items()}
    trainer.run()
    after = trainer.network.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before if k.startswith("encoder."))
    assert not torch.equal(before["head2.weight"], after["head2.weight"])


def test_held_out_sequences_are_never_trained_on(recipe, data, tmp_path):
    trainer = train(recipe, data, tmp_path / "run")
    assert [n for s in trainer.videos.sources for n in s.names] == ["clip0"]
    assert [n for s in trainer.held_out for n in s.names] == ["clip1"]


def test_accumulation_sees_the_clips_of_the_larger_batch(recipe, data, tmp_path):
    # Frozen, without batch statistics and with one clip kind the two differ by rounding only.
    options = ("steps=1", "loss.terms={cross-entropy=1.0}", "clips.kinds={video=1.0}", "optimiser.rate=0.0")
    whole = train(recipe, data, tmp_path / "a", "batch=4", *options)
    parts = train(recipe, data, tmp_path / "b", "batch=2", "accumulate=2", *options)
    for trainer in (whole, parts):
        trainer.network.eval()
        trainer.network.train = lambda mode=True: None  # keep batch norm from using batch statistics
        trainer.run()
    assert whole.running == pytest.approx(parts.running, rel=1e-4)


def test_stills_are_seen_alone_and_clips_together():
    network = models.build("lite3dc", channels=(8, 8, 8, 8, 8), motion=8).train()
    clip = torch.rand(3, 3, 2, 32, 64, generator=torch.Generator().manual_seed(1))
    maps = {name: torch.rand(3, 1, 2, 32, 64) for name in network.priors}
    torch.nn.init.normal_(network.residual.to16.weight)
    norm = network.fine_mix.norm
    trained = Trained(network)
    with torch.no_grad():
        apart = torch.tensor([False, True, False])
        each = {name: x[1].transpose(0, 1).unsqueeze(2) for name, x in maps.items()}
        network.eval()  # stills take the running statistics, as at inference
        alone = network.training_outputs(clip[1].transpose(0, 1).unsqueeze(2), **each)  # two clips of one frame
        network.train()
        mixed = trained(clip, maps, apart)
        after = norm.running_mean.clone()
        together = network.training_outputs(clip[[0, 2]], **{name: x[[0, 2]] for name, x in maps.items()})
        for got, frames, clips in zip(mixed, alone, together, strict=True):
            assert torch.allclose(got[1, :, 0], frames[0, :, 0], atol=1e-5)
            assert torch.allclose(got[1, :, 1], frames[1, :, 0], atol=1e-5)
            assert torch.allclose(got[[0, 2]], clips, atol=1e-5)
        assert not torch.equal(after, torch.zeros_like(after))  # the clips moved the running statistics,
        before = norm.running_mean.clone()
        only = trained(clip, maps, torch.ones(3, dtype=torch.bool))
        assert torch.equal(norm.running_mean, before)  # stills do not
    assert [x.shape for x in only] == [x.shape for x in mixed]
    assert norm.training


def test_a_run_may_keep_a_share_of_what_it_began_with(recipe, data, tmp_path):
    whole, half = (train(recipe, data, tmp_path / str(keep), "steps=2", f"keep={keep}") for keep in (0.0, 0.5))
    begun = {k: v.clone() for k, v in half.network.state_dict().items()}
    whole.run()
    half.run()
    ends, mixed = (torch.load(tmp_path / str(keep) / "last.pt", weights_only=True) for keep in (0.0, 0.5))
    key = "fine_mix.conv.weight"
    assert not torch.equal(ends[key], begun[key])
    assert torch.allclose(mixed[key], (ends[key] + begun[key]) / 2, atol=1e-7)
    again = train(recipe, data, tmp_path / "0.5", "steps=3", "keep=0.5")  # goes on with what it began with
    assert torch.equal(again.initial[key], begun[key])
    with pytest.raises(CheckpointError, match="keep"):
        train(recipe, data, tmp_path / "0.5", "steps=3")


def test_frozen_batch_norm_trains_what_runs_at_inference(recipe, data, tmp_path):
    first = train(recipe, data, tmp_path / "first", "freeze_norm=none", "steps=1").run()
    trainer = train(recipe, data, tmp_path / "run", "freeze_norm=all", "steps=2", init=str(first))
    before = {k: v.clone() for k, v in trainer.network.state_dict().items()}
    trainer.run()
    after = trainer.network.state_dict()
    statistics = [k for k in before if "running_" in k]
    assert statistics and all(torch.equal(before[k], after[k]) for k in statistics)
    assert not torch.equal(before["fine_mix.norm.weight"], after["fine_mix.norm.weight"])


def test_batch_norm_of_random_weights_is_not_frozen(recipe, data, tmp_path, caplog):
    overrides = ("freeze_norm=encoder", "optimiser.encoder_rate=1e-3", "steps=2", "save_every=1")
    whole = train(recipe, data, tmp_path / "whole", *overrides)
    assert 'freeze_norm = "encoder" is not followed' in caplog.text and "--init" in caplog.text
    weights = whole.run()
    moved = whole.network.state_dict()["encoder.stem.norm.running_mean"]
    assert moved.any()
    # A run that goes on, whose statistics are no longer fresh, does as it began.
    part = train(recipe, data, tmp_path / "part", *overrides[:2], "steps=1")
    part.run()
    part = train(recipe, data, tmp_path / "part", *overrides)
    part.run()
    assert torch.equal(part.network.state_dict()["encoder.stem.norm.running_mean"], moved)
    caplog.clear()
    # Trained weights are followed.
    after = train(recipe, data, tmp_path / "after", *overrides, init=str(weights))
    before = after.network.state_dict()["encoder.stem.norm.running_mean"].clone()
    after.run()
    assert torch.equal(after.network.state_dict()["encoder.stem.norm.running_mean"], before)
    assert "not followed" not in caplog.text


def test_a_checkpoint_of_another_recipe_is_refused(recipe, data, tmp_path):
    train(recipe, data, tmp_path / "run", "steps=1").run()
    with pytest.raises(CheckpointError, match="batch"):
        train(recipe, data, tmp_path / "run", "batch=3")
    with pytest.raises(CheckpointError, match="--resume"):
        train(recipe, data, tmp_path / "run", resume=False)


def test_cli_trains_logs_and_prints_the_weights(recipe, data, tmp_path, capsys):
    code, out, err = run_cli(
        "train", recipe, "--data", data, "--out", tmp_path / "runs", "--set", "steps=2", "--workers", 0, "--json",
        capsys=capsys,
    )  # fmt: skip
    assert code == 0, err
    result = json.loads(out)[0]
    assert result["steps"] == 2
    assert 0 <= result["J"] <= 1
    state = torch.load(result["weights"], weights_only=True)
    assert "head2.weight" in state
    rows = list(csv.DictReader((tmp_path / "runs/tiny/log.csv").open()))
    assert rows[-1]["step"] == "2" and "clip1=" in rows[-1]["per_sequence"]
    assert "held out" in err


def test_cli_dry_run_counts_and_draws(recipe, data, tmp_path, capsys):
    code, out, _ = run_cli("train", recipe, "--data", data, "--out", tmp_path / "o", "--dry-run", capsys=capsys)
    assert code == 0
    assert "3 stills, 1 videos (6 frames), 1 sequences held out, 8 clips" in out
    assert (tmp_path / "o/tiny/contact-sheet.png").stat().st_size > 1000


def test_cli_runs_stages_one_after_the_other(recipe, data, tmp_path, capsys, monkeypatch):
    from vsalient.training import recipe as module

    monkeypatch.setattr(module, "built_in", lambda: [])
    chain = tmp_path / "chain.toml"
    chain.write_text(f'stages = ["{recipe}", "{tmp_path}/second.toml"]')
    (tmp_path / "second.toml").write_text(RECIPE.replace("steps = 4", "steps = 1"))
    args = ("train", chain, "--data", data, "--out", tmp_path / "runs", "--workers", 0, "--json", "--set", "steps=1")
    code, out, err = run_cli(*args, capsys=capsys)
    assert code == 0, err
    assert [r["recipe"] for r in json.loads(out)] == ["tiny", "second"]


def test_a_stage_can_begin_with_the_mean_of_earlier_ones(recipe, data, tmp_path, capsys):
    for name, follows in (("second", ["tiny"]), ("last", ["tiny", "second"])):
        text = f"follows = {json.dumps(follows)}\n" + RECIPE.replace("steps = 4", "steps = 1", 1)
        (tmp_path / f"{name}.toml").write_text(text)
    chain, out = tmp_path / "chain.toml", tmp_path / "runs"
    chain.write_text(f'stages = ["{recipe}", "{tmp_path}/second.toml", "{tmp_path}/last.toml"]')
    still = ("--set", "optimiser.rate=0.0", "--set", "steps=1", "--set", "freeze_norm=encoder")
    args = ("train", chain, "--data", data, "--out", out, "--workers", 0, "--json", *still)
    code, printed, err = run_cli(*args, capsys=capsys)
    assert code == 0, err
    first, second, last = (torch.load(r["weights"], weights_only=True) for r in json.loads(printed))
    assert json.loads((out / "last/run.json").read_text())["init"] == f"mean:{out}/tiny/best.pt,{out}/second/best.pt"
    key = "head2.weight"  # a rate of 0 leaves weights where they began
    assert torch.allclose(last[key], (first[key] + second[key]) / 2, atol=1e-6)


def test_the_mean_of_checkpoints(recipe, data, tmp_path):
    first, second = (train(recipe, data, tmp_path / n, f"seed={i}", "steps=1") for i, n in enumerate("ab"))
    files = [tmp_path / n / "last.pt" for n in "ab"]
    for trainer in (first, second):
        trainer.run()
    network = models.build("lite3dc", channels=(8, 8, 8, 8, 8), motion=0)
    initialise(network, f"mean:{files[0]},{files[1]}")
    states = [torch.load(f, weights_only=True) for f in files]
    for key in ("head2.weight", "fine_mix.norm.running_var"):
        assert not torch.equal(states[0][key], states[1][key])
        assert torch.allclose(network.state_dict()[key], (states[0][key] + states[1][key]) / 2)
    torch.save({**states[1], "head2.weight": torch.zeros(2)}, files[1])
    with pytest.raises(CheckpointError, match=r"b/last.pt cannot be averaged with .*a/last.pt: head2.weight"):
        initialise(network, f"mean:{files[0]},{files[1]}")
    with pytest.raises(DataError, match="no such checkpoint 'nowhere'"):
        initialise(network, f"mean:{files[0]},nowhere")


def test_a_part_that_the_checkpoint_lacks_may_begin_anew(tmp_path):
    config = {"channels": (8, 8, 8, 8, 8), "motion": 0}
    before = models.build("lite3dc", **config, residual=0)
    torch.save(before.state_dict(), tmp_path / "before.pt")
    network = models.build("lite3dc", **config, residual=4)
    with pytest.raises(CheckpointError, match="keys missing"):
        initialise(network, str(tmp_path / "before.pt"))
    fresh = network.residual.enter.conv.weight.clone()
    initialise(network, str(tmp_path / "before.pt"), {"residual.": ""})
    assert torch.equal(network.head2.weight, before.head2.weight)
    assert torch.equal(network.residual.enter.conv.weight, fresh)


def test_a_convolution_that_sees_more_begins_with_what_it_knew(tmp_path):
    before = models.build("lite3dc", channels=(8, 8, 8, 8, 8), residual=4)
    torch.save(before.state_dict(), tmp_path / "before.pt")
    after = models.build("lite3dc", channels=(8, 8, 8, 8, 8), residual=4, priors=["residual", "residual_speed", "flow"])
    with pytest.raises(CheckpointError, match="has the shape"):
        initialise(after, str(tmp_path / "before.pt"))
    initialise(after, str(tmp_path / "before.pt"), widen=["residual.enter.conv"])
    weight = after.residual.enter.conv.weight
    assert torch.equal(weight[:, :2], before.residual.enter.conv.weight)
    assert not weight[:, 2:].any()


def test_the_stages_of_3dc_lite_fit_each_other():
    stages = load_stages(load_recipe("3dc-lite"))
    sizes = [
        {k: v.shape for k, v in models.build(stage.architecture, **stage.config).state_dict().items()}
        for stage in stages
    ]
    known = dict(zip([stage.name for stage in stages], sizes, strict=True))
    for previous, after, stage in zip(stages, sizes[1:], stages[1:], strict=False):
        for name in stage.follows or (previous.name,):
            before = known[name]
            assert all(key.startswith(tuple(stage.init_copy)) for key in after if key not in before)
            wider = [f"{convolution}.weight" for convolution in stage.init_widen]
            assert all(after[key] == shape for key, shape in before.items() if key not in wider)
            assert all(after[key][1] >= before[key][1] for key in wider)


def test_a_mean_of_networks_with_gates_and_without_is_a_run_of_no_steps(data, tmp_path):
    small = {"channels": (8, 8, 8, 8, 8), "residual": 4}
    plain = models.build("lite3dc", **small)
    config = {**small, "grafted": True, "priors": ["residual", "residual_speed", "residual_mean"]}
    grafted = models.build("lite3dc", **config)
    with torch.no_grad():
        grafted.gate8.clip.bias.fill_(3.0)
    for name, network in (("plain", plain), ("grafted", grafted)):
        torch.save(network.state_dict(), tmp_path / f"{name}.pt")
    init = f"mean:{tmp_path / 'grafted.pt'},{tmp_path / 'grafted.pt'},{tmp_path / 'plain.pt'}"
    recipe = load_recipe("3dc-lite-final", ["clips.size=[32,64]"])
    recipe = dataclasses.replace(recipe, config=config)
    weights = Trainer(recipe, [open_pairs(data)], tmp_path / "run", workers=0, init=init).run()
    mean = torch.load(weights, weights_only=True)
    assert torch.allclose(mean["gate8.clip.bias"], torch.tensor(2.0))
    expected = (2 * grafted.head2.weight + plain.head2.weight) / 3
    assert torch.allclose(mean["head2.weight"], expected, atol=1e-6)
    wide, narrow = grafted.residual.enter.conv.weight, plain.residual.enter.conv.weight
    assert torch.allclose(mean["residual.enter.conv.weight"][:, :2], (2 * wide[:, :2] + narrow) / 3, atol=1e-6)
    assert torch.allclose(mean["residual.enter.conv.weight"][:, 2], 2 * wide[:, 2] / 3, atol=1e-6)


def test_a_stage_cannot_follow_a_later_one(recipe, data, tmp_path, capsys):
    early = tmp_path / "early.toml"
    early.write_text('follows = ["tiny"]\n' + RECIPE)
    chain = tmp_path / "chain.toml"
    chain.write_text(f'stages = ["{early}", "{recipe}"]')
    code, _, err = run_cli("train", chain, "--data", data, "--out", tmp_path / "runs", capsys=capsys)
    assert code != 0
    assert "stage early follows tiny, which does not run before it" in err and "Traceback" not in err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((), "Give a RECIPE"),
        (("3dc-lite",), "--data"),
        (("3dc-lite-video", "--data", "nowhere"), "nowhere"),
        (("nothing", "--data", "nowhere"), "nothing"),
    ],
)
def test_cli_bad_input_is_one_line(args, message, capsys):
    code, out, err = run_cli("train", *args, capsys=capsys)
    assert code in (1, 2)
    assert message in err
    assert "Traceback" not in err and out == ""


def test_two_processes_train_one_network(recipe, data, tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone",
               "-m", "vsalient", "train", str(recipe), "--data", str(data), "--out", str(tmp_path / "runs"),
               "--workers", "0", "--device", "cpu", "--set", "steps=2", "--json"]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=200)
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(done.stdout.strip().splitlines()[-1])[0]
    assert result["steps"] == 2
    rows = list(csv.DictReader((tmp_path / "runs/tiny/log.csv").open()))
    assert [r["step"] for r in rows] == ["2"]


PAPERS = {
    "dsrfcn3d-pseudo": ["config.width=0.03125", "clips.size=[32,32]"],
    "dsrfcn3d-video": ["config.width=0.03125", "clips.size=[32,32]"],
    "conv3dnet": ["config.width=0.03125", "clips.size=[32,32]"],
    "scnn-spatial": ["config.width=0.03125", "clips.size=[32,48]"],
    "scnn-cascade": ["config.width=0.03125", "clips.size=[32,48]"],
    "stan": ["config.width=0.03125", "clips.size=[32,32]"],
    "3dc-seg-synthetic": ["config={depths=[1,1,1,1],base_width=4,decoder_width=8}", "clips.size=[32,64]"],
    "3dc-seg-video": ["config={depths=[1,1,1,1],base_width=4,decoder_width=8}", "clips.size=[32,64]"],
    "dsrfcn3d-s": ["config.width=0.03125", "clips.size=[32,64]", 'init="scratch"'],
    "conv3dnet-s": ["config.width=0.03125", "clips.size=[32,32]"],
    "stan-s": ["config.width=0.03125", "clips.size=[32,64]", 'init="scratch"'],
    "3dc-seg-s": ["config.base_width=4", "config.decoder_width=8", "clips.size=[32,64]", 'init="scratch"'],
}


@pytest.mark.parametrize("name", sorted(PAPERS))
def test_each_papers_recipe_trains_its_network(name, data, tmp_path):
    overrides = [*PAPERS[name], "steps=2", "batch=1", 'held_out=["clip1"]']
    trainer = Trainer(load_recipe(name, overrides), [open_pairs(data)], tmp_path / "run", workers=0)
    before = {k: v.clone() for k, v in trainer.network.state_dict().items()}
    trainer.run()
    after = trainer.network.state_dict()
    assert trainer.running > 0
    assert any(not torch.equal(before[k], after[k]) for k in before if before[k].is_floating_point())
    assert 0 <= trainer.best <= 1


def test_scnn_cascade_starts_from_its_first_network(data, tmp_path):
    overrides = [*PAPERS["scnn-spatial"], "steps=1", "batch=1", 'held_out=["clip1"]']
    first = Trainer(load_recipe("scnn-spatial", overrides), [open_pairs(data)], tmp_path / "a", workers=0)
    weights = first.run()
    cascade = load_recipe("scnn-cascade", overrides)
    second = Trainer(cascade, [open_pairs(data)], tmp_path / "b", workers=0, init=str(weights))
    state = second.network.state_dict()
    same = [k for k in state if k.startswith("guided.") and torch.equal(state[k], state["spatial." + k[7:]])]
    fresh = [k for k in state if k.startswith("guided.") and state[k].shape != state["spatial." + k[7:]].shape]
    assert len(fresh) == 1  # the convolution with the prior as its fourth channel
    assert len(same) == len([k for k in state if k.startswith("guided.")]) - 1
