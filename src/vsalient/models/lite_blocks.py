"""Blocks of Lite3DC: convolutions that serve stills and clips alike, GC3D, attention over a clip, RF3D, gates.

Axes: B batch, C channels, T frames, H and W pixels; `s8` means an eighth of the input's resolution.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Conv3dNorm(nn.Module):
    """3D convolution with edge frames repeated in time, batch norm, optional ReLU.

    Repeating instead of zero padding makes a clip's end look like a pause rather than a cut, and lets one weight
    serve stills (T = 1) and clips of any length.
    """

    fold = (("conv", "norm"),)
    activation = "relu"

    def __init__(self, inputs: int, outputs: int, kernel: tuple[int, int, int], *, act: bool = True):
        super().__init__()
        self.conv = nn.Conv3d(inputs, outputs, kernel, padding=(0, kernel[1] // 2, kernel[2] // 2), bias=False)
        self.norm: nn.Module = nn.BatchNorm3d(outputs)
        self.pad_frames = kernel[0] // 2
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) → (B, C', T, H, W)."""
        if self.pad_frames and x.shape[2] == 1 and torch.is_grad_enabled():
            # A view, which says that all frames are one: `planar` sums the taps and does them at once.
            x = x.expand(-1, -1, 2 * self.pad_frames + 1, -1, -1)
        elif self.pad_frames:
            x = torch.cat([x[:, :, :1], x, x[:, :, -1:]], dim=2)
        x = self.norm(self.conv(x))
        return F.relu(x, inplace=not torch.is_grad_enabled()) if self.act else x


class Conv2Plus1d(nn.Module):
    """A 1×3×3 convolution, then a 3×1×1 one: 12 weights a pair of channels where 3×3×3 has 27.

    Source: R(2+1)D (Tran et al., CVPR 2018), there with a middle width that keeps the count of weights; here it is
    the output's, to save work.
    """

    def __init__(self, inputs: int, outputs: int, *, act: bool = True) -> None:
        super().__init__()
        self.space = Conv3dNorm(inputs, outputs, (1, 3, 3))
        self.time = Conv3dNorm(outputs, outputs, (3, 1, 1), act=act)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) → (B, C', T, H, W)."""
        return torch.as_tensor(self.time(self.space(x)))


def spacetime(inputs: int, outputs: int, *, separable: bool, act: bool = True) -> nn.Module:
    """A convolution over 3 frames and 3×3 positions: in one piece, or space and time apart."""
    return Conv2Plus1d(inputs, outputs, act=act) if separable else Conv3dNorm(inputs, outputs, (3, 3, 3), act=act)


class LiteGlobalConv3d(nn.Module):
    """GC3D (3DC-Seg, section 3.2 and Fig. 2): a 7×7 view by two pairs of row and column convolutions, summed."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.left1 = nn.Conv3d(channels, channels, (1, 7, 1), padding=(0, 3, 0))
        self.left2 = nn.Conv3d(channels, channels, (1, 1, 7), padding=(0, 0, 3))
        self.right1 = nn.Conv3d(channels, channels, (1, 1, 7), padding=(0, 0, 3))
        self.right2 = nn.Conv3d(channels, channels, (1, 7, 1), padding=(0, 3, 0))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) → same shape."""
        return torch.as_tensor(self.left2(self.left1(x)) + self.right2(self.right1(x)))


class ClipAttention(nn.Module):
    """Every coarse position of every frame looks at every other of the clip (after NL3D, 3DC-Seg Table 2b)."""

    def __init__(self, channels: int, heads: int = 4) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)
        self.heads = heads
        nn.init.zeros_(self.out.weight)  # begins as the identity
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) → same shape, residual."""
        b, c, t, h, w = x.shape
        tokens = self.norm(x.permute(0, 2, 3, 4, 1).reshape(b, t * h * w, c))
        q, k, v = self.qkv(tokens).view(b, t * h * w, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, t * h * w, c)
        return torch.as_tensor(x + self.out(mixed).view(b, t, h, w, c).permute(0, 4, 1, 2, 3))


class MotionGate(nn.Module):
    """How much looks and motion count, at every position and channel: weights in (0, 2), all 1 at first.

    They are seen from both sides at the position, and from the mean of both over the clip: whether the camera's
    motion was told from the object's is a matter of the whole picture. After AMC-Net (Yang et al., ICCV 2021), which
    gates two streams against each other.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.here = nn.Conv3d(2 * channels, 2 * channels, 1)
        self.clip = nn.Linear(2 * channels, 2 * channels)
        for layer in (self.here, self.clip):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, looks: Tensor, motion: Tensor) -> Tensor:
        """Two maps (B, C, T, H, W) → their weighted sum."""
        both = torch.cat([looks, motion], dim=1)
        whole = self.clip(both.mean(dim=(2, 3, 4)))[:, :, None, None, None]
        weights = 2 * torch.sigmoid(self.here(both) + whole)
        of_looks, of_motion = weights.chunk(2, dim=1)
        return looks * of_looks + motion * of_motion


class LiteRefine3d(nn.Module):
    """RF3D (3DC-Seg, section 3.2 and Fig. 2) on few channels: a residual pair, the coarser map added, another pair.

    In each pair one convolution is 3×3×3 and one 1×3×3: half the cost of two full ones for the same reach.

    Args:
        inputs: channels of the encoder's feature.
        coarser: channels of the coarser map.
        channels: of the result.
        temporal: whether the first convolution of a pair sees neighbouring frames.
        separable: space and time apart in it.
        silent_side: how much a side map counts is learnt, and nothing at first.
    """

    def __init__(
        self,
        inputs: int,
        coarser: int,
        channels: int,
        *,
        temporal: bool = True,
        separable: bool = False,
        silent_side: bool = False,
    ) -> None:
        super().__init__()
        self.side = nn.Parameter(torch.zeros(1)) if silent_side else None

        def first() -> nn.Module:
            if temporal:
                return spacetime(channels, channels, separable=separable)
            return Conv3dNorm(channels, channels, (1, 3, 3))

        self.reduce = Conv3dNorm(inputs, channels, (1, 1, 1), act=False)
        self.skip1 = first()
        self.skip2 = Conv3dNorm(channels, channels, (1, 3, 3), act=False)
        self.bring = Conv3dNorm(coarser, channels, (1, 1, 1), act=False)
        self.merge1 = first()
        self.merge2 = Conv3dNorm(channels, channels, (1, 3, 3), act=False)

    def forward(
        self,
        feature: Tensor,
        coarser: Tensor,
        cue: Tensor | None = None,
        *,
        gate: nn.Module | None = None,
        side: Tensor | None = None,
    ) -> Tensor:
        """One step finer.

        Args:
            feature: (B, C, T, H, W) of the encoder.
            coarser: (B, C', T, H/2, W/2), the result of the step before.
            cue: (B, channels, T, H, W) of motion, added to the reduced feature.
            gate: weighs the two instead of adding them.
            side: logits (B, 1, T, H/2, W/2) of the step before; what it takes for the object counts up to three times
                as much as what it takes for background (side maps that multiply features, as in AMC-Net).

        Returns:
            (B, channels, T, H, W).
        """
        skip = self.reduce(feature)
        if cue is not None:
            skip = skip + cue if gate is None else gate(skip, cue)
        if side is not None:
            known = upsample(torch.sigmoid(side), 2)
            skip = skip * (0.5 + known if self.side is None else 1 + self.side * (known - 0.5))
        skip = skip + self.skip2(self.skip1(F.relu(skip)))
        merged = skip + upsample(self.bring(coarser), 2)
        return torch.as_tensor(F.relu(merged + self.merge2(self.merge1(F.relu(merged)))))


def silent(layer: nn.Conv3d) -> nn.Conv3d:
    """A convolution that gives zero until it is trained: what it adds changes nothing at first."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def halved(x: Tensor) -> Tensor:
    """Mean over 2×2 blocks of (B, C, T, H, W), space only (avg_pool3d has no bfloat16 kernel on the CPU)."""
    b, c, t, h, w = x.shape
    return F.avg_pool2d(x.transpose(1, 2).reshape(b * t, c, h, w), 2).view(b, t, c, h // 2, w // 2).transpose(1, 2)


def upsample(x: Tensor, factor: int) -> Tensor:
    """Bilinear enlargement of (B, C, T, H, W) in space only; time keeps its length."""
    b, c, t, h, w = x.shape
    flat = x.transpose(1, 2).reshape(b * t, c, h, w)
    flat = F.interpolate(flat, scale_factor=float(factor), mode="bilinear", align_corners=False)
    return flat.view(b, t, c, h * factor, w * factor).transpose(1, 2)
