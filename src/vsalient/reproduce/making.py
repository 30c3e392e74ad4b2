"""Train a row's network: the recipe's stages in turn, each going on where it stopped, then weights with an entry."""

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vsalient.datasets.spec import DataSpec, parse_spec
from vsalient.errors import TrainingError
from vsalient.reproduce.experiment import DataPart, Training
from vsalient.reproduce.hand import Hand

if TYPE_CHECKING:
    from vsalient.training.recipe import Recipe
    from vsalient.training.sources import PairSource


@dataclass(frozen=True, slots=True)
class Made:
    """A network that was trained for a row.

    Attributes:
        file: its weights, which say what they are.
        seen: data set -> the sequences that it was trained on.
        steps: optimiser steps of all stages.
        init: the weights it began with.
    """

    file: Path
    seen: dict[str, list[str]]
    steps: int
    init: str


def kept_for_training(names: Sequence[str], share: float) -> list[str]:
    """A share of a data set's sequences, the same ones always and everywhere: those whose names' hashes are lowest."""
    ordered = sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    return sorted(ordered[: round(share * len(ordered))])


def train_network(training: Training, hand: Hand, home: Path, say: Callable[[str], None]) -> Made:
    """Train, or go on, or take what is done already.

    Args:
        training: the row's.
        hand: data, overrides, device and minutes.
        home: where trainings live; rows of the same training share one.
        say: takes lines for people.

    Raises:
        TrainingError: the minutes are over before it is through: the same command goes on.
        VsalientError: data, recipe or device do not do.
    """
    from vsalient.training import processes
    from vsalient.training.loop import Trainer
    from vsalient.training.recipe import load_recipe, load_stages

    overrides = ["held_out=[]", *training.overrides, *hand.overrides]
    recipe = load_recipe(training.recipe, overrides)
    stages = load_stages(recipe, overrides)
    sources, seen = _sources(training.data, hand)
    folder = home / f"{training.recipe}-{_training_mark(training, overrides, hand)}"
    workers = processes.default_workers(processes.training_device(hand.device).type)
    previous = hand.init
    end = None if hand.minutes is None else time.monotonic() + 60 * hand.minutes
    made: dict[str, str] = {}
    try:
        for stage in stages:
            if stage.follows:
                files = ",".join(made[name] for name in stage.follows)
                previous = f"mean:{files}" if len(stage.follows) > 1 else files
            trainer = Trainer(stage, sources, folder / stage.name, device=hand.device, workers=workers, init=previous)
            say(f"training {stage.name}: step {trainer.step} of {stage.steps}, {trainer.device}")
            left = None if end is None else max(0.0, end - time.monotonic()) / 60
            weights = trainer.run(minutes=left)
            if trainer.step < stage.steps:
                raise TrainingError(
                    f"training {stage.name} stopped after step {trainer.step} of {stage.steps}; "
                    "the same command goes on"
                )
            made[stage.name] = previous = str(weights)
    finally:
        processes.leave()
    last = dataclasses.replace(stages[-1], name=training.recipe)
    file = _export(Path(made[stages[-1].name]), last, folder / "model")
    return Made(file, seen, sum(stage.steps for stage in stages), hand.init or stages[0].init)


def _export(weights: Path, recipe: "Recipe", folder: Path) -> Path:
    from vsalient.training.export import WEIGHTS_FILE, export_run

    export_run(weights, recipe, folder, dtype="float32")
    return folder / WEIGHTS_FILE


def _sources(parts: Sequence[DataPart], hand: Hand) -> "tuple[list[PairSource], dict[str, list[str]]]":
    from vsalient.training.sources import open_pairs

    if hand.train_on:
        sources = [open_pairs(parse_spec(text)) for text in hand.train_on]
        # A data set that is measured on too is known by its name: what was trained on does not count there.
        known = {path.resolve(): name for name, path in hand.data.items()}
        return sources, {known.get(Path(s.origin).resolve(), s.origin): list(s.names) for s in sources}
    sources, seen = [], {}
    for part in parts:
        source = open_pairs(DataSpec(hand.data[part.dataset]))
        if part.share:
            source = source.select(keep=kept_for_training(source.names, part.share))
        sources.append(source)
        seen[part.dataset] = list(source.names)
    return sources, seen


def _training_mark(training: Training, overrides: Sequence[str], hand: Hand) -> str:
    data = list(hand.train_on) or [f"{part.dataset}={hand.data[part.dataset].resolve()}" for part in training.data]
    told = json.dumps([training.recipe, list(overrides), data, hand.init])
    return hashlib.sha256(told.encode()).hexdigest()[:8]
