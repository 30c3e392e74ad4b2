"""The HTML report: self-contained, complete, and drawn by a real browser."""

import base64
import html
import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from evaluation_data import disc, make_set, write
from vsalient.cli.app import main
from vsalient.datasets.layout import find_frames
from vsalient.errors import OutputError
from vsalient.evaluation import evaluate
from vsalient.report import render, write_report
from vsalient.report.charts import Line, bar_chart, line_chart

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture
def evaluation(tmp_path):
    make_set(tmp_path, {"cat <b>": range(6), "dog": range(9)}, shifts={"good": 1, "bad": 7})
    for sequence, length in (("cat <b>", 6), ("dog", 9)):
        for frame in range(length):
            pixels = np.dstack([disc(frame), 255 - disc(frame), np.full_like(disc(frame), 90)])
            write(tmp_path / "frames" / sequence / f"{frame:05d}.png", pixels)
    return evaluate([tmp_path / "good", tmp_path / "bad"], tmp_path / "gt")


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.open = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.links += [value for name, value in attributes if name in ("src", "href", "data", "action", "srcset")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def images(text):
    for uri in re.findall(r'src="data:image/jpeg;base64,([^"]+)"', text):
        yield np.asarray(Image.open(io.BytesIO(base64.b64decode(uri))).convert("RGB"))


def test_the_page_needs_nothing_else(evaluation, tmp_path):
    text = render(evaluation, frames=find_frames(tmp_path / "frames"))
    page = Page(text)
    assert not page.open and page.tags.count("svg") > 10
    assert page.links and all(link.startswith("data:image/") for link in page.links)
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|@import|url\(", text)


def test_it_shows_the_numbers(evaluation):
    text = render(evaluation)
    for result in evaluation.predictions:
        for name in ("J_mean", "Fmax", "S", "wF_frames", "O"):
            assert f"{result.dataset.results[name]:.4f}" in text
        assert result.name in text
    assert "cat &lt;b&gt;" in text and "<b>" not in text
    assert "Best and worst frames of good by J" in text


def test_curves_carry_their_points(evaluation):
    text = render(evaluation)
    hovers = [json.loads(html.unescape(data)) for data in re.findall(r'data-hover="([^"]*)"', text)]
    curves = [hover for hover in hovers if len(hover[0]["points"]) > 100]
    assert len(curves) == 5  # precision-recall, ROC, F twice, E
    assert [line["label"] for line in curves[0]] == ["good", "bad"]
    sparks = [hover for hover in hovers if len(hover[0]["points"]) in (6, 9)]
    assert len(sparks) == 2  # J over time, a chart for each sequence
    assert sparks[0][0]["points"][0][2].startswith("frame 00000")


def test_best_and_worst_frames_are_the_right_ones(evaluation, tmp_path):
    text = render(evaluation, frames=find_frames(tmp_path / "frames"))
    captions = [html.unescape(c) for c in re.findall(r"<figcaption>(.*?)</figcaption>", text)]
    good = evaluation.predictions[0]
    scores = [score for sequence in good.sequences for score in sequence.values["J"]]
    assert captions[0].endswith(f"J = {max(scores):.3f}")
    assert captions[3].endswith(f"J = {min(scores):.3f}")
    shown = list(images(text))
    assert len(shown) == 2 * 6 * 4  # two predictions, six frames: frame, prediction, ground truth, overlay
    frame, _, truth, overlay = shown[:4]
    inside = truth[..., 0] > 200
    assert abs(frame[inside].mean(axis=0) - (255, 0, 90)).max() < 40  # JPEG, and it is a small disc
    # A hit is green over the frame, and what is far from either is left as it was.
    assert abs(overlay[24, 20:24].mean(axis=0) - (0.6 * 46 + 0.4 * 255, 0.6 * 160, 0.6 * 90 + 0.4 * 90)).max() < 30
    assert abs(overlay[2, 60].astype(int) - frame[2, 60]).max() < 12


def test_few_metrics_and_one_frame_still_make_a_page(tmp_path):
    make_set(tmp_path, {"cat": range(1)})
    text = render(evaluate([tmp_path / "pred"], tmp_path / "gt", metrics=["MAE"]))
    assert "Best and worst frames by MAE" in text and "J over time" not in text
    assert not Page(text).open


def test_the_file_appears_whole_or_not_at_all(evaluation, tmp_path):
    write_report(evaluation, tmp_path / "report.html")
    assert [path.name for path in tmp_path.glob("report*")] == ["report.html"]
    (tmp_path / "taken").mkdir()
    with pytest.raises(OutputError, match="taken"):
        write_report(evaluation, tmp_path / "taken")
    assert not list(tmp_path.glob("*.part"))


def test_lines_break_at_nan_and_bars_leave_it_out():
    line = Line("a", [(0.0, 0.5), (0.5, float("nan")), (1.0, 0.5)], ["", "", ""], 0)
    assert line_chart([line], title="t", x="x", y="y").count("M") == 2
    chart = bar_chart(["one", "two"], [[0.5], [float("nan")]], ["a"], title="t")
    assert chart.count("<rect") == 1
    assert "-0.2" in bar_chart(["down"], [[-0.25]], ["a"], title="t")


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="needs Chromium")
def test_a_browser_draws_it(tmp_path):
    make_set(tmp_path, {"cat": range(5), "dog": range(5)}, shifts={"good": 1, "bad": 7})
    page = tmp_path / "report.html"
    with pytest.raises(SystemExit) as end:
        main(["evaluate", *(str(tmp_path / name) for name in ("good", "bad", "gt")), "--report", str(page), "-q"])
    assert end.value.code == 0
    # The script runs: of the bars, all but the chosen metric's are hidden, and a move of the mouse shows a value.
    probe = """<script>
      const chart = document.querySelector('svg[data-hover]'), box = chart.getBoundingClientRect();
      chart.dispatchEvent(new MouseEvent('mousemove', {clientX: box.left + 60, clientY: box.top + 40}));
      document.title = [...document.querySelectorAll('.bars')].filter(part => !part.hidden).length + '|'
        + tip.style.display + '|' + tip.textContent.split('\\n')[0] + '|'
        + [...document.images].every(picture => picture.naturalWidth > 0) + '|'
        + (document.documentElement.scrollWidth <= innerWidth);
    </script></body>"""
    (tmp_path / "probe.html").write_text(page.read_text().replace("</body>", probe))
    common = [
        BROWSER,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        f"--user-data-dir={tmp_path}/u",
    ]
    dom = subprocess.run(
        [*common, "--dump-dom", "--virtual-time-budget=2000", (tmp_path / "probe.html").as_uri()],
        capture_output=True, text=True, timeout=90, check=True,
    ).stdout  # fmt: skip
    title = re.search(r"<title>(.*?)</title>", dom).group(1)
    assert title in ("1|block|good|true|true", "1|block|bad|true|true")
    shot = tmp_path / "shot.png"
    subprocess.run(
        [*common, "--window-size=1200,1600", f"--screenshot={shot}", page.as_uri()],
        capture_output=True, timeout=90, check=True,
    )  # fmt: skip
    pixels = np.asarray(Image.open(shot).convert("RGB")).astype(int)
    assert pixels.shape == (1600, 1200, 3)
    # Both series are there in their colours, and the page is not blank.
    for colour in ((0x2A, 0x6F, 0xDB), (0xE0, 0x63, 0x2B)):
        assert (abs(pixels - colour).max(axis=2) < 8).sum() > 500
