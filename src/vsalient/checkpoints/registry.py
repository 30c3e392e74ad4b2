"""The registry: all weights entries by name: the built-in weights.toml, a lab's own, and added models."""

import difflib
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from vsalient.checkpoints.cache import added_root
from vsalient.checkpoints.entries import WeightsEntry, parse_entry
from vsalient.errors import WeightsError
from vsalient.toml_files import read_toml

REGISTRY_VARIABLE = "VSALIENT_WEIGHTS"
SCHEMA = 1
ENTRY_FILE = "entry.toml"


class UnknownModelError(WeightsError, KeyError):
    """No entry has this name. A KeyError too, as `Mapping` expects one."""

    __str__ = Exception.__str__


class Registry(Mapping[str, WeightsEntry]):
    """Name → entry, in the order of reading. An unknown name is an UnknownModelError with suggestions."""

    def __init__(self, entries: Mapping[str, WeightsEntry]) -> None:
        self._entries = dict(entries)

    def __getitem__(self, name: str) -> WeightsEntry:
        if name not in self._entries:
            close = difflib.get_close_matches(name.lower(), self._entries, n=3, cutoff=0.5)
            hint = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(self._entries)}"
            raise UnknownModelError(f"unknown model '{name}'; {hint} (a file is given by its path, such as ./{name})")
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def registry() -> Registry:
    """Read the registry.

    The built-in entries come first; those of the file that `VSALIENT_WEIGHTS` names are added, and take the
    place of built-in ones of the same name; models added with `vsalient models add` come last.

    Raises:
        WeightsError: a registry file is missing or wrong; one line names file, entry and field.
    """
    entries = read_registry(builtin_registry())
    given = os.environ.get(REGISTRY_VARIABLE)
    if given:
        path = Path(given).expanduser()
        if not path.is_file():
            raise WeightsError(f"{REGISTRY_VARIABLE}={given} is no file; point it to a registry, or unset it")
        entries |= read_registry(path)
    return Registry(entries | read_added(added_root()))


def builtin_registry() -> Path:
    """The weights.toml in the package, or in a checkout the one at the repository's root."""
    packaged = Path(__file__).resolve().parents[1] / "weights.toml"
    return packaged if packaged.is_file() else packaged.parents[2] / "weights.toml"


def read_registry(path: Path) -> dict[str, WeightsEntry]:
    """All entries of one registry file: `schema = 1`, then a table an entry.

    Raises:
        WeightsError: unreadable, not TOML, another schema, or a wrong entry.
    """
    table = read_toml(path, WeightsError)
    schema = table.pop("schema", None)
    if schema != SCHEMA:
        raise WeightsError(f"{path}: schema must be {SCHEMA}, not {schema!r}; see docs/weights.md for the format")
    entries = {}
    for name, fields in table.items():
        if not isinstance(fields, dict):
            raise WeightsError(f"{path}: '{name}' stands outside any entry; entries are tables such as [my-model]")
        if fields.get("source") == "file":
            raise WeightsError(f"{path}: [{name}] source 'file' is for added models; see `vsalient models add`")
        entries[name] = parse_entry(name, fields, origin=path)
    return entries


def read_entry(path: Path) -> WeightsEntry:
    """One `entry.toml`, as training writes it; its `file` is taken relative to the folder it stands in.

    Raises:
        WeightsError: unreadable, not TOML, or a wrong field.
    """
    table = read_toml(path, WeightsError)
    name = table.pop("name", None)
    if not isinstance(name, str):
        raise WeightsError(f"{path} lacks the field 'name'")
    if table.get("source") != "file":
        raise WeightsError(f"{path}: [{name}] source must be 'file' for a model that is to be added")
    entry = parse_entry(name, table, origin=path)
    assert entry.file
    return replace(entry, file=str(path.parent / entry.file))


def read_added(folder: Path) -> dict[str, WeightsEntry]:
    """The entries of the models that the user added, one folder each.

    Raises:
        WeightsError: an entry is wrong, or stands in a folder of another name.
    """
    entries = {}
    for path in sorted(folder.glob(f"*/{ENTRY_FILE}")):
        entry = read_entry(path)
        if entry.name != path.parent.name:
            raise WeightsError(f"{path} is named '{entry.name}', but its folder '{path.parent.name}'; rename one")
        entries[entry.name] = entry
    return entries
