"""From a model's name or file to a network with its weights, ready to run."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from vsalient.checkpoints.adopting import build_network, read_fitting, require_architecture
from vsalient.checkpoints.entries import WeightsEntry
from vsalient.checkpoints.plugged import entry_of_network
from vsalient.checkpoints.progress import FetchProgress
from vsalient.checkpoints.sources import find_entry, resolve

if TYPE_CHECKING:
    from torch import nn

    from vsalient.models.network import Network


def load_network(
    model: "str | Path | WeightsEntry | nn.Module | Network",
    *,
    weights: str | Path | None = None,
    offline: bool = False,
    sha256: str | None = None,
    endpoint: str | None = None,
    token: str | None = None,
    progress: FetchProgress | None = None,
) -> "tuple[nn.Module | Network, WeightsEntry]":
    """Build the model's architecture, find its weights and load them strictly.

    Args:
        model: a registry name, an installed plug-in's, an entry, a safetensors file that vsalient wrote (it says what
            it is), or a network built in Python, of which a copy is taken.
        weights: a file to load instead of the entry's own weights.
        offline: as for `vsalient.checkpoints.resolve`, like all that follow.
        sha256: the hash to demand.
        endpoint: a mirror of the Hub.
        token: for gated repositories.
        progress: told of a transfer.

    Returns:
        The network on the CPU in evaluation mode, and its entry, which with `weights` speaks of that file.

    Raises:
        WeightsError: unknown name, or nothing published (says what to do instead).
        FetchError: the weights cannot be fetched.
        CheckpointError: they cannot be read, or do not fit (says which keys).
    """
    if not isinstance(model, str | Path | WeightsEntry):
        return _handed_over(model, weights, sha256)
    entry = find_entry(model, own_weights=weights is not None)
    if weights is not None:
        path = resolve(Path(weights).expanduser(), sha256=sha256)
        # What was measured with the published weights says nothing of these.
        entry = replace(
            entry,
            source="file",
            file=str(path),
            repo=None,
            revision=None,
            url=None,
            size=None,
            sha256=None,
            scores=(),
        )
    else:
        path = resolve(entry, offline=offline, sha256=sha256, endpoint=endpoint, token=token, progress=progress)
    require_architecture(path, entry)
    import torch

    # Names and shapes first: what the file holds must fit before memory is taken for what it asks for.
    with torch.device("meta"):
        shape = build_network(entry.architecture, entry.config)
    state = read_fitting(path, entry, shape)
    network = build_network(entry.architecture, entry.config)
    network.load_state_dict(state, strict=True)
    return network.eval(), entry


def _handed_over(
    network: "nn.Module | Network", weights: str | Path | None, sha256: str | None
) -> "tuple[nn.Module | Network, WeightsEntry]":
    """A copy of a network built in Python, with the weights it has or those of a file."""
    from vsalient.models.network import describe

    entry, network = entry_of_network(network), copy.deepcopy(network)
    module = describe(network).module
    if weights is not None:
        path = resolve(Path(weights).expanduser(), sha256=sha256)
        module.load_state_dict(read_fitting(path, entry, module), strict=True)
    module.eval()
    return network, entry
