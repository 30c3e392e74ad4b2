import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vsalient.errors import DataError
from vsalient.segment import rle


def masks(count=60):
    rng = np.random.default_rng(0)
    for number in range(count):
        height, width = rng.integers(1, 70, 2)
        yield rng.random((height, width)) < (0, 0.02, 0.3, 0.5, 0.97, 1)[number % 6]
    big = np.zeros((700, 900), dtype=bool)  # runs that need several groups, and negative differences
    big[3:690, 5:890] = True
    big[100:300, 400:500] = False
    yield big


def test_masks_come_back():
    for mask in masks():
        assert np.array_equal(rle.decode(rle.encode(mask)), mask)


def test_runs_go_down_the_columns():
    mask = np.array([[0, 1, 1], [0, 0, 1]], dtype=bool)
    assert rle.runs_of(mask).tolist() == [2, 1, 1, 2]
    assert rle.runs_of(~mask).tolist() == [0, 2, 1, 1, 2]


@pytest.mark.parametrize(
    ("runs", "text"),
    [  # made with pycocotools 2.0
        ([6, 1, 40, 4, 5, 4, 5, 4, 21], "61X13mN000`0"),
        ([0, 15], "0?"),
        ([16, 2, 1, 500, 31], "`021b?n0"),
    ],
)
def test_known_strings(runs, text):
    found = rle.compress(np.array(runs))
    assert rle.decompress(found).tolist() == runs
    assert rle.decompress(text).tolist() == runs and found == text


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(0, 1 << 40), min_size=0, max_size=12))
def test_any_runs_come_back(runs):
    text = rle.compress(np.array(runs, dtype=np.int64))
    assert rle.decompress(text).tolist() == runs
    assert all(48 <= ord(character) < 112 for character in text)


def test_strings_are_those_of_pycocotools():
    oracle = pytest.importorskip("pycocotools.mask")
    for mask in masks():
        theirs = oracle.encode(np.asfortranarray(mask.astype(np.uint8)))
        assert rle.encode(mask) == {"size": list(theirs["size"]), "counts": theirs["counts"].decode()}


@pytest.mark.parametrize(
    ("counts", "said"), [("61", "covers 7 pixels"), ("5P", "cut off"), ("5 ", "does not use"), ("5é", "does not use")]
)
def test_damaged_strings_are_refused(counts, said):
    with pytest.raises(DataError, match=said):
        rle.decode({"size": [2, 3], "counts": counts})
