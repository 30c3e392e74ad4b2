"""What installed packages offer by entry points: known by name, and imported only once it is asked for."""

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from vsalient.errors import OptionError


@cache
def offered(group: str) -> dict[str, EntryPoint]:
    """The entry points of a group by name.

    Raises:
        OptionError: two packages offer one name.
    """
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=group):
        other = found.setdefault(point.name, point)
        if other.value != point.value:
            raise OptionError(
                f"two installed packages offer '{point.name}' of {group}: {other.value}, {point.value}; uninstall one"
            )
    return found


def check_offered(group: str, name: str, what: str) -> EntryPoint:
    """The entry point of this name; `what` it is comes first in errors.

    Raises:
        OptionError: no installed package offers it.
    """
    if name not in offered(group):
        known = ", ".join(sorted(offered(group))) or "none is installed"
        raise OptionError(f"{what} '{name}' is unknown: a package offers one by an entry point of {group} ({known})")
    return offered(group)[name]


@cache
def made(group: str, name: str, what: str) -> Any:
    """What the class or function of an entry point gives when it is called without arguments, once a process.

    Raises:
        OptionError: nobody offers it, it cannot be made, or what it gives cannot be called.
    """
    point = check_offered(group, name, what)
    try:
        found = point.load()()
    except Exception as error:
        raise OptionError(f"{what} {name} ({point.value}): {type(error).__name__}: {error}") from error
    if not callable(found):
        raise OptionError(f"{what} {name} ({point.value}) gives {type(found).__name__}, which cannot be called")
    return found
