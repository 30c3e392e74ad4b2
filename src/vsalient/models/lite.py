"""Lite3DC: the small default network. A per-frame ImageNet encoder, a 3D decoder and two cues of motion.

The decoder keeps the two ideas of 3DC-Seg (papers' section 3.2): a 3D global convolution on the coarsest features
and 3D refinement blocks on the way up. It differs where a CPU asks for it: the encoder (EfficientNet-Lite) sees one
frame at a time, so that its features serve every clip that holds the frame; channels are few; and because a
per-frame encoder knows nothing of motion, the decoder is given it: what features match between neighbouring frames,
and maps of what moves against the camera.

Axes: B batch, C channels, T frames, H and W pixels; `s8` means an eighth of the input's resolution.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vsalient.errors import OptionError
from vsalient.models.lite_blocks import (
    ClipAttention,
    Conv3dNorm,
    LiteGlobalConv3d,
    LiteRefine3d,
    MotionGate,
    halved,
    silent,
    spacetime,
    upsample,
)
from vsalient.models.lite_encoder import EfficientNetLite, convert_lite_encoder
from vsalient.models.lite_motion import MotionCue, ResidualCue
from vsalient.models.network import Network
from vsalient.vocabulary import RESIDUAL

RESIDUAL_PRIORS = RESIDUAL[:2]
"""What `Lite3DC` takes beside the frames by default: motion against the camera, relative to the fastest part and in
pixels."""


class Lite3DC(nn.Module):
    """The 3dc-lite network: frames (B, 3, T, H, W) in [0, 1], H and W multiples of 32, any T ≥ 1, to logits.

    Args:
        variant: the encoder's size, "lite0", "lite1" or "lite2".
        channels: decoder channels at s32, s16, s8, s4 and s2.
        motion: channels of the motion cue; 0 leaves it out.
        match: channels compared by the motion cue.
        residual: first channels of the branch that takes residual motion; 0 leaves it out.
        priors: the maps that this branch takes.
        separable: convolutions over space and time in two steps, space first.
        gated: looks and motion meet in gates, the coarser step's map multiplies the finer one's features, and matched
            motion joins on the side of motion. Else both are added, and matched motion is one more encoder feature.
        grafted: gates and side maps on a network that was trained without: they stand where `gated` has them but for
            the coarsest step, whose values have no norm, and change nothing until they are trained.

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
        priors: Sequence[str] = RESIDUAL_PRIORS,
        separable: bool = False,
        gated: bool = False,
        grafted: bool = False,
    ) -> None:
        super().__init__()
        if gated and grafted:
            raise OptionError("lite3dc: gated and grafted are two ways to place gates; choose one")
        c32, c16, c8, c4, c2 = channels
        self.priors = tuple(priors) if residual else ()
        self.variant = variant
        self.encoder = EfficientNetLite(variant)
        t2, t4, t8, t16, t32 = self.encoder.tap_channels
        self.reduce32 = nn.Conv2d(t32, c32, 1)
        self.motion = MotionCue(t8, match, motion, separable=separable) if motion else None
        self.context = LiteGlobalConv3d(c32)
        beside = 0 if gated else motion
        self.context1 = spacetime(c32 + beside, c32, separable=separable)
        self.context2 = spacetime(c32, c32, separable=separable, act=False)
        self.attention = ClipAttention(c32)
        self.refine16 = LiteRefine3d(t16 + beside, c32, c16, separable=separable)
        self.refine8 = LiteRefine3d(t8 + beside, c16, c8, separable=separable, silent_side=grafted)
        self.refine4 = LiteRefine3d(t4, c8, c4, temporal=False, silent_side=grafted)
        self.fine = Conv3dNorm(t2, c2, (1, 1, 1), act=False)
        self.fine_bring = Conv3dNorm(c4, c2, (1, 1, 1), act=False)
        self.fine_mix = Conv3dNorm(c2, c2, (1, 3, 3))
        self.head2 = nn.Conv3d(c2, 1, (1, 3, 3), padding=(0, 1, 1))
        self.head4 = nn.Conv3d(c4, 1, 1)
        self.head8 = nn.Conv3d(c8, 1, 1)
        self.head16 = nn.Conv3d(c16, 1, 1)
        targets = (c4, c8, c16, c32)
        self.residual = ResidualCue(len(self.priors), residual, targets, separable=separable) if residual else None
        self.gated = gated
        self.grafted = grafted
        if grafted:
            self.gate4, self.gate8, self.gate16 = (MotionGate(c) for c in targets[:3])
        if gated:
            # GC3D has no norm of its own; gates that saw its growing values would be all or nothing in a few steps.
            self.context_norm = nn.BatchNorm3d(c32)
            self.gate4, self.gate8, self.gate16, self.gate32 = (MotionGate(c) for c in targets)
            self.matched8, self.matched16, self.matched32 = (
                silent(nn.Conv3d(motion, c, 1)) if motion else None for c in targets[1:]
            )

    def describe(self) -> Network:
        """The network's contract, see `vsalient.models.network`."""
        return Network(
            module=self,
            forward=self,
            probability=self.probability,
            training_outputs=self.training_outputs,
            priors=self.priors,
            encode=self.encode,
            decode=self.decode,
            encoder=self.encoder,
            load_encoder=self.load_encoder,
        )

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
        self.encoder.load_state_dict(convert_lite_encoder(raw, self.variant), strict=True)

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
        cue8 = self.motion(features[5]) if self.motion is not None else None
        adds = self.residual(features[-1].transpose(1, 2)) if self.residual is not None else None
        if self.gated:
            found = self._gated(s4, s8, s16, s32, cue8, adds)
        else:
            found = self._added(s4, s8, s16, s32, cue8, adds)
        x4, *coarser = found
        x2 = F.relu(self.fine(s2) + upsample(self.fine_bring(x4), 2))
        return upsample(self.head2(self.fine_mix(x2)), 2), *coarser

    def _added(
        self, s4: Tensor, s8: Tensor, s16: Tensor, s32: Tensor, cue8: Tensor | None, adds: tuple[Tensor, ...] | None
    ) -> tuple[Tensor, ...]:
        """Features at s4, and logits at s4, s8 and s16; motion is added, or stands beside the encoder's features."""
        x = self.context(s32)
        mixed = F.relu(x)
        if cue8 is not None:
            cue16 = halved(cue8)
            s8, s16 = torch.cat([s8, cue8], 1), torch.cat([s16, cue16], 1)
            mixed = torch.cat([mixed, halved(cue16)], 1)
        add4, add8, add16, add32 = adds if adds is not None else (None,) * 4
        x = x + self.context2(self.context1(mixed))
        x = self.attention(x if add32 is None else x + add32)
        gates = (self.gate16, self.gate8, self.gate4) if self.grafted else (None,) * 3
        x16 = self.refine16(s16, x, add16, gate=gates[0])
        side16 = self.head16(x16)
        x8 = self.refine8(s8, x16, add8, gate=gates[1], side=side16 if self.grafted else None)
        side8 = self.head8(x8)
        x4 = self.refine4(s4, x8, add4, gate=gates[2], side=side8 if self.grafted else None)
        return x4, self.head4(x4), side8, side16

    def _gated(
        self, s4: Tensor, s8: Tensor, s16: Tensor, s32: Tensor, cue8: Tensor | None, adds: tuple[Tensor, ...] | None
    ) -> tuple[Tensor, ...]:
        """As `_added`, where looks and motion are weighed against each other at each scale."""
        moves: list[Tensor | None] = list(adds) if adds is not None else [None] * 4
        if cue8 is not None:
            cue16 = halved(cue8)
            cues = (cue8, cue16, halved(cue16))
            layers = (self.matched8, self.matched16, self.matched32)
            for place, (layer, cue) in enumerate(zip(layers, cues, strict=True), start=1):
                assert layer is not None
                found, known = layer(cue), moves[place]
                moves[place] = found if known is None else known + found
        x = self.context_norm(self.context(s32))
        x = x + self.context2(self.context1(F.relu(x)))
        x = self.attention(x if moves[3] is None else self.gate32(x, moves[3]))
        x16 = self.refine16(s16, x, moves[2], gate=self.gate16)
        side16 = self.head16(x16)
        x8 = self.refine8(s8, x16, moves[1], gate=self.gate8, side=side16)
        side8 = self.head8(x8)
        x4 = self.refine4(s4, x8, moves[0], gate=self.gate4, side=side8)
        return x4, self.head4(x4), side8, side16
