"""Soft targets reach the loss as they are, made-up clips are what recipes ask for, and paper's own augmentation."""

import cv2
import numpy as np
import pytest
import torch

from vsalient.datasets.found import FoundPair
from vsalient.errors import DataError
from vsalient.training import augment, losses, overlays, synthesis, unreliable
from vsalient.training.data import ClipStream
from vsalient.training.recipe import ClipRecipe, load_recipe
from vsalient.training.sources import Mixture, PairSource

SIZE = (96, 128)


class Pictures(PairSource):
    """Sequences in memory: a bright square of the given probability on texture."""

    def __init__(self, lengths: list[int], value: int, soft: bool) -> None:
        super().__init__(
            "memory", [f"s{i}" for i in range(len(lengths))], [[FoundPair(bytes, bytes)] * n for n in lengths]
        )
        self.value, self.soft = value, soft

    def read(self, sequence, index):
        rng = np.random.default_rng(sequence)
        image = rng.integers(0, 120, (*SIZE, 3), np.uint8)
        mask = np.zeros(SIZE, np.uint8)
        mask[24:72, 30 + index : 90 + index] = self.value
        image[mask > 0] += 120
        return image, mask

    def is_soft(self, sequence, index):
        return self.soft


def stream(kind: str, value: int, soft: bool, **keys) -> ClipStream:
    stills, videos = Mixture([Pictures([1] * 4, value, soft)]), Mixture([Pictures([8] * 2, value, soft)])
    return ClipStream(stills, videos, ClipRecipe(frames=2, size=(48, 64), kinds={kind: 1.0}, **keys))


@pytest.mark.parametrize("kind", ["still", "stills", "slide", "affine", "independent", "video", "transplant"])
@pytest.mark.parametrize("value", [77, 200])  # 0.3 and 0.78
def test_a_soft_mask_reaches_the_loss_as_it_is(kind, value):
    samples = [stream(kind, value, soft=True)[n] for n in range(4)]
    seen = 0
    for sample in samples:
        assert sample.masks.dtype == torch.uint8 and sample.soft.all() and sample.soft.shape == (2,)
        # Rims are between, and nothing is above; the inside is the value itself.
        assert int(sample.masks.max()) <= value + 1
        seen += int(((sample.masks.int() - value).abs() <= 1).sum())
    # What is less than half an object has no opaque part that could be cut out.
    assert seen > 200 or (value < 128 and kind in ("independent", "transplant"))


@pytest.mark.parametrize("kind", ["slide", "affine", "independent", "video", "transplant"])
def test_a_hard_mask_stays_hard(kind):
    for number in range(3):
        drawn = stream(kind, 255, soft=False).sample(number)
        assert not drawn.soft.any() and set(np.unique(drawn.masks)) <= {0, 255} and drawn.masks.any()


@pytest.mark.parametrize("name", [n for n in losses.LOSSES if n != "squared-error"])
def test_losses_are_least_where_the_probability_is_the_soft_target(name):
    target = torch.full((1, 1, 1, 32, 32), 0.3)
    values = [losses.LOSSES[name](torch.full_like(target, float(np.log(p / (1 - p)))), target) for p in (0.2, 0.3, 0.4)]
    assert values[1] < values[0] and values[1] < values[2]


def test_soft_frames_have_a_weight_of_their_own():
    torch.manual_seed(0)
    logits, target = torch.randn(2, 1, 2, 8, 8), (torch.rand(2, 1, 2, 8, 8) > 0.5).float()
    terms, weights = {"cross-entropy": 1.0, "iou": 0.5}, torch.tensor([[1.0, 0.25], [0.25, 0.25]])
    value = losses.deep_supervision((logits,), target, terms, (1.0,), weights)
    each = [
        (w / 4)
        * losses.deep_supervision((logits[b : b + 1, :, t : t + 1],), target[b : b + 1, :, t : t + 1], terms, (1.0,))
        for b in range(2)
        for t, w in enumerate(weights[b])
    ]
    assert value.item() == pytest.approx(sum(each).item(), rel=1e-5)
    same = losses.deep_supervision((logits,), target, terms, (1.0,), torch.ones(2, 2))
    assert same.item() == pytest.approx(losses.deep_supervision((logits,), target, terms, (1.0,)).item())


def test_large_cut_outs_cover_what_was_asked_and_may_be_cut_by_the_border():
    shares = [stream("independent", 255, False, large=1.0).clip(n)[1].mean() / 255 for n in range(12)]
    small = [stream("independent", 255, False).clip(n)[1].mean() / 255 for n in range(12)]
    assert np.median(shares) > 0.3 > 0.26 > max(small)
    touching = sum(bool(stream("independent", 255, False, large=1.0).clip(n)[1][:, [0, -1]].any()) for n in range(12))
    assert touching >= 3


def test_small_crops_hold_the_object_mostly():
    shown = [stream("video", 255, False, crop=(0.35, 0.4)).clip(n)[1].any() for n in range(20)]
    assert sum(shown) >= 17


def test_burned_in_text_is_background_and_stands_still():
    rng = np.random.default_rng(0)
    frames, masks = np.full((3, 96, 160, 3), 90, np.uint8), np.full((3, 96, 160), 255, np.uint8)
    changed = []
    for _ in range(20):
        pictures, truths = overlays.burn_in(rng, frames, masks)
        drawn = (pictures != frames).any(axis=3)
        assert frames.min() == 90 and masks.min() == 255  # the given arrays are left alone
        # Soft rims and see-through logos aside, what was drawn is no object.
        solid = np.abs(pictures.astype(int) - frames).max(axis=3) > 80
        assert (truths[solid] == 0).mean() > 0.95 if solid.any() else drawn.any()
        changed.append(drawn.mean())
    assert max(changed) < 0.7


def test_motion_that_says_something_wrong():
    rng, maps = np.random.default_rng(0), {"residual": np.zeros((2, 20, 30), np.float32)}
    share = {"camera_share": np.full((2, 20, 30), 0.4, np.float32)}
    assert all((unreliable.distort(rng, {**maps, **share})["camera_share"] == 0.4).all() for _ in range(8))
    maps["residual"][:, 5:10, 5:12] = 0.9
    kinds = set()
    for _ in range(40):
        wrong = unreliable.distort(rng, maps)["residual"]
        assert wrong.shape == (2, 20, 30) and wrong.dtype == np.float32 and 0 <= wrong.min() <= wrong.max() <= 1
        assert not np.array_equal(wrong, maps["residual"])
        if not wrong.any():
            kinds.add("zero")
        elif np.allclose(wrong, 0.9 - maps["residual"]):
            kinds.add("turned")
        elif np.isclose(wrong.sum(), maps["residual"].sum()):
            kinds.add("elsewhere")
        else:
            kinds.add("mixed")
    assert kinds == {"zero", "turned", "elsewhere", "mixed"}


def test_unreliable_motion_changes_priors_and_nothing_else():
    def made(**keys):
        stills, videos = Mixture([Pictures([1] * 4, 255, False)]), Mixture([Pictures([8] * 2, 255, False)])
        recipe = ClipRecipe(frames=3, size=(48, 64), kinds={"video": 1.0}, **keys)
        return ClipStream(stills, videos, recipe, priors=("residual",))[0]

    plain, wrong = made(), made(unreliable=1.0)
    assert torch.equal(plain.frames, wrong.frames) and torch.equal(plain.masks, wrong.masks)
    assert not torch.equal(plain.priors["residual"], wrong.priors["residual"])


def test_the_paper_s_own_augmentation_is_a_fixed_size_a_crop_and_a_mirror_image():
    ramp = np.zeros((1, 128, 171, 3), np.uint8)
    ramp[..., 0] = np.arange(171)
    ramp[..., 1] = np.arange(128)[:, None]
    mirrored, corners = 0, set()
    for seed in range(30):
        pictures, _ = augment.place_clip(
            np.random.default_rng(seed), ramp, ramp[..., 0], (112, 112), augment="rescale-crop", rescale=(128, 171)
        )
        across = np.diff(pictures[0, 5, :, 0].astype(int))
        # One pixel on is one pixel on: no zoom, no turn, no change of colour.
        assert set(np.unique(np.abs(across[1:-1]))) == {1}
        assert set(np.unique(np.diff(pictures[0, :, 5, 1].astype(int)))) == {1}
        mirrored += int(across[5] < 0)
        corners.add((int(pictures[0, 0, :, 0].min()), int(pictures[0, 0, 0, 1])))
    assert 6 < mirrored < 24 and len(corners) > 20
    assert max(c[0] for c in corners) <= 171 - 112 and max(c[1] for c in corners) <= 128 - 112
    still = augment.place_clip(np.random.default_rng(0), ramp, ramp[..., 0], (128, 171), augment="none")[0]
    assert np.array_equal(still, ramp)


def test_slides_are_mirrored_half_of_the_time():
    image = np.zeros((100, 100, 3), np.uint8)
    image[..., 0] = np.arange(100)
    directions = [
        int(synthesis.sliding_crop(np.random.default_rng(n), image, image[..., 0], 2, (80, 80))[0][0, 0, 40, 0])
        > int(synthesis.sliding_crop(np.random.default_rng(n), image, image[..., 0], 2, (80, 80))[0][0, 0, 10, 0])
        for n in range(40)
    ]
    assert 10 < sum(directions) < 30


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("clips.large=1.5", "share"),
        ("clips.crop=[0.9, 0.5]", "smaller first"),
        ("loss.soft=2.0", "loss.soft"),
        ("clips.augment=wild", "must be one of"),
        ("clips.augment=rescale-crop", "smaller than clips.size"),
    ],
)
def test_senseless_values_are_one_line(override, says):
    with pytest.raises(DataError, match=says):
        load_recipe("3dc-lite-video", [override])


def test_the_middle_of_an_object():
    mask = np.zeros((40, 60), np.uint8)
    cv2.rectangle(mask, (10, 20), (20, 30), 255, -1)
    assert synthesis.centre(mask) == pytest.approx((15, 25))
    assert synthesis.centre(mask * 0) is None
