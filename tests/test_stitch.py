"""Stitching against a plain average over everything, and the memory it holds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vsalient.clips import ClipPlanner
from vsalient.stitch import Stitcher
from vsalient.types import Clip
from vsalient.vocabulary import PER_FRAME_TAILS, TAILS, Tail


@given(st.integers(1, 30), st.integers(1, 8), st.sampled_from(TAILS), st.data())
@settings(max_examples=150, deadline=None)
def test_the_stream_equals_the_mean_over_all_slots(frames: int, length: int, tail: Tail, data: st.DataObject) -> None:
    overlap = length - 1 if tail in PER_FRAME_TAILS else data.draw(st.integers(0, length - 1))
    rng = np.random.default_rng(frames * 100 + length)
    planner, stitcher = ClipPlanner(length, overlap, tail=tail), Stitcher()
    slots: dict[int, list[np.ndarray]] = {index: [] for index in range(frames)}
    released = []
    for index in range(frames + 1):
        for clip in planner.push(index) if index < frames else planner.finish():
            kept = clip.outputs or range(length)
            probabilities = rng.random((len(kept), 2, 3), dtype=np.float32)
            for probability, slot in zip(probabilities, kept, strict=True):
                slots[clip.indices[slot]].append(probability)
            stitcher.add(clip, probabilities)
        released += stitcher.ready(planner.writes_from)
        assert len(stitcher) <= 2 * length
    assert [index for index, _ in released] == list(range(frames))
    for index, mean in released:
        assert mean.dtype == np.float32
        np.testing.assert_allclose(mean, np.mean(slots[index], axis=0), rtol=1e-6, atol=1e-7)


def test_a_repeated_frame_counts_twice() -> None:
    stitcher = Stitcher()
    clip = Clip(0, (0, 0, 1))
    stitcher.add(clip, np.array([0.0, 0.6, 1.0], np.float32).reshape(3, 1, 1))
    stitcher.add(Clip(1, (0,)), np.full((1, 1, 1), 0.9, np.float32))
    maps = dict(stitcher.ready(2))
    assert maps[0][0, 0] == pytest.approx(0.5)
    assert maps[1][0, 0] == 1.0
    assert len(stitcher) == 0


def test_a_released_map_does_not_share_memory_with_the_clip() -> None:
    stitcher = Stitcher()
    probabilities = np.zeros((1, 2, 2), np.float32)
    stitcher.add(Clip(0, (0,)), probabilities)
    probabilities += 1
    assert next(stitcher.ready(1))[1].max() == 0.0
