"""`vsalient doctor`: what it finds, as text and JSON, and that a problem shows in the exit code."""

import json
from pathlib import Path

import pytest

from tiny_model import install
from vsalient.cli.advice import advice
from vsalient.cli.app import main


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(["doctor", *arguments])
    assert isinstance(end.value.code, int)
    return end.value.code


@pytest.fixture(autouse=True)
def _home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path)


def test_a_healthy_machine(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run("--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["problems"] == []
    assert found["packages"]["torch"] and found["packages"]["av"]
    assert found["devices"][-1]["device"] == "cpu" and found["devices"][-1]["why"]
    assert found["encoders"]["libx264"] and found["cpu"]["threads"] >= 1
    assert found["cache"]["folder"] == str(tmp_path / "cache") and found["cache"]["free_gib"] > 0
    assert found["models"]["3dc-lite"] == "own file" and "3dc-seg" in found["models"]
    assert "self-check passed" in found["devices"][-1]["why"] or found["devices"][-1]["dtype"] == "float32"
    assert run() == 0
    text = capsys.readouterr().out
    for words in ("packages", "processor", "device     cpu", "encoder    libx264: yes", "cache", "all well"):
        assert words in text


def test_a_broken_registry_is_a_problem(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "registry.toml").write_text("schema = 7\n")
    monkeypatch.setenv("VSALIENT_WEIGHTS", str(tmp_path / "registry.toml"))
    monkeypatch.setenv("VSALIENT_OFFLINE", "1")
    assert run() == 1
    text = capsys.readouterr().out
    assert "PROBLEM" in text and "schema must be 1" in text and "VSALIENT_OFFLINE=1" in text


FOUND = {
    "devices": [{"device": "cpu"}],
    "torch_build": None,
    "torch_threads": 2,
    "cpu": {"threads": 2, "flags": {"avx2": True, "avx512_bf16": True, "amx_bf16": False}},
    "extras": {"scikit-image": "1", "higra": "1"},
}


@pytest.mark.parametrize(
    ("change", "card", "words"),
    [
        ({}, False, None),
        ({"torch_build": "12.8"}, False, "carries CUDA 12.8 (some 5 GB), and there is no card"),
        ({}, True, "there is an NVIDIA card, but this PyTorch is the CPU-only one"),
        ({"torch_build": "12.8"}, True, "is the driver too old for CUDA 12.8?"),
        ({"torch_build": "12.8", "devices": [{"device": "cuda:0"}, {"device": "cpu"}]}, True, None),
        ({"cpu": {"threads": 2, "flags": {"avx2": True}}}, False, "with AVX512-BF16 or AMX"),
        ({"cpu": {"threads": 8, "flags": FOUND["cpu"]["flags"]}}, False, "uses 2 of 8 processors"),
        ({"extras": {"scikit-image": None, "higra": None}}, False, "superpixels extra"),
        ({"devices": []}, True, None),
    ],
)
def test_advice(change: dict[str, object], card: bool, words: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vsalient.cli.advice.has_nvidia_card", lambda: card)
    lines = advice({**FOUND, **change})
    assert len(lines) == (words is not None)
    assert words is None or words in lines[0]
