"""Outputs: pictures, times, colours, sound and alpha come back; nothing half-written is left."""

import logging
import os
import resource
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from media_files import blob, ramp, read_pts, write_video
from vsalient.errors import OptionError, OutputError
from vsalient.matte.options import MatteOptions
from vsalient.media import open_source
from vsalient.outputs import KINDS, Looks, check_output, open_output
from vsalient.outputs.png import encode_png
from vsalient.types import Binarise, Frame, Result, SaliencyArray, VideoInfo, halve

VIDEO_OUTPUTS = [name for name, kind in KINDS.items() if ".mov" in kind.endings]
VFR = [0, 7, 30, 31, 32, 90, 100, 170]
PICTURES = [ramp(i) for i in range(len(VFR))]


def maps(info: VideoInfo, count: int) -> list[SaliencyArray]:
    return [blob(info.width, info.height, at=10 + 4 * i) for i in range(count)]


RAW = MatteOptions(style="raw")


def convert(
    kind: str, source: Path, path: Path, *, binarise: Binarise = halve, overwrite: bool = False, **looks: object
) -> list[SaliencyArray]:
    """Read `source` and write one output with moving blobs as its saliency."""
    with open_source(source) as video:
        frames = list(video)
        saliency = maps(video.info, len(frames))
        look = Looks(**looks)  # type: ignore[arg-type]
        with open_output(kind, path, video.info, source=source, overwrite=overwrite, looks=look) as out:
            for frame, one in zip(frames, saliency, strict=True):
                out.write(Result(frame, one, binarise=binarise))
    return saliency


def levels(path: Path, fmt: str = "gray", decoder: str | None = None) -> list[NDArray[np.uint8]]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        if decoder is None:
            return [frame.to_ndarray(format=fmt) for frame in container.decode(stream)]
        context = av.CodecContext.create(decoder, "r")
        context.extradata = stream.codec_context.extradata
        packets = [*container.demux(stream), None]
        frames = [f for p in packets if p is None or p.size for f in context.decode(p)]
        return [frame.to_ndarray(format=fmt) for frame in frames]


def hidden(folder: Path) -> list[str]:
    return [p.name for p in folder.rglob("*") if p.name.startswith(".")]


@pytest.fixture
def vfr(tmp_path: Path) -> Path:
    return write_video(
        tmp_path / "vfr.mp4", PICTURES, pts=VFR, time_base=Fraction(1, 600), options={"bf": "2"}, audio_seconds=0.5
    )


@pytest.mark.parametrize("kind", list(VIDEO_OUTPUTS))
def test_every_video_has_the_frames_and_times_of_its_source(tmp_path: Path, vfr: Path, kind: str) -> None:
    for suffix in KINDS[kind].endings:
        if suffix in (".webp", ".gif"):  # animations know centiseconds and have tests of their own
            continue
        path = tmp_path / f"out{suffix}"
        convert(kind, vfr, path)
        times = read_pts(path)
        if suffix in (".mkv", ".webm"):  # whole milliseconds are all they know
            assert [round(t * 1000) for t in times] == [round(Fraction(p, 600) * 1000) for p in VFR]
        else:
            assert times == [Fraction(p, 600) for p in VFR]
    assert not hidden(tmp_path)


@pytest.mark.parametrize("size", [(64, 48), (61, 47)])
@pytest.mark.parametrize(("suffix", "tolerance"), [(".mkv", 0), (".mp4", 2), (".mov", 2)])
def test_levels_come_back(tmp_path: Path, size: tuple[int, int], suffix: str, tolerance: int) -> None:
    source = write_video(tmp_path / "s.mkv", [ramp(i, *size) for i in range(6)], codec="ffv1", pixel_format="bgr0")
    saliency = convert("video", source, tmp_path / f"out{suffix}")
    for fmt in ("gray", "rgb24"):
        for got, wanted in zip(levels(tmp_path / f"out{suffix}", fmt), saliency, strict=True):
            assert got.shape[:2] == size[::-1]
            wanted8 = np.round(wanted * 255).astype(int)
            error = np.abs(got.astype(int) - (wanted8 if got.ndim == 2 else wanted8[:, :, None]))
            assert error.max() <= tolerance


@pytest.mark.parametrize("size", [(64, 48), (61, 47)])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_colours_of_a_foreground_video(tmp_path: Path, size: tuple[int, int], suffix: str) -> None:
    picture = np.zeros((size[1], size[0], 3), np.uint8)
    picture[:] = (200, 60, 30)
    source = write_video(tmp_path / "s.mkv", [picture] * 3, codec="ffv1", pixel_format="bgr0")
    path = tmp_path / f"out{suffix}"
    convert("foreground", source, path, background=(20, 90, 220))
    with open_source(path) as video:
        frame = next(iter(video))
        assert video.info.color_space == "bt709" and not video.info.full_range
        assert 0 <= video.info.width - size[0] <= 1 and 0 <= video.info.height - size[1] <= 1
    assert np.abs(frame.pixels[24, 10].astype(int) - (200, 60, 30)).max() <= 4
    assert np.abs(frame.pixels[2, -2].astype(int) - (20, 90, 220)).max() <= 4


@pytest.mark.parametrize("kind", ["overlay", "heatmap"])
def test_overlays_change_the_object_most(tmp_path: Path, vfr: Path, kind: str) -> None:
    convert(kind, vfr, tmp_path / "out.mp4")
    before, after = levels(vfr, "rgb24")[0].astype(int), levels(tmp_path / "out.mp4", "rgb24")[0].astype(int)
    change = np.abs(after - before).sum(axis=2)
    assert change[20:28, 6:14].mean() > 2 * change[30:, 50:].mean()


def test_alpha_comes_back_from_webm(tmp_path: Path, vfr: Path) -> None:
    saliency = convert("alpha", vfr, tmp_path / "out.webm", matte=RAW)
    pictures = levels(tmp_path / "out.webm", "rgba", decoder="libvpx-vp9")
    assert len(pictures) == len(VFR)
    for got, wanted in zip(pictures, saliency, strict=True):
        assert np.abs(got[:, :, 3].astype(int) - np.round(wanted * 255)).mean() < 4
    assert np.abs(pictures[3][24, 16, :3].astype(int) - PICTURES[3][24, 16]).max() <= 12


def test_alpha_comes_back_from_prores(tmp_path: Path, vfr: Path) -> None:
    saliency = convert("alpha", vfr, tmp_path / "out.mov", matte=RAW)
    for got, wanted in zip(levels(tmp_path / "out.mov", "rgba"), saliency, strict=True):
        assert np.abs(got[:, :, 3].astype(int) - np.round(wanted * 255)).max() <= 1


@pytest.mark.parametrize(
    ("kind", "ending", "width", "expected"),
    [("overlay", ".mp4", 640, {"rc-lookahead": None}), ("overlay", ".mp4", 3840, {"rc-lookahead": "3"}),
     ("video", ".mp4", 3840, {"rc-lookahead": None}), ("alpha", ".webm", 3840, {"lag-in-frames": "0"})],
)  # fmt: skip
def test_encoders_look_few_large_pictures_ahead(
    tmp_path: Path, kind: str, ending: str, width: int, expected: dict[str, str | None]
) -> None:
    info = VideoInfo(tmp_path / "in.mp4", width, width * 9 // 16, Fraction(25), Fraction(1, 25))
    out = open_output(kind, tmp_path / f"out{ending}", info)
    options = out._encoder._stream.codec_context.options  # type: ignore[attr-defined]
    out.abort()
    assert {name: options.get(name) for name in expected} == expected


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_sound_is_copied_packet_by_packet(tmp_path: Path, vfr: Path, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    convert("overlay", vfr, path)
    wanted, got = read_pts(vfr, "audio"), read_pts(path, "audio")
    assert len(got) == len(wanted) > 20
    assert max(abs(a - b) for a, b in zip(got, wanted, strict=True)) <= Fraction(1, 1000)
    with av.open(str(path)) as container:
        assert container.streams.audio[0].codec_context.name == "aac"
    convert("overlay", vfr, path, audio=False, overwrite=True)
    with av.open(str(path)) as container:
        assert not container.streams.audio


def test_sound_is_encoded_anew_where_it_does_not_fit(tmp_path: Path, vfr: Path) -> None:
    convert("alpha", vfr, tmp_path / "out.webm")
    with av.open(str(tmp_path / "out.webm")) as container:
        stream = container.streams.audio[0]
        assert stream.codec_context.name in ("opus", "libopus")
        samples = sum(frame.samples for frame in container.decode(stream))
    assert abs(samples / 48000 - 0.5) < 0.1


def test_sound_that_mp4_does_not_know(tmp_path: Path) -> None:
    source = write_video(tmp_path / "s.wmv", PICTURES, codec="wmv2", audio_seconds=0.5, audio_codec="adpcm_ms")
    convert("overlay", source, tmp_path / "o.mp4")
    with av.open(str(tmp_path / "o.mp4")) as container:
        stream = container.streams.audio[0]
        assert stream.codec_context.name == "aac"
        assert abs(sum(frame.samples for frame in container.decode(stream)) / 48000 - 0.5) < 0.1


@pytest.mark.parametrize("codec", ["libopus", "flac"])
def test_sound_that_mov_refuses_with_its_header(tmp_path: Path, codec: str) -> None:
    source = write_video(tmp_path / "s.mkv", PICTURES, audio_seconds=0.5, audio_codec=codec)
    convert("overlay", source, tmp_path / "o.mov")
    with av.open(str(tmp_path / "o.mov")) as container:
        stream = container.streams.audio[0]
        assert stream.codec_context.name == "aac"
        assert abs(sum(frame.samples for frame in container.decode(stream)) / 48000 - 0.5) < 0.1


@pytest.mark.parametrize(("share", "words"), [(0.05, "of an unknown kind"), (0.6, "damaged packet of sound")])
def test_damaged_sound_does_not_stop_the_pictures(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, share: float, words: str
) -> None:
    source = write_video(tmp_path / "s.ts", [ramp(i) for i in range(20)], audio_seconds=0.8)
    data = bytearray(source.read_bytes())
    for at in range(188 * int(len(data) / 188 * share), len(data), 188):
        if (data[at + 1] & 0x1F) << 8 | data[at + 2] == 257:  # the muxer's number of the second stream
            data[at + 20 : at + 150] = b"\x55" * 130
    source.write_bytes(data)
    with caplog.at_level(logging.DEBUG, "vsalient.media.audio"):
        convert("overlay", source, tmp_path / "o.mp4")
    assert len(read_pts(tmp_path / "o.mp4")) == 20
    assert words in caplog.text


def test_a_cut_source_starts_at_zero_with_its_sound(tmp_path: Path) -> None:
    source = write_video(tmp_path / "s.mp4", [ramp(i) for i in range(25)], options={"g": "5"}, audio_seconds=1.0)
    with open_source(source, start=0.4, end=0.8) as video:
        frames = list(video)
        with open_output("overlay", tmp_path / "o.mp4", video.info, source=source, span=(0.4, 0.8)) as out:
            for frame in frames:
                out.write(Result(frame, blob()))
    assert read_pts(tmp_path / "o.mp4") == [Fraction(i, 25) for i in range(10)]
    sound = read_pts(tmp_path / "o.mp4", "audio")
    assert 0 <= sound[0] < 0.03 and 0.35 < sound[-1] < 0.4


def test_transport_stream_to_mp4_keeps_sound_and_picture_together(tmp_path: Path) -> None:
    pts = [132000 + 3600 * i for i in range(12)]
    source = write_video(tmp_path / "a.ts", [ramp(i) for i in range(12)], pts=pts, time_base=Fraction(1, 90000))
    convert("overlay", source, tmp_path / "o.mp4")
    assert read_pts(tmp_path / "o.mp4") == [Fraction(i, 25) for i in range(12)]


def test_rotated_source_is_written_upright(tmp_path: Path) -> None:
    source = write_video(tmp_path / "r.mp4", PICTURES, rotation=90)
    convert("overlay", source, tmp_path / "o.mp4")
    with av.open(str(tmp_path / "o.mp4")) as container:
        frame = next(container.decode(video=0))
        assert (frame.width, frame.height, frame.rotation) == (48, 64, 0)


def test_maps_and_masks(tmp_path: Path, vfr: Path) -> None:
    saliency = convert("maps", vfr, tmp_path / "deep" / "maps")
    convert("masks", vfr, tmp_path / "masks", binarise=lambda s: s > 0.9)
    convert("masks", vfr, tmp_path / "davis", mask_style="palette")
    names = [f"{i:05d}.png" for i in range(len(VFR))]
    for folder in ("deep/maps", "masks", "davis"):
        assert sorted(p.name for p in (tmp_path / folder).iterdir()) == names
    wanted = saliency[2]
    assert np.array_equal(np.asarray(Image.open(tmp_path / "deep/maps/00002.png")), np.round(wanted * 255))
    assert np.array_equal(np.asarray(Image.open(tmp_path / "masks/00002.png")), (wanted > 0.9) * 255)
    davis = Image.open(tmp_path / "davis/00002.png")
    assert davis.mode == "P" and np.array_equal(np.asarray(davis), wanted >= 0.5)
    assert davis.getpalette()[:9] == [0, 0, 0, 128, 0, 0, 0, 128, 0]  # type: ignore[index]


def test_maps_of_a_frame_folder_keep_the_names(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("b_2", "b_10"):
        Image.fromarray(ramp(0)).save(tmp_path / "in" / f"{name}.jpg")
    with open_source(tmp_path / "in") as source, open_output("maps", tmp_path / "out", source.info) as out:
        for frame in source:
            out.write(Result(frame, blob()))
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"b_2.png", "b_10.png"}


@pytest.mark.parametrize("shape", [(1, 1), (3, 1), (1, 5), (37, 53)])
def test_png_encoder_is_exact(tmp_path: Path, shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, shape).astype(np.uint8)
    (tmp_path / "a.png").write_bytes(encode_png(pixels))
    image = Image.open(tmp_path / "a.png")
    assert image.mode == "L" and np.array_equal(np.asarray(image), pixels)


@pytest.mark.parametrize("kind", ["video", "overlay", "alpha", "maps", "masks"])
def test_an_error_leaves_nothing(tmp_path: Path, vfr: Path, kind: str) -> None:
    target = tmp_path / "new" / ("out.mov" if kind in ("alpha", "video", "overlay") else "out")
    with open_source(vfr) as source, pytest.raises(KeyError), open_output(kind, target, source.info, source=vfr) as out:
        out.write(Result(next(iter(source)), blob()))
        assert not target.exists()
        raise KeyError
    assert not target.exists() and not hidden(tmp_path)


@pytest.mark.parametrize("kind", ["overlay", "maps"])
def test_what_exists_is_kept_unless_told(tmp_path: Path, vfr: Path, kind: str) -> None:
    path = tmp_path / ("out.mp4" if kind == "overlay" else "out")
    convert(kind, vfr, path)
    with pytest.raises(OutputError, match="exists already"):
        convert(kind, vfr, path)
    if kind == "maps":
        (path / "99999.png").write_bytes(b"old")
    convert(kind, vfr, path, overwrite=True)
    assert not (path / "99999.png").exists()
    if kind == "maps":
        (path / "notes.txt").write_text("mine")
        convert(kind, vfr, path, overwrite=True)
        assert (path / "notes.txt").read_text() == "mine" and (path / "00003.png").exists()
    assert not hidden(tmp_path)


def test_checks_come_before_the_work(tmp_path: Path, vfr: Path) -> None:
    with pytest.raises(OptionError, match=r"alpha.*\.mp4.*\.webm or \.mov"):
        check_output("alpha", tmp_path / "a.mp4")
    with pytest.raises(OptionError, match="the input itself"):
        check_output("overlay", vfr, source=vfr, overwrite=True)
    with pytest.raises(OptionError, match="is unknown"):
        check_output("painting", tmp_path / "a.mp4")
    with pytest.raises(OutputError, match="is a file, not a folder"):
        check_output("video", vfr / "sub" / "a.mp4")
    with pytest.raises(OutputError, match="is a folder"):
        (tmp_path / "dir.mp4").mkdir()
        check_output("video", tmp_path / "dir.mp4")
    check_output("video", tmp_path / "not" / "yet" / "there.mp4")
    assert not (tmp_path / "not").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_read_only_folder(tmp_path: Path) -> None:
    (tmp_path / "ro").mkdir(mode=0o555)
    with pytest.raises(OutputError, match="no permission"):
        check_output("video", tmp_path / "ro" / "a.mp4")


def test_read_only_folder_found_while_opening(tmp_path: Path, vfr: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    with open_source(vfr) as source:
        monkeypatch.setattr(Path, "mkdir", refuse)
        for kind, name in (("video", "a.mp4"), ("maps", "a")):
            with pytest.raises(OutputError, match=r"cannot be written: permission denied"):
                open_output(kind, tmp_path / "new" / name, source.info)


_FULL_DISK = """
import resource, sys
from pathlib import Path
import numpy as np
from vsalient.errors import OutputError
from vsalient.outputs import open_output
from vsalient.types import Frame, Result, VideoInfo
from fractions import Fraction
limit, kind, path = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
info = VideoInfo(Path("x"), 64, 48, Fraction(25), Fraction(1, 25))
rng = np.random.default_rng(0)
try:
    with open_output(kind, path, info) as out:
        for i in range(12):
            frame = Frame(rng.integers(0, 256, (48, 64, 3)).astype(np.uint8), i, i, Fraction(1, 25))
            out.write(Result(frame, rng.random((48, 64), np.float32)))
except OutputError as error:
    print(error)
    sys.exit(7)
"""


@pytest.mark.parametrize(
    ("limit", "kind", "name"),
    [(9000, "video", "o.mkv"), (9000, "overlay", "o.mp4"), (100, "video", "o.mp4"), (500, "maps", "o")],
)
def test_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path, limit: int, kind: str, name: str) -> None:
    # A limit on the size of files makes every write past it fail, as a full disk does.
    assert resource.getrlimit(resource.RLIMIT_FSIZE)
    command = [sys.executable, "-c", _FULL_DISK, str(limit), kind, str(tmp_path / "out" / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 7, done.stderr
    assert name in done.stdout and done.stdout.count("\n") == 1
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]


def test_the_last_write_fails_too(tmp_path: Path, vfr: Path) -> None:
    # Just short of the whole: the failure comes with the index, when the file is closed.
    script = _FULL_DISK.replace("(limit, limit)", "(resource.RLIM_INFINITY, resource.RLIM_INFINITY)")
    whole = tmp_path / "whole.mp4"
    subprocess.run([sys.executable, "-c", script, "0", "overlay", str(whole)], check=True, timeout=60)
    command = [sys.executable, "-c", _FULL_DISK, str(whole.stat().st_size - 10), "overlay", str(tmp_path / "b.mp4")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 7, done.stderr
    assert not (tmp_path / "b.mp4").exists() and not hidden(tmp_path)


def test_frame_is_not_changed(tmp_path: Path, vfr: Path) -> None:
    with open_source(vfr) as source:
        frame: Frame = next(iter(source))
        before = frame.pixels.copy()
        saliency = blob()
        for kind in VIDEO_OUTPUTS:
            with open_output(kind, tmp_path / f"{kind}{KINDS[kind].endings[0]}", source.info) as out:
                out.write(Result(frame, saliency))
    assert np.array_equal(frame.pixels, before) and np.array_equal(saliency, blob())


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_a_first_frame_between_two_milliseconds(tmp_path: Path, suffix: str) -> None:
    source = write_video(
        tmp_path / "in.mp4",
        PICTURES,
        pts=[1920 + 3600 * i for i in range(8)],
        time_base=Fraction(1, 90000),
        container_options={"movie_timescale": "90000"},
    )
    convert("overlay", source, tmp_path / f"out{suffix}")
    written, read = read_pts(tmp_path / f"out{suffix}"), read_pts(source)
    assert read[0] == Fraction(1920, 90000)
    slack = Fraction(1, 2000) if suffix == ".mkv" else 0  # Matroska knows nothing finer than a millisecond
    assert all(abs(one - other) <= slack for one, other in zip(written, read, strict=True))


def test_a_folder_that_the_input_is_in_is_no_output(tmp_path: Path) -> None:
    (tmp_path / "shots").mkdir()
    for index, pixels in enumerate(PICTURES):
        Image.fromarray(pixels).save(tmp_path / "shots" / f"{index}.png")
    before = sorted(tmp_path.rglob("*"))
    (tmp_path / "link").symlink_to("shots")
    for source, place in [("shots/0.png", "shots"), ("shots/0.png", "link"), ("link/0.png", "shots"), ("shots", ".")]:
        with open_source(tmp_path / source) as video, pytest.raises(OptionError, match="folder that the input is in"):
            open_output("maps", tmp_path / place, video.info, overwrite=True)
    (tmp_path / "link").unlink()
    assert sorted(tmp_path.rglob("*")) == before
