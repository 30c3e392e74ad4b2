"""The page of `vsalient serve` in a real browser: drop a film, see it run, look at the result."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import needs

needs("serve", "browser")

from playwright.sync_api import expect, sync_playwright

from loopback_service import service
from tiny_model import for_children, install, write_clip

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's chromium, or what CHROMIUM names."""
    with sync_playwright() as driver:
        program = shutil.which(os.environ.get("CHROMIUM", "chromium"))
        running = driver.chromium.launch(executable_path=program, args=FLAGS)
        yield running
        running.close()


@pytest.mark.slow
def test_drop_a_film_and_look_at_the_result(browser: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path / "home")
    for_children(monkeypatch)
    film = write_clip(tmp_path / "film é.mp4", 30)
    (tmp_path / "no film.mp4").write_bytes(b"garbage")
    token = "t" * 24
    with service(tmp_path / "jobs", token=token) as client:
        page = browser.new_page(viewport={"width": 900, "height": 900})
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(str(client.base_url))
        expect(page.locator("#token-form")).to_be_visible()
        page.fill("#token", "wrong" * 5)
        page.click("#token-form button")
        expect(page.locator("#token-form")).to_be_visible()
        page.fill("#token", token)
        page.click("#token-form button")
        expect(page.locator("#drop")).to_be_visible()
        expect(page.locator("#limits")).to_contain_text("10 minutes")
        # A drop, as the browser hands it to the page.
        page.evaluate(
            """([name, bytes]) => {
                const data = new DataTransfer();
                data.items.add(new File([Uint8Array.from(bytes)], name, { type: "video/mp4" }));
                const event = new DragEvent("drop", { dataTransfer: data, bubbles: true });
                document.getElementById("drop").dispatchEvent(event);
            }""",
            [film.name, list(film.read_bytes())],
        )
        page.set_input_files("#file", [tmp_path / "no film.mp4"])
        good, bad = (page.locator("#jobs li", has_text=name) for name in ("film é.mp4", "no film.mp4"))
        expect(bad.locator(".state")).to_contain_text("not a video", timeout=120_000)
        expect(good).to_have_attribute("data-ready", "yes", timeout=120_000)
        expect(good.locator(".state")).to_contain_text("30 frames")
        video = good.locator("video")
        page.wait_for_function("v => v.readyState >= 2 && v.videoWidth", arg=video.element_handle(), timeout=30_000)
        assert video.evaluate("v => [v.videoWidth, v.videoHeight]") == [96, 64]
        with page.expect_download() as saving:
            good.locator("a").click()
        assert saving.value.suggested_filename == "film é_overlay.mp4"
        if place := os.environ.get("VSALIENT_SCREENSHOTS"):
            page.screenshot(path=f"{place}/serve.png")
        assert faults == []
