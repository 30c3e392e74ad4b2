"""The networks, one file a paper, and the table that builds them by name.

What a network is, `network.py` says; networks of other packages come by `plugins.py`. Importing this package loads no
torch.
"""

import importlib
import sys
import types
from typing import TYPE_CHECKING, Any

from vsalient.entry_points import offered
from vsalient.errors import OptionError
from vsalient.models import plugins

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
    constructor = find(architecture)
    try:
        network = constructor(**config)
    except TypeError as error:
        raise OptionError(f"architecture '{architecture}' cannot be built with {config}: {error}") from error
    return network


def find(architecture: str) -> plugins.Constructor:
    """What builds an architecture: one of this package's classes, else a plug-in's.

    Raises:
        OptionError: it is unknown, or a plug-in's import fails.
    """
    if architecture in ARCHITECTURES:
        module, name = ARCHITECTURES[architecture]
        found: plugins.Constructor = getattr(importlib.import_module(module), name)
        return found
    plugin = plugins.constructor(architecture)
    if plugin is not None:
        return plugin
    known = ", ".join([*ARCHITECTURES, *offered(plugins.MODELS_GROUP)])
    hint = "; code is named on the command line only (--model module:Class)" if plugins.is_code(architecture) else ""
    raise OptionError(f"unknown architecture '{architecture}'; known: {known}{hint}")


def __getattr__(name: str) -> Any:
    # The contract's names stand here for authors of networks; network.py brings torch, so it comes when asked for.
    if name in ("Network", "Running", "describe"):
        return getattr(importlib.import_module("vsalient.models.network"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class _Listing(types.ModuleType):
    """`vsalient.models()` lists what can run, though `vsalient.models` is this package."""

    def __call__(self) -> Any:
        """See `vsalient.api.list_models`."""
        return importlib.import_module("vsalient.api").list_models()


sys.modules[__name__].__class__ = _Listing
