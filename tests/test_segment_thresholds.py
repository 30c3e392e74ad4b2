import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from vsalient.errors import DataError, DecodeError, OptionError
from vsalient.segment.thresholds import (
    AdaptiveThreshold,
    ClipAdaptiveThreshold,
    FixedThreshold,
    HysteresisThreshold,
    MaxFThreshold,
    OtsuThreshold,
    parse_frame_threshold,
    parse_threshold,
)


def maps(count=6, height=18, width=25, seed=0):
    """Soft random maps, float32 in [0, 1]."""
    noise = np.random.default_rng(seed).random((count, height, width))
    soft = ndimage.gaussian_filter(noise, (1, 2, 2))
    soft = (soft - soft.min()) / (soft.max() - soft.min())
    return soft.astype(np.float32)


def run(threshold, stack):
    """Feed every map; return the masks in order, checking that each comes once and in order."""
    found = []
    for index, saliency in enumerate(stack):
        found += threshold.push(index, saliency)
    found += list(threshold.finish())
    assert [index for index, _ in found] == list(range(len(stack)))
    assert all(mask.dtype == np.bool_ for _, mask in found)
    return np.stack([mask for _, mask in found])


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("adaptive", AdaptiveThreshold),
        (" Adaptive ", AdaptiveThreshold),
        ("otsu", OtsuThreshold),
        ("fixed:0.5", FixedThreshold),
        ("0.25", FixedThreshold),
        ("1", FixedThreshold),
        ("hysteresis:0.3,0.7", HysteresisThreshold),
    ],
)
def test_every_name_parses(text, kind):
    assert type(parse_threshold(text)) is kind


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "''"),
        ("adaptiv", "adaptiv.*adaptive, otsu"),
        ("adaptive:2", "takes no value"),
        ("fixed", "fixed"),
        ("fixed:half", "half"),
        ("fixed:1.5", "1.5 is outside 0 to 1"),
        ("nan", "outside 0 to 1"),
        ("-0.1", "outside 0 to 1"),
        ("128", "outside 0 to 1"),
        ("hysteresis:0.5", "two levels"),
        ("hysteresis:0.7,0.3", "low ≤ high"),
        ("max-f:", "max-f:FOLDER"),
        ("max-f:/nowhere/at/all", "not a folder"),
        ("median:3", "Unknown threshold"),
    ],
)
def test_nonsense_is_refused_in_one_line(text, said):
    with pytest.raises(OptionError, match=said) as caught:
        parse_threshold(text)
    assert "\n" not in str(caught.value)


def test_adaptive_is_mean_plus_population_deviation():
    saliency = maps(1)[0]
    level = saliency.astype(np.float64).mean() + saliency.astype(np.float64).std()
    assert AdaptiveThreshold().level(saliency) == pytest.approx(level, abs=1e-6)
    assert np.array_equal(run(AdaptiveThreshold(), saliency[None])[0], saliency >= np.float32(level))


def test_the_level_itself_is_foreground():
    saliency = np.array([[0.2, 0.3, 0.4]], dtype=np.float32)
    assert parse_frame_threshold("0.3")(saliency).tolist() == [[False, True, True]]


@pytest.mark.parametrize("name", ["adaptive", "otsu"])
@pytest.mark.parametrize(("value", "expected"), [(0.0, False), (0.02, False), (1.0, True)])
def test_a_map_without_contrast_is_judged_by_its_value(name, value, expected):
    mask = parse_frame_threshold(name).binarise(np.full((40, 50), value, dtype=np.float32))
    assert bool(mask.all()) is expected and bool(mask.any()) is expected


def test_otsu_parts_two_heaps():
    rng = np.random.default_rng(0)
    truth = rng.random((60, 60)) < 0.3
    saliency = np.where(truth, rng.normal(0.7, 0.04, truth.shape), rng.normal(0.2, 0.04, truth.shape))
    assert np.array_equal(OtsuThreshold().binarise(saliency.clip(0, 1).astype(np.float32)), truth)


@pytest.mark.parametrize("count", [1, 4, 9])
def test_clip_scope_pools_the_clip(count):
    stack = maps(count)
    masks = run(parse_threshold("adaptive", scope="clip", clip_length=4), stack)
    for start in range(0, count, 4):
        block = stack[start : start + 4].astype(np.float64)
        assert np.array_equal(masks[start : start + 4], block >= np.float32(block.mean() + block.std()))


def test_clip_scope_holds_one_clip():
    threshold = ClipAdaptiveThreshold(3)
    assert [len(threshold.push(i, saliency)) for i, saliency in enumerate(maps(7))] == [0, 0, 3, 0, 0, 3, 0]


def test_scopes_only_fit_adaptive():
    with pytest.raises(OptionError, match="clip scope"):
        parse_threshold("otsu", scope="clip")
    with pytest.raises(OptionError, match="0 frames"):
        parse_threshold("adaptive", scope="clip", clip_length=0)
    with pytest.raises(OptionError, match="several frames"):
        parse_frame_threshold("hysteresis:0.3,0.7")


def exact_hysteresis(stack, low, high):
    """Whole-volume hysteresis: 8 neighbours in a frame, 1 before and 1 after."""
    near = np.zeros((3, 3, 3), dtype=bool)
    near[1] = True
    near[0, 1, 1] = near[2, 1, 1] = True
    labels, count = ndimage.label(stack >= np.float32(low), near)
    strong = np.zeros(count + 1, dtype=bool)
    strong[labels[stack >= np.float32(high)]] = True
    strong[0] = False
    return strong[labels]


@pytest.mark.parametrize("seed", range(5))
def test_hysteresis_is_that_of_the_whole_volume(seed):
    stack = maps(14, seed=seed)
    expected = exact_hysteresis(stack, 0.65, 0.8)
    masks = run(HysteresisThreshold(0.65, 0.8, look_ahead=14), stack)
    assert np.array_equal(masks, expected)
    assert (masks != (stack >= np.float32(0.65))).any() and (masks != (stack >= np.float32(0.8))).any()


def test_hysteresis_waits_no_longer_than_it_must_or_may():
    stack = np.zeros((10, 8, 8), dtype=np.float32)
    stack[2:8, 2:4, 2:4] = 0.4
    stack[6, 2, 2] = 0.9
    threshold = HysteresisThreshold(0.3, 0.7, look_ahead=2)
    released = [[i for i, _ in threshold.push(index, saliency)] for index, saliency in enumerate(stack)]
    assert released == [[0], [1], [], [], [2], [3], [4, 5, 6], [7], [8], [9]]
    masks = run(threshold.fresh(), stack)
    # Frames 2 and 3 saw nothing strong in their next two frames; from frame 4 on the peak of frame 6 is in sight.
    assert masks.any(axis=(1, 2)).tolist() == [False] * 4 + [True] * 4 + [False] * 2
    assert run(HysteresisThreshold(0.3, 0.7), stack).any(axis=(1, 2)).tolist() == [False] * 2 + [True] * 6 + [False] * 2


def write_truth(folder, masks, palette=False):
    folder.mkdir(parents=True)
    for index, mask in enumerate(masks):
        image = Image.fromarray(mask.astype(np.uint8) * (1 if palette else 255), "L")
        if palette:
            image = image.convert("P")
            image.putpalette([0, 0, 0, 128, 0, 0])
        image.save(folder / f"{index}.png")  # 10.png must come after 9.png


def best_f(stack, truth):
    """F-max by the definition: β² = 0.3, precision and recall each averaged over the frames that have it."""
    grey = np.rint(stack.astype(np.float64) * 255)
    scores = []
    for level in range(256):
        masks = grey >= level
        hits, found, wanted = ((m.sum(axis=(1, 2))) for m in (masks & truth, masks, truth))
        precision, recall = ((hits[of > 0] / of[of > 0]).mean() if (of > 0).any() else 0 for of in (found, wanted))
        scores.append(1.3 * precision * recall / (0.3 * precision + recall) if precision + recall else 0)
    return int(np.argmax(scores))


@pytest.mark.parametrize("palette", [False, True])
def test_max_f_finds_the_best_level(tmp_path, palette):
    stack = maps(12)
    truth = ndimage.gaussian_filter(stack, 1) > 0.62
    truth[3] = False  # recall is undefined there
    write_truth(tmp_path / "gt", truth, palette)
    threshold = parse_threshold(f"max-f:{tmp_path / 'gt'}")
    masks = run(threshold, stack)
    level = best_f(stack, truth)
    assert threshold.level == level / 255
    assert np.array_equal(masks, np.rint(stack * 255) >= level)


def test_max_f_leaves_void_pixels_out_and_recall_of_frames_without_an_object(tmp_path):
    stack = np.full((4, 10, 20), 0.3, np.float32)
    stack[:2, :, :10] = 0.5
    stack[2:] = 0.6  # no object there: whatever is found is wrong
    stack[:2, :, 15:] = 0.9  # void
    labels = np.zeros((4, 10, 20), np.uint8)
    labels[:2, :, :10], labels[:2, :, 15:] = 1, 255
    (tmp_path / "gt").mkdir()
    for number, plane in enumerate(labels):
        image = Image.fromarray(plane, "P")
        image.putpalette([0, 0, 0, 128, 0, 0] + [9] * 762)  # a shorter one would lose label 255
        image.save(tmp_path / "gt" / f"{number}.png")
    threshold = MaxFThreshold(tmp_path / "gt")
    run(threshold, stack)
    assert threshold.level == pytest.approx(77 / 255)  # the lowest level above 0.3: both highest there


@pytest.mark.parametrize(("dim", "level"), [(128, 0.4), (0, 0.7)])
def test_max_f_takes_every_grey_label(tmp_path, dim, level):
    stack = maps(1)
    grey = np.where(stack[0] > 0.7, 255, np.where(stack[0] > 0.4, dim, 0)).astype(np.uint8)
    (tmp_path / "gt").mkdir()
    Image.fromarray(grey).save(tmp_path / "gt" / "0.png")
    threshold = MaxFThreshold(tmp_path / "gt")
    run(threshold, stack)
    assert threshold.level == pytest.approx(level, abs=0.01)


def test_max_f_takes_the_sequence_of_the_same_name(tmp_path):
    stack = maps(2)
    write_truth(tmp_path / "gt" / "bear", stack > 0.5)
    write_truth(tmp_path / "gt" / "cow", stack > 0.9)
    threshold = parse_threshold(f"max-f:{tmp_path / 'gt'}").fresh("bear")
    run(threshold, stack)
    assert threshold.level == pytest.approx(0.5, abs=0.01)


def test_max_f_wants_one_mask_a_frame_of_its_size(tmp_path):
    stack = maps(3)
    write_truth(tmp_path / "few", stack[:2] > 0.5)
    with pytest.raises(DataError, match="2 masks"):
        run(MaxFThreshold(tmp_path / "few"), stack)
    write_truth(tmp_path / "many", maps(4) > 0.5)
    with pytest.raises(DataError, match=r"4 masks.*3 frames"):
        run(MaxFThreshold(tmp_path / "many"), stack)
    write_truth(tmp_path / "small", stack[:, :9] > 0.5)
    with pytest.raises(DataError, match=r"25x9.*25x18"):
        run(MaxFThreshold(tmp_path / "small"), stack)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "0.png").write_bytes(b"no picture")
    with pytest.raises(DecodeError, match="cannot be decoded"):
        run(MaxFThreshold(tmp_path / "broken"), stack)
