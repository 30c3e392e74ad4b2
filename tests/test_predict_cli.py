"""`vsalient predict` through the real command line, with a network whose answer is known."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image

from media_files import read_pts, write_video
from tiny_model import install, stripe_mask, stripes, write_clip
from vsalient.cli.app import main
from vsalient.cli.predict import command
from vsalient.cli.shared.naming import keep_wanted, plan_targets
from vsalient.errors import OptionError, OutputError
from vsalient.outputs import KINDS
from vsalient.pipeline import saliency_maps

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty working folder, with the default model replaced."""
    install(monkeypatch, tmp_path / "home")
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(["predict", *arguments])
    assert isinstance(end.value.code, int)
    return end.value.code


def gray(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_no_options_are_needed(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_clip(place / "holiday.mp4", 11)
    assert run("holiday.mp4") == 0
    printed = capsys.readouterr()
    assert printed.out == "holiday_saliency.mp4\n"
    assert "3dc-lite on cpu" in printed.err and "11 frames in" in printed.err and "bottleneck" in printed.err
    maps = gray(place / "holiday_saliency.mp4")
    assert len(maps) == 11
    for index, levels in enumerate(maps):
        np.testing.assert_array_equal(levels > 127, stripe_mask(index))
    assert read_pts(place / "holiday_saliency.mp4") == read_pts(place / "holiday.mp4")
    assert listing(place) == ["holiday.mp4", "holiday_saliency.mp4"], "no temporary file stays"


def test_every_kind_in_one_pass(place: Path) -> None:
    write_clip(place / "in.mp4", 6, audio=True)
    assert run("in.mp4", "-w", "video,maps,masks,mask-video", "--write", ",".join(KINDS), "-o", "out/", "-q") == 0
    names = {path.name for path in (place / "out").iterdir()}
    assert names == {
        "in_saliency.mp4", "in_maps", "in_masks", "in_mask.mkv",
        "in_overlay.mp4", "in_heatmap.mp4", "in_alpha.webm", "in_foreground.mp4", "in_contours.mp4", "in_cutout",
            "in_matte.mkv", "in_fill.mp4", "in_report.html",
            "in_prompts.json", "in_youtubevis.json", "in_cvat.xml", "in_labelstudio.json", "in_roi.json",
        "in_coco.json", "in_measures.csv", "in_measures.json",
    }  # fmt: skip
    for name in names:
        if name.endswith((".mp4", ".mkv", ".webm")):
            assert len(read_pts(place / "out" / name)) == 6, name
    for index in range(6):
        with Image.open(place / "out" / "in_masks" / f"{index:05}.png") as mask:
            np.testing.assert_array_equal(np.array(mask) > 0, stripe_mask(index))
        with Image.open(place / "out" / "in_maps" / f"{index:05}.png") as saliency:
            np.testing.assert_array_equal(np.array(saliency) > 127, stripe_mask(index))
    assert read_pts(place / "out" / "in_overlay.mp4", "audio")
    with av.open(str(place / "out" / "in_saliency.mp4")) as container:
        assert not container.streams.audio


def test_the_sound_can_be_left_out(place: Path) -> None:
    write_clip(place / "in.mp4", 6, audio=True)
    assert run("in.mp4", "-w", "overlay", "--no-audio", "-q") == 0
    with av.open(str(place / "in_overlay.mp4")) as container:
        assert not container.streams.audio


def test_a_variable_frame_rate_stays(place: Path) -> None:
    pts = [0, 1, 5, 6, 20, 21, 40]
    write_video(place / "vfr.mkv", stripes(7), pts=pts, options={"bf": "0"})
    assert run("vfr.mkv", "-q", "-o", "out.mkv") == 0
    assert read_pts(place / "out.mkv") == read_pts(place / "vfr.mkv")


def test_a_folder_of_frames_in_natural_order(place: Path) -> None:
    (place / "shots").mkdir()
    for index, pixels in enumerate(stripes(12)):
        Image.fromarray(pixels).save(place / "shots" / f"s{index}.png")
    assert run("shots", "--write", "masks", "-o", "{stem}/{kind}", "--rate", "12", "-q") == 0
    assert len(listing(place / "shots" / "masks")) == 12
    for index in (2, 10, 11):
        with Image.open(place / "shots" / "masks" / f"s{index}.png") as mask:
            np.testing.assert_array_equal(np.array(mask) > 0, stripe_mask(index))


def test_the_range_is_in_seconds(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_clip(place / "in.mp4", 20)
    assert run("in.mp4", "--start", "0.2", "--end", "0.4", "--write", "masks", "--json") == 0
    assert json.loads(capsys.readouterr().out)["inputs"][0]["frames"] == 5
    with Image.open(place / "in_masks" / "00000.png") as mask:
        np.testing.assert_array_equal(np.array(mask) > 0, stripe_mask(5))


def test_json_is_all_there_is_on_stdout(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_clip(place / "in.mp4", 5)
    assert run("in.mp4", "--json", "--overlap", "3") == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["model"] == "3dc-lite" and summary["engine"].startswith("cpu") and summary["failed"] == 0
    assert summary["procedure"]["overlap"] == 3 and summary["procedure"]["clip_length"] == 4
    video = summary["inputs"][0]
    assert video["outputs"] == {"video": "in_saliency.mp4"} and video["state"] == "done" and video["error"] is None
    assert video["frames"] == 5 and video["clips"] == 2 and video["corrupt_frames"] == 0
    assert set(video["stage_seconds"]) == {"decode", "model", "finish", "encode"}
    assert 0 < video["first_map_seconds"] <= video["seconds"]


def test_quiet_says_nothing_on_stderr(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_clip(place / "in.mp4", 3)
    assert run("in.mp4", "-q") == 0
    printed = capsys.readouterr()
    assert printed.err == "" and printed.out == "in_saliency.mp4\n"


def test_existing_outputs(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_clip(place / "a.mp4", 3)
    write_clip(place / "b.mp4", 3)
    assert run("a.mp4", "-q") == 0
    before = (place / "a_saliency.mp4").stat().st_mtime_ns
    capsys.readouterr()
    assert run("a.mp4", "b.mp4") == 1
    assert "a_saliency.mp4 exists: give --overwrite, --skip-existing" in capsys.readouterr().err
    assert not (place / "b_saliency.mp4").exists(), "an error before any work"
    assert run("a.mp4", "b.mp4", "--skip-existing") == 0
    printed = capsys.readouterr()
    assert printed.out == "b_saliency.mp4\n" and "skipped" in printed.err
    assert (place / "a_saliency.mp4").stat().st_mtime_ns == before
    assert run("a.mp4", "--overwrite", "-q") == 0
    assert (place / "a_saliency.mp4").stat().st_mtime_ns > before
    assert run("a.mp4", "--overwrite", "--skip-existing") == 1


def test_a_folder_that_holds_an_input_is_never_replaced(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "shots").mkdir()
    for index, pixels in enumerate(stripes(3)):
        Image.fromarray(pixels).save(place / "shots" / f"{index}.png")
    before = listing(place)
    for arguments in (["shots/0.png", "-o", "{parent}"], ["shots", "-o", "{parent}/{stem}"]):
        assert run(*arguments, "-w", "maps", "--overwrite") == 1
        printed = capsys.readouterr()
        assert "input" in printed.err and "choose another -o" in printed.err and printed.err.count("\n") == 1
    assert listing(place) == before


def test_the_same_pattern_goes_on_with_a_batch(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_clip(place / "a.mp4", 2)
    write_clip(place / "b.mp4", 2)
    assert run("a.mp4", "-q") == 0
    capsys.readouterr()
    assert run("*.mp4", "--skip-existing") == 0
    printed = capsys.readouterr()
    assert printed.out == "b_saliency.mp4\n" and "2 of 2 inputs" in printed.err
    assert run("a.mp4", "-o", "a.mp4", "--skip-existing") == 1, "its own input is not passed over in silence"


def test_names_that_programs_stumble_over(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = write_clip(place / "clip.mp4", 2)
    names = ["12:30.mp4", "concat:x.mp4", "~backup.mp4", "per%03d.mp4", "br{ace}.mp4", "gl[o]b.mp4", "a b 日本.mp4"]
    for name in names:
        clip.with_name(name).write_bytes(clip.read_bytes())
    assert run(*names, "-w", "video,overlay", "-q") == 0
    assert capsys.readouterr().out.split("\n")[:2] == ["12:30_saliency.mp4", "12:30_overlay.mp4"]
    for name in names:
        assert len(read_pts(place / name.replace(".mp4", "_saliency.mp4"))) == 2


def test_masks_by_threshold(place: Path) -> None:
    write_clip(place / "in.mp4", 2)
    for how, share in [("fixed:1", 0.0), ("0", 1.0), ("otsu", 0.25), ("adaptive", 0.25)]:
        assert run("in.mp4", "-w", "masks", "--threshold", how, "--overwrite", "-q", "--exact") == 0
        with Image.open(place / "in_masks" / "00001.png") as mask:
            assert (np.array(mask) > 0).mean() == pytest.approx(share, abs=0.02), how


def test_several_inputs_and_a_failing_one(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_clip(place / "a.mp4", 3)
    (place / "b.mp4").write_text("not a video")
    write_clip(place / "c.mp4", 3)
    assert run("*.mp4", "missing.mp4", "--keep-going") == 1
    printed = capsys.readouterr()
    assert printed.out.splitlines() == ["a_saliency.mp4", "c_saliency.mp4"]
    assert "2 of 4 inputs succeeded" in printed.err
    assert "failed  b.mp4" in printed.err and "failed  missing.mp4" in printed.err
    assert listing(place) == ["a.mp4", "a_saliency.mp4", "b.mp4", "c.mp4", "c_saliency.mp4"]
    assert run("*.mp4", "--overwrite", "--json", "-o", "out") == 1
    printed = capsys.readouterr()
    assert [video["state"] for video in json.loads(printed.out)["inputs"]] == ["done", "done", "failed"]
    assert printed.err.splitlines()[-1].startswith("Error: b.mp4")
    assert listing(place / "out") == ["a_saliency.mp4", "a_saliency_saliency.mp4"], "it stopped at the failure"


def test_inputs_from_stdin(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    write_clip(place / "a.mp4", 2)
    write_clip(place / "b.mp4", 2)
    monkeypatch.setattr("sys.stdin", io.StringIO("a.mp4\n\nb.mp4\n"))
    assert run("-", "-q") == 0
    assert capsys.readouterr().out.split() == ["a_saliency.mp4", "b_saliency.mp4"]
    for nothing in (io.StringIO("\n"), None):  # None: started with a closed stdin
        monkeypatch.setattr("sys.stdin", nothing)
        assert run("-", "--json") == 1
        assert capsys.readouterr().err == "Error: there are no inputs: the list on stdin is empty\n"
    assert run("") == 1
    assert "empty name" in capsys.readouterr().err, "not the current folder"


@pytest.mark.skipif(sys.platform == "win32", reason="pipes")
def test_a_reader_that_has_gone_ends_no_batch(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "ab":
        write_clip(place / f"{name}.mp4", 2)
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:
        monkeypatch.setattr("sys.stdout", stream)
        assert run("a.mp4", "b.mp4", "-q") == 0
        assert (place / "a_saliency.mp4").exists() and (place / "b_saliency.mp4").exists()


def test_quiet_while_looking_for_inputs(place: Path) -> None:
    write_clip(place / "a.mp4", 2)
    Image.fromarray(stripes(1)[0]).save(place / "cover.png")
    done = subprocess.run(
        [sys.executable, "-m", "vsalient", "predict", ".", "-q", "-o", "x.avi"], text=True, capture_output=True
    )
    assert done.stderr.count("\n") == 1 and "x.avi" in done.stderr, done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize(
    "signals",
    [[signal.SIGINT], [signal.SIGINT] * 4, [signal.SIGTERM, signal.SIGTERM]],
    ids=["ctrl-c", "ctrl-c again and again", "terminated twice"],
)
def test_being_stopped_leaves_no_half_file(place: Path, signals: list[signal.Signals]) -> None:
    write_clip(place / "long.mp4", 1200)
    program = (
        f"import sys, time; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import vsalient.models, vsalient.engine\n"
        "vsalient.models.ARCHITECTURES['red'] = ('tiny_model', 'RedNet')\n"
        "run = vsalient.engine.Engine.submit\n"
        "def slow(*a, **k):\n"
        "    open('started', 'w').close(); time.sleep(0.01); return run(*a, **k)\n"
        "vsalient.engine.Engine.submit = slow\n"
        "from vsalient.cli.app import main; main(['predict', 'long.mp4', '-w', 'video,maps,alpha'])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not (place / "started").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.1)
    for number in signals:
        process.send_signal(number)
        time.sleep(0.02)
    out, error = process.communicate(timeout=30)
    assert process.returncode == 128 + signals[0] and out == ""
    assert "Interrupted" in error and "Traceback" not in error
    assert listing(place) == ["long.mp4", "started"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--overlap", "4"], "overlap 4 does not fit a clip length of 4"),
        (["--clip-length", "0"], "clip length 0"),
        (["--clip-length", "999999999"], "at most 1024 frames"),
        (["--threshold", ""], "Unknown threshold ''"),
        (["--threshold", "half"], "Unknown threshold 'half'"),
        (["--threshold", "hysteresis:0.2,0.8"], "vsalient segment"),
        (["--write", "vidoe"], "--write 'vidoe' is unknown"),
        (["--model", "3dc-light"], "did you mean"),
        (["--device", "gpu"], "unknown device 'gpu'"),
        (["--exact", "--dtype", "bfloat16"], "--exact means float32"),
        (["--protocol", "paper"], "follows no paper"),
        (["--resolution", "640x480"], "geometry '640x480'"),
        (["--start", "-1"], "--start -1"),
        (["--start", "2", "--end", "1"], "--end 1 does not come after --start 2"),
        (["--start", "nan"], "--start nan"),
        (["--end", "inf"], "--end inf"),
        (["--start", "1e300"], "start 1e+300"),
        (["--rate", "0"], "--rate 0"),
        (["--rate", "nan"], "--rate nan"),
        (["--rate", "1e-9"], "rate 1e-09 is impossible"),
        (["--write", "alpha", "-o", "x.mp4"], "alpha"),
        (["--write", "alpha,video", "-o", "x.webm"], "one file for 2 kinds"),
        (["--write", "maps", "-o", "x.png"], "folder of PNGs"),
        (["-o", "{stam}.mp4"], "{stam}"),
        (["-o", "{stem"], "no template"),
        (["-o", "{stem!x}.mp4"], "{stem!x} is unknown"),
        (["-o", "{stem:d}.mp4"], "{stem:d} is unknown"),
        (["-o", "{stem:>{model}}.mp4"], "is unknown"),
        (["-o", "x" * 300 + ".mp4"], "name is too long"),
        (["-o", "x.avi"], ".avi"),
        (["-o", "in.mp4"], "is an input"),
        (["--background-color", "greeen"], "'greeen' is no colour"),
        (["--background-color", "rgb(1000,0,0)"], "is no colour"),
        (["-q", "-v"], "contradict"),
    ],
)  # fmt: skip
def test_options_are_checked_before_the_network_is_loaded(
    place: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    words: str,
) -> None:
    def refuse(*given: object, **options: object) -> None:
        raise AssertionError("the network was loaded")

    monkeypatch.setattr("vsalient.api.load_network", refuse)
    write_clip(place / "in.mp4", 1)
    assert run("in.mp4", *arguments) == 1
    printed = capsys.readouterr()
    assert words in printed.err and printed.err.count("\n") == 1 and printed.out == ""
    assert listing(place) == ["in.mp4"]


def test_an_absent_device_is_an_error(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    write_clip(place / "in.mp4", 1)
    assert run("in.mp4", "--device", "cuda") == 1
    assert "device 'cuda' is not there" in capsys.readouterr().err
    assert listing(place) == ["in.mp4"]


def test_a_template_names_outputs(place: Path) -> None:
    sources = [Path("one/clip.mp4"), Path("two/clip.mp4")]
    jobs = plan_targets(sources, ["video", "maps"], "{parent}/{stem}-{model}-{kind}.{ext}", model="m")
    assert [str(target.path) for job in jobs for target in job.targets] == [
        "one/clip-m-video.mp4",
        "one/clip-m-maps",
        "two/clip-m-video.mp4",
        "two/clip-m-maps",
    ]
    endings = plan_targets(sources[:1], ["video", "alpha"], None, model="m", endings={"video": ".mkv", "alpha": ".mov"})
    assert [str(target.path) for target in endings[0].targets] == ["clip_saliency.mkv", "clip_alpha.mov"]


@pytest.mark.parametrize(
    ("sources", "kinds", "output", "error", "words"),
    [
        (["one/clip.mp4", "two/clip.mp4"], ["video"], None, OptionError, "{parent}"),
        (["clip.mp4", "clip.mkv"], ["video"], None, OptionError, "{suffix}"),
        (["clip.mp4"], ["video", "mask-video"], "{stem}_x.mp4", OptionError, "{kind}"),
        (["a.mp4", "b.mp4"], ["video"], "x.mp4", OptionError, "one file for 2 inputs"),
    ],
)
def test_collisions_are_seen_before_work(
    sources: list[str], kinds: list[object], output: str | None, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words.replace("{", r"\{")):
        plan_targets([Path(source) for source in sources], kinds, output, model="m")  # type: ignore[arg-type]


def test_only_what_is_missing_is_written_when_skipping(place: Path) -> None:
    (place / "a_saliency.mp4").touch()
    (place / "a_maps").mkdir()
    jobs = plan_targets([Path("a.mp4")], ["video", "maps"], None, model="m")
    with pytest.raises(OutputError, match="a_saliency"):
        keep_wanted(jobs, overwrite=False, skip_existing=False)
    kept = keep_wanted(jobs, overwrite=False, skip_existing=True)
    assert [target.kind for target in kept[0].targets] == ["maps"], "an empty folder is nothing"
    (place / "b_saliency.mp4").symlink_to("nowhere")
    assert plan_targets([Path("b.mp4")], ["video"], None, model="m")[0].targets[0].exists, "a link that leads nowhere"


@pytest.mark.parametrize(
    ("given", "expected"), [({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "None")]
)
def test_threads_that_wait_sleep_soon_unless_the_user_says_otherwise(given: dict[str, str], expected: str) -> None:
    code = (
        "import os, sys\nfrom vsalient.cli.shared.loading import rest_soon\nassert 'torch' not in sys.modules\n"
        "rest_soon()\nprint(os.environ.get('GOMP_SPINCOUNT'))"
    )
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("GOMP_", "OMP_"))}
    run = subprocess.run([sys.executable, "-c", code], env=clean | given, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == expected


@pytest.mark.parametrize(("kinds", "kept"), [("video,masks", False), ("video,overlay", True)])
def test_pictures_are_kept_for_outputs_that_show_them(
    kinds: str, kept: bool, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def maps(*arguments: Any, **options: Any) -> Any:
        asked.append(options["pictures"])
        return saliency_maps(*arguments, **options)

    monkeypatch.setattr("vsalient.model.saliency_maps", maps)
    write_clip(place / "clip.mp4", 12)
    assert run("clip.mp4", "--write", kinds) == 0
    assert asked == [kept]


def test_the_documentation_names_options_that_exist() -> None:
    text = (ROOT / "docs" / "predict.md").read_text(encoding="utf-8")
    known = {name for parameter in command.params for name in parameter.opts}
    assert set(re.findall(r"`(--[a-z-]+)", text)) <= known | {"--help"}
    assert all(f"`{kind}`" in text for kind in KINDS)


def predict_for_real(place: Path, *arguments: str) -> str:
    """`vsalient predict` in a process of its own, nothing replaced, without a network: its standard output."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("VSALIENT")}
    environment |= {"VSALIENT_OFFLINE": "1", "VSALIENT_CACHE": str(place / "cache")}
    command = [sys.executable, "-m", "vsalient", "predict", *arguments]
    done = subprocess.run(command, env=environment, text=True, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("model", ["3dc-lite", "scnn-s"])
def test_the_bundled_models_on_the_demo_clip(model: str, place: Path) -> None:
    demo = str(ROOT / "examples/demo/cup.mp4")
    printed = predict_for_real(place, demo, "--end", "0.3", "-o", "map.mkv", "--json", "--model", model)
    maps = gray(place / "map.mkv")
    assert len(maps) == json.loads(printed)["inputs"][0]["frames"] == 9
    for levels in maps[1:]:  # in the first frame the cup has hardly begun to move
        assert levels[120:380, 340:420].mean() > 200, "the cup is white"
    for levels in maps:
        assert levels[:, :280].mean() < 25, "the wall is black"


@pytest.mark.parametrize("count", [1, 6])
def test_the_default_model_sees_what_stands_still(count: int, place: Path) -> None:
    """Residual motion says nothing in a still picture or a paused video: looks must decide."""
    with av.open(str(ROOT / "examples/demo/cup.mp4")) as demo:
        picture = next(demo.decode(video=0)).to_ndarray(format="rgb24")
    (place / "still").mkdir()
    for number in range(count):
        Image.fromarray(picture).save(place / f"still/{number}.png")
    predict_for_real(place, "still", "-w", "maps", "-o", "out")
    found = [np.asarray(Image.open(path)) for path in sorted((place / "out").rglob("*.png"))]
    assert len(found) == count
    for levels in found:
        assert levels[120:380, 340:420].mean() > 150, "the cup is bright"
        assert levels[:, :280].mean() < 25, "the wall is black"


@pytest.mark.parametrize(
    ("dtype", "exact", "protocol", "expected"),
    [
        ("auto", False, "default", False),
        ("auto", False, "paper", True),
        ("bfloat16", False, "paper", False),
        ("float32", True, "default", True),
    ],
)
def test_the_papers_protocol_means_its_arithmetic_too(dtype, exact, protocol, expected):
    from vsalient.cli.shared.options import check_engine_options

    assert check_engine_options("cpu", dtype, exact, protocol) is expected


def test_flip_averages_with_the_mirror_image(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_clip(place / "in.mp4", 5)
    for flags in ((), ("--flip",)):
        assert run("in.mp4", "-w", "maps", "-o", "".join(flags).strip("-") or "plain", "--exact", *flags) == 0
        assert ("mirrored too" in capsys.readouterr().err) == bool(flags)
    plain, both = (
        [np.asarray(Image.open(p), float) for p in sorted((place / name).rglob("*.png"))] for name in ("plain", "flip")
    )
    assert len(plain) == len(both) == 5
    # The tiny network answers pixel by pixel, so that its mirror image says the same.
    assert all(abs(a - b).max() <= 1 for a, b in zip(plain, both, strict=True))
