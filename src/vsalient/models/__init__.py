"""The networks, one file a paper, and the table that builds them by name.

A network is an `nn.Module` with `forward(clip: (B, 3, T, H, W) float in [0, 1]) -> logits` and
`probability(logits) -> (B, T, H, W) float in [0, 1]`. Importing this package loads no torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

from vsalient.errors import OptionError

if TYPE_CHECKING:
    from torch import nn

ARCHITECTURES = {
    "seg3dc": ("vsalient.models.seg3dc", "Seg3DC"),
    "lite3dc": ("vsalient.models.lite", "Lite3DC"),
    "dsrfcn3d": ("vsalient.models.dsrfcn3d", "DSRFCN3D"),
    "conv3dnet": ("vsalient.models.conv3dnet", "Conv3DNet"),
    "scnn": ("vsalient.models.scnn", "SCNN"),
    "stan": ("vsalient.models.stan", "STAN"),
}
"""Architecture name, as in weights.toml -> (module, class)."""


def build(architecture: str, **config: Any) -> "nn.Module":
    """Build a network with fresh weights; `config` is the weights entry's own table of constructor arguments.

    Raises:
        OptionError: the architecture is unknown, or does not take one of the arguments.
    """
    if architecture not in ARCHITECTURES:
        raise OptionError(f"unknown architecture '{architecture}'; known: {', '.join(ARCHITECTURES)}")
    module, name = ARCHITECTURES[architecture]
    constructor = getattr(importlib.import_module(module), name)
    try:
        network: nn.Module = constructor(**config)
    except TypeError as error:
        raise OptionError(f"architecture '{architecture}' cannot be built with {config}: {error}") from error
    return network
