"""The seam between the engine and whatever computes: PyTorch on a device, or another library.

A runner holds one network made ready. It gets pixels as they are decoded and gives probabilities in the CPU's memory;
what it keeps in between (features on a device, compiled models) is its own affair, and the engine only passes it on.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vsalient.errors import DeviceError

Features = Any
"""One frame's features: whatever the runner's `encode` made and its `decode` takes."""
Probabilities = NDArray[np.float32] | Callable[[], NDArray[np.float32]]
"""Probabilities (T, h, w), ready; or to be called for, which waits for a device that is still at work."""


class Runner(Protocol):
    """One network, ready to run.

    Attributes:
        name: the network's, for messages.
        device: where it runs: "cpu", "cuda:0" and so on.
        dtype: "float32", "bfloat16", "float16" or another library's word.
        priors: names of the per-frame maps that the network takes beside the frames.
        per_frame: whether it has `encode` and `decode`; otherwise `whole` is called.
    """

    name: str
    device: str
    dtype: str
    priors: tuple[str, ...]
    per_frame: bool

    @property
    def description(self) -> str:
        """One line: device, dtype and why."""
        ...

    def encode(self, frames: Tensor, priors: Mapping[str, Tensor]) -> list[Features]:
        """Frames (N, 3, h, w) uint8, each prior (N, 1, h, w) float in [0, 1] -> each frame's features."""
        ...

    def decode(self, features: Sequence[Features]) -> Probabilities:
        """A clip's features in order -> probabilities (T, h, w), or (1, h, w) of a network that gives one map."""
        ...

    def whole(self, clip: Tensor, priors: Mapping[str, Tensor]) -> Probabilities:
        """A clip (1, 3, T, h, w) uint8, each prior (1, 1, T, h, w) -> as `decode`."""
        ...

    def explain(self, error: Exception, clip: str) -> DeviceError | None:
        """What an error of the three means, in one line; None where it is a fault of ours. `clip` says its size."""
        ...

    def release(self) -> None:
        """Give back what memory is kept for later, after an error or when a video has ended."""
        ...
