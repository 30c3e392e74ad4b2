"""Shares: which of N workers does an input, and what the schedulers' variables say of it."""

import pytest

from vsalient.errors import OptionError
from vsalient.scale.shares import parse_share

ARRAY = {"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_MIN": "1", "SLURM_ARRAY_TASK_MAX": "13"}
STEP = {"SLURM_STEP_ID": "0", "SLURM_PROCID": "2", "SLURM_STEP_NUM_TASKS": "4"}


def test_every_input_has_one_share_and_keeps_it() -> None:
    names = [f"videos/{number:05}.mp4" for number in range(6000)]
    shares = [parse_share(f"{index}/7") for index in range(1, 8)]
    counts = [sum(share.holds(name) for name in names) for share in shares]
    assert sum(counts) == len(names) and all(sum(share.holds(name) for share in shares) == 1 for name in names[:200])
    assert max(counts) - min(counts) < 0.2 * len(names) / 7
    assert parse_share("1/1").holds("a") and str(shares[2]) == "3/7"
    assert [share.holds("./videos//a.mp4") for share in shares] == [share.holds("videos/a.mp4") for share in shares]


@pytest.mark.parametrize(
    ("text", "variables", "share"),
    [
        ("auto", ARRAY | {"SLURM_ARRAY_TASK_STEP": "3"}, "3/5"),
        ("auto", ARRAY | {"SLURM_ARRAY_TASK_COUNT": "13"}, "7/13"),
        ("auto/13", ARRAY, "7/13"),
        ("auto", {"SLURM_ARRAY_TASK_ID": "0", "SLURM_ARRAY_TASK_MIN": "0", "SLURM_ARRAY_TASK_MAX": "3"}, "1/4"),
        ("auto", STEP, "3/4"),
        ("auto", ARRAY | STEP, "27/52"),
        ("auto", {"RANK": "3", "WORLD_SIZE": "8"}, "4/8"),
        ("auto", STEP | {"RANK": "3", "WORLD_SIZE": "8"}, "4/8"),
        ("auto/64", {"JOB_COMPLETION_INDEX": "0"}, "1/64"),
        ("auto/64", {"JOB_COMPLETION_INDEX": "63"}, "64/64"),
    ],
)
def test_schedulers(text: str, variables: dict[str, str], share: str) -> None:
    assert str(parse_share(text, variables)) == share


@pytest.mark.parametrize(
    ("text", "variables", "message"),
    [
        ("0/4", {}, "outside its range: the first is 1/4"),
        ("5/4", {}, "outside its range"),
        ("1/0", {}, "impossible"),
        ("-1/4", {}, "no whole number"),
        ("1.5/4", {}, "no whole number"),
        ("٣/4", {}, "no whole number"),
        ("3", {}, "is no share"),
        ("", {}, "is no share"),
        ("auto", {}, "finds no Slurm array"),
        ("auto/4", {}, "finds no Slurm array"),
        ("auto", {"JOB_COMPLETION_INDEX": "0"}, "auto/N"),
        ("auto/4", {"JOB_COMPLETION_INDEX": "4"}, "share 5 of 4"),
        ("auto", ARRAY | {"SLURM_ARRAY_TASK_COUNT": "3"}, "without gaps"),
        ("auto/64", ARRAY, "has 13 shares here, not 64"),
        ("auto", {"RANK": "x", "WORLD_SIZE": "8"}, "RANK 'x'"),
        ("auto", {"SLURM_ARRAY_TASK_ID": "7"}, "SLURM_ARRAY_TASK_MIN ''"),
    ],
)
def test_what_cannot_be_a_share(text: str, variables: dict[str, str], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        parse_share(text, variables)
