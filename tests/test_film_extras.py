"""What a film has beside plain pictures: HDR, two fields a frame, chapters, titles, timecode, languages, odd sound."""

import logging
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from media_files import blob, ramp, write_video
from vsalient.media import open_source
from vsalient.media.extras import later_timecode
from vsalient.media.hdr import HLG, PQ, to_sdr
from vsalient.outputs import open_output
from vsalient.types import Result

TITLE, CREATED = "A film", "2024-05-06T07:08:09.000000Z"


def overlay(source: Path, path: Path, kind: str = "overlay", start: float | None = None) -> Path:
    with (
        open_source(source, start=start) as video,
        open_output(kind, path, video.info, source=source, span=(start, None)) as out,
    ):
        for frame in video:
            out.write(Result(frame, blob()))
    return path


def film_with_extras(path: Path) -> Path:
    """Two seconds with chapters, title, timecode and two languages, of which the second is the default."""
    with av.open(str(path), "w") as out:
        out.metadata.update(title=TITLE, creation_time=CREATED)
        stream = out.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.metadata["timecode"] = "01:00:00:00"
        sounds = [out.add_stream("aac", rate=48000) for _ in range(2)]
        for sound, language in zip(sounds, ("eng", "ger" if path.suffix == ".mov" else "deu"), strict=True):
            sound.layout = "mono"
            sound.metadata["language"] = language
        sounds[0].disposition, sounds[1].disposition = 0, 1
        out.set_chapters(
            [
                {"id": n, "start": n * 1000, "end": n * 1000 + 1000, "time_base": Fraction(1, 1000),
                 "metadata": {"title": title}}
                for n, title in enumerate(("one", "two"))
            ]
        )  # fmt: skip
        for index in range(50):
            frame = av.VideoFrame.from_ndarray(ramp(index % 20), "rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            out.mux(stream.encode(frame))
            for sound in sounds:
                tone = av.AudioFrame.from_ndarray(np.zeros((1, 1920), np.int16), format="s16", layout="mono")
                tone.sample_rate, tone.pts, tone.time_base = 48000, 1920 * index, Fraction(1, 48000)
                out.mux(sound.encode(tone))
        for track in (stream, *sounds):
            out.mux(track.encode(None))
    return path


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv"])
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_titles_chapters_timecode_and_languages_are_carried(tmp_path: Path, name: str, suffix: str) -> None:
    film = film_with_extras(tmp_path / name)
    with av.open(str(overlay(film, tmp_path / f"o{suffix}"))) as container:
        assert container.metadata["title"] == TITLE and container.metadata["creation_time"] == CREATED
        assert [chapter["metadata"]["title"] for chapter in container.chapters()] == ["one", "two"]
        video = container.streams.video[0].metadata
        assert "01:00:00:00" in (video.get("timecode"), video.get("TIMECODE"))
        assert [(s.language, int(s.disposition) & 1) for s in container.streams.audio] == [
            ("eng", 0),
            ("ger" if ".mov" in (name[1:], suffix) else "deu", 1),
        ]
    with av.open(str(overlay(film, tmp_path / f"c{suffix}", start=1.2))) as container:
        (chapter,) = container.chapters()
        assert chapter["metadata"]["title"] == "two"
        assert chapter["end"] * (chapter["time_base"] or 1) == Fraction(4, 5)
        video = container.streams.video[0].metadata
        assert "01:00:01:05" in (video.get("timecode"), video.get("TIMECODE"))


@pytest.mark.parametrize("kind", ["video", "mask-video", "alpha"])
def test_mattes_have_the_timecode_too(tmp_path: Path, kind: str) -> None:
    with av.open(str(overlay(film_with_extras(tmp_path / "a.mov"), tmp_path / "o.mov", kind))) as container:
        assert container.streams.video[0].metadata["timecode"] == "01:00:00:00"


@pytest.mark.parametrize(
    ("code", "seconds", "rate", "later"),
    [
        ("01:00:00:00", Fraction(0), Fraction(25), "01:00:00:00"),
        ("00:00:59:24", Fraction(1, 25), Fraction(25), "00:01:00:00"),
        ("00:00:59;29", Fraction(1001, 30000), Fraction(30000, 1001), "00:01:00;02"),
        ("00:09:59;29", Fraction(1001, 30000), Fraction(30000, 1001), "00:10:00;00"),
        ("01:00:00;00", Fraction(3600), Fraction(30000, 1001), "02:00:00;00"),
        ("23:59:59:24", Fraction(1, 25), Fraction(25), "00:00:00:00"),
        ("01:00:00:30", Fraction(0), Fraction(25), None),
        ("nonsense", Fraction(0), Fraction(25), None),
    ],
)
def test_timecodes_go_on(code: str, seconds: Fraction, rate: Fraction, later: str | None) -> None:
    assert later_timecode(code, seconds, rate) == later


def test_what_is_left_out_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    plain = write_video(tmp_path / "plain.mkv", [ramp(i) for i in range(5)])
    film = tmp_path / "film.mkv"
    with av.open(str(plain)) as source, av.open(str(film), "w") as out:
        video = out.add_stream_from_template(source.streams.video[0])
        out.add_attachment("font.ttf", "application/x-truetype-font", b"font")
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = video
                out.mux(packet)
    with caplog.at_level(logging.WARNING):
        overlay(film, tmp_path / "o.mp4")
        overlay(plain, tmp_path / "p.mp4")
    assert len(caplog.records) == 1 and "o.mp4: left out of it: an attached file" in caplog.text


@pytest.mark.parametrize("codec", ["pcm_s24le", "pcm_f32le", "pcm_s16le"])
@pytest.mark.parametrize(("suffix", "kind", "wanted"), [(".mp4", "overlay", "aac"), (".webm", "alpha", "opus")])
def test_sound_that_players_misread_is_encoded(tmp_path: Path, codec: str, suffix: str, kind: str, wanted: str) -> None:
    film = write_video(tmp_path / "a.mov", [ramp(i) for i in range(25)], audio_seconds=1, audio_codec=codec)
    with av.open(str(overlay(film, tmp_path / f"o{suffix}", kind))) as container:
        (sound,) = container.streams.audio
        assert sound.codec_context.codec.canonical_name == wanted
        levels = [np.abs(frame.to_ndarray()).mean() for frame in container.decode(sound)]
    assert 0.05 < float(np.mean(levels)) < 0.3  # a sine of a quarter of full scale, not noise


def hdr_film(path: Path, codes: NDArray[np.uint16], transfer: int) -> Path:
    """One frame of 10-bit RGB patches, (H, W, 3), as BT.2020 in limited range."""
    height, width = codes.shape[:2]
    with av.open(str(path), "w") as out:
        stream = out.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv444p10le"
        context = stream.codec_context
        context.colorspace, context.color_primaries, context.color_trc, context.color_range = 9, 9, transfer, 1
        rgb = codes.astype(np.float64) / 1023
        luma = rgb @ [0.2627, 0.6780, 0.0593]
        planes = np.stack([luma, (rgb[..., 2] - luma) / 1.8814, (rgb[..., 0] - luma) / 1.4746])
        coded = np.round(planes * np.array([876, 896, 896])[:, None, None] + np.array([64, 512, 512])[:, None, None])
        frame = av.VideoFrame(width, height, "yuv444p10le")
        for plane, values in zip(frame.planes, coded.astype(np.uint16), strict=True):
            rows = np.zeros((height, plane.line_size // 2), np.uint16)
            rows[:, :width] = values
            plane.update(rows.tobytes())
        frame.pts, frame.colorspace, frame.color_range, frame.color_trc = 0, 9, 1, transfer
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_hdr_comes_out_as_bt2408_has_it(tmp_path: Path, transfer: int, caplog: pytest.LogCaptureFixture) -> None:
    levels = np.arange(0, 1024, 16)
    gray = np.repeat(np.repeat(levels[None, :, None], 3, axis=2), 8, axis=0)
    tints = np.random.default_rng(0).integers(200, 600, (8, len(levels), 3))
    codes = np.concatenate([gray, tints]).repeat(4, axis=1).astype(np.uint16)
    with caplog.at_level(logging.WARNING), open_source(hdr_film(tmp_path / "h.mkv", codes, transfer)) as source:
        pixels = next(iter(source)).pixels
        assert source.info.hdr == ("PQ" if transfer == PQ else "HLG")
    assert "mapped to standard dynamic range" in caplog.text
    wanted = np.round(to_sdr(codes / 1023, transfer) * 255)
    assert np.abs(pixels[:8] - wanted[:8]).max() <= 3  # the ramp
    assert np.quantile(np.abs(pixels[8:] - wanted[8:]), 0.95) <= 3


def test_reference_white_and_gray_of_bt2408() -> None:
    """Table 1 of BT.2408: reference white is 58 % PQ and 75 % HLG, the 18 % gray card 38 % in both."""
    for transfer, white in ((PQ, 0.5807), (HLG, 0.75)):
        assert to_sdr(np.full(3, white), transfer) == pytest.approx(1.0, abs=0.005)
        assert to_sdr(np.full(3, 0.38), transfer) == pytest.approx((26 / 203) ** (1 / 2.4), abs=0.015)


@pytest.mark.parametrize("deinterlace", [True, False])
def test_interlaced_films_are_made_whole(tmp_path: Path, deinterlace: bool) -> None:
    """A bar that moves from field to field: combed as stored, straight once deinterlaced."""
    pictures = []
    for index in range(12):
        picture = np.full((96, 128, 3), 60, np.uint8)
        for field in range(2):
            picture[field::2, 10 + 8 * index + 4 * field : 26 + 8 * index + 4 * field] = 220
        pictures.append(picture)
    film = tmp_path / "i.mkv"
    with av.open(str(film), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"x264-params": "tff=1:qp=1"})
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv444p"
        for index, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format="yuv444p")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    from vsalient.media.video import VideoSource

    with VideoSource(film, deinterlace=deinterlace) as source:
        frames = list(source)
        assert source.info.interlaced
    assert [frame.pts * frame.time_base for frame in frames] == [Fraction(i, 25) for i in range(12)]
    middle = frames[6].pixels[20:76, :, 1].astype(int)
    combing = np.abs(2 * middle[1:-1] - middle[:-2] - middle[2:]).mean()
    assert (combing < 4) == deinterlace
