"""Films as people have them: cut short or not, held last pictures, clocks that restart, tiles, unknown side data."""

import io
import itertools
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from conftest import needs
from media_files import blob, ramp, write_video
from tiny_model import install, write_clip
from vsalient.cli.app import main
from vsalient.errors import DecodeError
from vsalient.media import open_source
from vsalient.media.color import RgbConverter
from vsalient.outputs import KINDS, open_output
from vsalient.types import Frame, Result, VideoInfo

FILMS = {".mp4", ".mkv", ".mov", ".webm"}
VIDEO_OUTPUTS = [name for name, kind in KINDS.items() if ".mov" in kind.endings]

PICTURES = [ramp(i % 20) for i in range(60)]
FASTSTART = {"movflags": "faststart"}
FRAGMENTS = {"movflags": "frag_keyframe+empty_moov"}
CONTAINERS = [
    ("a.mp4", "libx264", "aac", FASTSTART),
    ("f.mp4", "libx264", "aac", FRAGMENTS),
    ("a.mov", "libx264", "pcm_s16le", FASTSTART),
    ("a.mkv", "libx264", "aac", {}),
    ("a.webm", "libvpx-vp9", "libopus", {}),
    ("a.avi", "mpeg4", "mp2", {}),
    ("a.flv", "flv1", "aac", {}),
    ("a.wmv", "wmv2", "mp2", {}),
]


def read(path: Path) -> tuple[list[Frame], VideoInfo, bool]:
    with open_source(path) as source:
        frames = list(source)
        return frames, source.info, source.cut_short


def end_of(frame: Frame) -> float:
    assert frame.duration is not None
    return float((frame.pts + frame.duration) * frame.time_base)


def exif_jpeg(orientation: int = 1) -> bytes:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = orientation, "camera"
    buffer = io.BytesIO()
    Image.fromarray(ramp(3)).save(buffer, "JPEG", exif=exif, quality=95)
    return buffer.getvalue()


@pytest.mark.parametrize(("name", "codec", "sound", "options"), CONTAINERS)
@pytest.mark.parametrize("seconds", [0.0, 2.4, 6.0], ids=["silent", "sound", "longer-sound"])
def test_cut_short_is_told_by_the_pictures(
    tmp_path: Path, name: str, codec: str, sound: str, options: dict[str, str], seconds: float
) -> None:
    path = write_video(
        tmp_path / name,
        PICTURES,
        codec=codec,
        options={"g": "12"},
        audio_seconds=seconds,
        audio_codec=sound,
        container_options=options,
    )
    frames, _, cut = read(path)
    assert len(frames) == 60 and not cut
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 6 // 10])
    frames, _, cut = read(path)
    assert 5 < len(frames) <= 60
    assert cut or len(frames) == 60


def test_only_the_end_of_the_index_lost_is_not_cut_short(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", PICTURES, container_options=FASTSTART)
    path.write_bytes(path.read_bytes() + (1000).to_bytes(4, "big") + b"free")
    frames, _, cut = read(path)
    assert len(frames) == 60 and not cut


@pytest.mark.parametrize("name", ["hold.mp4", "hold.mov", "hold.mkv", "hold.webm"])
@pytest.mark.parametrize("b_frames", ["0", "3"])
def test_the_last_picture_stands_as_long_as_it_did(tmp_path: Path, name: str, b_frames: str) -> None:
    """A screen recording: pictures only when something changes."""
    codec = "libvpx-vp9" if name.endswith("webm") else "libx264"
    first = VideoInfo(tmp_path, 64, 48, Fraction(25), Fraction(1, 1000))
    source = tmp_path / f"source_{name}"
    with open_output("overlay" if codec == "libx264" else "alpha", source, first) as out:
        for index, pts in enumerate((0, 40, 80, 700, 720)):
            last = 10_000 if index == 4 else None
            out.write(Result(Frame(ramp(index), index, pts, Fraction(1, 1000), duration=last), blob()))
    frames, info, cut = read(source)
    assert not cut
    assert [frame.duration and round(float(frame.duration * frame.time_base), 3) for frame in frames] == [
        *(0.04, 0.04, 0.62, 0.02),
        10.0,
    ]
    for kind in VIDEO_OUTPUTS:
        for suffix in FILMS & set(KINDS[kind].endings):
            path = tmp_path / f"{kind}_{name}{suffix}"
            with open_output(kind, path, info) as out:
                for frame in frames:
                    out.write(Result(frame, blob()))
            with av.open(str(path)) as container:
                assert container.duration is not None
                assert container.duration / 1e6 == pytest.approx(10.72, abs=0.002), path
            assert end_of(read(path)[0][-1]) == pytest.approx(10.72, abs=0.002), path


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.apng", "a.avif"])
def test_the_last_picture_of_an_animation_stands(tmp_path: Path, name: str) -> None:
    first, *others = [Image.fromarray(ramp(4 * i)) for i in range(4)]
    kind = {"format": "PNG"} if name == "a.apng" else {}
    first.save(tmp_path / name, save_all=True, append_images=others, duration=[100, 100, 100, 3000], **kind)
    frames, info, _ = read(tmp_path / name)
    assert [frame.duration for frame in frames] == [100, 100, 100, 3000]
    with open_output("overlay", tmp_path / "o.mp4", info) as out:
        for frame in frames:
            out.write(Result(frame, blob()))
    with av.open(str(tmp_path / "o.mp4")) as container:
        assert container.duration == 3_300_000


def test_raw_dv_has_its_rate(tmp_path: Path) -> None:
    path = write_video(
        tmp_path / "tape.dv", [ramp(i, 720, 576) for i in range(6)], codec="dvvideo", pixel_format="yuv420p"
    )
    frames, info, cut = read(path)
    assert info.rate == 25 and not cut
    assert end_of(frames[-1]) == pytest.approx(0.24)


@pytest.mark.parametrize("name", ["tl.mkv", "tl.avi", "tl.mov"])
def test_pictures_with_exif_in_a_film(tmp_path: Path, name: str) -> None:
    with av.open(str(tmp_path / name), "w") as out:
        stream = out.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        out.start_encoding()
        for index in range(5):
            packet = av.Packet(exif_jpeg())
            packet.stream, packet.time_base = stream, Fraction(1, 10)
            packet.pts = packet.dts = index
            packet.is_keyframe = True
            out.mux(packet)
    frames, _, _ = read(tmp_path / name)
    assert len(frames) == 5 and not any(frame.corrupt for frame in frames)
    assert np.abs(frames[0].pixels.astype(int) - ramp(3)).mean() < 4


@pytest.mark.parametrize("name", ["photo.jfif", "photo.jpe", "photo.JPG", "photo.mjpeg"])
def test_a_photograph_with_exif(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(exif_jpeg(orientation=6))
    (frame,), _, _ = read(tmp_path / name)
    assert frame.pixels.shape == (64, 48, 3)  # turned
    assert frame.pixels[2, -2, 0] > 180 > frame.pixels[2, -2, 1]  # the red corner has gone to the right


@pytest.mark.parametrize("name", ["a.ts", "a.mpg"])
@pytest.mark.parametrize("parts", [2, 3])
def test_clocks_that_restart_go_on(tmp_path: Path, name: str, parts: int) -> None:
    codec, sound = ("libx264", "aac") if name == "a.ts" else ("mpeg2video", "mp2")
    joined = b""
    for part in range(parts):
        path = write_video(
            tmp_path / f"{part}{name}",
            [ramp((5 * part + i) % 20) for i in range(20)],
            codec=codec,
            options={"bf": "2"},
            audio_seconds=0.8,
            audio_codec=sound,
        )
        joined += path.read_bytes()
    whole = tmp_path / name
    whole.write_bytes(joined)
    frames, info, cut = read(whole)
    assert len(frames) == 20 * parts and not cut and not any(frame.corrupt for frame in frames)
    times = [frame.pts * frame.time_base for frame in frames]
    assert all(abs(b - a - Fraction(1, 25)) < Fraction(1, 50) for a, b in itertools.pairwise(times))
    with open_output("overlay", tmp_path / "o.mp4", info, source=whole) as out:
        for frame in frames:
            out.write(Result(frame, blob()))
    with av.open(str(tmp_path / "o.mp4")) as container:
        lengths = [stream.duration * stream.time_base for stream in container.streams]  # type: ignore[operator]
    assert all(abs(length - Fraction(4, 5) * parts) < Fraction(1, 5) for length in lengths)


def test_absurd_times_are_mended(tmp_path: Path) -> None:
    path = tmp_path / "a.nut"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"bf": "0", "g": "1"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        packets = []
        for index in range(8):
            frame = av.VideoFrame.from_ndarray(PICTURES[index], "rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            packets += stream.encode(frame)
        for index, packet in enumerate([*packets, *stream.encode(None)]):
            packet.pts = packet.dts = -(2**62) + index if index < 3 else index
            out.mux(packet)
    frames, _, _ = read(path)
    assert len(frames) >= 7
    times = [frame.time for frame in frames]
    assert times == sorted(set(times)) and abs(times[-1]) < 10


def test_a_picture_in_tiles_is_whole(tmp_path: Path) -> None:
    needs("heif")
    import pillow_heif as heif

    heif.register_heif_opener()
    picture = np.random.default_rng(0).integers(0, 255, (8, 8, 3), np.uint8).repeat(96, 0).repeat(96, 1)
    Image.fromarray(picture).save(tmp_path / "a.heic", quality=90)
    (frame,), info, _ = read(tmp_path / "a.heic")
    assert (info.width, info.height) == (768, 768)
    assert np.abs(frame.pixels.astype(int) - picture).mean() < 8


def test_a_pixel_format_that_cannot_be_converted_is_one_line() -> None:
    frame = av.VideoFrame(64, 48, "gray32le")
    with pytest.raises(DecodeError, match="gray32le"):
        RgbConverter(64, 48)(frame)


@pytest.mark.parametrize("kind", list(VIDEO_OUTPUTS))
@pytest.mark.parametrize("turned", [False, True])
def test_pixel_aspect_is_kept_everywhere(tmp_path: Path, kind: str, turned: bool) -> None:
    info = VideoInfo(tmp_path, 180, 144, Fraction(25), Fraction(1, 25), pixel_aspect=Fraction(64, 45))
    if turned:
        info = VideoInfo(tmp_path, 144, 180, Fraction(25), Fraction(1, 25), pixel_aspect=Fraction(45, 64))
    for suffix in FILMS & set(KINDS[kind].endings):
        with open_output(kind, tmp_path / f"o{suffix}", info) as out:
            for index in range(3):
                frame = Frame(ramp(index, info.width, info.height), index, index, Fraction(1, 25))
                out.write(Result(frame, blob(info.width, info.height)))
        with av.open(str(tmp_path / f"o{suffix}")) as container:
            shape = container.streams.video[0].sample_aspect_ratio
        # WebM holds the size shown in whole pixels only.
        assert shape is not None and abs(shape / info.pixel_aspect - 1) <= (0.005 if suffix == ".webm" else 0), suffix
        frames, again, _ = read(tmp_path / f"o{suffix}")
        assert again.pixel_aspect == shape and again.rotation == 0 and len(frames) == 3


def test_what_nobody_foresaw_is_that_inputs_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install(monkeypatch, tmp_path / "home")
    monkeypatch.chdir(tmp_path)
    for name in "abc":
        write_clip(tmp_path / f"{name}.mp4", 2)

    def opening(path: Path, **options: object) -> object:
        if path.name == "b.mp4":
            raise ZeroDivisionError("division\nby zero")
        return open_source(path, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("vsalient.media.open_source", opening)
    for extra, done in (
        (["--keep-going"], ["a_saliency.mp4", "c_saliency.mp4"]),
        (["--overwrite"], ["a_saliency.mp4"]),
    ):
        with pytest.raises(SystemExit) as end:
            main(["predict", "a.mp4", "b.mp4", "c.mp4", "-q", *extra])
        printed = capsys.readouterr()
        assert end.value.code == 1 and printed.out.splitlines() == done
        assert "b.mp4: " in printed.err and "ZeroDivisionError: division by zero" in printed.err
        assert "Traceback" not in printed.err and printed.err.count("\n") == 1
