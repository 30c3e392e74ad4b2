"""Every bad input: one clear line, a non-zero exit code, no traceback, nothing half-written, the others still done."""

import contextlib
import errno
import os
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from checkpoint_helpers import foreign_state
from media_files import read_pts, write_video, zero_packet
from tiny_model import install, stripes, write_clip
from vsalient.cli.app import main


@pytest.fixture(autouse=True)
def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    install(monkeypatch, tmp_path / "home")
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(["predict", *arguments])
    assert isinstance(end.value.code, int)
    return end.value.code


def everything(folder: Path) -> set[str]:
    """All files and folders, hidden ones too."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def sound_only(path: Path) -> None:
    with av.open(str(path), "w") as out:
        stream = out.add_stream("aac", rate=48000)
        for number in range(20):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 960), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 48000, number * 960, Fraction(1, 48000)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def truncated(path: Path) -> None:
    whole = write_clip(path, 30).read_bytes()
    path.write_bytes(whole[: len(whole) * 6 // 10])


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing.mp4": (lambda path: None, "does not exist"),
    "text.mp4": (lambda path: path.write_text("this is no video\n" * 50), "not a video"),
    "empty.mp4": (lambda path: path.touch(), "empty"),
    "empty": (lambda path: path.mkdir(), "no videos and no pictures"),
    "truncated.mp4": (truncated, "cut short"),
    "sound.m4a": (sound_only, "only audio"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_input_is_one_line_and_leaves_nothing(name: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make, words = BAD[name]
    make(place / name)
    before = everything(place)
    assert run(name) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("Error: ") and printed.err.count("\n") == 1, printed.err
    assert name in printed.err and words in printed.err
    assert everything(place) == before


def test_the_others_of_the_batch_are_done(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, (make, _) in BAD.items():
        make(place / name)
    write_clip(place / "good.mp4", 3)
    before = everything(place)
    assert run(*BAD, "good.mp4", "--keep-going", "-q") == 1
    printed = capsys.readouterr()
    assert printed.out == "good_saliency.mp4\n"
    lines = printed.err.splitlines()
    assert len(lines) == len(BAD) and all(line.startswith("Error: ") for line in lines)
    assert everything(place) - before == {"good_saliency.mp4"}


def test_no_frame_in_the_range(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_clip(place / "short.mp4", 5)
    assert run("short.mp4", "--start", "60") == 1
    assert "short.mp4 has no frame from 60 s" in capsys.readouterr().err
    assert everything(place) == {"short.mp4"}


def test_a_video_cut_short_yields_what_is_there_and_says_so(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = {"movflags": "faststart"}
    path = write_video(place / "cut.mp4", stripes(40), options={"crf": "4", "bf": "0"}, container_options=options)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 7 // 10])
    write_clip(place / "good.mp4", 3)
    assert run("cut.mp4", "good.mp4") == 1, "an honest exit code"
    printed = capsys.readouterr()
    assert printed.out.split() == ["cut_saliency.mp4", "good_saliency.mp4"]
    assert "cut.mp4 ends early" in printed.err and "partial cut.mp4" in printed.err
    assert 5 < len(read_pts(place / "cut_saliency.mp4")) < 40
    assert run("cut.mp4", "-q", "--overwrite") == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_a_damaged_frame_is_counted_and_the_frame_count_kept(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_video(place / "hurt.mkv", stripes(30), options={"bf": "0", "g": "5", "crf": "4"})
    zero_packet(path, 12)
    assert run("hurt.mkv", "--json") == 0
    assert '"corrupt_frames": 0' not in capsys.readouterr().out
    assert len(read_pts(place / "hurt_saliency.mp4")) == 30


def test_an_unknown_model_is_suggested(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_clip(place / "in.mp4", 1)
    assert run("in.mp4", "-m", "3dc-sge") == 1
    assert "did you mean 3dc-seg" in capsys.readouterr().err
    assert run("in.mp4", "-m", "nothing.safetensors") == 1
    assert "nothing.safetensors" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"head.weight": torch.zeros(1, 3, 1, 1, 1)}, "head.bias"),
        ({"head.weight": torch.zeros(1, 3, 1, 1, 2), "head.bias": torch.zeros(1)}, "head.weight"),
        (foreign_state(), "old.kernel"),
    ],
)
def test_a_wrong_checkpoint_names_its_keys(
    state: dict[str, torch.Tensor], words: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_clip(place / "in.mp4", 1)
    torch.save(state, place / "wrong.pth")
    assert run("in.mp4", "--weights", "wrong.pth") == 1
    printed = capsys.readouterr()
    assert words in printed.err and "wrong.pth" in printed.err and printed.err.count("\n") == 1
    (place / "text.pth").write_text("not a checkpoint")
    assert run("in.mp4", "--weights", "text.pth") == 1
    assert "text.pth" in capsys.readouterr().err
    write_clip(place / "other.mp4", 1)
    assert run("in.mp4", "other.mp4", "--weights", "text.pth", "--keep-going") == 1
    assert capsys.readouterr().err.count("\n") == 1, "said once, not for every input"
    assert everything(place) == {"in.mp4", "other.mp4", "wrong.pth", "text.pth"}


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is read-only for root")
def test_a_read_only_folder_is_seen_before_work(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_clip(place / "in.mp4", 1)
    (place / "out").mkdir(mode=0o500)
    assert run("in.mp4", "-o", "out/") == 1
    printed = capsys.readouterr()
    assert "no permission to write" in printed.err and printed.err.count("\n") == 1


def test_a_folder_that_cannot_be_written_to(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_clip(place / "in.mp4", 1)
    monkeypatch.setattr("os.access", lambda path, mode, **options: Path(path).resolve().name != "work")
    for kind in ("video", "maps"):
        assert run("in.mp4", "-w", kind, "-o", "out/") == 1
        printed = capsys.readouterr()
        assert "no permission to write" in printed.err and printed.err.count("\n") == 1
    (place / "file").write_text("in the way")
    assert run("in.mp4", "-o", "file/out") == 1
    assert "is a file, not a folder" in capsys.readouterr().err
    assert everything(place) == {"in.mp4", "file"}


@contextlib.contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Writing further fails as on a full disk, with another number."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.skipif(sys.platform == "win32", reason="needs file size limits")
def test_a_disk_that_is_full_for_a_video(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (20, 64, 96, 3), dtype=np.uint8)
    write_video(place / "in.mkv", list(noise), codec="ffv1", pixel_format="bgr0")
    (place / "out").mkdir()
    for kind, suffix in [("video", "mkv"), ("overlay", "mp4"), ("alpha", "webm")]:
        with files_of_at_most(4096):
            code = run("in.mkv", "-w", f"{kind},maps", "-o", "out/{stem}_{kind}.{ext}", "--lossless")
        printed = capsys.readouterr()
        errors = [line for line in printed.err.splitlines() if line.startswith("Error")]
        assert code == 1 and printed.out == "" and "Traceback" not in printed.err
        assert len(errors) == 1 and f"in_{kind}.{suffix} cannot be written" in errors[0], errors
        assert everything(place / "out") == set()


def test_a_disk_that_is_full_for_pictures(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_clip(place / "in.mp4", 40)
    count = 0

    def failing(path: Path, content: bytes) -> int:
        nonlocal count
        count += 1
        if count > 5:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return len(content)

    monkeypatch.setattr(Path, "write_bytes", failing)
    assert run("in.mp4", "-w", "maps,video") == 1
    printed = capsys.readouterr()
    assert "in_maps" in printed.err and "the disk is full" in printed.err and "Traceback" not in printed.err
    assert everything(place) == {"in.mp4"}


def test_transparency_in_mp4_is_refused_before_work(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_clip(place / "in.mp4", 1)
    assert run("in.mp4", "--write", "alpha", "-o", "cut_out.mp4") == 1
    printed = capsys.readouterr()
    assert ".webm or .mov" in printed.err and printed.err.count("\n") == 1
