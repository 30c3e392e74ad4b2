"""Entries for networks that no registry names: those of other packages, and modules handed over in Python."""

from dataclasses import replace
from typing import TYPE_CHECKING

from vsalient.checkpoints.entries import WeightsEntry
from vsalient.checkpoints.registry import registry
from vsalient.errors import OptionError
from vsalient.models import ARCHITECTURES, plugins

if TYPE_CHECKING:
    from torch import nn

    from vsalient.models.network import Network, Running


def plugged_entry(name: str) -> WeightsEntry | None:
    """The entry of a plug-in by the name of its entry point, or of code that the command line allowed; else None.

    Raises:
        OptionError: its import fails, or what it says of itself is not what the contract allows.
    """
    constructor = plugins.constructor(name)
    if constructor is None:
        return None
    from vsalient.models.network import Running, describe

    running = getattr(constructor, "running", None)
    if not isinstance(running, Running):
        running = describe(constructor()).running
    known_as = name.rpartition(":")[2].lower()
    return _entry(known_as, name, running or Running(), f"the network of the plug-in {name}")


def entry_of_network(network: "nn.Module | Network") -> WeightsEntry:
    """The entry of a network that was built in Python; one of ours is run as its own entry says.

    Raises:
        OptionError: what it says of itself is not what the contract allows.
    """
    from vsalient.models.network import Running, describe

    described = describe(network)
    kind = type(described.module)
    own = next((name for name, home in ARCHITECTURES.items() if home == (kind.__module__, kind.__name__)), None)
    if own is not None and described.running is None:
        like = next(entry for entry in registry().values() if entry.architecture == own)
        return replace(_entry(own, own, Running(), like.summary), **{key: getattr(like, key) for key in _RUNNING})
    name = kind.__name__.lower()
    return _entry(name, name, described.running or Running(), f"a {kind.__name__} handed over in Python")


_RUNNING = ("clip_length", "overlap", "tail", "geometry", "multiple", "postprocess", "protocol")


def _entry(name: str, architecture: str, running: "Running", summary: str) -> WeightsEntry:
    if not 0 <= running.overlap < running.clip_length:
        raise OptionError(
            f"model '{name}' says overlap {running.overlap}: it must be from 0 to clip_length {running.clip_length} - 1"
        )
    if running.tail in ("centred", "causal") and running.overlap != running.clip_length - 1:
        raise OptionError(f"model '{name}' has one clip a frame (tail {running.tail}): overlap must be clip_length - 1")
    entry = WeightsEntry(
        name=name,
        summary=summary,
        architecture=architecture,
        clip_length=running.clip_length,
        overlap=running.overlap,
        tail=running.tail,
        geometry=running.geometry,
        multiple=running.multiple,
        postprocess=running.postprocess,
        licence="its authors'",
        source="none",
        instead="give its weights with --weights FILE",
    )
    if running.weights is not None:
        entry = replace(entry, source="file", file=str(running.weights), instead="")
    return entry
