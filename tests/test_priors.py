"""Priors on scenes whose motion is known: flow, camera, superpixels, classifier, the stream."""

import sys
from fractions import Fraction

import cv2
import numpy as np
import pytest

from moving_square import scene, texture
from vsalient.errors import CheckpointError, DataError, InputError, MissingDependencyError, OptionError
from vsalient.priors import (
    CarriedMean,
    DisFlow,
    MotionPrior,
    SuperpixelClassifier,
    camera_flow,
    clip_maps,
    fit_camera,
    flow_strength,
    prior_stream,
    residual_maps,
)
from vsalient.priors import classifier as classifier_module
from vsalient.priors.flow import resize_flow
from vsalient.priors.superpixels import (
    border_shares,
    contacts,
    describe_superpixels,
    flow_superpixels,
    region_means,
    region_sizes,
)
from vsalient.types import Frame


def frames(pixels):
    return [Frame(p, i, i, Fraction(1, 25)) for i, p in enumerate(pixels)]


def overlap(prior, mask):
    found = prior >= 0.5
    return (found & mask).sum() / (found | mask).sum()


@pytest.mark.parametrize(("preset", "error"), [("ultrafast", 1.5), ("fast", 1.5), ("light", 0.3), ("medium", 0.3)])
def test_flow_of_a_moving_square(preset, error):
    pixels, masks = scene(2, 160, 224, side=48, step=(2, 4), camera=(0, -3))
    flow = DisFlow(preset)(pixels[0], pixels[1])
    assert flow.shape == (160, 224, 2) and flow.dtype == np.float32
    inside = np.zeros_like(masks[0])
    y, x = np.argwhere(masks[0]).mean(axis=0).astype(int)
    inside[y - 15 : y + 15, x - 15 : x + 15] = True
    far = np.ones_like(inside)
    far[y - 48 : y + 48, x - 48 : x + 48] = False
    np.testing.assert_allclose(np.median(flow[inside], axis=0), [4, 2], atol=error)
    np.testing.assert_allclose(np.median(flow[far], axis=0), [-3, 0], atol=error)


def test_flow_at_reduced_resolution_is_in_pixels_of_the_frame():
    pixels, _ = scene(2, 320, 448, side=96, step=(0, 8), camera=(0, -6))
    flow = DisFlow("medium", longest=224)(pixels[0], pixels[1])
    np.testing.assert_allclose(np.median(flow[:60].reshape(-1, 2), axis=0), [-6, 0], atol=0.5)


@pytest.mark.parametrize("shape", [(8, 8), (5, 300), (1, 1), (33, 500)])
def test_odd_frame_sizes_have_flow_and_prior(shape):
    pixels = np.random.default_rng(0).integers(0, 255, (2, *shape, 3), np.uint8)
    flow = DisFlow()(pixels[0], pixels[1])
    assert flow.shape == (*shape, 2)
    prior = MotionPrior()(pixels[0], flow)
    assert prior.shape == shape and prior.min() >= 0 and prior.max() <= 1


def test_resized_flow_scales_its_vectors():
    flow = np.full((10, 20, 2), (2.0, 3.0), np.float32)
    doubled = resize_flow(flow, (30, 40))
    np.testing.assert_allclose(doubled[15, 20], [4.0, 9.0])
    np.testing.assert_allclose(resize_flow(doubled, (10, 20)), flow, rtol=1e-5)


def planar(height, width, parameters):
    """The 8-parameter planar motion, written out."""
    y, x = np.mgrid[0:height, 0:width]
    u, v = (x - width / 2) * 2 / max(width, height), (y - height / 2) * 2 / max(width, height)
    a, b, c, d, e, f, g, h = parameters
    return np.stack([a + b * u + c * v + g * u * u + h * u * v, d + e * u + f * v + g * u * v + h * v * v], axis=-1)


@pytest.mark.parametrize(
    "parameters",
    [
        (3, 0, 0, -1, 0, 0, 0, 0),  # pan
        (0, 4, 0, 0, 0, 4, 0, 0),  # zoom
        (0, 0, -3, 0, 3, 0, 0, 0),  # roll
        (2, 1, -0.5, 1, 0.5, 1.5, 0.8, -0.6),  # a tilted plane
    ],
)
def test_camera_motion_is_found_behind_a_large_object(parameters):
    truth = planar(120, 214, parameters)
    flow = truth + np.random.default_rng(0).normal(0, 0.05, truth.shape)
    flow[30:100, 50:160] += (6, 4)  # a third of the frame moves on its own
    np.testing.assert_allclose(camera_flow(flow.astype(np.float32)), truth, atol=0.15)


@pytest.mark.parametrize("camera", [(0, 0), (1, -3), (-2, 2)])
def test_motion_prior_finds_the_square_whatever_the_camera_does(camera):
    pixels, masks = scene(2, 240, 320, side=72, step=(1, 5), camera=camera)
    flow = DisFlow()(pixels[0], pixels[1])
    prior = MotionPrior()(pixels[0], flow)
    assert prior.shape == (240, 320) and prior.dtype == np.float32
    assert prior.min() >= 0 and prior.max() <= 1
    assert prior[masks[0]].mean() > 0.6
    assert prior[~masks[0]].mean() < 0.08
    assert overlap(prior, masks[0]) > 0.6


def test_the_camera_alone_is_not_salient():
    still, _ = scene(2, 160, 224, side=0, camera=(0, 0))
    panned, _ = scene(2, 160, 224, side=0, camera=(1, 4))
    for pixels in (still, panned):
        prior = MotionPrior()(pixels[0], DisFlow()(pixels[0], pixels[1]))
        assert prior.mean() < 0.1


def test_flow_strength_is_half_at_one_percent_of_the_longer_side():
    flow = np.zeros((100, 200, 2), np.float32)
    flow[:50, :, 0] = 2.0
    strength = flow_strength(flow)
    assert strength.dtype == np.float32
    assert strength[0, 0] == pytest.approx(0.5) and strength[-1, 0] == 0


LABELS = np.array([[0, 0, 1], [0, 2, 1], [0, 2, 1]])


def test_what_is_said_of_superpixels():
    maps = np.stack([np.arange(9).reshape(3, 3), np.ones((3, 3))]).astype(np.float32)
    assert region_sizes(LABELS).tolist() == [4, 3, 2]
    np.testing.assert_allclose(region_means(LABELS, maps)[:, 0], [(0 + 1 + 3 + 6) / 4, (2 + 5 + 8) / 3, (4 + 7) / 2])
    # Of the 8 outline pixels 4 belong to 0, 3 to 1 and 1 to 2.
    np.testing.assert_allclose(border_shares(LABELS), [4 / 8, 3 / 8, 1 / 8])
    assert contacts(LABELS).tolist() == [[0, 1, 3], [1, 0, 2], [3, 2, 0]]
    features = describe_superpixels(LABELS, maps)
    own = region_means(LABELS, maps)
    assert features.shape == (3, 6)
    np.testing.assert_allclose(features[:, :2], own)
    np.testing.assert_allclose(features[0, 2:4], (1 * own[1] + 3 * own[2]) / 4, rtol=1e-6)
    np.testing.assert_allclose(features[:, 4:], [[4, 1]] * 3)


def test_a_frame_of_one_superpixel_has_no_neighbours():
    features = describe_superpixels(np.zeros((2, 2), np.int64), np.ones((1, 2, 2), np.float32))
    assert features.tolist() == [[1, 1, 1]]


def test_superpixels_follow_the_motion_boundary():
    flow = np.zeros((60, 80, 2), np.float32)
    flow[20:44, 30:58] = (5, 0)
    levels = flow_superpixels(flow)
    assert len(levels) == 3
    for labels in levels:
        assert labels.shape == (60, 80) and set(np.unique(labels)) == set(range(labels.max() + 1))
        # Every superpixel lies on one side of the boundary.
        inside = region_means(labels, (flow[..., 0] > 0).astype(np.float32)[None])[:, 0]
        assert (np.minimum(inside, 1 - inside) * region_sizes(labels)).sum() < 0.03 * labels.size
    assert [int(labels.max()) for labels in levels] == sorted((int(labels.max()) for labels in levels), reverse=True)
    assert levels[2].max() < 12


def test_missing_scikit_image_says_how_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.segmentation", None)
    with pytest.raises(MissingDependencyError, match="pip install scikit-image"):
        flow_superpixels(np.zeros((16, 16, 2), np.float32))


def ring(count, seed):
    """Two classes no line can part: inside and outside a circle."""
    features = np.random.default_rng(seed).normal(size=(count, 2)).astype(np.float32)
    return features, ((features**2).sum(axis=1) < 1.2).astype(np.float32)


def test_classifier_learns_repeats_and_travels(tmp_path):
    features, targets = ring(600, 0)
    first = SuperpixelClassifier.fit(features, targets, hidden=24, steps=400, rate=1e-2)
    again = SuperpixelClassifier.fit(features, targets, hidden=24, steps=400, rate=1e-2)
    other, truth = ring(300, 1)
    assert ((first(other) > 0.5) == truth).mean() > 0.95
    assert np.array_equal(first(other), again(other))
    first.save(tmp_path / "classifier.npz")
    loaded = SuperpixelClassifier.load(tmp_path / "classifier.npz")
    np.testing.assert_allclose(loaded(other), first(other), atol=0.02)
    with pytest.raises(DataError, match="2 features, got 3"):
        first(np.zeros((1, 3), np.float32))
    (tmp_path / "not.npz").write_bytes(b"PK")
    with pytest.raises(CheckpointError, match="not a superpixel classifier"):
        SuperpixelClassifier.load(tmp_path / "not.npz")


def test_classifier_gradients_are_the_losses_slopes():
    features, targets = ring(40, 2)
    arrays = SuperpixelClassifier.fit(features, targets, hidden=5, steps=3).arrays
    arrays = {name: values.astype(np.float64) for name, values in arrays.items()}

    def loss():
        x = (features - arrays["mean"]) / arrays["scale"]
        for layer in (1, 2):
            x = np.maximum(x @ arrays[f"weight{layer}"] + arrays[f"bias{layer}"], 0)
        p = 1 / (1 + np.exp(-(x @ arrays["weight3"] + arrays["bias3"])[:, 0]))
        return -(targets * np.log(p) + (1 - targets) * np.log(1 - p)).mean()

    slopes = classifier_module._gradients(arrays, features, targets)
    for name in ("weight1", "bias1", "weight2", "bias2", "weight3", "bias3"):
        place = np.unravel_index(np.abs(slopes[name]).argmax(), slopes[name].shape)
        kept = arrays[name][place]
        arrays[name][place] = kept + 1e-5
        above = loss()
        arrays[name][place] = kept - 1e-5
        below = loss()
        arrays[name][place] = kept
        assert slopes[name][place] == pytest.approx((above - below) / 2e-5, rel=1e-2)


def test_a_trained_classifier_replaces_the_untrained_measure():
    """Train it to call slow superpixels salient: the prior must follow it, not the motion."""
    pixels, masks = scene(2, 152, 212, side=48, step=(1, 4))
    flow = DisFlow()(pixels[0], pixels[1])
    deep_calls = []

    def deep(image):
        deep_calls.append(image.shape)
        return np.ones((2, 4, 5), np.float32)

    teacher = MotionPrior(features=deep)
    samples = teacher.superpixels(pixels[0], flow)
    moving = np.hypot(flow[..., 0], flow[..., 1]) > 2
    features, targets = [], []
    for labels, described in samples:
        assert labels.shape == moving.shape  # the frame is smaller than the grid would be
        features.append(described)
        targets.append(1 - region_means(labels, moving[None].astype(np.float32))[:, 0])
    trained = SuperpixelClassifier.fit(np.concatenate(features), np.concatenate(targets), hidden=16, steps=300)
    prior = MotionPrior(classifier=trained, features=deep)(pixels[0], flow)
    assert deep_calls == [(152, 212, 3)] * 2
    assert prior[masks[0]].mean() < 0.4 < 0.6 < prior[~masks[0]].mean()


def test_the_stream_looks_one_frame_ahead():
    pixels, masks = scene(5, 96, 128, side=36, step=(0, 4), camera=(1, 1))
    stream = prior_stream(("motion", "flow"))
    given = []
    for number, frame in enumerate(frames(pixels)):
        out = stream.push(frame)
        assert [index for index, _ in out] == ([] if number == 0 else [number - 1])
        given += out
    given += stream.finish()
    assert [index for index, _ in given] == [0, 1, 2, 3, 4]
    for index, priors in given:
        assert set(priors) == {"motion", "flow"}
        assert all(p.shape == (96, 128) and p.dtype == np.float32 for p in priors.values())
        assert priors["motion"][masks[index]].mean() > 3 * priors["motion"][~masks[index]].mean()
    assert stream.frames == 5
    assert set(stream.seconds) == {"flow", "prior"} and all(s > 0 for s in stream.seconds.values())
    assert stream.finish() == []


def test_the_last_frame_looks_back():
    pixels, _ = scene(2, 96, 128, side=36, step=(0, 4))
    seen = []

    def spy(first, second):
        seen.append((first is pixels_of[0], second is pixels_of[0]))
        return np.zeros((*first.shape[:2], 2), np.float32)

    given = frames(pixels)
    pixels_of = [f.pixels for f in given]
    stream = prior_stream(("flow",), flow=spy)
    for frame in given:
        stream.push(frame)
    stream.finish()
    assert seen == [(True, False), (False, True)]


def test_a_single_frame_has_no_motion():
    stream = prior_stream(("motion",))
    assert stream.push(frames(np.zeros((1, 20, 30, 3), np.uint8))[0]) == []
    ((index, priors),) = stream.finish()
    assert index == 0 and priors["motion"].shape == (20, 30) and not priors["motion"].any()


def partners(pictures):
    """Which frame's flow the stream measures each frame against."""
    seen = []

    def spy(first, second):
        number = {id(f.pixels): f.index for f in given}
        seen.append((number[id(first)], number[id(second)]))
        return np.zeros((*first.shape[:2], 2), np.float32)

    given = frames(pictures)
    stream = prior_stream(("flow",), flow=spy)
    for frame in given:
        stream.push(frame)
    stream.finish()
    assert [first for first, _ in seen] == [f.index for f in given]
    return [second for _, second in seen]


def test_a_frame_that_comes_twice_looks_back_to_one_that_differs():
    pixels, _ = scene(5, 96, 128, side=36, step=(0, 4), camera=(1, 1))
    coded = np.repeat(pixels, 2, axis=0).astype(np.int16)  # as coding leaves it: not quite the same
    coded[1::2] += np.random.default_rng(0).integers(-1, 2, coded[1::2].shape)
    twice = np.clip(coded, 0, 255).astype(np.uint8)
    assert partners(pixels) == [1, 2, 3, 4, 3]
    # From frame 1 on, 1 2 2' 3 3' 4 4' 5 5': the first of two looks back, the second ahead.
    assert partners(twice[1:]) == [1, 0, 3, 2, 5, 4, 7, 6, 6]
    # Where the first frame of all is repeated, nothing has moved yet, and then the rest is as before.
    assert partners(twice) == [1, 2, 1, 4, 3, 6, 5, 8, 7, 7]


def test_a_pause_is_measured_against_what_moved_for_a_while():
    pixels, _ = scene(4, 96, 128, side=36, step=(0, 4), camera=(1, 1))
    held = np.concatenate([pixels, np.repeat(pixels[-1:], 8, axis=0)])
    found = partners(held)
    assert found[:3] == [1, 2, 3]
    assert found[3:7] == [2] * 4  # then it is a still picture like any other
    assert found[7:] == [8, 9, 10, 11, 10]


def test_nothing_is_measured_across_a_cut():
    pixels, _ = scene(4, 96, 128, side=36, step=(0, 4), camera=(1, 1))
    cut = np.concatenate([pixels, 255 - pixels[::-1] // 4])
    assert partners(cut) == [1, 2, 3, 2, 5, 6, 7, 6]


def test_the_stream_holds_three_frames_at_most():
    import gc
    import weakref

    stream = prior_stream(("flow",), flow=lambda a, _b: np.zeros((*a.shape[:2], 2), np.float32))
    alive = []
    for i in range(6):
        pixels = np.zeros((8, 8, 3), np.uint8)
        alive.append(weakref.ref(pixels))
        stream.push(Frame(pixels, i, i, Fraction(1, 25)))
        del pixels
    gc.collect()
    assert sum(ref() is not None for ref in alive) <= 3


def test_residual_maps_show_what_moves_against_the_camera():
    pixels, masks = scene(4, 192, 256, side=64, step=(0, 5), camera=(2, 1))
    stream = prior_stream(("residual_speed", "residual"))
    given = [item for frame in frames(pixels) for item in stream.push(frame)] + stream.finish()
    assert [index for index, _ in given] == [0, 1, 2, 3]
    for index, priors in given:
        assert list(priors) == ["residual_speed", "residual"]
        inside = cv2.resize(masks[index].astype(np.float32), (112, 84), interpolation=cv2.INTER_AREA)
        for values in priors.values():
            assert values.shape == (84, 112) and values.dtype == np.float32  # smaller than the frame, of its shape
            assert values.min() >= 0 and values.max() < 1
            assert values[inside > 0.9].mean() > 0.5 > 5 * values[inside < 0.01].mean()


def test_residual_maps_come_from_the_flow_before_it_is_enlarged(monkeypatch):
    pixels, _ = scene(2, 480, 640, side=120, step=(0, 8), camera=(3, 2))
    wide = DisFlow()(pixels[0], pixels[1])
    expected = residual_maps(wide)
    monkeypatch.setattr(DisFlow, "__call__", lambda *_: pytest.fail("enlarged for nothing"))
    stream = prior_stream(("residual", "residual_speed"))
    given = [item for frame in frames(pixels) for item in stream.push(frame)]
    for name, values in zip(("residual", "residual_speed"), expected, strict=True):
        got = given[0][1][name]
        assert got.shape == values.shape == (84, 112)
        assert np.abs(got - values).mean() < 0.02


def test_residual_maps_against_their_definition():
    flow = np.zeros((84, 112, 2), np.float32)
    flow[20:40, 30:60] = (3, 4)  # speed 5 on a still background: the camera's part is nothing
    relative, absolute = residual_maps(flow)
    speed = np.zeros((84, 112))
    speed[20:40, 30:60] = 5
    unit = 112 / 1700
    fast = max(2 * unit, 0.7 * np.percentile(speed, 97))
    np.testing.assert_allclose(relative, speed**2 / (speed**2 + fast**2), atol=1e-3)
    np.testing.assert_allclose(absolute, speed / (speed + 4 * unit), atol=1e-2)


@pytest.mark.parametrize("flow", [np.zeros((30, 50, 2)), np.full((30, 50, 2), 7.0)], ids=["still", "pan"])
def test_residual_maps_are_nothing_where_the_camera_explains_all(flow):
    for values in residual_maps(flow.astype(np.float32)):
        assert values.shape == (30, 50) and values.max() < 1e-3


def run_stream(names, pictures, **options):
    stream = prior_stream(names, **options)
    return [item for frame in frames(pictures) for item in stream.push(frame)] + stream.finish()


def test_how_much_of_the_frame_follows_the_camera():
    flow = planar(63, 112, (2, 1, -0.5, 1, 0.5, 1.5, 0.8, -0.6)).astype(np.float32)
    assert fit_camera(flow).share > 0.99
    flow[10:50, 20:80] += (6, 4)
    covered = 40 * 60 / (63 * 112)
    assert fit_camera(flow).share == pytest.approx(1 - covered, abs=0.03)
    pixels, _ = scene(3, 96, 128, side=36, step=(0, 4), camera=(1, 1))
    for _, priors in run_stream(("camera_share",), pixels):
        share = priors["camera_share"]
        assert share.dtype == np.float32 and share.shape == (84, 112) and np.ptp(share) == 0 and 0.6 < share[0, 0] < 1


def test_the_carried_mean_against_its_definition():
    rng = np.random.default_rng(0)
    maps = rng.random((7, 20, 30)).astype(np.float32)
    moved = [np.full((20, 30, 2), (t % 3 - 1, t % 2), np.float32) for t in range(7)]  # whole pixels
    mean = CarriedMean()
    for t in range(7):
        got = mean.push(maps[t], None if t == 2 else moved[t])
        first = max(0, t - 3)
        expected = maps[first]
        for later in range(first + 1, t + 1):
            dx, dy = (0, 0) if later == 2 else moved[later][0, 0].astype(int)
            rows, columns = np.clip(np.arange(20) + dy, 0, 19), np.clip(np.arange(30) + dx, 0, 29)
            expected = 0.6 * expected[rows][:, columns] + 0.4 * maps[later]
        np.testing.assert_allclose(got, expected, atol=1e-5)
    mean.clear()
    np.testing.assert_array_equal(mean.push(maps[0], moved[0]), maps[0])


def test_the_carried_mean_moves_with_the_object_and_outlasts_its_rest():
    pixels, masks = scene(6, 192, 256, side=64, step=(0, 6), camera=(2, 1))
    # The square rests for the last three frames while the camera goes on.
    ground, _ = scene(6, 192, 256, side=0, camera=(2, 1))
    y, x = np.argwhere(masks[3]).min(axis=0)
    square = pixels[3][masks[3]].reshape(64, 64, 3)
    for t in (4, 5):
        top, left = y + 2 * (t - 3), x + (t - 3)
        pixels[t], masks[t] = ground[t], False
        pixels[t][top : top + 64, left : left + 64] = square
        masks[t][top : top + 64, left : left + 64] = True
    found = run_stream(("residual", "residual_mean"), pixels)
    for index, priors in found[1:]:
        inside = cv2.resize(masks[index].astype(np.float32), (112, 84), interpolation=cv2.INTER_AREA) > 0.95
        outside = cv2.dilate(inside.astype(np.uint8), np.ones((15, 15))) == 0
        assert priors["residual_mean"][inside].mean() > 0.1 > 4 * priors["residual_mean"][outside].mean()
        if index >= 4:
            assert priors["residual"][inside].mean() < 0.05 < 0.1 < priors["residual_mean"][inside].mean()


def test_a_stream_begun_later_gives_the_same_mean_after_four_frames():
    pixels, _ = scene(9, 96, 128, side=36, step=(0, 3), camera=(1, 1))
    whole, part = (dict(run_stream(("residual_mean",), pixels[start:])) for start in (0, 2))
    for index in range(3, 7):
        np.testing.assert_allclose(part[index]["residual_mean"], whole[index + 2]["residual_mean"], atol=1e-6)
    assert np.abs(part[1]["residual_mean"] - whole[3]["residual_mean"]).max() > 0.01


def test_nothing_is_carried_or_measured_across_a_clear_cut():
    quiet = {"step": (0, 2), "camera": (0, 1)}
    first, _ = scene(5, 96, 128, side=36, **quiet)
    second, _ = scene(5, 96, 128, side=36, **quiet, seed=7)
    # Another shot: differently composed, so that it is not taken for a jerk of the camera.
    second = np.clip(second.astype(int) // 3 + np.linspace(0, 170, 128, dtype=int)[None, None, :, None], 0, 255)
    both = np.concatenate([first, second.astype(np.uint8)])
    assert partners(both) == [1, 2, 3, 4, 3, 6, 7, 8, 9, 8]
    found = dict(run_stream(("residual", "residual_mean"), both))
    np.testing.assert_array_equal(found[5]["residual_mean"], found[5]["residual"])
    assert np.abs(found[4]["residual_mean"] - found[4]["residual"]).max() > 0.01


def test_motion_after_a_pause_is_no_cut():
    pixels, _ = scene(4, 96, 128, side=36, step=(0, 4), camera=(1, 1))
    held = np.concatenate([np.repeat(pixels[:1], 9, axis=0), pixels[1:]])
    assert partners(held)[8:] == [9, 10, 11, 10]


def test_repeated_pictures_carry_the_mean_without_moving_it():
    pixels, masks = scene(5, 192, 256, side=64, step=(0, 6), camera=(2, 1))
    found = run_stream(("residual_mean",), np.repeat(pixels, 2, axis=0))
    for index, priors in found[4:]:
        inside = cv2.resize(masks[index // 2].astype(np.float32), (112, 84), interpolation=cv2.INTER_AREA) > 0.95
        outside = cv2.dilate(inside.astype(np.uint8), np.ones((15, 15))) == 0
        assert priors["residual_mean"][inside].mean() > 0.4 > 8 * priors["residual_mean"][outside].mean()


def test_priors_of_a_clip_at_once():
    pixels, _ = scene(6, 96, 128, side=36, step=(0, 3), camera=(1, 1))
    names = ("residual", "residual_speed", "residual_mean", "camera_share")
    found = run_stream(names, pixels)
    whole, later = clip_maps(pixels, names), clip_maps(pixels, names, lead=3)
    for name in names:
        np.testing.assert_array_equal(whole[name], np.stack([priors[name] for _, priors in found]))
        np.testing.assert_array_equal(later[name], whole[name][3:])
        assert whole[name].dtype == np.float32


def test_each_frame_is_reduced_once(monkeypatch):
    pixels, _ = scene(6, 96, 128, side=36, step=(0, 3))
    seen = []
    reduce = DisFlow.grey
    monkeypatch.setattr(DisFlow, "grey", lambda self, p: (seen.append(p.ctypes.data), reduce(self, p))[1])
    run_stream(("residual", "motion"), pixels)
    assert len(seen) == len(set(seen)) == 6


def test_residual_maps_of_tiny_frames():
    for values in residual_maps(np.zeros((2, 3, 2), np.float32)):
        assert np.isfinite(values).all()


def test_errors_name_what_is_wrong():
    with pytest.raises(OptionError, match=r"prior 'depth'.*motion, flow"):
        prior_stream(("depth",))
    with pytest.raises(OptionError, match="preset 'slow'"):
        DisFlow("slow")
    with pytest.raises(OptionError, match="longest side 5"):
        DisFlow(longest=5)
    small, large = (texture(h, 32, 0).astype(np.uint8) for h in (32, 48))
    with pytest.raises(InputError, match="32x32 and 32x48"):
        DisFlow()(small, large)
