"""Resuming is exact, and what cannot be resumed is refused in one line."""

import json
import os
import pickle
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from training_data import davis, shard
from vsalient.cli.app import main
from vsalient.errors import CheckpointError, DeviceError, OptionError, OutputError, TrainingError
from vsalient.training import processes
from vsalient.training import state as states
from vsalient.training.loop import Trainer
from vsalient.training.recipe import load_recipe
from vsalient.training.sources import open_pairs

SCNN = """
architecture = "scnn"
config = { width = 0.03125, supervise_spatial = true, dropout = 0.5 }
steps = 5
batch = 2
precision = "float32"
validate_every = 100
save_every = 100
ema = 0.9

[clips]
frames = 2
size = [32, 48]
kinds = { video = 0.5, independent = 0.5 }

[loss]
scales = [1.0, 0.5]

[optimiser]
rate = 1e-2
warmup = 1
"""


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(SCNN)
    return path


@pytest.fixture
def data(tmp_path):
    return shard(tmp_path / "data.tar")


class Halt(Exception):
    pass


def train(recipe, data, out, *overrides, workers=0, **options):
    return Trainer(load_recipe(str(recipe), overrides), [open_pairs(data)], out, workers=workers, **options)


def broken(recipe, data, out, at, *overrides, workers=0):
    """A run with dropout that breaks off in step `at` + 1, and what its checkpoint makes of it."""
    trainer = train(recipe, data, out, "save_every=1", *overrides, workers=workers)

    def halt(progress):
        if progress.step == at + 1:
            trainer.checkpoint.write_bytes(kept[at])
            raise Halt
        kept[progress.step] = trainer.checkpoint.read_bytes()

    kept = {}
    with pytest.raises(Halt):
        trainer.run(halt)
    again = train(recipe, data, out, *overrides, workers=workers)
    assert again.step == at
    again.run()
    return again


def assert_equal(one, other):
    for key, value in one.network.state_dict().items():
        assert torch.equal(value, other.network.state_dict()[key]), key
        assert torch.equal(one.average[key], other.average[key]), key
    assert one.running == other.running


@pytest.mark.slow
@pytest.mark.parametrize(
    ("precision", "cases"), [("float32", ((1, 2), (2, 0), (3, 1), (4, 2))), ("bfloat16", ((3, 2),))]
)
def test_any_step_and_any_number_of_workers_give_the_same_run(recipe, data, tmp_path, precision, cases):
    override = f"precision={precision}"
    whole = train(recipe, data, tmp_path / "whole", override)
    whole.run()
    losses = whole.running
    for at, workers in cases:
        assert_equal(whole, broken(recipe, data, tmp_path / f"broken{at}", at, override, workers=workers))
    assert losses > 0


def test_dropout_depends_on_seed_step_and_process_alone():
    drawn = []
    for seed, step, rank in ((1, 2, 0), (1, 2, 0), (1, 3, 0), (2, 2, 0), (1, 2, 1)):
        torch.rand(int(time.monotonic() * 10) % 7 + 1)
        states.seed_step(seed, step, rank)
        drawn.append(torch.rand(4).tolist())
    assert drawn[0] == drawn[1]
    assert len({tuple(x) for x in drawn}) == 4


def test_a_network_with_dropout_would_differ_without_its_seed(recipe, data, tmp_path, monkeypatch):
    whole = train(recipe, data, tmp_path / "a")
    whole.run()
    monkeypatch.setattr("vsalient.training.steps.seed_step", lambda *_: None)
    other = train(recipe, data, tmp_path / "b")
    torch.manual_seed(99)
    other.run()
    assert whole.running != other.running


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["precision=bfloat16"], "precision = 'float32'"),
        (["optimiser.name=sgd"], "optimiser.name = 'adamw'"),
        (['optimiser.frozen=["guided."]'], "optimiser.frozen"),
        (["optimiser.encoder_rate=0.0"], "optimiser.encoder_rate"),
        (["clips.frames=3"], "clips.frames = 2"),
        (["loss.terms={iou=1.0}"], "loss.terms"),
        (["freeze_norm=none"], "freeze_norm"),
        (['held_out=["clip0"]'], "held_out"),
        (["seed=3"], "seed = 0"),
    ],
)
def test_a_changed_recipe_is_refused(made, overrides, message):
    recipe, data, out = made
    with pytest.raises(CheckpointError, match=message) as caught:
        train(recipe, data, out, *overrides)
    assert "\n" not in str(caught.value)


def test_rates_and_lengths_may_change_and_auto_goes_on_as_it_began(made):
    recipe, data, out = made
    trainer = train(recipe, data, out, "optimiser.rate=1e-4", "optimiser.weight_decay=0.3", "steps=9", "precision=auto")
    assert trainer.precision == "float32" and trainer.step == 1
    assert {g["weight_decay"] for g in trainer.optimiser.param_groups} == {0.3}


def test_other_data_is_refused(made, tmp_path):
    recipe, _, out = made
    with pytest.raises(CheckpointError, match="3 stills and 2 videos of 12 frames, now it is 5 stills"):
        train(recipe, shard(tmp_path / "other.tar", stills=5), out)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run of one step."""
    folder = tmp_path_factory.mktemp("made")
    recipe = folder / "tiny.toml"
    recipe.write_text(SCNN)
    data = shard(folder / "data.tar")
    train(recipe, data, folder / "run", "steps=1").run()
    return recipe, data, folder / "run"


def _damage(kind, whole):
    state = torch.load(whole, weights_only=True)
    content = whole.read_bytes()
    if kind == "empty":
        whole.write_bytes(b"")
    elif kind == "cut":
        whole.write_bytes(content[: len(content) // 2])
    elif kind == "flipped":
        whole.write_bytes(content[:200] + bytes(b ^ 255 for b in content[200:400]) + content[400:])
    elif kind == "text":
        whole.write_text("not a checkpoint")
    elif kind == "pickle":
        whole.write_bytes(pickle.dumps({"recipe": os.system}))
    elif kind == "weights":
        torch.save(state["network"], whole)
    elif kind == "list":
        torch.save([1, 2], whole)
    elif kind == "no tensors":
        torch.save({**state, "network": {}}, whole)
    elif kind == "optimiser":
        torch.save({**state, "optimiser": {"state": {}, "param_groups": []}}, whole)
    elif kind == "average":
        torch.save({**state, "average": {k: v[..., :0] for k, v in state["average"].items() if v.dim()}}, whole)
    elif kind == "recipe":
        torch.save({**state, "recipe": {**state["recipe"], "luck": 1}}, whole)
    elif kind == "folder":
        whole.unlink()
        whole.mkdir()


@pytest.mark.parametrize(
    "kind",
    ["empty", "cut", "flipped", "text", "pickle", "weights", "list", "no tensors", "optimiser", "average", "recipe",
     "folder"],
)  # fmt: skip
def test_a_checkpoint_that_is_none_is_one_line(made, tmp_path, kind, capsys):
    recipe, data, out = made
    home = tmp_path / "tiny"
    home.mkdir()
    (home / "last.ckpt").write_bytes((out / "last.ckpt").read_bytes())
    _damage(kind, home / "last.ckpt")
    with pytest.raises(SystemExit) as caught:
        main(["train", str(recipe), "--data", str(data), "--out", str(tmp_path), "--workers", "0", "--device", "cpu"])
    errors = capsys.readouterr().err
    assert caught.value.code == 1
    assert "last.ckpt" in errors and "Traceback" not in errors and len(errors.strip().splitlines()) == 1, errors


@pytest.mark.parametrize(
    ("device", "error", "message"),
    [("gpu", OptionError, "unknown device 'gpu'"), ("cuda:99", DeviceError, "cuda:99"), ("tpu", OptionError, "tpu")],
)
def test_the_device_is_checked(recipe, data, tmp_path, device, error, message):
    with pytest.raises(error, match=message):
        train(recipe, data, tmp_path / "run", device=device)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["clips.size=[33,48]", "architecture=lite3dc", "config={}"], r"clips.size = \[33, 48\] does not fit lite3dc"),
        (["architecture=dsrfcn3d", "config={width=0.03125}", "clips.frames=3"], "does not fit dsrfcn3d"),
        (["architecture=conv3dnet", "config={width=0.03125}", "clips.size=[32,32]", "clips.frames=3"], "clips.target"),
        (["precision=float16"], "float16 trains on GPUs only"),
    ],
)
def test_clips_and_precisions_that_do_not_fit_are_refused_before_any_work(recipe, data, tmp_path, overrides, message):
    with pytest.raises((OptionError, DeviceError), match=message) as caught:
        train(recipe, data, tmp_path / "run", *overrides)
    assert "\n" not in str(caught.value) and not (tmp_path / "run").exists()


def test_a_loss_that_is_no_number_is_a_training_error(recipe, data, tmp_path):
    trainer = train(recipe, data, tmp_path / "run")
    with torch.no_grad():
        next(trainer.network.parameters()).fill_(float("nan"))
    with pytest.raises(TrainingError, match=r"the loss is nan at step 1; lower optimiser.rate"):
        trainer.run()


def test_a_full_disk_keeps_the_checkpoint_before(made):
    recipe, data, out = made
    trainer = train(recipe, data, out, "steps=2")
    before = trainer.checkpoint.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
        with pytest.raises(OutputError, match="larger than allowed"):
            trainer.run()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert trainer.checkpoint.read_bytes() == before
    assert not [p.name for p in out.iterdir() if p.name.startswith(".")]


def test_one_run_a_folder(made):
    recipe, data, out = made
    outer, inner = (train(recipe, data, out, "steps=2", "save_every=9") for _ in range(2))

    def second(progress):
        with pytest.raises(TrainingError, match="another run is training there"):
            inner.run()
        raise Halt

    with pytest.raises(Halt):
        outer.run(second)


def test_rows_of_steps_that_will_be_done_again_leave_the_log(recipe, data, tmp_path):
    out = tmp_path / "run"
    train(recipe, data, out, "steps=1").run()
    with (out / "log.csv").open("a") as log:
        log.write("10,0.5,0.1,1.0,,,\r\n")
    train(recipe, data, out, "steps=2").run()
    steps = [line.split(",")[0] for line in (out / "log.csv").read_text().splitlines()]
    assert steps == ["step", "1", "2"]


@pytest.mark.slow
@pytest.mark.parametrize(("number", "workers"), [(signal.SIGTERM, "1"), (signal.SIGINT, "0")])
def test_signals_save_and_the_run_goes_on(recipe, data, tmp_path, number, workers):
    out = tmp_path / "runs"
    command = [sys.executable, "-m", "vsalient", "train", str(recipe), "--data", str(data), "--out", str(out),
               "--workers", workers, "--set", "steps=100000", "--device", "cpu"]  # fmt: skip
    log = out / "tiny/log.csv"
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        deadline = time.monotonic() + 200
        while not log.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        os.killpg(process.pid, number)  # as a terminal or a scheduler does: the workers too
        errors = process.communicate(timeout=100)[1]
    finally:
        process.kill()
    assert process.returncode == 128 + number, errors
    assert "Traceback" not in errors
    state = states.read_state(out / "tiny/last.ckpt")
    assert state["step"] >= 10
    assert not [p.name for p in (out / "tiny").iterdir() if p.name.startswith(".")]


def test_minutes_stop_a_run_and_say_so(recipe, data, tmp_path, capsys):
    args = ["train", str(recipe), "--data", str(data), "--out", str(tmp_path / "runs"), "--workers", "0", "--json",
            "--set", "steps=100000", "--minutes", "0.005", "--device", "cpu"]  # fmt: skip
    with pytest.raises(SystemExit) as caught:
        main(args)
    captured = capsys.readouterr()
    assert caught.value.code == 0, captured.err
    assert "run it again to go on" in captured.err
    assert '"J": null' in captured.out
    assert states.read_state(tmp_path / "runs/tiny/last.ckpt")["step"] >= 1


def test_packed_data_trains_like_any(data, recipe, tmp_path, capsys):
    def cli(*args):
        with pytest.raises(SystemExit) as caught:
            main([str(a) for a in args])
        captured = capsys.readouterr()
        assert caught.value.code == 0, captured.err
        return captured.out, captured.err

    out, _ = cli("train", "pack", "--data", data, "--out", tmp_path / "parts", "--longest", 48, "--part-size", "0.03",
                 "--json")  # fmt: skip
    parts = json.loads(out)
    assert len(parts) > 1 and all(part["bytes"] <= 0.03 * 2**20 for part in parts)
    assert sum(p["stills"] for p in parts) == 3 and sum(p["videos"] for p in parts) == 2
    sources = [open_pairs(Path(part["path"])) for part in parts]
    names = sorted(name for source in sources for name in source.names)
    assert names == sorted(open_pairs(data).names)
    image, mask = sources[0].read(0, 0)
    assert max(image.shape) == 48 and set(np.unique(mask)) == {0, 255}
    specs = [x for part in parts for x in ("--data", part["path"])]
    _, err = cli("train", recipe, *specs, "--out", tmp_path / "runs", "--workers", 0, "--set", "steps=1", "--device",
                 "cpu", "--set", 'held_out=["clip1"]')  # fmt: skip
    assert "step 1 of 1: loss" in err and "step 1: J " in err  # lines where no terminal is
    record = json.loads((tmp_path / "runs/tiny/run.json").read_text())
    assert [name for names in record["held_out"].values() for name in names] == ["clip1"]
    assert "clip0" in [name for names in record["sequences"].values() for name in names]
    rows = [json.loads(line) for line in (tmp_path / "runs/tiny/metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["step"] == 1 and 0 <= rows[-1]["J"] <= 1 and "clip1" in rows[-1]["per_sequence"]


def test_packing_without_a_sequence_that_is_not_there_is_refused(data, tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["train", "pack", "--data", str(data), "--out", str(tmp_path), "--longest", "640",
              "--without", "clip9"])  # fmt: skip
    assert caught.value.code != 0 and "--without clip9: no source has such a sequence" in capsys.readouterr().err


BLOCKED = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("av", "rich", "huggingface_hub", "skimage", "higra"):
            raise ImportError(f"{name} is not here")
sys.meta_path.insert(0, Block())
from vsalient.cli import main
main(sys.argv[1:])
"""


def test_training_needs_neither_pyav_nor_rich(recipe, data, tmp_path):
    args = ["train", str(recipe), "--data", str(data), "--out", str(tmp_path), "--set", "steps=1", "--workers", "1"]
    plain = ["--set", "architecture=lite3dc", "--set", "config={channels=[8,8,8,8,8]}", "--set", "clips.size=[32,64]"]
    done = subprocess.run([sys.executable, "-c", BLOCKED, *args, *plain], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "tiny/last.ckpt").is_file()


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_broken_picture_met_by_a_worker_is_one_line(recipe, tmp_path, workers):
    root = davis(tmp_path / "DAVIS", videos=1)
    for picture in (root / "JPEGImages/480p/seq0").iterdir():
        picture.write_bytes(b"no picture")
    args = ["train", str(recipe), "--data", str(root), "--out", str(tmp_path), "--workers", workers, "--device", "cpu"]
    done = subprocess.run([sys.executable, "-m", "vsalient", *args], capture_output=True, text=True, timeout=200)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "cannot be decoded" in done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("name", "world", "local", "index"), [("auto", 1, 0, 0), ("cuda:1", 1, 0, 1), ("cuda", 2, 1, 1)]
)
def test_each_process_takes_its_gpu_before_the_group_is_made(monkeypatch, name, world, local, index):
    # No card here: what torch is asked for, in which order.
    asked = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: asked.append(("set", device.index)))
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: False)
    monkeypatch.setattr(
        torch.distributed, "init_process_group", lambda kind, device_id: asked.append((kind, device_id.index))
    )
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: local)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: world)
    monkeypatch.setenv("WORLD_SIZE", str(world))
    monkeypatch.setenv("LOCAL_RANK", str(local))
    joined = processes.join(name)
    assert joined.device == torch.device("cuda", index) and joined.world == world
    assert asked == [("set", index)] + [("nccl", index)] * (world > 1)


@pytest.mark.parametrize(("name", "local", "message"), [("cuda:0", 0, "take a GPU each"), ("cuda", 2, "has no GPU")])
def test_processes_without_a_gpu_of_their_own_are_refused(monkeypatch, name, local, message):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setenv("LOCAL_RANK", str(local))
    with pytest.raises((OptionError, DeviceError), match=message):
        processes.join(name)
