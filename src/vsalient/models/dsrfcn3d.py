"""DSRFCN3D: a deeply supervised 3D recurrent fully convolutional network.

Source: T.-N. Le and A. Sugimoto, "Deeply Supervised 3D Recurrent FCN for Salient Object Detection in Videos",
BMVC 2017. Section, equation and table numbers below are that paper's.

The text leaves some numbers to its figures or out; these are our choices:

- Filters of the four deconvolutions (red numbers of Fig. 1): 256, 128, 64, 32, each half of the encoder scale
  it joins. The skip convolution "reduces" to the same number, and RCL3D keeps it.
- LRN's window P: C/8 + 1 for C channels, the value of the RCL paper [19] that the text follows for α and β.
- RCL3D with T = 3 computes the state once from the input alone and then three times recurrently, as in [19].
- Deep supervision reads each deconvolution through a 1×1×1 scoring convolution, enlarged to the input's size.
- ReLU follows the deconvolutions and the skip convolutions, as it follows every convolution of the encoder.
"""

import re
from collections.abc import Mapping
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vsalient.errors import CheckpointError, OptionError
from vsalient.models.channels import Normalise, normed, scaled
from vsalient.models.lite_encoder import VARIANTS
from vsalient.models.network import Network
from vsalient.models.partial import load_part
from vsalient.models.separated import SeparatedLite

ENCODER_CHANNELS = (64, 128, 256, 512, 512)
ENCODER_LAYERS = (("conv1a",), ("conv2a",), ("conv3a", "conv3b"), ("conv4a", "conv4b"), ("conv5a", "conv5b"))
"""C3D's convolutions at each of the five scales (section 2.1)."""
DECODER_CHANNELS = (256, 128, 64, 32)
MEAN = (104 / 255, 117 / 255, 128 / 255)
"""What C3D's Sports-1M weights expect to be subtracted (OpenMMLab's configuration)."""
STD = (0.25, 0.25, 0.25)
"""Brings the input near unit variance; `convert_checkpoint` folds it into conv1a of published weights."""


class LocalResponseNorm(nn.Module):
    """Normalisation over neighbouring channels, Eq. 5: x / (1 + α/P · Σ x²)^β.

    The sum runs over channels c − ⌊P/2⌋ … c + ⌊P/2⌋ that exist. torch's own layer agrees for odd P; for even
    P it sums one channel fewer than Eq. 5.

    Args:
        window: P, the number of channels in the neighbourhood.
        alpha, beta: α and β.
    """

    def __init__(self, window: int, *, alpha: float = 0.001, beta: float = 0.75) -> None:
        super().__init__()
        self.window = window
        self.alpha = alpha
        self.beta = beta

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) → same shape."""
        pictures = x.transpose(1, 2).flatten(0, 1) if x.dim() == 5 else x
        if torch.is_grad_enabled():
            out = cast(Tensor, _LocalResponse.apply(pictures, self.window, self.alpha, self.beta))  # type: ignore[no-untyped-call]
        else:
            out = pictures * _response(pictures, self.window, self.alpha, self.beta)[0]
        return out.view(x.shape[0], x.shape[2], *out.shape[1:]).transpose(1, 2) if x.dim() == 5 else out


def _response(x: Tensor, window: int, alpha: float, beta: float) -> tuple[Tensor, Tensor, Tensor]:
    """Eq. 5's factor of (N, C, H, W), 1 / (1 + α/P · Σ x²), and the band of ones (C, C, 1, 1) that sums channels."""
    place = torch.arange(x.shape[1], device=x.device)
    band = ((place[:, None] - place).abs() <= window // 2).to(x.dtype)[:, :, None, None]
    inverse = (1.0 + alpha / window * F.conv2d(x.square(), band)).reciprocal()
    root = inverse.sqrt()
    return root * root.sqrt() if beta == 0.75 else inverse.pow(beta), inverse, band


class _LocalResponse(torch.autograd.Function):
    """Eq. 5 over pictures (N, C, H, W) with a backward pass of its own.

    Pooling over channels and autograd's passes over whole clips took a fifth of a training step.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, window: int, alpha: float, beta: float) -> Tensor:
        scale, inverse, band = _response(x, window, alpha, beta)
        ctx.save_for_backward(x, inverse, scale, band)
        ctx.slope = 2 * alpha * beta / window
        return x * scale

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, inverse, scale, band = ctx.saved_tensors
        direct = gradient * scale
        across = F.conv2d((direct * x).mul_(inverse), band)
        return direct.sub_(across.mul_(x).mul_(ctx.slope)), None, None, None


class RecurrentConv3d(nn.Module):
    """RCL3D (section 2.2, Fig. 2): z(t) = Wf∗x + Wr∗h(t−1) + b, h(t) = LRN(ReLU(z(t))), Eq. 3–5.

    h(0) comes from the input alone; `steps` recurrent steps follow.
    """

    def __init__(
        self, inputs: int, channels: int, *, steps: int = 3, temporal: bool = True, batch_norm: bool = False
    ) -> None:
        super().__init__()
        kernel = (3, 3, 3) if temporal else (1, 3, 3)
        padding = (1, 1, 1) if temporal else (0, 1, 1)
        feedforward = nn.Conv3d(inputs, channels, kernel, padding=padding)
        self.feedforward = normed(feedforward, batch_norm=batch_norm)
        self.recurrent = nn.Conv3d(channels, channels, kernel, padding=padding, bias=False)
        self.norm = LocalResponseNorm(channels // 8 + 1)
        self.steps = steps
        # Gain 1 on both paths keeps the state's energy through the steps; two gains of √2 would double it
        # each time.
        nn.init.kaiming_normal_(feedforward.weight, nonlinearity="linear")
        nn.init.kaiming_normal_(self.recurrent.weight, nonlinearity="linear")

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) → (B, channels, T, H, W)."""
        driven = self.feedforward(x)
        state: Tensor = self.norm(F.relu(driven))
        for _ in range(self.steps):
            state = self.norm(F.relu(driven + self.recurrent(state)))
        return state


class Refinement(nn.Module):
    """Skip connection and RCL3D (Fig. 2): the encoder's feature, reduced, joins the deconvolution's.

    Without RCL (the DSFCN3D row of Table 4) the concatenation itself goes on.
    """

    def __init__(self, skip: int, channels: int, *, recurrent: bool, temporal: bool, batch_norm: bool = False) -> None:
        super().__init__()
        kernel = (3, 3, 3) if temporal else (1, 3, 3)
        reduce = nn.Conv3d(skip, channels, kernel, padding=(1, 1, 1) if temporal else (0, 1, 1))
        self.reduce = normed(reduce, batch_norm=batch_norm)
        self.recurrent = (
            RecurrentConv3d(2 * channels, channels, temporal=temporal, batch_norm=batch_norm) if recurrent else None
        )
        self.channels = channels if recurrent else 2 * channels

    def forward(self, deconvolved: Tensor, feature: Tensor) -> Tensor:
        """(B, channels, T, H, W) and the encoder's (B, skip, T, H, W) → (B, self.channels, T, H, W)."""
        joined = torch.cat([deconvolved, F.relu(self.reduce(feature))], dim=1)
        return joined if self.recurrent is None else torch.as_tensor(self.recurrent(joined))


class C3DEncoder(nn.Module):
    """C3D's convolutions of five scales (section 2.1); poolings 1, 2 halve space, 3, 4 space and time."""

    def __init__(self, *, width: float = 1.0, temporal: bool = True, batch_norm: bool = False) -> None:
        super().__init__()
        kernel = (3, 3, 3) if temporal else (1, 3, 3)
        padding = (1, 1, 1) if temporal else (0, 1, 1)
        self.normalise = Normalise(MEAN, STD)
        self.temporal = temporal
        self.channels = tuple(scaled(c, width) for c in ENCODER_CHANNELS)
        inputs, scales = 3, []
        for names, outputs in zip(ENCODER_LAYERS, self.channels, strict=True):
            layers = nn.ModuleDict()
            for name in names:
                layers[name] = normed(nn.Conv3d(inputs, outputs, kernel, padding=padding), batch_norm=batch_norm)
                inputs = outputs
            scales.append(layers)
        self.scales = nn.ModuleList(scales)

    def forward(self, clip: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, T, H, W) in [0, 1] → each scale's last feature: H, H/2, H/4, H/8 and H/16."""
        x, features = self.normalise(clip), []
        for number, layers in enumerate(self.scales):
            if number:
                x = F.max_pool3d(x, 2) if self.temporal and number >= 3 else F.max_pool3d(x, (1, 2, 2))
            assert isinstance(layers, nn.ModuleDict)
            for layer in layers.values():
                x = F.relu(layer(x))
            features.append(x)
        return tuple(features)


class DSRFCN3D(nn.Module):
    """The whole network: (B, 3, T, H, W) in [0, 1] to logits (B, 1, T, H, W).

    T must be a multiple of 4, H and W of 16 (of 32 with a lite encoder).

    Args:
        width: factor on every channel count; 1 is the paper's size.
        recurrent: RCL3D in the refinements; without it DSFCN3D of Table 4.
        deep_supervision: losses on the deconvolutions (Eq. 1); without them RFCN3D.
        temporal: 3D filters; without them DSRFCN2D, which treats the frames one by one, any T ≥ 1.
        encoder: "c3d", or an EfficientNet-Lite size such as "lite0": a small one that begins from weights of stills
            (`vsalient.models.separated`), whose five scales are halves of C3D's; `width` is then the decoder's alone.
        batch_norm: a batch norm behind every convolution but the recurrent and scoring ones, for training from random
            weights; the engine folds it away, so that what runs is the paper's network.
    """

    priors: tuple[str, ...] = ()

    def __init__(
        self,
        width: float = 1.0,
        *,
        recurrent: bool = True,
        deep_supervision: bool = True,
        temporal: bool = True,
        encoder: str = "c3d",
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        if encoder != "c3d" and (encoder not in VARIANTS or not temporal):
            known = f"c3d, {', '.join(VARIANTS)}" if temporal else "c3d where temporal is false"
            raise OptionError(f"unknown encoder '{encoder}' for dsrfcn3d; known: {known}")
        self.temporal = temporal
        self.deep_supervision = deep_supervision
        self.encoder = (
            C3DEncoder(width=width, temporal=temporal, batch_norm=batch_norm)
            if encoder == "c3d"
            else SeparatedLite(encoder, taps=(0, 1, 2, 4, 6), halves=(3, 5))
        )
        self.finest = 1 if encoder == "c3d" else 2
        inputs = self.encoder.channels[-1]
        deconvolutions, refinements, scores = [], [], []
        for number, channels in enumerate(scaled(c, width) for c in DECODER_CHANNELS):
            joint = temporal and number < 2
            deconvolution = (
                nn.ConvTranspose3d(inputs, channels, 4, stride=2, padding=1)
                if joint
                else nn.ConvTranspose3d(inputs, channels, (1, 4, 4), stride=(1, 2, 2), padding=(0, 1, 1))
            )
            deconvolutions.append(normed(deconvolution, batch_norm=batch_norm))
            skip = self.encoder.channels[-2 - number]
            refinements.append(
                Refinement(skip, channels, recurrent=recurrent, temporal=temporal, batch_norm=batch_norm)
            )
            scores.append(nn.Conv3d(channels, 1, 1))
            inputs = refinements[-1].channels
        self.deconvolutions = nn.ModuleList(deconvolutions)
        self.refinements = nn.ModuleList(refinements)
        self.scores = nn.ModuleList(scores if deep_supervision else [])
        self.predict = nn.Conv3d(inputs, 1, (3, 3, 3) if temporal else (1, 3, 3), padding=(int(temporal), 1, 1))
        self._initialise()

    def _initialise(self) -> None:
        for name, module in self.named_modules():
            if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
                if "recurrent" not in name:
                    # A transposed convolution of stride s adds kernel/sᵈ weights up for each output, not
                    # `fan_out`.
                    overlap = module.stride[0] * module.stride[1] * module.stride[2]
                    fan = module.in_channels * module.weight[0, 0].numel()
                    fan = fan // overlap if isinstance(module, nn.ConvTranspose3d) else fan
                    nn.init.normal_(module.weight, std=(2.0 / fan) ** 0.5)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for head in (self.predict, *self.scores):
            assert isinstance(head, nn.Conv3d)
            nn.init.normal_(head.weight, std=0.01)

    def _check(self, clip: Tensor) -> None:
        t, h, w = clip.shape[2:]
        sides = 16 * self.finest
        if h % sides or w % sides or (self.temporal and t % 4):
            raise OptionError(
                f"dsrfcn3d got a clip of {t} frames of {w}x{h}; it needs a multiple of 4 frames and of {sides} "
                "pixels: use its own clip length and geometry"
            )

    def decode(self, features: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The encoder's five features → the predictor's logits, then each deconvolution's feature."""
        x, hidden = features[-1], []
        for deconvolution, refinement, feature in zip(
            self.deconvolutions, self.refinements, reversed(features[:-1]), strict=True
        ):
            x = F.relu(deconvolution(x))
            hidden.append(x)
            x = refinement(x, feature)
        logits = self.predict(x)
        if self.finest > 1:
            logits = F.interpolate(logits, scale_factor=(1, 2, 2), mode="trilinear", align_corners=False)
        return (logits, *hidden)

    def forward(self, clip: Tensor) -> Tensor:
        """(B, 3, T, H, W) in [0, 1] → logits (B, 1, T, H, W).

        Raises:
            OptionError: the clip's length or size does not fit the poolings.
        """
        self._check(clip)
        return self.decode(self.encoder(clip))[0]

    def describe(self) -> Network:
        """The network's contract, see `vsalient.models.network`."""
        return Network(
            module=self,
            forward=self,
            probability=self.probability,
            training_outputs=self.training_outputs,
            shortest=4 if self.temporal else 1,
            encoder=self.encoder,
            load_encoder=self.load_encoder,
        )

    def training_outputs(self, clip: Tensor) -> tuple[Tensor, ...]:
        """Logits for Eq. 1, each (B, 1, T, H, W): predictor, then the four deconvolutions, coarsest first.

        The loss is the sum of the binary cross-entropies (Eq. 2) of all of them. Without deep supervision the
        predictor's alone.
        """
        self._check(clip)
        prediction, *hidden = self.decode(self.encoder(clip))
        if not self.deep_supervision:
            return (prediction,)
        sides = [score(x) for score, x in zip(self.scores, hidden, strict=True)]
        return (
            prediction,
            *(F.interpolate(s, clip.shape[2:], mode="trilinear", align_corners=False) for s in sides),
        )

    def load_encoder(self, raw: Mapping[str, Tensor]) -> None:
        """Take the encoder's weights from a published C3D (or EfficientNet-Lite) state dict, strictly.

        Raises:
            CheckpointError: not C3D, or its shapes are not this network's (a reduced width).
        """
        if isinstance(self.encoder, SeparatedLite):
            load_part(self.encoder, self.encoder.inflate(raw))
        else:
            load_part(self, convert_checkpoint(raw))

    @staticmethod
    def probability(logits: Tensor) -> Tensor:
        """Logits (B, 1, T, H, W) → foreground probability (B, T, H, W) in [0, 1]."""
        return torch.sigmoid(logits.float())[:, 0]


KEY_TABLE: Mapping[str, str] = {
    # C3D's layer name, and the shorter one some ports use → our key below "encoder."
    **{name: f"scales.{i}.{name}" for i, names in enumerate(ENCODER_LAYERS) for name in names},
    "conv1": "scales.0.conv1a",
    "conv2": "scales.1.conv2a",
}
LEAVES: Mapping[str, str] = {
    **dict.fromkeys((".conv.weight", ".weight", "/0", "_0", "_w", "_weight", "/weight"), "weight"),
    **dict.fromkeys((".conv.bias", ".bias", "/1", "_1", "_b", "_bias", "/bias"), "bias"),
}
"""Ends of foreign keys: OpenMMLab's, plain PyTorch ports', and npz files made from Caffe blobs."""
CAFFE_LEAVES = frozenset({"/0", "/1", "_0", "_1", "_w", "_b", "_weight", "_bias", "/weight", "/bias"})
DROPPED_KEYS: tuple[tuple[str, str], ...] = (
    ("fc", "the fully connected layers are removed (section 2.1)"),
    ("cls_head.", "the classifier is not part of a saliency network"),
    ("prob", "the classifier is not part of a saliency network"),
)


def convert_checkpoint(
    raw: Mapping[str, Tensor], *, channel_order: Literal["auto", "rgb", "bgr"] = "auto"
) -> dict[str, Tensor]:
    """Turn a published C3D state dict into this network's encoder keys ("encoder.…").

    OpenMMLab's layout ("backbone.conv1a.conv.weight", with or without "backbone."), plain PyTorch ports
    ("conv1.weight", "conv3a.weight") and npz files from Caffe blobs ("conv1a/0", "conv1a_w") are known. All
    of them expect 255·x − mean; the scale goes into conv1a, so that the result on our normalised input is the
    same.

    Args:
        raw: the foreign state dict.
        channel_order: what conv1a was trained on; "auto" takes "bgr" for Caffe names, as OpenCV reads them.

    Raises:
        CheckpointError: a key is unknown, or a convolution is missing.
    """
    converted, caffe = {}, False
    for key, value in raw.items():
        name = re.sub(r"^(module\.)?(backbone\.)?", "", key)
        if name.startswith(tuple(prefix for prefix, _ in DROPPED_KEYS)):
            continue
        leaf = next((end for end in LEAVES if name.endswith(end) and name[: -len(end)] in KEY_TABLE), None)
        if leaf is None:
            raise CheckpointError(
                f"key '{key}' is not one of C3D's; expected names such as backbone.conv1a.conv.weight"
            )
        caffe = caffe or leaf in CAFFE_LEAVES
        # Caffe stores a bias as a blob of shape (1, 1, 1, 1, C).
        value = value.flatten() if LEAVES[leaf] == "bias" else value
        converted[f"encoder.{KEY_TABLE[name[: -len(leaf)]]}.{LEAVES[leaf]}"] = value
    expected = [
        f"encoder.{home}.{leaf}" for n, home in KEY_TABLE.items() if n[-1] in "ab" for leaf in ("weight", "bias")
    ]
    if missing := [key for key in expected if key not in converted]:
        raise CheckpointError(f"not a whole C3D checkpoint: {len(missing)} tensors are missing, first {missing[0]}")
    first = "encoder.scales.0.conv1a.weight"
    weight = converted[first].float()
    if channel_order == "bgr" or (channel_order == "auto" and caffe):
        weight = weight.flip(1)
    converted[first] = weight * (255.0 * torch.tensor(STD)).view(1, 3, 1, 1, 1)
    return converted
