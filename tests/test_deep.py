"""Videos in 10 bits: what the source codes comes out as it was, HDR too, with its tags; or one line says why not."""

from pathlib import Path

import av
import numpy as np
import pytest

from media_files import write_video
from test_film_extras import hdr_film
from vsalient.cli.app import main
from vsalient.errors import OptionError
from vsalient.media import open_source
from vsalient.media.hdr import HLG, PQ, from_sdr, to_sdr
from vsalient.outputs import Looks, opened
from vsalient.outputs.looks import Choice
from vsalient.types import Result

SIZE = (48, 64)


def codes(seed: int = 0) -> np.ndarray:
    """Patches of 8 pixels in 10 bits, low values first so that 8 bits would show as steps; (48, 64, 3)."""
    patches = np.random.default_rng(seed).integers(64, 900, (6, 8, 3))
    patches[0] = np.arange(401, 409)[:, None]  # a ramp finer than 8 bits
    return patches.repeat(8, axis=0).repeat(8, axis=1).astype(np.uint16)


def saliency() -> np.ndarray:
    """The right half, and nothing of the left."""
    values = np.zeros(SIZE, np.float32)
    values[:, 32:] = 1
    return values


def painted(film: Path, out: Path, kind: str, codec: str | None = None, quality: float | None = None) -> av.VideoFrame:
    looks = Looks(encoding=Choice(codec, quality, bits=10))
    with open_source(film, deep=True) as source:
        frames = list(source)
        assert frames[0].deep is not None and frames[0].deep.dtype == np.uint16
        with opened([(kind, out)], source.info, looks=looks) as outputs:
            for frame in frames:
                outputs[0].write(Result(frame, saliency()))
            for output in outputs:
                output.finish()
                output.close()
    with av.open(str(out)) as container:
        return next(container.decode(video=0))


def rgb(frame: av.VideoFrame) -> np.ndarray:
    """A decoded frame as BT.2020 RGB in [0, 1], by BT.2100's equations from its own planes, chroma repeated."""
    bits = frame.format.components[0].bits
    planes = []
    for plane in frame.planes[:3]:
        rows = np.frombuffer(plane, np.uint16).reshape(plane.height, -1)[:, : plane.width].astype(np.float64)
        rows = rows / 2 ** (bits - 8)
        planes.append(rows.repeat(frame.height // plane.height, 0).repeat(frame.width // plane.width, 1))
    luma = (planes[0] - 16) / 219
    blue, red = (planes[1] - 128) / 224 * 1.8814, (planes[2] - 128) / 224 * 1.4746
    green = luma - (0.2627 * red + 0.0593 * blue) / 0.6780
    return np.stack([luma + red, green, luma + blue], axis=-1)


INSIDE = np.zeros((8, 8), bool)
INSIDE[3:5, 3:5] = True
CENTRES = np.tile(INSIDE, (6, 8))
"""The middles of the patches, away from what 4:2:0 and a codec mix."""


@pytest.mark.parametrize("transfer", [PQ, HLG])
@pytest.mark.parametrize(
    ("ending", "codec", "form", "bound"),
    [
        (".mkv", "ffv1", "yuv444p10le", 2.5),
        (".mp4", "h265", "yuv420p10le", 12),
        (".mp4", "av1", "yuv420p10le", 40),
        (".mp4", "h264", "yuv420p10le", 12),
        (".mov", None, "yuv422p10le", 12),
    ],
)
def test_an_overlay_keeps_bits_curve_and_tags(tmp_path, transfer, ending, codec, form, bound):
    """The object's half is tinted, the other one darkened by the same share of its codes as in 8 bits."""
    film = hdr_film(tmp_path / "h.mkv", codes(), transfer)
    frame = painted(film, tmp_path / f"o{ending}", "overlay", codec, None if codec in (None, "ffv1") else 1)
    assert frame.format.name == form and frame.color_range == 1
    assert (frame.color_primaries, frame.color_trc, frame.colorspace) == (9, transfer, 9)
    seen, source = rgb(frame) * 1023, codes().astype(float)
    left, right = CENTRES.copy(), CENTRES.copy()
    left[:, 24:] = right[:, :40] = False  # a patch from the line between
    tint = from_sdr(np.array([255, 45, 85]) / 255, transfer) * 1023
    assert np.quantile(np.abs(seen[left] - 0.65 * source[left]), 0.95) <= bound
    assert np.quantile(np.abs(seen[right] - (0.6 * source[right] + 0.4 * tint)), 0.95) <= bound


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_the_object_keeps_its_codes_in_prores_4444(tmp_path, transfer):
    film = hdr_film(tmp_path / "h.mkv", codes(), transfer)
    frame = painted(film, tmp_path / "a.mov", "alpha")
    assert frame.format.name.startswith("yuva444p1") and len(frame.planes) == 4
    assert (frame.color_primaries, frame.color_trc, frame.colorspace) == (9, transfer, 9)
    solid = CENTRES.copy()
    solid[:, :40] = False
    bits = frame.format.components[0].bits
    alpha = np.frombuffer(frame.planes[3], np.uint16).reshape(SIZE[0], -1)[:, : SIZE[1]]
    assert alpha[solid].min() >= 2**bits - 4 and alpha[:, :16].max() == 0
    errors = np.abs(rgb(frame) * 1023 - codes())[solid]
    assert np.quantile(errors, 0.95) <= 6
    # Eight bits come in steps of 4: the ramp's steps of 1 are still there.
    ramp = rgb(frame)[3:5, 40:, 1].mean(0).reshape(-1, 8)[:, 3:5].mean(1) * 1023
    assert np.ptp(ramp - np.arange(406, 409)) < 1.5


def test_films_without_hdr_keep_their_tags_too(tmp_path):
    film = write_video(tmp_path / "a.mp4", [np.full((48, 64, 3), 90 + i, np.uint8) for i in range(3)])
    with open_source(film) as source:
        tags = source.info.color_tags
        assert next(iter(source)).deep is None
    frame = painted(film, tmp_path / "o.mp4", "contours")
    assert frame.format.name == "yuv420p10le"
    assert (frame.color_primaries, frame.color_trc, frame.colorspace) == tags
    middle = frame.to_ndarray(format="rgb24")[24, 8].astype(int)
    with open_source(film) as source:
        assert np.abs(middle - next(iter(source)).pixels[24, 8]).max() <= 2


def test_there_and_back():
    values = np.random.default_rng(0).uniform(0, 1, (50, 3))
    for transfer in (PQ, HLG):
        assert to_sdr(from_sdr(values, transfer), transfer) == pytest.approx(values, abs=0.003)
        assert from_sdr(np.ones(3), transfer) == pytest.approx({PQ: 0.5807, HLG: 0.75}[transfer], abs=0.003)


def command(*arguments: object) -> int:
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    return int(end.value.code or 0)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("-w", "video"), "--bits 10 is for -w overlay, contours, alpha, fill"),
        (("-w", "maps"), "are for videos"),
        (("-w", "overlay", "--codec", "vp9"), "--codec vp9 is not for an overlay video in 10 bits"),
        (("-w", "overlay", "-o", "o.mp4", "--codec", "ffv1"), "--codec ffv1 does not go into .mp4 here in 10 bits"),
        (("-w", "alpha", "-o", "a.webm"), "does not go into .webm; use .mov"),
        (("-w", "alpha", "--alpha-format", "gif"), "does not go into .gif; use .mov"),
        (("-w", "alpha", "--codec", "vp9"), "choose prores"),
        (("-w", "overlay", "-o", "-"), "does not go into stdout; use .mp4 or .mkv or .mov"),
    ],
)
def test_what_has_no_10_bits_is_told_before_any_work(tmp_path, monkeypatch, capsys, arguments, says):
    write_video(tmp_path / "a.mp4", [np.zeros((48, 64, 3), np.uint8)] * 3)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("vsalient.api.load_model", lambda *a, **k: pytest.fail("loaded"))
    assert command("predict", "a.mp4", "--bits", "10", *arguments) != 0
    said = " ".join(capsys.readouterr().err.split())
    assert says in said and "Traceback" not in said
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_pictures_have_no_10_bits(tmp_path, monkeypatch, capsys):
    from PIL import Image

    (tmp_path / "f").mkdir()
    for index in range(2):
        Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(tmp_path / "f" / f"{index}.png")
    monkeypatch.chdir(tmp_path)
    for source, says in (("f", "is no film"), ("f/0.png", "does not go into .png")):
        assert command("predict", source, "--bits", "10", "-w", "overlay", "-o", "o") != 0
        assert says in " ".join(capsys.readouterr().err.split())


def test_segment_writes_10_bits_through_the_command_line(tmp_path, monkeypatch, capsys):
    """With maps made earlier, so that no network runs; the maps are read as ever."""
    monkeypatch.chdir(tmp_path)
    hdr_film(tmp_path / "h.mkv", codes(), HLG)
    gray = np.repeat((saliency() * 255).astype(np.uint8)[..., None], 3, axis=2)
    write_video(tmp_path / "m.mkv", [gray], codec="ffv1")
    wanted = ("-w", "overlay,alpha,masks", "--bits", "10", "-o", "out")
    assert command("segment", "h.mkv", "--maps", "m.mkv", *wanted) == 0, capsys.readouterr().err
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["h_alpha.mov", "h_masks", "h_overlay.mp4"]
    for name, form in (("h_overlay.mp4", "yuv420p10le"), ("h_alpha.mov", "yuva444p12le")):
        with av.open(str(tmp_path / "out" / name)) as container:
            frame = next(container.decode(video=0))
            assert frame.format.name == form
            assert (frame.color_primaries, frame.color_trc, frame.colorspace) == (9, HLG, 9)


def test_python_asks_for_films(tmp_path):
    from vsalient import write

    looks = Looks(encoding=Choice(bits=10))
    with pytest.raises(OptionError, match="10 bits are for films"):
        write([np.zeros((48, 64, 3), np.uint8)], {"overlay": tmp_path / "o.mp4"}, looks=looks)
