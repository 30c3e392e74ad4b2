"""The Python interface: load a model once, then iterate over the maps or masks of any number of videos."""

import dataclasses
import functools
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from vsalient.checkpoints import WeightsEntry, load_network
from vsalient.checkpoints.progress import Progress
from vsalient.errors import OptionError
from vsalient.figures import Report
from vsalient.inputs import check_input, open_input
from vsalient.outputs import KINDS, Looks, find_kind, opened
from vsalient.pipeline import saliency_maps
from vsalient.procedure import Clips, Procedure, plan_procedure
from vsalient.run import Maps, results, write_all
from vsalient.segment.masks import Masks
from vsalient.segment.segmenter import Cleanup, Segmenting
from vsalient.segment.thresholds import parse_frame_threshold
from vsalient.types import Frame, Result
from vsalient.vocabulary import DEFAULT_MODEL, Cuts, DtypeName, EngineName, Protocol, Tail

if TYPE_CHECKING:
    from torch import nn

    from vsalient.engine import Engine
    from vsalient.media import Source
    from vsalient.models.network import Network
    from vsalient.pipeline import EngineLike


class Model:
    """A network with its weights on a device; made by `load_model`.

    A model works on one video at a time: it keeps features between that video's clips. Pickled, it is its name and
    settings, and is loaded again where it is unpickled.

    Attributes:
        entry: its registry entry: name, licence, training data, clip length and so on.
        priors: per-frame maps that the network takes beside the picture (`vsalient.priors.PRIORS`).
    """

    def __init__(
        self,
        entry: WeightsEntry,
        engine: "Engine",
        priors: tuple[str, ...] = (),
        again: "Callable[[], Model] | None" = None,
    ) -> None:
        self.entry = entry
        self.priors = priors
        self._engine = engine
        self._again = again
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """The registry name."""
        return self.entry.name

    @property
    def description(self) -> str:
        """One line: device, dtype and why."""
        return self._engine.description

    @property
    def device(self) -> str:
        """Where it runs: "cpu", "mps", "cuda" or "cuda:N"."""
        return self._engine.device

    def __repr__(self) -> str:
        return f"<Model {self.name} on {self.description}>"

    def __reduce__(self) -> tuple[Any, ...]:
        if self._again is None:
            raise TypeError(f"model '{self.name}' was not made by load_model: it cannot be made again elsewhere")
        return self._again, ()

    def predict(
        self,
        source: Any,
        *,
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
        """Yield every frame of `source` with its saliency map, in order, as soon as each is ready.

        Decoding and the network run in threads of their own while the caller works on a map; memory does not
        grow with the video. Closing the iterator, or dropping it, stops them.

        Args:
            source: a video file, a folder of frames, or what else `vsalient.inputs.open_input` takes.
            clip_length: frames fed together; None for the model's own.
            overlap: frames that neighbouring clips share; None for the model's own.
            tail: what happens where frames run out, see `vsalient.clips`; None for the protocol's.
            protocol: "paper" for the procedure of the model's authors, "default" for ours.
            cuts: "off" takes the video as one scene; "auto" makes each scene between hard cuts a sequence of its own.
            fast: the network sees every second frame; the maps between are carried along the flow.
            resolution: the network's input, such as "short:480" or "area:256x448"; None for the model's own.
            start: seconds of presentation time to begin at (files only).
            end: seconds to stop before (files only).
            rate: frames a second, for the times of frames that have none of their own.

        Raises:
            OptionError: a setting is wrong; raised at once, before anything is read.
            InputError: the source is missing, unreadable, has no frames, or its frames' size changes.
            DeviceError: the device runs out of memory.
        """
        procedure = plan_procedure(
            self.entry,
            protocol=protocol,
            clip_length=clip_length,
            overlap=overlap,
            tail=tail,
            resolution=resolution,
            cuts=cuts,
            fast=fast,
        )
        check_input(source, start, end, rate)
        return self._results(functools.partial(open_input, source, start=start, end=end, rate=rate), procedure)

    def segment(
        self,
        source: Any,
        *,
        threshold: str | None = None,
        scope: Literal["frame", "clip"] = "frame",
        refine: str | Iterable[str] = "",
        clean: Cleanup | None = None,
        instances: bool = False,
        clips: Clips | None = None,
        start: float | None = None,
        end: float | None = None,
        rate: float | Fraction = 25,
    ) -> Iterator[Result]:
        """Yield every frame of `source` with its map and its mask, in order, as soon as each is certain.

        Args:
            source: as for `predict`, like start, end and rate.
            threshold: "adaptive", "otsu", "fixed:0.5", "hysteresis:0.3,0.7" or "max-f:FOLDER"; None for the model's.
            scope: whether "adaptive" takes its statistics from one map or from all maps of a clip.
            refine: "boundary", "crf" or both, "none", or "" for what belongs to the model.
            clean: what is done to masks after the threshold.
            instances: number the objects; `result.instances` has the numbers.
            clips: how the network is run, where not as the model's own settings say.
            start: seconds to begin at.
            end: seconds to stop before.
            rate: frames a second.

        Raises:
            OptionError: a setting is wrong; raised at once, before anything is read.
            VsalientError: as for `predict`.
        """
        wanted = refine if isinstance(refine, str) else tuple(refine)
        masks = Masks(threshold=threshold, scope=scope, refine=wanted, clean=clean or Cleanup(), instances=instances)
        procedure, segmenting = _planned(self.entry, clips or Clips(), masks)
        check_input(source, start, end, rate)
        opens = functools.partial(open_input, source, start=start, end=end, rate=rate)
        return self._results(opens, procedure, segmenting, _stem(source))

    def maps(
        self,
        frames: Iterable[Frame],
        procedure: Procedure,
        report: Report | None = None,
        *,
        through: "Callable[[Engine], EngineLike] | None" = None,
    ) -> Maps:
        """Run over `frames`; see `vsalient.pipeline.saliency_maps`. `through` puts something before the engine.

        Raises:
            OptionError: the model is at work on another video.
        """
        with self._busy():
            engine = self._engine if through is None else through(self._engine)
            yield from saliency_maps(frames, engine, procedure, priors=self.priors, report=report)

    def _results(
        self,
        opens: "Callable[[], Source]",
        procedure: Procedure,
        segmenting: Segmenting | None = None,
        sequence: str | None = None,
    ) -> Iterator[Result]:
        binarise = parse_frame_threshold(procedure.threshold).binarise
        with opens() as source:
            segmenter = None if segmenting is None else segmenting.begin(sequence, opens)
            yield from results(self.maps(source, procedure), segmenter=segmenter, binarise=binarise)

    @contextmanager
    def _busy(self) -> Iterator[None]:
        """Hold the model for one video; refuse instead of mixing up two videos' features."""
        if not self._lock.acquire(blocking=False):
            raise OptionError(
                f"model '{self.name}' is at work on another video: finish or close that one, or load it again"
            )
        try:
            yield
        finally:
            self._lock.release()


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
    progress: Progress | None = None,
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
    with open_input(source, start=start, end=end, rate=rate) as frames:
        targets = _targets(outputs, _stem(source))
        loaded = _loaded(model)
        procedure, segmenting = _planned(loaded.entry, clips or Clips(), masks)
        binarise = parse_frame_threshold(procedure.threshold).binarise
        file = frames.info.path if frames.info.path.is_file() else None
        report = Report()
        with opened(targets, frames.info, source=file, span=(start, end), overwrite=overwrite, looks=looks) as sinks:
            again = functools.partial(open_input, source, start=start, end=end, rate=rate)
            segmenter = None if segmenting is None else segmenting.begin(_stem(source), again)
            maps = loaded.maps(frames, procedure, report)
            found = results(maps, segmenter=segmenter, binarise=binarise, report=report)
            return write_all(found, sinks, report, on_result=progress)


def list_models() -> dict[str, WeightsEntry]:
    """The models that can run on this machine now or after a fetch, by name; see `vsalient models list`."""
    from vsalient.checkpoints import registry, status

    return {name: entry for name, entry in registry().items() if status(entry) not in ("not published", "missing")}


def _loaded(model: str | Path | Model) -> Model:
    return model if isinstance(model, Model) else load_model(model)


def _planned(entry: WeightsEntry, clips: Clips, masks: Masks | None) -> tuple[Procedure, Segmenting | None]:
    """The procedure and the steps to masks; what is said of refinement replaces what belongs to the model."""
    procedure = clips.plan(entry)
    if masks is None:
        return procedure, None
    if masks.refine:
        procedure = dataclasses.replace(procedure, postprocess=None)
    return procedure, masks.plan(procedure.threshold, procedure.clip_length)


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


def _stem(source: Any) -> str:
    """What outputs are named after."""
    path = Path(source) if isinstance(source, str | Path) else Path(str(getattr(source, "name", "")) or "frames")
    return path.name if path.is_dir() else path.stem
