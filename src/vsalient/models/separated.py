"""A small encoder for 3D networks: EfficientNet-Lite's blocks with depthwise convolutions over three frames.

3DC-Seg's encoder is interaction-reduced and channel-separated (Tran et al., ICCV 2019): channels meet in 1×1×1
convolutions alone, frames and positions in depthwise ones alone. An inverted residual block is built so too; its
depthwise kernel grows a side in time, whose middle frame takes the published weights and whose outer frames begin at
zero ("inflation" as in I3D, Carreira and Zisserman, CVPR 2017, but central). At first it sees each frame as the
classifier of stills did, and training adds what neighbours say.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vsalient.models.lite_encoder import TAP_STAGES, ConvNorm2d, EfficientNetLite, encoder_weights


class SeparatedConv3d(nn.Module):
    """`ConvNorm2d` over clips; a depthwise kernel may see `frames` frames and skip every other one."""

    fold = (("conv", "norm"),)
    activation = "relu6"

    def __init__(self, like: ConvNorm2d, *, frames: int = 1, stride: int = 1) -> None:
        super().__init__()
        plain = like.conv
        side, step = plain.kernel_size[0], plain.stride[0]
        self.conv = nn.Conv3d(
            plain.in_channels,
            plain.out_channels,
            (frames, side, side),
            (stride, step, step),
            (frames // 2, side // 2, side // 2),
            groups=plain.groups,
            bias=False,
        )
        self.norm: nn.Module = nn.BatchNorm3d(plain.out_channels, eps=1e-3)
        self.act = like.act

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) → (B, C', ⌈T/stride⌉, H', W')."""
        if self.conv.groups > 1 and torch.is_grad_enabled() and torch.is_autocast_enabled("cpu"):
            # On CPUs the backward pass of a depthwise convolution is several times faster in float32.
            with torch.autocast("cpu", enabled=False):
                y = self.norm(self.conv(x.float().contiguous(memory_format=torch.channels_last_3d)))
            y = y.to(torch.get_autocast_dtype("cpu"))
        else:
            y = self.norm(self.conv(x))
        return torch.as_tensor(F.relu6(y, inplace=not torch.is_grad_enabled()) if self.act else y)


class SeparatedLite(nn.Module):
    """EfficientNet-Lite over clips, with taps behind chosen stages (0, 1, 2, 4 and 6 end at s2, s4, s8, s16 and s32).

    By default four taps at s4 to s32, of T, T/2, T/4 and T/8 frames, as 3DC-Seg has them.

    Args:
        variant: a key of `vsalient.models.lite_encoder.VARIANTS`.
        taps: the stages whose outputs leave the encoder.
        halves: the stages that halve time as well as space.
        first: the first stage whose depthwise kernels see three frames; the finer ones see one, where each frame of
            context would cost most.
    """

    def __init__(
        self,
        variant: str = "lite0",
        *,
        taps: tuple[int, ...] = (1, 2, 4, 6),
        halves: tuple[int, ...] = (2, 3, 5),
        first: int = 2,
    ) -> None:
        super().__init__()
        self.taps = taps
        plain = EfficientNetLite(variant)
        self.variant = variant
        self.register_buffer("mean", plain.get_buffer("mean"), persistent=False)
        self.register_buffer("scale", plain.get_buffer("scale"), persistent=False)
        self.stem = SeparatedConv3d(plain.stem)
        self.stages = plain.stages
        self.channels = tuple(plain.tap_channels[TAP_STAGES.index(tap)] for tap in taps)
        for number, stage in enumerate(plain.stages):
            assert isinstance(stage, nn.Sequential)
            for place, block in enumerate(stage):
                skips = 2 if number in halves and place == 0 else 1
                for name, part in list(block.named_children()):
                    if isinstance(part, ConvNorm2d):
                        deep = part.depthwise and number >= first
                        stride = skips if part.depthwise else 1
                        setattr(block, name, SeparatedConv3d(part, frames=3 if deep else 1, stride=stride))

    def forward(self, clip: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, T, H, W) in [0, 1], H and W multiples of 32 → the taps, finest first."""
        x = self.stem((clip - self.get_buffer("mean")) * self.get_buffer("scale"))
        taps = []
        for number, stage in enumerate(self.stages):
            x = stage(x)
            if number in self.taps:
                taps.append(x)
        return tuple(taps)

    def inflate(self, raw: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A published EfficientNet-Lite classifier's state dict, or one of a whole 3dc-lite → this encoder's.

        Raises:
            CheckpointError: tensors are missing.
        """
        own, inflated = self.state_dict(), {}
        for key, value in encoder_weights(raw, self.variant, own).items():
            if value.dim() == 4 and key in own and own[key].dim() == 5:
                kernel = value.new_zeros(*value.shape[:2], own[key].shape[2], *value.shape[2:])
                kernel[:, :, kernel.shape[2] // 2] = value
                value = kernel
            inflated[key] = value
        return inflated
