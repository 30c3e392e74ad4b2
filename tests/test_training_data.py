"""Sources, pseudo-videos, clip sampling and losses."""

import dataclasses
import itertools

import cv2
import numpy as np
import pytest
import torch

from training_data import SIZE, davis, encode, pair, shard
from vsalient.errors import DataError
from vsalient.training import losses, synthesis
from vsalient.training.contact import contact_sheet
from vsalient.training.data import ClipStream, sample_indices
from vsalient.training.recipe import ClipRecipe, load_recipe
from vsalient.training.sources import Mixture, open_pairs, split_stills


def mixtures(source):
    stills, videos = split_stills(source)
    return Mixture([stills]), Mixture([videos])


def test_shard_gives_stills_and_videos_in_order(tmp_path):
    source = open_pairs(shard(tmp_path / "a.tar", stills=3, videos=2, frames=6))
    stills, videos = split_stills(source)
    assert (len(stills.names), len(videos.names), videos.frames) == (3, 2, 12)
    image, mask = videos.read(0, 4)
    assert image.shape == (*SIZE, 3)
    assert np.array_equal(mask, pair(8)[1])


def test_davis_folder_and_its_palette_masks(tmp_path):
    root = davis(tmp_path / "DAVIS")
    from PIL import Image

    mask = pair(2)[1] // 255  # labels 0 and 1, as DAVIS 2016 writes them with a palette
    palette = Image.fromarray(mask).convert("P")
    palette.putdata(mask.flatten().tolist())
    palette.save(root / "Annotations/480p/seq0/00001.png")
    source = open_pairs(root)
    assert source.names == ["seq0", "seq1"]
    assert np.array_equal(source.read(0, 1)[1], pair(2)[1])


def test_fbms_folder_has_sparse_truth(tmp_path):
    folder = tmp_path / "Trainingset" / "marple1"
    (folder / "GroundTruth").mkdir(parents=True)
    for i in range(5):
        (folder / f"marple1_{i:03d}.jpg").write_bytes(encode(pair(i)[0], "JPEG"))
    for i in (0, 3):
        (folder / "GroundTruth" / f"{i:03d}_gt.png").write_bytes(encode(pair(i)[1], "PNG"))
    source = open_pairs(tmp_path)
    assert source.names == ["marple1"]
    assert [source.is_labelled(0, i) for i in range(source.length(0))] == [True, False, False, True]


def test_image_and_mask_folders(tmp_path):
    for name, index, kind, suffix in (("DUTS-TR-Image", 0, "JPEG", "jpg"), ("DUTS-TR-Mask", 1, "PNG", "png")):
        (tmp_path / name).mkdir()
        for i in range(3):
            (tmp_path / name / f"{i}.{suffix}").write_bytes(encode(pair(i)[index], kind))
    assert open_pairs(tmp_path).frames == 3


def test_msra_layout_in_one_folder(tmp_path):
    for i in range(2):
        (tmp_path / f"{i}.jpg").write_bytes(encode(pair(i)[0], "JPEG"))
        (tmp_path / f"{i}.png").write_bytes(encode(pair(i)[1], "PNG"))
    assert open_pairs(tmp_path).names == ["0", "1"]


@pytest.mark.parametrize("make", ["missing", "empty", "text"])
def test_bad_data_is_one_clear_error(tmp_path, make):
    path = tmp_path / "data"
    if make == "empty":
        path.mkdir()
    elif make == "text":
        path.write_text("not a tar")
    with pytest.raises(DataError, match="data"):
        open_pairs(path)


def test_mask_of_another_size_is_named(tmp_path):
    root = davis(tmp_path / "DAVIS", videos=1)
    small = np.zeros((10, 10), np.uint8)
    (root / "Annotations/480p/seq0/00002.png").write_bytes(encode(small, "PNG"))
    with pytest.raises(DataError, match=r"seq0 #2.*64×48.*10×10"):
        open_pairs(root).read(0, 2)


def test_clip_n_depends_on_seed_and_n_alone(tmp_path):
    stills, videos = mixtures(open_pairs(shard(tmp_path / "a.tar")))
    recipe = ClipRecipe(frames=3, size=(32, 48), kinds={"video": 1.0, "independent": 1.0, "affine": 1.0, "slide": 1.0})
    whole = ClipStream(stills, videos, recipe, seed=5)
    again = ClipStream(stills, videos, recipe, seed=5)
    clips = [whole[number][:2] for number in range(6)]
    for number in (5, 1, 3):
        clip, mask = again[number][:2]
        assert torch.equal(clip, clips[number][0]) and torch.equal(mask, clips[number][1])
    assert not torch.equal(clips[0][0], clips[1][0])
    assert clips[0][0].shape == (3, 3, 32, 48) and clips[0][1].shape == (1, 3, 32, 48)
    assert set(clips[0][1].unique().tolist()) <= {0, 255}


def test_weights_decide_how_often_a_source_is_drawn(tmp_path):
    often, rarely = open_pairs(shard(tmp_path / "a.tar")), open_pairs(shard(tmp_path / "b.tar"))
    often.weight, rarely.weight = 9.0, 1.0
    mixture, rng = Mixture([often, rarely]), np.random.default_rng(0)
    drawn = sum(mixture.draw(rng)[0] is often for _ in range(400))
    assert 330 < drawn < 390


def test_sampling_with_a_span_follows_the_paper():
    rng = np.random.default_rng(0)
    recipe = ClipRecipe(frames=8, span=32)
    for _ in range(50):
        indices = sample_indices(rng, 100, recipe)
        assert len(indices) == 8
        assert indices == sorted(indices)
        assert indices[-1] - indices[0] <= 32
    short = sample_indices(rng, 3, recipe)
    assert len(short) == 8 and short[-1] == 2


@pytest.mark.parametrize(("length", "frames"), [(1, 4), (3, 4), (4, 4), (50, 8)])
def test_sampling_with_gaps_stays_inside(length, frames):
    rng = np.random.default_rng(1)
    for _ in range(20):
        indices = sample_indices(rng, length, ClipRecipe(frames=frames, max_gap=3))
        assert len(indices) == frames and min(indices) >= 0 and max(indices) < length


STILL = synthesis.Path(0, 0, 0, 0)
SHIFT = synthesis.Path(0.1, 0, 0, 0)


def centres(masks):
    return np.array([np.argwhere(m > 0).mean(0) for m in masks])


@pytest.mark.parametrize("seed", range(4))
def test_independent_object_moves_against_its_background(seed):
    image, mask = pair(0)
    texture = np.random.default_rng(1).integers(0, 255, (*SIZE, 3)).astype(np.uint8)
    rng = np.random.default_rng(seed)
    follows = np.random.default_rng(seed).random() < 0.5  # the first number drawn
    frames, masks = synthesis.independent_video(rng, image, mask, texture, 4, (96, 128), weak=STILL, strong=SHIFT)
    assert all(0 < (m > 0).mean() < 0.5 for m in masks)
    moved = np.linalg.norm(np.ptp(centres(masks), axis=0))
    untouched = (masks == 0).all(0)
    change = np.abs(frames[0].astype(int) - frames[-1].astype(int))[untouched]
    if follows:  # the camera moves, the object stays where it is in the picture
        assert moved < 0.5 and np.median(change) > 5
    else:
        assert moved > 1 and np.median(change) == 0


def test_a_distractor_is_background_and_slides_faster_than_the_scene():
    moves = [np.array([[1.0, 0, 3 * i], [0, 1, -i], [0, 0, 1]]) for i in range(3)]
    nearer = synthesis._parallax(moves, (96, 128), 2.0)
    assert [tuple(m[:2, 2]) for m in nearer] == [(0, 0), (6, -2), (12, -4)]
    image, mask = pair(0)
    dark = np.zeros((*SIZE, 3), np.uint8)
    alone, _ = synthesis.independent_video(np.random.default_rng(2), image, mask, dark, 3, (96, 128))
    both, masks = synthesis.independent_video(
        np.random.default_rng(2), image, mask, dark, 3, (96, 128), distractor=(np.full_like(image, 255), mask)
    )
    extra = (both.max(-1) > 250) & (alone.max(-1) < 5)
    assert extra.any() and not (masks[extra] > 0).any()


def test_sliding_crop_follows_a_straight_line():
    image = np.zeros((100, 100, 3), np.uint8)
    image[..., 0] = np.arange(100, dtype=np.uint8)[None]
    frames, _ = synthesis.sliding_crop(np.random.default_rng(3), image, image[..., 0], 4, (80, 80), window=0.8)
    steps = np.diff([float(f[:, 0, 0].mean()) for f in frames])
    assert abs(steps).max() > 0
    assert steps.max() - steps.min() <= 2


def test_a_transplanted_object_keeps_its_shape_and_leaves_its_place_behind():
    frames, masks = (np.stack(x) for x in zip(*(pair(2 * i) for i in range(3)), strict=True))
    green = np.zeros((90, 120, 3), np.uint8)
    green[..., 1] = 200
    still = synthesis.Path(0, 0, 0, 0)
    moved, truth = synthesis.transplant_video(
        np.random.default_rng(1), frames, masks, green, weak=still, strong=synthesis.Path()
    )
    assert moved.shape == frames.shape and truth.min() == 0 and truth.max() == 255
    outside = cv2.dilate(masks[0], np.ones((7, 7), np.uint8)) == 0
    assert (moved[0][outside] == (0, 200, 0)).all()  # nothing of the old place
    inside = cv2.erode(masks[0], np.ones((7, 7), np.uint8)) > 0
    assert moved[0][inside, 0].min() > 190 and (truth[0][inside] == 255).all()
    both, either = ((truth > 0) & (masks > 0)).sum(), ((truth > 0) | (masks > 0)).sum()
    assert both / either > 0.7  # a pixel less all round


def test_a_transplant_without_an_object_is_the_clip_itself():
    frames = np.stack([pair(0)[0]] * 2)
    empty = np.zeros((2, *SIZE), np.uint8)
    pictures, masks = synthesis.transplant_video(np.random.default_rng(0), frames, empty, frames[0])
    assert pictures is frames and not masks.any()


def test_a_real_clip_may_show_a_frame_twice(tmp_path):
    stills, videos = mixtures(open_pairs(shard(tmp_path / "a.tar", stills=3)))
    for repeat, twins in ((0.0, 0), (1.0, 1)):
        recipe = ClipRecipe(frames=3, size=(64, 96), kinds={"video": 1.0}, max_gap=1, repeat=repeat)
        stream = ClipStream(stills, videos, recipe)
        for number in range(6):
            grid, masks, _, _ = stream._real(np.random.default_rng(number))  # before noise and colour
            assert grid.shape == (3, 64, 96, 3) and masks.shape == (3, 64, 96)
            assert sum(np.array_equal(a, b) for a, b in itertools.pairwise(grid)) == twins


def test_stills_are_unrelated_and_marked_as_such(tmp_path):
    stills, videos = mixtures(open_pairs(shard(tmp_path / "a.tar", stills=30)))
    stream = ClipStream(stills, videos, ClipRecipe(frames=4, size=(32, 48), kinds={"stills": 1.0}))
    frames, masks, apart, soft, labelled = stream.sample(0)
    assert apart and frames.shape == (4, 32, 48, 3) and masks.shape == (4, 32, 48)
    assert stream[0].apart is True and not soft.any() and labelled.all()
    assert all(not np.array_equal(frames[0], other) for other in frames[1:])
    assert stream.clip(0)[0].shape == frames.shape
    clips = ClipStream(stills, videos, ClipRecipe(frames=4, size=(32, 48), kinds={"transplant": 1.0, "video": 1.0}))
    assert not any(clips.sample(i)[2] for i in range(8))


@pytest.mark.parametrize("name", ["dsrfcn3d-pseudo", "dsrfcn3d-video"])
def test_dsrfcn3d_s_clips_are_rescaled_cropped_and_mirrored_and_nothing_else(tmp_path, name):
    """Section 4.2: each clip is a window of 112×112 of its frames at 128×171, or its mirror image."""
    source = open_pairs(shard(tmp_path / "data.tar"))
    stills, videos = mixtures(source)
    recipe = load_recipe(name).clips
    assert (recipe.size, recipe.rescale, recipe.reverse) == ((112, 112), (128, 171), 0)
    stream = ClipStream(stills, videos, recipe)
    stands = []
    for number in range(8):
        frames, _ = stream.clip(number)
        assert frames.shape == (4, 112, 112, 3)
        if name == "dsrfcn3d-pseudo":
            continue
        whole = [cv2.resize(source.read(s, i)[0], (171, 128), interpolation=cv2.INTER_AREA)
                 for s in range(len(source.names)) for i in range(source.length(s))]  # fmt: skip
        least = []
        for turned in (frames[0], frames[0][:, ::-1]):
            found = [cv2.minMaxLoc(cv2.matchTemplate(w, np.ascontiguousarray(turned), cv2.TM_SQDIFF))[0] for w in whole]
            least.append(min(found) / frames[0].size)
        # Between pixels the noise of these pictures is blurred; a changed colour or size would be far off both ways.
        assert min(least) < 120 < 200 < max(least)
        stands.append(least[0] < least[1])
    assert name == "dsrfcn3d-pseudo" or len(set(stands)) == 2


def test_a_recipe_without_augmentation_shows_pictures_as_they_are(tmp_path):
    source = open_pairs(shard(tmp_path / "data.tar"))
    stills, videos = mixtures(source)
    for kind in ("still", "video"):
        recipe = ClipRecipe(frames=2, size=SIZE, kinds={kind: 1.0}, max_gap=1, reverse=0.0, augment="none")
        frames, _ = ClipStream(stills, videos, recipe).clip(1)
        every = [source.read(s, i)[0] for s in range(len(source.names)) for i in range(source.length(s))]
        assert any(np.array_equal(frames[0], picture) for picture in every), kind


@pytest.mark.parametrize("kind", ["video", "affine", "still"])
def test_the_last_frames_motion_looks_ahead_where_the_loss_sees_it_alone(tmp_path, kind):
    """As in a video that goes on: to the frame after the clip, which the network never sees."""
    source = open_pairs(shard(tmp_path / "data.tar"))
    stills, videos = mixtures(source)
    recipe = ClipRecipe(frames=4, size=(48, 64), kinds={kind: 1.0}, max_gap=1, target="last")
    stream = ClipStream(stills, videos, recipe, priors=("motion",))
    sample = stream[3]
    assert sample.frames.shape == (3, 4, 48, 64) and sample.masks.shape == (1, 4, 48, 64)
    assert sample.priors["motion"].shape == (1, 4, 48, 64) and sample.soft.shape == (4,)
    longer = ClipStream(stills, videos, dataclasses.replace(recipe, frames=5, target="all"), priors=("motion",))[3]
    assert torch.equal(longer.frames[:, :4], sample.frames)
    assert torch.equal(longer.priors["motion"][:, :4], sample.priors["motion"])
    assert ClipStream(stills, videos, recipe).clip(3)[0].shape == (4, 48, 64, 3)


def test_priors_of_clips_and_of_stills(tmp_path):
    stills, videos = mixtures(open_pairs(shard(tmp_path / "a.tar", stills=3)))
    names = ("residual", "flow")
    for kind, moving in (("independent", True), ("stills", False)):
        recipe = ClipRecipe(frames=3, size=(64, 96), kinds={kind: 1.0})
        frames, _, priors, apart, *_ = ClipStream(stills, videos, recipe, priors=names)[0]
        assert set(priors) == set(names) and apart is not moving
        for maps in priors.values():  # as large as the frames, however small they were computed
            assert maps.shape == (1, *frames.shape[1:]) and maps.dtype == torch.float32
            assert (maps.max() > 0) == moving  # pictures that have nothing to do with each other do not move


@pytest.mark.parametrize("kind", ["video", "transplant"])
def test_video_without_videos_is_refused(tmp_path, kind):
    stills, videos = mixtures(open_pairs(shard(tmp_path / "a.tar", videos=0)))
    with pytest.raises(DataError, match="stills only"):
        ClipStream(stills, videos, ClipRecipe(kinds={kind: 1.0}))


def test_contact_sheet_shows_rows_of_frames(tmp_path):
    stills, videos = mixtures(open_pairs(shard(tmp_path / "a.tar")))
    stream = ClipStream(stills, videos, ClipRecipe(frames=3, size=(24, 32), kinds={"affine": 1.0}))
    assert contact_sheet(stream, rows=2, cell_width=32).size == (96, 48)


def test_losses_against_plain_numpy():
    rng = np.random.default_rng(0)
    logits, target = rng.normal(size=(1, 1, 2, 4, 4)), (rng.random((1, 1, 2, 4, 4)) > 0.7).astype(float)
    a, b = torch.tensor(logits), torch.tensor(target)
    p = 1 / (1 + np.exp(-logits))
    entropy = -(target * np.log(p) + (1 - target) * np.log(1 - p))
    assert losses.cross_entropy(a, b).item() == pytest.approx(entropy.mean())
    share = target.mean((-2, -1), keepdims=True)  # of each frame: Eq. 3's G is one ground truth
    weight = np.where(target > 0.5, 1 - share, share)
    assert losses.balanced_cross_entropy(a, b).item() == pytest.approx((weight * entropy).mean())
    assert losses.squared_error(a, b).item() == pytest.approx(((logits - target) ** 2).mean())
    both, either = (p * target).sum((-2, -1)), (p + target - p * target).sum((-2, -1))
    assert losses.soft_iou(a, b).item() == pytest.approx((1 - (both + 1) / (either + 1)).mean())
    total = (p + target).sum((-2, -1))
    assert losses.dice(a, b).item() == pytest.approx((1 - (2 * both + 1) / (total + 1)).mean())


@pytest.mark.parametrize("name", sorted(losses.LOSSES))
def test_every_loss_pulls_towards_the_target(name):
    target = torch.zeros(1, 1, 2, 32, 32)
    target[..., 8:24, 8:24] = 1
    good, bad = (target * 8 - 4), -(target * 8 - 4)
    if name == "squared-error":
        good, bad = target, 1 - target
    logits = torch.full_like(target, 0.5 if name == "squared-error" else 0.0, requires_grad=True)
    loss = losses.LOSSES[name]
    assert loss(good, target) < loss(logits, target) < loss(bad, target)
    loss(logits, target).backward()
    assert logits.grad[target > 0.5].mean() < 0 < logits.grad[target < 0.5].mean()


def test_deep_supervision_adds_scales():
    target = torch.zeros(1, 1, 2, 8, 8)
    outputs = (torch.zeros(1, 1, 2, 8, 8), torch.zeros(1, 1, 2, 4, 4), torch.zeros(1, 1, 2, 2, 2))
    value = losses.deep_supervision(outputs, target, {"cross-entropy": 1.0}, (1.0, 0.5))
    assert value.item() == pytest.approx(np.log(2) * 2.0)
