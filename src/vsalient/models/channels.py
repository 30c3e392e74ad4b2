"""What a network does with its channels before and between layers: scale their number, normalise RGB."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def scaled(channels: int, width: float) -> int:
    """A paper's channel count times `width`, rounded to a multiple of 4 and at least 4; exact for width 1."""
    return max(4, int(channels * width / 4 + 0.5) * 4)


class Normalise(nn.Module):
    """(x − mean) / std of the channels 0, 1, 2 = R, G, B; any further channel (a prior) passes as it is.

    Args:
        mean, std: one value a colour, on the 0–1 scale.
    """

    def __init__(
        self,
        mean: tuple[float, float, float] = IMAGENET_MEAN,
        std: tuple[float, float, float] = IMAGENET_STD,
        *,
        priors: int = 0,
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor((*mean, *[0.0] * priors)), persistent=False)
        self.register_buffer("std", torch.tensor((*std, *[1.0] * priors)), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3 + priors, ...) in [0, 1] → same shape, normalised."""
        shape = (1, -1, *[1] * (x.ndim - 2))
        return (x - self.get_buffer("mean").view(shape)) / self.get_buffer("std").view(shape)


def normed(convolution: nn.Module, *, batch_norm: bool) -> nn.Module:
    """A convolution as it is, or with a batch norm behind it, which the engine folds back into the convolution.

    What runs is the paper's plain network either way; with norms it can be trained from random weights in an hour.
    """
    if not batch_norm:
        return convolution
    assert isinstance(convolution, nn.Conv2d | nn.Conv3d | nn.ConvTranspose3d)
    norm = nn.BatchNorm2d if isinstance(convolution, nn.Conv2d) else nn.BatchNorm3d
    return nn.Sequential(convolution, norm(convolution.out_channels))


def enlarge(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear up-sampling of (N, C, h, w) to (N, C, *size)."""
    return F.interpolate(x, size, mode="bilinear", align_corners=False)
