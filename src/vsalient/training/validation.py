"""Scores on held-out sequences while a run goes on: quick, the same every time, and only for choosing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from vsalient.models.network import describe
from vsalient.priors.choose import PriorTools
from vsalient.training.data import clip_priors, look_ahead, seen_slots
from vsalient.training.processes import Processes
from vsalient.training.recipe import Recipe
from vsalient.training.sources import PairSource


@dataclass(frozen=True)
class Scores:
    """Means over sequences of the means over their frames, masks at 0.5.

    Attributes:
        jaccard: region similarity J, 1 where both masks are empty.
        mae: mean absolute error.
        per_sequence: J of each sequence.
    """

    jaccard: float
    mae: float
    per_sequence: dict[str, float] = field(default_factory=dict)


def validate(
    network: nn.Module,
    held_out: Sequence[PairSource],
    recipe: Recipe,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    processes: Processes | None = None,
    stopping: Callable[[], bool] = lambda: False,
    *,
    clips: int = 3,
) -> Scores | None:
    """Score a network on up to `clips` clips of every held-out sequence, spread evenly.

    Clips have 8 frames where the recipe trains on all frames (else the recipe's length) at the recipe's size.

    Args:
        network: what to score, on `device`.
        held_out: the sequences.
        recipe: whose clips they are.
        device: where to compute.
        dtype: of autocast; float32 for none.
        processes: those that share the sequences and all get the scores; None for this one alone.
        stopping: asked before each sequence (by a process that is alone) whether to give up.
        clips: of each sequence at most.

    Returns:
        The scores, None when it gave up.
    """
    processes = processes or Processes(device)
    length = 8 if recipe.clips.target == "all" and recipe.clips.frames > 1 else recipe.clips.frames
    was_training = network.training
    network.eval()
    work = [(source, number) for source in held_out for number in range(len(source.names))]
    found: dict[int, tuple[str, float, float]] = {}
    for place in range(processes.rank, len(work), processes.world):
        if processes.world == 1 and stopping():
            network.train(was_training)
            return None
        source, number = work[place]
        starts = _starts(source, number, length, recipe.clips.target, clips)
        scores = [_clip(network, source, number, int(s), length, recipe, device, dtype) for s in starts]
        jaccard = float(np.mean([j for s in scores for j, _ in s]))
        found[place] = source.names[number], jaccard, float(np.mean([e for s in scores for _, e in s]))
    network.train(was_training)
    shared = {place: row for share in processes.gather(found) for place, row in share.items()}
    rows = [shared[place] for place in sorted(shared)]
    jaccards = {name: jaccard for name, jaccard, _ in rows}
    return Scores(float(np.mean(list(jaccards.values()))), float(np.mean([error for *_, error in rows])), jaccards)


def _starts(source: PairSource, number: int, length: int, target: str, clips: int) -> list[int]:
    """Where up to `clips` clips of a sequence begin, spread evenly; each has a scored frame with a ground truth."""
    total, labelled = source.length(number), source.labelled(number)
    if len(labelled) == total:
        return [int(s) for s in np.unique(np.linspace(0, max(0, total - length), clips).round().astype(int))]
    seen, known = seen_slots(length, target), set(labelled)
    middle = seen[len(seen) // 2]
    fits = sorted({max(0, index - middle) for index in labelled})
    fits = [s for s in fits if not known.isdisjoint(min(s + slot, total - 1) for slot in seen)]
    return [fits[i] for i in np.unique(np.linspace(0, len(fits) - 1, clips).round().astype(int))]


@torch.inference_mode()
def _clip(
    network: nn.Module,
    source: PairSource,
    number: int,
    start: int,
    length: int,
    recipe: Recipe,
    device: torch.device,
    dtype: torch.dtype,
) -> list[tuple[float, float]]:
    height, width = recipe.clips.size
    described = describe(network)
    ahead = look_ahead(recipe.clips, described.priors) if start + length < source.length(number) else 0
    indices = [min(start + i, source.length(number) - 1) for i in range(length + ahead)]
    pairs = [source.read(number, i) for i in indices]
    resized = [cv2.resize(p[0], (width, height), interpolation=cv2.INTER_AREA) for p in pairs]
    seen = np.stack(resized).astype(np.uint8)
    small, after = seen[:length], seen[length] if ahead else None
    clip = torch.from_numpy(small).to(device).permute(3, 0, 1, 2)[None].float() / 255
    tools = PriorTools(recipe.clips.flow, recipe.clips.classifier)
    stream = tools.stream(described.priors) if described.priors else None
    made = clip_priors(small, described.priors, after=after, stream=stream)
    priors = {name: x[None].to(device) for name, x in made.items()}
    with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
        logits = described.forward(clip, **priors)
    probability: NDArray[np.float32] = described.probability(logits)[0].float().cpu().numpy()
    kept = enumerate(seen_slots(length, recipe.clips.target))
    known = [(out, slot) for out, slot in kept if source.is_labelled(number, indices[slot])]
    return [score(probability[out], pairs[slot][1]) for out, slot in known]


def score(probability: NDArray[np.float32], truth: NDArray[np.uint8]) -> tuple[float, float]:
    """J at 0.5 and MAE of one map against a mask of 0 and 255, the map resized to the mask."""
    full = cv2.resize(probability, truth.shape[::-1], interpolation=cv2.INTER_LINEAR)
    predicted, real = full >= 0.5, truth > 127
    union = int((predicted | real).sum())
    jaccard = float((predicted & real).sum() / union) if union else 1.0
    return jaccard, float(np.abs(full - real).mean())
