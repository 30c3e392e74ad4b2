"""The decoder of 3DC-Seg: a bridge with a wide view on the coarsest features, then refinement up the scales.

Source: 3DC-Seg (Mahadevan et al., BMVC 2020) section 3.2, figures 2 and 3; where text and official code part
(docs/models/3dc-seg.md lists it), this follows the code. The alternatives are those of tables 2b and 3; the
J&F beside each is the paper's, on DAVIS-16.
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vsalient.errors import OptionError

BridgeName = Literal["gc3d", "c3d", "nl3d", "aspp"]
RefinementName = Literal["rf3d", "upsampling"]


class ResidualPair(nn.Module):
    """x + conv(relu(conv(relu(x)))), both 3×3×3 with bias; no norm."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv3d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> the same shape."""
        out: Tensor = self.conv2(F.relu_(self.conv1(F.relu(x))))
        return out.add_(x)


class GlobalConv3d(nn.Module):
    """GC3D: a 7×7 view in space as two sums of a column and a row convolution (figure 2, left). 84.1 J&F."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.left1 = nn.Conv3d(channels, width, (1, 7, 1), padding=(0, 3, 0))
        self.left2 = nn.Conv3d(width, width, (1, 1, 7), padding=(0, 0, 3))
        self.right1 = nn.Conv3d(channels, width, (1, 1, 7), padding=(0, 0, 3))
        self.right2 = nn.Conv3d(width, width, (1, 7, 1), padding=(0, 3, 0))

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, T, H, W) -> (B, width, T, H, W); no activation inside."""
        left: Tensor = self.left2(self.left1(x))
        return left.add_(self.right2(self.right1(x)))


class NonLocal3d(nn.Module):
    """NL3D: 1×1×1 reduction, then an embedded-Gaussian non-local block (Wang et al. 2018). 81.7 J&F.

    Keys and values are max-pooled 2×2 in space; the last batch norm starts at zero, so that a fresh block is
    the identity.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        inner = max(1, width // 2)
        self.reduce = nn.Conv3d(channels, width, 1)
        self.query = nn.Conv3d(width, inner, 1)
        self.key = nn.Conv3d(width, inner, 1)
        self.value = nn.Conv3d(width, inner, 1)
        self.project = nn.Sequential(nn.Conv3d(inner, width, 1), nn.BatchNorm3d(width))
        for parameter in self.project[1].parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, T, H, W) -> (B, width, T, H, W)."""
        x = self.reduce(x)
        # A map of one pixel has nothing to pool.
        window = (1, min(2, x.shape[3]), min(2, x.shape[4]))
        query = self.query(x).flatten(2).transpose(1, 2)  # (B, THW, C)
        key = F.max_pool3d(self.key(x), window).flatten(2)  # (B, C, N)
        value = F.max_pool3d(self.value(x), window).flatten(2).transpose(1, 2)  # (B, N, C)
        attention = torch.softmax(query @ key, dim=-1)  # (B, THW, N)
        gathered = (attention @ value).transpose(1, 2)  # (B, C, THW)
        gathered = gathered.reshape(*gathered.shape[:2], *x.shape[2:])
        out: Tensor = self.project(gathered)
        return x + out


class AtrousPyramid3d(nn.Module):
    """ASPP: a 1×1×1 branch, 3×3 branches dilated 3, 6 and 9, and the frame's mean, fused. 81.0 J&F."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        inner = max(1, width // 4)
        self.point = _conv_relu_norm(channels, inner)
        self.atrous = nn.ModuleList(
            nn.Sequential(
                nn.Conv3d(
                    channels,
                    channels,
                    (1, 3, 3),
                    padding=(0, rate, rate),
                    dilation=(1, rate, rate),
                    groups=inner,
                    bias=False,
                ),
                nn.ReLU(inplace=True),
                _group_norm(channels, 16),
                *_conv_relu_norm(channels, inner),
            )
            for rate in (3, 6, 9)
        )
        self.pool = _conv_relu_norm(channels, inner)
        self.fuse = _conv_relu_norm(5 * inner, width, groups=32)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, T, H, W) -> (B, width, T, H, W)."""
        pooled = self.pool(x.mean((3, 4), keepdim=True)).expand(-1, -1, -1, *x.shape[3:])
        out: Tensor = self.fuse(torch.cat([self.point(x), *(branch(x) for branch in self.atrous), pooled], 1))
        return out


def _conv_relu_norm(channels: int, outputs: int, *, groups: int = 16) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(channels, outputs, 1, bias=False), nn.ReLU(inplace=True), _group_norm(outputs, groups)
    )


def _group_norm(channels: int, groups: int) -> nn.GroupNorm:
    # Narrow networks get fewer groups: one channel alone, pooled to one value, would always come out as zero.
    return nn.GroupNorm(math.gcd(groups, max(1, channels // 4)), channels)


class VanillaConv3d(nn.Conv3d):
    """C3D: one 3×3×3 convolution, the baseline bridge. 80.3 J&F."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__(channels, width, 3, padding=1)


class Refine3d(nn.Module):
    """RF3D: refine the skip features, add the upsampled coarser map, refine the sum (figure 2, right)."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.skip = nn.Conv3d(channels, width, 3, padding=1)
        self.skip_pair = ResidualPair(width)
        self.merge_pair = ResidualPair(width)

    def forward(self, skip: Tensor, coarse: Tensor) -> Tensor:
        """Merge one scale.

        Args:
            skip: (B, channels, T, H, W) encoder features.
            coarse: (B, width, T', H', W') the map of the next coarser scale.

        Returns:
            (B, width, T, H, W); time is interpolated like space.
        """
        merged: Tensor = self.skip_pair(self.skip(skip))
        merged = merged.add_(_resize(coarse, merged))
        refined: Tensor = self.merge_pair(merged)
        return refined


class Upsample3d(nn.Module):
    """The baseline of table 3: upsample, concatenate the skip features, two 3×3×3 convolutions. 80.2 J&F."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(channels + width, width, 3, padding=1)
        self.conv2 = nn.Conv3d(width, width, 3, padding=1)

    def forward(self, skip: Tensor, coarse: Tensor) -> Tensor:
        """Shapes as in `Refine3d.forward`."""
        out: Tensor = self.conv2(F.relu_(self.conv1(torch.cat([skip, _resize(coarse, skip)], 1))))
        return out


def _resize(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, size=like.shape[2:], mode="trilinear", align_corners=False)


BRIDGES: dict[str, type[nn.Module]] = {
    "gc3d": GlobalConv3d,
    "c3d": VanillaConv3d,
    "nl3d": NonLocal3d,
    "aspp": AtrousPyramid3d,
}
"""Table 2b's modules between encoder and decoder."""

REFINE_BLOCKS: dict[str, type[nn.Module]] = {"rf3d": Refine3d, "upsampling": Upsample3d}
"""Table 3's modules at each scale."""


class Decoder(nn.Module):
    """Bridge on r5, a residual pair, refinement with r4, r3 and r2, and a two-channel head.

    Args:
        channels: channels of r2, r3, r4, r5.
        width: channels throughout the decoder.
        bridge: a key of `BRIDGES`.
        refinement: a key of `REFINE_BLOCKS`.

    Raises:
        OptionError: an unknown bridge or refinement.
    """

    def __init__(
        self,
        channels: tuple[int, ...],
        *,
        width: int = 256,
        bridge: BridgeName = "gc3d",
        refinement: RefinementName = "rf3d",
    ) -> None:
        super().__init__()
        if bridge not in BRIDGES:
            raise OptionError(f"unknown bridge '{bridge}' for 3DC-Seg; known: {', '.join(BRIDGES)}")
        if refinement not in REFINE_BLOCKS:
            raise OptionError(f"unknown refinement '{refinement}' for 3DC-Seg; known: {', '.join(REFINE_BLOCKS)}")
        self.bridge = BRIDGES[bridge](channels[3], width)
        self.context = ResidualPair(width)
        self.refine4 = REFINE_BLOCKS[refinement](channels[2], width)
        self.refine3 = REFINE_BLOCKS[refinement](channels[1], width)
        self.refine2 = REFINE_BLOCKS[refinement](channels[0], width)
        self.head = nn.Conv3d(width, 2, 3, padding=1)

    def forward(self, r2: Tensor, r3: Tensor, r4: Tensor, r5: Tensor) -> Tensor:
        """The encoder's taps -> logits (B, 2, T, 4·H2, 4·W2), float32 whatever the weights' dtype.

        Channel 0 is the background, channel 1 the object.
        """
        m = self.context(self.bridge(r5))
        m = self.refine4(r4, m)
        m = self.refine3(r3, m)
        m = self.refine2(r2, m)
        logits = self.head(F.relu_(m))  # (B, 2, T, H/4, W/4)
        # Two channels cost nothing in float32; bfloat16's 8 bits would show as steps in the upsampled map.
        return F.interpolate(logits.float(), scale_factor=(1, 4, 4), mode="trilinear", align_corners=False)
