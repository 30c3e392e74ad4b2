"""Inputs that are no plain file names: stdin, addresses, numbered pictures; which frames; and names that are odd."""

import http.server
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from media_files import blob, ramp, write_video
from vsalient.cli.shared.options import SECONDS_TYPE
from vsalient.errors import InputError, OptionError
from vsalient.media import find_sources, open_source
from vsalient.outputs import open_output
from vsalient.types import Result

FILM = [ramp(i) for i in range(12)]


def run(*words: str | bytes, stdin: bytes | None = None, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "vsalient", *words],
        input=stdin,
        capture_output=True,
        env={**os.environ, **environment},
        check=False,
        timeout=120,
    )


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return write_video(tmp_path / "film.mkv", [picture * 0 + 9 * i for i, picture in enumerate(FILM)], codec="ffv1",
                       pixel_format="bgr0")  # fmt: skip


def test_every_and_limit(tmp_path: Path) -> None:
    film = write_video(tmp_path / "f.mp4", FILM, audio_seconds=0.48)
    with open_source(film, every=3, limit=3) as source:
        frames = list(source)
        assert source.info.frames_estimate == 3 and source.info.rate == Fraction(25, 3)
        with open_output("overlay", tmp_path / "o.mp4", source.info, source=film) as out:
            for frame in frames:
                out.write(Result(frame, blob()))
    assert [frame.index for frame in frames] == [0, 1, 2]
    assert [frame.pts * frame.time_base * 25 for frame in frames] == [0, 3, 6]
    assert [(frame.duration or 0) * frame.time_base * 25 for frame in frames] == [3, 3, 3]
    with open_source(tmp_path / "o.mp4") as source:
        assert source.info.duration == pytest.approx(0.36, abs=0.03)  # the sound ends with the pictures
    with open_source(film, limit=12) as source:
        assert len(list(source)) == 12
    with pytest.raises(OptionError, match="--every 0"):
        open_source(film, every=0)


@pytest.mark.parametrize(
    ("text", "seconds"), [("2.5", 2.5), ("00:01", 1), ("1:02:03.5", 3723.5), ("90", 90), ("01:30", 90)]
)
def test_times(text: str, seconds: float) -> None:
    assert SECONDS_TYPE.convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["abc", "1:2:3:4", "1:75", "1.5:00", ""])
def test_no_times(text: str) -> None:
    from click import BadParameter

    with pytest.raises(BadParameter, match="no time"):
        SECONDS_TYPE.convert(text, None, None)


def test_numbered_pictures(tmp_path: Path) -> None:
    folder = tmp_path / "shots"
    folder.mkdir()
    for number in (1, 2, 10):
        Image.fromarray(ramp(number)).save(folder / f"a{number:03d}.png")
    Image.fromarray(ramp(0)).save(folder / "other.png")
    (source,) = find_sources([folder / "a%03d.png"])
    with open_source(source) as frames:
        assert [frame.name for frame in frames] == ["a001", "a002", "a010"]
    with pytest.raises(InputError, match="does not exist"):
        find_sources([folder / "b%03d.png"])


def test_a_film_and_a_list_on_stdin(tmp_path: Path, film: Path) -> None:
    done = run("segment", "--maps", str(film), "-", "-o", str(tmp_path / "b"), stdin=film.read_bytes())
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "b" / "stdin_masks").iterdir())) == 12
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        names = f"{film}\r\n\r\n".encode(encoding)
        done = run("segment", "--maps", str(film), "-", "-o", str(tmp_path / encoding), stdin=names)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / encoding / "film_masks").is_dir()
    done = run("segment", "--maps", str(film), "-", stdin=b"")
    assert done.returncode == 1 and done.stderr.count(b"\n") == 1 and b"stdin is empty" in done.stderr


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    write_video(tmp_path / "a b.mp4", FILM, container_options={"movflags": "faststart"}, audio_seconds=0.48)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_addresses(tmp_path: Path, address: str) -> None:
    (source,) = find_sources([f"{address}/a%20b.mp4"])
    with open_source(source) as video:
        frames = list(video)
        with open_output("overlay", tmp_path / "o.mp4", video.info, source=source) as out:
            for frame in frames:
                out.write(Result(frame, blob()))
        assert len(frames) == 12 and not video.cut_short
    with open_source(tmp_path / "o.mp4") as video:
        assert video.info.has_audio
    with pytest.raises(InputError, match="cannot be read"):
        open_source(find_sources([f"{address}/none.mp4"])[0])
    with pytest.raises(InputError, match="gopher://x/y is an address of a kind that is not read"):
        find_sources(["gopher://x/y"])
    (local,) = find_sources([f"file://{tmp_path}/a%20b.mp4"])
    assert local == tmp_path / "a b.mp4"


def test_equal_stems_and_odd_names(tmp_path: Path, film: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("IMG.MOV", "IMG.mkv", "[red]x [b] :smile: \x1b[31m.mkv", "bad \x1b[1m [x].mkv"):
        (folder / name).write_bytes(film.read_bytes() if "bad" not in name else b"no film")
    films = [word for path in sorted(folder.iterdir()) for word in ("--maps", str(path))]
    done = run("segment", *films, "--keep-going", "-v", "-o", str(tmp_path / "{stem}_{suffix}_{kind}"))
    text = done.stderr.decode()
    assert done.returncode == 1 and "3 of 4 inputs succeeded" in text
    assert "\x1b" not in text and r"[red]x [b] :smile: \x1b[31m.mkv" in text
    assert (tmp_path / "IMG_MOV_masks").is_dir() and (tmp_path / "IMG_mkv_masks").is_dir()
    done = run("segment", *films[:4], "-o", str(tmp_path / "once"))
    assert done.returncode == 1 and b"{suffix}" in done.stderr


def test_names_that_are_no_utf8_and_other_terminals(tmp_path: Path, film: Path) -> None:
    name = os.fsencode(tmp_path) + b"/n\xff\xf6.mkv"
    Path(os.fsdecode(name)).write_bytes(film.read_bytes())
    done = run(b"segment", b"--maps", name, b"--json", b"-o", os.fsencode(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert json.dumps(summary, ensure_ascii=False).encode()  # strict UTF-8
    odd = tmp_path / "größe ↓ 😀.mkv"
    odd.write_bytes(film.read_bytes())
    done = run("segment", "--maps", str(odd), "-o", str(tmp_path / "o2"), PYTHONIOENCODING="cp1252")
    assert done.returncode == 0, done.stderr


def test_a_name_too_long_is_one_line(tmp_path: Path, film: Path) -> None:
    done = run("segment", "--maps", str(film), "-o", str(tmp_path / ("x" * 300)))
    assert done.returncode == 1 and done.stderr.count(b"\n") == 1 and b"too long" in done.stderr
    done = run("segment", "--maps", "y" * 300 + ".mp4")
    assert done.returncode == 1 and done.stderr.count(b"\n") == 1


def test_half_of_the_frames_by_the_command(tmp_path: Path, film: Path) -> None:
    done = run("segment", "--maps", str(film), "-o", str(tmp_path / "o"), "--every", "2", "--limit", "4")
    assert done.returncode == 0, done.stderr
    masks = sorted((tmp_path / "o" / "film_masks").iterdir())
    assert len(masks) == 4
    assert np.asarray(Image.open(masks[0])).shape == (48, 64)


@pytest.mark.parametrize(("kind", "form"), [("mask-video", "gray"), ("overlay", "rgb24"), ("alpha", "rgba")])
def test_a_video_on_stdout(tmp_path: Path, film: Path, kind: str, form: str) -> None:
    done = run("segment", str(film), "--maps", str(film), "-w", kind, "-o", "-", "-q")
    assert done.returncode == 0, done.stderr
    with av.open(io.BytesIO(done.stdout)) as container:
        frames = list(container.decode(video=0))
    assert len(frames) == 12 and frames[0].format.name == form
    assert [round(float(frame.time) * 25) for frame in frames] == list(range(12))
    done = run("segment", "--maps", str(film), "-w", "masks", "-o", "-")
    assert done.returncode == 1 and b"one video to stdout" in done.stderr
