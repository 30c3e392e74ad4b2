"""vsalient: video salient object detection and unsupervised video object segmentation.

The public names are loaded on first use; importing the package loads no torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

from vsalient.version import __version__

if TYPE_CHECKING:
    from vsalient.api import list_models as list_models
    from vsalient.api import load_model as load_model
    from vsalient.api import predict as predict
    from vsalient.api import write as write
    from vsalient.errors import VsalientError as VsalientError
    from vsalient.model import Model as Model
    from vsalient.outputs.looks import Looks as Looks
    from vsalient.procedure import Clips as Clips
    from vsalient.segment.masks import Masks as Masks
    from vsalient.segment.segmenter import Cleanup as Cleanup
    from vsalient.segment.wanted import Wanted as Wanted
    from vsalient.types import Frame as Frame
    from vsalient.types import Result as Prediction
    from vsalient.types import Result as Result
    from vsalient.types import VideoInfo as VideoInfo


_HOMES = {
    "Cleanup": "vsalient.segment.segmenter",
    "Wanted": "vsalient.segment.wanted",
    "Clips": "vsalient.procedure",
    "Frame": "vsalient.types",
    "Looks": "vsalient.outputs.looks",
    "Masks": "vsalient.segment.masks",
    "Model": "vsalient.model",
    "Prediction": "vsalient.types:Result",  # its name in 0.1.0
    "Result": "vsalient.types",
    "VideoInfo": "vsalient.types",
    "VsalientError": "vsalient.errors",
    "list_models": "vsalient.api",
    "load_model": "vsalient.api",
    "predict": "vsalient.api",
    "write": "vsalient.api",
}
__all__ = [
    "Cleanup",
    "Clips",
    "Frame",
    "Looks",
    "Masks",
    "Model",
    "Prediction",
    "Result",
    "VideoInfo",
    "VsalientError",
    "Wanted",
    "__version__",
    "list_models",
    "load_model",
    "models",
    "predict",
    "write",
]


def __getattr__(name: str) -> Any:
    if name == "models":  # the package of the networks, which can be called: see there
        return importlib.import_module("vsalient.models")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, other = _HOMES[name].partition(":")
    return getattr(importlib.import_module(module), other or name)
