"""TOML from files and command lines, where what is wrong with it is one line of ours, whatever it is."""

import tomllib
from pathlib import Path
from typing import Any

from vsalient.errors import VsalientError

LARGEST = 4 << 20
"""Bytes of a TOML file; ours have a few thousand."""


def read_toml(path: Path, error: type[VsalientError]) -> dict[str, Any]:
    """A TOML file's table.

    Args:
        path: the file, UTF-8 with or without a byte order mark.
        error: what to raise where it cannot be read.

    Raises:
        VsalientError: of the kind given: missing, too large, not UTF-8, not TOML, nested too deep.
    """
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as problem:
        raise error(f"cannot read {path}: {problem.strerror}") from problem
    if len(data) > LARGEST:
        raise error(f"{path} is no TOML file of ours: it is larger than {LARGEST >> 20} MiB")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise error(f"{path} is not valid TOML: not UTF-8 (byte {problem.start}); save it as UTF-8") from problem
    return parse_toml(text, str(path), error)


def parse_toml(text: str, where: str, error: type[VsalientError]) -> dict[str, Any]:
    """TOML text as a table; `where` it stands is named in errors.

    Raises:
        VsalientError: of the kind given: not TOML, nested too deep, or numbers without end.
    """
    try:
        return tomllib.loads(text)
    except RecursionError as problem:
        raise error(f"{where} is not valid TOML: it is nested too deep") from problem
    except ValueError as problem:  # a TOMLDecodeError, or a number of thousands of digits
        raise error(f"{where} is not valid TOML: {str(problem).splitlines()[0][:160]}") from problem


def toml_value(text: str) -> Any:
    """What stands behind `key=` on a command line: a TOML value, or the text itself where it is none."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text
