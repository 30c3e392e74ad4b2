"""vsalient: video salient object detection and unsupervised video object segmentation.

The public names are loaded on first use; importing the package loads no torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vsalient.api import Model as Model
    from vsalient.api import Prediction as Prediction
    from vsalient.api import load_model as load_model
    from vsalient.api import predict as predict
    from vsalient.errors import VsalientError as VsalientError
    from vsalient.types import Frame as Frame
    from vsalient.types import VideoInfo as VideoInfo

__version__ = "0.1.0"

_HOMES = {
    "Model": "vsalient.api",
    "Prediction": "vsalient.api",
    "load_model": "vsalient.api",
    "predict": "vsalient.api",
    "VsalientError": "vsalient.errors",
    "Frame": "vsalient.types",
    "VideoInfo": "vsalient.types",
}
__all__ = ["Frame", "Model", "Prediction", "VideoInfo", "VsalientError", "__version__", "load_model", "predict"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
