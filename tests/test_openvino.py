"""OpenVINO as an engine: equal maps, compiled once, checked against PyTorch, chosen by a table."""

import copy
import logging

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from conftest import needs
from tiny_model import RedNet, install, red_state, stripes, write_clip
from vsalient.api import load_model
from vsalient.cli.app import main
from vsalient.engine import Engine, compiled, libraries
from vsalient.engine.libraries import choose_engine, open_runner, processor, user_table, write_user_table
from vsalient.engine.openvino_runner import OpenVinoRunner
from vsalient.errors import DeviceError, MissingDependencyError, OptionError
from vsalient.models.lite import Lite3DC
from vsalient.models.network import describe

needs("openvino")


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("VSALIENT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("VSALIENT_MODELS", str(tmp_path / "data" / "models"))


def red() -> nn.Module:
    network = RedNet()
    network.load_state_dict(red_state())
    return network


def lite() -> nn.Module:
    torch.manual_seed(0)
    network = Lite3DC(channels=(16, 16, 12, 8, 8), motion=8, match=8, residual=4).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return network


def clip(count: int, height: int, width: int) -> list[Tensor]:
    return [torch.from_numpy(p).permute(2, 0, 1).contiguous() for p in stripes(count, width, height)]


def both(network: nn.Module) -> tuple[Engine, Engine]:
    ours = Engine(OpenVinoRunner(describe(copy.deepcopy(network)), "float32", reason="asked for"))
    return ours, Engine(copy.deepcopy(network), device="cpu", dtype="float32")


def test_maps_of_a_whole_clip_network_are_pytorchs():
    ours, torchs = both(red())
    frames = clip(4, 64, 96)
    found = ours.run(frames, range(4))
    np.testing.assert_allclose(found, torchs.run(frames, range(4)), atol=1e-5)
    assert found.max() > 0.99 and found.min() < 0.01  # and they say something
    assert ours.run(frames, range(4), [1, 2]).shape == (2, 64, 96)
    assert "OpenVINO" in ours.description and "float32" in ours.description


def test_maps_of_a_network_with_an_encoder_and_priors_are_pytorchs():
    ours, torchs = both(lite())
    frames = clip(6, 64, 96)
    maps = {name: list(torch.rand(6, 1, 64, 96)) for name in ours.priors}
    for first, last in ((0, 4), (2, 6)):  # the second clip takes two frames' features from the first
        part = {name: values[first:last] for name, values in maps.items()}
        found, expected = (e.run(frames[first:last], range(first, last), None, part) for e in (ours, torchs))
        np.testing.assert_allclose(found, expected, atol=1e-4)
        assert np.ptp(expected) > 0.01


def test_what_was_compiled_is_kept_and_read(monkeypatch, tmp_path):
    frames = clip(3, 64, 96)
    first = both(red())[0].run(frames, range(3))
    (blob,) = (tmp_path / "cache" / "openvino").glob("*.blob")
    compile_ = compiled.CompiledPart._compile
    monkeypatch.setattr(compiled.CompiledPart, "_compile", lambda *_: pytest.fail("compiled again"))
    np.testing.assert_array_equal(both(red())[0].run(frames, range(3)), first)
    # Other weights are another network, and a damaged file is no network at all.
    monkeypatch.setattr(compiled.CompiledPart, "_compile", compile_)
    other = red()
    other.head.bias.data += 20
    assert both(other)[0].run(frames, range(3)).min() > 0.9
    blob.write_bytes(blob.read_bytes()[:-5])
    np.testing.assert_allclose(both(red())[0].run(frames, range(3)), first, atol=1e-6)


def test_wrong_values_are_not_trusted(monkeypatch, caplog, tmp_path):
    right = compiled.CompiledPart.__call__
    monkeypatch.setattr(compiled.CompiledPart, "__call__", lambda s, x: tuple(v * 0.9 for v in right(s, x)))
    network, frames = red(), clip(3, 64, 96)
    expected = Engine(copy.deepcopy(network), device="cpu", dtype="float32").run(frames, range(3))
    asked = open_runner(copy.deepcopy(network), "red", engine="openvino", dtype="float32")
    with pytest.raises(DeviceError, match=r"RedNet: it fails the self-check .*try engine torch"):
        Engine(asked).run(frames, range(3))
    assert not list((tmp_path / "cache" / "openvino").glob("*.blob"))
    monkeypatch.setattr(libraries, "choose_engine", lambda _: ("openvino", "test"))
    engine = Engine(open_runner(network, "red", dtype="float32"))
    with caplog.at_level(logging.WARNING, "vsalient"):
        np.testing.assert_allclose(engine.run(frames, range(3)), expected, atol=1e-5)
    assert "going on with PyTorch" in caplog.text


class Untraceable(RedNet):
    def forward(self, clip: Tensor) -> Tensor:
        if torch.jit.is_tracing():
            raise RuntimeError("no trace of me")
        return super().forward(clip)


def test_a_network_that_does_not_convert_runs_on_pytorch_under_auto(monkeypatch):
    network, frames = Untraceable(), clip(3, 64, 96)
    network.load_state_dict(red_state())
    monkeypatch.setattr(libraries, "choose_engine", lambda _: ("openvino", "test"))
    auto = Engine(open_runner(copy.deepcopy(network), "red", dtype="float32"))
    assert auto.run(frames, range(3)).max() > 0.99
    with pytest.raises(DeviceError, match="no trace of me"):
        Engine(open_runner(network, "red", engine="openvino", dtype="float32")).run(frames, range(3))


def test_which_library_runs_is_a_matter_of_tables(monkeypatch):
    monkeypatch.delenv("VSALIENT_ENGINE", raising=False)
    monkeypatch.setattr(libraries, "processor", lambda: "avx2")
    assert choose_engine("lite3dc")[0] == "openvino"
    assert choose_engine("unheard-of")[0] == "torch"
    write_user_table("avx2", {"lite3dc": "torch"})
    write_user_table("amx", {"lite3dc": "openvino"})
    assert choose_engine("lite3dc") == ("torch", f"by {user_table()}")
    monkeypatch.setenv("VSALIENT_ENGINE", "openvino")
    assert choose_engine("unheard-of")[0] == "openvino"
    monkeypatch.setenv("VSALIENT_ENGINE", "tensorflow")
    with pytest.raises(OptionError, match="VSALIENT_ENGINE is 'tensorflow'"):
        choose_engine("lite3dc")
    monkeypatch.delenv("VSALIENT_ENGINE")
    user_table().write_text('[avx2]\nlite3dc = "abacus"\n')
    with pytest.raises(OptionError, match=r"engines\.toml.*\[avx2\]"):
        choose_engine("lite3dc")
    user_table().unlink()
    monkeypatch.setattr(compiled, "available", lambda: False)
    assert choose_engine("lite3dc")[0] == "torch"


def test_the_processor_is_what_the_libraries_are_limited_to(monkeypatch):
    monkeypatch.setattr(libraries, "processor_flags", lambda: {"avx2", "avx512f", "avx512_bf16", "amx_bf16"})
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    assert processor() == "amx"
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert processor() == "avx2"
    monkeypatch.setattr(libraries, "processor_flags", set)
    assert processor() == "other"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"engine": "tensorflow"}, "unknown engine 'tensorflow'; allowed: auto, torch, openvino"),
        ({"engine": "openvino", "exact": True}, "exact is PyTorch's"),
        ({"engine": "openvino", "device": "cuda"}, "not on cuda"),
        ({"engine": "openvino", "dtype": "float16"}, "no float16"),
    ],
)
def test_what_openvino_cannot_do_is_said_before_anything_is_loaded(options, text):
    with pytest.raises(OptionError, match=text):
        load_model("no-such-model", **options)


def test_a_missing_library_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "openvino", None)
    with pytest.raises(MissingDependencyError, match=r"vsalient\[openvino\]"):
        open_runner(red(), "red", engine="openvino")


def cli(capsys, *args):
    with pytest.raises(SystemExit) as end:
        main([str(arg) for arg in args])
    return end.value.code, capsys.readouterr()


def test_predict_with_openvino(monkeypatch, tmp_path, capsys):
    install(monkeypatch, tmp_path)
    video = write_clip(tmp_path / "red.mp4", 6)
    options = ["predict", video, "--write", "maps", "--dtype", "float32"]
    code, said = cli(capsys, *options, "-o", tmp_path / "a", "--engine", "openvino")
    assert code == 0 and "OpenVINO" in said.err
    code, _ = cli(capsys, *options, "-o", tmp_path / "b", "--engine", "torch")
    assert code == 0
    ours, torchs = (sorted((tmp_path / name).rglob("*.png")) for name in "ab")
    assert len(ours) == len(torchs) == 6
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(ours, torchs, strict=True))
    code, said = cli(capsys, *options[:2], "-o", tmp_path / "c", "--engine", "openvino", "--exact")
    assert code == 1 and "--exact is PyTorch's float32" in said.err and len(said.err.strip().splitlines()) == 1
    code, said = cli(capsys, *options[:2], "-o", tmp_path / "c", "--engine", "openvino", "--protocol", "paper")
    assert code == 1 and "--protocol paper without --dtype" in said.err
    assert not (tmp_path / "c").exists()


def test_doctor_tune_remembers_the_faster_library(monkeypatch, tmp_path, capsys):
    from vsalient.cli import tune as module

    install(monkeypatch, tmp_path)
    monkeypatch.delenv("VSALIENT_ENGINE", raising=False)
    monkeypatch.setattr(libraries, "processor", lambda: "avx2")
    speeds = {"torch": 4.0, "openvino": 6.0}

    def row(name, options):
        library = options[options.index("--engine") + 1]
        if name == "scnn-s" and library == "openvino":
            return {"model": name, "error": "it does not convert"}
        return {"model": name, "frames_per_second": speeds[library]}

    monkeypatch.setattr(module, "in_a_process", row)
    code, said = cli(capsys, "doctor", "--tune")
    assert code == 0, said.err
    assert "openvino 6.00 frames/s" in said.out and "it does not convert" in said.out
    assert choose_engine("red") == ("openvino", f"by {user_table()}") and choose_engine("scnn")[0] == "torch"
    speeds["torch"] = 7.0
    cli(capsys, "doctor", "--tune")
    assert choose_engine("red")[0] == "torch"
    code, said = cli(capsys, "doctor", "--tune", "--json")
    assert code == 1 and len(said.err.strip().splitlines()) == 1
