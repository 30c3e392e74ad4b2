"""What a Python user may have a video in: everything in use is read alike, everything else is refused in a sentence."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
import torch
from PIL import Image

import vsalient
from tiny_model import install, stripe_mask, stripes, write_clip
from vsalient.errors import InputError, OptionError

COUNT = 6
Make = Callable[[Path], Any]


@pytest.fixture(autouse=True)
def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    install(monkeypatch, tmp_path / "home")
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    write_clip(folder / "clip.mp4", COUNT)
    (folder / "frames").mkdir()
    for index, pixels in enumerate(stripes(COUNT)):
        Image.fromarray(pixels).save(folder / "frames" / f"s{index}.png")
    return folder


@pytest.fixture
def model() -> vsalient.Model:
    return vsalient.load_model(device="cpu", dtype="float32")


def stacked() -> np.ndarray:
    return np.stack(stripes(COUNT))


def rgba() -> list[np.ndarray]:
    return [np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)]) for pixels in stripes(COUNT)]


def pyav_frames(place: Path) -> list[av.VideoFrame]:
    with av.open(str(place / "clip.mp4")) as container:
        return list(container.decode(video=0))


SAME: dict[str, Make] = {
    "path": lambda place: place / "clip.mp4",
    "text": lambda place: "clip.mp4",
    "folder of frames": lambda place: "frames/",
    "glob of one": lambda place: "cl*.mp4",
    "folder with one video": lambda place: place,
    "list of one video": lambda place: ["clip.mp4"],
    "list of picture paths": lambda place: [f"frames/s{index}.png" for index in range(COUNT)],
    "list of arrays": lambda place: stripes(COUNT),
    "generator": lambda place: iter(stripes(COUNT)),
    "4-D array": lambda place: stacked(),
    "float array": lambda place: stacked().astype(np.float32) / 255,
    "double arrays": lambda place: [pixels / 255 for pixels in stripes(COUNT)],
    "RGBA arrays": lambda place: rgba(),
    "channels first": lambda place: stacked().transpose(0, 3, 1, 2),
    "tensor THWC": lambda place: torch.from_numpy(stacked()),
    "tensor TCHW": lambda place: torch.from_numpy(stacked()).permute(0, 3, 1, 2),
    "float tensor TCHW": lambda place: torch.from_numpy(stacked()).permute(0, 3, 1, 2) / 255,
    "half tensor": lambda place: (torch.from_numpy(stacked()) / 255).bfloat16(),
    "list of tensors CHW": lambda place: list(torch.from_numpy(stacked()).permute(0, 3, 1, 2)),
    "PIL images": lambda place: [Image.fromarray(pixels) for pixels in stripes(COUNT)],
    "PyAV frames": pyav_frames,
    "PyAV container": lambda place: av.open(str(place / "clip.mp4")),
    "cv2.VideoCapture": lambda place: cv2.VideoCapture(str(place / "clip.mp4")),
    "open file": lambda place: (place / "clip.mp4").open("rb"),
    "bytes in memory": lambda place: io.BytesIO((place / "clip.mp4").read_bytes()),
    "bytes": lambda place: (place / "clip.mp4").read_bytes(),
}


@pytest.mark.parametrize("make", SAME.values(), ids=SAME.keys())
def test_everything_that_holds_the_clip_gives_its_maps(make: Make, place: Path, model: vsalient.Model) -> None:
    found = list(model.predict(make(place), rate=25))
    assert [result.index for result in found] == list(range(COUNT))
    for result in found:
        assert result.time == pytest.approx(result.index / 25)
        assert result.frame.pixels.dtype == np.uint8 and result.frame.pixels.shape == (64, 96, 3)
        np.testing.assert_array_equal(result.saliency > 0.5, stripe_mask(result.index))


@pytest.mark.parametrize(
    "make",
    [
        lambda: stripes(1)[0],
        lambda: Image.fromarray(stripes(1)[0]),
        lambda: torch.from_numpy(stripes(1)[0]).permute(2, 0, 1),
        lambda: "frames/s0.png",
    ],
    ids=["array", "PIL", "tensor", "path"],
)
def test_one_picture_is_a_video_of_one_frame(make: Callable[[], Any], model: vsalient.Model) -> None:
    (result,) = model.predict(make())
    np.testing.assert_array_equal(result.saliency > 0.5, stripe_mask(0))


@pytest.mark.parametrize("shape", [(4, 40, 60), (4, 40, 60, 1)])
def test_gray_is_read_as_gray(shape: tuple[int, ...], model: vsalient.Model) -> None:
    values = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    found = list(model.predict(values if len(shape) == 4 else list(values)))
    assert len(found) == 4
    for result, gray in zip(found, values.reshape(4, 40, 60), strict=True):
        np.testing.assert_array_equal(result.frame.pixels, np.repeat(gray[:, :, None], 3, axis=2))


def test_what_is_transparent_is_black(model: vsalient.Model) -> None:
    picture = np.full((16, 16, 4), 200, np.uint8)
    picture[:, :8, 3] = 0
    picture[:, 8:, 3] = 255
    (result,) = model.predict([picture])
    assert result.frame.pixels[0, 0, 0] == 0 and result.frame.pixels[0, 15, 0] == 200


def test_frames_of_pyav_keep_their_times(place: Path, model: vsalient.Model) -> None:
    frames = pyav_frames(place)[2:5]
    assert [(r.index, r.time) for r in model.predict(frames)] == [(0, 0.08), (1, 0.12), (2, 0.16)]


def test_a_part_of_an_open_file(place: Path, model: vsalient.Model) -> None:
    with (place / "clip.mp4").open("rb") as file:
        assert len(list(model.predict(file, start=0.08, end=0.16))) == 2


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (None, "NoneType is no video: give a path"),
        (1.5, "float is no video"),
        ({}, "dict is no video"),
        (object(), "object is no video"),
        ("http://example.org/a.mp4", "is an address: fetch the file first"),
        ("nothing.mp4", "nothing.mp4 does not exist"),
        ("*.avi", r"no video or picture matches"),
        ("frames/*.png", "matches 6 pictures: give their folder"),
        (b"", "holds nothing"),
        (io.StringIO("text"), "open for text"),
        (99, "camera 99 cannot be opened"),
        (["frames/s0.png", "clip.mp4"], "clip.mp4 is no picture"),
        (["frames/s0.png", "frames/s9.png"], "s9.png does not exist"),
        ([1, 2], "frame 0 is int"),
        (["text", np.zeros((4, 4, 3), np.uint8)], "frame 0 is the path text|frame 0 is str"),
        (np.zeros(5), "1 dimensions"),
        (np.zeros((1, 2, 8, 8, 3), np.uint8), r"shape \(1, 2, 8, 8, 3\) is no single video"),
        ([np.zeros((5, 6, 2), np.uint8)], "1, 3 or 4 channels"),
        ([np.zeros((0, 4, 3), np.uint8)], "has shape"),
        ([np.zeros((4, 4, 3), np.int64)], "frame 0 is int64: give uint8"),
        ([np.full((4, 4, 3), 255.0)], "values from 255 to 255"),
        ([np.full((4, 4, 3), np.nan)], "values from nan"),
        ([np.zeros((8, 8, 3), np.uint8), np.zeros((8, 9, 3), np.uint8)], "frame 1 is 9x8"),
    ],
)
def test_what_is_not_taken_is_refused_in_one_sentence(source: Any, words: str, model: vsalient.Model) -> None:
    with pytest.raises(InputError, match=words) as caught:
        list(model.predict(source))
    assert "\n" not in str(caught.value)


def test_several_videos_are_one_too_many(place: Path, model: vsalient.Model) -> None:
    write_clip(place / "other.mp4", 2)
    for source in (place, "*.mp4"):
        with pytest.raises(InputError, match=r"2 videos, the first two clip.mp4 and other.mp4: give one at a time"):
            list(model.predict(source))
    with pytest.raises(OptionError, match="are for files"):
        model.predict(stripes(2), start=0.1)


def test_the_copy_of_an_open_file_is_removed(
    place: Path, model: vsalient.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(place / "temporary"))
    results = model.predict((place / "clip.mp4").read_bytes())
    next(results)
    assert list((place / "temporary").iterdir())
    results.close()  # type: ignore[attr-defined]
    assert not list((place / "temporary").iterdir())
