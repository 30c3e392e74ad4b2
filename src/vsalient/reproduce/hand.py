"""What is at hand: data sets by name, weights by name, and what a row lacks of them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vsalient.checkpoints import find_entry, registry, status
from vsalient.datasets.presets import PRESETS
from vsalient.errors import InputError, OptionError
from vsalient.reproduce.experiment import STILLS, Experiment

DATASETS = (*(name for name in PRESETS if name not in ("custom", "stills", "davis17", "davsod", "vos")), *STILLS)
"""What `--data NAME=PATH` takes."""
_GUESSES = (
    (re.compile(r"davis(?!.*(17|19|20(17|19)))", re.IGNORECASE), "davis16"),
    (re.compile(r"fbms", re.IGNORECASE), "fbms"),
    (re.compile(r"seg-?track", re.IGNORECASE), "segtrackv2"),
    (re.compile(r"visal", re.IGNORECASE), "visal"),
    (re.compile(r"10-?_?clips", re.IGNORECASE), "10-clips"),
    (re.compile(r"vot-?_?2016", re.IGNORECASE), "vot2016"),
    (re.compile(r"usvd", re.IGNORECASE), "usvd"),
    (re.compile(r"youtube-?_?vos|yt-?vos", re.IGNORECASE), "youtube-vos"),
    (re.compile(r"msra", re.IGNORECASE), "msra10k"),
    (re.compile(r"ecssd", re.IGNORECASE), "ecssd"),
    (re.compile(r"hku-?_?is", re.IGNORECASE), "hku-is"),
    (re.compile(r"thur", re.IGNORECASE), "thur15k"),
    (re.compile(r"coco", re.IGNORECASE), "coco"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hand:
    """What the user has and wants.

    Attributes:
        data: data set -> its root folder.
        weights: a file for the paper's own network, None for the registry's.
        train: networks may be trained.
        train_on: sources as of `vsalient train --data` in place of the paper's; empty for the paper's.
        overrides: `key=value` for every training.
        init: the weights that training begins with, as of `vsalient train --init`.
        split: the sequences to measure on, in place of the row's.
        resolution: the network's input, in place of the row's.
        device: where networks run and are trained.
        minutes: after which a training stops and saves.
        offline: ask no network for weights.
    """

    data: Mapping[str, Path] = field(default_factory=dict)
    weights: Path | None = None
    train: bool = False
    train_on: Sequence[str] = ()
    overrides: Sequence[str] = ()
    init: str | None = None
    split: str | None = None
    resolution: str | None = None
    device: str = "auto"
    minutes: float | None = None
    offline: bool = False


def parse_data(texts: Sequence[str]) -> dict[str, Path]:
    """Read `NAME=PATH`, or a path whose folder's name says which data set it is.

    Raises:
        OptionError: an unknown name, or a path that does not tell.
        InputError: no such folder.
    """
    found: dict[str, Path] = {}
    for text in texts:
        name, sign, path = text.partition("=")
        if not sign or Path(text).exists():
            path = text
            own = Path(path).resolve().name
            name = next((name for pattern, name in _GUESSES if pattern.search(own)), "")
            if not name:
                raise OptionError(f"--data {text}: say which data set it is, as {DATASETS[0]}={text}")
        if name not in DATASETS:
            raise OptionError(f"--data {text}: unknown data set {name!r}; choose from {', '.join(DATASETS)}")
        if not Path(path).is_dir():
            raise InputError(f"--data {name}={path}: there is no such folder")
        found[name] = Path(path)
    return found


def trains(experiment: Experiment, hand: Hand) -> bool:
    """Whether the row's network is trained rather than taken as it is."""
    own = experiment.variant or (hand.weights is None and not has_weights(experiment.model))
    return own and experiment.training is not None


def has_weights(model: str) -> bool:
    """Whether weights of the network, or of its stand-in, are here or can be fetched."""
    entry = find_entry(model) if model in registry() else None
    return entry is not None and status(entry) not in ("not published", "missing")


def lacking(experiment: Experiment, hand: Hand) -> str:
    """What the row lacks, "" where it can run: "data segtrackv2; weights of dsrfcn3d (...)"."""
    if experiment.missing:
        return experiment.missing
    if experiment.test is None:
        return ""
    needed = [experiment.test.dataset]
    reasons = []
    if trains(experiment, hand):
        assert experiment.training is not None
        if not hand.train and experiment.variant:
            reasons.append("a network of its own (--train makes it)")
        elif not hand.train:
            reasons.append(f"weights of {experiment.model} (--weights FILE, or --train)")
        if not hand.train_on and (hand.train or experiment.variant):
            needed += [part.dataset for part in experiment.training.data]
    absent = [name for name in dict.fromkeys(needed) if name not in hand.data]
    if absent:
        reasons.insert(0, f"data {', '.join(absent)} (--data {absent[0]}=FOLDER)")
    return "; ".join(reasons)
