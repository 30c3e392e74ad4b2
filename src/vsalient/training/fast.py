"""Faster training steps that compute the same: convolutions with their fixed batch norms, planes, frozen parts.

`prepare` changes a network in place, once, before training. Parameters, buffers and state-dict keys stay as they are,
and every choice is made anew at each call, so that the network may go between training and evaluation as ever:

* A convolution whose batch norm is in evaluation mode takes it into its own weights, w·γ/√(σ² + ε) and
  β − μ·γ/√(σ² + ε), computed from the parameters each time: γ and β are still trained, but the two passes over the
  feature maps that the norm would take forwards and backwards, a quarter of a step, are gone.
* 3D convolutions go by `vsalient.models.planar`: in bfloat16 on CPUs as 2D ones, without which it corrupts memory on
  AMX; transposed ones stay in float32 there for the same reason.
* What is frozen from the input on runs without recording gradients, and so in the form that inference uses.
* Weights lie channels last on CPUs, as their kernels want them.
"""

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from vsalient.devices import memory_format
from vsalient.models.network import describe
from vsalient.models.planar import PlanarConv3d, make_planar
from vsalient.models.planar import conv3d as planar_conv3d


class _Folding(nn.Module):
    """What `prepare` makes of a convolution: its batch norm stands in its dictionary, not among its modules."""

    def forward(self, x: Tensor) -> Tensor:
        norm: _BatchNorm = self.__dict__["folded"]
        weight, bias = self.weight, self.bias
        assert isinstance(weight, Tensor) and (bias is None or isinstance(bias, Tensor))
        if not norm.training:
            mean, variance = norm.running_mean, norm.running_var
            assert mean is not None and variance is not None
            scale = torch.rsqrt(variance + norm.eps)
            if norm.affine:
                scale = scale * norm.weight
            weight = weight * scale.view(-1, *[1] * (weight.dim() - 1))
            shift = -mean * scale if bias is None else (bias - mean) * scale
            bias = shift + norm.bias if norm.affine else shift
        return self._convolve(x, weight, bias)

    def _convolve(self, x: Tensor, weight: Tensor, bias: Any) -> Tensor:
        raise NotImplementedError


class _Folding2d(_Folding, nn.Conv2d):
    def _convolve(self, x: Tensor, weight: Tensor, bias: Any) -> Tensor:
        return F.conv2d(x, weight, bias, self.stride, self.padding, self.dilation, self.groups)


class _Folding3d(_Folding, PlanarConv3d):
    def _convolve(self, x: Tensor, weight: Tensor, bias: Any) -> Tensor:
        return planar_conv3d(x, weight, bias, self.stride, self.padding, self.dilation, self.groups)


class _FullTransposed(nn.ConvTranspose3d):
    """A transposed convolution in float32 on CPUs: in bfloat16 its backward pass corrupts memory on AMX too."""

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        if input.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
            return super().forward(input, output_size)
        with torch.autocast("cpu", enabled=False):
            return super().forward(input.float(), output_size).to(torch.get_autocast_dtype("cpu"))


class _Folded(_BatchNorm):
    """A batch norm whose convolution does its work in evaluation mode."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input) if self.training else input


class _Folded2d(_Folded, nn.BatchNorm2d):
    pass


class _Folded3d(_Folded, nn.BatchNorm3d):
    pass


FORMS: dict[type[nn.Module], type[nn.Module]] = {
    nn.Conv2d: _Folding2d,
    PlanarConv3d: _Folding3d,
    nn.BatchNorm2d: _Folded2d,
    nn.BatchNorm3d: _Folded3d,
}
"""What a convolution or batch norm becomes; subclasses of theirs are left alone."""


def prepare(network: nn.Module) -> None:
    """Let a network train as the module's text says; parts that are frozen must be so already."""
    make_planar(network)
    for module in network.modules():
        if type(module) is nn.ConvTranspose3d:
            object.__setattr__(module, "__class__", _FullTransposed)
    for parent, first, second in describe(network).fold_pairs():
        convolution, norm = getattr(parent, first), getattr(parent, second)
        forms = FORMS.get(type(convolution)), FORMS.get(type(norm))
        if None in forms or not isinstance(norm, _BatchNorm) or norm.running_mean is None:
            continue
        if getattr(convolution, "padding_mode", "zeros") != "zeros":
            continue
        convolution.__dict__["folded"] = norm
        for module, form in zip((convolution, norm), forms, strict=True):
            object.__setattr__(module, "__class__", form)
    for parameter in network.parameters():
        parameter.data = parameter.data.contiguous(memory_format=layout(parameter.data))
    _spare(network)


def layout(x: Tensor) -> torch.memory_format:
    """How clips, pictures and weights lie in memory: channels last on CPUs, else as they come."""
    return memory_format(x) if x.device.type == "cpu" else torch.contiguous_format


def _spare(module: nn.Module) -> None:
    """Hooks on the largest frozen parts, so that they record nothing where their input needs no gradient."""
    parameters = list(module.parameters())
    if parameters and not any(p.requires_grad for p in parameters):
        before: list[bool] = []
        module.register_forward_pre_hook(functools.partial(_enter, before))
        module.register_forward_hook(functools.partial(_leave_fast, before), always_call=True)
        return
    for child in module.children():
        _spare(child)


def _enter(before: list[bool], module: nn.Module, inputs: tuple[Any, ...]) -> None:
    before.append(torch.is_grad_enabled())
    moving = any(isinstance(m, _BatchNorm) and m.training for m in module.modules())
    if not moving and not any(isinstance(x, Tensor) and x.requires_grad for x in inputs):
        torch.set_grad_enabled(False)


def _leave_fast(before: list[bool], module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
    if before:
        torch.set_grad_enabled(before.pop())
