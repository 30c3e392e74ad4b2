"""Whether a network on a device, in a dtype, gives what it gives on the CPU in float32: tried on the network itself."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from vsalient.models.network import Network

TOLERANCES: dict[torch.dtype, float] = {torch.float32: 1e-3, torch.bfloat16: 0.05, torch.float16: 0.05}
"""Largest error of a probability, as `largest_error` has it, that a dtype may show on the sample."""


def sample(network: Network, multiple: int | None = None) -> tuple[Tensor, dict[str, Tensor]]:
    """Two frames (more where the network needs more) of a soft pattern that moves.

    Args:
        network: whose priors and shortest clip count.
        multiple: sides are multiples of it; None for what `network.running` says, else 32.

    Returns:
        (1, 3, T, h, w) uint8, and each prior (1, 1, T, h, w) float in [0, 1].
    """
    multiple = multiple or (network.running.multiple if network.running else 32)
    side = multiple * math.ceil(64 / multiple)
    frames, height, width = max(2, network.shortest), side, side + multiple * math.ceil(side / 2 / multiple)
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3 + len(network.priors), 1, height // 8, width // 8, generator=generator)
    coarse = torch.cat([coarse.roll(step, 4) for step in range(frames)], 2)
    soft = nn.functional.interpolate(coarse, (frames, height, width), mode="trilinear")
    priors = {name: soft[:, 3 + number : 4 + number].clone() for number, name in enumerate(network.priors)}
    return soft[:, :3].mul(255).to(torch.uint8), priors


@torch.inference_mode()
def reference(network: Network, clip: Tensor, priors: Mapping[str, Tensor]) -> Tensor:
    """The network's probabilities (T, h, w) of a sample as it stands, in float32 on the CPU."""
    network.module.eval()
    return network.probability(network.forward(clip.float() / 255, **priors))[0].float()


def largest_error(got: Tensor, expected: Tensor, dtype: torch.dtype = torch.float32) -> float:
    """How far two maps are apart: the largest difference, in a reduced dtype that of 99 pixels in 100.

    Rounding moves a few pixels at steep edges far, and other ones with other weights (3dc-lite in bfloat16: 0.033 at
    most, 0.027 for 99 in 100, 0.006 on average); a wrong kernel moves all of them.

    Returns:
        The difference; infinite where a value is no number or the shapes differ.
    """
    if got.shape != expected.shape or not got.isfinite().all():
        return math.inf
    apart = (got.float().cpu() - expected).abs().flatten()
    return float(apart.max() if dtype == torch.float32 else apart.sort().values[int(0.99 * (len(apart) - 1))])
