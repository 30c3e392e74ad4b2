"""`models export`: files that give the engine's maps, or no files; and the documented program, run without PyTorch."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import needs
from tiny_model import install, write_clip
from vsalient.api import load_model
from vsalient.cli.app import main
from vsalient.engine import export as export_module
from vsalient.media import open_source
from vsalient.transforms import Geometry

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "examples" / "demo" / "cup.mp4"


def cli(capsys, *args):
    with pytest.raises(SystemExit) as end:
        main([str(arg) for arg in args])
    return end.value.code, capsys.readouterr()


@pytest.mark.parametrize("form", ["onnx", "openvino", "torch-export"])
def test_a_whole_clip_network_in_every_format(form, monkeypatch, tmp_path, capsys):
    if form != "torch-export":
        needs(form)
    install(monkeypatch, tmp_path)
    video = write_clip(tmp_path / "red.mp4", 6)
    options = ["models", "export", "3dc-lite", "--format", form, "-o", tmp_path / "out", "--size", "64x96"]
    code, said = cli(capsys, *options, "--check", video)
    assert code == 0, said.err
    files = said.out.split()
    assert {Path(file).name for file in files} == {path.name for path in (tmp_path / "out").iterdir()}
    about = json.loads((tmp_path / "out" / "signature.json").read_text())
    (part,) = about["parts"]
    assert part["name"] == "network" and (tmp_path / "out" / part["file"]).is_file()
    assert part["inputs"]["frames"] == {"shape": [1, 3, about["frames"], 64, 96], "dtype": "uint8"}
    assert about["largest_difference"] < 1e-3 and about["height"] == 64
    code, said = cli(capsys, *options)
    assert code == 1 and "exists already" in said.err
    assert cli(capsys, *options, "--overwrite")[0] == 0


@pytest.mark.parametrize("broken", ["values", "writer"])
def test_what_does_not_match_leaves_no_files(broken, monkeypatch, tmp_path, capsys):
    install(monkeypatch, tmp_path)
    write = export_module._WRITERS["torch-export"]

    def wrong(part, file):
        call = write(part, file)
        if broken == "writer":
            raise RuntimeError("Unsupported: aten::nothing\nmore")
        return lambda arrays: [x + 0.01 for x in call(arrays)]

    monkeypatch.setitem(export_module._WRITERS, "torch-export", wrong)
    options = ["models", "export", "3dc-lite", "--format", "torch-export", "--size", "64x96"]
    code, said = cli(capsys, *options, "-o", tmp_path / "out")
    assert code == 1 and len(said.err.strip().splitlines()) == 1
    assert ("other maps than the engine" if broken == "values" else "the network fails (Unsupported") in said.err
    assert not list(tmp_path.glob("*out*"))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--size", "100"], "write height x width"),
        (["--size", "100x90"], "multiples of 32"),
        (["--clip-length", "0"], "clip"),
        (["--check", "nowhere.mp4"], "nowhere.mp4 is not there"),
    ],
)
def test_wrong_options_are_one_line_before_any_work(options, text, tmp_path, capsys):
    place = tmp_path / "out"
    code, said = cli(capsys, "models", "export", "3dc-lite", "--format", "onnx", "-o", place, *options)
    assert code == 1 and text in said.err and len(said.err.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())
    code, said = cli(capsys, "models", "export", "3dc-lite", "--format", "tflite", "-o", place)
    assert code == 2 and "torch-export" in said.err


@pytest.mark.slow
def test_the_documented_program_runs_without_torch(tmp_path, capsys):
    needs("onnx")
    size = ["--size", "128x224", "--clip-length", "4"]
    code, said = cli(capsys, "models", "export", "3dc-lite", "--format", "onnx", "-o", tmp_path / "lite", *size)
    assert code == 0, said.err
    # The example takes the geometry of the model: this smaller export says its own.
    signature = tmp_path / "lite" / "signature.json"
    about = json.loads(signature.read_text())
    assert about["geometry"] == "exact:128x224" and about["priors"] == list(load_model().priors)
    (program,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "export.md").read_text(), re.DOTALL)
    assert len([line for line in program.splitlines() if line.strip()]) <= 40
    # np.save beside the PNGs, so that rounding to 8 bits hides nothing.
    program = program.replace("Image.fromarray", "np.save(folder / name, saliency); Image.fromarray")
    blocked = "import sys\nfor name in ('torch', 'torchvision'):\n    sys.modules[name] = None\n"
    short = tmp_path / "frames"
    short.mkdir()
    with open_source(DEMO) as source:
        for frame, _ in zip(source, range(10), strict=False):
            Image.fromarray(frame.pixels).resize((480, 270)).save(short / f"{frame.index:03d}.png")
    (tmp_path / "program.py").write_text(blocked + program)
    command = [sys.executable, tmp_path / "program.py", tmp_path / "lite", short, tmp_path / "maps"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    model = load_model(device="cpu", dtype="float32", engine="torch")
    expected = list(model.predict(short, resolution="exact:128x224", clip_length=4))
    found = sorted((tmp_path / "maps").glob("*.npy"))
    assert len(found) == len(expected) == 10 == len(list((tmp_path / "maps").glob("*.png")))
    for file, prediction in zip(found, expected, strict=True):
        np.testing.assert_allclose(np.load(file), prediction.saliency, atol=1e-3)
    assert np.ptp(expected[5].saliency) > 0.3


@pytest.mark.parametrize("resample", ["antialias", "pillow"])
@pytest.mark.parametrize("spec", ["exact:64x96", "short:128", "exact:192x96", "native"])
def test_a_picture_without_torch_is_pytorchs_to_the_bit(spec, resample):
    pixels = np.random.default_rng(0).integers(0, 256, (90, 161, 3), np.uint8)
    geometry = Geometry.plan(spec, (90, 161), multiple=32, resample=resample)
    np.testing.assert_array_equal(geometry.apply_array(pixels), geometry.apply(pixels).numpy())
