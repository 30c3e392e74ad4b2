import numpy as np
import pytest
from scipy import ndimage

from vsalient.errors import OptionError
from vsalient.segment.cleanup import TemporalMedian, fill_holes, keep_largest, remove_specks
from vsalient.segment.measure import measure, measure_instances
from vsalient.segment.objects import InstanceTracker

EIGHT = np.ones((3, 3))


def blobs(seed=0, height=60, width=80):
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).random((height, width)), 2)
    return noise > 0.5


def square(top, left, size=6, height=40, width=60):
    mask = np.zeros((height, width), dtype=bool)
    mask[top : top + size, left : left + size] = True
    return mask


@pytest.mark.parametrize("least", [1, 12, 40, 10_000])
def test_specks_below_the_area_go(least):
    mask = blobs()
    labels, count = ndimage.label(mask, EIGHT)
    areas = ndimage.sum(mask, labels, range(1, count + 1))
    expected = np.isin(labels, 1 + np.flatnonzero(areas >= least))
    assert np.array_equal(remove_specks(mask, least), expected)


def test_diagonal_neighbours_are_one_object():
    mask = np.eye(5, dtype=bool)
    assert np.array_equal(remove_specks(mask, 5), mask)
    assert measure(mask, np.ones((5, 5), np.float32)).objects == 1


@pytest.mark.parametrize("seed", range(4))
def test_holes_are_those_of_scipy(seed):
    mask = blobs(seed)
    filled = fill_holes(mask)
    assert np.array_equal(filled, ndimage.binary_fill_holes(mask))  # 4-connected background, both
    assert (filled & mask).sum() == mask.sum()


def test_a_bay_at_the_border_is_no_hole():
    mask = np.ones((9, 9), dtype=bool)
    mask[0:4, 4] = False
    mask[6, 6] = False
    filled = fill_holes(mask)
    assert not filled[0:4, 4].any() and filled[6, 6]


def test_the_largest_objects_stay():
    mask = square(2, 2, 8) | square(2, 20, 5) | square(25, 40, 7)
    assert np.array_equal(keep_largest(mask, 1), square(2, 2, 8))
    assert np.array_equal(keep_largest(mask, 2), square(2, 2, 8) | square(25, 40, 7))
    assert np.array_equal(keep_largest(mask, 3), mask)
    assert not keep_largest(np.zeros((5, 5), dtype=bool), 1).any()


@pytest.mark.parametrize("window", [1, 3, 5, 7])
@pytest.mark.parametrize("count", [1, 2, 6, 11])
def test_temporal_median_is_the_median_of_a_centred_window(window, count):
    masks = np.random.default_rng(window * 100 + count).random((count, 5, 6)) < 0.5
    median = TemporalMedian(window)
    found = [pair for index in range(count) for pair in median.push(index + 10, masks[index])] + median.finish()
    assert [index for index, _ in found] == list(range(10, 10 + count))
    for index, mask in found:
        reach = min(window // 2, index - 10, 9 + count - index)
        around = masks[index - 10 - reach : index - 10 + reach + 1]
        assert np.array_equal(mask, np.median(around, axis=0) > 0.5)


def test_temporal_median_waits_half_a_window():
    median = TemporalMedian(5)
    counts = [len(median.push(index, square(0, 0))) for index in range(6)]
    assert counts == [1, 0, 1, 0, 1, 1]
    assert len(median.finish()) == 2


@pytest.mark.parametrize("window", [0, 2, -3])
def test_an_even_window_is_refused(window):
    with pytest.raises(OptionError, match="odd"):
        TemporalMedian(window)


def test_numbers_follow_moving_objects():
    tracker = InstanceTracker()
    for step in range(8):  # one goes right, one left, and the smaller one below stays
        instances = tracker.push(square(5, 2 + 3 * step, 9) | square(20, 40 - 3 * step, 8) | square(32, 50, 4))
        assert instances.dtype == np.int32
        assert set(np.unique(instances)) == {0, 1, 2, 3}
        assert (instances[square(5, 2 + 3 * step, 9)] == 1).all()
        assert (instances[square(20, 40 - 3 * step, 8)] == 2).all()
        assert (instances[square(32, 50, 4)] == 3).all()


def test_a_new_object_gets_a_new_number():
    tracker = InstanceTracker()
    tracker.push(square(5, 5))
    instances = tracker.push(square(5, 6) | square(25, 40, 10))
    assert instances[7, 8] == 1 and instances[28, 44] == 2


def test_when_an_object_splits_the_larger_part_keeps_the_number():
    tracker = InstanceTracker()
    whole = np.zeros((20, 40), dtype=bool)
    whole[5:15, 5:35] = True
    tracker.push(whole)
    split = whole.copy()
    split[:, 25] = False
    instances = tracker.push(split)
    assert (instances[5:15, 5:25] == 1).all() and (instances[5:15, 26:35] == 2).all()


def test_when_two_objects_merge_the_larger_overlap_names_them():
    tracker = InstanceTracker()
    tracker.push(square(5, 5, 5) | square(5, 20, 10))  # the larger is 1
    merged = square(5, 5, 5) | square(5, 20, 10)
    merged[6:8, 5:30] = True
    assert set(np.unique(tracker.push(merged))) == {0, 1}


def test_a_vanished_object_comes_back_with_its_number_for_a_while():
    for gap, number in ((3, 1), (4, 2)):
        tracker = InstanceTracker(patience=3)
        tracker.push(square(5, 5))
        for _ in range(gap):
            assert not tracker.push(np.zeros((40, 60), dtype=bool)).any()
        assert tracker.push(square(6, 6)).max() == number


def test_numbers_are_never_used_twice():
    tracker = InstanceTracker(patience=0)
    seen = [int(tracker.push(square(0, 8 * step)).max()) for step in range(5)]
    assert seen == [1, 2, 3, 4, 5]


def test_measures_of_a_known_shape():
    mask = square(10, 20, 4) | square(30, 50, 2)
    saliency = np.full(mask.shape, 0.1, dtype=np.float32)
    saliency[10:14, 20:24] = 0.9
    saliency[30:32, 50:52] = 0.4
    found = measure(mask, saliency)
    assert found.area == 20 and found.objects == 2
    assert found.box == (20, 10, 32, 22)
    assert found.centroid == pytest.approx(((16 * 21.5 + 4 * 50.5) / 20, (16 * 11.5 + 4 * 30.5) / 20))
    assert found.confidence == pytest.approx((16 * 0.9 + 4 * 0.4) / 20)


def test_measures_of_nothing():
    found = measure(np.zeros((4, 5), dtype=bool), np.ones((4, 5), dtype=np.float32))
    assert (found.area, found.box, found.centroid, found.confidence, found.objects) == (0, None, None, None, 0)


def test_measures_of_each_object():
    instances = np.zeros((10, 10), dtype=np.int32)
    instances[2:4, 2:4] = 7
    instances[6:9, 6:9] = 3
    found = measure_instances(instances, np.full((10, 10), 0.5, dtype=np.float32))
    assert {number: (one.area, one.box) for number, one in found.items()} == {
        3: (9, (6, 6, 3, 3)),
        7: (4, (2, 2, 2, 2)),
    }
    assert list(found) == [3, 7]


def test_a_piece_that_parts_for_a_while_keeps_its_object_s_number():
    tracker = InstanceTracker()
    seen = set()
    for index in range(8):
        mask = np.zeros((60, 120), bool)
        mask[10:50, 20 + index : 60 + index] = True
        if index >= 3:  # a hand comes out behind a gap
            mask[25:33, 66 + index : 72 + index] = True
        seen |= set(np.unique(tracker.push(mask)))
    assert seen == {0, 1}
    mask[10:50, 95:119] = True  # and something of a size of its own comes in
    assert set(np.unique(tracker.push(mask))) == {0, 1, 2}
