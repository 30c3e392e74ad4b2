"""EfficientNet-Lite in the place of a dense VGG: a small trunk for SCNN and STAN that begins from published weights."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from vsalient.errors import OptionError
from vsalient.models.channels import enlarge
from vsalient.models.lite_encoder import VARIANTS, ConvNorm2d, EfficientNetLite, encoder_weights
from vsalient.models.partial import load_part


class DenseLite(nn.Module):
    """The six features that `DenseVGG` gives, of an encoder of 3.4 million weights.

    Blocks 1 and 2 are its features at s2, blocks 3 and 4 those at s4 and s8. Blocks 5 and 6, which a dense VGG keeps at
    an eighth by dilation, are those at s16, enlarged, and those at s16 and s32 together.

    Args:
        variant: a key of `vsalient.models.lite_encoder.VARIANTS`.
        priors: input channels beside RGB; they count nothing at first.

    Attributes:
        channels: of the six features.

    Raises:
        OptionError: an unknown variant.
    """

    def __init__(self, variant: str = "lite0", *, priors: int = 0) -> None:
        super().__init__()
        if variant not in VARIANTS:
            raise OptionError(f"encoder '{variant}' is unknown; known: vgg, {', '.join(VARIANTS)}")
        self.variant = variant
        self.encoder = EfficientNetLite(variant)
        if priors:
            plain = self.encoder.stem.conv
            self.encoder.stem = ConvNorm2d(3 + priors, plain.out_channels, 3, stride=2)
            with torch.no_grad():
                self.encoder.stem.conv.weight[:, :3] = plain.weight
                self.encoder.stem.conv.weight[:, 3:] = 0
        t2, t4, t8, t16, t32 = self.encoder.tap_channels
        self.channels = (t2, t2, t4, t8, t16, t16 + t32)

    @property
    def first(self) -> nn.Conv2d:
        """The first convolution, the one that sees the priors."""
        return self.encoder.stem.conv

    def forward(self, frames: Tensor) -> tuple[Tensor, ...]:
        """(N, 3 + priors, H, W) in [0, 1], multiples of 8 → six features at H/2, H/2, H/4, H/8, H/8 and H/8."""
        s2, s4, s8, s16, s32 = self.encoder(frames)
        size = (s8.shape[2], s8.shape[3])
        wide = enlarge(s16, size)
        return s2, s2, s4, s8, wide, torch.cat([wide, enlarge(s32, size)], dim=1)

    def convert(self, raw: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A published EfficientNet-Lite classifier's state dict, or one of a whole 3dc-lite → this trunk's.

        Raises:
            CheckpointError: tensors are missing.
        """
        own = self.state_dict()
        weights = encoder_weights(raw, self.variant, self.encoder.state_dict())
        found = {f"encoder.{key}": value for key, value in weights.items()}
        stem = "encoder.stem.conv.weight"
        if stem in found and found[stem].shape[1] < own[stem].shape[1]:
            more = found[stem].new_zeros(len(found[stem]), own[stem].shape[1] - found[stem].shape[1], 3, 3)
            found[stem] = torch.cat([found[stem], more], dim=1)
        return found


def trunks(network: nn.Module) -> nn.Module | None:
    """Every `DenseLite` of a network as one part, which was trained before; None where there is none."""
    found = [module for module in network.modules() if isinstance(module, DenseLite)]
    return nn.ModuleList(found) if found else None


def load_trunks(network: nn.Module, raw: Mapping[str, Tensor]) -> None:
    """Give every `DenseLite` of a network the same published weights, see `DenseLite.convert`.

    Raises:
        CheckpointError: tensors are missing, or shapes differ.
    """
    for module in network.modules():
        if isinstance(module, DenseLite):
            load_part(module, module.convert(raw))
