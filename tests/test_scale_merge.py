"""`vsalient merge`: what many workers did, and what is missing."""

import json
from pathlib import Path

import pytest

from vsalient.cli.app import main
from vsalient.scale.manifest import ManifestWriter, read_manifest


@pytest.fixture
def manifests(tmp_path: Path) -> list[Path]:
    """Two of three shares: c was broken off, d failed and then went well, e failed, a was done by both."""
    first, second = tmp_path / "run-1.jsonl", tmp_path / "run-2.jsonl"
    out = tmp_path / "out"
    out.write_bytes(b"maps")
    with ManifestWriter(first, settings="aa", asked={}, resolved={"share": "1/3"}) as writer:
        for name in "abd":
            writer.begin(name, {"video": out})
            state = "failed" if name == "d" else "done"
            writer.end(name, state, outputs={"video": out}, error="no codec", frames=10, seconds=2.0)
        writer.begin("c", {"video": out})
    with ManifestWriter(second, settings="aa", asked={}, resolved={"share": "3/3"}) as writer:
        for name in "ade":
            writer.begin(name, {"video": out})
            writer.end(name, "failed" if name == "e" else "done", outputs={}, error="[red]no[/x] sound", frames=10)
    return [first, second]


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(["merge", *arguments])
    assert isinstance(end.value.code, int)
    return end.value.code


def test_what_is_missing_is_said(
    manifests: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "videos").mkdir()
    for name in "az":
        (tmp_path / "videos" / f"{name}.mp4").touch()
    monkeypatch.chdir(tmp_path)
    assert run(*map(str, manifests), "--inputs", "videos", "-o", "all.jsonl", "--json") == 1
    figures = json.loads(capsys.readouterr().out)
    assert figures["states"] == {"done": 3, "failed": 1, "interrupted": 1} and figures["frames"] == 30
    assert figures["failed"] == {"e": "[red]no[/x] sound"} and figures["interrupted"] == ["c"]
    assert figures["missing"] == ["videos/a.mp4", "videos/z.mp4"] and figures["missing_shares"] == ["2/3"]
    assert figures["done_twice"] == {"a": 2} and figures["settings"] == ["aa"] and not figures["complete"]
    merged = read_manifest(tmp_path / "all.jsonl")
    assert {name: entry.state for name, entry in merged.entries.items()} == dict.fromkeys("abd", "done") | {
        "e": "failed"
    }
    assert run(*map(str, manifests)) == 1
    out = capsys.readouterr().out
    assert out.startswith("5 inputs in 2 manifests: 3 done, 1 failed, 1 interrupted\n")
    assert "failed: e: [red]no[/x] sound" in out and "missing shares: 2/3" in out and "done more than once: a" in out


def test_a_complete_run_is_zero(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "run.jsonl"
    with ManifestWriter(path, settings="aa", asked={}, resolved={"share": "1/1"}) as writer:
        writer.begin("a", {})
        writer.end("a", "done", outputs={})
    assert run(str(path)) == 0
    path.write_bytes(path.read_bytes() + b'{"torn')
    assert run(str(path)) == 0
    assert f"cut-off last lines: {path}" in capsys.readouterr().out
    assert run(str(tmp_path / "none.jsonl")) == 1 and "is no file" in capsys.readouterr().err
