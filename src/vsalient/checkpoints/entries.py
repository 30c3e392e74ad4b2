"""A weights entry: what one name in the registry stands for, read from TOML strictly and written back."""

import dataclasses
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

import tomli_w

from vsalient.checkpoints.limits import check_config
from vsalient.errors import WeightsError
from vsalient.vocabulary import GEOMETRY, GEOMETRY_FORMS, TAILS

Source = Literal["bundled", "hub", "url", "none", "file"]
POSTPROCESSES = ("crf",)
"""What may follow the network, when its paper's inference has it."""
PROTOCOL_FIELDS: dict[str, tuple[str, ...]] = {
    "tail": TAILS,
    "threshold": (),
    "resample": ("antialias", "pillow"),
    "interpolation": ("bilinear", "nearest"),
}
"""Field of an entry's `protocol` -> its values, () for any text; `vsalient.procedure.Procedure` explains them."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_REVISION = re.compile(r"[0-9a-f]{40}")
_REPO = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True, slots=True)
class Score:
    """One published or measured number.

    Attributes:
        dataset: data set and split, such as "DAVIS-16 val".
        metric: as its paper names it, such as "J" or "F-measure".
        value: in the unit of that paper.
        by: who measured it.
        note: the settings it was measured with, "" when there is nothing to add.
    """

    dataset: str
    metric: str
    value: float
    by: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsEntry:
    """What is known of one set of weights.

    Attributes:
        name: what `--model` takes; lower-case letters, digits, dots, dashes and underscores.
        summary: one line for people.
        architecture: a key of `vsalient.models.ARCHITECTURES`.
        config: the architecture's constructor arguments.
        clip_length: T, frames fed together.
        overlap: frames that neighbouring clips share, below `clip_length`.
        tail: what happens where a video ends within a clip, one of `vsalient.vocabulary.TAILS`.
        geometry: source size → network size: "native", "short:480", "exact:112x112" or "area:256x448"
            (height x width).
        multiple: the network's sides are padded to multiples of this.
        postprocess: a step of the paper's inference after the network ("crf"), or None.
        protocol: what the authors' own procedure does differently, of `PROTOCOL_FIELDS`; empty for a network that
            follows no paper.
        flow: name of the flow estimator that its priors are made with (an entry point); "" for DIS.
        classifier: file of the superpixel classifier that its motion prior is made with, seen from the entry's own
            folder; "" for the untrained measure.
        source: where the file comes from; "file" is a file of the user's own.
        repo, revision, file: the Hub repository, its 40-digit commit and the file within; `file` is also the
            bundled file's name, the name of a download, or the path of a file of the user's own.
        url: the address of a "url" source.
        size: bytes of the published file, None when not known.
        sha256: hash of the published file, None when its publisher gives none.
        instead: what to do when the weights were never published.
        stand_in: the entry that runs under this name where no weights of its own are on this machine.
        parameters: count of the network's parameters in use, None when nobody has counted.
        frames_per_second: measured end to end on an 854x480 video with two CPU cores, None when nobody has.
        licence: of the weights, as their publisher states it.
        training_data, terms: what they were trained on, and the terms this brings.
        paper: the reference.
        scores: numbers with who measured them.
        notes: anything else a user should know.
        registered_in: the file this entry was read from, None for an entry made in memory.
        stands_for: the name that was asked for, where this entry runs in its place.
    """

    name: str
    summary: str
    architecture: str
    clip_length: int
    overlap: int
    geometry: str
    licence: str
    source: Source
    config: Mapping[str, Any] = field(default_factory=dict)
    tail: str = "shift"
    multiple: int = 1
    postprocess: str | None = None
    protocol: Mapping[str, str] = field(default_factory=dict)
    flow: str = ""
    classifier: str = ""
    repo: str | None = None
    revision: str | None = None
    file: str | None = None
    url: str | None = None
    size: int | None = None
    sha256: str | None = None
    instead: str = ""
    stand_in: str = ""
    parameters: int | None = None
    frames_per_second: float | None = None
    training_data: str = ""
    terms: str = ""
    paper: str = ""
    scores: tuple[Score, ...] = ()
    notes: str = ""
    registered_in: Path | None = None
    stands_for: str = ""

    @property
    def for_research(self) -> bool:
        """Whether the weights' terms limit them to research or other non-commercial use."""
        return "research" in f"{self.licence} {self.terms}".lower()

    @property
    def own_score(self) -> Score | None:
        """The J that we measured on sequences which the weights had not seen, if any."""
        return next((score for score in self.scores if score.metric == "J" and score.by == "vsalient"), None)

    @property
    def introduction(self) -> str:
        """The name with what a user should know before looking at maps: whose place it takes, how good, what terms."""
        said = []
        if self.stands_for:
            width = self.config.get("width")
            size = f"at {width:g} of its width" if isinstance(width, float) else "a small one of ours"
            said.append(f"in place of {self.stands_for}, {size}: the paper's own weights were never published")
        if self.stands_for and self.own_score:
            said.append(f"J {self.own_score.value:g} on {self.own_score.dataset}")
        if self.for_research:
            said.append("weights for research use")
        return f"{self.name} ({'; '.join(said)})" if said else self.name

    @property
    def classifier_path(self) -> str:
        """Where the superpixel classifier lies; "" for none."""
        if not self.classifier or self.registered_in is None:
            return self.classifier
        return str(self.registered_in.parent / self.classifier)

    @property
    def file_name(self) -> str:
        """The published file's own name, without folders; "" when nothing is published."""
        if self.file is not None:
            return PurePosixPath(self.file).name
        return PurePosixPath(unquote(urlsplit(self.url).path)).name if self.url else ""

    def to_table(self) -> dict[str, Any]:
        """Plain values for TOML or JSON: the fields that say something of the weights themselves."""
        table: dict[str, Any] = {}
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            if item.name in ("registered_in", "stands_for") or value is None or value in ("", {}, ()):
                continue
            table[item.name] = [dataclasses.asdict(score) for score in value] if item.name == "scores" else value
        return table


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("must be a text that is not empty")
    return value


def _matching(pattern: re.Pattern[str], meaning: str) -> Callable[[object], str]:
    def check(value: object) -> str:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise ValueError(f"must be {meaning}, not {value!r}")
        return value

    return check


def _one_of(choices: tuple[str, ...]) -> Callable[[object], str]:
    def check(value: object) -> str:
        if value not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}, not {value!r}")
        return str(value)

    return check


def _rate(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e6:
        raise ValueError("must be a number of frames a second")
    return float(value)


def _count(least: int, most: int) -> Callable[[object], int]:
    def check(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            shown = value if not isinstance(value, int) or abs(value) < 10**15 else "a larger one"
            raise ValueError(f"must be a whole number from {least} to {most}, not {shown!r}")
        return value

    return check


def _address(value: object) -> str:
    if not isinstance(value, str) or urlsplit(value).scheme not in ("http", "https") or not urlsplit(value).netloc:
        raise ValueError(f"must be an http or https address, not {value!r}")
    return value


def _inner_path(value: object) -> str:
    text = _text(value)
    if PurePosixPath(text).is_absolute() or ".." in PurePosixPath(text).parts or "\\" in text:
        raise ValueError(f"must be a path within its repository or folder, not {value!r}")
    return text


def _config(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("must be a table of the architecture's arguments")
    check_config(value)
    return value


def _protocol(value: object) -> dict[str, str]:
    if not isinstance(value, dict) or not value:
        raise ValueError(f"must be a table with one or more of {', '.join(PROTOCOL_FIELDS)}")
    for key, said in value.items():
        if key not in PROTOCOL_FIELDS:
            raise ValueError(f"has an unknown field '{key}'; known: {', '.join(PROTOCOL_FIELDS)}")
        if not isinstance(said, str) or not said or (PROTOCOL_FIELDS[key] and said not in PROTOCOL_FIELDS[key]):
            raise ValueError(f"{key} must be {' or '.join(PROTOCOL_FIELDS[key]) or 'a text'}, not {said!r}")
    return value


def _scores(value: object) -> tuple[Score, ...]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ValueError("must be a list of tables with dataset, metric, value and by")
    scores = []
    for item in value:
        unknown = sorted(item.keys() - {"dataset", "metric", "value", "by", "note"})
        if unknown:
            raise ValueError(f"have an unknown field '{unknown[0]}'; known: dataset, metric, value, by, note")
        number = item.get("value")
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise ValueError(f"need a number as value, not {number!r}")
        if not math.isfinite(number):
            raise ValueError(f"need a number as value, not {number}")
        try:
            texts = [_text(item.get(key)) for key in ("dataset", "metric", "by")]
        except ValueError:
            raise ValueError("need dataset, metric and by as texts that are not empty") from None
        scores.append(Score(texts[0], texts[1], float(number), texts[2], str(item.get("note", ""))))
    return tuple(scores)


_CHECKS: dict[str, Callable[[object], Any]] = {
    "summary": _text,
    "architecture": _text,
    "clip_length": _count(1, 1024),
    "overlap": _count(0, 1023),
    "geometry": _matching(GEOMETRY, GEOMETRY_FORMS),
    "licence": _text,
    "source": _one_of(("bundled", "hub", "url", "none", "file")),
    "config": _config,
    "tail": _one_of(TAILS),
    "multiple": _count(1, 1024),
    "postprocess": _one_of(POSTPROCESSES),
    "protocol": _protocol,
    "flow": _matching(_NAME, "the name of a flow estimator"),
    "classifier": _inner_path,
    "repo": _matching(_REPO, "owner/name"),
    "revision": _matching(_REVISION, "the 40 hexadecimal digits of a commit (a branch can move)"),
    "file": _inner_path,
    "url": _address,
    "size": _count(1, 10**12),
    "sha256": _matching(_SHA256, "64 lower-case hexadecimal digits"),
    "instead": _text,
    "stand_in": _matching(_NAME, "the name of another entry"),
    "parameters": _count(1, 10**12),
    "frames_per_second": _rate,
    "training_data": _text,
    "terms": _text,
    "paper": _text,
    "scores": _scores,
    "notes": _text,
}
_REQUIRED = ("summary", "architecture", "clip_length", "overlap", "geometry", "licence", "source")
_SOURCE_FIELDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "bundled": (("file",), ("size", "sha256")),
    "hub": (("repo", "revision", "file", "sha256"), ("size",)),
    "url": (("url",), ("file", "size", "sha256")),
    "none": (("instead",), ("stand_in",)),
    "file": (("file",), ("size", "sha256")),
}
"""Source kind -> (fields it needs, fields it may have); the other sources' fields have no place in it."""


def parse_entry(name: str, table: Mapping[str, Any], *, origin: Path) -> WeightsEntry:
    """Read one entry from its TOML table.

    Args:
        name: the entry's name.
        table: its fields, without the name.
        origin: the file it stands in, named in errors and kept in `registered_in`.

    Raises:
        WeightsError: a field is unknown, missing or wrong; one line names file, entry and field.
    """
    place = f"{origin}: [{name}]"
    if not _NAME.fullmatch(name):
        raise WeightsError(f"{place} is no usable name; use lower-case letters, digits, '.', '-' and '_'")
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in _CHECKS:
            raise WeightsError(f"{place} has an unknown field '{key}'; known: {', '.join(_CHECKS)}")
        try:
            values[key] = _CHECKS[key](value)
        except ValueError as error:
            raise WeightsError(f"{place} {key} {error}") from None
    source = str(values.get("source", ""))
    needed, allowed = _SOURCE_FIELDS.get(source, ((), ()))
    for key in (*_REQUIRED, *needed):
        if key not in values:
            because = f", which source '{source}' needs" if key in needed else ""
            raise WeightsError(f"{place} lacks the field '{key}'{because}")
    for key in ("repo", "revision", "file", "url", "size", "sha256", "instead", "stand_in"):
        if key in values and key not in (*needed, *allowed):
            raise WeightsError(f"{place} has '{key}', which has no place in source '{source}'")
    if values["overlap"] >= values["clip_length"]:
        raise WeightsError(
            f"{place} overlap must be below clip_length {values['clip_length']}, not {values['overlap']}"
        )
    tail = values.get("tail")
    if tail in ("centred", "causal") and values["overlap"] != values["clip_length"] - 1:
        raise WeightsError(f"{place} tail '{tail}' has one clip a frame: overlap must be clip_length - 1")
    entry = WeightsEntry(name=name, registered_in=origin, **values)
    if source == "url" and not entry.file_name:
        raise WeightsError(f"{place} url ends without a file name; add the field 'file'")
    return entry


def entry_toml(entry: WeightsEntry) -> str:
    """The entry as the text of an `entry.toml`, which `parse_entry` reads back.

    Raises:
        WeightsError: it holds a value that TOML has no form for.
    """
    return _written(entry.to_table())


def registry_toml(entry: WeightsEntry) -> str:
    """The entry as it stands in a registry file, below `schema = 1`: one table by its name.

    Raises:
        WeightsError: it holds a value that TOML has no form for.
    """
    return _written({entry.name: {key: value for key, value in entry.to_table().items() if key != "name"}})


def _written(table: Mapping[str, Any]) -> str:
    try:
        return tomli_w.dumps(_writable(table))
    except TypeError as error:
        raise WeightsError(
            f"cannot write an entry: only texts, numbers, booleans, lists and tables ({error})"
        ) from error


def _writable(value: Any, every: bool = False) -> Any:
    """Dictionaries and lists, without texts that say nothing; of a network's arguments `every` one is kept."""
    if isinstance(value, Mapping):
        return {k: _writable(item, every or k == "config") for k, item in value.items() if every or item != ""}
    return [_writable(item, every) for item in value] if isinstance(value, list | tuple) else value
