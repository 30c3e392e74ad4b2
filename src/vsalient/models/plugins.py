"""Networks of other people: code by name, from an installed package's entry point or the command line, nowhere else.

A package offers a network by an entry point of the group `vsalient.models`, whose name becomes an architecture that
registries, recipes and checkpoints may name: what is installed was chosen by the user. `module:Class` is code that
anybody could write into a file, so only the command line may say it (`allow`); in a registry, recipe, checkpoint or
request it is an unknown architecture. Importing this module loads no torch and no plug-in.
"""

import importlib
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from vsalient.entry_points import offered
from vsalient.errors import OptionError

if TYPE_CHECKING:
    from torch import nn

MODELS_GROUP = "vsalient.models"
"""The group of entry points: `[project.entry-points."vsalient.models"] name = "module:Class"` in a pyproject.toml."""

Constructor = Callable[..., "nn.Module"]
_CODE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_allowed: dict[str, Constructor] = {}


def is_code(text: str) -> bool:
    """Whether a text has the form `package.module:Class`."""
    return _CODE.fullmatch(text) is not None


def allow(text: str) -> Constructor:
    """Import `package.module:Class` and let it be an architecture of this process. For the command line alone.

    Raises:
        OptionError: no such module or class, or its import fails; in one line.
    """
    if text not in _allowed:
        module, _, name = text.partition(":")
        _allowed[text] = _load(text, lambda: getattr(importlib.import_module(module), name))
    return _allowed[text]


def constructor(architecture: str) -> Constructor | None:
    """What builds a plug-in's network: an installed entry point, or code that the command line allowed.

    Raises:
        OptionError: its import fails.
    """
    if architecture in _allowed:
        return _allowed[architecture]
    point = offered(MODELS_GROUP).get(architecture)
    return None if point is None else _load(f"{architecture} ({point.value})", point.load)


def _load(what: str, load: Callable[[], object]) -> Constructor:
    try:
        found = load()
    except (ImportError, AttributeError) as error:
        raise OptionError(f"model {what} cannot be imported: {error}; is its package installed?") from error
    except Exception as error:
        raise OptionError(f"model {what} cannot be imported: {type(error).__name__}: {error}") from error
    if not callable(found):
        raise OptionError(f"model {what} is {type(found).__name__}: it must be a class of networks")
    return found
