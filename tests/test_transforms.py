"""Geometries: sizes from a table, pixels against Pillow, inverses that put things back where they were."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vsalient.errors import OptionError
from vsalient.transforms import Geometry, check_geometry


@pytest.mark.parametrize(
    ("spec", "source", "multiple", "scaled", "padding"),
    [
        ("native", (480, 854), 32, (480, 854), (0, 0, 5, 5)),
        ("native", (479, 853), 32, (479, 853), (0, 1, 5, 6)),
        ("short:480", (1080, 1920), 32, (480, 853), (0, 0, 5, 6)),
        ("short:480", (1920, 1080), 32, (853, 480), (5, 6, 0, 0)),
        ("short:480", (240, 321), 1, (480, 642), (0, 0, 0, 0)),
        ("exact:112x96", (480, 854), 1, (112, 96), (0, 0, 0, 0)),
        ("area:256x448", (480, 854), 32, (256, 448), (0, 0, 0, 0)),
        ("area:256x448", (1080, 1920), 32, (256, 448), (0, 0, 0, 0)),
        ("area:256x448", (1920, 1080), 32, (448, 256), (0, 0, 0, 0)),
        ("area:256x448", (600, 600), 32, (352, 352), (0, 0, 0, 0)),
        ("area:256x448", (4, 40000), 32, (32, 3584), (0, 0, 0, 0)),
        ("area:256x448", (40000, 4), 32, (3584, 32), (0, 0, 0, 0)),
    ],
)
def test_sizes(
    spec: str,
    source: tuple[int, int],
    multiple: int,
    scaled: tuple[int, int],
    padding: tuple[int, int, int, int],
) -> None:
    geometry = Geometry.plan(spec, source, multiple=multiple)
    assert (geometry.scaled, geometry.padding) == (scaled, padding)
    assert all(side % multiple == 0 for side in geometry.network)


@pytest.mark.parametrize("spec", ["", "short", "short:0", "exact:112", "area:256x", "480p", "native:3"])
def test_unknown_geometries_are_refused(spec: str) -> None:
    with pytest.raises(OptionError, match="write native, short:480"):
        check_geometry(spec)


def test_absurd_sizes_are_refused() -> None:
    with pytest.raises(OptionError, match="choose a smaller one"):
        Geometry.plan("short:480", (10, 10000))


def _picture(height: int, width: int) -> np.ndarray:
    rng = np.random.default_rng(7)
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_pillow_resampling_is_bit_for_bit_pillow() -> None:
    pixels = _picture(96, 171)
    geometry = Geometry.plan("short:48", (96, 171), multiple=32, resample="pillow")
    expected = np.asarray(Image.fromarray(pixels).resize((86, 48), Image.Resampling.BILINEAR))
    tensor = geometry.apply(pixels)
    assert tensor.dtype == torch.uint8 and tuple(tensor.shape) == (3, 64, 96)
    np.testing.assert_array_equal(tensor[:, 8:56, 5:91].permute(1, 2, 0).numpy(), expected)
    outside = tensor.clone()
    outside[:, 8:56, 5:91] = 0
    assert int(outside.max()) == 0


def test_the_fast_resampling_is_within_one_level_of_pillow() -> None:
    pixels = _picture(96, 170)
    fast, exact = (
        Geometry.plan("area:32x57", (96, 170), resample=resample).apply(pixels).to(torch.int16)
        for resample in ("antialias", "pillow")
    )
    assert int((fast - exact).abs().max()) <= 1


def test_read_only_pixels_are_taken_without_complaint(recwarn: pytest.WarningsRecorder) -> None:
    pixels = _picture(8, 8)
    pixels.flags.writeable = False
    tensor = Geometry.plan("native", (8, 8)).apply(pixels)
    np.testing.assert_array_equal(tensor.permute(1, 2, 0).numpy(), pixels)
    assert not recwarn.list


@given(st.integers(3, 70), st.integers(3, 70), st.sampled_from([1, 8, 32]))
@settings(max_examples=60, deadline=None)
def test_native_padding_is_inverted_exactly(height: int, width: int, multiple: int) -> None:
    geometry = Geometry.plan("native", (height, width), multiple=multiple)
    pixels = _picture(height, width)
    channel = geometry.apply(pixels)[0].numpy().astype(np.float32)
    np.testing.assert_array_equal(geometry.invert(channel), pixels[..., 0])
    prior = geometry.apply_map(pixels[..., 1].astype(np.float32))
    np.testing.assert_array_equal(geometry.invert(prior[0].numpy()), pixels[..., 1])


@given(st.integers(5, 90), st.integers(5, 90), st.sampled_from(["short:24", "exact:33x17", "area:32x48"]))
@settings(max_examples=60, deadline=None)
def test_inverse_has_the_frame_size_and_keeps_a_constant(height: int, width: int, spec: str) -> None:
    geometry = Geometry.plan(spec, (height, width), multiple=16)
    for interpolation in ("bilinear", "nearest"):
        back = geometry.invert(np.full(geometry.network, 0.25, np.float32), interpolation)
        assert back.shape == (height, width) and back.dtype == np.float32
        np.testing.assert_allclose(back, 0.25, rtol=1e-6)


def test_nearest_inverse_takes_the_pixel_under_the_centre() -> None:
    geometry = Geometry.plan("exact:3x5", (7, 11), multiple=2)
    small = np.zeros(geometry.network, np.float32)
    small[:3, :5] = np.random.default_rng(1).random((3, 5), dtype=np.float32)
    rows, columns = ((np.arange(n) + 0.5) * m / n for n, m in ((7, 3), (11, 5)))
    expected = small[rows.astype(int)[:, None], columns.astype(int)]
    np.testing.assert_array_equal(geometry.invert(small, "nearest"), expected)


def test_bilinear_inverse_does_not_shift() -> None:
    """A blob in the middle stays in the middle."""
    geometry = Geometry.plan("exact:20x20", (101, 201))
    small = np.zeros((20, 20), np.float32)
    small[9:11, 9:11] = 1
    back = geometry.invert(small)
    rows, columns = np.mgrid[:101, :201]
    assert (back * rows).sum() / back.sum() == pytest.approx(50, abs=0.01)
    assert (back * columns).sum() / back.sum() == pytest.approx(100, abs=0.01)
