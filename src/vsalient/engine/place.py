"""A network made ready for a device: batch norms folded, weights cast and laid out."""

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from vsalient.devices import memory_format
from vsalient.models.network import describe

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
CAST_MODULES = (*CONVOLUTIONS, *TRANSPOSED, nn.Linear, nn.LayerNorm, nn.GroupNorm)
"""Modules whose parameters take the engine's dtype; constants and batch norms stay float32."""


def fold_batch_norms(network: nn.Module) -> int:
    """Fold each batch norm in evaluation mode into the convolution right before it; returns how many.

    Which those are, the network's contract says (`vsalient.models.network.Network.fold_pairs`).
    """
    count = 0
    for parent, first, second in describe(network).fold_pairs():
        convolution, norm = parent.get_submodule(first), parent.get_submodule(second)
        if not isinstance(convolution, (*CONVOLUTIONS, *TRANSPOSED)) or not isinstance(norm, BATCH_NORMS):
            continue
        if norm.running_mean is None:  # normalises by the clip's own statistics: nothing constant to fold
            continue
        setattr(parent, first, fuse_conv_bn_eval(convolution, norm, isinstance(convolution, TRANSPOSED)))
        setattr(parent, second, nn.Identity())
        count += 1
    return count


def place(network: nn.Module, device: torch.device, dtype: torch.dtype, *, reorder: bool) -> None:
    """Move a network to a device, its weights to a dtype and to channels last or not; in place, again if need be."""
    network.to(device)
    for module in network.modules():
        cast_it = dtype != torch.float32 and isinstance(module, CAST_MODULES)
        for parameter in module.parameters(recurse=False):
            data = parameter.data.to(dtype if cast_it else parameter.dtype)
            parameter.data = data.contiguous(memory_format=memory_format(data) if reorder else torch.contiguous_format)
        if cast_it and _cast_input not in module._forward_pre_hooks.values():
            # Constants stay float32, so a sum with one is float32: bring it back before the next weights.
            module.register_forward_pre_hook(_cast_input)


def _cast_input(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    weight = module.weight
    return tuple(x.to(weight.dtype) for x in inputs) if isinstance(weight, Tensor) else inputs
