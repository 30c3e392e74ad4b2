"""3D convolutions as 2D ones over the frames, where PyTorch's own way is slow or unsafe on a CPU.

Two ways to use it; neither changes parameters or state-dict keys, so weights load and save as ever:

* `make_planar(network)` changes every `nn.Conv3d` of a network, in place and for good (the engine, after folding);
  `restore(network)` undoes it.
* `with planar(network): ...` does so for the length of a block (the training loop may hold it open for a whole run:
  gradients, autocast, `copy.deepcopy` and `DistributedDataParallel` work as before).

`conv3d` is the function behind both: it takes what `torch.nn.functional.conv3d` takes, and gives what that gives,
to rounding (1e-5 of the values in float32).

When a convolution is done in which way is decided at each call, from device, dtype, shape and layout:

* **float32 on a CPU.** PyTorch 2.13 hands a convolution to oneDNN only where N > 1, groups > 1, both sides of the
  kernel are above 3, or N·C·T·H > 20480; the rest, nearly all of a decoder that runs clip by clip, falls to a
  `Slow3d` that takes 1.5 to 14 times as long. Those become 2D, k frames of kernel as k 2D convolutions that are
  summed. Milliseconds on one AVX-512 thread (on AVX2), channels last: 16→16, 1×3×3, 8×128×224: 115 → 8.3
  (117 → 10.8); 64→64, 3×3×3, 8×32×56: 109 → 19.5 (105 → 30); 256→64, 1×1×1, 8×60×108: 145 → 18 (163 → 18). One 2D
  convolution to 3·C' channels takes a third longer than the sum, one from 3·C channels as long, with more memory.
* **float32 that oneDNN gets** stays 3D: 3 to 10 times faster depthwise, the same or a little faster elsewhere.
* **bfloat16 and float16 on a CPU** always go to oneDNN, and 3D is up to 1.7 times faster than the sum. But with AMX the
  *backward* pass corrupts memory (torch 2.13.0) for one-frame kernels, and for 3×3×3 ones on few channels and wide
  pictures (16→16 at 160×256): where gradients are recorded dense kernels become 2D, which is well there.
* **Training on a CPU**: a kernel of k frames that keeps the clip's length is one 2D convolution over the channels of k
  frames, with a backward pass of its own: autograd of the sum would fill, copy and add whole clips for each tap.
* **A still that is expanded** to the frames of a kernel (stride 0 in time) is one picture; its kernel is the sum of
  its taps.
* **Other devices** keep their own 3D convolutions.

Transposed convolutions need none of this: those of `dsrfcn3d` have kernels of 4×4, which oneDNN takes.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ONEDNN_ABOVE = 20480
"""N·C·T·H above which PyTorch gives a dense float32 convolution of one clip to oneDNN (`ConvParams::use_mkldnn`)."""

Triple = tuple[int, int, int]
TwoInts = tuple[int, int]


def make_planar(network: nn.Module) -> int:
    """Let every `nn.Conv3d` of a network compute by `conv3d` of this module; returns how many were changed."""
    count = 0
    for module in network.modules():
        if isinstance(module, nn.Conv3d) and not isinstance(module, PlanarConv3d):
            object.__setattr__(module, "__class__", _planar_class(type(module)))
            count += 1
    return count


def restore(network: nn.Module) -> None:
    """Undo `make_planar`."""
    for module in network.modules():
        if isinstance(module, PlanarConv3d):
            object.__setattr__(module, "__class__", type(module).plain)


@contextlib.contextmanager
def planar(network: nn.Module) -> Iterator[nn.Module]:
    """The network with its 3D convolutions done by `conv3d` of this module, as long as the block lasts."""
    ours = [
        module for module in network.modules() if isinstance(module, nn.Conv3d) and not isinstance(module, PlanarConv3d)
    ]
    make_planar(network)
    try:
        yield network
    finally:
        for module in ours:
            restore(module)


def conv3d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | str | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    """What `torch.nn.functional.conv3d` computes, with zeros around the clip.

    Args:
        x: (B, C, T, H, W) or (C, T, H, W).
        weight: (C', C / groups, kt, kh, kw).
        bias: (C',) or None.
        stride: one number, or three with the frames' first, as in what follows.
        padding: zeros on each side, or "same" or "valid".
        dilation: distance of the kernel's elements.
        groups: parts into which the channels fall.

    Returns:
        (B, C', T', H', W').
    """
    if x.dim() == 5 and not isinstance(padding, str) and _one_frame(x, weight, padding):
        rest = _triple(stride)[1:], _triple(padding)[1:], _triple(dilation)[1:], groups
        return F.conv2d(x[:, :, 0], weight.sum(dim=2), bias, *rest).unsqueeze(2)
    if x.dim() != 5 or isinstance(padding, str) or not as_planes(x, weight, groups):
        return F.conv3d(x, weight, bias, stride, padding, dilation, groups)
    return _by_frames(x, weight, bias, _triple(stride), _triple(padding), _triple(dilation), groups)


class PlanarConv3d(nn.Conv3d):
    """A convolution whose class `make_planar` has changed; the instance is what it was."""

    plain: type[nn.Conv3d] = nn.Conv3d

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        padding: str | tuple[int, ...] = self.padding
        if self.padding_mode != "zeros":
            input, padding = F.pad(input, self._reversed_padding_repeated_twice, mode=self.padding_mode), (0, 0, 0)
        return conv3d(input, weight, bias, self.stride, padding, self.dilation, self.groups)


def _planar_class(plain: type[nn.Conv3d]) -> type[PlanarConv3d]:
    """`PlanarConv3d` for instances of a subclass of `nn.Conv3d`, which keep the subclass's own methods."""
    if plain is nn.Conv3d:
        return PlanarConv3d
    return type(plain.__name__, (PlanarConv3d, plain), {"plain": plain, "__module__": plain.__module__})


def as_planes(x: Tensor, weight: Tensor, groups: int) -> bool:
    """Whether `conv3d` goes by frames; the module's text says when."""
    if x.device.type != "cpu":
        return False
    autocast = torch.is_autocast_enabled("cpu")
    dtype = torch.get_autocast_dtype("cpu") if autocast else x.dtype
    if dtype != torch.float32:
        # Which shapes the fault spares cannot be told: few channels and wide pictures suffer with any kernel.
        reduced = dtype in (torch.bfloat16, torch.float16)
        return reduced and torch.is_grad_enabled() and (weight.shape[2] == 1 or groups == 1)
    large = x.shape[0] > 1 or x.shape[0] * x.shape[1] * x.shape[2] * x.shape[3] > ONEDNN_ABOVE
    wide = weight.shape[-1] > 3 and weight.shape[-2] > 3
    # With one thread PyTorch keeps kernels of one position to itself, too, up to 15 clips.
    single = torch.get_num_threads() == 1 and weight.shape[-2:] == (1, 1) and x.shape[0] < 16
    return (single and groups == 1) or not (large or wide or groups > 1)


def _one_frame(x: Tensor, weight: Tensor, padding: int | Sequence[int]) -> bool:
    """Whether all frames that a kernel meets are views of one (`Tensor.expand`), as in a still without an end."""
    frames = x.shape[2]
    return 1 < frames == weight.shape[2] and x.stride(2) == 0 and _triple(padding)[0] == 0


def _by_frames(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Triple, padding: Triple, dilation: Triple, groups: int
) -> Tensor:
    frames = x.shape[2]
    reach = dilation[0] * (weight.shape[2] - 1) + 1
    count = (frames + 2 * padding[0] - reach) // stride[0] + 1
    if weight.shape[2:] == (1, 1, 1) and stride == (1, 1, 1) and padding == (0, 0, 0) and x.is_contiguous():
        # All frames below each other are one picture, without a copy; as pictures of their own they would need one.
        flat = F.conv2d(x.flatten(2, 3), weight[:, :, 0], bias, groups=groups)
        return flat.view(*flat.shape[:2], *x.shape[2:])
    same = stride[0] == dilation[0] == groups == 1 and weight.shape[2] == 2 * padding[0] + 1
    if torch.is_grad_enabled() and padding[0] and same and frames > padding[0]:
        return _stacked(x, weight, bias, stride, padding, dilation)
    taps = []  # (frame of the kernel, first output, outputs) that meet frames of the clip, not the zeros around it
    for tap in range(weight.shape[2]):
        offset = tap * dilation[0] - padding[0]  # output t reads frame t·stride + offset
        first = max(0, -(offset // stride[0]))
        last = min(count - 1, (frames - 1 - offset) // stride[0])
        if last >= first:
            taps.append((tap, first, last + 1))
    taps.sort(key=lambda span: span[1] - span[2])  # the longest first: the others are added to it
    if count < 1 or not taps or taps[0][2] - taps[0][1] < count:
        # No frame of the kernel meets every output (a clip shorter than its reach): rare, and never in our networks.
        return F.conv3d(x, weight, bias, stride, padding, dilation, groups)
    total: Tensor | None = None
    for tap, first, end in taps:
        start = first * stride[0] + tap * dilation[0] - padding[0]
        seen = x[:, :, start : start + (end - first - 1) * stride[0] + 1 : stride[0]]
        rest = stride[1:], padding[1:], dilation[1:], groups
        part = F.conv2d(pictures_of(seen), weight[:, :, tap], bias if total is None else None, *rest)
        part = part.view(x.shape[0], end - first, *part.shape[1:])
        if total is None:
            total = part
        elif end - first == count:
            total += part
        else:
            total[:, first:end] += part
    assert total is not None
    return total.transpose(1, 2)


def pictures_of(x: Tensor) -> Tensor:
    """(B, C, T, H, W) → (B·T, C, H, W); in channels last the frames of one clip lie one behind the other: no copy."""
    return x.transpose(1, 2).flatten(0, 1)


def _stacked(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Triple, padding: Triple, dilation: Triple
) -> Tensor:
    """A kernel of k frames as one 2D convolution over the channels of k frames, for training."""
    if torch.is_autocast_enabled("cpu"):
        dtype = torch.get_autocast_dtype("cpu")
        x, weight, bias = x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
    with torch.autocast("cpu", enabled=False):
        out = _FrameStack.apply(x, weight, bias, stride[1:], padding[1:], dilation[1:])  # type: ignore[no-untyped-call]
    return cast(Tensor, out).view(x.shape[0], x.shape[2], *out.shape[1:]).transpose(1, 2)


class _FrameStack(torch.autograd.Function):
    """(B, C, T, H, W) and (C', C, k, kh, kw), k odd, to (B·T, C', H', W'), with zeros before and after the clip."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: TwoInts, padding: TwoInts, dilation: TwoInts
    ) -> Tensor:
        frames, reach = x.shape[2], weight.shape[2] // 2
        source = x.permute(0, 2, 3, 4, 1)  # channels last, as CPUs' convolutions want them
        stack = x.new_empty(*source.shape[:4], weight.shape[2], x.shape[1])
        for tap, shift in enumerate(range(-reach, reach + 1)):
            first, end = max(0, -shift), min(frames, frames - shift)
            stack[:, first:end, :, :, tap] = source[:, first + shift : end + shift]
            stack[:, :first, :, :, tap] = 0
            stack[:, end:, :, :, tap] = 0
        pictures = stack.flatten(4).flatten(0, 1).permute(0, 3, 1, 2)
        kernel = weight.transpose(1, 2).flatten(1, 2)
        ctx.save_for_backward(pictures, kernel)
        ctx.shape, ctx.biased, ctx.rest = x.shape, bias is not None, (stride, padding, dilation)
        return F.conv2d(pictures, kernel, bias, stride, padding, dilation)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        pictures, kernel = ctx.saved_tensors
        batch, channels, frames, height, width = ctx.shape
        taps = kernel.shape[1] // channels
        wanted = [ctx.needs_input_grad[0], ctx.needs_input_grad[1], ctx.biased and ctx.needs_input_grad[2]]
        to_x, to_kernel, to_bias = torch.ops.aten.convolution_backward(
            gradient, pictures, kernel, [kernel.shape[0]], *ctx.rest, False, [0, 0], 1, wanted
        )
        if to_x is not None:
            parts = to_x.permute(0, 2, 3, 1).reshape(batch, frames, height, width, taps, channels)
            total = parts[:, :, :, :, taps // 2].clone()
            for tap, shift in enumerate(range(-(taps // 2), taps // 2 + 1)):
                first, end = max(0, -shift), min(frames, frames - shift)
                if shift:
                    total[:, first + shift : end + shift] += parts[:, first:end, :, :, tap]
            to_x = total.permute(0, 4, 1, 2, 3)
        if to_kernel is not None:
            to_kernel = to_kernel.unflatten(1, (taps, channels)).transpose(1, 2)
        return to_x, to_kernel, to_bias, None, None, None


def _triple(value: int | Sequence[int]) -> Triple:
    return (value, value, value) if isinstance(value, int) else cast(Triple, tuple(value))
