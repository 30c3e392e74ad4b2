"""The Python interface, and every example of docs/api.md."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vsalient
from tiny_model import install, stripe_mask, stripes, write_clip
from vsalient.errors import DeviceError, InputError, OptionError, WeightsError

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
    assert len(blocks) == 6
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


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (np.zeros((4, 4), np.uint8), "frame 0 is uint8"),
        (np.zeros((4, 4, 3), np.float32), "frame 0 is float32"),
        (np.zeros((4, 4, 4), np.uint8), "shape"),
        ("text", "frame 0 is str"),
    ],
)
def test_what_is_no_frame_is_named(model: vsalient.Model, frame: object, words: str) -> None:
    with pytest.raises(InputError, match=words):
        list(model.predict([frame]))  # type: ignore[list-item]


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


def test_public_names_are_there() -> None:
    for name in vsalient.__all__:
        assert getattr(vsalient, name) is not None
    with pytest.raises(AttributeError):
        vsalient.nothing  # noqa: B018
