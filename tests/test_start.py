"""Whenever a signal comes, the exit code says so: while the program is imported, at work, and as it ends."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tiny_model import install, write_clip

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals")
PROGRAM = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from vsalient.cli.start import main
print("ready", flush=True)
def prepare():
    import vsalient.models
    vsalient.models.ARCHITECTURES["red"] = ("tiny_model", "RedNet")
import vsalient.cli.start as start
run = start._run
start._run = lambda *given: (prepare(), run(*given))[1]
main()
"""


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    install(monkeypatch, tmp_path / "home")
    monkeypatch.chdir(tmp_path)
    write_clip(tmp_path / "clip.mp4", 12)
    return tmp_path


def begin(*arguments: str) -> "subprocess.Popen[str]":
    program = [sys.executable, "-c", PROGRAM, *arguments]
    process = subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    return process


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_while_the_program_is_imported_and_at_work(place: Path, number: signal.Signals) -> None:
    for pause in (0.02, 0.1, 0.3, 0.7, 1.5):
        process = begin("predict", "clip.mp4", "--overwrite")
        time.sleep(pause)
        process.send_signal(number)
        _, error = process.communicate(timeout=60)
        assert process.returncode in (128 + number, 0), (pause, error)
        assert "Traceback" not in error
        assert process.returncode == 0 or "Interrupted" in error
        assert not [path.name for path in place.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_as_the_program_ends(place: Path, number: signal.Signals) -> None:
    for pause in (0.0, 0.005, 0.02):
        process = begin("predict", "clip.mp4", "--overwrite", "-q")
        assert process.stdout is not None and process.stdout.readline() == "clip_saliency.mp4\n"
        time.sleep(pause)
        process.send_signal(number)
        _, error = process.communicate(timeout=60)
        assert process.returncode in (128 + number, 0), (pause, error)
        assert "Traceback" not in error and (place / "clip_saliency.mp4").exists()


def test_the_exit_code_of_a_full_disk_behind_stdout() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "vsalient", "--help"], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 1 and "Traceback" not in done.stderr
