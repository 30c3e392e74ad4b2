"""Every network on every device that is there, in every dtype: what a card is asked first, each row said as it ends.

    VSALIENT_REQUIRE_GPU=1 python -m pytest tests/test_cards.py -q -s

Rows come by importance: predicting with the default and with 3dc-seg, then the others, then training. On the CPU all of
them predict, and one trains.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from test_planar import SMALL, build
from training_data import shard
from vsalient.cli.app import main
from vsalient.engine import Engine
from vsalient.models.network import describe

DEVICES = ("cuda", "mps", "cpu")
MODES: dict[str, tuple[dict[str, Any], float]] = {
    "auto": ({}, 0.05),
    "float32": ({"dtype": "float32"}, 1e-3),
    "bfloat16": ({"dtype": "bfloat16"}, 0.05),
    "float16": ({"dtype": "float16"}, 0.05),
    "exact": ({"exact": True}, 1e-4),
    "flip": ({"dtype": "float32", "flip": True}, 1e-3),
}
"""Mode -> the engine's options, and how far a probability may be from the CPU's float32."""
STEPS = 20
TARGETS = {"conv3dnet": "middle", "stan": "last"}


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    there = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available}.get(name, lambda: True)()
    if not there:
        if name == "cuda" and os.environ.get("VSALIENT_REQUIRE_GPU"):
            pytest.fail("VSALIENT_REQUIRE_GPU is set, and there is no CUDA device")
        pytest.skip(f"needs {name}")
    return name


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str], device: str) -> Callable[[str], None]:
    def row(text: str) -> None:
        if device != "cpu":
            with capsys.disabled():
                sys.stdout.write(f"\n{device:5} {text}\n")
                sys.stdout.flush()

    return row


@pytest.mark.gpu
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("architecture", SMALL)
def test_predict(architecture: str, mode: str, device: str, say: Callable[[str], None]) -> None:
    network, clip, priors = build(architecture)
    described = describe(network)
    pixels = (clip[0] * 255).to(torch.uint8)
    options, tolerance = MODES[mode]

    def reference(mirrored: bool) -> torch.Tensor:
        sides = [x.flip(-1) if mirrored else x for x in (pixels[None].float() / 255, *priors.values())]
        with torch.inference_mode():
            maps = described.probability(described.forward(sides[0], **dict(zip(priors, sides[1:], strict=True))))[0]
        return maps.flip(-1) if mirrored else maps

    expected = reference(False)
    if mode == "flip":
        expected = (expected + reference(True)) / 2
    engine = Engine(network, device=device, **options)
    frames = list(pixels.transpose(0, 1))
    given = {name: list(values[0].transpose(0, 1)) for name, values in priors.items()} or None
    engine.run(frames, range(len(frames)), priors=given)
    engine.reset()
    begun = time.perf_counter()
    maps = engine.run(frames, range(len(frames)), priors=given)
    seconds = time.perf_counter() - begun
    error = float(np.abs(maps - expected.numpy()).max())
    say(f"{architecture:9} {mode:8} error {error:.1e}  {1000 * seconds:6.1f} ms a clip  {engine.description}")
    assert engine.device.partition(":")[0] == device
    assert error < tolerance


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["bfloat16", "float32", "float16"])
@pytest.mark.parametrize("architecture", SMALL)
def test_train_and_resume(
    architecture: str, precision: str, device: str, say: Callable[[str], None],
    tmp_path: Any, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    if device == "cpu" and (architecture, precision) != ("dsrfcn3d", "float32"):
        pytest.skip("on the CPU one row is enough: tests/test_training.py has the rest")
    config, (frames, height, width) = SMALL[architecture]
    target = TARGETS.get(architecture, "all")
    (tmp_path / "tiny.toml").write_text(
        f'architecture = "{architecture}"\nsteps = {STEPS}\nbatch = 1\nprecision = "{precision}"\n'
        f"validate_every = {STEPS}\nsave_every = {STEPS}\nconfig = {_table(config)}\n"
        f'[clips]\nframes = {frames}\nsize = [{height}, {width}]\nkinds = {{ video = 1.0 }}\ntarget = "{target}"\n'
        "[loss]\nterms = { cross-entropy = 1.0 }\n[optimiser]\nrate = 1e-4\nwarmup = 1\n"
    )
    data = shard(tmp_path / "data.tar", stills=0)
    steps = STEPS if device != "cpu" else 2
    train = ["train", tmp_path / "tiny.toml", "--data", data, "--out", tmp_path / "runs", "--workers", 0, "--json",
             "--device", device]  # fmt: skip
    begun = time.perf_counter()
    for count, more in ((steps, ()), (steps + 2, ("--resume",))):
        with pytest.raises(SystemExit) as ended:
            main([str(x) for x in (*train, *more, "--set", f"steps={count}")])
        out, err = capsys.readouterr()
        assert ended.value.code == 0, err
        assert json.loads(out)[0]["steps"] == count
    state = torch.load(tmp_path / "runs" / "tiny" / "last.pt", weights_only=True)
    assert all(value.isfinite().all() for value in state.values() if value.is_floating_point())
    say(f"{architecture:9} train {precision:8} {steps} + 2 steps in {time.perf_counter() - begun:.1f} s")


def _table(config: dict[str, Any]) -> str:
    return "{ " + ", ".join(f"{key} = {list(v) if isinstance(v, tuple) else v}" for key, v in config.items()) + " }"
