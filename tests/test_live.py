"""Live: a map is there before the film goes on, from a pipe that stands for a camera to another program."""

import json
import os
import subprocess
import sys
import threading
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tiny_model import for_children, install, stripe_mask, stripes, write_clip
from vsalient.cli import main
from vsalient.clips import ClipPlanner
from vsalient.errors import OptionError
from vsalient.priors import prior_stream
from vsalient.procedure import plan_procedure
from vsalient.types import Frame


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    return int(stop.value.code or 0)


@given(frames=st.integers(1, 40), length=st.integers(1, 8), data=st.data())
def test_clips_end_at_the_newest_frame_and_every_frame_has_one_map(
    frames: int, length: int, data: st.DataObject
) -> None:
    overlap = data.draw(st.integers(0, length - 1))
    stride = length - overlap
    planner = ClipPlanner(length, overlap, live=True)
    kept: list[int] = []
    for index in range(frames):
        before = planner.reads_from
        for clip in planner.push(index):
            assert clip.indices[-1] == index and min(clip.indices) >= before
            assert clip.outputs is not None and len(clip.indices) == length
            kept += [clip.indices[slot] for slot in clip.outputs]
            assert planner.writes_from == index + 1
        assert index + 1 - len(set(kept)) < stride  # nobody waits for more than a stride
    before = planner.reads_from
    for clip in planner.finish():
        assert clip.indices[-1] == frames - 1 and min(clip.indices) >= before
        assert clip.outputs is not None
        kept += [clip.indices[slot] for slot in clip.outputs]
    assert sorted(set(kept)) == list(range(frames))
    # Only the frame before the first and the one behind the last, which fill clips up, count more than once.
    assert all(kept.count(index) == 1 for index in range(1, frames - 1))


def test_live_priors_are_there_with_their_frame() -> None:
    rng = np.random.default_rng(0)
    ground, thing = (
        cv2.GaussianBlur(rng.integers(0, 256, size, np.uint8), (0, 0), 1.5) for size in ((96, 160, 3), (32, 32, 3))
    )
    frames = []
    for index in range(6):
        pixels = ground.copy()
        pixels[30:62, 20 + 4 * index : 52 + 4 * index] = thing
        frames.append(Frame(pixels, index, index, Fraction(1, 25)))
    stream = prior_stream(("residual",))
    stream.live = True
    found = [stream.push(frame) for frame in frames]
    assert [[index for index, _ in known] for known in found] == [[0], [1], [2], [3], [4], [5]]
    assert stream.finish() == []
    assert not found[0][0][1]["residual"].any()  # nothing to measure the first frame against
    for index in range(1, 6):
        maps = cv2.resize(found[index][0][1]["residual"], (160, 96))
        inside = maps[34:58, 24 + 4 * index : 48 + 4 * index].mean()
        assert inside > 0.5 and maps.mean() < 0.4 * inside


def test_what_does_not_go_with_live(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    film = write_clip(tmp_path / "in.mp4", 6)
    for extra, name in (
        (["--fast"], "fast"),
        (["--interval", "2"], "an interval"),
        (["--tail", "shift"], "a tail policy"),
    ):
        assert run("predict", str(film), "--live", *extra) == 1
        said = capsys.readouterr().err
        assert f"live does not go with {name}: leave one of the two out" in said and said.count("\n") == 1


def test_a_live_procedure_has_short_clips_and_no_cuts() -> None:
    from vsalient.checkpoints import find_entry

    lite, stan = find_entry("3dc-lite"), find_entry("stan-s")
    plan = plan_procedure(lite, live=True)
    assert (plan.clip_length, plan.overlap, plan.cuts, plan.live) == (4, 2, False, True)
    assert plan_procedure(lite, live=True, clip_length=8, overlap=7).overlap == 7
    assert plan_procedure(stan, live=True).overlap == 3  # one clip a frame as ever
    with pytest.raises(OptionError, match="paper"):
        plan_procedure(find_entry("3dc-seg"), live=True, protocol="paper")


def test_files_of_a_live_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install(monkeypatch, tmp_path)
    film = write_clip(tmp_path / "in.mp4", 11)
    assert run("predict", str(film), "-w", "maps", "-o", str(tmp_path / "o"), "--live", "--json") == 0
    (done,) = json.loads(capsys.readouterr().out)["inputs"]
    middle, most = done["delay_seconds"]
    assert 0 < middle <= most
    files = sorted(path for path in (tmp_path / "o").rglob("*.png"))
    assert len(files) == 11
    for index, file in enumerate(files):
        assert ((np.asarray(Image.open(file)) > 127) == stripe_mask(index)).mean() > 0.98


@pytest.mark.slow
def test_maps_come_while_the_film_goes_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The writer sends frame k + 5 only once the map of frame k is there: whoever waits for more waits for ever."""
    install(monkeypatch, tmp_path)
    for_children(monkeypatch)
    pipe, count, ahead = tmp_path / "camera.ts", 30, 5
    os.mkfifo(pipe)
    seen = threading.Semaphore(ahead + 20)  # what the demuxer looks at before it begins
    late: list[int] = []

    def feed() -> None:
        with pipe.open("wb", buffering=0) as file:
            container = av.open(file, "w", format="mpegts", container_options={"flush_packets": "1"})
            stream = container.add_stream("libx264", rate=25, options={"tune": "zerolatency", "preset": "ultrafast"})
            stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv444p"
            for index, pixels in enumerate(stripes(count + 20)):
                if not seen.acquire(timeout=60):
                    late.append(index)
                frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
                frame.pts, frame.time_base = index, Fraction(1, 25)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
            container.close()

    feeder = threading.Thread(target=feed, daemon=True)
    feeder.start()
    command = [sys.executable, "-m", "vsalient", "predict", str(pipe), "--live", "-o", "-", "-q"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        with av.open(child.stdout, format="nut", options={"probesize": "32", "analyzeduration": "0"}) as container:
            maps = []
            for frame in container.decode(video=0):
                maps.append(frame.to_ndarray(format="gray"))
                seen.release()
        assert child.wait(60) == 0
    feeder.join(60)
    assert not late and len(maps) == count + 20
    assert all(((values > 127) == stripe_mask(index)).mean() > 0.95 for index, values in enumerate(maps))
