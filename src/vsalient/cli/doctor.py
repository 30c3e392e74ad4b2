"""`vsalient doctor`: versions, processor, devices, encoders, cache and weights of this machine."""

import importlib
import importlib.metadata
import json
import os
import platform
import shutil
from pathlib import Path
from typing import Any

import click

from vsalient import checkpoints
from vsalient.cli.advice import advice
from vsalient.errors import OptionError, VsalientError
from vsalient.version import __version__

PACKAGES = (
    "torch",
    "av",
    "numpy",
    "opencv-python-headless",
    "pillow",
    "safetensors",
    "huggingface_hub",
    "scikit-image",
)
EXTRAS = ("higra",)
ENCODERS = {
    "libx264": "map, overlay and heat-map videos in .mp4",
    "ffv1": "lossless map videos in .mkv",
    "libvpx-vp9": "transparent .webm",
    "prores_ks": "transparent .mov",
    "aac": "sound that .mp4 cannot hold as it is",
}
CPU_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_tile")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout instead.")
@click.option("--tune", is_flag=True, help="Time PyTorch and OpenVINO here, and remember which is faster.")
def command(as_json: bool, tune: bool) -> int:
    """Say what this machine can do: devices, speed-ups, encoders, weights.

    The exit code is 1 when something is missing that `vsalient predict` needs with its default model.
    """
    if tune:
        from vsalient.cli.tune import tune as measure

        if as_json:
            raise OptionError("--tune writes a table and prints no JSON: leave one of the two out")
        measure()
        return 0
    findings = examine()
    if as_json:
        click.echo(json.dumps(findings, indent=2))
    else:
        for line in _lines(findings):
            click.echo(line)
    return int(bool(findings["problems"]))


def examine() -> dict[str, Any]:
    """Look at everything; plain values for JSON. `problems` lists what stands in the way of the defaults."""
    problems: list[str] = []
    findings: dict[str, Any] = {
        "vsalient": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "packages": {name: _version(name) for name in PACKAGES},
        "extras": {name: _version(name) for name in EXTRAS},
        "cpu": _cpu(),
        **_torch(),
        "devices": _devices(problems),
        "encoders": _encoders(problems),
        "cache": _cache(),
        "offline": {name: os.environ[name] for name in ("VSALIENT_OFFLINE", "HF_HUB_OFFLINE") if os.environ.get(name)},
        "registry": os.environ.get("VSALIENT_WEIGHTS"),
        "models": _models_said(problems),
    }
    findings["problems"] = problems
    findings["advice"] = advice(findings)
    return findings


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        # The graphical OpenCV does as well as the headless one.
        return _version("opencv-python") if package == "opencv-python-headless" else None


def _cpu() -> dict[str, Any]:
    names: list[str] = []
    flags: set[str] = set()
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text(errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                names.append(value.strip())
            elif key.strip() in ("flags", "Features"):
                flags |= set(value.split())
    return {
        "name": names[0] if names else platform.processor() or platform.machine(),
        "threads": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "flags": {flag: flag in flags for flag in CPU_FLAGS} if flags else {},
    }


def _devices(problems: list[str]) -> list[dict[str, Any]]:
    try:
        import torch

        from vsalient.devices import available_devices, device_name
    except ImportError as error:
        problems.append(f"PyTorch cannot be loaded: {error}")
        return []
    devices = []
    for name in available_devices():
        device = torch.device(name)
        found: dict[str, Any] = {"device": name, "name": device_name(device), **_tried(name)}
        if device.type == "cuda":
            found["memory_gib"] = round(torch.cuda.get_device_properties(device).total_memory / 2**30, 1)
        devices.append(found)
    return devices


def _tried(device: str) -> dict[str, str | None]:
    """In which dtype the default network runs there, tried on itself; or why it does not."""
    import torch

    from vsalient.devices import auto_dtype, dtype_name
    from vsalient.engine.choose import open_torch
    from vsalient.models.network import describe

    try:
        network, entry = checkpoints.load_network("3dc-lite", offline=True)
    except VsalientError:  # its weights are a problem of their own: a few convolutions have to do
        dtype, why = auto_dtype(torch.device(device))
        return {"dtype": dtype_name(dtype), "why": why}
    try:
        runner = open_torch(describe(network), device=device, multiple=entry.multiple)
    except VsalientError as error:
        return {"dtype": None, "why": str(error)}
    return {"dtype": runner.dtype, "why": runner.reason}


def _torch() -> dict[str, Any]:
    try:
        import torch
    except ImportError:
        return {"torch_build": None, "torch_threads": None}
    return {"torch_build": torch.version.cuda, "torch_threads": torch.get_num_threads()}


def _encoders(problems: list[str]) -> dict[str, bool]:
    try:
        codec = importlib.import_module("av.codec")
    except ImportError as error:
        problems.append(f"PyAV cannot be loaded: {error}")
        return {}
    found = {}
    for name in ENCODERS:
        try:
            codec.Codec(name, "w")
        except ValueError:  # av's UnknownCodecError
            found[name] = False
        else:
            found[name] = True
    if not found["libx264"]:
        problems.append("this PyAV has no libx264, which .mp4 outputs need: install the av wheel from PyPI")
    return found


def _cache() -> dict[str, Any]:
    folder = checkpoints.cache_root()
    place = folder
    while not place.exists():
        place = place.parent
    return {
        "folder": str(folder),
        "exists": folder.exists(),
        "writable": os.access(place, os.W_OK),
        "free_gib": round(shutil.disk_usage(place).free / 2**30, 1),
    }


def _models_said(problems: list[str]) -> dict[str, str]:
    states: dict[str, str] = {}
    try:
        entries = checkpoints.registry()
    except VsalientError as error:
        problems.append(str(error))
        return states
    for name, entry in entries.items():
        states[name] = checkpoints.status(entry)
        if states[name] == "bundled" and checkpoints.verify(entry).good is False:
            states[name] = "damaged"
        if entry.source == "bundled" and states[name] != "bundled":
            problems.append(f"the bundled weights of {name} are {states[name]}: install vsalient again")
    return states


def _lines(findings: dict[str, Any]) -> list[str]:
    cpu, cache = findings["cpu"], findings["cache"]
    flags = [flag for flag, there in cpu["flags"].items() if there]
    versions = [f"{name} {version or 'missing'}" for name, version in findings["packages"].items()]
    extras = [f"{name} {version or 'not installed'}" for name, version in findings["extras"].items()]
    lines = [
        f"vsalient   {findings['vsalient']}, Python {findings['python']}, {findings['system']}",
        f"packages   {', '.join(versions)}",
        f"extras     {', '.join(extras)}",
        f"processor  {cpu['name']}, {cpu['threads']} threads{', ' + ' '.join(flags) if flags else ''}",
    ]
    for device in findings["devices"]:
        memory = f", {device['memory_gib']} GiB" if "memory_gib" in device else ""
        dtype = device["dtype"] or "not usable"
        lines.append(f"device     {device['device']}: {device['name']}{memory}; {dtype}: {device['why']}")
    for name, there in findings["encoders"].items():
        lines.append(f"encoder    {name}: {'yes' if there else 'no'} ({ENCODERS[name]})")
    writable = "" if cache["writable"] else ", not writable"
    lines.append(f"cache      {cache['folder']}, {cache['free_gib']} GiB free{writable}")
    lines.append(f"offline    {', '.join(f'{k}={v}' for k, v in findings['offline'].items()) or 'no'}")
    if findings["registry"]:
        lines.append(f"registry   {findings['registry']} (VSALIENT_WEIGHTS)")
    lines += [f"model      {name}: {state}" for name, state in findings["models"].items()]
    lines += [f"advice     {line}" for line in findings["advice"]]
    lines += [f"PROBLEM    {problem}" for problem in findings["problems"]]
    if not findings["problems"]:
        lines.append("all well   vsalient predict works here")
    return lines
