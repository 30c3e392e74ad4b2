"""What moves and how fast: frozen weights, optimisers and learning rates as recipes state them."""

import math
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from vsalient.models.network import describe
from vsalient.training.recipe import FreezeNorm, Recipe


def schedule(recipe: Recipe, step: int) -> float:
    """The share of the learning rate at a 0-based step."""
    optimiser = recipe.optimiser
    share = min(1.0, (step + 1) / max(1, optimiser.warmup))
    if optimiser.schedule == "cosine":
        share *= 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / (optimiser.schedule_steps or recipe.steps)))
    elif optimiser.schedule == "step":
        share *= optimiser.gamma ** (step // optimiser.step_size)
    elif optimiser.schedule == "exponential":
        share *= optimiser.gamma ** (step / optimiser.step_size)
    return float(share)


def training_mode(network: nn.Module, recipe: Recipe) -> None:
    """Put a network in training mode, less the batch norms that the recipe freezes."""
    network.train()
    for module in _kept(network, recipe.freeze_norm):
        module.eval()


def norm_to_keep(network: nn.Module, recipe: Recipe) -> FreezeNorm:
    """Whose batch norm a new run keeps: the recipe's `freeze_norm`, or "none" where it has seen no data yet.

    Batch norms of random weights have the statistics that they were built with (mean 0, variance 1), which are not
    those of what passes through them: frozen, they would never learn it, and a deep encoder's features would shrink
    to nothing (in 3DC-Seg's to 0.006 where normalised ones have 1 to 4). An encoder frozen as a whole stays so.
    """
    if recipe.freeze_norm == "encoder" and recipe.optimiser.encoder_rate == 0:
        return recipe.freeze_norm
    found = [(norm.running_mean, norm.running_var) for norm in _kept(network, recipe.freeze_norm)]
    known = [(mean, var) for mean, var in found if mean is not None and var is not None]
    fresh = all(bool((mean == 0).all()) and bool((var == 1).all()) for mean, var in known)
    return "none" if known and fresh else recipe.freeze_norm


def _kept(network: nn.Module, freeze_norm: FreezeNorm) -> list[_BatchNorm]:
    kept = {"none": None, "encoder": describe(network).encoder, "all": network}[freeze_norm]
    return [module for module in kept.modules() if isinstance(module, _BatchNorm)] if kept is not None else []


def freeze(network: nn.Module, recipe: Recipe) -> dict[str, list[nn.Parameter]]:
    """Freeze what the recipe freezes; gives the others, the encoder's and the rest."""
    part = describe(network).encoder
    known = {id(parameter) for parameter in part.parameters()} if part is not None else set()
    groups: dict[str, list[nn.Parameter]] = {"encoder": [], "rest": []}
    for name, parameter in network.named_parameters():
        group = "encoder" if name.startswith("encoder.") or id(parameter) in known else "rest"
        still = group == "encoder" and recipe.optimiser.encoder_rate == 0
        parameter.requires_grad_(not still and not name.startswith(recipe.optimiser.frozen))
        if parameter.requires_grad:
            groups[group].append(parameter)
    return groups


def make_optimiser(parameters: dict[str, list[nn.Parameter]], recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser with two groups: the encoder's parameters and the rest."""
    o = recipe.optimiser
    groups: list[dict[str, Any]] = [
        {"params": parameters["encoder"], "lr": o.encoder_rate},
        {"params": parameters["rest"], "lr": o.rate},
    ]
    if o.name == "sgd":
        return torch.optim.SGD(groups, momentum=o.momentum, weight_decay=o.weight_decay)
    kind = torch.optim.AdamW if o.name == "adamw" else torch.optim.Adam
    return kind(groups, betas=(o.momentum, o.second), weight_decay=o.weight_decay)


def apply_options(optimiser: torch.optim.Optimizer, recipe: Recipe) -> None:
    """Set what a resumed optimiser took from its checkpoint to what the recipe says now."""
    o = recipe.optimiser
    for group in optimiser.param_groups:
        group["weight_decay"] = o.weight_decay
        if "betas" in group:
            group["betas"] = (o.momentum, o.second)
        else:
            group["momentum"] = o.momentum
