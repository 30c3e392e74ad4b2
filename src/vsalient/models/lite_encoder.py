"""The encoder of 3dc-lite: EfficientNet-Lite, one frame at a time, and the names of its published weights."""

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vsalient.errors import CheckpointError


class LiteVariant(NamedTuple):
    """An EfficientNet-Lite size: multipliers of the B0 layout for channels and for block repeats."""

    width: float
    depth: float


VARIANTS: dict[str, LiteVariant] = {
    "lite0": LiteVariant(1.0, 1.0),
    "lite1": LiteVariant(1.0, 1.1),
    "lite2": LiteVariant(1.1, 1.2),
}
# EfficientNet-B0's stages: kernel, stride, expansion, channels, repeats (Tan and Le, ICML 2019, Table 1).
ENCODER_STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
TAP_STAGES = (0, 1, 2, 4, 6)
"""The stages whose outputs leave the encoder, at s2, s4, s8, s16 and s32."""


def _round_channels(channels: float) -> int:
    """Round to a multiple of 8, never down by more than a tenth (the EfficientNet rule)."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


class ConvNorm2d(nn.Module):
    """Convolution, batch norm, optional ReLU6."""

    fold = (("conv", "norm"),)
    activation = "relu6"

    def __init__(self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1, act: bool = True):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(outputs, eps=1e-3)
        self.act = act
        self.depthwise = groups > 1

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → (N, C', H/stride, W/stride)."""
        if self.depthwise and torch.is_grad_enabled() and x.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
            # Training on a CPU: the backward pass of a depthwise convolution is 2-8 times faster in this form
            # than in bfloat16.
            with torch.autocast("cpu", enabled=False):
                y = self.norm(self.conv(x.float().contiguous(memory_format=torch.channels_last)))
            y = y.to(torch.get_autocast_dtype("cpu"))
        else:
            y = self.norm(self.conv(x))
        return torch.as_tensor(F.relu6(y, inplace=not torch.is_grad_enabled()) if self.act else y)


class InvertedResidual(nn.Module):
    """MobileNetV2's block without squeeze-excite: expand, depthwise, project, and a shortcut where shapes agree."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int):
        super().__init__()
        middle = inputs * expansion
        self.expand = ConvNorm2d(inputs, middle, 1) if expansion > 1 else nn.Identity()
        self.depthwise = ConvNorm2d(middle, middle, kernel, stride=stride, groups=middle)
        self.project = ConvNorm2d(middle, outputs, 1, act=False)
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → (N, C', H/stride, W/stride)."""
        y = self.project(self.depthwise(self.expand(x)))
        return torch.as_tensor(x + y if self.shortcut else y)


class EfficientNetLite(nn.Module):
    """EfficientNet-Lite without its head: five taps at s2, s4, s8, s16 and s32.

    Source: Tan and Le, ICML 2019, and the Lite variants (ReLU6, no squeeze-excite, fixed stem). Input normalised as
    the published weights expect: (255·x − 127) / 128.
    """

    def __init__(self, variant: str = "lite0") -> None:
        super().__init__()
        size = VARIANTS[variant]
        self.register_buffer("mean", torch.tensor(127.0 / 255.0), persistent=False)
        self.register_buffer("scale", torch.tensor(255.0 / 128.0), persistent=False)
        self.stem = ConvNorm2d(3, 32, 3, stride=2)
        channels, stages, taps = 32, [], []
        for number, (kernel, stride, expansion, outputs, repeats) in enumerate(ENCODER_STAGES):
            outputs = _round_channels(outputs * size.width)
            # The Lite variants scale neither the first nor the last stage's depth.
            count = repeats if number in (0, len(ENCODER_STAGES) - 1) else math.ceil(repeats * size.depth)
            blocks = []
            for i in range(count):
                blocks.append(InvertedResidual(channels, outputs, kernel, stride if i == 0 else 1, expansion))
                channels = outputs
            stages.append(nn.Sequential(*blocks))
            if number in TAP_STAGES:
                taps.append(outputs)
        self.stages = nn.ModuleList(stages)
        self.tap_channels = tuple(taps)

    def forward(self, frames: Tensor) -> tuple[Tensor, ...]:
        """Features of (N, 3, H, W) frames in [0, 1], H and W multiples of 32, finest first."""
        x = self.stem((frames - self.get_buffer("mean")) * self.get_buffer("scale"))
        taps = []
        for number, stage in enumerate(self.stages):
            x = stage(x)
            if number in TAP_STAGES:
                taps.append(x)
        return tuple(taps)


STEM_KEYS: Mapping[str, str] = {"_conv_stem": "stem.conv.", "_bn0": "stem.norm."}
BLOCK_KEYS: Mapping[str, str] = {
    "_expand_conv": "expand.conv.",
    "_bn0": "expand.norm.",
    "_depthwise_conv": "depthwise.conv.",
    "_bn1": "depthwise.norm.",
    "_project_conv": "project.conv.",
    "_bn2": "project.norm.",
}
HEAD_KEYS = ("_conv_head.", "_bn1.", "_fc.")
"""The classifier's head: segmentation has no use for it."""


def encoder_weights(raw: Mapping[str, Tensor], variant: str, wanted: Iterable[str]) -> dict[str, Tensor]:
    """`EfficientNetLite`'s weights from the state dict of a whole 3dc-lite or of a published classifier.

    Raises:
        CheckpointError: some of the wanted names are missing.
    """
    lite = {key.removeprefix("encoder."): value for key, value in raw.items() if key.startswith("encoder.")}
    found = lite or convert_lite_encoder(raw, variant)
    missing = [key for key in wanted if key not in found and not key.endswith("num_batches_tracked")]
    if missing:
        raise CheckpointError(f"not a whole EfficientNet-Lite: {len(missing)} tensors are missing, first {missing[0]}")
    return found


def convert_lite_encoder(raw: Mapping[str, Tensor], variant: str = "lite0") -> dict[str, Tensor]:
    """Rename the published EfficientNet-Lite classifier's state dict to `EfficientNetLite`'s names, less its head."""
    size = VARIANTS[variant]
    last = len(ENCODER_STAGES) - 1
    counts = [s[4] if i in (0, last) else math.ceil(s[4] * size.depth) for i, s in enumerate(ENCODER_STAGES)]
    homes = [f"stages.{stage}.{block}." for stage, count in enumerate(counts) for block in range(count)]
    renamed = {}
    for key, value in raw.items():
        if key.startswith(HEAD_KEYS):
            continue
        if key.startswith("_blocks."):
            _, number, rest = key.split(".", 2)
            name, leaf = rest.split(".", 1)
            renamed[homes[int(number)] + BLOCK_KEYS[name] + leaf] = value
        else:
            name, leaf = key.split(".", 1)
            renamed[STEM_KEYS[name] + leaf] = value
    return renamed
