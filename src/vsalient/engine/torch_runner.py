"""PyTorch as a runner: one network placed on one device in one dtype."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vsalient.devices import dtype_name, memory_format
from vsalient.engine import failures, onednn, policy
from vsalient.engine.place import fold_batch_norms, place
from vsalient.engine.precision import full_float32
from vsalient.engine.runner import Features, Probabilities
from vsalient.errors import DeviceError
from vsalient.models.network import Network
from vsalient.models.planar import make_planar


class TorchRunner:
    """A network made ready by PyTorch; see `vsalient.engine.runner.Runner`. `choose.py` decides where and how.

    Args:
        network: taken over: put in evaluation mode and changed in place.
        device: where it goes.
        dtype: what its weights become.
        fuse: fold batch norms into their convolutions.
        exact: nothing folded, reordered or rewritten.
        kind: the kind of device whose policy counts; None for the device's own.
        reason: why this device and dtype, for the description.

    Raises:
        RuntimeError: whatever PyTorch raises where the network does not fit the device.
    """

    def __init__(
        self,
        network: Network,
        device: torch.device,
        dtype: torch.dtype,
        *,
        fuse: bool = True,
        exact: bool = False,
        kind: str | None = None,
        reason: str = "asked for",
    ) -> None:
        module = network.module.eval().requires_grad_(False)
        self._device, self._dtype, self.exact = device, dtype, exact
        self.device, self.dtype = str(device), dtype_name(dtype)
        self.folded = fold_batch_norms(module) if fuse and not exact else 0
        if not exact:
            make_planar(module)
            if fuse and device.type == "cpu":
                onednn.fuse(module, dtype, keep=network.encode is not None)
        self._reorder = policy.POLICIES[kind or device.type].reorder and not exact
        place(module, device, dtype, reorder=self._reorder)
        self._network = network
        self.name, self.priors = type(module).__name__, network.priors
        self.per_frame = network.encode is not None
        self._pinned = device.type == "cuda" and torch.cuda.is_available()
        self.reason = reason

    @property
    def description(self) -> str:
        """One line: device, dtype and why."""
        notes = [f"{self.folded} batch norms folded"] * bool(self.folded) + ["channels last"] * self._reorder
        kind = f"{self.dtype} without TF32" if self._device.type == "cuda" and self.full else self.dtype
        return "; ".join([f"{policy.named(self._device)}, {kind}: {self.reason}", *notes])

    def lay_out(self, *, reorder: bool) -> None:
        """Put weights and inputs into channels last, or contiguous."""
        self._reorder = reorder
        place(self._network.module, self._device, self._dtype, reorder=reorder)

    @property
    def full(self) -> bool:
        """Whether it computes in float32."""
        return self._dtype == torch.float32

    def encode(self, frames: Tensor, priors: Mapping[str, Tensor]) -> list[Features]:
        """See `Runner`; a frame's features are its tensors (1, C, h, w) on the device."""
        assert self._network.encode is not None
        with self._computing():
            # On a CPU one frame after the other: its features stay in the cache from one layer to the next.
            step = len(frames) if self.exact or self._device.type != "cpu" else 1
            found: list[Features] = []
            for at in range(0, len(frames), step):
                part = slice(at, at + step)
                maps = self._maps({name: values[part] for name, values in priors.items()})
                batch = self._network.encode(self._pixels(frames[part]), **maps)
                found += [tuple(level[slot : slot + 1] for level in batch) for slot in range(step)]
            return found

    def decode(self, features: Sequence[Features]) -> Probabilities:
        """See `Runner`."""
        assert self._network.decode is not None
        with self._computing():
            levels = zip(*features, strict=True)
            return self._fetch(self._network.decode(tuple(torch.cat(level)[None] for level in levels)))

    def whole(self, clip: Tensor, priors: Mapping[str, Tensor]) -> Probabilities:
        """See `Runner`."""
        with self._computing():
            return self._fetch(self._network.forward(self._pixels(clip), **self._maps(priors)))

    def explain(self, error: Exception, clip: str) -> DeviceError | None:
        """See `Runner`."""
        return failures.explain(error, self._device, self.dtype, clip)

    def release(self) -> None:
        """See `Runner`."""
        failures.free(self._device)

    @contextlib.contextmanager
    def _computing(self) -> Iterator[None]:
        precision = full_float32(self._device, deterministic=self.exact) if self.full else contextlib.nullcontext()
        with torch.inference_mode(), precision:
            yield

    def _pixels(self, pixels: Tensor) -> Tensor:
        return self._ordered(self._sent(pixels).float().div_(255))

    def _maps(self, priors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: self._ordered(self._sent(priors[name]).float()) for name in self.priors}

    def _sent(self, x: Tensor) -> Tensor:
        """The tensor on the device. From pinned memory CUDA copies while this thread goes on."""
        if self._pinned:  # no stream of its own: a clip's 10 MB at 480p take less than a millisecond
            x = x.pin_memory()
        return x.to(self._device, non_blocking=self._pinned)

    def _ordered(self, x: Tensor) -> Tensor:
        return x.contiguous(memory_format=memory_format(x) if self._reorder else torch.contiguous_format)

    def _fetch(self, logits: Tensor) -> Probabilities:
        maps = self._network.probability(logits.float())[0].float().contiguous()  # (T, h, w)
        if not self._pinned:
            return to_numpy(maps)
        there = torch.empty(maps.shape, dtype=maps.dtype, pin_memory=True)
        there.copy_(maps, non_blocking=True)
        done = torch.cuda.Event()  # type: ignore[no-untyped-call]
        done.record()

        def wait() -> NDArray[np.float32]:
            done.synchronize()
            return to_numpy(there).copy()  # pinned memory is dear: it goes back at once

        return wait


def to_numpy(maps: Tensor) -> NDArray[np.float32]:
    """A float32 tensor of any device as an array in the CPU's memory."""
    array: NDArray[np.float32] = maps.cpu().numpy()
    return array
