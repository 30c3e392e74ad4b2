"""Checkpoints, registries and recipes that somebody crafted: one line each, no memory, no waiting, nothing run."""

import io
import json
import resource
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch

from vsalient.checkpoints import load_state_dict
from vsalient.checkpoints.network import load_network
from vsalient.checkpoints.registry import read_registry
from vsalient.errors import CheckpointError, DataError, VsalientError, WeightsError
from vsalient.training.recipe import load_recipe

ENTRY = {
    "summary": "a toy",
    "architecture": "lite3dc",
    "clip_length": 4,
    "overlap": 1,
    "geometry": "native",
    "licence": "MIT",
    "source": "bundled",
    "file": "3dc-lite.safetensors",
}


def one_line(error: BaseException) -> str:
    text = str(error)
    assert "\n" not in text and len(text) < 600
    return text


def torch_bytes(value: object) -> bytes:
    out = io.BytesIO()
    torch.save(value, out)
    return out.getvalue()


def deflated(data: bytes) -> bytes:
    """A PyTorch file, its parts compressed."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for item in old.infolist():
            new.writestr(item.filename, old.read(item))
    return out.getvalue()


def npz_bytes(**arrays: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.savez_compressed(out, **arrays)
    return out.getvalue()


def safetensors_bytes(header: object, tail: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + tail


def bad_headers() -> dict[str, bytes]:
    return {
        "not utf-8": safetensors_bytes(b'{"a": "\xff\xfe"}'),
        "deep": safetensors_bytes(b'{"a":' * 100_000),
        "digits": safetensors_bytes(b'{"a": ' + b"9" * 5000 + b"}"),
        "list": safetensors_bytes([1, 2]),
        "metadata is a number": safetensors_bytes({"__metadata__": 3}),
        "metadata is a list": safetensors_bytes({"__metadata__": {"vsalient": "[1]"}}),
        "offsets": safetensors_bytes({"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 1 << 40]}}),
        "dtype": safetensors_bytes({"w": {"dtype": "F3", "shape": [1], "data_offsets": [0, 4]}}, b"\0" * 4),
        "float8": safetensors_bytes({"w": {"dtype": "F8_E4M3", "shape": [4], "data_offsets": [0, 4]}}, b"\0" * 4),
    }


@pytest.mark.parametrize("kind", sorted(bad_headers()))
def test_crafted_safetensors(tmp_path, kind):
    path = tmp_path / "x.safetensors"
    path.write_bytes(bad_headers()[kind])
    with pytest.raises(CheckpointError) as caught:
        load_network(path)
    assert "x.safetensors" in one_line(caught.value)


def odd_tensors() -> dict[str, object]:
    return {
        "meta": torch.empty(3, device="meta"),
        "sparse": torch.eye(3).to_sparse(),
        "quantised": torch.quantize_per_tensor(torch.rand(3), 0.1, 0, torch.quint8),
        "float8": torch.zeros(4, dtype=torch.float8_e4m3fn),
        "complex": torch.zeros(4, dtype=torch.complex64),
        "expanded": torch.zeros(1).expand(1 << 36),
    }


@pytest.mark.parametrize("kind", sorted(odd_tensors()))
def test_tensors_that_hold_no_plain_numbers(tmp_path, kind):
    path = tmp_path / "x.pt"
    path.write_bytes(torch_bytes({"weight": odd_tensors()[kind]}))
    with pytest.raises(CheckpointError) as caught:
        load_state_dict(path)
    assert "x.pt" in one_line(caught.value)


@pytest.mark.parametrize("kind", ["torch", "npz", "pickle"])
def test_small_files_that_would_become_large_ones(tmp_path, kind):
    path = tmp_path / "x.pt"
    zeros = np.zeros(40 << 20, np.float32)
    if kind == "torch":
        path.write_bytes(deflated(torch_bytes({"weight": torch.from_numpy(zeros)})))
    elif kind == "npz":
        path.write_bytes(npz_bytes(weight=zeros))
    else:  # the pickle itself is what grows
        path.write_bytes(deflated(torch_bytes({"weight": torch.zeros(1), "note": "a" * (160 << 20)})))
    del zeros
    assert path.stat().st_size < 1 << 20
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CheckpointError, match="would become"):
        load_state_dict(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10  # KiB


def test_weights_that_compress_a_little_are_read(tmp_path):
    path = tmp_path / "x.npz"
    path.write_bytes(npz_bytes(weight=np.repeat(np.arange(1000, dtype=np.float32), 4)))
    assert load_state_dict(path)["weight"].shape == (4000,)
    (tmp_path / "x.pt").write_bytes(deflated(torch_bytes({"weight": torch.arange(5000.0)})))
    with pytest.raises(CheckpointError):  # torch maps its files, and cannot map a compressed one
        load_state_dict(tmp_path / "x.pt")


NONSENSE = {
    "huge": {"channels": [10**9] * 5},
    "digits": {"motion": 10**4000},
    "negative": {"channels": [-8, -8, -8, -8, -8]},
    "missing": {"channels": [8, 8]},
    "float": {"motion": float("nan")},
    "deep": {"channels": [[[[[[[1]]]]]]]},
    "text": {"variant": "x" * 10_000},
    "unknown": {"depth_of_the_sea": 3},
    "zero": {"match": 0, "channels": [0, 0, 0, 0, 0]},
    "many": {"channels": [8] * 100_000},
}


@pytest.mark.parametrize("kind", sorted(NONSENSE))
def test_a_file_that_describes_a_network_which_nobody_has(tmp_path, kind):
    """What a safetensors file says of itself is built on no memory before it fits what the file holds."""
    config = NONSENSE[kind]
    try:
        text = json.dumps({"entry": {"name": "toy", **ENTRY, "config": config}, "origin": {}})
    except ValueError:
        pytest.skip("cannot be written as JSON here")
    header = {
        "__metadata__": {"vsalient": text},
        "w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
    }
    path = tmp_path / "x.safetensors"
    path.write_bytes(safetensors_bytes(header, b"\0" * 4))
    with pytest.raises(VsalientError) as caught:
        load_network(path)
    one_line(caught.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("clip_length", 10**12),
        ("multiple", 10**9),
        ("scores", [{"dataset": "d", "metric": "J", "value": float("nan"), "by": "us"}]),
        ("scores", [{"dataset": "d", "metric": "J", "value": float("inf"), "by": "us"}]),
    ],
)
def test_entries_with_numbers_that_make_no_sense(tmp_path, field, value):
    path = tmp_path / "x.safetensors"
    text = json.dumps({"entry": {"name": "toy", **ENTRY, field: value}, "origin": {}})
    path.write_bytes(safetensors_bytes({"__metadata__": {"vsalient": text}}))
    with pytest.raises(CheckpointError, match=field):
        load_network(path)


BAD_TOML = {
    "deep": b"a = " + b"[" * 50_000,
    "digits": b"a = " + b"9" * 5000,
    "utf-16": "a = 1".encode("utf-16"),
    "latin-1": "a = 'é'".encode("latin-1"),
    "large": b"# " + b"x" * (5 << 20),
    "no toml": b"{ 'a': 1 }",
}


@pytest.mark.parametrize("kind", sorted(BAD_TOML))
def test_crafted_registries_and_recipes(tmp_path, kind):
    path = tmp_path / "x.toml"
    path.write_bytes(BAD_TOML[kind])
    for read, error in ((read_registry, WeightsError), (lambda p: load_recipe(str(p)), DataError)):
        with pytest.raises(error) as caught:
            read(path)
        assert "x.toml" in one_line(caught.value)


def test_a_byte_order_mark_is_no_fault(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xef\xbb\xbfsteps = 3\n")
    assert load_recipe(str(path)).steps == 3


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('name = "../../outside"', "name"),
        ('name = "/etc/x"', "name"),
        ('name = ""', "name"),
        ("seed = 99999999999999999999999999", "sense"),
        ("ema = nan", "sense"),
        ("[optimiser]\nrate = inf", "sense"),
        ("[clips.kinds]\nvideo = 'much'", "kinds"),
        ("[clips.kinds]\nvideo = -1.0\nstill = 2.0", "at least 0"),
        ("[config]\nchannels = [100000000]", "config"),
    ],
)
def test_recipes_with_values_that_make_no_sense(tmp_path, text, says):
    path = tmp_path / "x.toml"
    path.write_text(text)
    with pytest.raises(DataError, match=says) as caught:
        load_recipe(str(path))
    one_line(caught.value)


def test_the_command_line_says_it_in_one_line_too(tmp_path):
    clip, bad = tmp_path / "a.png", tmp_path / "x.safetensors"
    clip.write_bytes(b"")
    bad.write_bytes(bad_headers()["deep"])
    command = [sys.executable, "-m", "vsalient", "models", "info", str(bad)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode != 0 and "Traceback" not in result.stderr
