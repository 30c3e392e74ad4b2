"""Networks of other packages: an installed plug-in does all that ours do, and code is named by nobody but the user."""

import ast
import dataclasses
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import vsalient
from media_files import ramp, write_video
from training_data import davis, shard
from vsalient import checkpoints, models
from vsalient.checkpoints.entries import parse_entry
from vsalient.cli.app import main
from vsalient.errors import OptionError, VsalientError
from vsalient.models import Network, Running, describe, plugins

PAGE = Path(__file__).resolve().parents[1] / "docs" / "plugins.md"
RECIPE = """
architecture = "tiny"
config = { width = 4 }
steps = 2
batch = 1
precision = "float32"
validate_every = 2
save_every = 1
held_out = ["clip1"]

[clips]
frames = 2
size = [32, 64]
kinds = { video = 1.0 }

[loss]
terms = { cross-entropy = 1.0 }
scales = [1.0]

[optimiser]
rate = 1e-2
encoder_rate = 1e-3
warmup = 1
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the page's package in it, as an installer leaves it, on the import path."""
    source, declared = re.findall(r"```(?:python|toml)\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)[:2]
    folder = tmp_path / "site"
    information = folder / "my_saliency-1.0.dist-info"
    information.mkdir(parents=True)
    (folder / "my_saliency").mkdir()
    (folder / "my_saliency" / "__init__.py").write_text(source)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: my-saliency\nVersion: 1.0\n")
    name, target = re.findall(r'^(\w+) = "(.*)"$', declared, re.MULTILINE)[0]
    (information / "entry_points.txt").write_text(f"[vsalient.models]\n{name} = {target}\n")
    monkeypatch.syspath_prepend(str(folder))
    plugins.offered.cache_clear()
    yield folder
    plugins.offered.cache_clear()
    plugins._allowed.clear()
    sys.modules.pop("my_saliency", None)


@pytest.fixture
def weights(site: Path, tmp_path: Path) -> Path:
    torch.manual_seed(0)
    save_file(models.build("tiny").state_dict(), tmp_path / "tiny.safetensors")
    return tmp_path / "tiny.safetensors"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def call(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, out, err

    return call


@pytest.mark.parametrize("model", ["tiny", "my_saliency:Tiny"])
def test_predict(model: str, weights: Path, tmp_path: Path, run: Callable[..., tuple[int, str, str]]) -> None:
    clip = write_video(tmp_path / "clip.mp4", [ramp(i) for i in range(6)])
    code, _out, err = run("predict", clip, "--model", model, "--weights", weights, "-o", tmp_path / "out.mp4")
    assert code == 0, err
    with av.open(str(tmp_path / "out.mp4")) as made:
        assert sum(1 for _ in made.decode(video=0)) == 6


def test_evaluate(weights: Path, tmp_path: Path, run: Callable[..., tuple[int, str, str]]) -> None:
    data = davis(tmp_path / "davis", videos=1, frames=4)
    code, _out, err = run(
        "evaluate", "--model", "tiny", "--weights", weights, "--frames", data / "JPEGImages/480p",
        data / "Annotations/480p", "--metrics", "J,MAE", "--json", tmp_path / "scores.json",
    )  # fmt: skip
    assert code == 0, err
    assert "mae" in (tmp_path / "scores.json").read_text("utf-8").lower()


def test_two_training_steps_resume_and_the_run_as_a_model(
    site: Path, tmp_path: Path, run: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VSALIENT_MODELS", str(tmp_path / "added"))
    (tmp_path / "mine.toml").write_text(RECIPE)
    data = shard(tmp_path / "data.tar")
    train = ("train", tmp_path / "mine.toml", "--data", data, "--out", tmp_path / "runs", "--workers", 0, "--json")
    code, out, err = run(*train)
    assert code == 0, err
    assert json.loads(out)[0]["steps"] == 2
    code, out, err = run(*train, "--resume", "--set", "steps=3")
    assert code == 0, err
    assert json.loads(out)[0]["steps"] == 3
    saved = torch.load(tmp_path / "runs" / "mine" / "last.ckpt", weights_only=True)
    assert saved["step"] == 3 and sorted(saved["network"]) == sorted(models.build("tiny", width=4).state_dict())
    assert len(saved["optimiser"]["param_groups"][0]["params"]) == 2  # the encoder's, at a rate of their own
    code, _, err = run("train", "export", tmp_path / "runs" / "mine", "--out", tmp_path / "made", "--name", "mine")
    assert code == 0, err
    _network, entry = checkpoints.load_network(tmp_path / "made" / "model.safetensors")
    assert (entry.architecture, entry.config) == ("tiny", {"width": 4})


def test_weights_that_come_with_the_package(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny: Any = models.find("tiny")
    monkeypatch.setattr(tiny, "running", dataclasses.replace(tiny.running, weights=weights))
    model = vsalient.load_model("tiny", device="cpu", dtype="float32")
    assert model.entry.file == str(weights)
    assert len(list(model.predict([np.zeros((40, 60, 3), np.uint8)] * 2))) == 2
    monkeypatch.setattr(tiny, "running", dataclasses.replace(tiny.running, weights=weights.with_name("gone.pt")))
    with pytest.raises(VsalientError, match=r"gone\.pt"):
        vsalient.load_model("tiny", device="cpu")


def test_models_list_and_info_know_it(site: Path, run: Callable[..., tuple[int, str, str]]) -> None:
    code, out, _ = run("models", "list")
    assert code == 0 and re.search(r"tiny .*plug-in", out) and "my-saliency" in out
    code, out, _ = run("models", "info", "tiny", "--json")
    assert code == 0 and json.loads(out)["geometry"] == "area:96x160"


def test_nobody_else_guesses_what_a_network_offers() -> None:
    """The contract is read in one place: no `getattr` or `hasattr` of its names anywhere else."""
    source = Path(vsalient.__file__).parent
    names = {field.name for field in dataclasses.fields(Network)} | {"describe", "fold", "load_state_dict"}
    guesses = []
    for path in source.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in ("getattr", "hasattr")
            ):
                said = node.args[1] if len(node.args) > 1 else None
                if isinstance(said, ast.Constant) and said.value in names:
                    guesses.append(f"{path.relative_to(source)}: {ast.unparse(node)}")
    allowed = ("models/network.py", "checkpoints/plugged.py", "inputs.py")  # the last asks what holds a video
    assert not [guess for guess in guesses if not guess.startswith(allowed)]
    assert len(guesses) >= 2, "this test sees nothing"


def test_a_module_of_ones_own_in_python(weights: Path, site: Path) -> None:
    network = models.build("tiny")
    before = {key: value.clone() for key, value in network.state_dict().items()}
    frames = [np.full((40, 60, 3), 10 * i, np.uint8) for i in range(5)]
    model = vsalient.load_model(network, weights=weights, device="cpu", dtype="float32")
    maps = [result.saliency for result in model.predict(frames)]
    assert len(maps) == 5 and maps[0].shape == (40, 60)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())  # a copy was taken
    named = vsalient.load_model("tiny", weights=weights, device="cpu", dtype="float32")
    for result, expected in zip(named.predict(frames), maps, strict=True):
        np.testing.assert_array_equal(result.saliency, expected)
    assert named.entry.clip_length == 4 and named.entry.geometry == "area:96x160"


def test_a_descriptor_holds_any_module() -> None:
    class Strange(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weights = nn.Linear(3, 1)

        def saliency(self, video: Tensor) -> Tensor:
            return self.weights(video.movedim(1, -1)).movedim(-1, 1)

    module = Strange()
    network = Network(
        module=module,
        forward=module.saliency,
        probability=lambda logits: torch.sigmoid(logits[:, 0]),
        training_outputs=lambda clip: (module.saliency(clip),),
        running=Running(clip_length=2, overlap=0, multiple=2),
    )
    model = vsalient.load_model(network, device="cpu", dtype="float32")
    maps = [result.saliency for result in model.predict([np.full((8, 8, 3), 128, np.uint8)] * 3)]
    expected = torch.sigmoid(module.weights(torch.full((3,), 128 / 255))).item()
    np.testing.assert_allclose(maps, expected, atol=1e-6)


def test_code_in_a_file_is_refused(site: Path, tmp_path: Path, run: Callable[..., tuple[int, str, str]]) -> None:
    code = "my_saliency:Tiny"
    with pytest.raises(OptionError, match="code is named on the command line only"):
        models.build(code)
    with pytest.raises(VsalientError, match="unknown model 'my_saliency:Tiny'"):
        vsalient.load_model(code)
    fields = {"summary": "-", "architecture": code, "clip_length": 2, "overlap": 0, "geometry": "native",
              "licence": "-", "source": "none", "instead": "-"}  # fmt: skip
    (tmp_path / "x.pt").write_bytes(b"")
    with pytest.raises(VsalientError):
        checkpoints.load_network(parse_entry("mine", fields, origin=tmp_path / "r.toml"), weights=tmp_path / "x.pt")
    (tmp_path / "mine.toml").write_text(RECIPE.replace('"tiny"', f'"{code}"'))
    status, _, err = run("train", tmp_path / "mine.toml", "--data", shard(tmp_path / "data.tar"), "--out", tmp_path)
    assert status != 0 and "unknown architecture 'my_saliency:Tiny'" in err and err.count("\n") <= 2
    assert "my_saliency" not in sys.modules


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("nowhere.at.all:Net", "cannot be imported: No module named 'nowhere'"),
        ("my_saliency:Absent", "cannot be imported: module 'my_saliency' has no attribute 'Absent'"),
        ("my_saliency:__name__", "must be a class of networks"),
    ],
)
def test_wrong_code_is_one_line(
    model: str, message: str, site: Path, tmp_path: Path, run: Callable[..., tuple[int, str, str]]
) -> None:
    code, out, err = run("predict", "clip.mp4", "--model", model)
    assert code != 0 and out == ""
    assert message in err and len(err.strip().splitlines()) == 1


def test_without_weights_it_says_what_to_do(
    site: Path, run: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    clip = write_video(tmp_path / "clip.mp4", [ramp(i) for i in range(2)])
    code, _, err = run("predict", clip, "--model", "tiny", "-o", tmp_path / "out.mp4")
    assert code != 0 and "give its weights with --weights FILE" in err


def test_a_fresh_process_finds_it(weights: Path, site: Path, tmp_path: Path) -> None:
    clip = write_video(tmp_path / "clip.mp4", [ramp(i) for i in range(2)])
    source = Path(vsalient.__file__).parents[1]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "vsalient",
            "predict",
            clip,
            "-m",
            "tiny",
            "--weights",
            weights,
            "-o",
            tmp_path / "o.mp4",
        ],
        env={"PYTHONPATH": f"{site}:{source}", "PATH": "", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "o.mp4").is_file()


@pytest.mark.parametrize("architecture", models.ARCHITECTURES)
def test_our_own_networks_say_all_of_it(architecture: str) -> None:
    with torch.device("meta"):
        network = describe(
            models.build(architecture, **({} if architecture in ("lite3dc", "seg3dc") else {"width": 0.125}))
        )
    assert network.forward is network.module
    assert (network.encode is None) == (architecture not in ("lite3dc", "stan"))
    assert network.maps == {"conv3dnet": "middle", "stan": "last"}.get(architecture, "all")
    assert (network.convert_checkpoint is not None) == (architecture == "seg3dc")


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"encode": lambda self, x: x}, "it needs both"),
        ({"maps": "some"}, "maps = 'some'"),
        ({"priors": "motion"}, "give a tuple of names"),
        ({"running": {"clip_length": 3}}, "give a vsalient.models.Running"),
        ({"describe": lambda self: 3}, "gives int, not a Network"),
    ],
)
def test_a_contract_that_is_not_kept_is_refused(attributes: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        describe(type("Net", (nn.Module,), attributes)())
