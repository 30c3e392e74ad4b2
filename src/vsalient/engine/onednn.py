"""Convolutions by oneDNN itself: their activations computed with them, their weights ordered once for all frames.

A picture's features are larger than a core's cache: what a ReLU costs after a convolution is reading and writing all of
it again. On one AMX thread 16→96 channels, 1×1, at 128×224 take 3.7 ms with a ReLU6 behind it and 0.5 ms with one in
it (bfloat16; 4.6 and 1.8 in float32), with the same values. And weights that PyTorch orders anew for each call cost as
much as the work where pictures are small: 1152→320 at 8×14 0.28 ms, ordered before 0.13.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vsalient.devices import cpu_bfloat16
from vsalient.models.planar import PlanarConv3d, as_planes, conv3d, pictures_of

_KINDS: dict[str, tuple[str, list[float]]] = {
    "none": ("none", []),
    "relu": ("relu", []),
    "relu6": ("hardtanh", [0.0, 6.0]),
}
"""Activation -> oneDNN's name for it and its numbers."""


class Fused2d(nn.Conv2d):
    """A convolution whose class `fuse` has changed; the instance is what it was, and has an `activation`."""

    activation: str
    ordered: "dict[torch.Size, Tensor] | None"  # by the input's shape; None where weights are not kept a second time

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return _convolve(self, input, weight, bias)


class Fused3d(PlanarConv3d):
    """The same of three dimensions, by frames where that is faster."""

    activation: str
    ordered: "dict[torch.Size, Tensor] | None"

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if not as_planes(input, weight, self.groups):
            return _convolve(self, input, weight, bias)
        stride, padding, dilation = self.stride, _numbers(self.padding), self.dilation
        if weight.shape[2] == 1 and stride[0] == 1 and padding[0] == 0:
            rest = stride[1:], padding[1:], dilation[1:], self.groups
            flat = _pointwise(self.activation, pictures_of(input), weight[:, :, 0], bias, *rest)
            return flat.view(input.shape[0], input.shape[2], *flat.shape[1:]).transpose(1, 2)
        found = conv3d(input, weight, bias, stride, padding, dilation, self.groups)
        if self.activation == "none":
            return found
        return F.relu6(found, inplace=True) if self.activation == "relu6" else F.relu(found, inplace=True)


_FORMS: dict[type[nn.Module], type[nn.Module]] = {nn.Conv2d: Fused2d, PlanarConv3d: Fused3d}
"""What a convolution becomes; subclasses are left alone."""


def fuse(network: nn.Module, dtype: torch.dtype, *, keep: bool) -> int:
    """Hand a network's convolutions to oneDNN, for inference on a CPU; in place.

    Activations move into them where a module says `activation` ("relu" or "relu6"), has it switched on by `act`, and
    its batch norm was folded away; `act` is switched off.

    Args:
        network: on the CPU, batch norms folded.
        dtype: of its weights.
        keep: keep the weights in oneDNN's order beside PyTorch's, which a network that runs frame by frame needs.

    Returns:
        How many were changed: none where this PyTorch or this CPU cannot.
    """
    if not possible(dtype):
        return 0
    kinds: dict[nn.Module, str] = {}
    for module in network.modules():
        kind = getattr(module, "activation", None)
        if kind in _KINDS and getattr(module, "act", False) and isinstance(module.norm, nn.Identity):
            assert isinstance(module.conv, nn.Module)
            kinds[module.conv] = kind
            module.act = False  # type: ignore[assignment]
    count = 0
    for convolution in network.modules():
        ours = _FORMS.get(type(convolution))
        plain = getattr(convolution, "padding_mode", "") == "zeros" and not isinstance(convolution.padding, str)
        if ours is None or not plain:
            assert convolution not in kinds
            continue
        object.__setattr__(convolution, "__class__", ours)
        convolution.activation = kinds.get(convolution, "none")  # type: ignore[assignment]
        convolution.ordered = {} if keep else None  # type: ignore[assignment]
        count += 1
    return count


@lru_cache
def possible(dtype: torch.dtype) -> bool:
    """Whether PyTorch's operation is there, and gives on this CPU what it should."""
    there = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if not there or dtype not in (torch.float32, torch.bfloat16):
        return False
    if dtype == torch.bfloat16 and cpu_bfloat16() is None:
        return False
    x = torch.linspace(-9, 9, 16 * 6 * 5).view(1, 16, 6, 5).to(dtype)
    weight = torch.linspace(-1, 1, 16 * 16).view(16, 16, 1, 1).to(dtype)
    try:  # a private operation of PyTorch, though the one that its own compiler uses
        found = _pointwise("relu6", x, weight, None, (1, 1), (0, 0), (1, 1), 1)
    except (RuntimeError, AttributeError):
        return False
    return bool(torch.allclose(found.float(), F.relu6(F.conv2d(x, weight)).float(), atol=0.05))


def _convolve(convolution: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    rest = convolution.stride, convolution.padding, convolution.dilation, convolution.groups
    if convolution.ordered is not None:
        if x.shape not in convolution.ordered:
            order: Any = torch.ops.mkldnn._reorder_convolution_weight
            stride, padding, dilation, groups = rest
            convolution.ordered.clear()  # another size, another video
            convolution.ordered[x.shape] = order(weight, padding, stride, dilation, groups, x.shape)
        weight = convolution.ordered[x.shape]
    return _pointwise(convolution.activation, x, weight, bias, *rest)


def _pointwise(
    kind: str,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Tensor:
    name, numbers = _KINDS[kind]
    run: Any = torch.ops.mkldnn._convolution_pointwise
    found: Tensor = run(x, weight, bias, padding, stride, dilation, groups, name, numbers, "")
    return found


def _numbers(padding: str | tuple[int, ...]) -> tuple[int, ...]:
    assert not isinstance(padding, str)
    return padding
