"""What makes two runs the same: what was asked for, which bytes went in, and what stands where the outputs should."""

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vsalient.errors import InputError

PIECE = 1 << 16
"""Bytes of a file's beginning and of its end that are hashed."""


def fingerprint(asked: Mapping[str, Any]) -> str:
    """16 hex digits that name a set of settings; equal for equal values, whatever their order.

    Args:
        asked: plain values, paths or dataclasses. Only what was *asked for* belongs in it: what a machine makes of it
            (device, engine, dtype, version) may differ from node to node without the work having to be done again.
    """
    text = json.dumps(plain_value(asked), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def plain_value(value: Any) -> Any:
    """The value as JSON knows it: dataclasses lose the fields that have their default, paths become text."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        # A later version may have more settings: at their defaults they change nothing.
        shown = {
            item.name: getattr(value, item.name)
            for item in dataclasses.fields(value)
            if item.default is dataclasses.MISSING or getattr(value, item.name) != item.default
        }
        return plain_value(shown)
    if isinstance(value, Mapping):
        return {str(key): plain_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        items = [plain_value(item) for item in value]
        return sorted(items, key=str) if isinstance(value, set | frozenset) else items
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)


@dataclasses.dataclass(frozen=True, slots=True)
class Identity:
    """What tells one input's content from another's without reading all of it.

    Attributes:
        size: bytes; for a folder of frames those of all its files.
        digest: hash of the size and of the first and last 64 KiB; for a folder also of every name and size.
    """

    size: int
    digest: str


def identify(path: Path) -> Identity:
    """Look at a file or a folder of frames.

    Raises:
        InputError: it cannot be read, or is neither (a pipe has no end to look at).
    """
    try:
        if path.is_dir():
            return _identify_folder(path)
        if not path.is_file():
            raise InputError(f"{path} is no regular file: a manifest or a claim needs one, or a folder of frames")
        digest = hashlib.sha256()
        size = _add_file(digest, path)
        return Identity(size, digest.hexdigest()[:24])
    except OSError as error:
        raise InputError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from error


def _identify_folder(path: Path) -> Identity:
    digest = hashlib.sha256()
    files = sorted(
        (entry.name, entry.stat().st_size)
        for entry in os.scandir(path)
        if entry.is_file() and not entry.name.startswith(".")
    )
    for name, size in files:
        digest.update(f"{size} {name}\0".encode("utf-8", "surrogateescape"))
    for name in {files[0][0], files[-1][0]} if files else ():
        inner = hashlib.sha256()
        _add_file(inner, path / name)
        digest.update(inner.digest())
    return Identity(sum(size for _, size in files), digest.hexdigest()[:24])


def _add_file(digest: Any, path: Path) -> int:
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        digest.update(str(size).encode())
        digest.update(file.read(PIECE))
        if size > PIECE:
            file.seek(max(PIECE, size - PIECE))
            digest.update(file.read(PIECE))
    return size


def measure_file(path: Path) -> int | None:
    """Bytes of a file, or of the files in a folder and below; None when nothing stands there."""
    try:
        if not path.is_dir():
            return path.stat().st_size
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file() and not file.name.startswith("."))
    except OSError:
        return None
