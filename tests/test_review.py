"""The review page in a real browser, and how well doubt tells the frames that went wrong."""

import os
import shutil
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from conftest import needs
from media_files import write_video
from moving_square import scene
from tiny_model import install, stripe_mask, write_clip
from vsalient.cli.app import main
from vsalient.review.doubt import Doubt, to_review
from vsalient.review.recorder import Recorder
from vsalient.types import Frame, VideoInfo

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]


@pytest.fixture(autouse=True)
def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A working folder with a film, and the default model replaced by one that finds what is red."""
    install(monkeypatch, tmp_path / "home")
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    write_clip(folder / "in.mp4", 12, size=(192, 128))
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's chromium, or what CHROMIUM names."""
    needs("browser")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        program = shutil.which(os.environ.get("CHROMIUM", "chromium"))
        running = driver.chromium.launch(executable_path=program, args=FLAGS)
        yield running
        running.close()


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    assert isinstance(end.value.code, int)
    return end.value.code


def shown(page: Any) -> np.ndarray:
    """What the canvas shows, (H, W, 3)."""
    size = page.evaluate("[screen_.width, screen_.height]")
    data = page.evaluate("Array.from(paint.getImageData(0, 0, screen_.width, screen_.height).data)")
    return np.asarray(data, np.uint8).reshape(size[1], size[0], 4)[..., :3]


def open_page(browser: Any, path: Path, **settings: Any) -> tuple[Any, list[str]]:
    page = browser.new_page(**settings)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: request.url.startswith(("http:", "https:")) and errors.append(request.url))
    page.goto(path.resolve().as_uri())
    page.wait_for_function("document.body.dataset.frame !== undefined")
    return page, errors


def show(page: Any, frame: int, **values: Any) -> np.ndarray:
    for name, value in values.items():
        page.evaluate(
            "([name, value]) => { const e = document.getElementById(name); e.value = value;"
            " e.dispatchEvent(new Event('input')); }", [name, value],
        )  # fmt: skip
    page.evaluate("frame => go(frame)", frame)
    page.wait_for_function("frame => document.body.dataset.frame == frame && !film.seeking && !dirty", arg=frame)
    return shown(page)


@pytest.mark.slow
def test_the_report_in_a_browser(place: Path, browser: Any) -> None:
    assert run("predict", "in.mp4", "-w", "report,maps", "-q") == 0
    path = place / "in_report.html"
    assert path.stat().st_size < 25e6 * 12 / 25 / 60 + 30_000
    page, errors = open_page(browser, path)
    inside = cv2.erode(stripe_mask(7, 192, 128).astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    outside = cv2.dilate(stripe_mask(7, 192, 128).astype(np.uint8), np.ones((9, 9), np.uint8)) == 0
    gray = show(page, 7, view="map")
    assert gray[inside].min() > 200 and gray[outside].max() < 40
    film = show(page, 7, view="film")
    assert (
        np.abs(film[outside].astype(int) - 110).mean() < 8
        and np.abs(film[inside].astype(int) - [230, 20, 20]).mean() < 25
    )
    side = show(page, 7, view="side")
    assert side.shape == (128, 384, 3) and side[:, 192:][inside].min() > 200
    weak, strong = (show(page, 7, view="overlay", strength=value)[inside].astype(int) for value in (0, 100))
    assert np.abs(weak - film[inside]).mean() < 4 and np.abs(strong - [255, 45, 85]).mean() < 12
    cut = show(page, 7, view="map", threshold=50)
    assert set(np.unique(cut)) == {0, 255}
    assert {"decode", "model", "finish"} <= set(page.evaluate("Object.keys(FACTS.stages)"))
    assert page.evaluate("Math.min(...Object.values(FACTS.stages).flat())") >= 0
    assert page.locator("#curves svg").count() == 4 and page.locator("#review button").count() >= 1
    page.locator("#review button").first.click()
    page.wait_for_function("!film.seeking && !dirty")
    page.locator("#play").click()
    page.wait_for_function("+document.body.dataset.frame >= 10", timeout=10_000)
    assert not errors
    page.close()


def test_a_page_stays_below_25_mb_a_minute_whatever_is_filmed(tmp_path: Path) -> None:
    rng, seconds, rate = np.random.default_rng(0), 20, 5
    info = VideoInfo(tmp_path / "noise.mp4", 320, 240, Fraction(rate), Fraction(1, rate))
    recorder = Recorder(tmp_path / "noise.html", info, ["map"], stages=lambda: {"model": 1.0})
    for index in range(seconds * rate):
        pixels = rng.integers(0, 256, (240, 320, 3), np.uint8)
        recorder.write(Frame(pixels, index, index, Fraction(1, rate)), [rng.random((240, 320), np.float32)])
    recorder.close()
    assert (tmp_path / "noise.html").stat().st_size < 25e6 * seconds / 60


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_the_dark(place: Path, browser: Any, scheme: str) -> None:
    assert run("view", "in.mp4", "-q", "-o", "page.html") == 0
    page, errors = open_page(
        browser, place / "page.html", viewport={"width": 375, "height": 700}, color_scheme=scheme, has_touch=True
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    back = page.evaluate("getComputedStyle(document.body).backgroundColor")
    levels = [int(value) for value in back[4:-1].split(",")]
    assert max(levels) < 60 if scheme == "dark" else min(levels) > 200
    assert not errors
    page.close()


@pytest.mark.slow
def test_two_maps_of_one_film(place: Path, browser: Any) -> None:
    folder = place / "other"
    folder.mkdir()
    for index in range(12):
        Image.fromarray(np.roll(stripe_mask(index, 192, 128), 60, 1).astype(np.uint8) * 255).save(
            folder / f"{index:05d}.png"
        )
    assert run("compare", "3dc-lite", "other", "--film", "in.mp4", "-q") == 0
    page, errors = open_page(browser, place / "in_compare.html")
    first = cv2.erode(stripe_mask(3, 192, 128).astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    second = np.roll(first, 60, 1)
    difference = show(page, 3, view="difference").astype(int)
    # The network may miss a corner of the bar.
    assert ((difference[first][:, 0] - difference[first][:, 2]) > 60).mean() > 0.8
    assert ((difference[second][:, 2] - difference[second][:, 0]) > 60).mean() > 0.8
    assert show(page, 3, view="map", which=1)[second].min() > 200
    assert show(page, 3, view="wipe").shape == (128, 192, 3)
    assert not errors
    page.close()


@pytest.mark.parametrize(("arguments", "says"), [
    (["view", "nowhere.mp4"], "nowhere.mp4 does not exist"),
    (["view", "in.mp4", "-o", "page.mp4"], "use .html"),
    (["view", "in.mp4", "--maps", "nowhere"], "'nowhere' is neither maps made earlier nor a model"),
    (["compare", "3dc-lite", "nonsense", "--film", "in.mp4"], "'nonsense' is neither maps made earlier nor a model"),
])  # fmt: skip
def test_refusals(place: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str) -> None:
    before = sorted(place.iterdir())
    assert run(*arguments) != 0
    error = capsys.readouterr().err
    assert says in error and "Traceback" not in error and sorted(place.iterdir()) == before


def test_maps_that_end_early_leave_no_page(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_video(place / "short.mp4", [np.full((128, 192, 3), 9, np.uint8)] * 3, pixel_format="yuv444p")
    before = sorted(place.iterdir())
    assert run("view", "in.mp4", "--maps", "short.mp4", "-q") == 1
    assert "give as many maps as frames" in capsys.readouterr().err and sorted(place.iterdir()) == before


def test_doubt_finds_the_frames_that_went_wrong() -> None:
    pixels, masks = scene(20, 120, 200, side=40)
    doubt = Doubt()
    for index, (picture, mask) in enumerate(zip(pixels, masks, strict=True)):
        saliency = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 2)
        if index in (8, 15):  # the network misses most of it, and is unsure
            saliency = saliency * np.float32(0.55)
            saliency[:, :100] = 0
        doubt.push(picture, saliency)
    scores = doubt.scores()
    assert scores.shape == (20,) and (scores >= 0).all()
    assert set(np.argsort(-scores)[:2]) <= {7, 8, 9, 14, 15, 16}
    assert to_review(scores, np.arange(20) / 25, most=2, apart=0.2)[0] in (8, 15)
    assert len(to_review(scores, np.arange(20) / 25, most=2, apart=0.2)) == 2


def test_doubt_of_nothing_and_of_one_frame() -> None:
    doubt = Doubt()
    assert doubt.scores().shape == (0,) and to_review(doubt.scores(), np.zeros(0)) == []
    doubt.push(np.zeros((40, 60, 3), np.uint8), np.zeros((40, 60), np.float32))
    assert doubt.scores().shape == (1,) and doubt.scores()[0] < 0.01
