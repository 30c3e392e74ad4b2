"""Frames a second of the networks on a card: by dtype, layout and size, and where the time goes.

    python benchmarks/gpu.py                      all rows on cuda, the most important first
    python benchmarks/gpu.py --seconds 240        as many as fit
    python benchmarks/gpu.py --device cpu --networks lite3dc --sizes 128x224

Each row is printed as it ends, so that a run that is cut short has told what it knows. A clip's frames are new ones in
each repeat (8 frames, overlap 1: 7 new frames a clip). Weights are random: speed does not depend on their values.
Pixels come from the CPU's memory and maps go back there, as in `vsalient predict`; reading, priors and writing are not
in it.
"""

import argparse
import json
import time
from collections import deque
from typing import Any

import torch
from torch import Tensor

from vsalient import models
from vsalient.devices import DTYPES, device_name
from vsalient.engine import Engine, TorchRunner
from vsalient.models.network import Network, describe

ROWS = [
    ("seg3dc", "bfloat16", True), ("lite3dc", "bfloat16", True), ("seg3dc", "bfloat16", False),
    ("lite3dc", "bfloat16", False), ("seg3dc", "float32", True), ("lite3dc", "float32", True),
    ("seg3dc", "float16", True), ("stan", "bfloat16", True), ("scnn", "bfloat16", True),
    ("dsrfcn3d", "bfloat16", True), ("conv3dnet", "bfloat16", True), ("seg3dc", "float32", False),
    ("lite3dc", "float16", True), ("stan", "float32", True), ("scnn", "float32", True),
    ("dsrfcn3d", "float32", True), ("conv3dnet", "float32", True),
]  # fmt: skip
"""Network, dtype, channels last; the most important first."""


def clips(network: Network, height: int, width: int, count: int) -> list[list[Tensor]]:
    """Pictures of noise, none twice."""
    frames = {"dsrfcn3d": 8}.get(type(network.module).__name__.lower(), max(8, network.shortest))
    frames = network.shortest if network.maps != "all" else frames
    generator = torch.Generator().manual_seed(0)
    shape = (frames, 3, height, width)
    return [list(torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)) for _ in range(count)]


def measure(row: tuple[str, str, bool], device: torch.device, size: tuple[int, int], repeats: int) -> dict[str, Any]:
    """One row: frames a second, memory, and the operations that take longest."""
    architecture, dtype, reorder = row
    network = describe(models.build(architecture).eval())
    runner = TorchRunner(network, device, DTYPES[dtype], reason="benchmark")
    if not reorder:
        runner.lay_out(reorder=False)
    engine = Engine(runner)
    pictures = clips(network, *size, repeats + 2)
    length = len(pictures[0])
    priors = {name: [torch.rand(1, *size) for _ in range(length)] for name in network.priors} or None
    fresh = length - 1 if network.maps == "all" and length > 1 else 1
    waiting: deque[Any] = deque()
    begun = 0.0
    for number, clip in enumerate(pictures):
        if number == 2:  # two to warm up
            while waiting:
                waiting.popleft()()
            begun = time.perf_counter()
        first = number * fresh
        waiting.append(engine.submit(clip, range(first, first + length), None, priors))
        while len(waiting) > engine.behind:
            waiting.popleft()()
    while waiting:
        waiting.popleft()()
    seconds = (time.perf_counter() - begun) / repeats
    result = {
        "network": architecture, "dtype": dtype, "layout": "channels last" if reorder else "contiguous",
        "size": f"{size[0]}x{size[1]}", "frames_per_second": round(fresh / seconds, 1),
        "ms_per_clip": round(1000 * seconds, 2),
    }  # fmt: skip
    if device.type == "cuda":
        result["peak_gib"] = round(torch.cuda.max_memory_allocated(device) / 2**30, 2)
        torch.cuda.reset_peak_memory_stats(device)
    result["where"] = _where(engine, pictures[0], priors, device)
    return result


def _where(engine: Engine, clip: list[Tensor], priors: Any, device: torch.device) -> list[str]:
    from torch.profiler import ProfilerActivity, profile

    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
    engine.reset()
    with profile(activities=activities) as profiler:
        engine.run(clip, range(len(clip)), None, priors)
    on_card = device.type == "cuda"
    events = [(e.self_device_time_total if on_card else e.self_cpu_time_total, e.key) for e in profiler.key_averages()]
    total = sum(spent for spent, _ in events) or 1
    return [f"{spent / total:.0%} {name[:60]}" for spent, name in sorted(events, reverse=True)[:5]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--networks", nargs="*", default=[], help="only these")
    parser.add_argument("--sizes", nargs="*", default=["480x864", "1088x1920"], help="height x width, multiples of 32")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no row after so many")
    arguments = parser.parse_args()
    device, begun = torch.device(arguments.device), time.perf_counter()
    print(json.dumps({"device": device_name(device), "torch": torch.__version__}), flush=True)
    for text in arguments.sizes:
        height, width = (int(side) for side in text.split("x"))
        for row in ROWS:
            if (arguments.networks and row[0] not in arguments.networks) or (
                time.perf_counter() - begun > arguments.seconds
            ):
                continue
            try:
                print(json.dumps(measure(row, device, (height, width), arguments.repeats)), flush=True)
            except RuntimeError as error:
                print(json.dumps({"row": row, "size": text, "error": str(error).splitlines()[0]}), flush=True)


if __name__ == "__main__":
    main()
