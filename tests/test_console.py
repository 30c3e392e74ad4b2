"""What is said while the work goes on: rates, times left, long names, lines without a terminal, JSON, escapes."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tiny_model import install, write_clip
from vsalient.cli.app import main
from vsalient.cli.shared import console as module
from vsalient.cli.shared.console import Console
from vsalient.cli.shared.pace import BatchPace, Pace, clock_text
from vsalient.cli.shared.plain import plain, shorten, valid


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    install(monkeypatch, tmp_path / "home")
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main([*arguments])
    assert isinstance(end.value.code, int)
    return end.value.code


def test_the_first_burst_of_maps_is_no_rate() -> None:
    clock = Clock()
    pace = Pace(1000, clock)
    clock.now += 2
    pace.reach(8)  # a clip at once, after the wait for it
    assert pace.rate == pytest.approx(4) and pace.left == pytest.approx(248)
    clock.now += 0.001
    pace.reach(14)
    assert pace.rate is not None and pace.rate < 10
    for second in range(60):
        clock.now += 1
        pace.reach(14 + 10 * (second + 1))
    assert pace.rate == pytest.approx(10, rel=0.05), "the last half minute alone"
    pace.reach(2000)
    assert pace.total is None and pace.left is None, "the container's count was wrong"


def test_the_time_left_for_a_batch_goes_by_sizes(tmp_path: Path) -> None:
    files = []
    for name, size in (("a", 1000), ("b", 3000), ("c", 4000)):
        files.append(tmp_path / name)
        files[-1].write_bytes(bytes(size))
    clock = Clock()
    batch = BatchPace(files, clock)
    pace = Pace(100, clock)
    assert batch.left(pace) is None
    batch.next()
    clock.now += 10
    pace.reach(50)
    # Half of a: 10 s, its other half 10 s more; b and c are 14 times as much as what is done.
    assert batch.left(pace) == pytest.approx(10 + 140)
    batch.next()
    batch.next()
    last = Pace(100, clock)
    clock.now += 60
    last.reach(50)
    assert batch.left(last) == pytest.approx(60)


def test_words_of_time_and_names() -> None:
    assert [clock_text(value) for value in (0.4, 42, 187, 3723)] == ["0:00", "0:42", "3:07", "1:02:03"]
    assert shorten("short.mp4", 20) == "short.mp4"
    assert shorten("a_very_long_name_of_a_holiday_film_2024.mp4", 20) == "a_very_lon…_2024.mp4"
    assert plain("a\x1b[31mred\x1b[0m\nb\u202e.mp4") == "a\\x1b[31mred\\x1b[0m\\nb\\u202e.mp4"
    assert plain("日本 👩\u200d👧.mp4") == "日本 👩\u200d👧.mp4"
    assert plain("bad\udcff") == valid("bad\udcff") == "bad\\udcff"


def test_lines_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(module, "LINE_SECONDS", 0.0)
    console = Console()
    console.begin([Path("a"), Path("b")])
    console.frames("a.mp4", 10)
    with console.frames("films/b[x]\x1b[2J:smile:.mp4", 400) as bar:
        bar.advance(100)
    assert capsys.readouterr().err == "2/2 b[x]\\x1b[2J:smile:.mp4: 100 of 400 frames, –– frames/s\n"
    Console(quiet=True).frames("a", 3).advance(2)
    assert capsys.readouterr().err == ""


def test_a_bar_fits_eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("COLUMNS", "80"), ("TERM", "xterm"), ("FORCE_COLOR", "1")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(module, "_REDRAW_SECONDS", 0.0)
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    console = Console(progress="bar")
    console.begin([Path("a")] * 14)
    with console.frames("a_long_name_[red]_of_a_film_that_somebody_made_in_2024.mp4", 123456) as bar:
        bar.pace._began -= 50
        bar.pace._seen[0] = (bar.pace._seen[0][0] - 20, 0)
        bar.advance(1234)
    text = stream.getvalue()
    assert "1/14 a_lo" in text and "frames/s" in text and "left" in text and "1234/123456" in text


def test_json_lines_for_programs(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "JSON_SECONDS", 0.0)
    write_clip(place / "a.mp4", 5)
    (place / "b.mp4").write_bytes(b"nothing")
    assert run("predict", "a.mp4", "b.mp4", "--keep-going", "--progress", "json") == 1
    printed = capsys.readouterr()
    events = [json.loads(line) for line in printed.err.splitlines()]
    kinds = [event["event"] for event in events]
    assert kinds[:2] == ["message", "begin"] and kinds.count("progress") == 5 and kinds.count("done") == 1
    progress = [event for event in events if event["event"] == "progress"][-1]
    assert (progress["input"], progress["number"], progress["of"], progress["frames"]) == ("a.mp4", 1, 2, 5)
    assert [(e["input"], e["state"]) for e in events if e["event"] == "outcome"] == [
        ("a.mp4", "done"), ("b.mp4", "failed"),
    ]  # fmt: skip
    assert printed.out == "a_saliency.mp4\n"


def test_names_that_are_markup_or_escape_codes(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["[red]x.mp4", "[/x].mp4", ":smile:.mp4", "a\x1b[31m.mp4"]
    (place / "[").mkdir()
    for name in names:
        write_clip(place / name, 2)
    assert run("predict", *names, "no\x1bcne.mp4") == 1
    assert "no\\x1bcne.mp4 does not exist" in capsys.readouterr().err
    assert run("predict", *names) == 0
    printed = capsys.readouterr()
    assert "\x1b" not in printed.err
    for shown in ("[red]x.mp4: 2 frames", "[/x].mp4: 2 frames", ":smile:.mp4: 2 frames", "a\\x1b[31m.mp4: 2 frames"):
        assert shown in printed.err
    assert run("predict", "a.mp4", "--model", "[/x]\x1b[1m") == 1
    assert "\x1b" not in capsys.readouterr().err
    assert run("predict", "--no\x1b[1mwhere", "a.mp4") == 2
    assert "\x1b" not in capsys.readouterr().err


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes")
@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "cp1252"])
def test_a_name_that_is_no_utf8_ends_no_batch(place: Path, encoding: str) -> None:
    clip = write_clip(place / "clip.mp4", 2)
    name = b"caf\xe9 \xf0\x9f\x98\x80.mp4"
    (place / "in").mkdir()
    (place / "in" / os.fsdecode(name)).write_bytes(clip.read_bytes())
    environment = os.environ | {"PYTHONIOENCODING": f"{encoding}:strict"}
    program = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import vsalient.models\nvsalient.models.ARCHITECTURES['red'] = ('tiny_model', 'RedNet')\n"
        "from vsalient.cli.start import main; main()"
    )
    for extra in ([], ["--json"]):
        done = subprocess.run(
            [sys.executable, "-c", program, "predict", "in", "--overwrite", *extra],
            env=environment,
            capture_output=True,
        )
        assert done.returncode == 0, done.stderr
        if extra:
            json.loads(done.stdout.decode("utf-8" if encoding == "utf-8" else "latin-1"))
        elif encoding == "utf-8":
            assert done.stdout == name.replace(b".mp4", b"_saliency.mp4") + b"\n", "the very bytes, for other programs"


def test_a_dry_run_only_says_what_it_would_do(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_clip(place / "a.mp4", 2)
    write_clip(place / "b.mp4", 2)
    (place / "b_masks").mkdir()
    (place / "b_masks" / "0.png").write_bytes(b"")
    before = sorted(place.rglob("*"))
    assert run("predict", "a.mp4", "b.mp4", "-w", "video,masks", "--dry-run", "--overwrite") == 0
    assert capsys.readouterr().out.splitlines() == [
        "a.mp4 -> a_saliency.mp4", "a.mp4 -> a_masks", "b.mp4 -> b_saliency.mp4", "b.mp4 -> b_masks (replaced)",
    ]  # fmt: skip
    assert run("segment", "a.mp4", "b.mp4", "-n", "--skip-existing", "--json") == 0
    planned = json.loads(capsys.readouterr().out)
    assert planned["dry_run"] and planned["inputs"][0]["outputs"] == {"masks": "a_masks"}
    assert planned["inputs"][1]["outputs"] == {}
    assert sorted(place.rglob("*")) == before


def test_threads_are_what_was_asked_for(place: Path) -> None:
    write_clip(place / "a.mp4", 2)
    program = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import vsalient.models\nvsalient.models.ARCHITECTURES['red'] = ('tiny_model', 'RedNet')\n"
        "from vsalient.cli.start import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "predict", "a.mp4", "--threads", "1"], capture_output=True, text=True
    )
    assert done.returncode == 0 and "1 thread" in done.stderr, done.stderr
