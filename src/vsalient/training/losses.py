"""Losses by name, each on logits and ground truth of one scale, and their deeply supervised sum.

All take logits (B, 1, T, H, W), any float dtype, and targets (B, 1, T, H, W) in [0, 1], and give a scalar: the mean of
the frames' losses. Targets may be soft (a teacher's probabilities): each loss is least where the probability equals the
target, but for `squared_error`, which compares the output itself.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

Loss = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean binary cross-entropy (dsrfcn3d Eq. 2; 3dc-seg, section 4.2)."""
    return F.binary_cross_entropy_with_logits(logits, target)


def balanced_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy with each class weighted by the other's share of a frame's pixels (scnn Eq. 3)."""
    positive = target.mean(dim=(-2, -1), keepdim=True)
    weight = target * (1 - positive) + (1 - target) * positive
    return F.binary_cross_entropy_with_logits(logits, target, weight=weight)


def squared_error(logits: Tensor, target: Tensor) -> Tensor:
    """Mean squared error of a regressed map (conv3dnet Eq. 2: no sigmoid between output and loss)."""
    return F.mse_loss(logits, target)


def soft_iou(logits: Tensor, target: Tensor) -> Tensor:
    """One minus the soft intersection over union, per frame, then averaged.

    Intersection and union are minimum and maximum (Ruzicka's similarity): for a target of 0 and 1 the product and the
    probabilistic sum, and for a soft one still 0 where the probability equals it.
    """
    probability = torch.sigmoid(logits)
    both = torch.minimum(probability, target).sum(dim=(-2, -1))
    either = torch.maximum(probability, target).sum(dim=(-2, -1))
    return (1 - (both + 1) / (either + 1)).mean()


def dice(logits: Tensor, target: Tensor) -> Tensor:
    """One minus the soft Dice coefficient, per frame, then averaged."""
    probability = torch.sigmoid(logits)
    both = torch.minimum(probability, target).sum(dim=(-2, -1))
    total = (probability + target).sum(dim=(-2, -1))
    return (1 - (2 * both + 1) / (total + 1)).mean()


def structure(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy weighted towards boundaries, plus weighted soft IoU.

    A pixel weighs 1 + 5·|mean of the target in its 31×31 window − target| (Wei et al., F3Net, AAAI 2020, Eq. 4-9);
    the window shrinks with maps smaller than 124 pixels to a quarter of their height.
    """
    flat_target = target.transpose(1, 2).flatten(0, 1)
    flat_logits = logits.transpose(1, 2).flatten(0, 1)
    window = min(31, target.shape[-2] // 4 // 2 * 2 + 1)
    # Rows, then columns: the same mean as of the whole window, for a fifteenth of the work.
    local = flat_target
    for kernel in ((window, 1), (1, window)):
        padding = (kernel[0] // 2, kernel[1] // 2)
        local = F.avg_pool2d(local, kernel, stride=1, padding=padding, count_include_pad=False)
    weight = 1 + 5 * (local - flat_target).abs()
    entropy = F.binary_cross_entropy_with_logits(flat_logits, flat_target, reduction="none")
    entropy = (weight * entropy).sum(dim=(-2, -1)) / weight.sum(dim=(-2, -1))
    probability = torch.sigmoid(flat_logits)
    both = (weight * torch.minimum(probability, flat_target)).sum(dim=(-2, -1))
    either = (weight * torch.maximum(probability, flat_target)).sum(dim=(-2, -1))
    return (entropy + 1 - (both + 1) / (either + 1)).mean()


LOSSES: Mapping[str, Loss] = {
    "cross-entropy": cross_entropy,
    "balanced-cross-entropy": balanced_cross_entropy,
    "squared-error": squared_error,
    "iou": soft_iou,
    "dice": dice,
    "structure": structure,
}


def deep_supervision(
    outputs: Sequence[Tensor],
    target: Tensor,
    terms: Mapping[str, float],
    scale_weights: Sequence[float],
    frame_weights: Tensor | None = None,
) -> Tensor:
    """The weighted sum of the named losses at every output (dsrfcn3d Eq. 1).

    Args:
        outputs: logits, finest first, each (B, 1, T, h, w); h and w may be smaller than the target's.
        target: (B, 1, T, H, W) in [0, 1]; averaged down to each output's size.
        terms: loss name → weight.
        scale_weights: one weight an output; the last one serves any further outputs.
        frame_weights: (B, T), what each frame counts; all the same when None. The sum is over the number of frames,
            not of weights: a frame that counts half has half the say.
    """
    total = torch.zeros((), device=target.device)
    for number, logits in enumerate(outputs):
        logits = logits.float()
        scaled = target
        if logits.shape[-2:] != target.shape[-2:]:
            flat = F.interpolate(target.transpose(1, 2).flatten(0, 1), size=logits.shape[-2:], mode="area")
            scaled = flat.view(target.shape[0], target.shape[2], *flat.shape[1:]).transpose(1, 2)
        weight = scale_weights[min(number, len(scale_weights) - 1)]
        for share, some, truth in _groups(logits, scaled, frame_weights):
            for name, term in terms.items():
                total = total + share * weight * term * LOSSES[name](some, truth)
    return total


def _groups(logits: Tensor, target: Tensor, weights: Tensor | None) -> list[tuple[float, Tensor, Tensor]]:
    """Frames of equal weight together, (share, logits, target), so that every loss stays a plain mean."""
    values = [1.0] if weights is None else sorted(set(weights.flatten().tolist()))
    if weights is None or len(values) == 1:
        return [(values[0], logits, target)]
    each = [x.transpose(1, 2).flatten(0, 1)[:, :, None] for x in (logits, target)]  # (B·T, 1, 1, h, w)
    groups = []
    for value in values:
        chosen = (weights.flatten() == value).to(logits.device)
        share = value * float(chosen.float().mean())
        if share:
            groups.append((share, each[0][chosen], each[1][chosen]))
    return groups
