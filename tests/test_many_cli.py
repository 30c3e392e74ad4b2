"""Many videos through the real command line: manifests, shares, claims, processes, a folder under watch."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from media_files import read_pts
from tiny_model import for_children, install, write_clip
from vsalient.cli.app import main
from vsalient.scale.manifest import read_manifest
from vsalient.staging import STAGED


@pytest.fixture(autouse=True)
def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A working folder with a folder of videos, and the default model replaced, in children too."""
    install(monkeypatch, tmp_path / "home")
    for_children(monkeypatch)
    folder = tmp_path / "work"
    (folder / "in").mkdir(parents=True)
    monkeypatch.chdir(folder)
    return folder


def clips(count: int, frames: int = 5) -> list[str]:
    first = write_clip(Path("in/0.mp4"), frames)
    for number in range(1, count):
        Path(f"in/{number}.mp4").write_bytes(first.read_bytes())
    return [f"in/{number}.mp4" for number in range(count)]


def run(*arguments: str, verb: str = "predict") -> int:
    with pytest.raises(SystemExit) as end:
        main([verb, *arguments])
    assert isinstance(end.value.code, int)
    return end.value.code


def start(*arguments: str, **environment: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "vsalient", "predict", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def wait_for(path: Path, process: "subprocess.Popen[str] | None" = None) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline and (process is None or process.poll() is None)
        time.sleep(0.02)


def states(path: str = "run.jsonl") -> dict[str, str]:
    return {name: entry.state for name, entry in read_manifest(Path(path)).entries.items()}


def whole(folder: Path, count: int, frames: int = 5) -> bool:
    """Every output is there and complete, and nothing half-written is left."""
    assert sorted(p.name for p in folder.glob("*.mp4")) == sorted(f"{n}_saliency.mp4" for n in range(count))
    assert not [p for p in folder.iterdir() if STAGED.fullmatch(p.name)]
    return all(len(read_pts(p)) == frames for p in folder.glob("*.mp4"))


def test_a_rerun_goes_on_from_the_manifest(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = clips(3)
    Path("in/1.mp4").write_bytes(b"garbage")
    common = ("in", "-o", "out", "--manifest", "run.jsonl", "--keep-going")
    assert run(*common, "--json") == 1
    assert states() == {names[0]: "done", names[1]: "failed", names[2]: "done"}
    ends = [json.loads(line) for line in Path("run.jsonl").read_text().splitlines()]
    head, end = ends[0], ends[2]
    assert head["record"] == "run" and head["asked"]["model"] == "3dc-lite" and len(head["asked"]["weights"]) == 64
    assert end["frames"] == 5 and end["engine"].startswith("cpu") and end["stage_seconds"] and end["size"] > 0
    assert end["outputs"] == {
        "video": {"path": "out/0_saliency.mp4", "size": Path("out/0_saliency.mp4").stat().st_size}
    }
    before = Path("out/0_saliency.mp4").stat().st_mtime_ns
    Path("in/1.mp4").write_bytes(Path("in/0.mp4").read_bytes())
    Path("out/2_saliency.mp4").write_bytes(b"cut")
    capsys.readouterr()
    assert run(*common) == 0
    said = capsys.readouterr()
    assert "in/0.mp4: skipped, done before" in said.err and "in/0.mp4" not in said.out
    assert Path("out/0_saliency.mp4").stat().st_mtime_ns == before and whole(Path("out"), 3)
    assert set(states().values()) == {"done"}


def test_other_settings_are_refused_or_done_again(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clips(1)
    common = ("in", "-o", "out", "--manifest", "run.jsonl")
    assert run(*common, "--device", "cpu") == 0
    assert run(*common) == 0, "where it runs is no setting"
    capsys.readouterr()
    assert run(*common, "--flip") == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "run.jsonl is of other settings (flip: None there, True now)" in error
    before = Path("out/0_saliency.mp4").stat().st_mtime_ns
    assert run(*common, "--flip", "--skip-existing") == 0
    assert Path("out/0_saliency.mp4").stat().st_mtime_ns != before, "what was made with other settings is made again"
    assert run(*common, "--flip", "-q") == 0


def test_outputs_that_no_manifest_knows_are_safe(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clips(2)
    Path("out").mkdir()
    Path("out/1_saliency.mp4").write_bytes(b"mine")
    for more in ((), ("--claim",)):
        assert run("in", "-o", "out", "--manifest", "run.jsonl", *more) == 1
        assert "out/1_saliency.mp4 exists" in capsys.readouterr().err
    assert Path("out/1_saliency.mp4").read_bytes() == b"mine" and not Path("out/0_saliency.mp4").exists()


def test_a_killed_run_is_finished_by_the_next(place: Path) -> None:
    clips(4, frames=40)
    common = ("in", "-o", "out", "-w", "video,maps", "--manifest", "run.jsonl")
    process = start(*common, RED_SECONDS="0.05")
    wait_for(Path("out/0_saliency.mp4"), process)
    time.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert len([state for state in states().values() if state == "done"]) < 4
    assert run(*common) == 0
    assert set(states().values()) == {"done"}
    assert whole(Path("out"), 4, 40) and all(len(list(Path(f"out/{n}_maps").iterdir())) == 40 for n in range(4))


def test_what_was_done_is_told_when_a_scheduler_ends_the_run(place: Path) -> None:
    clips(4, frames=40)
    process = start("in", "-o", "out", "--json", "--manifest", "run.jsonl", RED_SECONDS="0.05")
    wait_for(Path("out/1_saliency.mp4"), process)
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    out, error = process.communicate(timeout=60)
    assert process.returncode == 143 and "Interrupted" in error
    summary = json.loads(out)
    assert summary["interrupted"] and [i["state"] for i in summary["inputs"]][:1] == ["done"]
    assert "interrupted" in states().values()


def test_shares_together_are_the_whole(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = clips(7)
    done = []
    for index in (1, 2, 3):
        assert run("in", "-o", "out", "--shard", f"{index}/3", "--manifest", "run-{shard}.jsonl", "-q") == 0
        done += list(states(f"run-{index}-3.jsonl"))
    assert sorted(done) == names and whole(Path("out"), 7)
    assert run(*(f"run-{index}-3.jsonl" for index in (1, 2, 3)), "--inputs", "in", verb="merge") == 0
    assert "7 inputs in 3 manifests: 7 done" in capsys.readouterr().out
    assert run("in", "--shard", "4/3") == 1
    assert "outside its range" in capsys.readouterr().err


def test_workers_with_claims_do_everything_once(place: Path) -> None:
    names = clips(12, frames=10)
    common = ("in", "-o", "out", "--claim", "--claim-timeout", "2", "--manifest", "run-{pid}.jsonl", "-q")
    workers = [start(*common, RED_SECONDS="0.02") for _ in range(3)]
    wait_for(Path("out/0_saliency.mp4"))
    workers[0].send_signal(signal.SIGKILL)
    workers[0].communicate()
    for worker in workers[1:]:
        error = worker.communicate(timeout=120)[1]
        assert worker.returncode == 0, error
    assert whole(Path("out"), 12, 10)
    manifests = [states(str(path)) for path in Path().glob("run-*.jsonl")]
    done = [name for manifest in manifests for name, state in manifest.items() if state == "done"]
    assert set(names) <= {*done} and len(done) <= len(names) + 1, "at most the killed one's last input was done again"
    assert run(*common) == 0


def test_jobs_write_the_same_files(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clips(6)
    Path("in/3.mp4").write_bytes(b"garbage")
    for folder, jobs in (("one", "1"), ("two", "2")):
        code = run(
            "in",
            "-o",
            folder,
            "-w",
            "masks,csv",
            "--jobs",
            jobs,
            "--keep-going",
            "--manifest",
            f"{folder}.jsonl",
            verb="segment",
        )
        assert code == 1
        printed = capsys.readouterr()
        assert len(printed.out.splitlines()) == 10 and "3.mp4" in printed.err
    first, second = (
        {p.relative_to(f): p.read_bytes() for p in Path(f).rglob("*") if p.is_file()} for f in ("one", "two")
    )
    assert first == second and len(first) > 10
    assert states("one.jsonl") == states("two.jsonl")


def test_what_takes_too_long_is_given_up_and_tried_again(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clips(2)
    os.mkfifo("in/pipe.mp4")  # nobody writes: a read never ends
    assert (
        run("in/0.mp4", "in/pipe.mp4", "in/1.mp4", "-o", "out", "--timeout", "4", "--retries", "1", "--keep-going") == 1
    )
    error = capsys.readouterr().err
    assert "in/pipe.mp4 took longer than 4 s (--timeout)" in error and "2 of 3 inputs succeeded" in error
    assert whole(Path("out"), 2)


def test_a_worker_that_dies_is_replaced(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clips(3, frames=40)
    monkeypatch.setenv("RED_SECONDS", "0.05")
    process = start("in", "-o", "out", "--jobs", "2", "--retries", "2", "--manifest", "run.jsonl")
    wait_for(Path("run.jsonl"))
    for _ in range(2):
        wait_for(Path("out"))
        time.sleep(1)
        children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout.split()
        if children:
            os.kill(int(children[0]), signal.SIGKILL)
    error = process.communicate(timeout=120)[1]
    assert process.returncode == 0, error
    assert whole(Path("out"), 3, 40) and set(states().values()) == {"done"}


def test_a_folder_under_watch(place: Path) -> None:
    process = start("in", "-o", "out", "--watch", "--manifest", "run.jsonl")
    wait_for(Path("run.jsonl"))
    ready = write_clip(place / "film.mp4", 5).read_bytes()
    growing = Path("in/a.mp4")
    growing.write_bytes(ready[:2000])
    time.sleep(1)
    growing.write_bytes(ready)
    wait_for(Path("out/a_saliency.mp4"), process)
    Path("in/b.mp4").write_bytes(b"garbage")
    Path("in/c.mp4").write_bytes(ready)
    wait_for(Path("out/c_saliency.mp4"), process)
    until = time.monotonic() + 30
    while states().get("in/c.mp4") != "done" and time.monotonic() < until:  # the file is there before its line
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    error = process.communicate(timeout=60)[1]
    assert process.returncode == 143 and "in/b.mp4" in error
    assert states() == {"in/a.mp4": "done", "in/b.mp4": "failed", "in/c.mp4": "done"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--shard", "auto"], "finds no Slurm array"),
        (["--manifest", "in"], "in cannot be"),
        (["--manifest", "{x}.jsonl"], "is no template"),
        (["--manifest", "in/0.mp4"], "is no record of a manifest"),
        (["--claim", "-o", "file"], "file"),
        (["--watch", "-o", "in"], "which is watched"),
        (["--address", "auto"], "--address is for --runner ray"),
    ],
)
def test_bad_options_are_one_line_before_any_work(
    place: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    clips(1)
    Path("file").write_bytes(b"x")
    assert run("in", *arguments) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and words in error, error
