"""What must hold of decoding, whatever a film is like and lacks: a plain decoder on the whole film is the yardstick."""

import dataclasses
import itertools
import tempfile
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from media_files import ramp
from vsalient.errors import DecodeError
from vsalient.media.color import RgbConverter
from vsalient.media.video import VideoSource
from vsalient.types import Frame, Pixels

relaxed = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
CLOCKED = (".mkv", ".mp4")
"""Files that keep a time for every packet."""


@dataclass(frozen=True)
class Film:
    """How a film is encoded."""

    frames: int
    group: int
    between: int
    codec: str
    ending: str

    def write(self, path: Path) -> Path:
        options = {"g": str(self.group), "threads": "1"}
        options |= {"bf": str(self.between), "x264-params": "scenecut=0", "preset": "ultrafast"}
        with av.open(str(path), "w") as out:
            stream = out.add_stream(self.codec, rate=25, options=options)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            for index in range(self.frames):
                frame = av.VideoFrame.from_ndarray(ramp(index % 22), "rgb24")
                frame.pts, frame.time_base = index, Fraction(1, 25)
                out.mux(stream.encode(frame))
            out.mux(stream.encode(None))
        return path


def films(endings: tuple[str, ...], codecs: tuple[str, ...]) -> st.SearchStrategy[Film]:
    return st.builds(
        Film,
        frames=st.integers(2, 24),
        group=st.integers(1, 12),
        between=st.integers(0, 4),
        codec=st.sampled_from(codecs),
        ending=st.sampled_from(endings),
    )


def plain(path: Path) -> list[tuple[float, Pixels]]:
    """Time and pixels of every frame, as the decoder alone gives them."""
    with av.open(str(path)) as container:
        convert = RgbConverter(64, 48)
        return [(frame.time, convert(frame)) for frame in container.decode(video=0)]


def ours(path: Path) -> list[Frame]:
    with VideoSource(path) as source:
        return list(source)


def rewritten(film: Path, out: Path, lost: set[int], zeroed: set[int]) -> list[tuple[float, bool]]:
    """The film without some of its packets, and with zeros in others; time and key of each, in decoding order."""
    kept = []
    with av.open(str(film)) as source, av.open(str(out), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(p for p in source.demux(video=0) if p.size):
            kept.append((float(packet.pts * packet.time_base), packet.is_keyframe))
            if number in lost:
                continue
            copy = packet
            if number in zeroed:
                copy = av.Packet(bytes(packet.size))
                copy.pts, copy.dts, copy.duration = packet.pts, packet.dts, packet.duration
                copy.time_base, copy.is_keyframe = packet.time_base, packet.is_keyframe
            copy.stream = stream
            target.mux(copy)
    return kept


def stored(path: Path) -> list[tuple[float, bool]]:
    """Time and key of each packet as a reader of the file is told; zeros are no key frame, whatever they were."""
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        return [(float(packet.pts * packet.time_base), packet.is_keyframe) for packet in packets]


def groups(packets: list[tuple[float, bool]]) -> dict[float, int]:
    """The time of each packet -> the number of its group, which a key frame begins."""
    found, number = {}, -1
    for time, key in packets:
        number += key
        found[time] = number
    return found


@relaxed
@given(films((".mkv", ".mp4", ".mov", ".ts", ".avi", ".nut", ".mpg"), ("libx264", "mpeg4", "mpeg2video")))
def test_a_sound_film_is_what_a_plain_decoder_gives(film):
    """All frames, in the order of showing, at their times, whatever order they are stored in."""
    if film.ending in (".ts", ".mpg"):  # which FFmpeg knows by several packets only
        film = dataclasses.replace(film, frames=film.frames + 10)
    if film.codec == "mpeg2video":
        film = dataclasses.replace(film, between=min(film.between, 2))
    with tempfile.TemporaryDirectory() as folder:
        path = film.write(Path(folder) / f"f{film.ending}")
        wanted, got = plain(path), ours(path)
    assert len(got) == film.frames == len(wanted)
    assert all(np.array_equal(frame.pixels, pixels) for frame, (_, pixels) in zip(got, wanted, strict=True))
    assert [frame.index for frame in got] == list(range(film.frames)) and not any(frame.corrupt for frame in got)
    assert all(a.pts < b.pts for a, b in itertools.pairwise(got))
    if film.ending in CLOCKED:
        assert [frame.time for frame in got] == pytest.approx([time for time, _ in wanted], abs=1e-6)


@relaxed
@given(films(CLOCKED, ("libx264", "mpeg4")), st.data())
def test_what_is_lost_costs_no_frame_that_is_there(film, data):
    """Damaged packets keep their place and their time; groups without damage come out to the last bit."""
    numbers = st.sets(st.integers(0, film.frames - 1), max_size=film.frames)
    lost, zeroed = data.draw(numbers, label="lost"), data.draw(numbers, label="zeroed")
    if (
        lost or zeroed or film.codec == "mpeg4"
    ):  # of damaged pictures in between decoders make some at times of their own
        film = dataclasses.replace(film, between=0)
    with tempfile.TemporaryDirectory() as folder:
        whole = film.write(Path(folder) / f"w{film.ending}")
        path = Path(folder) / f"f{film.ending}"
        packets = rewritten(whole, path, lost, zeroed)
        assume(len(lost) < len(packets))
        there = stored(path)
        truth = {round(time, 3): pixels for time, pixels in plain(whole)}
        try:
            got = ours(path)
        except DecodeError:
            # Nothing to begin with: no key frame that could be decoded is left.
            assert not any(key and n not in lost | zeroed for n, (_, key) in enumerate(packets))
            return
    shown = [round(frame.time, 3) for frame in got]
    assert shown == sorted(set(shown)) and [frame.index for frame in got] == list(range(len(got)))
    begun = next((n for n, (_, key) in enumerate(there) if key), len(there))
    expected = {round(time, 3) for time, _ in there[begun:] if time >= there[begun][0]}
    # Some decoders begin without a key frame; what they make of it is shown, and never more than there are packets.
    assert expected <= set(shown) <= {round(time, 3) for time, _ in there}
    of_group = groups(packets)
    damaged = {of_group[packets[number][0]] for number in lost | zeroed}
    for frame in got if film.between == 0 else ():  # what a decoder holds back to reorder may go with what is damaged
        time = round(frame.time, 3)
        if next(group for at, group in of_group.items() if round(at, 3) == time) not in damaged:
            assert np.array_equal(frame.pixels, truth[time]) and not frame.corrupt


@pytest.mark.parametrize("threads", [1, 2, 8, 16])
def test_damage_near_the_end_costs_one_picture_however_many_threads_decode(tmp_path, monkeypatch, threads):
    plainly = VideoSource._open

    def opened(source):
        container, stream = plainly(source)
        stream.codec_context.thread_count = threads
        return container, stream

    monkeypatch.setattr(VideoSource, "_open", opened)
    film = Film(30, 5, 0, "libx264", ".mkv").write(tmp_path / "w.mkv")
    for number in (29, 26, 3):
        rewritten(film, tmp_path / "f.mkv", set(), {number})
        got = ours(tmp_path / "f.mkv")
        assert [frame.index for frame in got if frame.corrupt] == [number] and len(got) == 30
