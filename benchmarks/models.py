"""The networks beside a fixed yardstick: the plain float32 engine of 0.1.0, kept here as a function.

    python benchmarks/models.py                       3dc-lite's network by itself: 0.1.0's engine, today's, OpenVINO's
    ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 python benchmarks/models.py     the same as a plain AVX2 processor
    python benchmarks/models.py --all                 and `vsalient benchmark` of all models, end to end

Clips of 8 frames of which 7 are new, in turns, so that a busy machine is busy for all of them alike; the least of a few
rounds, in CPU milliseconds of all threads and in seconds of the clock.
"""

import argparse
import copy
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vsalient.checkpoints import load_network
from vsalient.devices import cpu_bfloat16, memory_format
from vsalient.engine import Engine, compiled, fold_batch_norms
from vsalient.engine.libraries import open_runner

CLIP, NEW, HEIGHT, WIDTH = 8, 7, 256, 448
Run = Callable[[list[Tensor], range, dict[str, list[Tensor]]], Any]


def engine_of_0_1_0(network: nn.Module) -> Run:
    """What 0.1.0 did in float32: batch norms folded, channels last, each new frame encoded once, 3D convolutions."""
    network.eval().requires_grad_(False)
    fold_batch_norms(network)
    for parameter in network.parameters():
        parameter.data = parameter.data.contiguous(memory_format=memory_format(parameter.data))
    kept: dict[int, tuple[Tensor, ...]] = {}

    @torch.inference_mode()
    def run(frames: list[Tensor], indices: range, priors: dict[str, list[Tensor]]) -> Any:
        new = [slot for slot, index in enumerate(indices) if index not in kept]
        batch = (
            torch.stack([frames[slot] for slot in new]).float().div_(255).contiguous(memory_format=torch.channels_last)
        )
        maps = {
            name: torch.stack([values[slot] for slot in new]).contiguous(memory_format=torch.channels_last)
            for name, values in priors.items()
        }
        features = network.encode(batch, **maps)
        for place, slot in enumerate(new):
            kept[indices[slot]] = tuple(level[place : place + 1] for level in features)
        for index in [index for index in kept if index < indices[0]]:
            del kept[index]
        levels = zip(*(kept[index] for index in indices), strict=True)
        return network.probability(network.decode(tuple(torch.cat(level)[None] for level in levels)))[0].numpy()

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--all", action="store_true", help="then every model end to end, by vsalient benchmark")
    options = parser.parse_args()
    network, entry = load_network("3dc-lite")
    assert isinstance(network, nn.Module)
    runs: dict[str, Run] = {"0.1.0, float32": engine_of_0_1_0(copy.deepcopy(network))}
    for dtype in ["float32", *["bfloat16"] * (cpu_bfloat16() is not None)]:
        for library in ["torch", *["openvino"] * compiled.available()]:
            runner = open_runner(
                copy.deepcopy(network), entry.architecture, engine=library, device="cpu", dtype=dtype, multiple=32
            )
            engine = Engine(runner)
            runs[f"{library}, {dtype}"] = lambda f, i, p, e=engine: e.run(f, i, None, p)
    generator = torch.Generator().manual_seed(0)
    soft = F.interpolate(torch.rand(1, 3, 16, 28, generator=generator), (HEIGHT, WIDTH), mode="bilinear")[0]
    count = NEW * (options.rounds + 1) + 1
    frames = [(soft.roll(3 * t, 2) * 255).byte() for t in range(count)]
    priors = {name: [soft[:1].roll(3 * t, 2) for t in range(count)] for name in network.priors}
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for number in range(options.rounds + 1):
        window = range(NEW * number, NEW * number + CLIP)
        for name, run in runs.items():
            cpu, wall = time.process_time(), time.perf_counter()
            run([frames[t] for t in window], window, {n: [values[t] for t in window] for n, values in priors.items()})
            spent[name].append((time.process_time() - cpu, time.perf_counter() - wall))
    first = min(cpu for cpu, _ in spent["0.1.0, float32"][1:])
    print(f"{'engine':22} {'CPU ms a clip':>14} {'s a clip':>9} {'times 0.1.0':>12}")
    for name, times in spent.items():
        cpu, wall = min(cpu for cpu, _ in times[1:]), min(wall for _, wall in times[1:])
        print(f"{name:22} {1000 * cpu:14.0f} {wall:9.2f} {first / cpu:12.2f}")
    if options.all:
        subprocess.run([sys.executable, "-m", "vsalient", "benchmark"], check=False)


if __name__ == "__main__":
    main()
