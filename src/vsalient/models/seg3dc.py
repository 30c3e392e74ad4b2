"""3DC-Seg: an encoder-decoder of 3D convolutions for video object segmentation (Mahadevan et al., BMVC 2020).

"Making a Case for 3D Convolutions for Object Segmentation in Videos". Architecture and official checkpoint;
docs/models/3dc-seg.md tells where the paper's text and the official code part.
"""

import re
from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor, nn

from vsalient.errors import CheckpointError, OptionError
from vsalient.models.channels import normed
from vsalient.models.csn_weights import convert_encoder
from vsalient.models.lite_encoder import VARIANTS
from vsalient.models.network import Network
from vsalient.models.partial import load_part
from vsalient.models.seg3dc_decoder import BridgeName, Decoder, RefinementName
from vsalient.models.seg3dc_encoder import Encoder
from vsalient.models.separated import SeparatedLite


class Seg3DC(nn.Module):
    """3DC-Seg. The defaults are the released configuration: ir-CSN-152, GC3D, RF3D; 74,319,618 parameters.

    Args:
        depths: blocks in each of the encoder's four stages.
        base_width: the encoder's first width.
        decoder_width: channels throughout the decoder.
        bridge: the module between encoder and decoder (table 2b).
        refinement: the module at each scale of the decoder (table 3).
        encoder: "csn", or an EfficientNet-Lite size such as "lite0": a small one that begins from weights of stills
            (`vsalient.models.separated`); `depths` and `base_width` are csn's.
        batch_norm: a batch norm behind the decoder's convolutions, which the engine folds away: the paper's decoder has
            none, and needs a small learning rate.

    Raises:
        OptionError: an unknown bridge, refinement or encoder.
    """

    def __init__(
        self,
        *,
        depths: Sequence[int] = (3, 8, 36, 3),
        base_width: int = 64,
        decoder_width: int = 256,
        bridge: BridgeName = "gc3d",
        refinement: RefinementName = "rf3d",
        encoder: str = "csn",
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        if encoder != "csn" and encoder not in VARIANTS:
            raise OptionError(f"unknown encoder '{encoder}' for 3DC-Seg; known: csn, {', '.join(VARIANTS)}")
        self.encoder = Encoder(depths=depths, base_width=base_width) if encoder == "csn" else SeparatedLite(encoder)
        self.decoder = Decoder(self.encoder.channels, width=decoder_width, bridge=bridge, refinement=refinement)
        if batch_norm:
            _add_norms(self.decoder)

    def forward(self, clip: Tensor) -> Tensor:
        """Logits of background and object.

        Args:
            clip: (B, 3, T, H, W) RGB float in [0, 1]; any T ≥ 1 (trained with 8); H, W multiples of 32.

        Returns:
            (B, 2, T, H, W) float32.
        """
        logits: Tensor = self.decoder(*self.encoder(clip))
        return logits

    def describe(self) -> Network:
        """The network's contract, see `vsalient.models.network`."""
        return Network(
            module=self,
            forward=self,
            probability=self.probability,
            training_outputs=self.training_outputs,
            encoder=self.encoder,
            load_encoder=self.load_encoder,
            convert_checkpoint=lambda raw: convert_checkpoint(raw, self),
        )

    def training_outputs(self, clip: Tensor) -> tuple[Tensor, ...]:
        """The one output (B, 1, T, H, W) for a binary cross-entropy: the object's logit less the background's.

        Its sigmoid is the softmax's object class, so that training and inference see the same probability.
        """
        logits = self.forward(clip)
        return (logits[:, 1:] - logits[:, :1],)

    def load_encoder(self, raw: Mapping[str, Tensor]) -> None:
        """Take the encoder's weights from a published ir-CSN of this depth and width, strictly, less its classifier.

        Names may be those of VMZ, mmaction2 or 3DC-Seg, see `vsalient.models.csn_weights`; a lite encoder takes a
        published EfficientNet-Lite of its size, or the encoder of a trained 3dc-lite.

        Raises:
            CheckpointError: a key is unknown or missing, or a tensor has another shape.
        """
        if isinstance(self.encoder, SeparatedLite):
            load_part(self.encoder, self.encoder.inflate(raw))
        else:
            self.encoder.load_state_dict(convert_encoder(raw, self.encoder), strict=False)

    @staticmethod
    def probability(logits: Tensor) -> Tensor:
        """Softmax over the two channels; (B, 2, T, H, W) -> (B, T, H, W) probability of the object in [0, 1].

        Training only pushes channel 1, yet the official inference normalises over both.
        """
        return torch.softmax(logits, dim=1)[:, 1]


def _add_norms(decoder: Decoder) -> None:
    """A batch norm behind every convolution of the decoder but its head."""
    for parent in list(decoder.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Conv3d and child is not decoder.head:
                setattr(parent, name, normed(child, batch_norm=True))


KEY_TABLE: tuple[tuple[str, str], ...] = (
    # encoder.bn1, not encoder.resnet.bn1, is what the official forward pass uses: its sync-BN conversion made
    # two tensors of one, and the copy below `encoder.resnet.` may be stale.
    (r"encoder\.(conv1|bn1|layer[1-4])\.", r"encoder.\1."),
    (r"decoders\.0\.GC\.conv_l([12])\.", r"decoder.bridge.left\1."),
    (r"decoders\.0\.GC\.conv_r([12])\.", r"decoder.bridge.right\1."),
    (r"decoders\.0\.convG([12])\.", r"decoder.context.conv\1."),
    (r"decoders\.0\.RF([234])\.convFS1\.", r"decoder.refine\1.skip."),
    (r"decoders\.0\.RF([234])\.convFS2\.", r"decoder.refine\1.skip_pair.conv1."),
    (r"decoders\.0\.RF([234])\.convFS3\.", r"decoder.refine\1.skip_pair.conv2."),
    (r"decoders\.0\.RF([234])\.convMM([12])\.", r"decoder.refine\1.merge_pair.conv\2."),
    (r"decoders\.0\.pred2\.", r"decoder.head."),
)
"""How an official key begins (a pattern, `module.` already taken off) -> how ours begins; the rest stays."""

DROPPED_KEYS: dict[str, str] = {
    "encoder.resnet.": "the encoder again, with its classifier and a first batch norm that may be stale",
    "encoder.conv1_p.": "convolves a guidance mask that 3DC-Seg never feeds",
    "encoder.mean": "a constant of the architecture",
    "encoder.std": "ones",
    "decoders.0.pred3.": "an auxiliary head whose output is thrown away",
    "decoders.0.pred4.": "an auxiliary head whose output is thrown away",
    "decoders.0.pred5.": "an auxiliary head whose output is thrown away",
}
"""How an official key that we do not carry begins -> why."""


def convert_checkpoint(raw: Mapping[str, Tensor], network: nn.Module | None = None) -> dict[str, Tensor]:
    """Rename the official checkpoint's tensors to ours.

    Args:
        raw: the `model` entry of the official file; keys may begin with `module.`.
        network: what the result has to fit; the released configuration when None. Only the default bridge and
            refinement have official names.

    Returns:
        A state dict that loads strictly. `num_batches_tracked`, which old files lack and nothing reads at
        inference, is zero where it was missing.

    Raises:
        CheckpointError: a key is unknown or missing, or a tensor has another shape; the message names them.
    """
    if network is None:
        with torch.device("meta"):
            network = Seg3DC()
    expected = network.state_dict()
    converted: dict[str, Tensor] = {}
    unknown: list[str] = []
    for key, value in raw.items():
        name = key.removeprefix("module.")
        if name.startswith(tuple(DROPPED_KEYS)):
            continue
        renamed = _rename(name)
        if renamed is None or renamed not in expected:
            unknown.append(key)
        else:
            converted[renamed] = value
    for key in expected.keys() - converted.keys():
        if key.endswith("num_batches_tracked"):
            converted[key] = torch.zeros((), dtype=torch.long)
    missing = [key for key in expected if key not in converted]
    shapes = [
        f"{key} {tuple(value.shape)}, not {tuple(expected[key].shape)}"
        for key, value in converted.items()
        if value.shape != expected[key].shape
    ]
    faults = [
        f"{what}: {_some(keys)}"
        for what, keys in (("unknown keys", unknown), ("missing keys", missing), ("wrong shapes", shapes))
        if keys
    ]
    if faults:
        raise CheckpointError(
            f"the checkpoint does not fit 3DC-Seg; {'; '.join(faults)}. Give the official "
            "release's file (bmvc_final.pth), or one that vsalient has written"
        )
    return converted


def _rename(name: str) -> str | None:
    for pattern, replacement in KEY_TABLE:
        match = re.match(pattern, name)
        if match:
            return match.expand(replacement) + name[match.end() :]
    return None


def _some(keys: Collection[str], limit: int = 4) -> str:
    shown = ", ".join(list(keys)[:limit])
    return shown if len(keys) <= limit else f"{shown} and {len(keys) - limit} more"
