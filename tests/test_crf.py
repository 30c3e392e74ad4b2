"""The dense CRF against sums over all pairs of pixels."""

import numpy as np
import pytest

from vsalient.errors import OptionError
from vsalient.segment.crf import DenseCrf, guided_upsample
from vsalient.segment.lattice import PermutohedralLattice


def gaussian_kernel(features):
    """The full (N, N) kernel matrix of features (d, N)."""
    squares = ((features[:, :, None] - features[:, None, :]) ** 2).sum(axis=0)
    return np.exp(-0.5 * squares)


def brute_force(pixels, probability, *, alpha, beta, gamma, w1, w2, iterations):
    """SCNN Eq. 9, 10 by mean field with every pair of pixels, in float64."""
    height, width = probability.shape
    y, x = np.mgrid[:height, :width].reshape(2, -1).astype(np.float64)
    colour = pixels.reshape(-1, 3).T.astype(np.float64)
    kernels = []
    for weight, features in (
        (w1, np.stack([x / alpha, y / alpha, *(colour / beta)])),
        (w2, np.stack([x / gamma, y / gamma])),
    ):
        kernel = gaussian_kernel(features)
        scale = 1 / np.sqrt(kernel.sum(axis=1))
        kernels.append(weight * kernel * scale[:, None] * scale[None, :])
    pairwise = kernels[0] + kernels[1]
    foreground = np.clip(probability.reshape(-1).astype(np.float64), 0.5 / 255, 1 - 0.5 / 255)
    energies = -np.log(np.stack([1 - foreground, foreground]))
    beliefs = np.stack([1 - foreground, foreground])
    for _ in range(iterations):
        # Potts: a label pays for what the other label holds.
        cost = energies + (pairwise @ beliefs[::-1].T).T
        beliefs = np.exp(-cost)
        beliefs /= beliefs.sum(axis=0)
    return beliefs[1].reshape(height, width)


def scene(height=40, width=56, seed=0):
    """A coloured blob on a textured ground, its exact mask and a blurred, shifted, noisy map of it."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    mask = ((y - height / 2) / (height / 3.2)) ** 2 + ((x - width / 2) / (width / 4)) ** 2 < 1
    pixels = np.where(mask[..., None], (190, 90, 60), (70, 120, 140)) + rng.normal(0, 7, (height, width, 3))
    distance = np.hypot((y - height / 2 - 2) / (height / 3.2), (x - width / 2 + 3) / (width / 4))
    noise = rng.normal(0, 0.5, (height, width))
    probability = 1 / (1 + np.exp(-(1 - distance) * 4 - noise))
    return pixels.clip(0, 255).astype(np.uint8), mask, probability.astype(np.float32)


def jaccard(a, b):
    return (a & b).sum() / (a | b).sum()


@pytest.mark.parametrize("dimensions", [1, 2, 3, 5])
def test_lattice_filters_like_the_exact_kernel(dimensions):
    rng = np.random.default_rng(dimensions)
    features = rng.uniform(0, 3, (dimensions, 800)).astype(np.float32)
    values = np.sin(2 * features.sum(axis=0)) + 1
    kernel = gaussian_kernel(features.astype(np.float64))
    lattice = PermutohedralLattice(features)
    gain = lattice.filter(np.ones(800, dtype=np.float32))
    found = lattice.filter(values) / gain
    assert np.abs(found - kernel @ values / kernel.sum(axis=1)).max() < 0.06  # of values from 0 to 2
    ratio = gain / kernel.sum(axis=1)
    assert ratio.std() < 0.08 * ratio.mean()


def test_lattice_keeps_far_points_apart():
    features = np.array([[0.0, 0.5, 40.0, 40.5], [0.0, 0.0, -7.0, -7.0]], dtype=np.float32)
    lattice = PermutohedralLattice(features)
    assert np.all(lattice.filter(np.array([1, 1, 0, 0], dtype=np.float32))[2:] == 0)
    assert np.all(lattice.filter(np.array([1, 1, 0, 0], dtype=np.float32))[:2] > 0)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    "widths",
    [
        {"alpha": 20, "beta": 12, "gamma": 3, "w1": 3, "w2": 3},
        {"alpha": 8, "beta": 30, "gamma": 1.5, "w1": 4, "w2": 1},
        {"alpha": 60, "beta": 8, "gamma": 5, "w1": 0, "w2": 3},
    ],
)
def test_field_is_that_of_brute_force(seed, widths):
    pixels, _, probability = scene(32, 44, seed)
    exact = brute_force(pixels, probability, iterations=5, **widths)
    crf = DenseCrf(
        theta_alpha=widths["alpha"],
        theta_beta=widths["beta"],
        theta_gamma=widths["gamma"],
        w1=widths["w1"],
        w2=widths["w2"],
        iterations=5,
    )
    refined = crf(pixels, probability)
    assert refined.dtype == np.float32 and refined.shape == probability.shape
    assert np.abs(refined - exact).mean() < 0.01
    assert ((refined >= 0.5) != (exact >= 0.5)).mean() < 0.005
    assert np.abs(probability - exact).mean() > 0.03  # the CRF does move this map


def test_the_smoothness_kernel_alone_is_exact():
    pixels, _, probability = scene(20, 30)
    exact = brute_force(pixels, probability, alpha=1, beta=1, gamma=2, w1=0, w2=3, iterations=10)
    refined = DenseCrf(theta_gamma=2, w1=0, w2=3, iterations=10)(pixels, probability)
    assert np.abs(refined - exact).max() < 2e-3


def test_without_kernels_the_map_stays():
    pixels, _, probability = scene()
    same = DenseCrf(w1=0, w2=0)(pixels, probability)
    assert np.abs(same - probability).max() < 1e-2


def test_coarse_grid_stays_near_the_full_one():
    pixels, _, probability = scene(80, 112)
    full = DenseCrf(theta_alpha=20, theta_beta=12)(pixels, probability)
    coarse = DenseCrf(theta_alpha=20, theta_beta=12, work_pixels=80 * 112 // 9)(pixels, probability)
    assert ((full >= 0.5) != (coarse >= 0.5)).mean() < 0.01
    assert np.abs(full - coarse).mean() < 0.02


@pytest.mark.parametrize("work_pixels", [100_000, 1500])
def test_the_mask_moves_to_the_colour_edge(work_pixels):
    pixels, mask, probability = scene(96, 128)
    refined = DenseCrf(theta_alpha=40, theta_beta=15, work_pixels=work_pixels)(pixels, probability)
    assert jaccard(refined >= 0.5, mask) > 0.97 > 0.9 > jaccard(probability >= 0.5, mask)


def test_an_empty_map_stays_empty_and_a_full_one_full():
    pixels, _, probability = scene()
    assert DenseCrf()(pixels, np.zeros_like(probability)).max() < 0.01
    assert DenseCrf()(pixels, np.ones_like(probability)).min() > 0.99


def test_a_single_pixel_and_a_line_pass():
    for shape in ((1, 1), (1, 9), (300, 1)):
        pixels = np.full((*shape, 3), 90, dtype=np.uint8)
        refined = DenseCrf(work_pixels=64)(pixels, np.full(shape, 0.8, dtype=np.float32))
        assert refined.shape == shape and np.all(refined > 0.8)


def test_enlarged_values_follow_the_colours():
    """A step in a small map lands on the colour edge, which bilinear enlargement smears over several pixels."""
    pixels = np.zeros((60, 60, 3), dtype=np.uint8)
    pixels[:, 31:] = 200
    small = pixels.reshape(10, 6, 10, 6, 3).mean(axis=(1, 3)).astype(np.uint8)
    values = (small[..., 0] / 200.0).astype(np.float32)
    large = guided_upsample(values, small, pixels)
    assert np.abs(large - pixels[..., 0] / 200.0).max() < 0.12


@pytest.mark.parametrize(
    "options",
    [{"theta_alpha": 0}, {"theta_beta": -1}, {"theta_gamma": float("nan")}, {"w1": -1}, {"iterations": 0}],
)
def test_senseless_parameters_are_refused(options):
    (name, _), *_ = options.items()
    with pytest.raises(OptionError, match=name):
        DenseCrf(**options)


def test_sizes_must_agree():
    with pytest.raises(OptionError, match=r"4x3.*5x3"):
        DenseCrf()(np.zeros((3, 4, 3), dtype=np.uint8), np.zeros((3, 5), dtype=np.float32))


def test_kernels_too_narrow_for_the_lattice_are_refused():
    pixels, _, probability = scene(60, 90)
    with pytest.raises(OptionError, match="theta_alpha"):
        DenseCrf(theta_alpha=0.005, theta_beta=0.01)(pixels, probability)
