"""Tables of TOML and JSON as dataclasses, read strictly by the types of their fields.

A field's type says what its value may be. What a type cannot say is a function in `Annotated`, which takes the value
and raises a ValueError that goes on after the field's name: "must be ...".
"""

import dataclasses
import types
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from vsalient.errors import VsalientError

LARGEST_NUMBER = 10**12
"""Of a number in a table: bytes, seeds and steps are below."""
_WORDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}

Read = TypeVar("Read")


def read_table(
    kind: type[Read], table: Mapping[str, Any], place: str, error: type[VsalientError], **given: Any
) -> Read:
    """Make a dataclass of a table.

    Args:
        kind: the dataclass.
        table: key -> value, as TOML or JSON has them; tables within are dataclasses or dictionaries.
        place: what errors begin with, before the field's name.
        error: what to raise.
        given: fields that are not the table's to say.

    Raises:
        VsalientError: of the kind given: a key that is unknown, missing, or whose value does not fit; in one line.
    """
    try:
        return _record(kind, table, "", given)
    except ValueError as problem:
        raise error(f"{place} {problem}") from None


def between(least: int, most: int) -> Callable[[int], None]:
    """A check of a whole number."""

    def check(value: int) -> None:
        if not least <= value <= most:
            shown = value if abs(value) < 10**15 else "a larger one"
            raise ValueError(f"must be a whole number from {least} to {most}, not {shown!r}")

    return check


def one_of(choices: tuple[str, ...]) -> Callable[[str], None]:
    """A check of a text that has few values, where they are no `Literal`."""

    def check(value: str) -> None:
        if value not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}, not {value!r:.80}")

    return check


def filled(value: str) -> None:
    """A check that a text says something."""
    if not value.strip():
        raise ValueError("must be a text that is not empty")


Text = Annotated[str, filled]


def _record(kind: type[Read], table: Mapping[str, Any], path: str, given: Mapping[str, Any]) -> Read:
    assert dataclasses.is_dataclass(kind)
    fields = {item.name: item for item in dataclasses.fields(kind) if item.name not in given}
    within = f"{path.rstrip('.')} " if path else ""
    for key in table:
        if key not in fields:
            raise ValueError(f"{within}has an unknown field '{key:.80}'; known: {', '.join(fields)}")
    missing = dataclasses.MISSING
    for name, item in fields.items():
        if name not in table and item.default is missing and item.default_factory is missing:
            raise ValueError(f"{within}lacks the field '{name}'")
    hints = get_type_hints(kind, include_extras=True)
    return kind(**given, **{key: _value(hints[key], value, f"{path}{key}") for key, value in table.items()})


def _value(hint: Any, value: Any, path: str) -> Any:
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        read = _value(inner[0], value, path)
        for check in inner[1:]:
            try:
                check(read)
            except ValueError as problem:
                raise ValueError(f"{path} {problem}") from None
        return read
    if origin in (Union, types.UnionType):  # a type or None, and TOML has no None
        return _value(inner[0], value, path)
    if origin is Literal:
        if value not in inner:
            raise ValueError(f"{path} must be one of {', '.join(map(str, inner))}, not {value!r:.80}")
        return value
    if origin is tuple:
        many = inner[-1] is Ellipsis
        if not isinstance(value, list | tuple) or not (many or len(value) == len(inner)):
            raise ValueError(f"{path} must be a list{'' if many else f' of {len(inner)}'}, not {value!r:.80}")
        return tuple(_value(inner[0], item, path) for item in value)
    if origin in (dict, Mapping) or dataclasses.is_dataclass(hint):
        if not isinstance(value, dict):
            raise ValueError(f"{path} must be a table, not {value!r:.80}")
        if dataclasses.is_dataclass(hint):
            return _record(hint, value, f"{path}.", {})  # type: ignore[arg-type]
        return dict(value) if inner[1] is Any else {k: _value(inner[1], v, f"{path}.{k}") for k, v in value.items()}
    return _plain(hint, value, path)


def _plain(hint: type, value: Any, path: str) -> Any:
    if hint is float and type(value) is int:
        value = float(value) if abs(value) <= LARGEST_NUMBER else float("inf")
    if type(value) is not hint:
        raise ValueError(f"{path} must be {_WORDS[hint]}, not {value!r:.80}")
    if isinstance(value, int | float) and not abs(value) <= LARGEST_NUMBER:
        raise ValueError(f"{path}: {value if isinstance(value, float) else 'a number that large'} makes no sense")
    return value
