"""What an experiment is: one row of a paper's table or one setting of a figure, as data."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vsalient.datasets.presets import CountedFrames
from vsalient.metrics.catalogue import CATALOGUE

STILLS = ("msra10k", "ecssd", "hku-is", "thur15k", "coco")
"""Sets that papers train on and nobody is evaluated on here, beside the presets of `vsalient.datasets`."""


@dataclass(frozen=True, slots=True)
class DataPart:
    """A data set to train on.

    Attributes:
        dataset: a preset's name, or one of `STILLS`.
        share: of the sequences, where the paper splits the set at random; 0 takes the set's own training part.
    """

    dataset: str
    share: float = 0.0


@dataclass(frozen=True, slots=True)
class Training:
    """How the row's network is trained.

    Attributes:
        recipe: a built-in recipe.
        data: all of these are needed.
        overrides: `key=value` as of `vsalient train --set`.
        start: the pre-trained weights that the paper begins with, for people; "" where it begins at random.
    """

    recipe: str
    data: tuple[DataPart, ...]
    overrides: tuple[str, ...] = ()
    start: str = ""


@dataclass(frozen=True, slots=True)
class Test:
    """What the row is measured on.

    Attributes:
        dataset: a preset's name.
        split: as of `vsalient evaluate --split`; None takes the preset's.
        protocol: which frames count; None takes the preset's.
    """

    dataset: str
    split: str | None = None
    protocol: CountedFrames | None = None


@dataclass(frozen=True, slots=True)
class Number:
    """One number of a row.

    Attributes:
        label: what the paper calls it.
        result: what it is called in an evaluation's results.
        paper: the paper's value (percentages as fractions); None where it only draws a curve or a bar.
    """

    label: str
    result: str
    paper: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """One row.

    Attributes:
        paper: a key of `vsalient.reproduce.papers.PAPERS`.
        place: "Table 3" or "Fig. 7".
        row: what the row is, unique within its place.
        test: the data; None for a row of run times, which are measured on a made-up film.
        numbers: what is measured.
        model: the registry's name of the network.
        training: how the network is made; None for a row that only evaluates.
        variant: the row needs a network of its own, whatever weights `model` has.
        overlap: of clips; None for the model's own.
        resolution: the network's input; None for the model's own.
        masks: how maps become masks, as arguments of `vsalient.model.Model.segment`; empty to measure the maps.
        backbone: the encoder alone is timed.
        crf: whether the model's dense CRF runs, where it has one.
        differs: what differs from the paper whoever runs it.
        missing: why nobody can run the row with this version, "" where one can.
    """

    paper: str
    place: str
    row: str
    test: Test | None
    numbers: tuple[Number, ...]
    model: str
    training: Training | None = None
    variant: bool = False
    overlap: int | None = None
    resolution: str | None = None
    masks: Mapping[str, Any] = field(default_factory=dict)
    backbone: bool = False
    crf: bool = True
    differs: tuple[str, ...] = ()
    missing: str = ""

    @property
    def key(self) -> str:
        """What `--row` takes: "table-3/davis"."""
        return f"{slug(self.place)}/{slug(self.row)}"

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that give the row's numbers, in the catalogue's order."""
        wanted = {number.result for number in self.numbers}
        if wanted & {"J&F", "O"}:
            wanted |= {"J_mean", "F_mean"}
        return tuple(name for name, metric in CATALOGUE.items() if wanted & set(metric.results))


PARTS = "the parts are not timed one by one here, only the whole"


def timed_row(paper: str, place: str, row: str, seconds: float, missing: str = "") -> Experiment:
    """A row of seconds a frame, of the papers that were measured on a TITAN X."""
    return Experiment(
        paper=paper,
        place=place,
        row=row,
        test=None,
        numbers=(Number("seconds a frame", "seconds", seconds),),
        model=paper,
        differs=("the paper's on a TITAN X; optical flow and the prior are others",),
        missing=missing,
    )


def slug(text: str) -> str:
    """Lower-case letters and digits, dashes between."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
