"""Shares without a server: which of N workers does an input, from the input's name alone.

Membership is a hash of the path, so that a folder may grow while workers are at it, and so that no worker needs to
know what the others see.
"""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath

from vsalient.errors import OptionError

HELP = "give I/N such as 3/64, counted from 1, auto, or auto/64"


@dataclass(frozen=True, slots=True)
class Share:
    """One of `count` shares.

    Attributes:
        index: 0-based.
        count: how many there are.
        origin: where it comes from, for people.
    """

    index: int
    count: int
    origin: str = "--shard"

    def holds(self, path: str | PurePath) -> bool:
        """Whether an input belongs to this share. The path counts as given: give all workers the same text."""
        text = os.path.normpath(str(path)).replace(os.sep, "/")
        digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.index

    def __str__(self) -> str:
        return f"{self.index + 1}/{self.count}"


def parse_share(text: str, environment: Mapping[str, str] | None = None) -> Share:
    """Read `I/N` (counted from 1), `auto` or `auto/N`.

    `auto` takes a Slurm job array (its MIN, MAX and STEP), the tasks of an `srun` step and torchrun's ranks, together
    where several apply; `auto/N` takes Kubernetes' `JOB_COMPLETION_INDEX`, which does not say how many there are.

    Args:
        text: what the user gave.
        environment: variables; those of this process when None.

    Raises:
        OptionError: no share, one outside its range, or nothing in the environment that says which.
    """
    name, slash, total = text.strip().partition("/")
    count = _whole_number(total, "--shard", text) if slash else None
    if count is not None and not count >= 1:
        raise OptionError(f"--shard {text} is impossible: {HELP}")
    if name == "auto":
        return _from_environment(text, count, os.environ if environment is None else environment)
    if count is None:
        raise OptionError(f"--shard '{text}' is no share: {HELP}")
    index = _whole_number(name, "--shard", text)
    if not 1 <= index <= count:
        raise OptionError(f"--shard {text} is outside its range: the first is 1/{count}, the last {count}/{count}")
    return Share(index - 1, count)


def _from_environment(text: str, count: int | None, variables: Mapping[str, str]) -> Share:
    factors: list[tuple[int, int, str]] = []
    if "SLURM_ARRAY_TASK_ID" in variables:
        factors.append((*_slurm_array(variables), "Slurm array"))
    if "SLURM_STEP_ID" in variables and _variable(variables, "SLURM_STEP_NUM_TASKS") > 1:
        step = _variable(variables, "SLURM_PROCID"), _variable(variables, "SLURM_STEP_NUM_TASKS")
        # torchrun has ranks of its own within each task.
        factors.append((*step, "Slurm step"))
    if "RANK" in variables and "WORLD_SIZE" in variables:
        if factors and factors[-1][2] == "Slurm step":
            factors.pop()
        factors.append((_variable(variables, "RANK"), _variable(variables, "WORLD_SIZE"), "torchrun"))
    if not factors and "JOB_COMPLETION_INDEX" in variables:
        if count is None:
            raise OptionError(
                "--shard auto cannot know how many pods there are: give --shard auto/N, N the Job's completions"
            )
        factors.append((_variable(variables, "JOB_COMPLETION_INDEX"), count, "Kubernetes"))
    if not factors:
        raise OptionError(
            f"--shard {text} finds no Slurm array, srun step, torchrun or Kubernetes index here: give I/N such as 3/64"
        )
    index, total = 0, 1
    for inner, size, name in factors:
        if not 0 <= inner < size:
            raise OptionError(f"--shard {text}: {name} gives share {inner + 1} of {size}, which is outside its range")
        index, total = index * size + inner, total * size
    origin = " × ".join(name for _, _, name in factors)
    if count is not None and count != total:
        raise OptionError(
            f"--shard {text}: {origin} has {total} shares here, not {count}: give --shard I/{count} yourself"
        )
    return Share(index, total, origin)


def _slurm_array(variables: Mapping[str, str]) -> tuple[int, int]:
    task, low, high = (_variable(variables, f"SLURM_ARRAY_TASK_{name}") for name in ("ID", "MIN", "MAX"))
    step = _variable(variables, "SLURM_ARRAY_TASK_STEP") if "SLURM_ARRAY_TASK_STEP" in variables else 1
    count = (high - low) // step + 1 if step > 0 else 0
    told = _variable(variables, "SLURM_ARRAY_TASK_COUNT") if "SLURM_ARRAY_TASK_COUNT" in variables else count
    if step < 1 or (task - low) % step or count != told:
        raise OptionError(
            f"--shard auto cannot count in a Slurm array of {told} tasks from {low} to {high} by {step}: "
            "take an array without gaps, or give --shard I/N"
        )
    return (task - low) // step, count


def _variable(variables: Mapping[str, str], name: str) -> int:
    return _whole_number(variables.get(name, ""), name, variables.get(name, ""))


def _whole_number(text: str, name: str, given: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise OptionError(f"{name} '{given}' is no whole number of shares: {HELP}")
    return int(text)
