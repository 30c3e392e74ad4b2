"""What a run's folder says of itself: the recipe, the data, the machine, the time it took and its scores."""

import csv
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from vsalient.errors import DataError
from vsalient.files import write_whole
from vsalient.training.recipe import Recipe, recipe_from_dict, to_dict
from vsalient.training.state import read_state
from vsalient.version import __version__

if TYPE_CHECKING:
    from vsalient.training.sources import PairSource

RECORD = "run.json"


@dataclass(frozen=True)
class Run:
    """A run as its folder tells it.

    Attributes:
        folder: where it lives.
        recipe: what it did.
        steps: optimiser steps done, as far as the log says.
        hours: of training, all processes at the same time; None when nothing says.
        hardware: the machine, "" when nothing says.
        data: one line a source, empty when nothing says.
        jaccard, mae: of the best validation, None without one.
    """

    folder: Path
    recipe: Recipe
    steps: int
    hours: float | None = None
    hardware: str = ""
    data: tuple[str, ...] = ()
    jaccard: float | None = None
    mae: float | None = None

    @property
    def weights(self) -> Path:
        """The weights to ship: the best ones, or the last where nothing was held out."""
        best = self.folder / "best.pt"
        return best if best.is_file() else self.folder / "last.pt"


@dataclass(frozen=True)
class Record:
    """What `run.json` holds beside the recipe.

    Attributes:
        data: one line a source.
        init: the weights it began with.
        hardware: device, threads and processes.
        seconds: spent in training so far, breaks left out.
        vsalient, torch: versions.
        sequences: source -> every sequence and still that was trained on.
        held_out: source -> every sequence that was kept for validation.
    """

    data: tuple[str, ...]
    init: str
    hardware: str
    seconds: float = 0.0
    vsalient: str = __version__
    torch: str = str(torch.__version__)
    sequences: dict[str, list[str]] = field(default_factory=dict)
    held_out: dict[str, list[str]] = field(default_factory=dict)


def describe_data(sources: "Sequence[PairSource]") -> tuple[str, ...]:
    """One line a source: its file's or folder's name, its stills and videos."""
    lines = []
    for source in sources:
        lengths = [len(pairs) for pairs in source.pairs]
        stills, videos = lengths.count(1), sum(n > 1 for n in lengths)
        counts = [f"{stills} stills"] * bool(stills)
        counts += [f"{videos} videos ({sum(n for n in lengths if n > 1)} frames)"] * bool(videos)
        weight = f", weight {source.weight:g}" if source.weight else ""
        lines.append(f"{Path(source.origin).name}: {', '.join(counts)}{weight}")
    return tuple(lines)


def describe_hardware(device: torch.device, processes: int = 1) -> str:
    """One line on the machine: the GPU's name, or the processor and the threads used."""
    name = (
        torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"CPU ({platform.machine()}), threads: {torch.get_num_threads()}"
    )
    return f"{processes} × {name}" if processes > 1 else name


def read_record(folder: Path) -> Record | None:
    """The record that a run left, None when there is none or it is damaged: it is only for people to read."""
    try:
        table = json.loads((folder / RECORD).read_text("utf-8"))
        table.pop("recipe", None)
        return Record(**{**table, "data": tuple(table["data"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def write_record(folder: Path, recipe: Recipe, record: Record) -> None:
    """Write `run.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"recipe": to_dict(recipe), **asdict(record)}, indent=2, ensure_ascii=False)
    write_whole(folder / RECORD, text + "\n")


def read_run(folder: Path) -> Run:
    """Read what `vsalient train` left in a folder.

    Without `run.json` the recipe comes from `last.ckpt`, and the hours from the log's frames a second.

    Raises:
        DataError: no run there.
    """
    record = read_record(folder)
    recipe = _recipe(folder)
    rows = _log(folder)
    steps = int(rows[-1]["step"]) if rows else 0
    hours = record.seconds / 3600 if record and record.seconds else _hours(rows, recipe)
    scored = [row for row in rows if row.get("J")]
    best = max(scored, key=lambda row: float(row["J"])) if scored else None
    return Run(
        folder=folder,
        recipe=recipe,
        steps=steps,
        hours=hours,
        hardware=record.hardware if record else "",
        data=record.data if record else (),
        jaccard=float(best["J"]) if best else None,
        mae=float(best["MAE"]) if best else None,
    )


def _recipe(folder: Path) -> Recipe:
    try:
        table = json.loads((folder / RECORD).read_text("utf-8"))["recipe"]
    except (OSError, ValueError, KeyError):
        checkpoint = folder / "last.ckpt"
        if not checkpoint.is_file():
            raise DataError(
                f"{folder} is no run of `vsalient train`: it has neither {RECORD} nor last.ckpt; give OUT/RECIPE"
            ) from None
        # Mapped: of a large file only the recipe is read.
        table = read_state(checkpoint)["recipe"]
    return recipe_from_dict(table, str(folder))


def _log(folder: Path) -> list[dict[str, str]]:
    path = folder / "log.csv"
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as handle:
        return [row for row in csv.DictReader(handle) if (row.get("step") or "").isdigit()]


def _hours(rows: Sequence[Mapping[str, Any]], recipe: Recipe) -> float | None:
    """From the log: the frames between two rows over the speed at the second one."""
    seconds, before = 0.0, 0
    for row in rows:
        step, speed = int(row["step"]), float(row["frames_per_second"] or 0)
        if speed > 0:
            frames = max(0, step - before) * recipe.batch * recipe.accumulate * recipe.clips.frames
            seconds += frames / speed
        before = step
    return seconds / 3600 if seconds else None
