"""Parts of a network compiled by OpenVINO and kept on disk, where reading them takes no time to speak of."""

import hashlib
import importlib
import importlib.metadata
import inspect
import json
import logging
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from vsalient.checkpoints.cache import cache_root, temporary_beside
from vsalient.engine.parts import NetworkPart
from vsalient.errors import MissingDependencyError
from vsalient.version import __version__

log = logging.getLogger(__name__)

PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}
"""Our dtypes that OpenVINO's CPU plug-in computes in -> its words."""
KEPT_BYTES = 2 << 30
"""What the compiled networks on disk may take together; those that were not used for longest go first."""


def available() -> bool:
    """Whether OpenVINO is installed."""
    try:
        importlib.metadata.version("openvino")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def load_openvino() -> Any:
    """The library.

    Raises:
        MissingDependencyError: it is not installed, or does not load.
    """
    # It would report its use to its makers, from a process of its own. Without this module it does not.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        return importlib.import_module("openvino")
    except (ImportError, OSError) as error:
        raise MissingDependencyError(
            f"the engine openvino needs OpenVINO ({error}); install it with: pip install 'vsalient[openvino]'"
        ) from None


class CompiledPart:
    """One part, ready to run.

    Args:
        part: what to compile; its module is not touched.
        dtype: one of `PRECISIONS`.
        threads: how many it may use.
        identity: what the network is, see `identity_of`.

    Attributes:
        fresh: it was compiled now, and nobody has checked its values yet: see `accept`.

    Raises:
        MissingDependencyError: OpenVINO is not there.
        RuntimeError: the network does not convert.
    """

    def __init__(self, part: NetworkPart, dtype: str, threads: int, identity: str) -> None:
        self._library = load_openvino()
        self._part = part.name
        self._outputs = len(part.outputs)
        self._settings = {
            "INFERENCE_PRECISION_HINT": PRECISIONS[dtype],
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
        }
        shapes = [(name, tuple(x.shape)) for name, x in part.inputs.items()]
        asked = [identity, part.name, shapes, sorted(self._settings.items()), _processor()]
        key = hashlib.sha256(json.dumps(asked, default=str).encode()).hexdigest()[:32]
        self._file = cache_root() / "openvino" / f"{key}.blob"
        compiled = self._read()
        self.fresh = compiled is None
        self._compiled = compiled if compiled is not None else self._compile(part)
        self._request = self._compiled.create_infer_request()

    def __call__(self, inputs: Sequence[NDArray[Any]]) -> tuple[NDArray[np.float32], ...]:
        """Run it; the outputs are the caller's."""
        found = self._request.infer(list(inputs), share_inputs=True, share_outputs=False)
        return tuple(np.array(found[number], np.float32) for number in range(self._outputs))

    def accept(self) -> None:
        """Its values are right: keep it on disk. A full or read-only disk only costs the next run its seconds."""
        self.fresh = False
        try:
            content = _bytes_of(self._compiled.export_model())
            with temporary_beside(self._file) as temporary:
                temporary.write_bytes(hashlib.sha256(content).digest() + content)
                temporary.replace(self._file)
            _prune(self._file.parent)
        except (OSError, RuntimeError) as error:
            log.debug("the compiled %s is not kept: %s", self._part, error)

    def _compile(self, part: NetworkPart) -> Any:
        model = self._library.convert_model(
            part.trace(),
            example_input=tuple(part.inputs.values()),
            input=[tuple(x.shape) for x in part.inputs.values()],
        )
        return self._library.Core().compile_model(model, "CPU", self._settings)

    def _read(self) -> Any:
        try:
            whole = self._file.read_bytes()
            digest, content = whole[:32], whole[32:]
            if hashlib.sha256(content).digest() != digest:
                raise ValueError("damaged")
            compiled = self._library.Core().import_model(content, "CPU", self._settings)
            self._file.touch()
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RuntimeError) as error:
            log.debug("%s is compiled anew: %s", self._file, error)
            return None
        return compiled


def identity_of(module: nn.Module) -> str:
    """A hash of all that decides what a module computes: its layout, its numbers, and the code that runs it."""
    digest = hashlib.sha256(f"{__version__} {torch.__version__} {module!r}".encode())
    for name, value in sorted(module.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    files = {Path(__file__).parents[1] / "models", Path(__file__).parent / "parts.py"}
    sources = {file for place in files for file in (place.glob("*.py") if place.is_dir() else [place])}
    try:
        sources.add(Path(inspect.getfile(type(module))))
    except (TypeError, OSError):  # a class typed in at a prompt
        digest.update(type(module).__qualname__.encode())
    for file in sorted(sources):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _processor() -> list[str]:
    """What a compiled network is good for: this OpenVINO, and a processor that can do the same."""
    flags = ""
    information = Path("/proc/cpuinfo")
    if information.is_file():
        lines = information.read_text(errors="replace").splitlines()
        flags = next((" ".join(sorted(line.split()[2:])) for line in lines if line.startswith("flags")), "")
    return [importlib.metadata.version("openvino"), platform.machine(), platform.processor(), flags]


def _bytes_of(exported: Any) -> bytes:
    return bytes(exported.getvalue()) if hasattr(exported, "getvalue") else bytes(exported)


def _prune(folder: Path) -> None:
    kept = 0
    for file in sorted(folder.glob("*.blob"), key=lambda f: f.stat().st_mtime, reverse=True):
        kept += file.stat().st_size
        if kept > KEPT_BYTES:
            file.unlink(missing_ok=True)
