"""Checkpoint files: safetensors, PyTorch's own format with `weights_only`, or .npz; nothing that can run code.

torch is imported only where tensors are read; a file's head and metadata are read without it.
"""

import json
import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vsalient.checkpoints.cache import temporary_beside
from vsalient.checkpoints.entries import WeightsEntry, parse_entry
from vsalient.checkpoints.limits import check_archive, check_tensors
from vsalient.errors import CheckpointError, WeightsError, first_line

if TYPE_CHECKING:
    from torch import Tensor

METADATA_KEY = "vsalient"
"""The one key we write into a safetensors header: JSON with the entry and where the tensors come from."""
# One key, because the header's keys have no fixed order, and equal content shall give equal bytes.

_WRAPPERS = ("model", "state_dict", "model_state_dict", "network", "net", "weights")
_MAX_HEADER = 100_000_000  # safetensors' own limit
_HINT = "give a .safetensors file, or a PyTorch file saved with torch.save(model.state_dict(), ...)"


def file_kind(path: Path) -> str:
    """Which format a file has, from its first bytes: "safetensors", "torch" or "npz".

    Raises:
        CheckpointError: it is missing, empty, or none of them.
    """
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise CheckpointError(f"cannot read checkpoint {path}: {error.strerror}") from error
    if not head:
        raise CheckpointError(f"{path} is empty, not a checkpoint; {_HINT}")
    if len(head) > 8 and head[8:9] == b"{" and 2 <= int.from_bytes(head[:8], "little") <= _MAX_HEADER:
        return "safetensors"
    if head.startswith((b"PK\x03\x04", b"\x80\x02")):
        return "npz" if head[:2] == b"PK" and _holds_only_arrays(path) else "torch"
    raise CheckpointError(f"{path} is not a checkpoint (it begins with {head[:12]!r}); {_HINT}")


def read_metadata(path: Path) -> dict[str, Any] | None:
    """What vsalient wrote into a safetensors file's header, or None when this is no file of ours.

    Raises:
        CheckpointError: no checkpoint, or a damaged one.
    """
    if file_kind(path) != "safetensors":
        return None
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        head = file.read(length)
    try:
        header = json.loads(head)
        text = header.get("__metadata__", {}).get(METADATA_KEY)
        metadata = json.loads(text) if text is not None else None
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{path} has a damaged safetensors header ({first_line(error)}); get it again") from error
    if metadata is not None and not isinstance(metadata, dict):
        raise CheckpointError(f"{path} has vsalient metadata that is no table; write it again")
    return metadata


def entry_of_file(path: Path) -> WeightsEntry:
    """The entry that a safetensors file of ours carries, so that it can be used by its path alone.

    Raises:
        CheckpointError: the file says nothing of its architecture, or what it says is wrong.
    """
    metadata = read_metadata(path)
    if metadata is None or not isinstance(metadata.get("entry"), dict):
        raise CheckpointError(
            f"{path} does not say which network it belongs to; name it: --model NAME --weights {path.name}"
        )
    table = {key: value for key, value in metadata["entry"].items() if key != "name"}
    table |= {"source": "file", "file": path.name}
    for key in ("repo", "revision", "url", "size", "sha256", "instead"):
        table.pop(key, None)
    try:
        entry = parse_entry(str(metadata["entry"].get("name", "")), table, origin=path)
    except WeightsError as error:
        raise CheckpointError(str(error)) from error
    return entry


def load_state_dict(path: str | Path) -> "dict[str, Tensor]":
    """Read a checkpoint's tensors onto the CPU, in the dtypes they are stored in.

    A training checkpoint is searched for its model (under "model", "state_dict" and the like; an optimiser's
    state is left behind), and a leading `module.` that stands before every key is removed.

    Raises:
        CheckpointError: not a checkpoint, truncated, without tensors, or holding objects that could run code.
    """
    path = Path(path)
    kind = file_kind(path)
    if kind == "safetensors":
        state = _read_safetensors(path)
    else:
        state = _read_npz(path) if kind == "npz" else _unwrap(read_torch(path), path)
    if not state:
        raise CheckpointError(f"{path} holds no tensors; {_HINT}")
    check_tensors(state, path)
    if all(key.startswith("module.") for key in state):
        return {key.removeprefix("module."): tensor for key, tensor in state.items()}
    return state


def save_checkpoint(
    path: str | Path,
    state: "Mapping[str, Tensor]",
    entry: WeightsEntry,
    *,
    origin: Mapping[str, Any] | None = None,
) -> None:
    """Write tensors as a safetensors file that says itself what it is; it appears only when whole.

    Args:
        path: the file.
        state: the network's own state dict.
        entry: goes into the header, so that `--model FILE` needs no registry.
        origin: plain values to keep beside it, such as the source file's hash or the training recipe.

    Raises:
        CheckpointError: it cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    metadata = {"entry": entry.to_table(), "origin": dict(origin or {})}
    # Storage shared by two keys (a view, a memory map of the source file) may not be written: copy.
    tensors = {key: tensor.detach().cpu().contiguous().clone() for key, tensor in state.items()}
    try:
        with temporary_beside(Path(path)) as temporary:
            temporary.touch()
            mode = temporary.stat().st_mode  # safetensors would make the file private, and a cache may be shared
            save_file(tensors, temporary, metadata={METADATA_KEY: json.dumps(metadata, sort_keys=True)})
            temporary.chmod(mode)
            temporary.replace(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"cannot write {path}: {first_line(error)}; is there room, may you write there?"
        ) from error


def _holds_only_arrays(path: Path) -> bool:
    """Whether a zip file is NumPy's .npz, the form that Caffe models are usually passed on in."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError):
        return False
    return bool(names) and all(name.endswith(".npy") for name in names)


def _read_npz(path: Path) -> "dict[str, Tensor]":
    import numpy as np
    import torch

    check_archive(path)
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: torch.from_numpy(np.ascontiguousarray(arrays[name])) for name in arrays.files}
    except Exception as error:  # what a crafted array file raises is anybody's guess
        raise CheckpointError(
            f"{path} is truncated or no plain array file ({first_line(error)[:120]}); get it again"
        ) from error


def _read_safetensors(path: Path) -> "dict[str, Tensor]":
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        state: dict[str, Tensor] = load_file(path)
    except (SafetensorError, ValueError, RuntimeError, TypeError, KeyError, OSError) as error:
        raise CheckpointError(
            f"{path} is truncated or damaged ({first_line(error)}); get it again, or `vsalient models verify`"
        ) from error
    return state


def read_torch(path: Path) -> object:
    """What a PyTorch file holds, its tensors mapped onto the CPU: numbers and plain data only.

    Raises:
        CheckpointError: damaged, or it holds something that could run code.
    """
    import torch

    with path.open("rb") as file:
        zipped = file.read(2) == b"PK"
    if zipped:
        check_archive(path)
    try:
        # Mapped, a training checkpoint's optimiser state is never read. Only the zip form can be.
        with torch.serialization.safe_globals(_numpy_scalars()):
            loaded: object = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except pickle.UnpicklingError as error:
        # torch says "Unsupported global: GLOBAL argparse.Namespace was not an allowed global".
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        if found:
            raise CheckpointError(
                f"{path} refused: it holds {found[1]}, which could run code when loaded; {_HINT}"
            ) from error
        raise CheckpointError(f"{path} is damaged or unsafe and was refused; {_HINT}") from error
    except Exception as error:  # nothing runs, but what a crafted file raises is anybody's guess
        raise CheckpointError(
            f"{path} is truncated or no PyTorch checkpoint ({first_line(error)[:120]}); get it again"
        ) from error
    return loaded


def _numpy_scalars() -> list[Any]:
    """What a NumPy number pickles to: training code often keeps a score as one. Plain data, no code."""
    import _codecs

    import numpy as np

    scalar = np.float64(0).__reduce__()[0]  # its module moved in NumPy 2
    kinds = [type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8", "?")]
    return [(scalar, "numpy.core.multiarray.scalar"), scalar, np.dtype, _codecs.encode, *kinds]


def _unwrap(loaded: object, path: Path) -> "dict[str, Tensor]":
    """The state dict within what torch.load gave."""
    from torch import Tensor

    candidates = [loaded]
    if isinstance(loaded, Mapping):
        candidates += [loaded[key] for key in _WRAPPERS if key in loaded]
    for candidate in candidates:
        if isinstance(candidate, Mapping) and candidate and all(isinstance(v, Tensor) for v in candidate.values()):
            return {str(key): tensor for key, tensor in candidate.items()}
    if isinstance(loaded, Mapping):
        keys = ", ".join(str(key) for key in list(loaded)[:6])
        raise CheckpointError(f"{path} holds no state dict of tensors (its keys: {keys}); {_HINT}")
    raise CheckpointError(f"{path} holds a {type(loaded).__name__}, not a state dict; {_HINT}")
