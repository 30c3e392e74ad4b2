"""A network on a device -> probabilities.

`run.py` has the `Engine`, which knows videos: cached frames, still stretches, mirror images. It calls a `Runner`
(`runner.py`), which knows one library on one device: `torch_runner.py` is PyTorch's, and `choose.py` takes the device
and dtype for it. `place.py` folds, casts and lays out; `policy.py` says what suits which device; `trust.py` tries the
network itself; `precision.py` keeps TF32 away; `failures.py` reads error messages.
"""

from vsalient.engine.place import fold_batch_norms
from vsalient.engine.run import Engine
from vsalient.engine.runner import Runner
from vsalient.engine.torch_runner import TorchRunner

__all__ = ["Engine", "Runner", "TorchRunner", "fold_batch_norms"]
