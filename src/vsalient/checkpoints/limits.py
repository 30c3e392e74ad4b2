"""What a checkpoint may ask for: sizes are looked at before anything is inflated or built.

A file from elsewhere can say that a few kilobytes stand for gigabytes, or that a network has a billion channels. No
published network comes near these bounds.
"""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vsalient.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

LARGEST_ARGUMENT = 8192
"""Of a constructor's argument: the widest layer of the papers has 4,096 channels."""
MOST_VALUES = 256
DEEPEST = 4
LONGEST_TEXT = 200
SMALL_ARCHIVE = 64 << 20
"""Bytes that an archive may grow to, however small it is."""
MOST_GROWTH = 16
"""Times its own size, above that: weights hardly shrink at all, and half of a network of zeros is no network."""


def check_archive(path: Path) -> None:
    """Refuse a zip file (PyTorch's or NumPy's) whose parts would be far larger than it is.

    Raises:
        CheckpointError: it would, or it is no zip file.
    """
    try:
        size = path.stat().st_size
        with zipfile.ZipFile(path) as archive:
            inside = sum(item.file_size for item in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError) as error:
        raise CheckpointError(f"{path} is truncated or no checkpoint archive ({error}); get it again") from error
    if inside > SMALL_ARCHIVE and inside > MOST_GROWTH * size:
        raise CheckpointError(
            f"{path} refused: its {size} bytes would become {inside}, which no weights do; get it from its publisher"
        )


def check_tensors(state: "Mapping[str, Tensor]", path: Path) -> None:
    """Refuse tensors that hold no plain numbers: without data, sparse, quantised, complex, or of 8-bit floats.

    Raises:
        CheckpointError: names the first.
    """
    import torch

    plain = {
        *(torch.float16, torch.bfloat16, torch.float32, torch.float64),
        *(torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.bool),
    }
    for key, tensor in state.items():
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
            kind = "quantised" if tensor.is_quantized else f"{tensor.layout} on {tensor.device}".replace("torch.", "")
            raise CheckpointError(f"{path} holds '{key[:80]}', a {kind} tensor; save it as plain numbers on the CPU")
        if tensor.dtype not in plain:
            dtype = str(tensor.dtype).removeprefix("torch.")
            raise CheckpointError(f"{path} holds '{key[:80]}' as {dtype}; convert it to float16 or float32")
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise CheckpointError(f"{path} holds '{key[:80]}', which is larger than its data; save a copy of it")


def check_config(config: Mapping[str, Any]) -> None:
    """Refuse a network's arguments that no network has, so that building it cannot take hours or all memory.

    Raises:
        ValueError: says which argument.
    """
    for key, value in config.items():
        left = _count_values(key, value, 0)
        if left > MOST_VALUES:
            raise ValueError(f"has {left} values as '{key[:40]}': at most {MOST_VALUES} make sense")


def _count_values(key: str, value: object, depth: int) -> int:
    """How many values there are, each looked at."""
    if depth > DEEPEST:
        raise ValueError(f"is nested too deep at '{key[:40]}'")
    if isinstance(value, str):
        if len(value) > LONGEST_TEXT:
            raise ValueError(f"has a text of {len(value)} letters as '{key[:40]}'")
    elif isinstance(value, bool) or value is None:
        pass
    elif isinstance(value, int | float):
        if not -LARGEST_ARGUMENT <= value <= LARGEST_ARGUMENT:  # not a number is not in it either
            shown = str(value) if isinstance(value, float) else f"a number of {value.bit_length()} bits"
            raise ValueError(f"has {shown} as '{key[:40]}': at most {LARGEST_ARGUMENT} makes sense")
    elif isinstance(value, Mapping):
        return 1 + sum(_count_values(f"{key}.{inner}", item, depth + 1) for inner, item in value.items())
    elif isinstance(value, list | tuple):
        return 1 + sum(_count_values(key, item, depth + 1) for item in value)
    else:
        raise ValueError(f"has a {type(value).__name__} as '{key[:40]}': numbers, texts and lists are taken")
    return 1
