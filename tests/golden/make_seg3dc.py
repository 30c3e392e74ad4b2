"""Weights, input and expected output of a tiny 3DC-Seg; run it to write seg3dc_tiny.npz anew.

The full network is checked against the official code's numbers (test_seg3dc.py, where the vectors are at hand);
this keeps the same wiring from changing unnoticed everywhere else.
"""

import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vsalient.models.seg3dc import Seg3DC

TINY = {"depths": (1, 2, 2, 1), "base_width": 8, "decoder_width": 16}
GOLDEN = Path(__file__).with_name("seg3dc_tiny.npz")


def network(**config: object) -> Seg3DC:
    """A tiny network in evaluation mode; every tensor's value depends on its name alone."""
    built = Seg3DC(**{**TINY, **config})
    built.load_state_dict({name: _value(name, tuple(t.shape)) for name, t in built.state_dict().items()})
    return built.eval()


def clip(frames: int = 4, height: int = 32, width: int = 64) -> Tensor:
    """(1, 3, frames, height, width) uint8: a bright disc that moves over noise."""
    generator = np.random.Generator(np.random.PCG64(frames * 10007 + height * 101 + width))
    y, x = np.mgrid[0:height, 0:width]
    block = generator.integers(0, 120, (3, frames, height, width))
    for t in range(frames):
        block[:2, t] += 100 * ((x - 8 - 5 * t) ** 2 + (y - height / 2) ** 2 < 60)
    return torch.from_numpy(block.astype(np.uint8))[None]


def _value(name: str, shape: tuple[int, ...]) -> Tensor:
    generator = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    if name.endswith("num_batches_tracked"):
        return torch.tensor(7)
    if name.endswith("running_var"):
        value = generator.uniform(0.5, 1.5, shape)
    elif name.endswith(("running_mean", "bias")):
        value = 0.1 * generator.standard_normal(shape)
    elif len(shape) == 1:
        value = generator.uniform(0.5, 1.0, shape)
    else:
        value = generator.standard_normal(shape) * np.sqrt(2.0 / np.prod(shape[1:]))
    return torch.from_numpy(value.astype(np.float32))


def main() -> None:
    with torch.inference_mode():
        logits = network()(clip().float() / 255)
    np.savez_compressed(GOLDEN, logits=logits[..., ::2, ::2].numpy())


if __name__ == "__main__":
    main()
