"""Conv3DNet: three frames in, the middle frame's saliency out, by 3D convolution and index unpooling.

Source: G. Ding and Y. Fang, "Video Saliency Detection by 3D Convolutional Neural Networks", IFTC 2017
(Conv3DNet and Deconv3DNet). Section and equation numbers below are that paper's.

The channel counts stand only in the paper's Fig. 1 and not in its text; these are our choices:

- Encoder groups of 64, 128, 256, 512, 512 channels, as in VGG and C3D, which section 2.1 cites for its 3×3×3
  kernels, with 2, 2, 2, 3, 3 convolutions: the mirror of the decoder's stated 3, 3, 2, 2, 2 deconvolutions.
- A group convolves and then pools. Poolings 4 and 5 have stride 2 in time as well; three frames become two
  and then one, the incomplete last window counting ("SAME" pooling of TensorFlow, which the paper used;
  otherwise no frame would be left after the fifth).
- Indices: the decoder works on one slot (section 2.2), so it unpools with the indices of the pooled slot that
  holds the middle frame, their position in time dropped.
- Deconvolutions are 1×3×3: on one slot the outer taps of 3×3×3 would only ever meet zero padding.
- The last convolution is linear. The text's ReLU would equal the clamp in `probability`, but a map that falls
  below zero everywhere would stop learning.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vsalient.errors import OptionError
from vsalient.models.channels import Normalise, scaled
from vsalient.models.network import Network

ENCODER_GROUPS = ((64, 2), (128, 2), (256, 2), (512, 3), (512, 3))
"""Channels and convolutions of each group, finest first."""
POOL_STRIDES = ((1, 2, 2), (1, 2, 2), (1, 2, 2), (2, 2, 2), (2, 2, 2))
"""Section 2.1: time is pooled late."""
DECODER_GROUPS = ((512, 512, 512), (512, 512, 256), (256, 128), (128, 64), (64, 64))
"""Channels of each group's deconvolutions, coarsest first; each ends with what the next unpooling needs."""
CLIP_FRAMES = 3


class ConvNormRelu(nn.Module):
    """Convolution of stride 1, batch norm, ReLU (Eq. 1 with the section's batch norm)."""

    fold = (("conv", "norm"),)

    def __init__(self, inputs: int, outputs: int, kernel: tuple[int, int, int]) -> None:
        super().__init__()
        # A deconvolution of stride 1 is a convolution with the kernel turned round: one class serves both
        # halves.
        self.conv = nn.Conv3d(inputs, outputs, kernel, padding=(kernel[0] // 2, 1, 1), bias=False)
        self.norm: nn.Module = nn.BatchNorm3d(outputs)
        nn.init.kaiming_normal_(self.conv.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) → (B, C', T, H, W)."""
        return F.relu(self.norm(self.conv(x)))


def middle_indices(indices: Tensor, *, size: tuple[int, int], slot: int) -> Tensor:
    """Indices for unpooling one slot in space, out of those of a 3D pooling.

    Args:
        indices: (B, C, T', h, w), flat positions in the pooling's (T, H, W) input.
        size: that input's (H, W).
        slot: the pooled slot to keep.

    Returns:
        (B, C, 1, h, w): flat positions in (1, H, W).
    """
    return indices[:, :, slot : slot + 1] % (size[0] * size[1])


class Conv3DNet(nn.Module):
    """The network: (B, 3, 3, H, W) in [0, 1], H and W multiples of 32, to the middle frame's map (B, 1, 1, H,
    W).

    The output is a regressed saliency value, not a logit: the loss is its squared error (Eq. 2), and
    `probability` clamps it.

    Args:
        width: factor on every channel count; 1 is the paper's size.
    """

    priors: tuple[str, ...] = ()

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        self.normalise = Normalise()
        inputs, groups = 3, []
        for channels, count in ENCODER_GROUPS:
            layers = []
            for _ in range(count):
                layers.append(ConvNormRelu(inputs, scaled(channels, width), (3, 3, 3)))
                inputs = scaled(channels, width)
            groups.append(nn.Sequential(*layers))
        self.encoder = nn.ModuleList(groups)
        groups = []
        for outputs in DECODER_GROUPS:
            layers = []
            for channels in outputs:
                layers.append(ConvNormRelu(inputs, scaled(channels, width), (1, 3, 3)))
                inputs = scaled(channels, width)
            groups.append(nn.Sequential(*layers))
        self.decoder = nn.ModuleList(groups)
        self.predict = nn.Conv3d(inputs, 1, (1, 3, 3), padding=(0, 1, 1))
        nn.init.normal_(self.predict.weight, std=0.01)
        assert self.predict.bias is not None
        nn.init.zeros_(self.predict.bias)

    def contract(self, clip: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(B, 3, 3, H, W) → feature (B, C, 1, H/32, W/32) and the poolings' indices (B, C, 1, h, w)."""
        x, kept = self.normalise(clip), []
        middle = CLIP_FRAMES // 2
        for group, stride in zip(self.encoder, POOL_STRIDES, strict=True):
            x = group(x)
            size = (x.shape[3], x.shape[4])
            x, indices = F.max_pool3d(x, stride, stride, ceil_mode=True, return_indices=True)
            middle //= stride[0]
            kept.append(middle_indices(indices, size=size, slot=middle))
        return x, kept

    def expand(self, x: Tensor, kept: list[Tensor]) -> Tensor:
        """What `contract` gave → the regressed map (B, 1, 1, H, W)."""
        for group, indices in zip(self.decoder, reversed(kept), strict=True):
            x = group(F.max_unpool3d(x, indices, (1, 2, 2)))
        return torch.as_tensor(self.predict(x))

    def forward(self, clip: Tensor) -> Tensor:
        """(B, 3, 3, H, W) in [0, 1] → the middle frame's regressed map (B, 1, 1, H, W).

        Raises:
            OptionError: the clip's length or size does not fit the poolings.
        """
        t, h, w = clip.shape[2:]
        if t != CLIP_FRAMES or h % 32 or w % 32:
            raise OptionError(
                f"conv3dnet got a clip of {t} frames of {w}x{h}; it needs 3 frames and multiples of 32 "
                "pixels: use its own clip length and geometry"
            )
        return self.expand(*self.contract(clip))

    def describe(self) -> Network:
        """The network's contract, see `vsalient.models.network`."""
        return Network(
            module=self,
            forward=self,
            probability=self.probability,
            training_outputs=self.training_outputs,
            maps="middle",
            shortest=CLIP_FRAMES,
            encoder=self.encoder,
        )

    def training_outputs(self, clip: Tensor) -> tuple[Tensor, ...]:
        """The one output (B, 1, 1, H, W), for the middle frame's ground truth under the squared error of Eq.
        2.
        """
        return (self.forward(clip),)

    @staticmethod
    def probability(logits: Tensor) -> Tensor:
        """Regressed map (B, 1, 1, H, W) → probability (B, 1, H, W): clamped to [0, 1]."""
        return logits.float().clamp(0.0, 1.0)[:, 0]
