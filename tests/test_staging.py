"""Names of what is being written: who owns them, how they become final, and what is swept."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from vsalient import staging
from vsalient.staging import fence, guarded, owner_lives, owner_stamp, publish, staged_name, sweep

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


def test_names_are_hidden_random_and_short(tmp_path: Path) -> None:
    first, second = staged_name(tmp_path / "a b.mp4"), staged_name(tmp_path / "a b.mp4")
    assert first != second and first.name.startswith(".a b.vsalient-") and first.suffix == ".mp4"
    assert owner_stamp() in first.name
    long = staged_name(tmp_path / ("ü" * 120 + ".mp4"))
    long.touch()
    assert len(os.fsencode(long.name)) < 255


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
    monkeypatch.setattr(staging, "_place", lambda: "00000000")
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


def test_a_number_that_is_used_again_is_another_process() -> None:
    place, pid, start = owner_stamp().split("-")
    assert owner_lives(f"{place}-{pid}-{start}") is True
    assert owner_lives(f"{place}-{pid}-{int(start) + 1}") is False


@pytest.mark.parametrize("renames", [True, False], ids=["renameat2", "without"])
def test_of_two_runs_the_quicker_one_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renames: bool) -> None:
    if not renames:
        monkeypatch.setattr(staging, "_renameat2", lambda: None)
    final, won = tmp_path / "out.mp4", []
    staged = [staged_name(final) for _ in range(8)]
    for number, path in enumerate(staged):
        path.write_text(str(number))

    def finish(path: Path) -> None:
        try:
            publish(path, final)
        except FileExistsError:
            return
        won.append(path)

    threads = [threading.Thread(target=finish, args=(path,)) for path in staged]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1 and final.read_text() == str(staged.index(won[0]))
    loser = next(path for path in staged if path not in won)
    publish(loser, final, overwrite=True)
    assert final.read_text() == str(staged.index(loser))


@pytest.mark.parametrize("renames", [True, False], ids=["renameat2", "without"])
def test_folders_are_replaced_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renames: bool) -> None:
    if not renames:
        monkeypatch.setattr(staging, "_renameat2", lambda: None)
    final = tmp_path / "masks"
    final.mkdir()
    for number in range(3):
        staged = staged_name(final)
        staged.mkdir()
        (staged / f"{number}.png").write_bytes(b"")
        if number == 1:
            with pytest.raises(FileExistsError):
                publish(staged, final)
        publish(staged, final, overwrite=number > 0)
        assert [path.name for path in final.iterdir()] == [f"{number}.png"]
    assert [path.name for path in tmp_path.iterdir()] == ["masks"]


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


def test_a_check_stands_before_every_publishing(tmp_path: Path) -> None:
    path = staged_name(tmp_path / "a.mp4")
    path.touch()

    def check() -> None:
        raise PermissionError("taken over")

    with guarded(check), pytest.raises(PermissionError, match="taken over"):
        publish(path, tmp_path / "a.mp4")
    publish(path, tmp_path / "a.mp4")
