"""What a library's error means: out of memory and missing operations, in every wording that is known."""

import re

import torch

from vsalient.errors import DeviceError, first_line

_OUT_OF_MEMORY = re.compile(
    r"out of memory|[A-Z]+_STATUS_ALLOC_FAILED|cannot allocate memory|can't allocate memory|not enough memory"
    r"|failed to allocate|unable to allocate|bad_alloc|insufficient memory|could not allocate|memory allocation failed"
    r"|MPS backend out of memory|Invalid buffer size",
    re.IGNORECASE,
)
"""CUDA, cuDNN, cuBLAS (also behind "unable to find an engine"), MPS, the CPU's allocator, oneDNN, the C++ library."""
_MISSING = re.compile(
    r"not (currently )?(implemented|supported)|could not run '.*' with arguments|no kernel image is available"
    r"|unable to find an engine|no valid execution plans|unsupported (operator|dtype|data type|memory format)"
    r"|does not support|does not have support|only supported on|undefined type",
    re.IGNORECASE,
)
"""Operations, dtypes or layouts that a device or a build lacks. Also NotImplementedError, whatever it says."""
_BROKEN = re.compile(
    r"CUDA error|HIP error|CUDNN_STATUS_|CUBLAS_STATUS_|device-side assert|driver|device kernel image", re.IGNORECASE
)
"""The device or its driver failed in another way."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says, in whatever words, that memory ran out."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or _OUT_OF_MEMORY.search(str(error)) is not None


def is_missing(error: BaseException) -> bool:
    """Whether an error says that the device or build lacks an operation, a dtype or a layout."""
    return isinstance(error, NotImplementedError) or _MISSING.search(str(error)) is not None


def explain(error: Exception, device: torch.device, dtype: str, work: str) -> DeviceError | None:
    """An error of running on a device as one line with what to try; None where it speaks of no device.

    Args:
        error: what was raised.
        device: where.
        dtype: in which dtype.
        work: what was run, such as "a clip of 8 frames at 448x256".
    """
    on_cpu = device.type == "cpu"
    elsewhere = "" if on_cpu else ", or device cpu"
    if is_out_of_memory(error):
        return DeviceError(f"{device} ran out of memory on {work}; try a smaller size or shorter clips{elsewhere}")
    if is_missing(error):
        retry = "dtype float32" if dtype != "float32" else "device cpu" if not on_cpu else "another version of PyTorch"
        if device.type == "mps":
            retry += ", or set PYTORCH_ENABLE_MPS_FALLBACK=1 to have the CPU do what MPS lacks"
        return DeviceError(f"{device} lacks an operation in {dtype} ({first_line(error)}); try {retry}")
    if not on_cpu and _BROKEN.search(str(error)):
        return DeviceError(f"{device} failed on {work} ({first_line(error)}); try device cpu")
    return None


def free(device: torch.device, error: BaseException | None = None) -> None:
    """Give cached memory back to the device; what the error's frames still hold goes first."""
    while error is not None:
        error.__traceback__ = None
        error = error.__context__
    if device.type == "cuda" and torch.cuda.is_available():
        torch.cuda.empty_cache()
    elif device.type == "mps" and torch.backends.mps.is_available():
        torch.mps.empty_cache()
