"""A window that follows: calm, with the object inside, new at every cut, with the sound."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from media_files import read_pts, write_video
from tiny_model import install
from vsalient.cli.app import main
from vsalient.errors import OptionError
from vsalient.reframe.boxes import Boxes, box_of
from vsalient.reframe.crop import Window, parse_aspect, window_path
from vsalient.reframe.path import follow
from vsalient.types import VideoInfo


@pytest.fixture(autouse=True)
def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    install(monkeypatch, tmp_path / "home")
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(["reframe", *arguments])
    assert isinstance(end.value.code, int)
    return end.value.code


def pictures(lefts: list[int], ground: int = 110, width: int = 320, height: int = 180) -> list[np.ndarray]:
    made = []
    for left in lefts:
        picture = np.full((height, width, 3), ground, np.uint8)
        picture[60:120, left : left + 40] = (230, 20, 20)
        made.append(picture)
    return made


def test_the_way_is_calm_and_within_its_bounds() -> None:
    rng = np.random.default_rng(2)
    middle = np.cumsum(rng.normal(0, 3, 400)) + 300 + 80 * np.sin(np.arange(400) / 40)
    x = follow(middle - 60, middle + 60, middle)
    assert (x >= middle - 62).all() and (x <= middle + 62).all()
    assert np.abs(np.diff(x, 2)).max() < 0.4 < np.abs(np.diff(middle, 2)).max()


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 50])
def test_short_shots_and_impossible_bounds(count: int) -> None:
    low, high = np.full(count, 30.0), np.full(count, 10.0)
    assert np.allclose(follow(low, high, np.full(count, 20.0)), 20, atol=0.1)
    line = np.arange(count, dtype=float)
    assert np.allclose(follow(line - 5, line + 5, line), line, atol=0.1), "an even move is followed as it is"


def test_boxes_are_kept_inside_and_start_anew_at_cuts() -> None:
    boxes = Boxes()
    way = [*np.linspace(10, 120, 30), *np.linspace(270, 200, 30)]
    for index, left in enumerate(way):
        saliency = np.zeros((180, 320), np.float32)
        saliency[60:120, int(left) : int(left) + 40] = 0.9
        saliency[0:3, 300:304] = 0.9  # a speck far away
        boxes.push(saliency, scene=index // 30)
    assert boxes.starts == [0, 30] and boxes.found[3][2:] == (40.0, 60.0) and boxes.sure[3] == pytest.approx(0.9)
    info = VideoInfo(Path("x"), 320, 180, Fraction(25), Fraction(1, 25))
    window = Window.of(info, Fraction(9, 16))
    assert (window.width, window.height) == (102, 180)
    places = window_path(boxes, info, window)
    inside = [
        max(0.0, min(left + 40, x + window.width) - max(left, x)) / 40 for left, (x, _) in zip(way, places, strict=True)
    ]
    assert np.mean(inside) > 0.98 and places.min() >= 0 and places[:, 0].max() <= 320 - 102
    for begin, end in boxes.shots():
        assert np.abs(np.diff(places[begin:end, 0], 2)).max() < 1.0
    assert abs(places[30, 0] - places[29, 0]) > 80


def test_frames_without_an_object_are_bridged() -> None:
    boxes = Boxes()
    for index in range(20):
        saliency = np.zeros((90, 160), np.float32)
        if not 5 <= index < 12:
            saliency[30:60, 20 + 4 * index : 50 + 4 * index] = 1
        boxes.push(saliency)
    assert np.isnan(boxes.found[8]).all() and boxes.steady()[8, 0] == pytest.approx(52, abs=1)
    assert np.isnan(box_of(np.zeros((4, 4), np.float32))[0][0])


def test_a_film_for_phones_with_its_sound(place: Path) -> None:
    lefts = [int(20 + 6 * index) for index in range(36)]
    write_video(
        place / "in.mp4", pictures(lefts), pixel_format="yuv444p", options={"crf": "1"}, matrix=5, audio_seconds=1.44
    )
    assert run("in.mp4", "--aspect", "9:16", "-q") == 0
    with av.open(str(place / "in_9x16.mp4")) as container:
        assert container.streams.audio
        shown = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert read_pts(place / "in_9x16.mp4") == read_pts(place / "in.mp4")
    assert shown[0].shape == (180, 102, 3) and len(shown) == 36
    red = [((p[..., 0] > 180) & (p[..., 1] < 90)).sum() for p in shown]
    assert np.mean(red) > 0.97 * 40 * 60


def test_a_cut_begins_anew(place: Path) -> None:
    rng = np.random.default_rng(3)
    first, second = (rng.integers(60, 160, (9, 16, 3), np.uint8).repeat(20, 0).repeat(20, 1) for _ in range(2))
    films = []
    for ground, left in [(first, 30)] * 12 + [(second, 250)] * 12:
        picture = np.repeat(ground[..., 1:2], 3, axis=2).copy()
        picture[60:120, left : left + 40] = (230, 20, 20)
        films.append(picture)
    write_video(place / "in.mp4", films, pixel_format="yuv444p", options={"crf": "1"}, matrix=5)
    assert run("in.mp4", "--aspect", "9:16", "-q") == 0
    with av.open(str(place / "in_9x16.mp4")) as container:
        shown = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    red = [((p[..., 0] > 180) & (p[..., 1] < 90)).sum() for p in shown]
    assert min(red) > 0.9 * 40 * 60, "the last frame before the cut and the first after it have all of it"


def test_taller_films_are_cut_above_and_below(place: Path) -> None:
    write_video(place / "in.mp4", pictures([140] * 6), pixel_format="yuv444p", options={"crf": "1"}, matrix=5)
    assert run("in.mp4", "--aspect", "4:1", "-o", "wide.mkv", "-q") == 0
    with av.open(str(place / "wide.mkv")) as container:
        first = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert first.shape == (80, 320, 3) and ((first[..., 0] > 180) & (first[..., 1] < 90)).sum() > 2300


@pytest.mark.parametrize("text", ["0:16", "9:0", "a:b", "", "100:1", "-9:16", "9:16:1", "nan", "inf"])
def test_aspects_that_make_no_sense(text: str) -> None:
    with pytest.raises(OptionError, match="makes no sense"):
        parse_aspect(text)


@pytest.mark.parametrize(("arguments", "says"), [
    (["in.mp4", "--aspect", "9:0"], "--aspect '9:0' makes no sense"),
    (["no.mp4", "--aspect", "9:16"], "no.mp4 does not exist"),
    (["in.mp4", "--aspect", "9:16", "-o", "out.gif"], "cannot be written to .gif"),
    (["in.mp4", "--aspect", "9:16", "-o", "in.mp4"], "is the input itself"),
    (["in.mp4", "--aspect", "9:16", "--model", "nonsense"], "'nonsense' is neither maps made earlier nor a model"),
])  # fmt: skip
def test_refusals(place: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str) -> None:
    write_video(place / "in.mp4", pictures([20, 30]), pixel_format="yuv444p")
    assert run(*arguments) != 0
    error = capsys.readouterr().err
    assert says in error and "Traceback" not in error and [path.name for path in place.iterdir()] == ["in.mp4"]
