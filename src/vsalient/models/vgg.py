"""VGG-16 as a dense network: what SCNN's two networks and STAN's two streams share.

Sources: Simonyan and Zisserman, ICLR 2015, configuration D; SCNN section III-A and STAN section 3.1 (the last
two poolings no longer halve the picture, dilation keeps the receptive field, the fully connected layers
become convolutions, "six convolutional blocks" in all).
"""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vsalient.errors import CheckpointError, OptionError
from vsalient.models.channels import Normalise, normed, scaled

VGG_BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
"""Channels and convolutions of VGG-16's blocks 1 to 5."""
CLASSIFIER = 4096
"""Channels of block 6, VGG's fc6 and fc7."""


class DenseVGG(nn.Module):
    """VGG-16 whose blocks 4 to 6 all work at an eighth of the input's size.

    Block 5 is dilated by 2, as if pooling 4 had halved its input. Block 6 is fc6 and fc7 as convolutions. In SCNN both
    are 1×1 (section III-A), so that the dilation of 4 that pooling 5 would call for has nothing to act on; in STAN fc6
    is 3×3 and has it ("dilated convolutions in the last two convolutional blocks").

    Args:
        priors: input channels beside RGB (SCNN Eq. 2; STAN's temporal stream).
        width: factor on every channel count; 1 is the paper's size.
        last_poolings: "removed" (SCNN) or "stride1", 3×3 (STAN, after DeepLab).
        last_kernel: side of fc6's kernel, 1 or 3.
        dropout: rate behind both layers of block 6, as in VGG.
        batch_norm: a batch norm behind every convolution, which the engine folds away (`channels.normed`).

    Raises:
        OptionError: another kernel.
    """

    def __init__(
        self,
        *,
        priors: int = 0,
        width: float = 1.0,
        last_poolings: Literal["removed", "stride1"] = "removed",
        last_kernel: int = 1,
        dropout: float = 0.5,
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        if last_kernel not in (1, 3):
            raise OptionError(f"last_kernel is {last_kernel}: fc6 is a 1×1 or a 3×3 convolution")
        self.normalise = Normalise(priors=priors)
        self.last_poolings = last_poolings
        inputs, blocks = 3 + priors, []
        for number, (channels, count) in enumerate(VGG_BLOCKS):
            dilation = 2 if number == 4 else 1
            layers = nn.ModuleList()
            for _ in range(count):
                outputs = scaled(channels, width)
                layer = nn.Conv2d(inputs, outputs, 3, padding=dilation, dilation=dilation)
                layers.append(normed(layer, batch_norm=batch_norm))
                inputs = outputs
            blocks.append(layers)
        wide = scaled(CLASSIFIER, width)
        reach = 4 * (last_kernel // 2)
        fc6 = nn.Conv2d(inputs, wide, last_kernel, padding=reach, dilation=max(1, reach))
        blocks.append(nn.ModuleList(normed(layer, batch_norm=batch_norm) for layer in (fc6, nn.Conv2d(wide, wide, 1))))
        self.blocks = nn.ModuleList(blocks)
        self.channels = (*(scaled(c, width) for c, _ in VGG_BLOCKS), wide)
        self.dropout = nn.Dropout(dropout)
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module.bias is not None:
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)
        # "re-initialized with four channels by Xavier function" (SCNN section IV-B).
        if priors:
            nn.init.xavier_uniform_(self.first.weight)

    @property
    def first(self) -> nn.Conv2d:
        """The first convolution, the one that sees the priors."""
        block = self.blocks[0]
        assert isinstance(block, nn.ModuleList)
        layer = block[0][0] if isinstance(block[0], nn.Sequential) else block[0]
        assert isinstance(layer, nn.Conv2d)
        return layer

    def forward(self, frames: Tensor) -> tuple[Tensor, ...]:
        """(N, 3 + priors, H, W) in [0, 1] → the six blocks' features at H, H/2, H/4, H/8, H/8, H/8.

        With `last_poolings="stride1"` the features of blocks 4 and 5 are those behind their poolings.
        """
        x, features = self.normalise(frames), []
        for number, block in enumerate(self.blocks):
            assert isinstance(block, nn.ModuleList)
            if 1 <= number <= 3:
                x = F.max_pool2d(x, 2)
            for layer in block:
                x = F.relu(layer(x))
                if number == 5:
                    x = self.dropout(x)
            if number in (3, 4) and self.last_poolings == "stride1":
                x = F.max_pool2d(x, 3, stride=1, padding=1)
            features.append(x)
        return tuple(features)


KEY_TABLE: Mapping[str, str] = {
    # torchvision's layer → ours
    **{
        f"features.{theirs}": f"blocks.{block}.{layer}"
        for block, members in enumerate(((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28)))
        for layer, theirs in enumerate(members)
    },
    "classifier.0": "blocks.5.0",
    "classifier.3": "blocks.5.1",
}
DROPPED_KEYS: tuple[tuple[str, str], ...] = (("classifier.6.", "the 1000-class layer has no place in a saliency map"),)


_PARTS = {1: ((0, 7),), 3: ((0, 2), (2, 5), (5, 7))}
"""Which of fc6's seven rows (or columns) each of the kernel's stands for, by the kernel's side."""


def convert_vgg16(raw: Mapping[str, Tensor], *, last_kernel: int = 1) -> dict[str, Tensor]:
    """Rename torchvision's VGG-16 state dict to `DenseVGG`'s keys.

    fc6 sees 7×7 positions in VGG and one here, or nine: its kernel is summed over the positions, or over 2, 3 and 2
    rows and columns of them, which keeps its answer to a feature map that is the same everywhere.

    Args:
        raw: torchvision's state dict.
        last_kernel: side of fc6's kernel here.

    Raises:
        CheckpointError: a key is unknown or missing.
    """
    converted = {}
    for key, value in raw.items():
        if key.startswith(tuple(prefix for prefix, _ in DROPPED_KEYS)):
            continue
        layer, _, leaf = key.rpartition(".")
        if layer not in KEY_TABLE:
            raise CheckpointError(
                f"key '{key}' is not one of torchvision's VGG-16; expected features.0.weight and so on"
            )
        if key == "classifier.0.weight":
            value = value.view(value.shape[0], -1, 7, 7)
            for side in (2, 3):
                parts = [value.narrow(side, a, b - a).sum(dim=side) for a, b in _PARTS[last_kernel]]
                value = torch.stack(parts, dim=side)
        elif key == "classifier.3.weight":
            value = value.view(*value.shape, 1, 1)
        converted[f"{KEY_TABLE[layer]}.{leaf}"] = value
    expected = [f"{home}.{leaf}" for home in KEY_TABLE.values() for leaf in ("weight", "bias")]
    if missing := [key for key in expected if key not in converted]:
        raise CheckpointError(f"not a whole VGG-16 checkpoint: {len(missing)} tensors are missing, first {missing[0]}")
    return converted


def fold_time(x: Tensor) -> Tensor:
    """(B, C, T, H, W) → (B·T, C, H, W)."""
    return x.transpose(1, 2).flatten(0, 1)


def unfold_time(x: Tensor, clips: int) -> Tensor:
    """(B·T, C, H, W) → (B, C, T, H, W)."""
    return x.view(clips, -1, *x.shape[1:]).transpose(1, 2)
