"""Hard cuts: found where they are and nowhere else, and nothing of one scene in the next one's maps."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

import vsalient
from conftest import needs
from media_files import write_video
from vsalient.cuts import CutFinder, mark_scenes
from vsalient.media import open_source
from vsalient.segment.binarise import FixedThreshold
from vsalient.segment.segmenter import Cleanup, Segmenter
from vsalient.types import Frame, Pixels

SIZE = (96, 160)


def texture(seed: int, height: int = 96, width: int = 640) -> Pixels:
    """Something like a landscape: soft shapes of several sizes in colour."""
    random = np.random.default_rng(seed)
    picture = np.zeros((height, width, 3), np.float32)
    for grain, weight in ((40, 1.0), (12, 0.6), (3, 0.25)):
        noise = random.normal(size=(height, width, 3)).astype(np.float32)
        smooth = cv2.GaussianBlur(noise, (0, 0), grain / 2)
        picture += weight * smooth / smooth.std()
    return np.clip(110 + 40 * picture + random.uniform(-30, 30, 3), 0, 255).astype(np.uint8)


def scene(seed: int, count: int = 10, *, speed: float = 1.0, object_speed: float = 3.0) -> list[Pixels]:
    """A camera that moves over a landscape, and a disc that moves against it."""
    wide = texture(seed)
    frames = []
    for index in range(count):
        left = round(20 + speed * index)
        frame = wide[:, left : left + SIZE[1]].copy()
        cv2.circle(frame, (30 + round(object_speed * index), 48), 16, (230, 40 + seed % 7 * 30, 60), -1)
        frames.append(frame)
    return frames


def mirrored(frames: list[Pixels]) -> list[Pixels]:
    return [np.ascontiguousarray(frame[:, ::-1]) for frame in frames]


def zoomed(frames: list[Pixels]) -> list[Pixels]:
    return [cv2.resize(frame[10:74, 20:126], SIZE[::-1]) for frame in frames]


def cuts(frames: list[Pixels]) -> list[int]:
    finder = CutFinder()
    told = [cut for frame in frames for cut in finder.push(frame)] + finder.finish()
    assert len(told) == len(frames)
    return [index for index, cut in enumerate(told) if cut]


@pytest.mark.parametrize("speed", [0.0, 2.0, 12.0], ids=["still", "slow", "fast"])
@pytest.mark.parametrize("change", ["unlike", "mirrored", "zoomed", "another pan"])
def test_cuts_are_found(change: str, speed: float) -> None:
    if change == "zoomed" and speed > 2:
        return  # nearer to what a fast camera does anyway than to a cut
    for seed in range(4):
        first = scene(seed, speed=speed)
        second = {
            "unlike": lambda seed=seed: scene(seed + 100, speed=speed),
            "mirrored": lambda seed=seed: mirrored(scene(seed, 20, speed=speed)[10:]),
            "zoomed": lambda seed=seed: zoomed(scene(seed, 20, speed=speed)[10:]),
            "another pan": lambda seed=seed: mirrored(scene(seed, 20, speed=speed + 4)[10:]),
        }[change]()
        assert cuts(first + second) == [10], (seed, speed)


def test_short_scenes_and_the_last_frames() -> None:
    assert cuts(scene(1, 4) + scene(101, 4) + scene(51, 3)) == [4, 8]
    assert cuts(scene(1, 1) + scene(101, 6)) == [1]
    assert cuts([]) == [] and cuts(scene(1, 1)) == []


def flash(frames: list[Pixels]) -> list[Pixels]:
    return [
        np.clip(f.astype(int) * 2 + 90, 0, 255).astype(np.uint8) if 8 <= i < 10 else f for i, f in enumerate(frames)
    ]


def blackout(frames: list[Pixels]) -> list[Pixels]:
    return [f // 20 if 8 <= i < 10 else f for i, f in enumerate(frames)]


def exposure(frames: list[Pixels]) -> list[Pixels]:
    return [np.clip(f * (0.3 + 0.1 * i), 0, 255).astype(np.uint8) for i, f in enumerate(frames)]


def repeated(frames: list[Pixels]) -> list[Pixels]:
    return [frame for frame in frames for _ in range(3)]


@pytest.mark.parametrize("speed", [0.0, 3.0, 14.0, 28.0], ids=["still", "slow", "fast", "whip"])
@pytest.mark.parametrize("change", [list, flash, blackout, exposure, repeated])
def test_nothing_else_is_a_cut(change: Callable[[list[Pixels]], list[Pixels]], speed: float) -> None:
    if change is repeated and speed > 20:
        return  # a sixth of the width at every third frame, with nothing between
    for seed in range(3):
        assert cuts(change(scene(seed, 16, speed=speed))) == [], seed


def test_a_pan_that_begins_at_once() -> None:
    for seed in range(4):
        moving = scene(seed, 12, speed=24.0, object_speed=0)
        assert cuts([moving[0]] * 5 + moving + [moving[-1]] * 5) == []


def test_scenes_are_numbered() -> None:
    pictures = scene(1, 6) + scene(101, 6) + scene(51, 6)
    frames = [Frame(pixels, index, index, Fraction(1, 25)) for index, pixels in enumerate(pictures)]
    marked = list(mark_scenes(frames))
    assert [frame.scene for frame in marked] == [0] * 6 + [1] * 6 + [2] * 6
    assert all(a.pixels is b.pixels and a.index == b.index for a, b in zip(frames, marked, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("model", ["3dc-lite", "scnn-s"])
def test_the_maps_of_a_scene_are_those_it_has_alone(model: str) -> None:
    if model == "scnn-s":
        needs("superpixels")
    loaded = vsalient.load_model(model, device="cpu", dtype="float32")
    first, second = scene(3, 7), mirrored(scene(3, 14)[7:])

    def maps(pictures: list[Pixels], **options: str) -> list[NDArray[np.float32]]:
        return [result.saliency for result in loaded.predict(np.stack(pictures), **options)]

    alone = maps(first) + maps(second)
    joined = maps(first + second)
    assert all(np.array_equal(a, b) for a, b in zip(alone, joined, strict=True))
    mixed = maps(first + second, cuts="off")
    assert model != "3dc-lite" or any(not np.array_equal(a, b) for a, b in zip(alone, mixed, strict=True))


def test_masks_are_not_smoothed_across_a_cut() -> None:
    empty, full = np.zeros(SIZE, np.float32), np.ones(SIZE, np.float32)

    def masks(scenes: list[int]) -> list[bool]:
        segmenter = Segmenter(FixedThreshold(0.5), cleanup=Cleanup(median=5), instances=True)
        found = []
        for index, number in enumerate(scenes):
            frame = Frame(np.zeros((*SIZE, 3), np.uint8), index, index, Fraction(1, 25), scene=number)
            found += segmenter.push(frame, full if index in (0, 1, 2, 5) else empty)
        found += segmenter.finish()
        assert [result.index for result in found] == list(range(len(scenes)))
        numbers = [int(result.instances.max()) for result in found if result.instances is not None]
        assert numbers[0] == 1 and (numbers[5] == 2) == (scenes[5] == 1)
        return [bool(result.mask.any()) for result in found]

    assert masks([0] * 5 + [1] * 4) == [True, True, True, False, False, True, False, False, False]
    assert masks([0] * 9)[5] is False


def test_predict_looks_for_cuts(tmp_path: Path) -> None:
    from click.testing import CliRunner

    from vsalient.cli.app import root

    film = write_video(tmp_path / "film.mp4", scene(3, 6) + scene(104, 6), options={"qp": "0"})
    options = ["predict", str(film), "--device", "cpu", "--dtype", "float32", "-w", "maps", "-q"]
    for name, more in (("auto", []), ("off", ["--cuts", "off"])):
        result = CliRunner().invoke(root, [*options, "-o", str(tmp_path / name), *more])
        assert result.exit_code == 0, result.output
    with open_source(tmp_path / "auto" / "film_maps") as a, open_source(tmp_path / "off" / "film_maps") as b:
        pairs = [np.array_equal(x.pixels, y.pixels) for x, y in zip(a, b, strict=True)]
    assert len(pairs) == 12 and not all(pairs[4:8])
