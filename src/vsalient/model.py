"""A network with its weights on a device: maps and masks of one video after another."""

import dataclasses
import functools
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from vsalient.checkpoints import WeightsEntry
from vsalient.errors import OptionError
from vsalient.figures import Report
from vsalient.inputs import check_input, open_input
from vsalient.pipeline import saliency_maps
from vsalient.procedure import Clips, Procedure
from vsalient.run import Maps
from vsalient.segment.choosing import without_unwanted
from vsalient.segment.masks import Masks
from vsalient.segment.segmenter import Cleanup, Segmenting, Unsegmented
from vsalient.segment.thresholds import parse_frame_threshold
from vsalient.segment.wanted import Wanted
from vsalient.types import Frame, Result
from vsalient.vocabulary import Cuts, Protocol, Tail

if TYPE_CHECKING:
    from vsalient.engine import Engine
    from vsalient.media import Source
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
        wanted: Wanted | None = None,
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
            wanted: which of the objects that are found are kept, see `vsalient.Wanted`; None for all.
            start: seconds of presentation time to begin at (files only).
            end: seconds to stop before (files only).
            rate: frames a second, for the times of frames that have none of their own.

        Raises:
            OptionError: a setting is wrong; raised at once, before anything is read.
            InputError: the source is missing, unreadable, has no frames, or its frames' size changes.
            DeviceError: the device runs out of memory.
        """
        clips = Clips(
            length=clip_length,
            overlap=overlap,
            tail=tail,
            protocol=protocol,
            resolution=resolution,
            cuts=cuts,
            fast=fast,
        )
        return self.run(source, clips, wanted=wanted, start=start, end=end, rate=rate)

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
        wanted: Wanted | None = None,
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
            wanted: as for `predict`.
            start: seconds to begin at.
            end: seconds to stop before.
            rate: frames a second.

        Raises:
            OptionError: a setting is wrong; raised at once, before anything is read.
            VsalientError: as for `predict`.
        """
        steps = refine if isinstance(refine, str) else tuple(refine)
        masks = Masks(threshold=threshold, scope=scope, refine=steps, clean=clean or Cleanup(), instances=instances)
        return self.run(source, clips or Clips(), masks, wanted=wanted, start=start, end=end, rate=rate)

    def run(
        self,
        source: Any,
        clips: Clips,
        masks: Masks | None = None,
        *,
        wanted: Wanted | None = None,
        start: float | None = None,
        end: float | None = None,
        rate: float | Fraction = 25,
    ) -> Iterator[Result]:
        """What `predict` does, and with `masks` what `segment` does, their choices in records."""
        procedure, segmenting = planned(self.entry, clips, masks)
        check_input(source, start, end, rate)
        opens = functools.partial(open_input, source, start=start, end=end, rate=rate)
        return self._results(opens, procedure, segmenting, stem_of_input(source), wanted)

    def maps(
        self,
        frames: Iterable[Frame],
        procedure: Procedure,
        report: Report | None = None,
        *,
        through: "Callable[[Engine], EngineLike] | None" = None,
        pictures: bool = True,
    ) -> Maps:
        """Run over `frames`; see `vsalient.pipeline.saliency_maps`. `through` puts something before the engine.

        Raises:
            OptionError: the model is at work on another video.
        """
        engine = self._engine if through is None else through(self._engine)
        held = self._busy()
        return saliency_maps(frames, engine, procedure, priors=self.priors, report=report, held=held, pictures=pictures)

    def _results(
        self,
        opens: "Callable[[], Source]",
        procedure: Procedure,
        segmenting: Segmenting | Unsegmented,
        sequence: str,
        wanted: Wanted | None,
    ) -> Iterator[Result]:
        with opens() as source, closing(without_unwanted(self.maps(source, procedure), wanted)) as maps:
            segmenter = segmenting.begin(sequence, opens)
            for frame, saliency in maps:
                yield from segmenter.push(frame, saliency)
            yield from segmenter.finish()

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


def planned(entry: WeightsEntry, clips: Clips, masks: Masks | None) -> tuple[Procedure, Segmenting | Unsegmented]:
    """The procedure and the steps to masks; what is said of refinement replaces what belongs to the model."""
    procedure = clips.plan(entry)
    if masks is None:
        return procedure, Unsegmented(parse_frame_threshold(procedure.threshold).binarise)
    if masks.refine:
        procedure = dataclasses.replace(procedure, postprocess=None)
    return procedure, masks.plan(procedure.threshold, procedure.clip_length)


def stem_of_input(source: Any) -> str:
    """What outputs are named after."""
    path = Path(source) if isinstance(source, str | Path) else Path(str(getattr(source, "name", "")) or "frames")
    return path.name if path.is_dir() else path.stem
