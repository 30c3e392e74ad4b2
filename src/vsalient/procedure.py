"""How a network is run over a video: clip length, overlap, tail, sizes and what becomes of the maps.

A procedure is the weights entry's own settings, changed by what the user asks for. No PyTorch here, so that a
wrong setting is an error before anything is loaded.
"""

from dataclasses import dataclass
from typing import cast

from vsalient.checkpoints import WeightsEntry
from vsalient.clips import check_clips
from vsalient.errors import OptionError
from vsalient.transforms import Interpolation, Resample, check_geometry
from vsalient.vocabulary import PER_FRAME_TAILS, PROTOCOLS, Cuts, Protocol, Tail

LIVE_CLIP = 4
"""Frames in a live run's clip, unless asked otherwise: those that 3dc-lite is trained on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Procedure:
    """The settings of a run, all checked.

    Attributes:
        clip_length, overlap, tail, interval: see `vsalient.clips`.
        geometry, multiple, resample: see `vsalient.transforms`.
        interpolation: how maps are brought to the frame's size.
        threshold: how masks are made of maps when the user does not say.
        postprocess: "crf" for a dense CRF on every full-size map, None for nothing.
        cuts: hard cuts are looked for, and each scene is a sequence of its own.
        fast: the network sees every second frame of a scene; the maps between are carried along the flow.
        live: clips end at the newest frame, and each map is given as early as it can be.
        flow, classifier: what motion priors are made with, see `vsalient.priors.choose`.
    """

    clip_length: int
    overlap: int
    tail: Tail = "shift"
    geometry: str = "native"
    multiple: int = 1
    resample: Resample = "antialias"
    interpolation: Interpolation = "bilinear"
    threshold: str = "adaptive"
    postprocess: str | None = None
    cuts: bool = True
    interval: int = 1
    fast: bool = False
    live: bool = False
    flow: str = ""
    classifier: str = ""

    def __post_init__(self) -> None:
        check_clips(self.clip_length, self.overlap, self.tail, self.interval)
        check_geometry(self.geometry)


def plan_procedure(
    entry: WeightsEntry,
    *,
    protocol: Protocol = "default",
    clip_length: int | None = None,
    overlap: int | None = None,
    tail: Tail | None = None,
    resolution: str | None = None,
    cuts: Cuts = "auto",
    interval: int = 1,
    fast: bool = False,
    live: bool = False,
) -> Procedure:
    """Combine a weights entry with what the user asks for.

    Args:
        entry: the model's registry entry.
        protocol: "paper" is the procedure of the authors' code, to the letter where it is known; the entry's
            `protocol` says how it differs from the entry's own settings. "default" is ours.
        clip_length: frames fed together; None for the entry's.
        overlap: frames that neighbouring clips share; None for the entry's, less where the clip is shorter.
        tail: what happens where frames run out; None for the protocol's.
        resolution: the network's input as a geometry, see `vsalient.transforms`; None for the entry's.
        cuts: "auto" makes each scene between hard cuts a sequence of its own, but not in the authors' procedure, which
            knows no cuts; "off" takes the video as one.
        interval: frames from one slot of a clip to the next: 2 puts every other frame into a clip.
        fast: let the network see every second frame only.
        live: give each map as early as possible: clips end at the newest frame (of 4 frames, 2 of them new, where
            nothing else is asked for), and cuts, which are certain only some frames later, are not looked for.

    Raises:
        OptionError: a value is out of range, the values do not fit each other, or the model has no paper; a flow
            estimator that the entry names is not installed.
        CheckpointError: the superpixel classifier that it names is not there.
    """
    if protocol not in PROTOCOLS:
        raise OptionError(f"protocol '{protocol}' is unknown: choose one of {', '.join(PROTOCOLS)}")
    paper = protocol == "paper"
    if paper and fast:
        raise OptionError("fast skips every second frame, which no paper's procedure does: leave one of the two out")
    if paper and entry.stands_for:
        raise OptionError(
            f"the paper's procedure needs the paper's network, and {entry.name} would stand in for {entry.stands_for}: "
            f"import its weights (vsalient models import {entry.stands_for} FILE), or leave out the protocol"
        )
    if paper and not entry.protocol:
        raise OptionError(f"model '{entry.name}' follows no paper: leave out the protocol, or choose another model")
    if live and (paper or fast or interval > 1 or tail is not None):
        clashes = (
            ("the paper's procedure", paper),
            ("fast", fast),
            ("an interval", interval > 1),
            ("a tail policy", True),
        )
        other = next(name for name, asked in clashes if asked)
        raise OptionError(f"live does not go with {other}: leave one of the two out")
    authors = entry.protocol if paper else {}
    entry_tail = cast(Tail, entry.tail)
    if tail is None:
        tail = cast(Tail, authors.get("tail", entry_tail))
    if tail != entry_tail and (tail in PER_FRAME_TAILS or entry_tail in PER_FRAME_TAILS):
        allowed = f"only {entry_tail}" if entry_tail in PER_FRAME_TAILS else "shift, repeat-first or repeat-last"
        raise OptionError(f"tail policy '{tail}' does not fit model '{entry.name}': it takes {allowed}")
    if entry.flow or entry.classifier:
        from vsalient.priors.choose import PriorTools

        PriorTools(entry.flow, entry.classifier_path).check()
    length = entry.clip_length if clip_length is None else clip_length
    if live and tail not in PER_FRAME_TAILS:
        length = min(length, LIVE_CLIP) if clip_length is None else length
        overlap = length // 2 if overlap is None else overlap
    if overlap is None:
        overlap = length - 1 if tail in PER_FRAME_TAILS else max(0, min(entry.overlap, length - 1))
    return Procedure(
        clip_length=length,
        overlap=overlap,
        tail=tail,
        geometry=entry.geometry if resolution is None else resolution,
        multiple=entry.multiple,
        resample=cast(Resample, authors.get("resample", "antialias")),
        interpolation=cast(Interpolation, authors.get("interpolation", "bilinear")),
        threshold=authors.get("threshold", "adaptive"),
        postprocess=entry.postprocess,
        cuts=cuts == "auto" and not paper and not live,
        interval=interval,
        fast=fast,
        live=live,
        flow=entry.flow,
        classifier=entry.classifier_path,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Clips:
    """What somebody asks for of clips; None leaves it to the model. See `plan_procedure`.

    Attributes:
        length: frames fed together.
        overlap: frames that neighbouring clips share.
        tail: what happens where frames run out.
        resolution: the network's input, such as "short:480" or "area:256x448".
        interval: frames from one slot of a clip to the next; every frame gets a map all the same.
        protocol: "paper" for the procedure of the model's authors.
        cuts: "off" takes the video as one scene.
        fast: the network sees every second frame.
        live: each map is given as early as possible.
    """

    length: int | None = None
    overlap: int | None = None
    tail: Tail | None = None
    resolution: str | None = None
    interval: int = 1
    protocol: Protocol = "default"
    cuts: Cuts = "auto"
    fast: bool = False
    live: bool = False

    def plan(self, entry: WeightsEntry) -> Procedure:
        """The procedure of the model with this entry.

        Raises:
            OptionError: a value is out of range, the values do not fit each other, or the model has no paper.
        """
        return plan_procedure(
            entry,
            protocol=self.protocol,
            clip_length=self.length,
            overlap=self.overlap,
            tail=self.tail,
            resolution=self.resolution,
            cuts=self.cuts,
            interval=self.interval,
            fast=self.fast,
            live=self.live,
        )
