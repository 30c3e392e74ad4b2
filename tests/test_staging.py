"""Names of what is being written: who owns them, how they become final, and what is swept."""

import os
import threading
from pathlib import Path

import pytest

from vsalient import staging
from vsalient.staging import guarded, owner_lives, owner_stamp, publish, staged_name


def test_names_are_hidden_random_and_short(tmp_path: Path) -> None:
    first, second = staged_name(tmp_path / "a b.mp4"), staged_name(tmp_path / "a b.mp4")
    assert first != second and first.name.startswith(".a b.vsalient-") and first.suffix == ".mp4"
    assert owner_stamp() in first.name
    long = staged_name(tmp_path / ("ü" * 120 + ".mp4"))
    long.touch()
    assert len(os.fsencode(long.name)) < 255


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


def test_a_check_stands_before_every_publishing(tmp_path: Path) -> None:
    path = staged_name(tmp_path / "a.mp4")
    path.touch()

    def check() -> None:
        raise PermissionError("taken over")

    with guarded(check), pytest.raises(PermissionError, match="taken over"):
        publish(path, tmp_path / "a.mp4")
    publish(path, tmp_path / "a.mp4")
