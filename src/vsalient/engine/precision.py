"""float32 that is float32: TensorFloat-32 switched off on CUDA while a network runs.

PyTorch computes float32 convolutions on CUDA with 10 bits of mantissa (TF32) unless told otherwise, and a program may
have allowed the same for matrix products. These are settings of the whole process, so runs in several threads share one
count: the first to come sets them, the last to leave puts back what was there.
"""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import torch

_lock = threading.Lock()
_within = 0
_before: list[tuple[Any, str, Any]] = []


@contextlib.contextmanager
def full_float32(device: torch.device, *, deterministic: bool = False) -> Iterator[None]:
    """Within the block, convolutions and matrix products on CUDA are done in full float32.

    Args:
        device: nothing happens unless it is a CUDA device.
        deterministic: take cuDNN's deterministic algorithms too, and try out none.
    """
    if device.type != "cuda":
        yield
        return
    global _within
    with _lock:
        if _within == 0:
            _switch(deterministic)
        _within += 1
    try:
        yield
    finally:
        with _lock:
            _within -= 1
            if _within == 0:
                for owner, name, value in _before:
                    setattr(owner, name, value)
                _before.clear()


def _switch(deterministic: bool) -> None:
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    wanted: list[tuple[Any, str, Any]] = [(matmul, "allow_tf32", False), (cudnn, "allow_tf32", False)]
    if hasattr(matmul, "fp32_precision"):
        # Since PyTorch 2.9 each kind of operation has a precision of its own; setting the old switches then warns.
        kinds: Any = cudnn
        wanted = [(owner, "fp32_precision", "ieee") for owner in (matmul, kinds.conv)]
    if deterministic:
        wanted += [(cudnn, "deterministic", True), (cudnn, "benchmark", False)]
    for owner, name, value in wanted:
        _before.append((owner, name, getattr(owner, name)))
        setattr(owner, name, value)
