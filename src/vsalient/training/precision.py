"""The number format that training computes in: the recipe's, or the fastest one that is sound on the device."""

from typing import Literal

import torch

from vsalient.devices import DTYPES, cpu_bfloat16
from vsalient.errors import DeviceError
from vsalient.training.recipe import Precision

Resolved = Literal["float32", "bfloat16", "float16"]


def choose_precision(wanted: Precision, device: torch.device, before: Precision = "auto") -> tuple[Resolved, str]:
    """The precision of a run, and why in a few words.

    "auto" is what a resumed run had, where the device can do it; else bfloat16 on CPUs with instructions for it and
    on GPUs with tensor cores for it, else float32.

    Args:
        wanted: of the recipe.
        device: where it trains.
        before: what the checkpoint was made in.

    Raises:
        DeviceError: the device cannot compute in the precision asked for.
    """
    if wanted != "auto":
        if wanted == "float16" and device.type == "cpu":
            raise DeviceError("precision = float16 trains on GPUs only; use bfloat16, float32 or auto on a CPU")
        return wanted, "asked for"
    fast, why = _fastest(device)
    if before != "auto" and (before == "float32" or fast == before):
        return before, "as the run began"
    return fast, why


def _fastest(device: torch.device) -> tuple[Resolved, str]:
    if device.type == "cuda":
        capable = torch.cuda.get_device_capability(device) >= (8, 0)
        return ("bfloat16", "tensor cores") if capable else ("float32", "this GPU has no bfloat16 tensor cores")
    if device.type == "cpu":
        reason = cpu_bfloat16()
        return ("bfloat16", reason) if reason else ("float32", "this CPU has neither AVX512-BF16 nor AMX")
    return "float32", f"bfloat16 is not used on {device.type}"


def dtype_of(precision: Resolved) -> torch.dtype:
    """The torch dtype of a precision."""
    return DTYPES[precision]
