"""3DC-Seg: seconds a clip of the engine's default against eager float32, side by side in one process.

    python benchmarks/seg3dc.py --size 480x864 --frames 8 --threads 2 --repeats 1

"Eager" is the official code's way: float32, batch norms as they are, contiguous memory (the `exact` engine, whose
numbers the tests hold to the official ones). The weights are random: speed does not depend on their values, and
the difference of the probabilities is what rounding does to a He-initialised network.
"""

import argparse
import os
import platform
import statistics
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from vsalient.engine import Engine
from vsalient.models import build


def randomise(network: nn.Module) -> nn.Module:
    """He-normal convolutions and batch norm statistics that are not trivial; the same in every call."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            fan = module.weight[0].numel()
            module.weight.data.normal_(0, (2 / fan) ** 0.5, generator=generator)
            if module.bias is not None:
                module.bias.data.normal_(0, 0.1, generator=generator)
        elif isinstance(module, nn.BatchNorm3d):
            module.weight.data.uniform_(0.3, 0.8, generator=generator)
            module.bias.data.normal_(0, 0.1, generator=generator)
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
    return network


def clip(number: int, frames: int, height: int, width: int) -> list[Tensor]:
    """Smooth moving pictures; another number gives other pixels, so that no clip is recognised as known."""
    generator = torch.Generator().manual_seed(number)
    coarse = torch.rand(1, 3, frames, 6, 9, generator=generator)
    block = nn.functional.interpolate(coarse, (frames, height, width), mode="trilinear")[0]
    return list((block * 255).to(torch.uint8).unbind(1))


def hardware() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return f"{name or platform.processor() or platform.machine()}, {os.cpu_count()} CPUs, {platform.system()}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="480x864", help="height x width, multiples of 32")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=3, help="timed clips of each, taking turns")
    parser.add_argument("--warm-up", type=int, default=1, help="untimed clips of each before")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    height, width = (int(side) for side in arguments.size.split("x"))
    torch.set_num_threads(arguments.threads)

    engines = {
        "eager float32": Engine(randomise(build("seg3dc")), device=arguments.device, exact=True),
        "engine default": Engine(randomise(build("seg3dc")), device=arguments.device),
    }
    print(f"{hardware()}; torch {torch.__version__}, {arguments.threads} threads")
    print(f"3DC-Seg, clip of {arguments.frames} frames at {height}×{width}, {arguments.repeats} timed each")
    for name, engine in engines.items():
        print(f"  {name}: {engine.description}")

    seconds: dict[str, list[float]] = {name: [] for name in engines}
    processor: dict[str, list[float]] = {name: [] for name in engines}
    difference = 0.0
    for number in range(-arguments.warm_up, arguments.repeats):
        frames = clip(number + arguments.warm_up, arguments.frames, height, width)
        maps = []
        for name, engine in engines.items():
            wall, spent = time.perf_counter(), time.process_time()
            maps.append(engine.run(frames, range(arguments.frames)))
            if number >= 0:
                seconds[name].append(time.perf_counter() - wall)
                processor[name].append(time.process_time() - spent)
        difference = max(difference, float(abs(maps[0] - maps[1]).max()))
    for name in engines:
        wall, spent = statistics.median(seconds[name]), statistics.median(processor[name])
        print(f"  {name}: {wall:.2f} s a clip ({spent:.1f} CPU-s)")
    eager, default = (statistics.median(seconds[name]) for name in engines)
    print(f"  ratio {eager / default:.2f}; largest difference of a probability {difference:.1e}")


if __name__ == "__main__":
    main()
