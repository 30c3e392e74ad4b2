"""Devices and dtypes: what the machine has, and which of it can be trusted with a network."""

import logging
import platform
from pathlib import Path

import torch
from torch import Tensor, nn

from vsalient.errors import DeviceError, OptionError
from vsalient.vocabulary import DEVICE_FORMS

log = logging.getLogger(__name__)

DTYPES: dict[str, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
SELF_CHECK_TOLERANCE = 0.02
"""Largest error, relative to the largest value, that a reduced dtype may show on the test convolutions."""


def resolve_device(name: str) -> torch.device:
    """The device that a name stands for: "auto" takes CUDA, else MPS, else the CPU.

    Raises:
        OptionError: not a device's name.
        DeviceError: it is not there; the message says what is.
    """
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if name == "auto":
        return torch.device("cuda" if cuda else "mps" if mps else "cpu")
    kind, colon, number = name.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (colon and not (kind == "cuda" and number.isdecimal())):
        raise OptionError(f"unknown device '{name}'; allowed: {DEVICE_FORMS}")
    count = {"cpu": 1, "cuda": torch.cuda.device_count() if cuda else 0, "mps": int(mps)}[kind]
    if int(number or 0) >= count:
        there = ", ".join(available_devices())
        raise DeviceError(f"device '{name}' is not there; this machine has {there}; choose one, or auto")
    return torch.device(name)


def available_devices() -> list[str]:
    """The names of the devices that are there, fastest kind first."""
    cuda = range(torch.cuda.device_count() if torch.cuda.is_available() else 0)
    return [*(f"cuda:{number}" for number in cuda), *["mps"] * torch.backends.mps.is_available(), "cpu"]


def processor_flags() -> set[str]:
    """What the CPU can do, in the words of Linux's /proc/cpuinfo: "avx2", "avx512f", "avx512_bf16", "amx_bf16"."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = cpuinfo.read_text(errors="replace").splitlines()
        return next((set(line.split()) for line in lines if line.startswith("flags")), set())
    if platform.machine().lower() in ("x86_64", "amd64"):
        # Other systems have no such file; torch knows, though its private questions differ by version.
        questions = {
            "avx2": "_is_avx2_supported",
            "avx512f": "_is_avx512_supported",
            "avx512_bf16": "_is_avx512_bf16_supported",
            "amx_bf16": "_is_amx_tile_supported",
        }
        return {flag for flag, ask in questions.items() if getattr(torch.cpu, ask, bool)()}
    return set()


def cpu_bfloat16() -> str | None:
    """Which instructions make bfloat16 fast on this CPU: "AMX", "AVX512-BF16", or None."""
    flags = processor_flags()
    return "AMX" if "amx_bf16" in flags else "AVX512-BF16" if "avx512_bf16" in flags else None


def self_check(device: torch.device, dtype: torch.dtype) -> float:
    """Compare a handful of small convolutions in `dtype` with float32 on the CPU.

    Returns:
        The largest error relative to the largest value; infinite when an operation is not there.
    """
    generator = torch.Generator().manual_seed(0)
    # (input, weight, stride, groups): stem, dense, pointwise and depthwise, in 3D and 2D.
    cases: tuple[tuple[tuple[int, ...], tuple[int, ...], int, int], ...] = (
        ((1, 3, 4, 20, 28), (16, 3, 3, 7, 7), 2, 1),
        ((1, 32, 3, 9, 15), (32, 32, 3, 3, 3), 1, 1),
        ((1, 64, 3, 9, 15), (32, 64, 1, 1, 1), 1, 1),
        ((1, 32, 3, 9, 15), (32, 1, 3, 3, 3), 1, 32),
        ((2, 32, 15, 20), (48, 32, 3, 3), 1, 1),
        ((2, 48, 15, 20), (48, 1, 5, 5), 2, 48),
    )
    worst = 0.0
    try:
        with torch.inference_mode():
            for shape, kernel, stride, groups in cases:
                x = torch.randn(shape, generator=generator)
                weight = torch.randn(kernel, generator=generator)
                convolve = nn.functional.conv3d if x.dim() == 5 else nn.functional.conv2d
                padding = tuple(size // 2 for size in kernel[2:])
                expected = convolve(x, weight, None, stride, padding, 1, groups)
                x, weight = (t.to(device, dtype).contiguous(memory_format=memory_format(t)) for t in (x, weight))
                got = convolve(x, weight, None, stride, padding, 1, groups).float().cpu()
                error = (got - expected).abs().max() / expected.abs().max()
                worst = max(worst, float(error.nan_to_num(float("inf"))))
    except (RuntimeError, TypeError) as error:  # TypeError: MPS before macOS 14 knows no bfloat16
        log.debug("self-check in %s failed: %s", dtype_name(dtype), error)
        return float("inf")
    return worst


def auto_dtype(device: torch.device) -> tuple[torch.dtype, str]:
    """What "auto" stands for on a device as far as a handful of convolutions can tell, and why; no network needed."""
    reduced, reason = reduced_dtype(device)
    if reduced is None:
        return torch.float32, reason
    error = self_check(device, reduced)
    if error > SELF_CHECK_TOLERANCE:
        return torch.float32, f"{dtype_name(reduced)} failed its self-check (error {error:.1%})"
    return reduced, f"{reason}, self-check passed (error {error:.1%})"


def reduced_dtype(device: torch.device) -> tuple[torch.dtype | None, str]:
    """The dtype that "auto" tries first on a device, None for float32 alone; and why."""
    if device.type == "cpu":
        reason = cpu_bfloat16()
        return (torch.bfloat16, reason) if reason else (None, "this CPU has neither AVX512-BF16 nor AMX")
    if device.type == "cuda":
        if torch.cuda.get_device_capability(device) >= (8, 0):
            return torch.bfloat16, "tensor cores"
        return None, "this GPU has no bfloat16 tensor cores"
    return None, f"bfloat16 is not used on {device.type}"


def memory_format(x: Tensor) -> torch.memory_format:
    """Channels last, for tensors that have images or volumes in them."""
    return {4: torch.channels_last, 5: torch.channels_last_3d}.get(x.dim(), torch.contiguous_format)


def dtype_name(dtype: torch.dtype) -> str:
    """The name without "torch."."""
    return str(dtype).removeprefix("torch.")


def device_name(device: torch.device) -> str:
    """What a person calls the device: "cpu (2 threads)", "cuda:0 (NVIDIA …)"."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return f"cpu ({torch.get_num_threads()} threads)" if device.type == "cpu" else device.type
