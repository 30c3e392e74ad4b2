"""Channels last or contiguous, where nobody knows which is faster: two timed clips decide."""

import time
from collections.abc import Mapping

from torch import Tensor, nn

from vsalient.engine.torch_runner import TorchRunner

LEAST_GAIN = 1.05
"""How many times as fast contiguous memory must be to be taken: below that the clock may be all that differs."""


def has_depthwise_3d(module: nn.Module) -> bool:
    """Whether a network has 3D convolutions of one channel a group.

    In channels last PyTorch gives these to cuDNN on CUDA, whatever cuDNN makes of them; its own kernel for them takes
    contiguous tensors only (`use_cudnn_depthwise` in ATen). ir-CSN, the encoder of 3dc-seg, consists of them.
    """
    return any(isinstance(part, nn.Conv3d) and part.groups > 1 and part.groups == part.in_channels
               for part in module.modules())  # fmt: skip


def settle(runner: TorchRunner, clip: Tensor, priors: Mapping[str, Tensor]) -> None:
    """Leave a runner in the layout that is faster on a clip (1, 3, T, h, w) uint8, and let its `reason` say so."""
    usual = _seconds(runner, clip, priors)
    runner.lay_out(reorder=False)
    contiguous = _seconds(runner, clip, priors)
    if contiguous * LEAST_GAIN > usual:
        runner.lay_out(reorder=True)
        return
    runner.reason += f", contiguous memory ({usual / contiguous:.1f} times as fast on two timed clips)"


def _seconds(runner: TorchRunner, clip: Tensor, priors: Mapping[str, Tensor]) -> float:
    """The shorter of two runs, after one that lets the libraries choose their kernels."""
    times = []
    for _ in range(3):
        begun = time.perf_counter()
        maps = runner.whole(clip, priors)
        if callable(maps):
            maps()
        times.append(time.perf_counter() - begun)
    return min(times[1:])


def larger(clip: Tensor, priors: Mapping[str, Tensor], frames: int) -> tuple[Tensor, dict[str, Tensor]]:
    """A sample repeated to clips of a size at which speed can be told: 4 times in height and width, `frames` long."""

    def repeated(x: Tensor) -> Tensor:
        return x.repeat(1, 1, -(-frames // x.shape[2]), 4, 4)[:, :, : max(frames, x.shape[2])]

    return repeated(clip), {name: repeated(values) for name, values in priors.items()}
