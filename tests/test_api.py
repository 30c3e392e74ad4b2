"""The Python interface, and every example of docs/api.md."""

import io
import math
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vsalient
from tiny_model import install, stripe_mask, stripes, write_clip
from vsalient.cli.app import main
from vsalient.errors import DeviceError, OptionError, OutputError, WeightsError

DOCS = Path(__file__).resolve().parents[1] / "docs"


@pytest.fixture(autouse=True)
def weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    return install(monkeypatch, tmp_path)


@pytest.fixture
def model() -> vsalient.Model:
    return vsalient.load_model(device="cpu")


def test_the_examples_of_the_documentation_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_clip(tmp_path / "holiday.mp4", 10)
    write_clip(tmp_path / "garden.mp4", 5)
    (tmp_path / "frames").mkdir()
    for index, pixels in enumerate(stripes(3)):
        Image.fromarray(pixels).save(tmp_path / "frames" / f"{index:03}.png")
    blocks = re.findall(r"^```python\n(.*?)^```", (DOCS / "api.md").read_text(encoding="utf-8"), re.M | re.S)
    assert len(blocks) == 8
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "docs/api.md", "exec"), names)
    printed = capsys.readouterr().out
    assert "0.36 s: 2" in printed and "garden.mp4 5" in printed
    assert "[0.12, 0.16, 0.2, 0.24, 0.28]" in printed
    assert "no-such-file.mp4 does not exist" in printed
    with Image.open(tmp_path / "002_cut_out.png") as image:
        np.testing.assert_array_equal(np.array(image)[..., 3] > 0, stripe_mask(2))


def test_every_frame_comes_with_its_map_and_time(model: vsalient.Model, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", 11)
    predictions = list(model.predict(clip))
    assert [prediction.index for prediction in predictions] == list(range(11))
    for prediction in predictions:
        assert prediction.time == pytest.approx(prediction.index / 25)
        assert prediction.time == float(prediction.pts * prediction.frame.time_base)
        assert prediction.saliency.dtype == np.float32
        assert prediction.saliency.min() >= 0 and prediction.saliency.max() <= 1
        np.testing.assert_array_equal(prediction.saliency > 0.5, stripe_mask(prediction.index))


def test_arrays_are_taken_and_may_be_reused_by_the_caller(model: vsalient.Model) -> None:
    buffer = np.empty((64, 96, 3), np.uint8)

    def reusing() -> "object":
        for pixels in stripes(30):
            buffer[:] = pixels
            yield buffer

    predictions = list(vsalient.predict(reusing(), model=model, rate=10))
    assert len(predictions) == 30
    for prediction in predictions:
        np.testing.assert_array_equal(prediction.saliency > 0.5, stripe_mask(prediction.index))
    assert predictions[7].time == pytest.approx(0.7)


def test_a_single_frame_is_enough(model: vsalient.Model) -> None:
    assert len(list(model.predict(stripes(1)))) == 1
    assert list(model.predict([])) == []


def test_settings_are_checked_at_once(model: vsalient.Model) -> None:
    for settings, words in [
        ({"overlap": 4}, "overlap 4"),
        ({"resolution": "big"}, "geometry 'big'"),
        ({"rate": 0}, "rate 0"),
        ({"protocol": "paper"}, "follows no paper"),
        ({"start": 1.0}, "are for files"),
    ]:
        with pytest.raises(OptionError, match=words):
            model.predict(stripes(1), **settings)  # type: ignore[arg-type]
    for settings, words in [({"start": -1}, "negative"), ({"end": math.inf}, "no time"), ({"rate": math.nan}, "rate")]:
        with pytest.raises(OptionError, match=words):
            model.predict("clip.mp4", **settings)  # type: ignore[arg-type]


def test_one_video_at_a_time(model: vsalient.Model) -> None:
    first = model.predict(stripes(40))
    next(first)
    with pytest.raises(OptionError, match="at work on another video"):
        next(model.predict(stripes(2)))
    first.close()  # type: ignore[attr-defined]
    assert len(list(model.predict(stripes(2)))) == 2


def test_a_file_can_be_the_model(weights: Path) -> None:
    for model in (vsalient.load_model(weights), vsalient.load_model(weights=str(weights))):
        assert len(list(model.predict(stripes(2)))) == 2


def test_unknown_models_and_devices_are_refused() -> None:
    with pytest.raises(WeightsError, match="did you mean"):
        vsalient.load_model("3dc-light")
    with pytest.raises(DeviceError, match="'cuda:99' is not there"):
        vsalient.load_model(device="cuda:99")
    with pytest.raises(OptionError, match="exact means float32"):
        vsalient.load_model(exact=True, dtype="bfloat16")


def test_masks_of_a_video(model: vsalient.Model, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", 7)
    for threshold in ("adaptive", "hysteresis:0.3,0.7"):
        found = list(model.segment(clip, threshold=threshold, instances=True))
        assert [result.index for result in found] == list(range(7))
        for result in found:
            np.testing.assert_array_equal(result.mask, stripe_mask(result.index))
            assert result.instances is not None
            np.testing.assert_array_equal(result.instances, stripe_mask(result.index))
            np.testing.assert_array_equal(result.cover, result.mask)
    grown = next(model.segment(clip, threshold="0", clean=vsalient.Cleanup(fill=True)))
    assert grown.mask.all() and grown.segmented is not None
    with pytest.raises(OptionError, match="unknown"):
        model.segment(clip, refine="sharp")
    with pytest.raises(OptionError, match="odd"):
        model.segment(clip, clean=vsalient.Cleanup(median=2))


def test_a_prediction_has_a_mask_and_shows_itself(model: vsalient.Model) -> None:
    result = list(model.predict(stripes(3)))[2]
    np.testing.assert_array_equal(result.mask, stripe_mask(2))
    assert result.segmented is None and result.cover is result.saliency
    assert repr(result) == "<Result 2 at 0.080 s: 96x64, saliency 0.00 to 1.00, mask 25.0%>"
    with Image.open(io.BytesIO(result._repr_png_())) as shown:
        levels = np.asarray(shown)
    assert levels.shape == (64, 96, 3)
    assert levels[stripe_mask(2)][:, 0].min() > 200 and levels[~stripe_mask(2)].max() < 40
    assert repr(model).startswith("<Model 3dc-lite on cpu")


def test_writing_is_what_the_command_does(
    model: vsalient.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_clip(tmp_path / "clip.mp4", 5, audio=True)
    heard = []
    report = vsalient.write(
        "clip.mp4",
        {"masks": "api/clip_masks", "maps": "api/clip_maps", "overlay": "api/clip_overlay.mp4"},
        model=model,
        progress=lambda result, report: heard.append((result.index, report.frames)),
    )
    assert report.frames == 5 and report.clips == 2 and heard[0][0] == 0 and len(heard) == 5
    vsalient.write("clip.mp4", {"csv": "api/clip_measures.csv"}, model=model, masks=vsalient.Masks(threshold="otsu"))
    for verb in (["predict", "-w", "masks,maps,overlay"], ["segment", "-w", "csv", "--threshold", "otsu"]):
        with pytest.raises(SystemExit) as end:
            main([verb[0], "clip.mp4", *verb[1:], "-o", "cli/", "-q"])
        assert end.value.code == 0
    names = sorted(path.relative_to("cli") for path in Path("cli").rglob("*") if path.is_file())
    assert len(names) == 12
    for name in names:
        assert ("api" / name).read_bytes() == ("cli" / name).read_bytes() or name.suffix == ".mp4", name
    assert sorted(path.relative_to("api") for path in Path("api").rglob("*") if path.is_file()) == names
    assert vsalient.write(stripes(2), "cutout, json", model=model).frames == 2
    assert Path("frames_cutout/00001.png").exists() and Path("frames_measures.json").exists()
    with pytest.raises(OutputError, match="exists already"):
        vsalient.write(stripes(2), ["json"], model=model)
    with pytest.raises(OptionError, match="did you mean overlay"):
        vsalient.write(stripes(2), "overlai", model=model)
    with pytest.raises(OptionError, match="nothing to write"):
        vsalient.write(stripes(2), [], model=model)


def test_a_model_goes_to_a_worker_by_its_name_and_settings(model: vsalient.Model) -> None:
    packed = pickle.dumps(model)
    assert len(packed) < 1000, "not the weights"
    again = pickle.loads(packed)
    assert (again.name, again.description) == (model.name, model.description)
    one, other = next(model.predict(stripes(1))), next(again.predict(stripes(1)))
    np.testing.assert_array_equal(one.saliency, other.saliency)
    assert len(pickle.dumps(one)) > 0


def test_what_can_run_is_listed() -> None:
    for listed in (vsalient.models(), vsalient.list_models()):  # type: ignore[operator]
        assert {"3dc-lite", "3dc-seg"} <= set(listed) and "stan" not in listed
        assert listed["3dc-seg"].parameters == 74_319_618


_EXIT = """
import sys
sys.path.insert(0, {tests!r})
import vsalient.models
vsalient.models.ARCHITECTURES['red'] = ('tiny_model', 'RedNet')
import vsalient
from tiny_model import stripes
maps = vsalient.predict(stripes(400), model=vsalient.load_model(device='cpu'))
next(maps)
{end}
"""


@pytest.mark.parametrize("end", ["", "raise SystemExit(3)", "raise ValueError"])
def test_a_script_may_end_while_maps_are_on_their_way(end: str) -> None:
    program = _EXIT.format(tests=str(Path(__file__).parent), end=end)
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
        assert done.returncode == {"": 0, "raise SystemExit(3)": 3, "raise ValueError": 1}[end], done.stderr


def test_public_names_are_there() -> None:
    for name in vsalient.__all__:
        assert getattr(vsalient, name) is not None
    with pytest.raises(AttributeError):
        vsalient.nothing  # noqa: B018
