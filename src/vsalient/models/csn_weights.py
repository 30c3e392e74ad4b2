"""Published weights of 3DC-Seg's encoder: the three ways in which ir-CSN checkpoints name their tensors.

ir-CSN-152 trained on IG-65M or Sports-1M, fine-tuned on Kinetics or not, was published by its authors for Caffe2 and
carried over to torch by others. The layouts, as public code has them:

- VMZ (facebookresearch/VMZ, `pt/vmz/models/csn.py`) builds on torchvision's `VideoResNet`: a convolution and its batch
  norm are members 0 and 1 of one sequence (`stem.0`, `layer1.0.conv2.1`).
- OpenMMLab's mmaction2 (`ResNet3dCSN`) has `ConvModule`s (`conv1.conv`, `conv1.bn`); the depthwise one stands in a
  sequence of its own (`layer1.0.conv2.0.conv`).
- 3DC-Seg (sabarim/3DC-Seg, `network/convert_csn_weights.py`) names them as torchvision's ResNets for pictures
  (`conv1`, `bn1`, `layer1.0.bn2`), and so do we.
"""

import re
from collections.abc import Mapping

from torch import Tensor, nn

from vsalient.errors import CheckpointError

PREFIX = re.compile(r"^((module|encoder|backbone|resnet)\.)*")
"""What may stand before every name."""

_LEAF = r"(weight|bias|running_mean|running_var|num_batches_tracked)"
KEY_TABLE: tuple[tuple[str, str], ...] = (
    # VMZ, torchvision's VideoResNet
    (r"stem\.0\." + _LEAF, r"conv1.\1"),
    (r"stem\.1\." + _LEAF, r"bn1.\1"),
    (r"(layer[1-4]\.\d+)\.conv([123])\.0\." + _LEAF, r"\1.conv\2.\3"),
    (r"(layer[1-4]\.\d+)\.conv([123])\.1\." + _LEAF, r"\1.bn\2.\3"),
    # mmaction2
    (r"conv1\.conv\." + _LEAF, r"conv1.\1"),
    (r"conv1\.bn\." + _LEAF, r"bn1.\1"),
    (r"(layer[1-4]\.\d+)\.conv([123])(?:\.0)?\.conv\." + _LEAF, r"\1.conv\2.\3"),
    (r"(layer[1-4]\.\d+)\.conv([123])(?:\.0)?\.bn\." + _LEAF, r"\1.bn\2.\3"),
    (r"(layer[1-4]\.\d+)\.downsample\.conv\." + _LEAF, r"\1.downsample.0.\2"),
    (r"(layer[1-4]\.\d+)\.downsample\.bn\." + _LEAF, r"\1.downsample.1.\2"),
)
"""A published key without its prefix (a pattern for all of it) -> ours below "encoder."; others stay as they are."""

DROPPED_KEYS: Mapping[str, str] = {
    "fc.": "the classifier of VMZ and 3DC-Seg",
    "cls_head.": "the classifier of mmaction2",
    "decoder.": "the decoder of a whole 3DC-Seg of ours",
    "decoders.": "the decoder of the official 3DC-Seg",
    "conv1_p.": "convolves a guidance mask that 3DC-Seg never feeds",
    "mean": "a constant of the architecture",
    "std": "ones",
}
"""How a key without its prefix begins that the encoder has no use for -> why."""


def convert_encoder(raw: Mapping[str, Tensor], encoder: nn.Module) -> dict[str, Tensor]:
    """Rename a published ir-CSN's tensors to the encoder's.

    Values stay as they are. VMZ and mmaction2 divide their input by a deviation near 0.22, and their batch norm's ε is
    1e-3; 3DC-Seg's official code takes the same weights with neither, and so do we.

    Args:
        raw: the published state dict. A whole 3DC-Seg will do: its encoder is taken.
        encoder: what the result has to fit.

    Returns:
        A state dict of `encoder`, complete but for `num_batches_tracked` where the file has none.

    Raises:
        CheckpointError: a key is unknown or missing, or a tensor has another shape; the message names them.
    """
    own = encoder.state_dict()
    found: dict[str, Tensor] = {}
    unknown, shapes = [], []
    for key, value in raw.items():
        prefix = PREFIX.match(key)
        name = key[prefix.end() :] if prefix else key
        # The official 3DC-Seg holds its encoder twice; the copy below `resnet.` may have a stale first batch norm.
        if name.startswith(tuple(DROPPED_KEYS)) or "encoder.resnet." in key:
            continue
        name = _csn_name(name)
        if name not in own:
            unknown.append(key)
        elif own[name].shape != value.shape:
            shapes.append(f"{key} {tuple(value.shape)}, not {tuple(own[name].shape)}")
        else:
            found[name] = value
    missing = [key for key in own if key not in found and not key.endswith("num_batches_tracked")]
    faults = [
        f"{what}: {', '.join(keys[:3])}" + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")
        for what, keys in (("unknown keys", unknown), ("missing", missing), ("other shapes", shapes))
        if keys
    ]
    if faults:
        raise CheckpointError(
            f"the file does not fit 3DC-Seg's encoder of this depth and width; {'; '.join(faults)}. Give an ir-CSN "
            "(not ip-CSN) with the names of VMZ, mmaction2 or 3DC-Seg"
        )
    return found


def _csn_name(name: str) -> str:
    for pattern, replacement in KEY_TABLE:
        match = re.fullmatch(pattern, name)
        if match:
            return match.expand(replacement)
    return name
