"""A weights entry: what one name in the registry stands for, read from TOML strictly and written back."""

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal
from urllib.parse import unquote, urlsplit

import tomli_w

from vsalient.checkpoints.limits import check_config
from vsalient.errors import WeightsError
from vsalient.typed_tables import Text, between, filled, one_of, read_table
from vsalient.vocabulary import GEOMETRY, GEOMETRY_FORMS, TAILS

WeightsSource = Literal["bundled", "hub", "url", "none", "file"]
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
_COMMIT = "the 40 hexadecimal digits of a commit (a branch can move)"
_REPO = re.compile(r"[\w.-]+/[\w.-]+")


def _like(pattern: re.Pattern[str], meaning: str) -> Callable[[str], None]:
    def check(value: str) -> None:
        if not pattern.fullmatch(value):
            raise ValueError(f"must be {meaning}, not {value!r}")

    return check


def _rate(value: float) -> None:
    if not 0 < value < 1e6:
        raise ValueError("must be a number of frames a second")


def _address(value: str) -> None:
    if urlsplit(value).scheme not in ("http", "https") or not urlsplit(value).netloc:
        raise ValueError(f"must be an http or https address, not {value!r}")


def _inside(value: str) -> None:
    filled(value)
    if PurePosixPath(value).is_absolute() or ".." in PurePosixPath(value).parts or "\\" in value:
        raise ValueError(f"must be a path within its repository or folder, not {value!r}")


def _protocol(value: Mapping[str, str]) -> None:
    if not value:
        raise ValueError(f"must be a table with one or more of {', '.join(PROTOCOL_FIELDS)}")
    for key, said in value.items():
        if key not in PROTOCOL_FIELDS:
            raise ValueError(f"has an unknown field '{key}'; known: {', '.join(PROTOCOL_FIELDS)}")
        if not said or (PROTOCOL_FIELDS[key] and said not in PROTOCOL_FIELDS[key]):
            raise ValueError(f"{key} must be {' or '.join(PROTOCOL_FIELDS[key]) or 'a text'}, not {said!r}")


_Path = Annotated[str, _inside]


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

    dataset: Text
    metric: Text
    value: float
    by: Text
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
        stand_in: the entry that runs under this name where no weights of its own were published; an error names it
            where they were and cannot be fetched.
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
    summary: Text
    architecture: Text
    clip_length: Annotated[int, between(1, 1024)]
    overlap: Annotated[int, between(0, 1023)]
    geometry: Annotated[str, _like(GEOMETRY, GEOMETRY_FORMS)]
    licence: Text
    source: WeightsSource
    config: Annotated[Mapping[str, Any], check_config] = field(default_factory=dict)
    tail: Annotated[str, one_of(TAILS)] = "shift"
    multiple: Annotated[int, between(1, 1024)] = 1
    postprocess: Annotated[str, one_of(POSTPROCESSES)] | None = None
    protocol: Annotated[Mapping[str, str], _protocol] = field(default_factory=dict)
    flow: Annotated[str, _like(_NAME, "the name of a flow estimator")] = ""
    classifier: _Path = ""
    repo: Annotated[str, _like(_REPO, "owner/name")] | None = None
    revision: Annotated[str, _like(_REVISION, _COMMIT)] | None = None
    file: _Path | None = None
    url: Annotated[str, _address] | None = None
    size: Annotated[int, between(1, 10**12)] | None = None
    sha256: Annotated[str, _like(_SHA256, "64 lower-case hexadecimal digits")] | None = None
    instead: Text = ""
    stand_in: Annotated[str, _like(_NAME, "the name of another entry")] = ""
    parameters: Annotated[int, between(1, 10**12)] | None = None
    frames_per_second: Annotated[float, _rate] | None = None
    training_data: Text = ""
    terms: Text = ""
    paper: Text = ""
    scores: tuple[Score, ...] = ()
    notes: Text = ""
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
            size += " on a small encoder" if "encoder" in self.config else ""
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


_SOURCE_FIELDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "bundled": (("file",), ("size", "sha256")),
    "hub": (("repo", "revision", "file", "sha256"), ("size",)),
    "url": (("url",), ("file", "size", "sha256", "stand_in")),
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
    entry = read_table(WeightsEntry, table, place, WeightsError, name=name, registered_in=origin, stands_for="")
    needed, allowed = _SOURCE_FIELDS[entry.source]
    for key in needed:
        if key not in table:
            raise WeightsError(f"{place} lacks the field '{key}', which source '{entry.source}' needs")
    for key in ("repo", "revision", "file", "url", "size", "sha256", "instead", "stand_in"):
        if key in table and key not in (*needed, *allowed):
            raise WeightsError(f"{place} has '{key}', which has no place in source '{entry.source}'")
    if entry.overlap >= entry.clip_length:
        raise WeightsError(f"{place} overlap must be below clip_length {entry.clip_length}, not {entry.overlap}")
    if entry.tail in ("centred", "causal") and entry.overlap != entry.clip_length - 1:
        raise WeightsError(f"{place} tail '{entry.tail}' has one clip a frame: overlap must be clip_length - 1")
    if entry.source == "url" and not entry.file_name:
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
