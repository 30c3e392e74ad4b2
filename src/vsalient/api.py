"""The Python interface: load a model once, then iterate over the maps of any number of videos."""

import threading
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from vsalient.checkpoints import WeightsEntry, load_network
from vsalient.checkpoints.progress import Progress
from vsalient.clips import Tail
from vsalient.errors import InputError, OptionError
from vsalient.figures import Report
from vsalient.pipeline import saliency_maps
from vsalient.procedure import Procedure, Protocol, plan_procedure
from vsalient.run import Maps, results
from vsalient.segment.thresholds import parse_frame_threshold
from vsalient.types import Frame, Pixels, Result

if TYPE_CHECKING:
    from torch import nn

    from vsalient.engine import Engine
    from vsalient.models.network import Network

DEFAULT_MODEL = "3dc-lite"
DtypeName = Literal["auto", "float32", "bfloat16", "float16"]


Prediction = Result
"""What `predict` yields: a frame with its map."""


class Model:
    """A network with its weights on a device; made by `load_model`.

    A model works on one video at a time: it keeps features between that video's clips.

    Attributes:
        entry: its registry entry: name, licence, training data, clip length and so on.
        description: one line: device, dtype and why.
        device: where it runs: "cpu", "mps", "cuda" or "cuda:N".
        priors: per-frame maps that the network takes beside the picture (`vsalient.priors.PRIORS`).
    """

    def __init__(self, entry: WeightsEntry, engine: "Engine", priors: tuple[str, ...] = ()) -> None:
        self.entry = entry
        self.priors = priors
        self._engine = engine
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

    def predict(
        self,
        source: str | Path | Iterable[Pixels],
        *,
        clip_length: int | None = None,
        overlap: int | None = None,
        tail: Tail | None = None,
        protocol: Protocol = "default",
        resolution: str | None = None,
        start: float | None = None,
        end: float | None = None,
        rate: float | Fraction = 25,
    ) -> Iterator[Prediction]:
        """Yield every frame of `source` with its saliency map, in order, as soon as each is ready.

        Decoding and the network run in threads of their own while the caller works on a map; memory does not
        grow with the video. Closing the iterator, or dropping it, stops them.

        Args:
            source: a video file, a folder of frames, or frames: (H, W, 3) uint8 RGB arrays of one size.
            clip_length: frames fed together; None for the model's own.
            overlap: frames that neighbouring clips share; None for the model's own.
            tail: what happens where frames run out, see `vsalient.clips`; None for the protocol's.
            protocol: "paper" for the procedure of the model's authors, "default" for ours.
            resolution: the network's input, such as "short:480" or "area:256x448"; None for the model's own.
            start: seconds of presentation time to begin at (files only).
            end: seconds to stop before (files only).
            rate: frames a second, for the times of frames given as arrays or in a folder.

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
        )
        from vsalient.media import check_range, exact_rate

        exact = exact_rate(rate)
        if not isinstance(source, str | Path):
            if start is not None or end is not None:
                raise OptionError("start and end are for files: leave them out, or cut the list of frames")
            return self._results(_numbered(source, exact), procedure)
        check_range(start, end)
        return self._file(Path(source), procedure, start, end, exact)

    def maps(self, frames: Iterable[Frame], procedure: Procedure, report: Report | None = None) -> Maps:
        """Run over `frames`; see `vsalient.pipeline.saliency_maps`.

        Raises:
            OptionError: the model is at work on another video.
        """
        with self._busy():
            yield from saliency_maps(frames, self._engine, procedure, priors=self.priors, report=report)

    def _file(
        self, path: Path, procedure: Procedure, start: float | None, end: float | None, rate: Fraction
    ) -> Iterator[Prediction]:
        from vsalient.media import open_source

        with open_source(path, start=start, end=end, rate=rate) as frames:
            yield from self._results(frames, procedure)

    def _results(self, frames: Iterable[Frame], procedure: Procedure) -> Iterator[Prediction]:
        return results(self.maps(frames, procedure), binarise=parse_frame_threshold(procedure.threshold).binarise)

    def _busy(self) -> "_Busy":
        return _Busy(self._lock, self.name)


class _Busy:
    """Holds the model for one video; refuses instead of mixing up two videos' features."""

    def __init__(self, lock: threading.Lock, name: str) -> None:
        self._lock, self._name = lock, name

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            raise OptionError(
                f"model '{self._name}' is at work on another video: finish or close that one, or load it again"
            )

    def __exit__(self, *error: object) -> None:
        self._lock.release()


def load_model(
    model: "str | Path | nn.Module | Network" = DEFAULT_MODEL,
    *,
    weights: str | Path | None = None,
    device: str = "auto",
    dtype: DtypeName = "auto",
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

    network, entry = load_network(model, weights=weights, offline=offline, progress=progress)
    engine = Engine(network, device=device, dtype=dtype, exact=exact, flip=flip, multiple=entry.multiple)
    return Model(entry, engine, engine.priors)


def predict(
    source: str | Path | Iterable[Pixels],
    *,
    model: str | Path | Model = DEFAULT_MODEL,
    clip_length: int | None = None,
    overlap: int | None = None,
    tail: Tail | None = None,
    protocol: Protocol = "default",
    resolution: str | None = None,
    start: float | None = None,
    end: float | None = None,
    rate: float | Fraction = 25,
) -> Iterator[Prediction]:
    """Yield every frame of `source` with its saliency map; see `Model.predict`.

    Args:
        source: a video file, a folder of frames, or (H, W, 3) uint8 RGB arrays of one size.
        model: a loaded model, or what `load_model` takes; load it yourself to serve several videos.
        clip_length: like all that follow, as for `Model.predict`.
        overlap: frames that neighbouring clips share.
        tail: what happens where frames run out.
        protocol: "paper" or "default".
        resolution: the network's input.
        start: seconds to begin at.
        end: seconds to stop before.
        rate: frames a second of frames given as arrays or in a folder.

    Raises:
        VsalientError: as for `load_model` and `Model.predict`.
    """
    loaded = model if isinstance(model, Model) else load_model(model)
    return loaded.predict(
        source,
        clip_length=clip_length,
        overlap=overlap,
        tail=tail,
        protocol=protocol,
        resolution=resolution,
        start=start,
        end=end,
        rate=rate,
    )


def _numbered(arrays: Iterable[Pixels], rate: Fraction) -> Iterator[Frame]:
    for index, pixels in enumerate(arrays):
        if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.ndim != 3:
            what = f"{pixels.dtype} {pixels.shape}" if isinstance(pixels, np.ndarray) else type(pixels).__name__
            raise InputError(f"frame {index} is {what}: give (height, width, 3) uint8 RGB arrays")
        if pixels.shape[2] != 3 or 0 in pixels.shape:
            raise InputError(f"frame {index} has shape {pixels.shape}: give (height, width, 3) uint8 RGB arrays")
        # A copy: frames are read ahead, and the caller may fill the same array again.
        yield Frame(pixels.copy(), index, index, 1 / rate)
