"""From a training run to weights that can be used by name: safetensors, registry entry and model card in one folder."""

import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from vsalient import checkpoints, models
from vsalient.checkpoints import Score, WeightsEntry, entry_toml, load_state_dict, require_fit, save_checkpoint
from vsalient.checkpoints.entries import parse_entry
from vsalient.errors import CheckpointError, OptionError, OutputError
from vsalient.models.network import describe
from vsalient.training.card import model_card
from vsalient.training.recipe import Recipe, to_dict
from vsalient.training.runs import Run

StoredType = Literal["float16", "bfloat16", "float32"]
WEIGHTS_FILE, ENTRY_FILE, CARD_FILE = "model.safetensors", "entry.toml", "README.md"
_INFERENCE = ("geometry", "multiple", "tail", "postprocess", "clip_length", "overlap", "paper", "protocol")
"""What an architecture's own registry entry says of using it, and a fine-tuned network usually keeps."""
_FIXED = ("name", "architecture", "config", "source", "file", "size", "sha256", "parameters", "scores")


def export_run(
    weights: Path,
    recipe: Recipe,
    folder: Path,
    *,
    name: str | None = None,
    dtype: StoredType = "float16",
    fields: Mapping[str, Any] | None = None,
    scores: Sequence[Score] = (),
    runs: Sequence[Run] = (),
) -> WeightsEntry:
    """Write model.safetensors, entry.toml and README.md, so that `vsalient models add FOLDER` makes it a model.

    Clip length, overlap, geometry and what else inference needs come from `fields`, else from the registry's entry of
    the same architecture, but the clip length from the recipe where it trains on several frames.

    Args:
        weights: a state dict, as `best.pt` or `last.pt` of a run.
        recipe: that made them: architecture and its arguments.
        folder: made if it is not there; the three files in it are replaced.
        name: of the model; default the recipe's.
        dtype: of tensors with two or more axes. One-dimensional ones (biases, batch norm) stay float32: of 3dc-lite
            they are 2 % of the numbers, but rounding them too changed a probability by 0.35 instead of 0.002.
        fields: fields of the registry entry, such as licence, terms, training_data, geometry.
        scores: numbers, with who measured them.
        runs: the stages that made the weights, in order, for the model card.

    Returns:
        The entry, with size, SHA-256 and parameter count.

    Raises:
        CheckpointError: the weights cannot be read, do not fit the recipe's network, or are too large for the dtype.
        OptionError: a field that cannot be set, or an unknown dtype.
        WeightsError: a field's value is wrong.
        OutputError: the folder cannot be written.
    """
    if dtype not in get_args(StoredType):
        raise OptionError(f"cannot store weights as {dtype!r}; give one of {', '.join(get_args(StoredType))}")
    network = models.build(recipe.architecture, **recipe.config)
    state = load_state_dict(weights)
    require_fit(network, state, f"{weights} does not fit recipe {recipe.name} ({recipe.architecture})")
    stored = store_as(state, dtype)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make {folder}: {error.strerror}; give another folder") from error
    table = _entry_table(recipe, fields or {})
    table["scores"] = [
        {"dataset": s.dataset, "metric": s.metric, "value": s.value, "by": s.by, "note": s.note} for s in scores
    ]
    table["parameters"] = sum(p.numel() for p in network.parameters())
    if recipe.clips.classifier and describe(network).priors:
        table["classifier"] = _copied(Path(recipe.clips.classifier), folder)
    entry = parse_entry(name or recipe.name, table, origin=folder / ENTRY_FILE)
    origin = {"kind": "training", "recipes": [to_dict(run.recipe) for run in runs] or [to_dict(recipe)]}
    file = folder / WEIGHTS_FILE
    save_checkpoint(file, stored, entry, origin=origin)
    entry = replace(entry, size=file.stat().st_size, sha256=checkpoints.sha256_of(file))
    change = None if dtype == "float32" else probability_change(network, state, stored, entry)
    try:
        (folder / ENTRY_FILE).write_text(entry_toml(entry), "utf-8")
        (folder / CARD_FILE).write_text(model_card(entry, runs, dtype=dtype, change=change), "utf-8")
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {error.strerror}; give another folder") from error
    return entry


def _copied(classifier: Path, folder: Path) -> str:
    """Put the superpixel classifier that a run's priors were made with beside the model."""
    try:
        shutil.copyfile(classifier, folder / "classifier.npz")
    except OSError as error:
        raise OutputError(
            f"cannot copy the superpixel classifier {classifier} to {folder}: {error.strerror}"
        ) from error
    return "classifier.npz"


def store_as(state: Mapping[str, Tensor], dtype: StoredType) -> dict[str, Tensor]:
    """A state dict for shipping: large tensors in `dtype`, small ones float32, batch norm's step counts left out.

    Raises:
        CheckpointError: a value is not finite, or too large for the dtype.
    """
    target: torch.dtype = getattr(torch, dtype)
    stored = {}
    for key, tensor in state.items():
        if key.endswith("num_batches_tracked"):
            continue
        if tensor.is_floating_point():
            tensor = tensor.to(target if tensor.ndim > 1 else torch.float32)
            if not tensor.isfinite().all():
                raise CheckpointError(
                    f"{key} holds values that are not finite as {tensor.dtype}; try --dtype float32, "
                    "or an earlier checkpoint of the run"
                )
        stored[key] = tensor
    return stored


@torch.inference_mode()
def probability_change(
    network: nn.Module, state: Mapping[str, Tensor], stored: Mapping[str, Tensor], entry: WeightsEntry
) -> float:
    """The largest change of a probability between two sets of weights, on one clip of noise of mixed coarseness."""
    generator = torch.Generator().manual_seed(0)
    side = math.lcm(entry.multiple, 32)
    height, width = (
        tuple(map(int, entry.geometry.removeprefix("exact:").split("x")))
        if entry.geometry.startswith("exact:")
        else (2 * side, 3 * side)
    )

    def noise(channels: int) -> Tensor:
        fine, coarse = (
            torch.rand(channels, entry.clip_length, height // n, width // n, generator=generator) for n in (1, 16)
        )
        coarse = nn.functional.interpolate(coarse[None], size=(entry.clip_length, height, width), mode="trilinear")[0]
        return (0.3 * fine + 0.7 * coarse)[None]

    clip, described = noise(3), describe(network)
    priors = {name: noise(1) for name in described.priors}
    answers = []
    for weights in (state, stored):
        network.load_state_dict(dict(weights))
        network.eval()
        answers.append(described.probability(described.forward(clip, **priors)))
    return float((answers[0] - answers[1]).abs().max())


def _entry_table(recipe: Recipe, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The entry's fields: those given, then the recipe's, then those of the architecture's own entry."""
    wrong = next((key for key in fields if key in _FIXED), None)
    if wrong is not None:
        raise OptionError(f"'{wrong}' follows from the run and cannot be set; set others, such as licence or terms")
    like = next((e for e in checkpoints.registry().values() if e.architecture == recipe.architecture), None)
    table: dict[str, Any] = {"geometry": f"exact:{recipe.clips.size[0]}x{recipe.clips.size[1]}"}
    table |= {"clip_length": recipe.clips.frames, "overlap": 0}
    if recipe.clips.flow:
        table["flow"] = recipe.clips.flow
    if like is not None:
        table |= {key: getattr(like, key) for key in _INFERENCE if getattr(like, key) not in (None, "", {})}
        if recipe.clips.frames > 1:
            table["clip_length"] = recipe.clips.frames
    table |= fields
    length = table["clip_length"]
    if "overlap" not in fields and isinstance(length, int):
        one_a_frame = table.get("tail") in ("centred", "causal")
        table["overlap"] = length - 1 if one_a_frame else max(0, min(table["overlap"], length - 1))
    table.setdefault("summary", f"{recipe.architecture} trained with recipe {recipe.name}")
    table.setdefault("licence", "not stated")
    fixed = {"architecture": recipe.architecture, "config": dict(recipe.config), "source": "file", "file": WEIGHTS_FILE}
    return table | fixed
