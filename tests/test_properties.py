"""What must hold whatever comes in: streams equal batches, histograms equal definitions, texts come back."""

import math
import tomllib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vsalient.checkpoints.entries import Score, WeightsEntry, entry_toml, parse_entry
from vsalient.datasets.names import match_frames, natural
from vsalient.metrics.histograms import joint_histogram
from vsalient.metrics.region import jaccard, jaccard_of_histogram
from vsalient.segment.cleanup import TemporalMedian
from vsalient.segment.hysteresis import HysteresisThreshold
from vsalient.workers import Ahead

maps = hnp.arrays(
    np.uint8, st.tuples(st.integers(1, 7), st.just(6), st.just(8)), elements=st.sampled_from([0, 90, 220])
)


def told(stage, frames) -> dict[int, np.ndarray]:
    """All that a stage gives out for frames that come one by one, each index once and in order."""
    found: list[tuple[int, np.ndarray]] = []
    for index, frame in enumerate(frames):
        found += stage.push(index, frame)
    found += stage.finish()
    assert [index for index, _ in found] == list(range(len(frames)))
    return dict(found)


def connected(video: np.ndarray, low: int, high: int) -> np.ndarray:
    """Hysteresis by its definition, all frames at once: grow from strong pixels over weak ones until nothing changes.

    Within a frame eight neighbours connect, between neighbouring frames the pixel itself.
    """
    weak, kept = video >= low, video >= high
    while True:
        grown = kept.copy()
        for t in range(len(video)):
            padded = np.pad(kept[t], 1)
            for dy in range(3):
                for dx in range(3):
                    grown[t] |= padded[dy : dy + video.shape[1], dx : dx + video.shape[2]]
        grown[1:] |= kept[:-1]
        grown[:-1] |= kept[1:]
        grown &= weak
        if (grown == kept).all():
            return kept
        kept = grown


@settings(max_examples=60, deadline=None)
@given(maps)
def test_hysteresis_frame_by_frame_is_hysteresis_at_once(video):
    stage = HysteresisThreshold(80 / 255, 200 / 255, look_ahead=16)
    masks = told(stage, video.astype(np.float32) / np.float32(255))
    assert (np.stack(list(masks.values())) == connected(video, 80, 200)).all()


@settings(max_examples=60, deadline=None)
@given(maps, st.sampled_from([1, 3, 5, 7]))
def test_the_temporal_median_frame_by_frame_is_the_one_at_once(video, window):
    masks = told(TemporalMedian(window), video > 100)
    for index, mask in masks.items():
        reach = min(window // 2, index, len(video) - 1 - index)
        votes = (video[index - reach : index + reach + 1] > 100).sum(axis=0)
        assert (mask == (2 * votes > 2 * reach + 1)).all()


@settings(max_examples=80, deadline=None)
@given(
    hnp.arrays(np.uint8, (5, 7)),
    hnp.arrays(np.bool_, (5, 7)),
    hnp.arrays(np.bool_, (5, 7)),
    st.integers(0, 255),
)
def test_a_histogram_tells_j_as_its_definition_does(saliency, truth, void, level):
    histogram = joint_histogram(saliency, truth, void)
    assert jaccard_of_histogram(histogram, level) == pytest.approx(jaccard(saliency >= level, truth, void))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(), max_size=30), st.integers(1, 4), st.integers(0, 30))
def test_a_bounded_queue_loses_and_swaps_nothing(items, depth, taken):
    """However far the reader goes before it leaves; an error comes out after the items before it."""

    def source():
        yield from items
        raise ValueError("the end")

    got = []
    with Ahead(source(), depth, "test") as ahead:
        try:
            for _ in range(taken):
                got.append(next(ahead))
        except ValueError:
            assert got == items
    assert got == items[:taken]


texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=30).filter(
    str.strip
)
numbers = st.floats(-1e6, 1e6, allow_nan=False) | st.integers(-8192, 8192) | st.booleans()
configs = st.dictionaries(
    st.text("abcdefghij_", min_size=1, max_size=8),
    numbers.filter(lambda n: abs(n) <= 8192) | st.text("xyz", max_size=5),
)


@settings(max_examples=80, deadline=None)
@given(texts, texts, st.integers(1, 64), configs, st.lists(st.tuples(texts, numbers), max_size=3))
def test_an_entry_comes_back_from_toml_as_it_was(summary, notes, length, config, measured):
    entry = WeightsEntry(
        name="mine",
        summary=summary,
        architecture="lite3dc",
        clip_length=length,
        overlap=length - 1,
        geometry="area:256x448",
        licence="MIT",
        source="file",
        file="mine.safetensors",
        config=config,
        scores=tuple(Score(text, "J", float(value), "us") for text, value in measured),
        notes=notes,
    )
    table = tomllib.loads(entry_toml(entry))
    table.pop("name", None)
    back = parse_entry("mine", table, origin=Path("entry.toml"))
    assert back.to_table() == entry.to_table()
    assert all(math.isfinite(score.value) for score in back.scores)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(0, 99_999), min_size=1, max_size=20, unique=True), st.integers(1, 6))
def test_natural_order_is_that_of_the_numbers(values, width):
    names = [f"frame{value:0{width}d}.png" for value in values]
    assert sorted(names, key=natural) == [f"frame{value:0{width}d}.png" for value in sorted(values)]


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(0, 9_999), min_size=1, max_size=12, unique=True), st.integers(1, 5), st.integers(1, 5))
def test_frames_are_matched_by_number_whatever_the_padding(values, padding, other):
    truth = [f"{value:0{padding}d}" for value in values]
    prediction = [f"{value:0{other}d}" for value in reversed(values)]
    matched = match_frames(truth, prediction)
    assert {int(a): int(b) for a, b in matched.items()} == {value: value for value in values}
