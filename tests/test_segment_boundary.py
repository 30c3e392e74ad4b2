import sys

import numpy as np
import pytest

from vsalient.errors import MissingDependencyError, OptionError
from vsalient.segment.boundary import BoundarySnap, ContourHierarchy, majority
from vsalient.segment.contours import GradientContours


def picture(height=90, width=120, seed=0):
    """A noisy disk on a noisy two-tone ground, and the disk."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    disk = np.hypot(y - height / 2, x - width / 2) < height / 3.5
    ground = np.where((x < width * 0.45)[..., None], (90, 110, 70), (120, 130, 150))
    pixels = np.where(disk[..., None], (180, 60, 50), ground) + rng.normal(0, 4, (height, width, 3))
    return pixels.clip(0, 255).astype(np.uint8), disk


def jaccard(a, b):
    return (a & b).sum() / (a | b).sum()


def test_contours_are_strong_on_edges_and_weak_elsewhere():
    pixels, disk = picture()
    strength = GradientContours()(pixels)
    assert strength.shape == disk.shape and strength.dtype == np.float32
    assert strength.min() >= 0 and strength.max() < 1
    edge = disk ^ np.roll(disk, 1, axis=1)
    far = np.abs(np.arange(120) - 60)[None, :] > 45
    assert strength[edge].mean() > 8 * strength[np.broadcast_to(far, disk.shape)].mean()


def test_texture_is_held_down():
    """The same step counts for less where everything is rough."""
    rng = np.random.default_rng(0)
    step = np.where(np.arange(80) < 40, 90, 130)[None, :, None] + np.zeros((60, 80, 3))
    smooth = GradientContours()(step.astype(np.uint8))[10:50, 39:41].mean()
    rough = GradientContours()((step + rng.normal(0, 30, step.shape)).clip(0, 255).astype(np.uint8))
    assert rough[10:50, 39:41].mean() < 0.7 * smooth


def test_higher_cuts_only_merge():
    pixels, _ = picture()
    hierarchy = ContourHierarchy(GradientContours()(pixels))
    fine, middle, coarse = (hierarchy.superpixels(tau) for tau in (0.02, 0.1, 0.4))
    for low, high in ((fine, middle), (middle, coarse)):
        pairs = np.unique(np.stack([low.ravel(), high.ravel()]), axis=1)
        assert len(np.unique(pairs[0])) == pairs.shape[1]  # each low region lies in one high region
        assert low.max() > high.max()
    assert sorted(np.unique(fine)) == list(range(fine.max() + 1))


def test_the_contour_map_bounds_the_superpixels():
    """Binarising the map at τ gives the outlines of the superpixels at τ: they are one thing, as in the paper."""
    pixels, _ = picture()
    hierarchy = ContourHierarchy(GradientContours()(pixels))
    labels, strength = hierarchy.superpixels(0.15), hierarchy.contour_map()
    outline = np.zeros(labels.shape, dtype=bool)
    outline[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    outline[:-1] |= labels[:-1] != labels[1:]
    assert outline.any() and np.array_equal(strength >= 0.15, outline)


@pytest.mark.parametrize("work_pixels", [1_000_000, 5000])
def test_a_sloppy_mask_snaps_to_the_object(work_pixels):
    pixels, disk = picture(120, 160)
    sloppy = np.roll(disk, (4, -6), axis=(0, 1))
    snapped = BoundarySnap(work_pixels=work_pixels)(pixels, sloppy)
    assert snapped.dtype == np.bool_
    assert jaccard(snapped, disk) > 0.95 > 0.8 > jaccard(sloppy, disk)


def test_a_detector_of_ones_own_is_used():
    """Whatever finds contours fits: here one that knows the answer."""
    _, disk = picture()
    blank = np.full((*disk.shape, 3), 128, dtype=np.uint8)

    def oracle(pixels):
        return np.where(disk ^ np.roll(disk, 1, axis=1) | disk ^ np.roll(disk, 1, axis=0), 0.9, 0).astype(np.float32)

    sloppy = np.roll(disk, 5, axis=1)
    assert jaccard(BoundarySnap(oracle)(blank, sloppy), disk) > 0.93


def test_majority_is_more_than_half():
    labels = np.array([[0, 0, 1, 1, 2, 2]])
    inside = np.array([[True, False, True, True, False, False]])
    assert majority(labels, inside).tolist() == [[False, False, True, True, False, False]]


def test_blank_pictures_and_trivial_masks_pass():
    blank = np.full((20, 30, 3), 77, dtype=np.uint8)
    half = np.zeros((20, 30), dtype=bool)
    half[:15] = True
    assert BoundarySnap()(blank, half).all()  # one region, most of it in the mask
    assert not BoundarySnap()(blank, np.zeros_like(half)).any()
    assert BoundarySnap()(blank, np.ones_like(half)).all()
    single = np.ones((1, 1), dtype=bool)
    assert BoundarySnap()(blank[:1, :1], single).all()
    assert ContourHierarchy(np.zeros((4, 5), dtype=np.float32)).contour_map().max() == 0


@pytest.mark.parametrize("options", [{"tau": 1.5}, {"tau": float("nan")}, {"work_pixels": 0}])
def test_senseless_settings_are_refused(options):
    with pytest.raises(OptionError):
        BoundarySnap(**options)


def test_sizes_must_agree():
    with pytest.raises(OptionError, match=r"30x20.*31x20"):
        BoundarySnap()(np.zeros((20, 30, 3), dtype=np.uint8), np.eye(20, 31, dtype=bool))


def test_without_higra_it_says_how_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "higra", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'vsalient\[superpixels\]'"):
        BoundarySnap()
