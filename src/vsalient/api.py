"""The Python interface: load a model once, then iterate over the maps or masks of any number of videos."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vsalient.checkpoints import WeightsEntry, load_network
from vsalient.checkpoints.progress import FetchProgress
from vsalient.errors import OptionError
from vsalient.figures import Report
from vsalient.inputs import check_input, open_input
from vsalient.model import Model, planned, stem_of_input
from vsalient.outputs import KINDS, Looks, find_kind, opened
from vsalient.procedure import Clips
from vsalient.run import write_all
from vsalient.segment.choosing import without_unwanted
from vsalient.segment.masks import Masks
from vsalient.segment.wanted import Wanted
from vsalient.types import Result
from vsalient.vocabulary import DEFAULT_MODEL, Cuts, DtypeName, EngineName, Protocol, Tail

if TYPE_CHECKING:
    from torch import nn

    from vsalient.models.network import Network


def load_model(
    model: "str | Path | nn.Module | Network" = DEFAULT_MODEL,
    *,
    weights: str | Path | None = None,
    device: str = "auto",
    dtype: DtypeName = "auto",
    engine: EngineName = "auto",
    exact: bool = False,
    flip: bool = False,
    offline: bool = False,
    progress: FetchProgress | None = None,
) -> Model:
    """Load a network with its weights onto a device.

    Args:
        model: a name of `vsalient models list`, a safetensors file that vsalient wrote, or a network of one's own: a
            module, or its descriptor (docs/plugins.md), of which a copy is taken.
        weights: a file to load instead of the model's own weights.
        device: "auto" (CUDA, else MPS, else the CPU), "cpu", "cuda", "cuda:N" or "mps".
        dtype: "auto" is bfloat16 where that is fast and safe, else float32.
        engine: "torch", "openvino" (on the CPU; the extra of that name), or "auto", the faster of those that are
            installed by a table of processors and architectures (docs/engines.md).
        exact: float32 and the network's own definition, nothing folded or reordered; slower.
        flip: run each clip mirrored as well and take the mean of both maps; half as fast.
        offline: never ask the network; weights that are not on this machine are an error.
        progress: told of a transfer, when weights must be fetched.

    Raises:
        WeightsError: an unknown name, or weights that are broken, cannot be fetched or do not fit.
        DeviceError: the device or dtype is not there.
    """
    # PyTorch comes with it: a second of start-up that a wrong option need not wait for.
    from vsalient.engine import Engine
    from vsalient.engine.libraries import check_engine, open_runner

    check_engine(engine, device, dtype, exact=exact)
    network, entry = load_network(model, weights=weights, offline=offline, progress=progress)
    if entry.parameters is None:
        entry = dataclasses.replace(entry, parameters=_parameters(network))
    runner = open_runner(
        network,
        entry.architecture,
        engine=engine,
        device=device,
        dtype=dtype,
        exact=exact,
        multiple=entry.multiple,
    )
    made = Engine(runner, flip=flip)
    again = functools.partial(
        load_model,
        model,
        weights=weights,
        device=device,
        dtype=dtype,
        engine=engine,
        exact=exact,
        flip=flip,
        offline=offline,
    )
    return Model(entry, made, made.priors, again)


def predict(
    source: Any,
    *,
    model: str | Path | Model = DEFAULT_MODEL,
    clip_length: int | None = None,
    overlap: int | None = None,
    tail: Tail | None = None,
    protocol: Protocol = "default",
    cuts: Cuts = "auto",
    fast: bool = False,
    resolution: str | None = None,
    start: float | None = None,
    end: float | None = None,
    rate: float | Fraction = 25,
) -> Iterator[Result]:
    """Yield every frame of `source` with its saliency map; see `Model.predict`.

    Args:
        source: a video file, a folder of frames, or what else `Model.predict` takes.
        model: a loaded model, or what `load_model` takes; load it yourself to serve several videos.
        clip_length: like all that follow, as for `Model.predict`.
        overlap: frames that neighbouring clips share.
        tail: what happens where frames run out.
        protocol: "paper" or "default".
        cuts: "off" takes the video as one scene.
        fast: the network sees every second frame.
        resolution: the network's input.
        start: seconds to begin at.
        end: seconds to stop before.
        rate: frames a second of frames that have no times of their own.

    Raises:
        VsalientError: as for `load_model` and `Model.predict`.
    """
    return _loaded(model).predict(
        source,
        clip_length=clip_length,
        overlap=overlap,
        tail=tail,
        protocol=protocol,
        cuts=cuts,
        fast=fast,
        resolution=resolution,
        start=start,
        end=end,
        rate=rate,
    )


def write(
    source: Any,
    outputs: str | Iterable[str] | Mapping[str, str | Path],
    *,
    model: str | Path | Model = DEFAULT_MODEL,
    masks: Masks | None = None,
    clips: Clips | None = None,
    looks: Looks | None = None,
    wanted: Wanted | None = None,
    start: float | None = None,
    end: float | None = None,
    rate: float | Fraction = 25,
    overwrite: bool = False,
    progress: Callable[[Result, Report], None] | None = None,
) -> Report:
    """Turn a video into files, as `vsalient predict` does; with `masks`, as `vsalient segment` does.

    Args:
        source: as for `Model.predict`, like start, end and rate.
        outputs: kinds of output, `vsalient.outputs.KINDS`: one, or several, written into the current folder under the
            names that the command gives; or a mapping from kinds to files and folders.
        model: a loaded model, or what `load_model` takes.
        masks: how maps become masks; None leaves the maps as they are.
        clips: how the network is run, where not as the model's own settings say.
        looks: how outputs look.
        wanted: as for `Model.predict`.
        start: seconds to begin at.
        end: seconds to stop before.
        rate: frames a second.
        overwrite: replace what exists.
        progress: called after each frame with its result and the report so far.

    Returns:
        What was done: frames, seconds, which stage was busy how long.

    Raises:
        OutputError: an output exists, or cannot be written; none is left half-written.
        VsalientError: as for `load_model` and `Model.segment`.
    """
    check_input(source, start, end, rate)
    with open_input(source, start=start, end=end, rate=rate, deep=looks is not None and looks.deep) as frames:
        targets = _targets(outputs, stem_of_input(source))
        loaded = _loaded(model)
        procedure, segmenting = planned(loaded.entry, clips or Clips(), masks)
        file = frames.info.path if frames.info.path.is_file() else None
        report = Report()
        with opened(
            targets,
            frames.info,
            source=file,
            span=(start, end),
            overwrite=overwrite,
            looks=looks,
            stages=lambda: report.stages,
        ) as sinks:
            again = functools.partial(open_input, source, start=start, end=end, rate=rate)
            segmenter = segmenting.begin(stem_of_input(source), again)
            maps = without_unwanted(
                loaded.maps(frames, procedure, report), wanted, functools.partial(report.busy, "segment")
            )
            return write_all(maps, sinks, report, segmenter=segmenter, on_result=progress)


def list_models() -> dict[str, WeightsEntry]:
    """The models that can run on this machine now or after a fetch, by name; see `vsalient models list`."""
    from vsalient.checkpoints import registry, status

    return {name: entry for name, entry in registry().items() if status(entry) not in ("not published", "missing")}


def _parameters(network: "nn.Module | Network") -> int:
    from vsalient.models.network import describe

    return sum(parameter.numel() for parameter in describe(network).module.parameters())


def _loaded(model: str | Path | Model) -> Model:
    return model if isinstance(model, Model) else load_model(model)


def _targets(outputs: str | Iterable[str] | Mapping[str, str | Path], stem: str) -> list[tuple[str, Path]]:
    if isinstance(outputs, Mapping):
        given = {find_kind(kind).name: Path(path) for kind, path in outputs.items()}
    else:
        names = [outputs] if isinstance(outputs, str) else outputs
        kinds = [find_kind(name.strip()) for text in names for name in text.split(",")]
        given = {kind.name: Path(kind.default_name(stem)) for kind in kinds}
    if not given:
        raise OptionError("there is nothing to write: name at least one output")
    return [(name, given[name]) for name in KINDS if name in given]
