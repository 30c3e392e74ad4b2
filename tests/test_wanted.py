"""Only the object wanted, through the real command line: two things move through a film, meet, and are cut between."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import vsalient
from media_files import write_video
from tiny_model import install
from vsalient.cli.app import main
from vsalient.segment.objects import InstanceTracker

WIDTH, HEIGHT, FRAMES = 192, 128, 30
RED, MAGENTA = (235, 20, 20), (235, 30, 190)


def scene(
    index: int, *, red: tuple[int, int] = (20, 40), way: int = 6, ground: int = 110
) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.bool_]]:
    """A picture, where the red disc is, and what shows of the magenta block that it passes in front of."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    disc = np.hypot(x - red[0] - way * index, y - red[1]) < 17
    block = (np.abs(x - 160 + 4 * index) < 20) & (np.abs(y - 60) < 24) & ~disc
    pixels = np.full((HEIGHT, WIDTH, 3), ground, np.uint8)
    pixels[block], pixels[disc] = MAGENTA, RED
    return pixels, disc, block


@pytest.fixture(autouse=True)
def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A working folder with `in.mp4`, and the default model replaced by one that finds what is red."""
    install(monkeypatch, tmp_path / "home")
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    film(folder / "in.mp4", [scene(index)[0] for index in range(FRAMES)])
    return folder


def film(path: Path, pictures: list[NDArray[np.uint8]]) -> Path:
    return write_video(path, pictures, pixel_format="yuv444p", options={"crf": "1", "preset": "ultrafast"}, matrix=5)


def run(*arguments: str, verb: str = "predict") -> int:
    with pytest.raises(SystemExit) as end:
        main([verb, *arguments])
    assert isinstance(end.value.code, int)
    return end.value.code


def maps(folder: Path) -> list[NDArray[np.bool_]]:
    return [np.asarray(Image.open(path)) > 127 for path in sorted(folder.iterdir())]


def share(inside: NDArray[np.bool_], found: NDArray[np.bool_]) -> float:
    return float(found[inside].mean()) if inside.any() else 1.0


@pytest.mark.parametrize("arguments", [
    ["--keep", "20,40"],
    ["--keep", "22,60"],  # a little beside it
    ["--keep", "176,40@1.04"],  # the frames before wait for it
    ["--ignore", "130,20,192,128"],
])  # fmt: skip
def test_the_object_wanted_is_kept_and_the_other_is_not(place: Path, arguments: list[str]) -> None:
    assert run("in.mp4", "-w", "maps", *arguments, "-q") == 0
    found = maps(place / "in_maps")
    assert len(found) == FRAMES
    for index, kept in enumerate(found):
        _, disc, block = scene(index)
        inner = disc & (np.roll(disc, 2, 1) & np.roll(disc, -2, 1))
        assert share(inner, kept) > 0.9, index
        assert share(block, kept) < 0.1, index


def test_the_one_behind_can_be_the_one_wanted(place: Path) -> None:
    assert run("in.mp4", "-w", "maps", "--keep", "160,60", "-q") == 0
    for index, kept in enumerate(maps(place / "in_maps")):
        _, disc, block = scene(index)
        assert share(block, kept) > 0.85 and share(disc, kept) < 0.12, index


def test_both_kept_is_everything(place: Path) -> None:
    assert run("in.mp4", "-w", "maps", "-o", "all", "-q") == 0
    assert run("in.mp4", "-w", "maps", "-o", "both", "--keep", "20,40", "--keep", "160,60@0", "-q") == 0
    for every, both in zip(maps(place / "all" / "in_maps"), maps(place / "both" / "in_maps"), strict=True):
        np.testing.assert_array_equal(every, both)


def test_after_a_cut_it_is_found_again_by_its_colours(place: Path) -> None:
    first = [scene(index, way=2)[0] for index in range(12)]
    # The other way round, over another ground.
    second = [np.ascontiguousarray(scene(index, way=2, ground=40)[0][::-1, ::-1]) for index in range(12)]
    film(place / "cut.mp4", first + second)
    assert run("cut.mp4", "-w", "maps", "--keep", "20,40", "-q") == 0
    for index, kept in enumerate(maps(place / "cut_maps")[12:]):
        _, disc, block = (picture[::-1, ::-1] for picture in scene(index, way=2))
        assert share(disc, kept) > 0.9 and share(block, kept) < 0.1, index


def test_segment_and_python_choose_alike(place: Path) -> None:
    assert run("in.mp4", "-w", "masks", "--instances", "--keep", "20,40", "-q", verb="segment") == 0
    masks = [np.asarray(Image.open(path)) for path in sorted((place / "in_masks").iterdir())]
    model = vsalient.load_model(device="cpu")
    shown = [result.mask for result in model.segment("in.mp4", wanted=vsalient.Wanted.parse(["20,40"]))]
    predicted = [result.mask for result in model.predict("in.mp4", wanted=vsalient.Wanted.parse([(20, 40)]))]
    for mask, one, other in zip(masks, shown, predicted, strict=True):
        np.testing.assert_array_equal(mask > 0, one)
        np.testing.assert_array_equal(one, other)
        assert set(np.unique(mask)) == {0, 1}
    wanted = vsalient.Wanted.parse(ignore=[(130, 20, 192, 128)])
    vsalient.write("in.mp4", {"maps": "out"}, model=model, wanted=wanted)
    assert share(scene(3)[2], maps(place / "out")[3]) < 0.1


@pytest.mark.parametrize(("arguments", "says", "code"), [
    (["--keep", "20,40", "--keep", "100,120"], "--keep 100,120: there is no object at 0.00 s; the nearest is at", 0),
    (["--keep", "20,40", "--keep", "9,9@7"], "--keep 9,9@7: the film ends before that", 0),
    (["--keep", "20,40", "--ignore", "0,120,9,128"], "--ignore 0,120,9,128: no object came up there", 0),
    (["--keep", "100,120"], "no object was found at any point of --keep", 1),
    (["--keep", "20,40@9"], "no object was found at any point of --keep", 1),
])  # fmt: skip
def test_what_is_not_found_is_said(
    place: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str, code: int
) -> None:
    assert run("in.mp4", "-w", "maps", *arguments) == code
    lines = [line for line in capsys.readouterr().err.splitlines() if says in line]
    assert len(lines) == 1, lines
    assert (place / "in_maps").exists() == (code == 0)


@pytest.mark.parametrize(("arguments", "says"), [
    (["--keep", "20"], "--keep '20' is no point"),
    (["--keep", "20,nan"], "--keep '20,nan' is no point"),
    (["--keep", "20,40@soon"], "--keep '20,40@soon' is no point"),
    (["--keep", "20,40@1:75"], "--keep '20,40@1:75' is no point"),
    (["--keep", "-1,40"], "--keep '-1,40' is no point"),
    (["--ignore", "9,9,5,20"], "--ignore '9,9,5,20' is no box"),
    (["--ignore", "1,2,3"], "--ignore '1,2,3' is no box"),
    (["--keep", "192,40"], "--keep 192,40 is outside of the frame, which is 192x128"),
    (["--ignore", "300,0,310,9"], "--ignore 300,0,310,9 is outside of the frame"),
])  # fmt: skip
def test_what_makes_no_sense_is_one_line_before_any_work(
    place: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    assert run("in.mp4", "-w", "maps", *arguments) != 0
    error = capsys.readouterr().err
    assert says in error and "Traceback" not in error and "3dc-lite on" not in error
    assert [path.name for path in place.iterdir()] == ["in.mp4"]


@pytest.mark.parametrize("colours", [(RED, MAGENTA), (RED, RED)])
@pytest.mark.parametrize("front", [0, 1])
def test_two_that_cross_keep_their_numbers(colours: tuple[tuple[int, int, int], ...], front: int) -> None:
    tracker, first = InstanceTracker(), [0, 0]
    y, x = np.mgrid[:100, :200]
    for index in range(40):
        shapes = [np.hypot(x - 20 - 4 * index, y - 50) < 15, (np.abs(x - 180 + 4 * index) < 14) & (np.abs(y - 54) < 20)]
        shown = [shapes[k] & ~(shapes[front] & (k != front)) for k in (0, 1)]
        pixels = np.full((100, 200, 3), 90, np.uint8)
        for mask, colour in zip(shown, colours, strict=True):
            pixels[mask] = colour
        instances = tracker.push(shown[0] | shown[1], pixels)
        assert set(np.unique(instances)) <= {0, 1, 2}
        names = [int(np.bincount(instances[mask]).argmax()) if mask.any() else 0 for mask in shown]
        first = first if index else names
    assert names == first and set(names) == {1, 2}


def test_who_passes_behind_a_post_keeps_the_number() -> None:
    tracker, seen = InstanceTracker(), []
    y, x = np.mgrid[:100, :200]
    for index in range(40):
        body = (np.abs(x - 30 - 4 * index) < 16) & (np.abs(y - 50) < 30)
        shown = body & ~((x >= 90) & (x < 104))
        pixels = np.full((100, 200, 3), 90, np.uint8)
        pixels[body & (y < 50)], pixels[body & (y >= 50)] = (200, 40, 40), (30, 60, 200)
        instances = tracker.push(shown, pixels)
        seen.append({int(number) for number in np.unique(instances[shown])})
    assert seen[0] == seen[-1] == {1} and sum(1 in numbers for numbers in seen) >= 38
