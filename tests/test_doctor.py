"""`vsalient doctor`: what it finds, as text and JSON, and that a problem shows in the exit code."""

import json
from pathlib import Path

import pytest

from tiny_model import install
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
