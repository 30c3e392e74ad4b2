"""Clip plans: tables for the named tail policies, properties for every combination of numbers."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vsalient.clips import ClipPlanner, plan_clips
from vsalient.errors import OptionError
from vsalient.vocabulary import PER_FRAME_TAILS, TAILS, Tail


def starts(frames: int, length: int, overlap: int, tail: Tail) -> list[int]:
    return [clip.indices[0] for clip in plan_clips(frames, length, overlap, tail=tail)]


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        (1, [0]),
        (7, [0]),
        (8, [0]),
        (9, [0, 1]),
        (12, [0, 4]),
        (13, [0, 5]),
        (14, [0, 5, 6]),
        (20, [0, 5, 10, 12]),
    ],
)
def test_shift_ends_with_a_full_clip_at_the_last_frame(frames: int, expected: list[int]) -> None:
    assert starts(frames, 8, 3, "shift") == expected


@pytest.mark.parametrize(
    ("frames", "overlap", "expected"),
    [
        (1, 3, [0]),
        (5, 3, [0]),
        (6, 3, [0, 5]),
        (8, 3, [0, 5]),
        (13, 3, [0, 5, 10]),
        (10, 7, list(range(10))),
    ],
)
def test_repeat_first_starts_below_every_multiple_of_the_stride(frames: int, overlap: int, expected: list[int]) -> None:
    assert starts(frames, 8, overlap, "repeat-first") == expected


def test_repeat_first_fills_with_the_first_frame_of_the_clip() -> None:
    clips = [clip.indices for clip in plan_clips(13, 8, 3, tail="repeat-first")]
    assert clips == [tuple(range(8)), tuple(range(5, 13)), (10, 10, 10, 10, 10, 10, 11, 12)]
    assert [clip.indices for clip in plan_clips(1, 4, 0, tail="repeat-first")] == [(0, 0, 0, 0)]


def test_repeat_last_fills_with_the_last_frame_and_stops_once_all_is_covered() -> None:
    clips = [clip.indices for clip in plan_clips(10, 8, 3, tail="repeat-last")]
    assert clips == [tuple(range(8)), (5, 6, 7, 8, 9, 9, 9, 9)]
    assert len(list(plan_clips(8, 8, 3, tail="repeat-last"))) == 1


def test_centred_and_causal_keep_one_slot_and_repeat_the_ends() -> None:
    centred = list(plan_clips(3, 3, 2, tail="centred"))
    assert [clip.indices for clip in centred] == [(0, 0, 1), (0, 1, 2), (1, 2, 2)]
    assert {clip.outputs for clip in centred} == {(1,)}
    causal = list(plan_clips(3, 3, 2, tail="causal"))
    assert [clip.indices for clip in causal] == [(0, 0, 0), (0, 0, 1), (0, 1, 2)]
    assert {clip.outputs for clip in causal} == {(2,)}


def test_an_interval_interleaves_sequences() -> None:
    clips = [clip.indices for clip in plan_clips(7, 3, 1, interval=2)]
    assert clips == [(0, 2, 4), (1, 3, 5), (2, 4, 6)]


@pytest.mark.parametrize(
    ("length", "overlap", "tail", "words"),
    [
        (0, 0, "shift", "clip length 0"),
        (8, 8, "shift", "overlap 8"),
        (8, -1, "shift", "overlap -1"),
        (8, 3, "wrap", "tail policy 'wrap'"),
        (3, 1, "centred", "one clip a frame"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(length: int, overlap: int, tail: Tail, words: str) -> None:
    with pytest.raises(OptionError, match=words):
        ClipPlanner(length, overlap, tail=tail)


@st.composite
def plans(draw: st.DrawFn) -> tuple[int, int, int, Tail, int]:
    length = draw(st.integers(1, 9))
    tail = draw(st.sampled_from(TAILS))
    overlap = length - 1 if tail in PER_FRAME_TAILS else draw(st.integers(0, length - 1))
    return draw(st.integers(0, 40)), length, overlap, tail, draw(st.integers(1, 3))


@given(plans())
@settings(max_examples=300, deadline=None)
def test_every_frame_is_covered_by_clips_of_the_right_length(plan: tuple[int, int, int, Tail, int]) -> None:
    frames, length, overlap, tail, interval = plan
    covered = set()
    for number, clip in enumerate(plan_clips(frames, length, overlap, tail=tail, interval=interval)):
        assert clip.number == number
        assert len(clip) == length
        assert list(clip.indices) == sorted(clip.indices)
        assert all(b - a in (0, interval) for a, b in zip(clip.indices, clip.indices[1:], strict=False))
        covered |= {clip.indices[slot] for slot in clip.outputs or range(length)}
    assert covered == set(range(frames))


@given(plans())
@settings(max_examples=300, deadline=None)
def test_what_the_planner_says_is_over_is_over(plan: tuple[int, int, int, Tail, int]) -> None:
    """No later clip reads or writes before the two marks, and what is held in between is bounded."""
    frames, length, overlap, tail, interval = plan
    planner = ClipPlanner(length, overlap, tail=tail, interval=interval)
    reads_from = writes_from = 0
    for index in range(frames + 1):
        for clip in planner.push(index) if index < frames else planner.finish():
            assert min(clip.indices) >= reads_from
            assert min(clip.indices[slot] for slot in clip.outputs or range(length)) >= writes_from
        assert planner.reads_from >= reads_from and planner.writes_from >= writes_from
        reads_from, writes_from = planner.reads_from, planner.writes_from
        if index < frames:
            assert index + 1 - min(reads_from, writes_from) <= interval * (2 * length + 1)
    assert reads_from == writes_from == frames


def test_a_clip_that_no_memory_holds_is_refused() -> None:
    assert len(next(plan_clips(1, 1024, 0))) == 1024
    with pytest.raises(OptionError, match="at most 1024 frames"):
        ClipPlanner(1025, 0)


@given(st.integers(1, 60), st.integers(1, 9), st.data())
@settings(max_examples=200, deadline=None)
def test_repeat_first_is_the_official_list(frames: int, length: int, data: st.DataObject) -> None:
    """The official code's rule, written down independently: sort the frames left and the repeated start."""
    overlap = data.draw(st.integers(0, length - 1))
    expected = []
    for start in range(0, frames, length - overlap):
        left = list(range(start, min(frames, start + length)))
        expected.append(tuple(sorted(left + [start] * (length - len(left)))))
    planned = [clip.indices for clip in plan_clips(frames, length, overlap, tail="repeat-first")]
    assert planned == expected
