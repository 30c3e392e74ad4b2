"""What `vsalient doctor` advises: what is missing on this machine, and what it would bring."""

import shutil
from pathlib import Path
from typing import Any


def advice(findings: dict[str, Any]) -> list[str]:
    """Lines for people, from what `examine` found; nothing that stands in the way, only what would be better."""
    lines: list[str] = []
    if not findings["devices"]:
        return lines
    kinds = {str(device["device"]).partition(":")[0] for device in findings["devices"]}
    build = findings["torch_build"]
    if "cuda" not in kinds and has_nvidia_card():
        lines.append(
            "there is an NVIDIA card, but this PyTorch "
            + ("does not reach it: is the driver too old for CUDA " + build + "?" if build else "is the CPU-only one")
            + "; https://pytorch.org/get-started/locally has the right one"
        )
    elif build and "cuda" not in kinds:
        lines.append(
            f"this PyTorch carries CUDA {build} (some 5 GB), and there is no card for it: "
            "uv pip install --reinstall --torch-backend=cpu torch gets the one that does the same work"
        )
    cpu = findings["cpu"]
    if kinds == {"cpu"} and cpu["flags"] and not (cpu["flags"].get("avx512_bf16") or cpu["flags"].get("amx_bf16")):
        lines.append("this CPU runs float32; with AVX512-BF16 or AMX the network of 3dc-lite is 1.8 times as fast")
    if kinds == {"cpu"} and cpu["flags"] and not cpu["flags"].get("avx2"):
        lines.append("this CPU has no AVX2: expect a few frames a second at most")
    allowed, used = cpu["threads"], findings["torch_threads"]
    if allowed and used and used < allowed and kinds == {"cpu"}:
        lines.append(f"PyTorch uses {used} of {allowed} processors: is OMP_NUM_THREADS set?")
    if findings["extras"].get("higra") is None:
        lines.append('boundary snapping needs the superpixels extra: pip install "vsalient[superpixels]"')
    return lines


def has_nvidia_card() -> bool:
    """Whether the system has an NVIDIA driver, whatever PyTorch sees."""
    return Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None
