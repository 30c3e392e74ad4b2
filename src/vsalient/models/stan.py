"""STAN: a spatial and a temporal stream, joined over four frames by ConvLSTM, 3D convolution and attention.

Source: Y. Tang, W. Zou, Y. Hua, Z. Jin and X. Li, "Video Salient Object Detection via Spatiotemporal
Attention Neural Networks", Neurocomputing 2020. Section, equation and figure numbers below are that paper's.

Which frame the map belongs to: the ConvLSTM is "many-to-one" (Eq. 3), its output is the last hidden state, so
a clip of four frames yields the map of its last frame, and a video is read with one clip a frame that ends at
it.

Choices where the text leaves a number out:

- The two branches of a stream (behind pooling 4, and behind block 6) are those of the FCN it starts from (DCL
  [27]): 3×3×128 and 1×1×128 convolutions with ReLU. DCL's third, scoring convolution is what Eq. 5 calls the
  1-channel convolution over both streams' features.
- Eq. 7 weighs single maps (the attention has three channels for three features), so the ConvLSTM has one
  hidden channel, and the 3D convolution one output channel, over the 4 × 128 concatenated channels of Eq. 2.
- The 3D convolution is T×3×3 without padding in time, "many-to-one" like the ConvLSTM.
- ReLU stands between the attention's two convolutions.
- Dilation is 2 in block 5 and 4 in block 6, what the poolings that no longer halve the picture had done; block 6 has
  one 3×3 convolution for it to act on, as in DeepLab, the FCN behind DCL, and one of 1×1.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vsalient.errors import OptionError
from vsalient.models.channels import enlarge, normed, scaled
from vsalient.models.dense_lite import DenseLite, load_trunks, trunks
from vsalient.models.network import Network
from vsalient.models.partial import load_part
from vsalient.models.vgg import DenseVGG, convert_vgg16, fold_time, unfold_time

BRANCH_CHANNELS = 128
ATTENTION_CHANNELS = 256
BRANCH_BLOCKS = (4, 6)
"""Section 4.2: one branch behind the fourth pooling, one behind the last convolution."""


class Stream(nn.Module):
    """A dense VGG with two branches: (N, 3 + priors, H, W) in [0, 1] → two features (N, 128, H/8, W/8)."""

    def __init__(
        self,
        *,
        priors: int = 0,
        width: float = 1.0,
        last_kernel: int = 3,
        dropout: float = 0.5,
        batch_norm: bool = False,
        encoder: str = "vgg",
    ) -> None:
        super().__init__()
        self.vgg: DenseVGG | DenseLite
        if encoder == "vgg":
            self.vgg = DenseVGG(
                priors=priors,
                width=width,
                last_poolings="stride1",
                last_kernel=last_kernel,
                dropout=dropout,
                batch_norm=batch_norm,
            )
        else:
            self.vgg = DenseLite(encoder, priors=priors)
        channels = scaled(BRANCH_CHANNELS, width)
        self.branches = nn.ModuleList(
            nn.Sequential(
                normed(nn.Conv2d(self.vgg.channels[block - 1], channels, 3, padding=1), batch_norm=batch_norm),
                nn.ReLU(),
                normed(nn.Conv2d(channels, channels, 1), batch_norm=batch_norm),
                nn.ReLU(),
            )
            for block in BRANCH_BLOCKS
        )
        for module in self.branches.modules():
            if isinstance(module, nn.Conv2d) and module.bias is not None:
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)
        if priors and isinstance(self.vgg, DenseVGG):
            # "a Gaussian distribution is used to re-initialize the first convolutional layer" (section 4.2).
            nn.init.kaiming_normal_(self.vgg.first.weight, nonlinearity="relu")

    def forward(self, frames: Tensor) -> tuple[Tensor, ...]:
        """Features of the two levels r1, r2 (Eq. 1, before the up-sampling)."""
        features = self.vgg(frames)
        return tuple(b(features[block - 1]) for b, block in zip(self.branches, BRANCH_BLOCKS, strict=True))


class ConvLSTM(nn.Module):
    """Eq. 4: an LSTM whose gates are convolutions of the input and of the last hidden state."""

    def __init__(self, inputs: int, hidden: int, *, kernel: int = 3) -> None:
        super().__init__()
        self.hidden = hidden
        # The four gates' weights side by side, in the order input, forget, output, memory.
        self.input = nn.Conv2d(inputs, 4 * hidden, kernel, padding=kernel // 2)
        self.recurrent = nn.Conv2d(hidden, 4 * hidden, kernel, padding=kernel // 2, bias=False)

    def advance(self, driven: Tensor, hidden: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """One step from the input's share of the gates.

        Args:
            driven: `self.input` of X_t, (B, 4·hidden, H, W).
            hidden: H_{t−1} (B, hidden, H, W).
            memory: C_{t−1}, same shape.

        Returns:
            H_t and C_t.
        """
        enter, forget, leave, candidate = (driven + self.recurrent(hidden)).chunk(4, dim=1)
        memory = torch.sigmoid(forget) * memory + torch.sigmoid(enter) * torch.tanh(candidate)
        return torch.sigmoid(leave) * torch.tanh(memory), memory

    def start(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """H_0 and C_0 for pictures like `x` (B, C, H, W): zeros."""
        zeros = x.new_zeros(x.shape[0], self.hidden, *x.shape[2:])
        return zeros, zeros


class STAN(nn.Module):
    """The whole network: (B, 3, 4, H, W) in [0, 1] and motion priors → last frame's logits (B, 1, 1, H, W).

    H and W must be multiples of 8.

    Args:
        width: factor on every channel count; 1 is the paper's size.
        frames: T, the clip's length.
        lstm, conv3d, attention: parts that the ablations of section 4.4 leave out. OS and ST keep none, STC and STL one
            of 3D convolution and ConvLSTM, STLC both; without attention the maps are added.
        refine_stride: ConvLSTM, 3D convolution and attention work at this fraction of the input's size; 1 in
            the paper, more for the small configuration.
        prior: what the temporal stream sees: "motion", the frame with its motion prior as a fourth channel; "flow",
            grey optical flow alone (Fig. 6c's "original optical flow map"), in three equal channels; "none", no stream.
        last_kernel: side of fc6's kernel in VGG's block 6: 3, dilated by 4 as block 5 is by 2 (section 3.1: dilation in
            the last two blocks), or 1, which no dilation can act on (SCNN's reading).
        dropout: rate in VGG's block 6.
        batch_norm: norms in both streams for training from random weights, which the engine folds away.
        supervise_frames: Ost of Eq. 5 of every frame is a training output too, so that a clip teaches four frames.
        encoder: "vgg", or an EfficientNet-Lite size such as "lite0": a small trunk in both streams that begins from
            weights of stills (`vsalient.models.dense_lite`); last_kernel and dropout are VGG's.
    """

    priors: tuple[str, ...] = ("motion",)

    def __init__(
        self,
        width: float = 1.0,
        *,
        frames: int = 4,
        lstm: bool = True,
        conv3d: bool = True,
        attention: bool = True,
        refine_stride: int = 1,
        prior: Literal["motion", "flow", "none"] = "motion",
        last_kernel: int = 3,
        dropout: float = 0.5,
        batch_norm: bool = False,
        supervise_frames: bool = False,
        encoder: str = "vgg",
    ) -> None:
        super().__init__()
        if prior not in ("motion", "flow", "none"):
            raise OptionError(f"stan's prior is '{prior}': give motion, flow or none")
        self.frames, self.last_kernel, self.encoder = frames, last_kernel, encoder
        self.supervise_frames = supervise_frames
        self.refine_stride = refine_stride

        def stream(priors: int) -> Stream:
            return Stream(
                priors=priors,
                width=width,
                last_kernel=last_kernel,
                dropout=dropout,
                batch_norm=batch_norm,
                encoder=encoder,
            )

        self.spatial = stream(0)
        self.temporal = stream(int(prior == "motion")) if prior != "none" else None
        self.priors = (prior,) if prior != "none" else ()
        streams = 1 + len(self.priors)
        self.branch_channels = channels = scaled(BRANCH_CHANNELS, width)
        levels = len(BRANCH_BLOCKS)
        self.fuse = nn.ModuleList(nn.Conv2d(streams * channels, 1, 1) for _ in range(levels))
        joined = streams * levels * channels
        self.lstm = ConvLSTM(joined, 1) if lstm else None
        self.conv3d = nn.Conv3d(joined, 1, (frames, 3, 3), padding=(0, 1, 1)) if conv3d else None
        for head in (*self.fuse, *([self.conv3d] if self.conv3d is not None else [])):
            assert isinstance(head, nn.Conv2d | nn.Conv3d) and head.bias is not None
            nn.init.normal_(head.weight, std=0.01)
            nn.init.zeros_(head.bias)
        maps = 1 + lstm + conv3d
        wide = scaled(ATTENTION_CHANNELS, width)
        self.attention = (
            nn.Sequential(nn.Conv2d(maps, wide, 3, padding=1), nn.ReLU(), nn.Conv2d(wide, maps, 1))
            if attention and maps > 1
            else None
        )

    def streams(self, frames: Tensor, motion: Tensor | None = None, flow: Tensor | None = None) -> tuple[Tensor, ...]:
        """Eq. 1 before its up-sampling: levels r1, r2 of the spatial stream, then of the temporal one.

        Args:
            frames: (N, 3, H, W) in [0, 1].
            motion: (N, 1, H, W) in [0, 1], needed with a temporal stream.
            flow: the same for the configuration that takes grey flow instead.

        Returns:
            Each (N, 128, H/8, W/8).

        Raises:
            OptionError: the motion prior is missing.
        """
        levels = self.spatial(frames)
        if self.temporal is None:
            return tuple(levels)
        given = flow if self.priors == ("flow",) else motion
        if given is None:
            what = "optical flow" if self.priors == ("flow",) else "motion prior"
            raise OptionError(f"stan needs the {what} of every frame beside the frames")
        seen = given.expand(-1, 3, -1, -1) if self.priors == ("flow",) else torch.cat([frames, given], dim=1)
        return (*levels, *self.temporal(seen))

    def gather(self, levels: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """What ConvLSTM and 3D convolution take of a frame, whichever slot of a clip it stands in.

        Both begin with a convolution of the enlarged, concatenated features (Eq. 2). Its results are a few channels, so
        that overlapping clips can share them where they could not share the 512 channels themselves.

        Args:
            levels: what `streams` gives, each (N, 128, H/8, W/8).

        Returns:
            Ost of Eq. 5 (N, 1, H/8, W/8), then, as far as the parts exist, the ConvLSTM's gates W_x∗X + b
            (N, 4, H, W) and the 3D convolution's planes, one for each slot of the frame (N, T, H, W).
        """
        h, w = levels[0].shape[2:]
        size = (8 * h // self.refine_stride, 8 * w // self.refine_stride)
        # Eq. 5 at an eighth: a 1×1 convolution and a bilinear enlargement may change places, at no loss.
        count = len(BRANCH_BLOCKS)
        fused = torch.stack([fuse(torch.cat(tuple(levels[i::count]), dim=1)) for i, fuse in enumerate(self.fuse)]).sum(
            dim=0
        )
        made: list[list[Tensor]] = [[] for _ in range((self.lstm is not None) + (self.conv3d is not None))]
        if made:
            joined = torch.cat(tuple(levels), dim=1)
            for number in range(len(joined)):  # one at a time: 512 channels at full size are large
                x = enlarge(joined[number : number + 1], size)
                parts = []
                if self.lstm is not None:
                    parts.append(self.lstm.input(x))
                if self.conv3d is not None:
                    parts.append(
                        F.conv2d(x.to(self.conv3d.weight.dtype), self.conv3d.weight[0].transpose(0, 1), padding=1)
                    )
                for kept, part in zip(made, parts, strict=True):
                    kept.append(part)
        return (fused, *(torch.cat(kept) for kept in made))

    def encode(self, frames: Tensor, motion: Tensor | None = None, flow: Tensor | None = None) -> tuple[Tensor, ...]:
        """All that depends on one frame only: (N, 3, H, W) and prior (N, 1, H, W) in [0, 1] → see `gather`."""
        return self.gather(self.streams(frames, motion, flow))

    def decode(self, features: Sequence[Tensor]) -> Tensor:
        """What `encode` gave, stacked over a clip, each (B, T, C, h, w) → the last frame's logits (B, 1, 1, H, W).

        Raises:
            OptionError: the clip has another length than the network.
        """
        fused, *rest = features
        t, _, h, w = fused.shape[1:]
        if t != self.frames:
            raise OptionError(f"stan got a clip of {t} frames; it needs {self.frames}: use its own clip length")
        size = (8 * h // self.refine_stride, 8 * w // self.refine_stride)
        maps = [enlarge(fused[:, -1], size)]  # Ost of the last frame
        if self.lstm is not None:
            gates = rest.pop(0)
            hidden, memory = self.lstm.start(gates[:, 0])
            for number in range(t):
                hidden, memory = self.lstm.advance(gates[:, number], hidden, memory)
            maps.append(hidden)  # Om, Eq. 3
        if self.conv3d is not None:
            planes = rest.pop(0)
            assert self.conv3d.bias is not None
            slots = torch.stack([planes[:, number, number] for number in range(t)])
            maps.append(slots.sum(dim=0).unsqueeze(1) + self.conv3d.bias)  # Oc, Eq. 3
        saliency = enlarge(self.attend(torch.cat(maps, dim=1)), (8 * h, 8 * w))
        return saliency.unsqueeze(2)

    def attend(self, maps: Tensor) -> Tensor:
        """Eq. 7: maps Ost, Om, Oc (B, 3, H, W) → their sum, weighted at every pixel (B, 1, H, W)."""
        if self.attention is None:
            return maps.sum(dim=1, keepdim=True)
        weights = torch.softmax(self.attention(maps), dim=1)
        return (weights * maps).sum(dim=1, keepdim=True)

    def forward(self, clip: Tensor, motion: Tensor | None = None, flow: Tensor | None = None) -> Tensor:
        """Frames (B, 3, 4, H, W), priors (B, 1, 4, H, W) in [0, 1] → the last frame's logits (B, 1, 1, H, W).

        Raises:
            OptionError: the clip's length or size does not fit, or the prior is missing.
        """
        return self.decode(self._encode_clip(clip, motion, flow))

    def _encode_clip(self, clip: Tensor, motion: Tensor | None, flow: Tensor | None) -> list[Tensor]:
        h, w = clip.shape[3:]
        if h % 8 or w % 8:
            raise OptionError(f"stan got frames of {w}x{h}; it needs multiples of 8 pixels: use its own geometry")
        folded = [None if prior is None else fold_time(prior) for prior in (motion, flow)]
        features = self.encode(fold_time(clip), *folded)
        return [f.view(len(clip), -1, *f.shape[1:]) for f in features]

    def describe(self) -> Network:
        """The network's contract, see `vsalient.models.network`."""
        return Network(
            module=self,
            forward=self,
            probability=self.probability,
            training_outputs=self.training_outputs,
            priors=self.priors,
            maps="last",
            shortest=self.frames,
            encode=self.encode,
            decode=self.decode,
            encoder=trunks(self),
            load_encoder=self.load_encoder,
        )

    def training_outputs(
        self, clip: Tensor, motion: Tensor | None = None, flow: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """The last frame's logits (B, 1, 1, H, W), for the binary cross-entropy of Eq. 6.

        With `supervise_frames`, then Ost of every frame (B, 1, T, H, W).
        """
        features = self._encode_clip(clip, motion, flow)
        if not self.supervise_frames:
            return (self.decode(features),)
        fused = features[0]
        each = enlarge(fused.flatten(0, 1), (clip.shape[3], clip.shape[4]))
        return self.decode(features), unfold_time(each, len(clip))

    def load_encoder(self, raw: Mapping[str, Tensor]) -> None:
        """Take both streams' VGG weights from torchvision's VGG-16, strictly; new layers stay as they are.

        With a small encoder both take an EfficientNet-Lite's, or a whole 3dc-lite's.

        Raises:
            CheckpointError: not VGG-16, or its shapes are not this network's (a reduced width).
        """
        if self.encoder != "vgg":
            load_trunks(self, raw)
            return
        own = self.state_dict()
        converted = convert_checkpoint(raw, last_kernel=self.last_kernel)
        if self.priors == ("flow",):  # three channels, as VGG's own
            first = "spatial.vgg.blocks.0.0."
            converted |= {f"temporal{k[7:]}": v for k, v in converted.items() if k.startswith(first)}
        load_part(self, {key: value for key, value in converted.items() if key in own})

    @staticmethod
    def probability(logits: Tensor) -> Tensor:
        """Logits (B, 1, 1, H, W) → foreground probability (B, 1, H, W) in [0, 1]."""
        return torch.sigmoid(logits.float())[:, 0]


def convert_checkpoint(raw: Mapping[str, Tensor], *, last_kernel: int = 3) -> dict[str, Tensor]:
    """Torchvision's VGG-16 → the keys of both streams, less the temporal one's first convolution.

    The paper starts from a saliency FCN on VGG (DCL [27]), which was never published for torch; VGG-16 is
    what that one started from. The temporal stream's first convolution has four channels and starts fresh
    (section 4.2).

    Raises:
        CheckpointError: a key is unknown or missing.
    """
    vgg = convert_vgg16(raw, last_kernel=last_kernel)
    temporal = {key: value for key, value in vgg.items() if not key.startswith("blocks.0.0.")}
    return {
        **{f"spatial.vgg.{key}": value for key, value in vgg.items()},
        **{f"temporal.vgg.{key}": value for key, value in temporal.items()},
    }
