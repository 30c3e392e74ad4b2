"""The sweeper: what killed runs left goes, what is anybody else's stays."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vsalient import staging
from vsalient.cli.app import main
from vsalient.staging import owner_lives, publish, staged_name
from vsalient.sweeping import CLAIMS, fence, sweep

MAKE = "import sys; from pathlib import Path; from vsalient.staging import staged_name\nfor name in sys.argv[1:]:\n"


def killed(*names: Path, hold: bool = False) -> "subprocess.Popen[str]":
    """A process that stages a file for each name; it has died by then, unless it is to be held."""
    program = MAKE + "    path = staged_name(Path(name)); path.write_bytes(b'half'); print(path, flush=True)\n"
    program += "input()\n" if hold else ""
    process = subprocess.Popen(
        [sys.executable, "-c", program, *map(str, names)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    if not hold:
        process.wait(timeout=60)
    return process


def test_only_the_dead_are_swept(tmp_path: Path) -> None:
    dead = killed(tmp_path / "x.mp4")
    alive = killed(tmp_path / "x.mp4", hold=True)
    assert alive.stdout is not None and dead.stdout is not None
    living = Path(alive.stdout.readline().strip())
    left = Path(dead.stdout.read().strip())
    own = staged_name(tmp_path / "y.png")
    own.mkdir()
    strangers = [tmp_path / name for name in (".x.0badcafe.mp4", "x.mp4", ".x.vsalient-run-12")]
    for path in strangers:
        path.write_bytes(b"mine")
    link = left.with_name(left.name.replace(".x.", ".link."))
    link.symlink_to(strangers[1])
    assert [leftover.path for leftover in sweep([tmp_path], dry_run=True)] == [left] and left.exists()
    found = sweep([tmp_path, tmp_path, tmp_path / "missing"])
    assert [(leftover.path, leftover.size) for leftover in found] == [(left, 4)]
    assert not left.exists() and living.exists() and own.exists() and link.is_symlink()
    assert all(path.read_bytes() == b"mine" for path in strangers)
    alive.kill()
    alive.wait()
    assert [leftover.path for leftover in sweep([tmp_path])] == [living]


def test_what_another_machine_left_must_be_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "_machine_mark", lambda: "00000000")
    path = staged_name(tmp_path / "film.png")
    path.mkdir()
    (path / "1.png").write_bytes(b"12345")
    monkeypatch.undo()
    assert owner_lives("00000000-1-1") is None
    assert sweep([tmp_path]) == []
    os.utime(path, (1e9, 1e9))
    assert sweep([tmp_path]) == [], "a folder counts as fresh while a file in it is"
    os.utime(path / "1.png", (1e9, 1e9))
    assert [leftover.size for leftover in sweep([tmp_path])] == [5] and not path.exists()


def test_a_fenced_owner_cannot_publish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = staged_name(tmp_path / "a.mp4")
    monkeypatch.setattr(staging, "owner_stamp", lambda: "00000000-1-1")
    theirs, other = staged_name(tmp_path / "a.mp4"), staged_name(tmp_path / "b.mp4")
    monkeypatch.undo()
    for path in (mine, theirs, other):
        path.touch()
    fence(tmp_path / "a.mp4")
    with pytest.raises(FileNotFoundError):
        publish(theirs, tmp_path / "a.mp4")
    publish(mine, tmp_path / "a.mp4")
    publish(other, tmp_path / "b.mp4")


def clean(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(["clean", *arguments])
    assert isinstance(end.value.code, int)
    return end.value.code


def test_clean_by_hand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    process = killed(inner / "x.mp4")
    assert process.stdout is not None
    left = process.stdout.read().strip()
    assert clean(str(tmp_path)) == 0 and capsys.readouterr().out == "Nothing to remove.\n"
    assert clean(str(tmp_path), "-r", "--dry-run") == 0
    assert capsys.readouterr().out == f"{left}\n1 leftovers would be removed, 0.0 MB\n" and Path(left).exists()
    assert clean(str(tmp_path), "-r", "--json") == 0
    assert json.loads(capsys.readouterr().out)["removed"] == [{"path": left, "bytes": 4}] and not Path(left).exists()
    assert clean(str(tmp_path / "none")) == 1
    assert "is no folder" in capsys.readouterr().err


def test_what_is_kept_on_purpose_goes_by_hand_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, claims = tmp_path / ".film.vsalient-run-1a", tmp_path / CLAIMS / "ab"
    run.mkdir()
    claims.mkdir(parents=True)
    (run / "0.piece").write_bytes(b"maps")
    held = claims / f"x-{12 * '0'}.1"
    held.write_bytes(b"{}")
    assert sweep([tmp_path]) == []
    assert clean(str(tmp_path), "--runs", "--claims") == 0 and run.exists() and held.exists(), "somebody may be at work"
    past = time.time() - 90_000
    for path in (run / "0.piece", held):
        os.utime(path, (past, past))
    assert clean(str(tmp_path), "--runs") == 0 and not run.exists() and held.exists()
    assert clean(str(tmp_path), "--claims") == 0 and not (tmp_path / CLAIMS).exists()
