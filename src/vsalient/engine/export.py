"""A network's parts as files of another library: ONNX, OpenVINO or torch.export, each checked before it is kept.

The files of a model stand in one folder, with `signature.json` beside them: what the parts take and give
(`vsalient.engine.parts`), and how the model is run (clip length, overlap, geometry).
"""

import dataclasses
import json
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vsalient.checkpoints.entries import WeightsEntry
from vsalient.engine import compiled
from vsalient.engine.parts import NetworkPart, parts
from vsalient.engine.place import fold_batch_norms
from vsalient.engine.run import Engine
from vsalient.engine.runner import Features
from vsalient.errors import CheckpointError, DeviceError, MissingDependencyError, first_line
from vsalient.models.network import Network
from vsalient.transforms import Geometry
from vsalient.version import __version__

Format = Literal["onnx", "openvino", "torch-export"]
ENDINGS: dict[Format, str] = {"onnx": ".onnx", "openvino": ".xml", "torch-export": ".pt2"}
TOLERANCE = 1e-3
"""Largest difference of a probability between the files and the engine."""
OPSET = 17

Call = Callable[[Sequence[NDArray[Any]]], Sequence[NDArray[np.float32]]]
"""A part's inputs in order -> its outputs in order."""


@dataclass(frozen=True, slots=True, eq=False)
class ClipShape:
    """What an export is traced and checked with.

    Attributes:
        frames: (3, h, w) uint8 each, a clip's length or more of them.
        priors: by name, for each frame (1, h, w) float32.
    """

    frames: list[Tensor]
    priors: dict[str, list[Tensor]]


class FileRunner:
    """Exported parts as a `vsalient.engine.runner.Runner`, so that the engine can run a clip on them."""

    device, dtype = "cpu", "float32"

    def __init__(self, network: Network, calls: Mapping[str, Call], description: str) -> None:
        self.name, self.priors = type(network.module).__name__, network.priors
        self.per_frame = "encoder" in calls
        self.description = description
        self._calls = calls

    def encode(self, frames: Tensor, priors: Mapping[str, Tensor]) -> list[Features]:
        """See `Runner`."""
        each = [[frames[n : n + 1], *(priors[name][n : n + 1] for name in self.priors)] for n in range(len(frames))]
        return [self._calls["encoder"]([x.numpy() for x in inputs]) for inputs in each]

    def decode(self, features: Sequence[Features]) -> NDArray[np.float32]:
        """See `Runner`."""
        return self._calls["decoder"]([np.concatenate(level) for level in zip(*features, strict=True)])[0]

    def whole(self, clip: Tensor, priors: Mapping[str, Tensor]) -> NDArray[np.float32]:
        """See `Runner`."""
        return self._calls["network"]([clip.numpy(), *(priors[name].numpy() for name in self.priors)])[0]

    def explain(self, error: Exception, clip: str) -> DeviceError | None:
        """See `Runner`."""
        return DeviceError(f"{self.description} does not run {clip}: {first_line(error)}")

    def release(self) -> None:
        """See `Runner`."""


def export(
    network: Network, reference: Engine, entry: WeightsEntry, checks: Sequence[ClipShape], form: Format, folder: Path
) -> dict[str, Any]:
    """Write a network's parts into a folder and hold them against the engine.

    Args:
        network: on the CPU, in float32; batch norms are folded in place.
        reference: the engine, with a copy of the network in float32.
        entry: the model's, for the signature.
        checks: videos of the size that the files are to be for, each at least a clip long; the first one is what the
            network is traced with, all are what the files are held against the engine on.
        form: the files' format.
        folder: exists; what is left in it after an error is the caller's to remove.

    Returns:
        What `signature.json` says.

    Raises:
        MissingDependencyError: the format's library is not installed.
        CheckpointError: the network cannot be written in this format, or what was written gives other maps.
    """
    module = network.module.eval().requires_grad_(False)
    fold_batch_norms(module)
    length, clips = entry.clip_length, checks[0]
    _, height, width = clips.frames[0].shape
    clip = torch.stack(clips.frames[:length], dim=1)[None]
    maps = [torch.stack(clips.priors[name][:length], dim=1)[None] for name in network.priors]
    cut = parts(network, clip, maps)
    calls: dict[str, Call] = {}
    for part in cut:
        file = folder / f"{part.name}{ENDINGS[form]}"
        try:
            calls[part.name] = _WRITERS[form](part, file)
        except MissingDependencyError:
            raise
        except Exception as error:
            raise CheckpointError(
                f"{entry.name} cannot be written as {form}: the {part.name} fails ({first_line(error)})"
            ) from error
    ours = Engine(FileRunner(network, calls, form))
    worst = max(_compare(ours, reference, each, entry) for each in checks)
    if not worst <= TOLERANCE:
        raise CheckpointError(f"the {form} files of {entry.name} give other maps than the engine (off by {worst:.2g})")
    signature = {
        "vsalient": __version__,
        "model": entry.name,
        "format": form,
        "frames": length,
        "height": height,
        "width": width,
        "priors": list(network.priors),
        "maps": network.maps,
        "overlap": entry.overlap,
        "tail": entry.tail,
        "geometry": entry.geometry,
        "multiple": entry.multiple,
        "postprocess": entry.postprocess,
        "licence": entry.licence,
        "terms": entry.terms,
        "largest_difference": float(f"{worst:.2g}"),
        "parts": [_described(part, ENDINGS[form]) for part in cut],
    }
    (folder / "signature.json").write_text(json.dumps(signature, indent=2) + "\n", encoding="utf-8")
    return signature


def _described(part: NetworkPart, ending: str) -> dict[str, Any]:
    given = {
        name: {"shape": list(x.shape), "dtype": str(x.dtype).removeprefix("torch.")} for name, x in part.inputs.items()
    }
    return {"name": part.name, "file": f"{part.name}{ending}", "inputs": given, "outputs": list(part.outputs)}


def _compare(ours: Engine, reference: Engine, clips: ClipShape, entry: WeightsEntry) -> float:
    """The largest difference of a map over two clips that overlap, as far as there are frames."""
    worst, length = 0.0, entry.clip_length
    ours.reset()
    reference.reset()
    for start in sorted({0, len(clips.frames) - length}):
        window = slice(start, start + length)
        maps = {name: values[window] for name, values in clips.priors.items()}
        indices = range(start, start + length)
        found, expected = (e.run(clips.frames[window], indices, None, maps or None) for e in (ours, reference))
        worst = max(worst, float(np.abs(found - expected).max()) if found.shape == expected.shape else math.inf)
    return worst


def _onnx(part: NetworkPart, file: Path) -> Call:
    try:
        import onnxruntime
    except ImportError:
        raise MissingDependencyError(
            "the format onnx needs onnxruntime, to check what is written; install it with: pip install 'vsalient[onnx]'"
        ) from None
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of shapes that are fixed on purpose, and of the exporter's own age
        torch.onnx.export(
            part.module,
            tuple(part.inputs.values()),
            str(file),
            input_names=list(part.inputs),
            output_names=list(part.outputs),
            opset_version=OPSET,
            dynamo=False,
        )
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return lambda arrays: session.run(None, dict(zip(part.inputs, arrays, strict=True)))


def _openvino(part: NetworkPart, file: Path) -> Call:
    library = compiled.load_openvino()
    example = tuple(part.inputs.values())
    model = library.convert_model(part.trace(), example_input=example, input=[tuple(x.shape) for x in example])
    for port, name in zip(model.inputs, part.inputs, strict=True):
        port.get_tensor().set_names({name})
    for port, name in zip(model.outputs, part.outputs, strict=True):
        port.get_tensor().set_names({name})
    library.save_model(model, str(file), compress_to_fp16=False)
    run = library.Core().compile_model(str(file), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda arrays: [np.array(run(list(arrays))[number]) for number in range(len(part.outputs))]


def _torch_export(part: NetworkPart, file: Path) -> Call:
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(part.module, tuple(part.inputs.values()), strict=False), file)
        module = torch.export.load(file).module()

    def run(arrays: Sequence[NDArray[Any]]) -> list[NDArray[np.float32]]:
        with torch.no_grad():
            found = module(*(torch.from_numpy(x) for x in arrays))
        return [x.numpy() for x in (found if isinstance(found, tuple) else (found,))]

    return run


_WRITERS: dict[Format, Callable[[NetworkPart, Path], Call]] = {
    "onnx": _onnx,
    "openvino": _openvino,
    "torch-export": _torch_export,
}


def as_run(entry: WeightsEntry, length: int, size: tuple[int, int]) -> WeightsEntry:
    """The entry as files of one clip length and one size (height, width) are run."""
    own = Geometry.plan(entry.geometry, (480, 854), multiple=entry.multiple).network == size
    return dataclasses.replace(
        entry,
        clip_length=length,
        overlap=max(0, min(entry.overlap, length - 1)),
        geometry=entry.geometry if own and not entry.geometry.startswith("short") else f"exact:{size[0]}x{size[1]}",
    )
