"""Mattes: levels, holes, edges found by colour, calm over time, and the object's own colours."""

import sys
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from vsalient.errors import OptionError
from vsalient.matte import Matte, MatteOptions, Matter, parse_levels
from vsalient.matte.grid import Band, Grid
from vsalient.matte.shape import choke, feather, remove_small, stretch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
from composites import film

GROUND, OBJECT = np.array([30, 140, 60]), np.array([220, 60, 40])


def coarse(alpha: np.ndarray, factor: int = 4) -> np.ndarray:
    """What a network of a `factor`-th of the size makes of `alpha`: blurred, as large again."""
    height, width = alpha.shape
    small = cv2.resize(alpha, (width // factor, height // factor), interpolation=cv2.INTER_AREA)
    return cv2.resize(cv2.GaussianBlur(small, (0, 0), 1.0), (width, height), interpolation=cv2.INTER_LINEAR).clip(0, 1)


def disc(height: int = 360, width: int = 640, radius: float = 90.0, x: float = 300.3) -> np.ndarray:
    """Alpha of a disc whose rim is one pixel wide."""
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    return np.clip(radius - np.hypot(columns - x, rows - height / 2) + 0.5, 0, 1).astype(np.float32)


def picture(alpha: np.ndarray, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 4, (*alpha.shape, 1))
    mixed = alpha[..., None] * OBJECT + (1 - alpha[..., None]) * GROUND + noise
    return np.clip(mixed + 0.5, 0, 255).astype(np.uint8)


def edge_width(alpha: np.ndarray, row: int) -> float:
    """Pixels from a tenth to nine tenths, on the way in from the left."""
    line = alpha[row].astype(np.float32) / 255
    inside = int(np.argmax(line >= 0.5))
    first = inside - int(np.argmax(line[inside::-1] <= 0.1))
    last = inside + int(np.argmax(line[inside:] >= 0.9))
    return float(last - first)


@pytest.mark.parametrize("size", [(360, 640), (1080, 1920), (719, 1283), (48, 64)])
def test_a_hard_rim_comes_out_hard_and_where_it_is(size: tuple[int, int]) -> None:
    alpha = disc(*size, radius=size[0] / 4, x=size[1] / 2 + 0.3)
    pixels, saliency = picture(alpha), coarse(alpha)
    matte = Matter()(pixels, saliency)
    assert matte.alpha.shape == size and matte.alpha.dtype == np.uint8
    wrong, before = np.abs(matte.alpha / 255 - alpha).mean(), np.abs(saliency - alpha).mean()
    assert wrong < 0.5 * before
    assert edge_width(matte.alpha, size[0] // 2) <= 3 < edge_width((saliency * 255).astype(np.uint8), size[0] // 2)


@pytest.mark.parametrize(("rim", "share"), [("hard", 0.2), ("soft", 0.6), ("hair", 0.8)])
def test_generated_composites_come_nearer_to_their_alpha(rim: str, share: float) -> None:
    pixels, alpha, colors = next(film(rim, 1, frames=1, size=(540, 960)))  # type: ignore[arg-type]
    saliency = coarse((alpha >= 0.5).astype(np.float32))  # networks learn from hard masks
    matte = Matter(MatteOptions(style="soft"))(pixels, saliency)
    assert np.abs(matte.alpha / 255 - alpha).mean() < share * np.abs(saliency - alpha).mean()
    mixed = (alpha > 0.1) & (alpha < 0.9)
    own = np.abs(matte.colors[mixed].astype(float) - colors[mixed]).mean()
    assert own < 0.7 * np.abs(pixels[mixed].astype(float) - colors[mixed]).mean()


@pytest.mark.parametrize("style", ["raw", "soft", "sharp"])
def test_the_ground_is_nowhere_under_transparent_pixels(style: str) -> None:
    alpha = disc()
    matte = Matter(MatteOptions(style=style))(picture(alpha), coarse(alpha))  # type: ignore[arg-type]
    hidden = matte.colors[matte.alpha == 0].astype(int)
    black = (hidden == 0).all(axis=1)
    near_object = np.abs(hidden - OBJECT).max(axis=1) < 40  # the ground is 190 away
    assert (black | near_object).all()
    assert black.mean() > 0.5 and (near_object.any() or style == "raw")


def test_no_line_of_ground_shows_at_the_edge() -> None:
    alpha = cv2.GaussianBlur(disc(), (0, 0), 3)
    pixels, saliency = picture(alpha), coarse(alpha)
    between = (alpha > 0.2) & (alpha < 0.8)
    clean = Matter()(pixels, saliency)
    plain = Matter(MatteOptions(decontaminate=False))(pixels, saliency)
    distance = [np.abs(m.colors[between & (m.alpha > 0)].astype(int) - OBJECT).mean() for m in (clean, plain)]
    assert distance[0] < 0.35 * distance[1]


def test_raw_alpha_is_the_map() -> None:
    saliency = coarse(disc())
    matte = Matter(MatteOptions(style="raw"))(picture(disc()), saliency)
    assert np.abs(matte.alpha - saliency * 255).max() <= 0.51


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_nothing_and_everything(value: float) -> None:
    saliency = np.full((90, 160), value, np.float32)
    pixels = picture(disc(90, 160, 20, 80))
    matte = Matter()(pixels, saliency)
    assert (matte.alpha == round(value * 255)).all()
    assert np.array_equal(matte.colors, pixels if value else np.zeros_like(pixels))
    assert matte.rgba().shape == (90, 160, 4)


def test_an_object_may_leave_the_picture() -> None:
    alpha = disc(x=20.0)
    matte = Matter()(picture(alpha), coarse(alpha))
    assert matte.alpha[180, 0] == 255 and np.abs(matte.alpha / 255 - alpha).mean() < 0.002


def test_flicker_is_calmed_and_a_cut_begins_anew() -> None:
    rng = np.random.default_rng(5)
    alpha = disc()
    pixels = picture(alpha)
    shaky = [coarse(alpha) * np.float32(rng.uniform(0.35, 1.0)) for _ in range(8)]

    def unrest(strength: float) -> float:
        matter = Matter(MatteOptions(style="soft", levels=(0.0, 1.0), steady=strength))
        mattes = [matter(pixels, saliency).alpha.astype(float) / 255 for saliency in shaky]
        inside = alpha > 0.99
        return float(np.mean([np.abs(b - a)[inside].mean() for a, b in pairwise(mattes)]))

    assert unrest(0.6) < 0.75 * unrest(0.0)
    matter = Matter(MatteOptions(steady=0.9))
    matter(pixels, coarse(alpha))
    other = disc(x=420.0)
    scene = 255 - picture(other, 1)
    again = matter(scene, coarse(other))
    assert np.array_equal(again.alpha, Matter()(scene, coarse(other)).alpha)


def test_levels_holes_and_specks() -> None:
    saliency = np.zeros((100, 100), np.float32)
    saliency[20:80, 20:80] = 0.8
    saliency[40:43, 40:43] = 0.1
    saliency[5:8, 5:8] = 0.9
    saliency[60:80, 0:10] = 0.5
    levels = stretch(saliency, 0.3, 0.7)
    assert levels[50, 50] == 1 and levels[0, 0] == 0 and levels[70, 5] == pytest.approx(0.5)
    clean = remove_small(levels, holes=0.01, specks=0.01)
    assert clean[41, 41] == 1 and clean[6, 6] == 0 and clean[70, 5] == pytest.approx(0.5)
    assert np.array_equal(remove_small(levels, holes=0, specks=0), levels)
    doubt = saliency.copy()
    doubt[50:56, 30:36], doubt[50:56, 60:66] = 0.2, 0.0
    filled = remove_small(stretch(doubt, 0.3, 0.7), holes=0.002, specks=0.0, probability=doubt)
    assert filled[53, 33] == 1, "where the map is in doubt a larger hole is filled too"
    assert filled[53, 63] == 0, "a view through stays"


@pytest.mark.parametrize(("pixels", "edge"), [(3, 33), (-3, 27), (1.5, 31.5), (0, 30)])
def test_choke_moves_the_edge(pixels: float, edge: float) -> None:
    alpha = np.zeros((100, 100), np.uint8)
    alpha[:, 30:] = 255
    moved = choke(alpha, pixels)
    assert 100 - moved[50].astype(float).sum() / 255 == pytest.approx(edge, abs=0.01)


def test_feather_fades_the_edge_about_where_it_was() -> None:
    alpha = np.zeros((100, 100), np.uint8)
    alpha[:, 50:] = 255
    soft = feather(alpha, 4.0)
    assert abs(int(soft[50, 49]) - 127) < 20 and 5 < soft[50, 43] < 40 and soft[50, 99] == 255
    assert feather(alpha, 0) is alpha


def test_a_band_reads_and_writes_at_its_pixels() -> None:
    grid = Grid.of(719, 1283)
    cells = np.zeros(grid.shape, bool)
    cells[-1, -1] = cells[0, 0] = True
    band = Band(grid, cells)
    frame = np.zeros((719, 1283), np.uint8)
    band.put(frame, np.full(len(band), 7, np.uint8))
    assert frame[0, 0] == frame[-1, -1] == 7 and (band.take(frame) == 7).all() and (frame > 0).sum() == len(band)
    ramp = np.broadcast_to(np.arange(grid.shape[1], dtype=np.float32), grid.shape)
    smooth = band.sample(np.ascontiguousarray(ramp))
    assert np.allclose(smooth, np.clip((band.columns + 0.5) / grid.step - 0.5, 0, grid.shape[1] - 1), atol=0.04)


@pytest.mark.parametrize("text", ["0.7,0.3", "0.3", "a,b", "0.3,0.7,0.9", "-1,0.5", "0.2,1.5", "nan,0.5", ""])
def test_levels_out_of_order_are_refused(text: str) -> None:
    with pytest.raises(OptionError, match=r"--levels .*0 <= LOW < HIGH <= 1"):
        parse_levels(text)


@pytest.mark.parametrize(
    "fields",
    [
        {"levels": (0.7, 0.3)},
        {"style": "smooth"},
        {"choke": 200.0},
        {"choke": float("nan")},
        {"feather": -1.0},
        {"steady": 1.0},
        {"holes": -0.1},
        {"specks": float("nan")},
    ],
)
def test_senseless_options_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(OptionError):
        MatteOptions(**fields)  # type: ignore[arg-type]


def test_mattes_are_alike_each_time() -> None:
    def run() -> list[Matte]:
        matter = Matter()
        return [matter(picture(disc(x=x)), coarse(disc(x=x))) for x in (200.0, 204.0, 208.0)]

    for first, second in zip(run(), run(), strict=True):
        assert np.array_equal(first.alpha, second.alpha) and np.array_equal(first.colors, second.colors)
