"""The user's own defaults: one TOML file with a table a verb, keys named like the options."""

import os
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click
import platformdirs

from vsalient.errors import OptionError
from vsalient.toml_files import read_toml

VARIABLE = "VSALIENT_CONFIG"
COMMON = "all"
"""The table that counts for every verb which has the option."""


def config_file() -> Path:
    """The file: `VSALIENT_CONFIG`, or `config.toml` where the system keeps settings. It need not exist."""
    given = os.environ.get(VARIABLE)
    return Path(given).expanduser() if given else platformdirs.user_config_path("vsalient", False) / "config.toml"


def defaults_of(verb: str, command: click.Command, verbs: Iterable[str]) -> dict[str, Any]:
    """The defaults of a verb, by the names that Click knows its options by.

    Raises:
        OptionError: the file cannot be read, or names an option that the verb does not have.
    """
    path = config_file()
    if not path.exists():
        return {}
    tables = read_toml(path, OptionError)
    for name, table in tables.items():
        if name not in (*verbs, COMMON) or not isinstance(table, dict):
            close = get_close_matches(name, (*verbs, COMMON), 1, 0.5)
            hint = f"did you mean [{close[0]}]?" if close else f"tables are called {', '.join((COMMON, *verbs))}"
            raise OptionError(f"your defaults {path}: '{name}' is no verb's table: {hint}")
    known = {
        name.lstrip("-"): option
        for option in command.params
        if isinstance(option, click.Option) and option.name and not option.is_eager
        for name in option.opts
        if name.startswith("--")
    }
    found: dict[str, Any] = {}
    for table, strict in ((tables.get(COMMON, {}), False), (tables.get(verb, {}), True)):
        for key, value in table.items():
            if key not in known:
                if not strict:
                    continue
                close = get_close_matches(key, known, 1, 0.5)
                hint = f"did you mean {close[0]}?" if close else f"see vsalient {verb} --help"
                raise OptionError(f"your defaults {path}: [{verb}] has no option '{key}': {hint}")
            option = known[key]
            assert option.name is not None
            found[option.name] = _checked_defaults(path, verb, key, option, value)
    return found


def _checked_defaults(path: Path, verb: str, key: str, option: click.Option, value: Any) -> Any:
    """A value of the kind that the option takes; its range is checked with what is typed."""
    if option.multiple:
        values = value if isinstance(value, list) else [value]
        if all(isinstance(one, str | int | float) and not isinstance(one, bool) for one in values):
            return [str(one) for one in values]
    elif option.is_flag and option.is_bool_flag:
        if isinstance(value, bool):
            return value
    elif isinstance(value, str | int | float) and not isinstance(value, bool):
        return str(value)
    kinds = "a list" if option.multiple else "true or false" if option.is_flag else "text or a number"
    raise OptionError(f"your defaults {path}: [{verb}] {key} must be {kinds}, not {value!r}")
