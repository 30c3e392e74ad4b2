"""A folder under watch: nothing half-copied is begun, nothing is given twice, what is replaced is given again."""

import os
import shutil
import time
from pathlib import Path

import pytest

from vsalient.errors import OptionError
from vsalient.scale.watch import Watch


def collect(watch: Watch, seconds: float) -> list[str]:
    found, until = [], time.monotonic() + seconds
    while time.monotonic() < until:
        found += [path.name for path in watch.new()]
        time.sleep(0.02)
    return found


def test_only_what_is_complete_is_given_and_once(tmp_path: Path) -> None:
    watch = Watch([str(tmp_path)], settled=0.3)
    assert collect(watch, 0.2) == []
    for name in ("b.mp4", "a.mp4", "c.mp4", "empty.mp4", ".hidden.mp4"):
        (tmp_path / name).write_bytes(b"" if name == "empty.mp4" else b"film")
    (tmp_path / "c.mp4.part").touch()
    growing = tmp_path / "growing.mp4"
    found = []
    for size in range(1, 8):
        growing.write_bytes(bytes(size))
        found += collect(watch, 0.12)
    assert found == ["a.mp4", "b.mp4"]
    (tmp_path / "c.mp4.part").unlink()
    assert sorted(collect(watch, 1.0)) == ["c.mp4", "growing.mp4"]
    shutil.copyfile(growing, tmp_path / "a.mp4")
    os.utime(tmp_path / "b.mp4", (1e9, 1e9))
    assert collect(watch, 1.0) == ["a.mp4", "b.mp4"]
    assert collect(watch, 0.5) == []


def test_a_folder_of_frames_is_complete_when_no_more_come(tmp_path: Path) -> None:
    watch = Watch([str(tmp_path)], settled=0.3)
    folder = tmp_path / "bear"
    folder.mkdir()
    found = []
    for number in range(5):
        (folder / f"{number}.png").write_bytes(b"png")
        found += collect(watch, 0.12)
    assert found == [] and collect(watch, 1.0) == ["bear"]


def test_only_folders_can_be_watched(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="--watch needs folders"):
        Watch([str(tmp_path / "none")])
