"""Lite3DC: the small default network. A per-frame ImageNet encoder, a 3D decoder and a motion cue.

The decoder keeps the two ideas of 3DC-Seg (papers' section 3.2): a 3D global convolution on the coarsest features
and 3D refinement blocks on the way up. It differs where a CPU asks for it: the encoder (EfficientNet-Lite) sees one
frame at a time, so that its features serve every clip that holds the frame; channels are few; and because a
per-frame encoder knows nothing of motion, the correlation of neighbouring frames' features is given to the decoder.

Axes: B batch, C channels, T frames, H and W pixels; `s8` means an eighth of the input's resolution.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vsalient.models.lite_encoder import EfficientNetLite, convert_encoder

RESIDUAL_PRIORS = ("residual", "residual_speed")
"""What `Lite3DC` takes beside the frames: motion against the camera, relative to the fastest part and in pixels."""


class Conv3dNorm(nn.Module):
    """3D convolution with edge frames repeated in time, batch norm, optional ReLU.

    Repeating instead of zero padding makes a clip's end look like a pause rather than a cut, and lets one weight
    serve stills (T = 1) and clips of any length.
    """

    fold = (("conv", "norm"),)

    def __init__(self, inputs: int, outputs: int, kernel: tuple[int, int, int], *, act: bool = True):
        super().__init__()
        self.conv = nn.Conv3d(inputs, outputs, kernel, padding=(0, kernel[1] // 2, kernel[2] // 2), bias=False)
        self.norm: nn.Module = nn.BatchNorm3d(outputs)
        self.pad_frames = kernel[0] // 2
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) → (B, C', T, H, W)."""
        if self.pad_frames:
            x = torch.cat([x[:, :, :1], x, x[:, :, -1:]], dim=2)
        x = self.norm(self.conv(x))
        return F.relu(x, inplace=not torch.is_grad_enabled()) if self.act else x


class GlobalConv3d(nn.Module):
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


class Refine3d(nn.Module):
    """RF3D (3DC-Seg, section 3.2 and Fig. 2) on few channels: a residual pair, the coarser map added, another pair.

    In each pair one convolution is 3×3×3 and one 1×3×3: half the cost of two full ones for the same reach.
    """

    def __init__(self, inputs: int, coarser: int, channels: int, *, temporal: bool = True) -> None:
        super().__init__()
        full = (3, 3, 3) if temporal else (1, 3, 3)
        self.reduce = Conv3dNorm(inputs, channels, (1, 1, 1), act=False)
        self.skip1 = Conv3dNorm(channels, channels, full)
        self.skip2 = Conv3dNorm(channels, channels, (1, 3, 3), act=False)
        self.bring = Conv3dNorm(coarser, channels, (1, 1, 1), act=False)
        self.merge1 = Conv3dNorm(channels, channels, full)
        self.merge2 = Conv3dNorm(channels, channels, (1, 3, 3), act=False)

    def forward(self, feature: Tensor, coarser: Tensor, cue: Tensor | None = None) -> Tensor:
        """Feature (B, C, T, H, W), coarser map (B, C', T, H/2, W/2), cue (B, channels, T, H, W) → as the cue."""
        skip = self.reduce(feature)
        if cue is not None:
            skip = skip + cue
        skip = skip + self.skip2(self.skip1(F.relu(skip)))
        merged = skip + upsample(self.bring(coarser), 2)
        return torch.as_tensor(F.relu(merged + self.merge2(self.merge1(F.relu(merged)))))


def halve(x: Tensor) -> Tensor:
    """Mean over 2×2 blocks of (B, C, T, H, W), space only (avg_pool3d has no bfloat16 kernel on the CPU)."""
    b, c, t, h, w = x.shape
    return F.avg_pool2d(x.transpose(1, 2).reshape(b * t, c, h, w), 2).view(b, t, c, h // 2, w // 2).transpose(1, 2)


def upsample(x: Tensor, factor: int) -> Tensor:
    """Bilinear enlargement of (B, C, T, H, W) in space only; time keeps its length."""
    b, c, t, h, w = x.shape
    flat = x.transpose(1, 2).reshape(b * t, c, h, w)
    flat = F.interpolate(flat, scale_factor=float(factor), mode="bilinear", align_corners=False)
    return flat.view(b, t, c, h * factor, w * factor).transpose(1, 2)


def local_correlation(first: Tensor, second: Tensor, radius_y: int, radius_x: int) -> Tensor:
    """Inner products of each position of `first` with the window around it in `second`, both (N, C, H, W).

    The window reaches `radius_y` positions up and down, `radius_x` left and right.

    Returns:
        (N, H, W, (2·radius_y + 1)·(2·radius_x + 1)); outside the picture the products are 0. The last axis counts
        displacements: (dy, dx) is at (dy + radius_y)·(2·radius_x + 1) + dx + radius_x.
    """
    n, _, h, w = first.shape
    rows, columns = 2 * radius_y + 1, 2 * radius_x + 1
    wide = w + 2 * radius_x
    padded = F.pad(second, (radius_x, radius_x, radius_y, radius_y))
    query = first.permute(0, 2, 3, 1)  # N H W C
    key = padded.permute(0, 2, 1, 3)  # N H+2ry C W+2rx
    volumes = []
    for dy in range(rows):
        # A row of queries against one whole row of keys is a band matrix; padding each of its rows by one
        # element skews the band into columns, so that slicing picks the window.
        products = torch.matmul(query, key[:, dy : dy + h])  # N H W W+2rx
        skewed = F.pad(products.reshape(n, h, w * wide), (0, w)).view(n, h, w, wide + 1)
        volumes.append(skewed[..., :columns])
    return torch.cat(volumes, dim=3)


class MotionCue(nn.Module):
    """What moved, and how, from the correlation of neighbouring frames' features at s8.

    For every position: matching scores against the next and the previous frame, the displacement they imply
    (soft arg-max), and that displacement less the frame's mean, which takes away most of a camera's pan. At a clip's
    ends the missing neighbour is replaced by the other one with the displacement reversed, as if motion went on.
    """

    radius_y = 4
    radius_x = 6

    def __init__(self, inputs: int, match: int, outputs: int) -> None:
        super().__init__()
        self.match = nn.Conv2d(inputs, match, 1)
        self.temperature = nn.Parameter(torch.tensor(2.0))
        window = (2 * self.radius_y + 1) * (2 * self.radius_x + 1)
        dy, dx = torch.meshgrid(
            torch.arange(-self.radius_y, self.radius_y + 1) / 4.0,
            torch.arange(-self.radius_x, self.radius_x + 1) / 4.0,
            indexing="ij",
        )
        self.register_buffer("grid", torch.stack([dy.flatten(), dx.flatten()]), persistent=False)  # 2 × window
        self.score = Conv3dNorm(2 * window, outputs, (1, 1, 1))
        self.flow = Conv3dNorm(8, outputs // 2, (1, 3, 3))
        self.mix = Conv3dNorm(outputs + outputs // 2, outputs, (3, 3, 3))
        self.outputs = outputs

    def project(self, feature: Tensor) -> Tensor:
        """Per-frame part: (N, C, H, W) → unit vectors (N, match, H, W)."""
        return F.normalize(self.match(feature).float(), dim=1).to(feature.dtype)

    def displacement(self, scores: Tensor) -> Tensor:
        """Soft arg-max of (N, H, W, window) scores: (N, H, W, 2), in quarters of a position, y first."""
        grid, sharpness = self.get_buffer("grid").float().t(), 4.0 * self.temperature.float()
        # One picture at a time on a CPU: its weights in float32 stay in the cache.
        parts = torch.split(scores, 1) if scores.device.type == "cpu" and not torch.is_grad_enabled() else (scores,)
        found = [torch.softmax(part.float() * sharpness, dim=3) @ grid for part in parts]
        return torch.cat(found).to(scores.dtype)

    def forward(self, match: Tensor) -> Tensor:
        """Unit vectors (B, T, C, H, W) → motion features (B, outputs, T, H, W); zeros for a still (T = 1)."""
        b, t, c, h, w = match.shape
        if t == 1:
            return match.new_zeros(b, self.outputs, 1, h, w)
        first = match[:, :-1].reshape(b * (t - 1), c, h, w)
        second = match[:, 1:].reshape(b * (t - 1), c, h, w)
        scores = local_correlation(torch.cat([first, second]), torch.cat([second, first]), self.radius_y, self.radius_x)
        flows = self.displacement(scores)
        # Channels stay the last axis, as the convolutions have them in memory: no large tensor is reordered.
        forward, backward = (x.reshape(b, t - 1, h, w, -1) for x in scores.chunk(2))
        ahead, behind = (x.reshape(b, t - 1, h, w, 2) for x in flows.chunk(2))
        # The window is symmetric, so reversing its order reverses the displacement.
        both = torch.cat(
            [
                torch.cat([forward, backward[:, -1:].flip(4)], dim=1),
                torch.cat([forward[:, :1].flip(4), backward], dim=1),
            ],
            dim=4,
        )
        ahead, behind = torch.cat([ahead, -behind[:, -1:]], dim=1), torch.cat([-ahead[:, :1], behind], dim=1)
        flow = torch.cat([ahead, behind], dim=4)  # B T H W 4
        flow = torch.cat([flow, flow - flow.mean(dim=(2, 3), keepdim=True)], dim=4)
        score = self.score(both.permute(0, 4, 1, 2, 3))
        return torch.as_tensor(self.mix(torch.cat([score, self.flow(flow.permute(0, 4, 1, 2, 3))], dim=1)))


class ResidualCue(nn.Module):
    """Features at s4, s8, s16 and s32 of the maps that say what moves against the camera (`vsalient.priors.residual`).

    They are added to the decoder's by 1×1×1 convolutions that begin at zero, so that a network trained without them
    gives at first what it gave before.

    Args:
        maps: how many there are.
        width: channels at s4; twice and three times as many at s8 and s16.
        targets: channels of the decoder at s4, s8, s16 and s32.
    """

    def __init__(self, maps: int, width: int, targets: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.enter = Conv3dNorm(maps, width, (1, 3, 3))
        self.mix4 = Conv3dNorm(width, width, (1, 3, 3))
        self.down8 = Conv3dNorm(width, 2 * width, (1, 3, 3))
        self.mix8 = Conv3dNorm(2 * width, 2 * width, (3, 3, 3))
        self.down16 = Conv3dNorm(2 * width, 3 * width, (1, 3, 3))
        self.mix16 = Conv3dNorm(3 * width, 3 * width, (3, 3, 3))
        widths = (width, 2 * width, 3 * width, 3 * width)
        self.to4, self.to8, self.to16, self.to32 = (
            nn.Conv3d(inputs, outputs, 1) for inputs, outputs in zip(widths, targets, strict=True)
        )
        for last in (self.to4, self.to8, self.to16, self.to32):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)  # type: ignore[arg-type]

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Maps (B, maps, T, h, w) at s4 → what to add at s4, s8, s16 and s32."""
        x4 = self.mix4(self.enter(maps))
        x8 = self.mix8(self.down8(halve(x4)))
        x16 = self.mix16(self.down16(halve(x8)))
        return self.to4(x4), self.to8(x8), self.to16(x16), self.to32(halve(x16))


class Lite3DC(nn.Module):
    """The 3dc-lite network: frames (B, 3, T, H, W) in [0, 1], H and W multiples of 32, any T ≥ 1, to logits.

    Args:
        variant: the encoder's size, "lite0", "lite1" or "lite2".
        channels: decoder channels at s32, s16, s8, s4 and s2.
        motion: channels of the motion cue; 0 leaves it out.
        match: channels compared by the motion cue.
        residual: first channels of the branch that takes residual motion; 0 leaves it out.

    Attributes:
        priors: the per-frame maps it takes beside the picture, each (B, 1, T, H, W) in [0, 1]; a prior that is not
            given is taken as zero, which says that nothing moves.
    """

    def __init__(
        self,
        variant: str = "lite0",
        channels: tuple[int, int, int, int, int] = (96, 96, 64, 32, 16),
        motion: int = 48,
        match: int = 32,
        residual: int = 16,
    ) -> None:
        super().__init__()
        c32, c16, c8, c4, c2 = channels
        self.priors = RESIDUAL_PRIORS if residual else ()
        self.variant = variant
        self.encoder = EfficientNetLite(variant)
        t2, t4, t8, t16, t32 = self.encoder.tap_channels
        self.reduce32 = nn.Conv2d(t32, c32, 1)
        self.motion = MotionCue(t8, match, motion) if motion else None
        self.context = GlobalConv3d(c32)
        self.context1 = Conv3dNorm(c32 + motion, c32, (3, 3, 3))
        self.context2 = Conv3dNorm(c32, c32, (3, 3, 3), act=False)
        self.attention = ClipAttention(c32)
        self.refine16 = Refine3d(t16 + motion, c32, c16)
        self.refine8 = Refine3d(t8 + motion, c16, c8)
        self.refine4 = Refine3d(t4, c8, c4, temporal=False)
        self.fine = Conv3dNorm(t2, c2, (1, 1, 1), act=False)
        self.fine_bring = Conv3dNorm(c4, c2, (1, 1, 1), act=False)
        self.fine_mix = Conv3dNorm(c2, c2, (1, 3, 3))
        self.head2 = nn.Conv3d(c2, 1, (1, 3, 3), padding=(0, 1, 1))
        self.head4 = nn.Conv3d(c4, 1, 1)
        self.head8 = nn.Conv3d(c8, 1, 1)
        self.head16 = nn.Conv3d(c16, 1, 1)
        self.residual = ResidualCue(len(self.priors), residual, (c4, c8, c16, c32)) if residual else None

    def encode(self, frames: Tensor, **priors: Tensor) -> tuple[Tensor, ...]:
        """All that depends on one frame only.

        Args:
            frames: (N, 3, H, W) in [0, 1].
            priors: (N, 1, H, W) each.

        Returns:
            Features at s2, s4, s8, s16 and s32, those that are matched (at s8) and the priors at s4, as far as the
            network has these parts.
        """
        s2, s4, s8, s16, s32 = self.encoder(frames)
        features = [s2, s4, s8, s16, self.reduce32(s32)]
        if self.motion is not None:
            features.append(self.motion.project(s8))
        if self.residual is not None:
            none = frames.new_zeros(len(frames), 1, *frames.shape[2:])
            maps = torch.cat([priors.get(name, none) for name in self.priors], dim=1)
            features.append(F.avg_pool2d(maps.float(), 4).to(s4.dtype))
        return tuple(features)

    def decode(self, features: tuple[Tensor, ...]) -> Tensor:
        """What `encode` gave, stacked over a clip, each (B, T, C, h, w) → logits (B, 1, T, H, W)."""
        return self._decode(features)[0]

    def forward(self, clip: Tensor, **priors: Tensor) -> Tensor:
        """(B, 3, T, H, W) in [0, 1], and `priors` → logits (B, 1, T, H, W)."""
        return self.decode(self._encode_clip(clip, priors))

    def training_outputs(self, clip: Tensor, **priors: Tensor) -> tuple[Tensor, ...]:
        """Logits for deep supervision, finest first: (B, 1, T, h, w) at s1, s4, s8 and s16."""
        return self._decode(self._encode_clip(clip, priors))

    def load_encoder(self, raw: Mapping[str, Tensor]) -> None:
        """Take the encoder's weights from a published EfficientNet-Lite classifier's state dict, strictly."""
        self.encoder.load_state_dict(convert_encoder(raw, self.variant), strict=True)

    @staticmethod
    def probability(logits: Tensor) -> Tensor:
        """Logits (B, 1, T, H, W) → foreground probability (B, T, H, W) in [0, 1]."""
        return torch.sigmoid(logits.float())[:, 0]

    def _encode_clip(self, clip: Tensor, priors: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        b, _, t = clip.shape[:3]
        each = {name: maps.transpose(1, 2).flatten(0, 1) for name, maps in priors.items()}
        features = self.encode(clip.transpose(1, 2).flatten(0, 1), **each)
        return tuple(f.view(b, t, *f.shape[1:]) for f in features)

    def _decode(self, features: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        s2, s4, s8, s16, s32 = (f.transpose(1, 2) for f in features[:5])
        x = self.context(s32)
        if self.motion is not None:
            cue8 = self.motion(features[5])
            cue16 = halve(cue8)
            s8, s16 = torch.cat([s8, cue8], 1), torch.cat([s16, cue16], 1)
            mixed = torch.cat([F.relu(x), halve(cue16)], 1)
        else:
            mixed = F.relu(x)
        add4 = add8 = add16 = add32 = None
        if self.residual is not None:
            add4, add8, add16, add32 = self.residual(features[-1].transpose(1, 2))
        x = x + self.context2(self.context1(mixed))
        x = self.attention(x if add32 is None else x + add32)
        x16 = self.refine16(s16, x, add16)
        x8 = self.refine8(s8, x16, add8)
        x4 = self.refine4(s4, x8, add4)
        x2 = F.relu(self.fine(s2) + upsample(self.fine_bring(x4), 2))
        finest = self.head2(self.fine_mix(x2))
        return upsample(finest, 2), self.head4(x4), self.head8(x8), self.head16(x16)
