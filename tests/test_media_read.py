"""Videos as sources: frames, times, colours, rotation, damage, ranges."""

import gc
import itertools
import logging
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from media_files import packets, ramp, read_pts, write_video, zero_packet
from vsalient.errors import DecodeError, InputError, OptionError
from vsalient.media import open_source
from vsalient.types import Frame

PICTURES = [ramp(i) for i in range(12)]
CORNERS = {"red": (220, 30, 30), "green": (30, 220, 30), "blue": (30, 30, 220)}


def read(path: Path, **options: float) -> list[Frame]:
    with open_source(path, **options) as source:
        return list(source)


def brightness(frames: list[Frame]) -> list[int]:
    """The ramp's step each frame shows: the picture's index when all is well."""
    return [round((float(frame.pixels[24, 32].mean()) - 40) / 8) for frame in frames]


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.mp4", "libx264", {"bf": "2"}),
        ("a.mkv", "libx264", {"bf": "2"}),
        ("a.avi", "mpeg4", {"bf": "2"}),
        ("a.avi", "libx264", {"bf": "3"}),
        ("a.ts", "mpeg2video", {"bf": "2"}),
        ("a.ts", "libx264", {"bf": "2"}),
        ("a.webm", "libvpx", {"auto-alt-ref": "1", "lag-in-frames": "8"}),
        ("a.webm", "libvpx-vp9", {}),
        ("a.mpg", "mpeg1video", {"bf": "2"}),
        ("a.h264", "libx264", {"bf": "2"}),
        ("a.mov", "prores_ks", {}),
        ("a.flv", "flv1", {}),
    ],
)
def test_every_picture_comes_once_in_order(tmp_path: Path, name: str, codec: str, options: dict[str, str]) -> None:
    pixel_format = "yuv422p10le" if codec == "prores_ks" else "yuv420p"
    path = write_video(tmp_path / name, PICTURES, codec=codec, options=options, pixel_format=pixel_format)
    frames = read(path)
    assert brightness(frames) == list(range(12))
    assert [frame.index for frame in frames] == list(range(12))
    assert not any(frame.corrupt for frame in frames)
    times = [frame.pts * frame.time_base for frame in frames]
    assert [round(float((b - a) * 25), 1) for a, b in itertools.pairwise(times)] == [1.0] * 11


def test_variable_rate_times_are_exact(tmp_path: Path) -> None:
    pts = [0, 7, 30, 31, 32, 90, 100, 170, 171, 300, 301, 500]
    path = write_video(tmp_path / "vfr.mp4", PICTURES, pts=pts, time_base=Fraction(1, 600), options={"bf": "2"})
    frames = read(path)
    assert [frame.pts * frame.time_base for frame in frames] == [Fraction(p, 600) for p in pts]


def test_transport_stream_time_begins_at_zero(tmp_path: Path) -> None:
    pts = [132000 + 3600 * i for i in range(12)]
    path = write_video(tmp_path / "a.ts", PICTURES, pts=pts, time_base=Fraction(1, 90000))
    assert read_pts(path)[0] > 0
    frames = read(path)
    assert [frame.pts for frame in frames] == [3600 * i for i in range(12)]
    assert brightness(read(path, start=0.2)) == list(range(5, 12))


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("hflip", [False, True])
def test_rotation_and_mirroring(tmp_path: Path, rotation: int, hflip: bool) -> None:
    path = write_video(tmp_path / "r.mp4", PICTURES[:2], rotation=rotation, hflip=hflip)
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        expected = frame.to_ndarray(format="rgb24")
    # FFmpeg turns first, then mirrors what is seen.
    expected = np.rot90(expected, rotation // 90)
    if hflip:
        expected = expected[:, ::-1]
    with open_source(path) as source:
        pixels = next(iter(source)).pixels
        assert (source.info.height, source.info.width) == pixels.shape[:2]
        if not hflip:
            assert source.info.rotation == rotation
    assert np.abs(pixels.astype(int) - expected).max() <= 3


@pytest.mark.parametrize("matrix", [1, 5, 9])
@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("pixel_format", ["yuv444p", "yuv420p10le", "yuv422p"])
def test_tagged_colours(tmp_path: Path, matrix: int, full_range: bool, pixel_format: str) -> None:
    picture = np.kron(np.random.default_rng(0).integers(0, 256, (6, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    path = write_video(
        tmp_path / "c.mkv", [picture], codec="ffv1", pixel_format=pixel_format, matrix=matrix, full_range=full_range
    )
    with open_source(path) as source:
        pixels = next(iter(source)).pixels
        assert source.info.color_space == {1: "bt709", 5: "bt601", 9: "bt2020"}[matrix]
        assert source.info.full_range is full_range
        assert source.info.bit_depth == (10 if "10" in pixel_format else 8)
    assert np.abs(pixels.astype(int) - picture)[4::8, 4::8].max() <= 3


@pytest.mark.parametrize(("size", "matrix", "name"), [((1280, 64), 1, "bt709"), ((320, 64), 5, "bt601")])
def test_untagged_colours_go_by_size(tmp_path: Path, size: tuple[int, int], matrix: int, name: str) -> None:
    picture = np.zeros((size[1], size[0], 3), np.uint8)
    picture[:] = (40, 180, 90)
    path = write_video(tmp_path / "c.mkv", [picture], codec="ffv1", pixel_format="yuv444p", matrix=matrix, tag=False)
    with open_source(path) as source:
        assert np.abs(next(iter(source)).pixels.astype(int) - picture).max() <= 2
        assert source.info.color_space == name


def test_odd_sizes_and_rgb(tmp_path: Path) -> None:
    picture = ramp(0, 61, 47)
    path = write_video(tmp_path / "o.mkv", [picture], codec="ffv1", pixel_format="bgr0")
    (frame,) = read(path)
    assert np.array_equal(frame.pixels, picture)


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("a.mkv", "libvpx-vp9"), ("a.mp4", "libx265")])
def test_a_lost_packet_repeats_the_last_good_picture(tmp_path: Path, name: str, codec: str) -> None:
    path = write_video(tmp_path / name, PICTURES, codec=codec, options={"bf": "0", "x265-params": "log-level=none"})
    zero_packet(path, 5)
    with open_source(path) as source:
        frames = list(source)
        assert source.corrupt_frames == sum(frame.corrupt for frame in frames)
    assert len(frames) == 12
    damaged = [frame.index for frame in frames if frame.corrupt]
    # The HEVC decoder also says which later pictures lack their reference, and patches them up.
    assert damaged[0] == 5 and (codec == "libx265" or len(damaged) == 1)
    assert np.array_equal(frames[5].pixels, frames[4].pixels)
    assert [frame.pts * frame.time_base for frame in frames] == [Fraction(i, 25) for i in range(12)]


def test_loss_before_any_picture_shows_the_next_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_video(tmp_path / "a.mkv", PICTURES, codec="mjpeg", pixel_format="yuvj420p")
    for number in (0, 1, 7):
        zero_packet(path, number)
    with caplog.at_level(logging.WARNING):
        frames = read(path)
    assert brightness(frames) == [2, 2, 2, 3, 4, 5, 6, 6, 8, 9, 10, 11]
    assert [frame.index for frame in frames if frame.corrupt] == [0, 1, 7]
    assert "3 of 12 frames were damaged" in caplog.text


def test_loss_without_exact_times_keeps_the_count(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.avi", PICTURES, codec="mpeg4", options={"bf": "0"})
    zero_packet(path, 5)
    frames = read(path)
    assert len(frames) == 12
    assert [frame.index for frame in frames if frame.corrupt] == [5]


@pytest.mark.parametrize("refused", [False, True])
def test_loss_without_any_times_keeps_the_count(tmp_path: Path, refused: bool) -> None:
    path = write_video(tmp_path / "a.h264", PICTURES, options={"bf": "0"})
    data, payload = path.read_bytes(), packets(path)[5]
    # The parser would swallow zeros: keep the start code, damage the slice or its header.
    damage = b"\x9a" + payload[:5:-1] if refused else payload[5:6] + b"\xff" * (len(payload) - 6)
    path.write_bytes(data.replace(payload, payload[:5] + damage))
    frames = read(path)
    assert len(frames) == 12
    assert any(frame.corrupt for frame in frames)
    assert [frame.pts * frame.time_base for frame in frames] == [Fraction(i, 25) for i in range(12)]


def test_truncated_file_gives_what_is_there(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pictures = [np.random.default_rng(i).integers(0, 255, (48, 64, 3), np.uint8) for i in range(12)]
    options = {"movflags": "faststart"}
    path = write_video(tmp_path / "t.mp4", pictures, options={"bf": "2"}, container_options=options)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.6)])
    with caplog.at_level(logging.WARNING):
        frames = read(path)
    assert 4 <= len(frames) < 12
    assert "cut short" in caplog.text


def test_edit_list_hides_packets(tmp_path: Path) -> None:
    # B-frames give the mp4 muxer negative decoding times, hence an edit list; the first picture is at zero.
    path = write_video(tmp_path / "e.mp4", PICTURES, options={"bf": "3"})
    assert read(path)[0].pts == 0


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("text.mp4", b"hello world\n" * 200, "it holds text"),
        ("notes.txt", b"hello world\n" * 200, "text"),
        ("empty.mp4", b"", "empty"),
        ("noise.mkv", np.random.default_rng(0).bytes(20000), "not a video"),
    ],
)
def test_files_that_are_no_video(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DecodeError, match=words) as caught:
        open_source(path)
    assert name in str(caught.value) and "\n" not in str(caught.value)


def test_missing_index(tmp_path: Path) -> None:
    path = write_video(tmp_path / "m.mp4", PICTURES)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DecodeError, match="moov"):
        open_source(path)


def test_missing_file_and_audio_only(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        open_source(tmp_path / "none.mp4")
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("aac", rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4800), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 48000
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    with pytest.raises(DecodeError, match="only audio"):
        open_source(path)


def test_every_packet_destroyed(tmp_path: Path) -> None:
    path = write_video(tmp_path / "d.mkv", PICTURES[:3], codec="mjpeg", pixel_format="yuvj420p")
    for number in range(3):
        zero_packet(path, number)
    with pytest.raises(DecodeError, match="not one picture"):
        open_source(path)


def test_range_is_by_presentation_time(tmp_path: Path) -> None:
    options = {"g": "4", "bf": "2"}
    path = write_video(tmp_path / "r.mp4", PICTURES, options=options)
    frames = read(path, start=0.24, end=0.4)
    assert brightness(frames) == [6, 7, 8, 9]
    assert [frame.index for frame in frames] == [0, 1, 2, 3]
    assert frames[0].pts * frames[0].time_base == Fraction(6, 25)
    assert brightness(read(path, end=0.08)) == [0, 1]
    assert brightness(read(path, start=0.41)) == [11]


def test_impossible_ranges(tmp_path: Path) -> None:
    path = write_video(tmp_path / "r.mp4", PICTURES)
    with pytest.raises(InputError, match="no frame from 5 s"):
        open_source(path, start=5)
    with pytest.raises(OptionError, match="not after start"):
        open_source(path, start=2, end=1)
    with pytest.raises(OptionError, match="negative"):
        open_source(path, start=-1)


def test_facts_and_a_picture_named_mp4(tmp_path: Path) -> None:
    path = write_video(tmp_path / "f.mp4", PICTURES, audio_seconds=0.5)
    with open_source(path) as source:
        info = source.info
    assert (info.width, info.height, info.codec, info.rate, info.has_audio) == (64, 48, "h264", 25, True)
    assert info.frames_estimate == 12 and info.pixel_format == "yuv420p"
    still = write_video(tmp_path / "s.png", PICTURES[:1], codec="png", pixel_format="rgb24", time_base=Fraction(1, 25))
    (named,) = read(still.rename(tmp_path / "still.mp4"))
    assert np.array_equal(named.pixels, PICTURES[0])


def test_iterating_goes_on_where_it_stopped(tmp_path: Path) -> None:
    path = write_video(tmp_path / "f.mp4", PICTURES)
    with open_source(path) as source:
        first = next(iter(source))
        assert [first.index, *(frame.index for frame in source)] == list(range(12))


def test_decoded_pictures_do_not_wait_for_the_garbage_collector(tmp_path: Path) -> None:
    """One in a reference cycle holds its planes: at 1080p, three hundred of them are a gigabyte."""
    path = write_video(tmp_path / "a.mp4", [ramp(i % 12) for i in range(60)], rotation=90)
    gc.collect()
    gc.disable()
    try:
        assert len(read(path)) == 60
        left = sum(type(thing) is av.VideoFrame for thing in gc.get_objects())
    finally:
        gc.enable()
    assert left <= 3
