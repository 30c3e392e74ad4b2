"""Pictures as sources and the search for sources: order, kinds of picture, damage, folders, globs."""

import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from media_files import ramp, write_video
from vsalient.errors import DecodeError, InputError, OptionError
from vsalient.media import exact_rate, find_sources, open_source
from vsalient.media.images import to_rgb


def step(pixels: np.ndarray) -> int:
    return round((float(pixels[24, 32].mean()) - 40) / 8)


def fill(folder: Path, names: list[str]) -> Path:
    """A folder of pictures, the n-th name showing step n."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        Image.fromarray(ramp(number)).save(folder / name)
    return folder


def test_natural_order_and_names(tmp_path: Path) -> None:
    folder = fill(tmp_path / "f", ["1.png", "2.png", "9.png", "10.png", "100.png"])
    (folder / "notes.txt").write_text("no picture")
    (folder / ".hidden.png").write_bytes(b"")
    with open_source(folder) as source:
        frames = list(source)
        assert (source.info.width, source.info.height, source.info.rate) == (64, 48, 25)
        assert source.info.codec == "images" and source.info.frames_estimate == 5
    assert [frame.name for frame in frames] == ["1", "2", "9", "10", "100"]
    assert [step(frame.pixels) for frame in frames] == [0, 1, 2, 3, 4]
    assert [frame.pts * frame.time_base for frame in frames] == [Fraction(i, 25) for i in range(5)]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp", ".tif", ".JPEG"])
def test_kinds_of_file(tmp_path: Path, suffix: str) -> None:
    folder = fill(tmp_path / "f", [f"a{suffix}", f"b{suffix}"])
    with open_source(folder) as source:
        assert [step(frame.pixels) for frame in source] == [0, 1]


def test_rate_and_range(tmp_path: Path) -> None:
    folder = fill(tmp_path / "f", [f"{i}.png" for i in range(10)])
    with open_source(folder, rate=Fraction(10), start=0.3, end=0.6) as source:
        frames = list(source)
    assert [step(frame.pixels) for frame in frames] == [3, 4, 5]
    assert [frame.index for frame in frames] == [0, 1, 2]
    assert frames[0].pts * frames[0].time_base == Fraction(3, 10)
    with pytest.raises(InputError, match="no frame from 2 s"):
        open_source(folder, start=2)
    with pytest.raises(OptionError, match="rate"):
        open_source(folder, rate=Fraction(-1))


def test_another_size_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    folder = fill(tmp_path / "f", ["1.png", "2.png"])
    Image.fromarray(ramp(0, 30, 20)).save(folder / "3.png")
    with open_source(folder) as source, pytest.raises(InputError, match=r"3\.png is 30x20, .* 64x48"):
        list(source)


def test_damaged_pictures_are_replaced_by_their_neighbours(tmp_path: Path) -> None:
    folder = fill(tmp_path / "f", [f"{i}.png" for i in range(5)])
    for number in (0, 3):
        (folder / f"{number}.png").write_bytes((folder / f"{number}.png").read_bytes()[:60])
    with open_source(folder) as source:
        frames = list(source)
        assert source.corrupt_frames == 2
    assert [step(frame.pixels) for frame in frames] == [1, 1, 2, 2, 4]
    assert [frame.corrupt for frame in frames] == [True, False, False, True, False]
    for number in range(5):
        (folder / f"{number}.png").write_bytes(b"no picture")
    with pytest.raises(DecodeError, match="not one picture"):
        open_source(folder)


def test_gray_deep_palette_alpha_and_turned_pictures(tmp_path: Path) -> None:
    gray = np.arange(48 * 64, dtype=np.uint16).reshape(48, 64) * 21
    Image.fromarray(gray).save(tmp_path / "deep.png")
    assert np.array_equal(to_rgb(Image.open(tmp_path / "deep.png"))[:, :, 1], gray >> 8)
    rgb = ramp(3)
    assert np.array_equal(to_rgb(Image.fromarray(rgb).quantize(8)), rgb)
    assert np.array_equal(to_rgb(Image.fromarray(rgb[:, :, 0])), np.repeat(rgb[:, :, :1], 3, axis=2))
    see_through = np.dstack([rgb, np.full((48, 64), 255, np.uint8)])
    see_through[:10, :, 3] = 0
    flat = to_rgb(Image.fromarray(see_through))
    assert flat[:10].max() == 0 and np.array_equal(flat[10:], rgb[10:])
    exif = Image.Exif()
    exif[0x0112] = 6  # a camera turned clockwise
    Image.fromarray(rgb).save(tmp_path / "turned.png", exif=exif)
    with open_source(tmp_path / "turned.png") as source:
        (frame,) = source
    assert np.array_equal(frame.pixels, np.rot90(rgb, -1))
    with pytest.raises(DecodeError, match="floating"):
        to_rgb(Image.fromarray(np.zeros((4, 4), np.float32)))


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp", ".apng"])
def test_animations_keep_their_times(tmp_path: Path, suffix: str) -> None:
    first, *rest = [Image.fromarray(ramp(i)) for i in range(4)]
    kind = "PNG" if suffix == ".apng" else None
    options = {"lossless": True} if suffix == ".webp" else {}
    path = tmp_path / f"a{suffix}"
    first.save(path, kind, save_all=True, append_images=rest, duration=[40, 200, 40, 40], **options)
    with open_source(path) as source:
        frames = list(source)
    assert [step(frame.pixels) for frame in frames] == [0, 1, 2, 3]
    assert [frame.pts * frame.time_base for frame in frames] == [Fraction(t, 1000) for t in (0, 40, 240, 280)]


def test_a_file_that_is_no_picture(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("hello")
    (tmp_path / "b.jpg").write_bytes(b"")
    with pytest.raises(DecodeError, match="not a picture"):
        open_source(tmp_path / "a.png")
    with pytest.raises(DecodeError, match="empty"):
        open_source(tmp_path / "b.jpg")
    with pytest.raises(InputError, match="does not exist"):
        open_source(tmp_path / "c.png")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """videos/{a2,a10}.mp4, JPEGImages/480p/{bear,bus}/0000x.png, empty/, mixed/."""
    video = write_video(tmp_path / "v.mp4", [ramp(0)])
    (tmp_path / "videos").mkdir()
    for name in ("a10.mp4", "a2.MP4", ".part.mp4", "readme.txt"):
        (tmp_path / "videos" / name).write_bytes(video.read_bytes())
    for name in ("bear", "bus"):
        fill(tmp_path / "JPEGImages" / "480p" / name, ["00000.png", "00001.png"])
    (tmp_path / "empty" / "deeper").mkdir(parents=True)
    fill(tmp_path / "mixed", ["cover.png"])
    (tmp_path / "mixed" / "film.mkv").write_bytes(video.read_bytes())
    return tmp_path


def names(tree: Path, *inputs: str) -> list[str]:
    return [p.relative_to(tree).as_posix() for p in find_sources([str(tree / item) for item in inputs])]


def test_find_sources(tree: Path) -> None:
    assert names(tree, "v.mp4") == ["v.mp4"]
    assert names(tree, "videos") == ["videos/a2.MP4", "videos/a10.mp4"]
    assert names(tree, "JPEGImages/480p/bear") == ["JPEGImages/480p/bear"]
    assert names(tree, "JPEGImages") == ["JPEGImages/480p/bear", "JPEGImages/480p/bus"]
    assert names(tree, "videos/*") == ["videos/a2.MP4", "videos/a10.mp4"]
    assert names(tree, "**/*.mp4") == ["v.mp4", "videos/a10.mp4"]
    assert names(tree, "JPEGImages/480p/b*") == ["JPEGImages/480p/bear", "JPEGImages/480p/bus"]
    assert names(tree, "mixed") == ["mixed/film.mkv"]
    assert names(tree, "videos/readme.txt") == ["videos/readme.txt"]  # named by itself: the user means it


def test_order_is_that_of_the_inputs_without_repeats(tree: Path) -> None:
    assert names(tree, "videos/a10.mp4", "v.mp4", "videos", "videos/../v.mp4") == [
        "videos/a10.mp4",
        "v.mp4",
        "videos/a2.MP4",
    ]


@pytest.mark.parametrize(
    ("item", "words"), [("none.mp4", "does not exist"), ("empty", "no videos and no pictures"), ("*.avi", "matches")]
)
def test_nothing_found(tree: Path, item: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        find_sources([tree / item])
    if item != "*.avi":
        with pytest.raises(InputError):
            open_source(tree / item)


def test_a_name_with_brackets_is_a_name(tree: Path) -> None:
    odd = tree / "clip [1].mp4"
    odd.write_bytes((tree / "v.mp4").read_bytes())
    assert find_sources([odd]) == [odd]


def test_no_two_frames_have_one_name(tmp_path: Path) -> None:
    """Their maps would be one file."""
    with open_source(fill(tmp_path / "f", ["a.png", "a.jpg", "b.png"])) as source:
        assert [frame.name for frame in source] == ["a.jpg", "a.png", "b.png"]
    pictures = [Image.fromarray(ramp(number)) for number in range(3)]
    pictures[0].save(tmp_path / "moving.gif", save_all=True, append_images=pictures[1:], duration=40)
    with open_source(tmp_path / "moving.gif") as source:
        assert [frame.name for frame in source] == [None, None, None]
    pictures[0].save(tmp_path / "still.gif")
    with open_source(tmp_path / "still.gif") as source:
        assert [frame.name for frame in source] == ["still"]


@pytest.mark.parametrize("span", [{"start": math.nan}, {"end": math.inf}, {"start": 1e300}, {"end": math.nan}])
def test_times_that_are_none(tmp_path: Path, span: dict[str, float]) -> None:
    for path in (fill(tmp_path / "f", ["a.png"]), write_video(tmp_path / "v.mp4", [ramp(0)])):
        with pytest.raises(OptionError, match="no time in a video"):
            open_source(path, **span)


def test_rates_that_files_can_hold() -> None:
    assert exact_rate(29.97) == Fraction(2997, 100) and exact_rate(Fraction(30000, 1001)) == Fraction(30000, 1001)
    for rate in (0, -1, 1e-9, 1e12, math.nan, math.inf):
        with pytest.raises(OptionError, match="frames a second"):
            exact_rate(rate)


def test_a_link_back_to_a_folder_ends_nothing(tmp_path):
    fill(tmp_path / "tree" / "a", ["1.png"])
    (tmp_path / "tree" / "back").symlink_to(tmp_path / "tree")
    assert find_sources([tmp_path / "tree"]) == [tmp_path / "tree" / "a"]
