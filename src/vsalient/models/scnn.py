"""SCNN: two VGG networks in cascade, the second guided by where the first and the motion agree.

Source: Y. Tang, W. Zou, Z. Jin, Y. Chen, Y. Hua and X. Li, "Weakly Supervised Salient Object Detection with
Spatiotemporal Cascade Neural Networks", IEEE TCSVT 2018. Section and equation numbers below are that paper's.

The network takes single frames, each with its temporal prior Pt (Eq. 6), which `vsalient.priors` computes.
Choices where the text leaves a number out:

- Blocks 5 and 6 are scored by 1×1 convolutions of one channel, summed and enlarged 8 times (bilinear).
- Block 6 keeps VGG's 4,096 channels, since the paper starts from the whole pre-trained VGGNet.
- Frames go in at their own size: no input size is stated, and the network is fully convolutional.
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vsalient.errors import OptionError
from vsalient.models.channels import enlarge
from vsalient.models.dense_lite import DenseLite, load_trunks, trunks
from vsalient.models.network import Network
from vsalient.models.partial import load_part
from vsalient.models.vgg import DenseVGG, convert_vgg16, fold_time, unfold_time

FusionName = Literal["product", "stack", "spatial", "temporal"]
FUSIONS: Mapping[str, int] = {"product": 1, "stack": 2, "spatial": 1, "temporal": 1}
"""How priors enter the second network (SCNN, FP, OS, OT of section IV-D) → channels; FG stacks "flow"."""


class SaliencyFCN(nn.Module):
    """One of the two networks (section III-A): a dense VGG, the last blocks' scores enlarged and summed.

    Args:
        priors: input channels beside RGB.
        width: factor on every channel count.
        branches: the blocks, 1 to 6, that are scored; (5, 6) in the paper, all of them in its Fig. 10.
        encoder: "vgg", or an EfficientNet-Lite size such as "lite0" (`vsalient.models.dense_lite`).
    """

    def __init__(
        self,
        *,
        priors: int = 0,
        width: float = 1.0,
        branches: tuple[int, ...] = (5, 6),
        dropout: float = 0.5,
        batch_norm: bool = False,
        encoder: str = "vgg",
    ) -> None:
        super().__init__()
        self.vgg: DenseVGG | DenseLite
        if encoder == "vgg":
            self.vgg = DenseVGG(priors=priors, width=width, dropout=dropout, batch_norm=batch_norm)
        else:
            self.vgg = DenseLite(encoder, priors=priors)
        if not branches or not set(branches) <= set(range(1, 7)):
            raise OptionError(f"branches {branches} name no blocks; use some of 1 to 6, such as (5, 6)")
        self.scores = nn.ModuleDict({str(b): nn.Conv2d(self.vgg.channels[b - 1], 1, 1) for b in sorted(set(branches))})
        for score in self.scores.values():
            assert isinstance(score, nn.Conv2d) and score.bias is not None
            nn.init.normal_(score.weight, std=0.01)
            nn.init.zeros_(score.bias)

    def forward(self, frames: Tensor) -> Tensor:
        """(N, 3 + priors, H, W) in [0, 1] → logits (N, 1, H, W): Eq. 5 before its sigmoid."""
        features = self.vgg(frames)
        size = (frames.shape[2], frames.shape[3])
        maps = [enlarge(score(features[int(block) - 1]), size) for block, score in self.scores.items()]
        return torch.stack(maps).sum(dim=0)


class SCNN(nn.Module):
    """The cascade: frames (B, 3, T, H, W) and priors (B, 1, T, H, W) in [0, 1] → logits (B, 1, T, H, W).

    Every frame is treated alone, so any T ≥ 1 will do. H and W should be multiples of 8.

    Args:
        width: factor on every channel count; 1 is the paper's size.
        stage: "cascade", or "spatial": the first network alone (s-FCN, which the paper trains first).
        fusion: "product" (Eq. 4), or an ablation of section IV-D.
        prior: what the second network gets a frame: "motion" (Eq. 6) or "flow" (grey flow, ablation FG).
        branches: blocks whose scores are summed.
        supervise_spatial: the first network's logits are a training output too, so that both networks can be
            trained from the start in one phase; the paper trains the first one before.
        dropout: rate in block 6.
        batch_norm: norms in both networks for training from random weights, which the engine folds away.
        encoder: "vgg", or an EfficientNet-Lite size such as "lite0": a small trunk in both networks that begins from
            weights of stills; width, dropout and batch_norm are VGG's.
    """

    priors: tuple[str, ...] = ("motion",)

    def __init__(
        self,
        width: float = 1.0,
        *,
        stage: Literal["cascade", "spatial"] = "cascade",
        fusion: FusionName = "product",
        prior: Literal["motion", "flow"] = "motion",
        branches: tuple[int, ...] = (5, 6),
        supervise_spatial: bool = False,
        dropout: float = 0.5,
        batch_norm: bool = False,
        encoder: str = "vgg",
    ) -> None:
        super().__init__()
        if stage not in ("cascade", "spatial"):
            raise OptionError(f"stage '{stage}' is unknown; use cascade or spatial")
        if fusion not in FUSIONS:
            raise OptionError(f"fusion '{fusion}' is unknown; use one of {', '.join(FUSIONS)}")
        self.fusion = fusion
        self.supervise_spatial = supervise_spatial
        self.encoder = encoder

        def network(priors: int) -> SaliencyFCN:
            return SaliencyFCN(
                priors=priors, width=width, branches=branches, dropout=dropout, batch_norm=batch_norm, encoder=encoder
            )

        self.spatial = network(0)
        self.guided = network(FUSIONS[fusion]) if stage == "cascade" else None
        self.priors = (prior,) if self.guided is not None and fusion != "spatial" else ()

    def forward(self, clip: Tensor, motion: Tensor | None = None, flow: Tensor | None = None) -> Tensor:
        """Frames (B, 3, T, H, W) in [0, 1] → logits (B, 1, T, H, W).

        Args:
            clip: the frames.
            motion: (B, 1, T, H, W) in [0, 1], needed where `priors` names it.
            flow: the same for the ablation that takes grey flow instead.

        Raises:
            OptionError: the prior that the network needs was not given.
        """
        return self._both(clip, motion if motion is not None else flow)[-1]

    def describe(self) -> Network:
        """The network's contract, see `vsalient.models.network`."""
        return Network(
            module=self,
            forward=self,
            probability=self.probability,
            training_outputs=self.training_outputs,
            priors=self.priors,
            encoder=trunks(self),
            load_encoder=self.load_encoder,
        )

    def training_outputs(
        self, clip: Tensor, motion: Tensor | None = None, flow: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Logits (B, 1, T, H, W) for the class-balanced loss (Eq. 3): the final map's, then, where
        `supervise_spatial` asks for it, the first network's.
        """
        outputs = self._both(clip, motion if motion is not None else flow)
        return outputs[::-1] if self.supervise_spatial else outputs[-1:]

    def _both(self, clip: Tensor, given: Tensor | None) -> tuple[Tensor, ...]:
        frames = fold_time(clip)
        spatial = self.spatial(frames)
        outputs = [unfold_time(spatial, len(clip))]
        if self.guided is not None:
            if given is None and self.priors:
                raise OptionError(f"scnn needs the {self.priors[0]} prior of every frame beside the frames")
            prior = self.fuse(torch.sigmoid(spatial), None if given is None else fold_time(given))
            outputs.append(unfold_time(self.guided(torch.cat([frames, prior], dim=1)), len(clip)))
        return tuple(outputs)

    def fuse(self, spatial: Tensor, temporal: Tensor | None) -> Tensor:
        """Spatial and temporal prior, each (N, 1, H, W) in [0, 1] → the guided network's extra channels (Eq.
        4).
        """
        if self.fusion == "spatial" or temporal is None:
            return spatial
        if self.fusion == "temporal":
            return temporal
        return spatial * temporal if self.fusion == "product" else torch.cat([spatial, temporal], dim=1)

    def load_encoder(self, raw: Mapping[str, Tensor]) -> None:
        """Take both networks' VGG weights from torchvision's VGG-16, strictly; new layers stay as they are.

        With a small encoder both take an EfficientNet-Lite's, or a whole 3dc-lite's.

        Raises:
            CheckpointError: not VGG-16, or its shapes are not this network's (a reduced width).
        """
        if self.encoder != "vgg":
            load_trunks(self, raw)
            return
        own = self.state_dict()
        load_part(self, {key: value for key, value in convert_checkpoint(raw).items() if key in own})

    @staticmethod
    def probability(logits: Tensor) -> Tensor:
        """Logits (B, 1, T, H, W) → foreground probability (B, T, H, W) in [0, 1]."""
        return torch.sigmoid(logits.float())[:, 0]


class FrameFeatures:
    """Block 5 of the first network as the deep features of Eq. 6: an image in, NumPy out.

    The paper takes the multi-scale deep features of [32], an AlexNet that would run three times a superpixel;
    here one pass serves all superpixels of a frame.

    Args:
        network: trained, or with VGG-16's weights in its first network.
        longest: the frame is reduced to this longest side.
    """

    def __init__(self, network: SCNN, *, longest: int = 428) -> None:
        self.vgg = network.spatial.vgg.eval()
        self.longest = longest

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(H, W, 3) uint8 RGB → (C, h, w) float32, h and w an eighth of the reduced frame's."""
        frame = torch.from_numpy(pixels).to(self.vgg.first.weight.device).permute(2, 0, 1)[None].float() / 255
        scale = min(1.0, self.longest / max(pixels.shape[:2]))
        size = (max(8, round(pixels.shape[0] * scale)), max(8, round(pixels.shape[1] * scale)))
        with torch.inference_mode():
            features = self.vgg(enlarge(frame, size))[4]
        return np.asarray(features[0].float().cpu().numpy(), np.float32)


def convert_checkpoint(raw: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Torchvision's VGG-16 → the keys of both networks, less the guided one's first convolution.

    That one has a fourth input channel and starts from Xavier's values (section IV-B); the scores start
    fresh.

    Raises:
        CheckpointError: a key is unknown or missing.
    """
    vgg = convert_vgg16(raw)
    guided = {key: value for key, value in vgg.items() if not key.startswith("blocks.0.0.")}
    return {
        **{f"spatial.vgg.{key}": value for key, value in vgg.items()},
        **{f"guided.vgg.{key}": value for key, value in guided.items()},
    }
