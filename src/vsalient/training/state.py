"""All that a run needs to go on: what is in `last.ckpt`, and what a recipe may no longer change."""

import hashlib
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from vsalient.checkpoints.reading import read_torch
from vsalient.errors import CheckpointError, DataError
from vsalient.files import StagedFile, writing
from vsalient.training.recipe import Recipe, recipe_from_dict, to_dict

KEYS = ("recipe", "network", "average", "optimiser", "step", "running", "best")
"""What every checkpoint holds; later versions added more, each with a default for older files."""
FIXED = (
    "architecture",
    "config",
    "seed",
    "batch",
    "accumulate",
    "keep",
    "freeze_norm",
    "held_out",
    "clips",
    "loss",
    "optimiser.name",
    "optimiser.frozen",
)
"""What a run keeps from its first step to its last. Lengths, rates and how often to save may change."""


def seed_step(seed: int, step: int, rank: int) -> None:
    """Seed torch's generators, the GPUs' too, for one step of one process.

    Dropout then depends on the run's seed and the step alone: a resumed run needs no saved generator, and draws what
    it would have drawn on any kind of device.
    """
    digest = hashlib.blake2b(f"{seed} {step} {rank}".encode(), digest_size=8).digest()
    torch.manual_seed(int.from_bytes(digest, "little") >> 1)


def write_state(state: Mapping[str, Any], path: Path) -> None:
    """Save tensors and plain values; what was there before stays until all of it is on the disk.

    Raises:
        OutputError: the place cannot be written to.
    """
    staged = StagedFile(path)
    try:
        with writing(path), staged.place.open("wb") as file:
            try:
                torch.save(dict(state), file)
                file.flush()
                os.fsync(file.fileno())
            except RuntimeError as error:
                # torch's archive writer hides what the file system said behind its own error.
                raise _system_error(error) or error from None
        staged.commit()
    finally:
        staged.discard()


def _system_error(error: BaseException | None) -> OSError | None:
    while error is not None and not isinstance(error, OSError):
        error = error.__context__
    return error


def read_state(path: Path) -> dict[str, Any]:
    """Read a training checkpoint, onto the CPU.

    Raises:
        CheckpointError: it cannot be read, holds more than tensors and plain values, or is none of `vsalient train`.
    """
    if path.is_file() and path.stat().st_size == 0:
        raise CheckpointError(f"{path} is empty; delete it to begin anew, or choose another --out")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's on foreign pickles; ours is the line that says so
            state = read_torch(path)
    except CheckpointError as error:
        raise CheckpointError(f"{error}; delete it to begin anew, or choose another --out") from error
    except Exception as error:  # a damaged archive can fail anywhere inside torch's reader
        raise CheckpointError(f"{path} is damaged; delete it to begin anew, or choose another --out") from error
    if not isinstance(state, dict) or any(key not in state for key in KEYS):
        raise CheckpointError(f"{path} is no checkpoint of `vsalient train`; move it away, or choose another --out")
    if not isinstance(state["recipe"], dict) or not isinstance(state["step"], int):
        raise CheckpointError(f"{path} is damaged; delete it to begin anew, or choose another --out")
    return state


def check_recipe(saved: Mapping[str, Any], recipe: Recipe, path: Path) -> None:
    """Refuse a recipe that cannot go on from a checkpoint.

    Args:
        saved: the checkpoint's recipe, as tables; keys that it lacks had their default.
        recipe: what it shall go on with.
        path: the checkpoint, for messages.

    Raises:
        CheckpointError: the first value that differs and must not.
    """
    try:
        before = recipe_from_dict(saved, str(path))
    except DataError as error:
        raise CheckpointError(f"{path} was made by another version: {error}; choose another --out") from error
    old, new = _flat(to_dict(before)), _flat(to_dict(recipe))
    for key in sorted(old.keys() | new.keys()):
        if (key in FIXED or key.split(".")[0] in FIXED) and old.get(key) != new.get(key):
            _refuse_state(path, key, old.get(key), new.get(key))
    # "auto" goes on in whatever precision the run has.
    if recipe.precision not in ("auto", before.precision) and before.precision != "auto":
        _refuse_state(path, "precision", before.precision, recipe.precision)
    rates = before.optimiser.encoder_rate, recipe.optimiser.encoder_rate
    if (rates[0] == 0) != (rates[1] == 0):  # 0 freezes the encoder: there is no optimiser state for it
        _refuse_state(path, "optimiser.encoder_rate", *rates)


def check_same(path: Path, what: str, old: object, new: object) -> None:
    """Refuse other data or another number of processes than a checkpoint was made with.

    Raises:
        CheckpointError: they differ.
    """
    if old != new:
        raise CheckpointError(
            f"{path} was made with {what} {old}, now it is {new}; a run goes on with the same, "
            "or begin another one in another --out with --init"
        )


def _refuse_state(path: Path, key: str, old: object, new: object) -> None:
    raise CheckpointError(
        f"{path} was made with {key} = {old!r}, the recipe now says {new!r}; choose another --out "
        "(--init FILE begins there from these weights)"
    )


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in table.items():
        # Shares of kinds, loss terms and a network's arguments are compared as a whole: an absent one is a difference.
        if isinstance(value, dict) and key in ("clips", "loss", "optimiser"):
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = list(value) if isinstance(value, tuple) else value
    return found
