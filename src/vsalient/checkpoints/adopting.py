"""Foreign checkpoints: renamed by a key table, checked strictly, kept as our own safetensors.

The one module here that knows `vsalient.models`, and only when it is called.
"""

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vsalient.checkpoints.cache import CacheRecord, model_file, sha256_of, write_cached
from vsalient.checkpoints.entries import WeightsEntry
from vsalient.checkpoints.reading import load_state_dict, read_metadata, save_checkpoint
from vsalient.errors import CheckpointError, VsalientError, first_line
from vsalient.version import __version__

if TYPE_CHECKING:
    from torch import Tensor, nn

_NAMED = 4  # keys named in an error before it only counts


def build_network(architecture: str, config: Mapping[str, Any]) -> "nn.Module":
    """The architecture with fresh weights.

    Raises:
        OptionError: unknown architecture, or an argument it does not take.
        CheckpointError: arguments that no such network can have.
    """
    from vsalient.models import build

    try:
        return build(architecture, **config)
    except VsalientError:
        raise
    except Exception as error:  # a constructor given nonsense may raise anything
        raise CheckpointError(
            f"architecture '{architecture}' cannot be built with {dict(config)!r:.200}: {first_line(error)[:120]}"
        ) from error


def convert(network: "nn.Module", state: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
    """Rename a published checkpoint's keys to the network's, by the table beside its architecture.

    A network whose contract has no `convert_checkpoint` takes its own keys only: the state dict comes back as it is.

    Raises:
        CheckpointError: a key that the table does not know, or one that it needs and misses.
    """
    from vsalient.models.network import describe

    converter = describe(network).convert_checkpoint
    return dict(converter(state)) if converter is not None else dict(state)


def require_architecture(path: Path, entry: WeightsEntry) -> bool:
    """Check that a file which says its architecture says the entry's; returns whether it says any.

    Raises:
        CheckpointError: it was written for another architecture, or is no checkpoint.
    """
    metadata = read_metadata(path)
    written_for = str(metadata["entry"].get("architecture", "")) if metadata and "entry" in metadata else ""
    if written_for and written_for != entry.architecture:
        raise CheckpointError(
            f"{path} was written for architecture {written_for}, but '{entry.name}' is {entry.architecture}; "
            "name the model it belongs to, or give the file alone"
        )
    return bool(written_for)


def read_fitting(path: Path, entry: WeightsEntry, network: "nn.Module") -> "dict[str, Tensor]":
    """Read a checkpoint so that it fits the network, key by key and shape by shape.

    Raises:
        CheckpointError: unreadable, written for another architecture, or not fitting (says which keys).
    """
    ours = require_architecture(path, entry)
    state = load_state_dict(path)
    if not ours and _is_foreign(state, network):
        try:
            state = convert(network, state)
        except CheckpointError as error:
            raise CheckpointError(f"{path}: {error}") from error
    require_fit(network, state, f"{path} does not fit '{entry.name}' ({entry.architecture})")
    return state


def _is_foreign(state: "Mapping[str, Tensor]", network: "nn.Module") -> bool:
    """Whether the keys are somebody else's. Own ones with a few faults are not, so that the faults get named."""
    own = network.state_dict().keys()
    return sum(key in own for key in state) < 0.9 * len(state)


def require_fit(network: "nn.Module", state: "Mapping[str, Tensor]", complaint: str) -> None:
    """Check that a state dict has the network's keys and shapes, no more and no less.

    Batch norm's `num_batches_tracked` may be absent: it only counts training steps, and exported weights leave it out.

    Raises:
        CheckpointError: begins with `complaint`, then counts and names the keys at fault.
    """
    expected = network.state_dict()
    missing = [key for key in expected if key not in state and not key.endswith("num_batches_tracked")]
    unexpected = [key for key in state if key not in expected]
    shaped = [
        f"{key} {tuple(state[key].shape)} instead of {tuple(tensor.shape)}"
        for key, tensor in expected.items()
        if key in state and state[key].shape != tensor.shape
    ]
    kinds = (("missing", missing), ("unexpected", unexpected), ("wrong shape", shaped))
    problems = [_naming(kind, keys) for kind, keys in kinds if keys]
    if problems:
        raise CheckpointError(f"{complaint}: {'; '.join(problems)}; is it a checkpoint of another network or version?")


def _naming(kind: str, keys: list[str]) -> str:
    more = ", ..." if len(keys) > _NAMED else ""
    return f"{len(keys)} {kind} ({', '.join(keys[:_NAMED])}{more})"


def adopt(entry: WeightsEntry, file: Path, *, origin: str, source: str, digest: str, first_seen: str = "") -> Path:
    """Turn a checkpoint into verified safetensors in the cache, and record what it was made of.

    Args:
        entry: what the file claims to be.
        file: the checkpoint, in any form that `load_state_dict` reads.
        origin: "url" or "import".
        source: its address or file name.
        digest: its SHA-256.
        first_seen: when a pinned file is fetched again, the date from before.

    Returns:
        The safetensors file: the network's own keys, nothing else (no optimiser state).

    Raises:
        CheckpointError: unreadable, unsafe, not fitting, or with values that are no numbers.
    """
    import torch

    with torch.device("meta"):  # names and shapes only
        network = build_network(entry.architecture, entry.config)
    state = read_fitting(file, entry, network)
    broken = [key for key, tensor in state.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    if broken:
        raise CheckpointError(f"{file} holds values that are not finite: {_naming('tensors', broken)}; get it again")
    made = {"kind": origin, "source": source, "sha256": digest, "vsalient": __version__}
    path = model_file(entry.name)
    save_checkpoint(path, state, entry, origin=made)
    record = CacheRecord(
        origin=origin,
        source=source,
        source_sha256=digest,
        source_size=file.stat().st_size,
        sha256=sha256_of(path),
        size=path.stat().st_size,
        architecture=entry.architecture,
        first_seen=first_seen or datetime.date.today().isoformat(),
        version=__version__,
    )
    write_cached(entry.name, record)
    return path
