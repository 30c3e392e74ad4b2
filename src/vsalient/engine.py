"""A network on a device: dtype, folded batch norm, memory format, cached frame features → probabilities.

The default trades the last digits for speed where that is safe (docs/models/3dc-seg.md has the numbers);
`exact` is the plain float32 path, without folding or reordered memory.
"""

import contextlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from vsalient.devices import DtypeName, device_name, dtype_name, memory_format, resolve_device, resolve_dtype
from vsalient.errors import DeviceError, OptionError
from vsalient.models.planar import make_planar

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
CAST_MODULES = (*CONVOLUTIONS, *TRANSPOSED, nn.Linear, nn.LayerNorm, nn.GroupNorm)
"""Modules whose parameters take the engine's dtype; constants and batch norms stay float32."""


class SaliencyNetwork(Protocol):
    """What every network of `vsalient.models` offers."""

    def __call__(self, clip: Tensor, **priors: Tensor) -> Tensor:
        """(B, 3, T, H, W) float in [0, 1], and priors (B, 1, T, H, W) -> logits."""
        ...

    def probability(self, logits: Tensor) -> Tensor:
        """Logits -> (B, T, H, W) in [0, 1]."""
        ...


class PerFrameNetwork(SaliencyNetwork, Protocol):
    """A network whose encoder sees one frame at a time, so that its features serve several clips."""

    def encode(self, frames: Tensor, **priors: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W) float in [0, 1], and priors (N, 1, H, W) -> features (N, C, h, w), any number of them."""
        ...

    def decode(self, features: tuple[Tensor, ...]) -> Tensor:
        """Features (B, T, C, h, w), as many as `encode` gives -> logits."""
        ...


class Engine:
    """Runs a network on clips. Not thread-safe: one thread calls `run`.

    Args:
        network: one of `vsalient.models`. The engine takes it over: it is put in evaluation mode and changed
            in place (batch norms folded, weights cast and reordered). Hand over a copy to keep the original.
        device: "auto" (CUDA, else MPS, else CPU), "cpu", "cuda", "cuda:N" or "mps".
        dtype: "auto" is bfloat16 where the device is fast at it and a self-check passes, else float32.
        fuse: fold batch norms into their convolutions (changes results by rounding only, about 1e-6).
        exact: float32, nothing folded, contiguous memory, no TF32: what the network's definition says.

    Raises:
        DeviceError: the device is not there, or cannot do the dtype.
        OptionError: an unknown device or dtype, or `exact` with a reduced dtype.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        device: str = "auto",
        dtype: DtypeName = "auto",
        fuse: bool = True,
        exact: bool = False,
        flip: bool = False,
    ) -> None:
        if exact and dtype not in ("auto", "float32"):
            raise OptionError(f"exact means float32, not {dtype}; leave one of the two out")
        self.device = resolve_device(device)
        reorder = not exact and self.device.type != "mps"
        if exact:
            self.dtype, reason = torch.float32, "exact: nothing folded or reordered"
        else:
            self.dtype, reason = resolve_dtype(dtype, self.device)
        network.eval().requires_grad_(False)
        folded = fold_batch_norms(network) if fuse and not exact else 0
        if not exact:
            make_planar(network)
        _place(network, self.device, self.dtype, reorder=reorder)
        notes = [f"{folded} batch norms folded"] * bool(folded) + ["channels last"] * reorder + ["mirrored too"] * flip
        self.description = "; ".join([f"{device_name(self.device)}, {dtype_name(self.dtype)}: {reason}", *notes])
        """One line: device, dtype and why."""
        self.exact = exact
        self._reorder = reorder
        self._network = cast(SaliencyNetwork, network)
        self._per_frame = cast(PerFrameNetwork, network) if hasattr(network, "encode") else None
        self._priors: tuple[str, ...] = tuple(getattr(network, "priors", ()))
        self._sides = [_Side(mirrored) for mirrored in ((False, True) if flip else (False,))]

    def reset(self) -> None:
        """Forget all frames: call it between videos, since features are kept by frame index."""
        self._sides = [_Side(side.mirrored) for side in self._sides]

    def run(
        self,
        frames: Sequence[Tensor],
        indices: Sequence[int],
        outputs: Sequence[int] | None = None,
        priors: Mapping[str, Sequence[Tensor]] | None = None,
    ) -> NDArray[np.float32]:
        """Compute one clip's foreground probabilities.

        Args:
            frames: T tensors (3, h, w), uint8 RGB, all of one size that suits the network (see `Geometry`).
            indices: the frames' indices in their video. They may repeat, and never fall back behind the clips
                before: features of frames before the smallest index are dropped.
            outputs: the slots whose maps are wanted, all when None.
            priors: for each of the network's priors T tensors (1, h, w), float in [0, 1].

        Returns:
            (len(outputs), h, w) float32 in [0, 1].

        Raises:
            DeviceError: the device ran out of memory, or the dtype failed; says what to try.
            OptionError: the network needs a prior that was not given.
        """
        assert len(frames) == len(indices) > 0
        missing = [name for name in self._priors if name not in (priors or {})]
        if missing:
            raise OptionError(f"{type(self._network).__name__} needs the prior {', '.join(missing)} with each clip")
        try:
            with torch.inference_mode(), self._numerics():
                maps = self._one_side(self._sides[0], frames, indices, priors or {})
                for side in self._sides[1:]:
                    maps = (maps + self._one_side(side, frames, indices, priors or {})) / np.float32(2)
        except RuntimeError as error:
            expected = self._explain(error, frames)
            if expected is None:
                raise
            raise expected from error
        if not np.isfinite(maps).all():
            raise DeviceError(
                f"the network gave values that are not numbers in {dtype_name(self.dtype)}; "
                + ("the weights are broken, fetch them again" if self._full else "try dtype float32")
            )
        if outputs is None or len(maps) != len(indices):
            return maps
        return maps[list(outputs)]

    @property
    def _full(self) -> bool:
        return self.dtype == torch.float32

    def _one_side(
        self, side: "_Side", frames: Sequence[Tensor], indices: Sequence[int], priors: Mapping[str, Sequence[Tensor]]
    ) -> NDArray[np.float32]:
        if side.mirrored:
            frames = [frame.flip(-1) for frame in frames]
            priors = {name: [prior.flip(-1) for prior in maps] for name, maps in priors.items()}
        if self._per_frame is not None:
            maps = self._probability(self._decode(side, self._per_frame, frames, indices, priors))
        else:
            maps = self._whole_clip(side, frames, priors)
        return np.ascontiguousarray(maps[..., ::-1]) if side.mirrored else maps

    def _whole_clip(
        self, side: "_Side", frames: Sequence[Tensor], priors: Mapping[str, Sequence[Tensor]]
    ) -> NDArray[np.float32]:
        pixels = torch.stack(tuple(frames), dim=1)[None]  # (1, 3, T, h, w) uint8
        # A still stretch of video: comparing costs a thousandth of running.
        if side.last is not None and not priors and torch.equal(side.last[0], pixels):
            return side.last[1].copy()
        extra = {
            name: self._ordered(torch.stack(tuple(priors[name]), dim=1)[None].to(self.device).float())
            for name in self._priors
        }
        maps = self._probability(self._network(self._ordered(self._unit(pixels)), **extra))
        side.last = None if priors else (pixels, maps.copy())
        return maps

    def _decode(
        self,
        side: "_Side",
        network: PerFrameNetwork,
        frames: Sequence[Tensor],
        indices: Sequence[int],
        priors: Mapping[str, Sequence[Tensor]],
    ) -> Tensor:
        if side.frame_shape != frames[0].shape:
            side.features.clear()
            side.frame_shape = frames[0].shape
        first = min(indices)
        features = side.features = {index: kept for index, kept in side.features.items() if index >= first}
        new = {index: slot for slot, index in enumerate(indices) if index not in features}
        if new:
            extra = {
                name: self._ordered(torch.stack([priors[name][slot] for slot in new.values()]).to(self.device).float())
                for name in self._priors
            }
            pixels = self._unit(torch.stack([frames[slot] for slot in new.values()]))
            batch = network.encode(self._ordered(pixels), **extra)
            for place, index in enumerate(new):
                features[index] = tuple(level[place : place + 1] for level in batch)
        levels = zip(*(features[index] for index in indices), strict=True)
        logits = network.decode(tuple(torch.cat(level)[None] for level in levels))  # each (1, T, C, h, w)
        # Clips that interleave (a frame interval above 1) reach further back than one clip, but not for ever.
        for index in list(features)[: -4 * len(indices)]:
            del features[index]
        return logits

    def _unit(self, pixels: Tensor) -> Tensor:
        return pixels.to(self.device).float().div_(255)

    def _ordered(self, x: Tensor) -> Tensor:
        return x.contiguous(memory_format=memory_format(x) if self._reorder else torch.contiguous_format)

    def _probability(self, logits: Tensor) -> NDArray[np.float32]:
        maps = self._network.probability(logits.float())[0].float().cpu().numpy()  # (T, h, w)
        return cast(NDArray[np.float32], np.ascontiguousarray(maps))

    def _numerics(self) -> contextlib.AbstractContextManager[object]:
        if self.exact and self.device.type == "cuda":
            return torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)
        return contextlib.nullcontext()

    def _explain(self, error: RuntimeError, frames: Sequence[Tensor]) -> DeviceError | None:
        text = str(error)
        if isinstance(error, torch.cuda.OutOfMemoryError) or ("memory" in text and "alloc" in text.lower()):
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            height, width = frames[0].shape[1:]
            elsewhere = "" if self.device.type == "cpu" else ", or device cpu"
            return DeviceError(
                f"{self.device} ran out of memory on a clip of {len(frames)} frames at {width}×{height}; "
                f"try a smaller size or shorter clips{elsewhere}"
            )
        if "not implemented for" in text and not self._full:
            why = text.splitlines()[0]
            return DeviceError(f"{self.device} lacks an operation in a reduced dtype ({why}); try dtype float32")
        return None


@dataclass
class _Side:
    """What is remembered of a video as it is, or of its mirror image."""

    mirrored: bool
    features: dict[int, tuple[Tensor, ...]] = field(default_factory=dict)
    frame_shape: torch.Size | None = None
    last: tuple[Tensor, NDArray[np.float32]] | None = None


def fold_batch_norms(network: nn.Module) -> int:
    """Fold each batch norm in evaluation mode into the convolution right before it; returns how many.

    Pairs are neighbours in an `nn.Sequential`, or named by a module's class attribute
    `fold = ((convolution, norm), ...)`; nothing else may read the convolution's output.
    """
    count = 0
    for parent in list(network.modules()):
        for first, second in _pairs(parent):
            convolution, norm = getattr(parent, first), getattr(parent, second)
            if not isinstance(convolution, (*CONVOLUTIONS, *TRANSPOSED)) or not isinstance(norm, BATCH_NORMS):
                continue
            if norm.running_mean is None:  # normalises by the clip's own statistics: nothing constant to fold
                continue
            fused = fuse_conv_bn_eval(convolution, norm, isinstance(convolution, TRANSPOSED))
            setattr(parent, first, fused)
            setattr(parent, second, nn.Identity())
            count += 1
    return count


def _pairs(parent: nn.Module) -> Iterator[tuple[str, str]]:
    yield from getattr(parent, "fold", ())
    if isinstance(parent, nn.Sequential):
        names = [name for name, _ in parent.named_children()]
        yield from itertools.pairwise(names)


def _place(network: nn.Module, device: torch.device, dtype: torch.dtype, *, reorder: bool) -> None:
    network.to(device)
    for module in network.modules():
        cast_it = dtype != torch.float32 and isinstance(module, CAST_MODULES)
        for parameter in module.parameters(recurse=False):
            data = parameter.data.to(dtype if cast_it else parameter.dtype)
            parameter.data = data.contiguous(memory_format=memory_format(data)) if reorder else data
        if cast_it:
            # Constants stay float32, so a sum with one is float32: bring it back before the next weights.
            module.register_forward_pre_hook(_cast_input)


def _cast_input(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    weight = module.weight
    return tuple(x.to(weight.dtype) for x in inputs) if isinstance(weight, Tensor) else inputs
