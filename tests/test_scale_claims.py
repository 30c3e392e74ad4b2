"""Claims: workers that know nothing of each other do every input once, whoever dies, stops or wakes."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vsalient.errors import OutputError
from vsalient.scale.claims import FOLDER, ClaimLost, Claims
from vsalient.staging import publish, staged_name

WORKER = """
import os, sys, time
from pathlib import Path
from vsalient.scale.claims import Claims
from vsalient.staging import publish, staged_name
folder, count, patience, seconds = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])
with Claims("settings", patience=patience) as claims:
    claims.prepare([folder])
    left = list(range(count))
    while left:
        for number in list(left):
            outputs = {"video": folder / f"{number}.mp4"}
            state, claim = claims.take(str(number), outputs)
            if state == "busy":
                continue
            left.remove(number)
            if claim is None:
                continue
            staged = staged_name(outputs["video"])
            staged.write_text(f"{number} half")
            print("at", number, flush=True)
            time.sleep(seconds)
            try:
                staged.write_text(f"{number} whole") if staged.exists() else None
                with claim.guarding():
                    publish(staged, outputs["video"], overwrite=claim.again)
                print("did", number, flush=True)
                claims.done(claim, outputs)
            except OSError as error:
                print("lost", number, error, flush=True)
                claims.release(claim)
            except Exception as error:
                print("lost", number, type(error).__name__, flush=True)
                claims.release(claim)
        time.sleep(0.05)
print("end", flush=True)
"""


def worker(folder: Path, count: int, patience: float = 1.0, seconds: float = 0.03) -> "subprocess.Popen[str]":
    arguments = [str(folder), str(count), str(patience), str(seconds)]
    return subprocess.Popen([sys.executable, "-c", WORKER, *arguments], stdout=subprocess.PIPE, text=True)


def did(process: "subprocess.Popen[str]") -> list[str]:
    return [line.split()[1] for line in process.communicate(timeout=120)[0].splitlines() if line.startswith("did")]


def test_workers_at_once_do_everything_once(tmp_path: Path) -> None:
    workers = [worker(tmp_path, 40) for _ in range(4)]
    done = [number for process in workers for number in did(process)]
    assert all(process.returncode == 0 for process in workers)
    assert sorted(done, key=int) == [str(number) for number in range(40)], "each once"
    assert {path.name for path in tmp_path.iterdir()} == {FOLDER, *(f"{number}.mp4" for number in range(40))}
    records = [path for path in (tmp_path / FOLDER).rglob("*") if path.is_file()]
    assert len(records) == 40 and all(path.suffix == ".done" for path in records)


def test_what_the_killed_held_is_taken_over(tmp_path: Path) -> None:
    workers = [worker(tmp_path, 30) for _ in range(3)]
    choose = random.Random(1)
    for _ in range(6):
        time.sleep(0.3)
        victim = workers.pop(choose.randrange(len(workers)))
        os.kill(victim.pid, signal.SIGKILL)
        victim.communicate()
        workers.append(worker(tmp_path, 30))
    for process in workers:
        process.communicate(timeout=120)
        assert process.returncode == 0
    assert [(tmp_path / f"{number}.mp4").read_text() for number in range(30)] == [f"{n} whole" for n in range(30)]


def test_an_owner_that_wakes_does_not_publish(tmp_path: Path) -> None:
    sleeper = worker(tmp_path, 1, patience=0.6, seconds=0.2)
    assert sleeper.stdout is not None
    assert sleeper.stdout.readline().strip() == "at 0"
    os.kill(sleeper.pid, signal.SIGSTOP)
    taker = worker(tmp_path, 1, patience=0.6)
    assert did(taker) == ["0"]
    before = (tmp_path / "0.mp4").stat()
    os.kill(sleeper.pid, signal.SIGCONT)
    out = sleeper.communicate(timeout=60)[0]
    assert "lost 0" in out and "did" not in out and sleeper.returncode == 0
    after = (tmp_path / "0.mp4").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def outputs_of(folder: Path) -> dict[str, Path]:
    return {"video": folder / "x.mp4", "masks": folder / "x_masks"}


def test_states_of_an_input(tmp_path: Path) -> None:
    outputs = outputs_of(tmp_path)
    with Claims("aa") as first, Claims("aa") as second, Claims("bb") as other, Claims("bb", redo_other=True) as redo:
        for claims in (first, second, other, redo):
            claims.prepare([tmp_path])
        state, claim = first.take("x", outputs)
        assert state == "taken" and claim is not None and not claim.again and first.knows(outputs)
        assert second.take("x", outputs) == ("busy", None)
        claim.check()
        first.release(claim)
        state, claim = second.take("x", outputs)
        assert claim is not None and not claim.again
        outputs["video"].write_bytes(b"maps")
        second.done(claim, outputs)
        assert first.take("x", outputs) == ("done", None)
        with pytest.raises(OutputError, match="made with other settings"):
            other.take("x", outputs)
        state, claim = redo.take("x", outputs)
        assert claim is not None and claim.again
        redo.failed(claim, "no such codec")
        assert other.take("x", outputs)[0] == "failed"
    with Claims("bb") as later:
        later.prepare([tmp_path])
        time.sleep(0.02)
        assert later.take("x", outputs)[0] == "taken", "a later run tries what failed"


def test_outputs_that_are_gone_are_made_again(tmp_path: Path) -> None:
    outputs = outputs_of(tmp_path)
    with Claims("aa") as claims:
        _, claim = claims.take("x", outputs)
        assert claim is not None
        outputs["video"].write_bytes(b"maps")
        claims.done(claim, outputs)
        outputs["video"].unlink()
        state, claim = claims.take("x", outputs)
        assert state == "taken" and claim is not None and claim.again


def test_a_claim_taken_away_is_lost(tmp_path: Path) -> None:
    outputs = outputs_of(tmp_path)
    with Claims("aa", patience=600) as sleeping, Claims("aa", patience=0.01) as taker:
        _, claim = sleeping.take("x", outputs)
        assert claim is not None
        record = tmp_path / FOLDER / claim.place
        held = json.loads(record.read_text())
        record.write_text(json.dumps(held | {"owner": "00000000-1-1"}))  # another machine: only its heart-beat tells
        os.utime(record, (time.time() - 1, time.time() - 1))
        staged = staged_name(outputs["video"])
        staged.touch()
        state, taken = taker.take("x", outputs)
        assert state == "taken" and taken is not None and taken.generation == 2 and taken.again
        with pytest.raises(ClaimLost), claim.guarding():
            publish(staged, outputs["video"])
        sleeping.done(claim, outputs)
        taken.check()
        taker.done(taken, outputs)
        assert sleeping.take("x", outputs)[0] == "done"


def test_a_folder_that_cannot_be_written_is_an_error_before_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with Claims("aa") as claims, pytest.raises(OutputError, match="claims cannot be written to"):
        claims.prepare([tmp_path / "file"])
