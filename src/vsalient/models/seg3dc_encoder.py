"""The encoder of 3DC-Seg: ir-CSN, a 3D ResNet whose 3×3×3 convolutions are depthwise.

Source: 3DC-Seg (Mahadevan et al., BMVC 2020) section 3.1; Tran et al., "Video Classification with
Channel-Separated Convolutional Networks", ICCV 2019, for the interaction-reduced (ir) block.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CHANNEL_MEAN = (114.7748, 107.7354, 99.4750)
"""RGB means on the 0-255 scale, as in the official code; there is no division by a deviation."""

EXPANSION = 4
"""Output channels of a bottleneck over its inner width."""


class Bottleneck(nn.Module):
    """1×1×1 → depthwise 3×3×3 (carries the stride) → 1×1×1, each with batch norm, plus the shortcut.

    The shortcut is a strided 1×1×1 convolution with batch norm where shapes change, else the identity.
    """

    fold = (("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3"))
    """Convolutions whose batch norm can be folded into them: nothing stands between the two."""

    def __init__(self, channels: int, width: int, *, stride: int = 1) -> None:
        super().__init__()
        outputs = width * EXPANSION
        self.conv1 = nn.Conv3d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm3d(width)
        self.conv2 = nn.Conv3d(width, width, 3, stride=stride, padding=1, groups=width, bias=False)
        self.bn2 = nn.BatchNorm3d(width)
        self.conv3 = nn.Conv3d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm3d(outputs)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or channels != outputs:
            self.downsample = nn.Sequential(
                nn.Conv3d(channels, outputs, 1, stride=stride, bias=False), nn.BatchNorm3d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, T, H, W) -> (B, 4·width, ⌈T/stride⌉, ⌈H/stride⌉, ⌈W/stride⌉), never negative."""
        shortcut = x if self.downsample is None else self.downsample(x)
        out = F.relu_(self.bn1(self.conv1(x)))
        out = F.relu_(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return F.relu_(out.add_(shortcut))


class Encoder(nn.Module):
    """ir-CSN with taps after each of its four stages.

    Args:
        depths: blocks in each stage; (3, 8, 36, 3) is ir-CSN-152.
        base_width: channels of the stem and inner width of the first stage; each later stage doubles it.
    """

    fold = (("conv1", "bn1"),)
    mean: Tensor

    def __init__(self, *, depths: Sequence[int] = (3, 8, 36, 3), base_width: int = 64) -> None:
        super().__init__()
        # A device of its own: a network built on "meta" still has its constants once weights are assigned.
        mean = torch.tensor(CHANNEL_MEAN, device="cpu").view(1, 3, 1, 1, 1)
        self.register_buffer("mean", mean / 255, persistent=False)
        self.conv1 = nn.Conv3d(3, base_width, (3, 7, 7), stride=(1, 2, 2), padding=(1, 3, 3), bias=False)
        self.bn1 = nn.BatchNorm3d(base_width)
        self.channels: tuple[int, ...] = tuple(base_width * 2**stage * EXPANSION for stage in range(4))
        """Channels of the four taps, finest first."""
        before = base_width
        stages = []
        for stage, depth in enumerate(depths):
            width = base_width * 2**stage
            first = Bottleneck(before, width, stride=1 if stage == 0 else 2)
            rest = (Bottleneck(width * EXPANSION, width) for _ in range(depth - 1))
            stages.append(nn.Sequential(first, *rest))
            before = width * EXPANSION
        self.layer1, self.layer2, self.layer3, self.layer4 = stages

    def forward(self, clip: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Compute the four taps.

        Args:
            clip: (B, 3, T, H, W) RGB in [0, 1], H and W multiples of 32; black padding stays black: the mean
                is subtracted here, after padding.

        Returns:
            r2, r3, r4, r5: (B, channels[i], ⌈T/2^i⌉, H/2^(i+2), W/2^(i+2)) for i = 0..3, never negative.
        """
        x = self.conv1(clip - self.mean)  # (B, 64, T, H/2, W/2)
        x = F.relu_(self.bn1(x))
        x = F.max_pool3d(x, (1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1))  # (B, 64, T, H/4, W/4)
        r2 = self.layer1(x)
        r3 = self.layer2(r2)
        r4 = self.layer3(r3)
        r5 = self.layer4(r4)
        return r2, r3, r4, r5
