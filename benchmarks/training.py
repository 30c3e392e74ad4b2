"""Training steps against those of 0.1.0: python benchmarks/training.py [NETWORK ...] [--rounds 4] [--quick]

Child processes, with the step as it was in 0.1.0 (kept below as `old_step`) or today's, take turns, a step each.
Printed are frames a second (median) and the ratio of the medians of wall and of CPU time. The old step runs in
float32, and in bfloat16 without AMX, which it does not survive; the faster of both counts. `--quick` takes one round
with one clip a step and half its sides, to see that all of it runs.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

# name -> architecture, config, clips a step, frames, size, target, freeze_norm
CASES = {
    "3dc-lite": ("lite3dc", {}, 4, 4, (224, 384), "all", "encoder"),
    "3dc-lite fixed norms": ("lite3dc", {}, 4, 4, (224, 384), "all", "all"),
    "dsrfcn3d w0.25": ("dsrfcn3d", {"width": 0.25}, 1, 16, (112, 112), "all", "none"),
    "dsrfcn3d w0.5": ("dsrfcn3d", {"width": 0.5}, 1, 16, (112, 112), "all", "none"),
    "conv3dnet w0.25": ("conv3dnet", {"width": 0.25}, 4, 3, (160, 256), "middle", "none"),
    "scnn-s": ("scnn", {"width": 0.1875, "supervise_spatial": True, "dropout": 0.1}, 4, 4, (160, 256), "all", "none"),
    "stan w0.125": ("stan", {"width": 0.125}, 2, 4, (96, 160), "last", "none"),
    "seg3dc small": ("seg3dc", {"depths": [2, 2, 2, 2], "base_width": 16, "decoder_width": 64}, 2, 8, (160, 256),
                     "all", "none"),
}  # fmt: skip


def sizes(name, quick):
    """Clips a step, frames, height and width."""
    _, _, batch, frames, (height, width), *_ = CASES[name]
    return (
        (1, frames, *(max(64, side // 64 * 32) for side in (height, width)))
        if quick
        else (batch, frames, height, width)
    )


def recipe_of(name, precision, quick):
    from vsalient.training.recipe import recipe_from_dict

    architecture, config, *_, target, norm = CASES[name]
    batch, frames, *size = sizes(name, quick)
    clips = {"frames": frames, "size": size, "target": target}
    table = {"name": "bench", "architecture": architecture, "config": config, "batch": batch, "freeze_norm": norm,
             "clips": clips, "precision": precision, "loss": {"terms": {"cross-entropy": 1.0, "iou": 1.0}}}  # fmt: skip
    return recipe_from_dict(table, "benchmark")


def old_step(network, recipe, optimiser, average, batch):
    """One optimiser step as 0.1.0 did it."""
    import torch

    from vsalient.training.losses import deep_supervision
    from vsalient.training.optimiser import training_mode
    from vsalient.training.outputs import choose_target

    training_mode(network, recipe)
    optimiser.zero_grad(set_to_none=True)
    clip, target, priors = batch
    with torch.autocast("cpu", torch.bfloat16, enabled=recipe.precision != "float32"):
        outputs = network.training_outputs(clip.float() / 255, **priors)
    target = choose_target(target.float() / 255, recipe)
    loss = deep_supervision(outputs, target, recipe.loss.terms, recipe.loss.scales)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
    optimiser.step()
    with torch.no_grad():
        for key, value in network.state_dict().items():
            if value.dtype.is_floating_point:
                average[key].lerp_(value, 0.002)
            else:
                average[key].copy_(value)
    return float(loss.detach())


def serve(name, kind, precision, threads, quick):
    """Answer each line of stdin with the wall and CPU seconds of one step."""
    import torch

    from vsalient import models
    from vsalient.models.network import describe
    from vsalient.training.optimiser import freeze, make_optimiser
    from vsalient.training.steps import Stepper

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    recipe = recipe_of(name, precision, quick)
    network = models.build(recipe.architecture, **recipe.config)
    height, width = recipe.clips.size
    shape = (recipe.batch, 3, recipe.clips.frames, height, width)
    clip = torch.randint(0, 256, shape, dtype=torch.uint8)
    target = (torch.rand(shape[0], 1, *shape[2:]) > 0.8).to(torch.uint8) * 255
    priors = {prior: torch.rand(shape[0], 1, *shape[2:]) for prior in describe(network).priors}
    if kind == "old":
        optimiser = make_optimiser(freeze(network, recipe), recipe)
        average = {k: v.detach().clone() for k, v in network.state_dict().items()}

        def step():
            old_step(network, recipe, optimiser, average, (clip, target, priors))
    else:
        trainer = Stepper(network, recipe, torch.device("cpu"), precision)
        soft = torch.zeros(shape[0], shape[2], dtype=torch.bool)
        batch = (clip, target, priors, torch.zeros(shape[0], dtype=torch.bool), soft, ~soft)

        def step():
            trainer.step([batch])

    for _ in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        step()
        print(json.dumps([time.perf_counter() - wall, time.process_time() - cpu]), flush=True)


class Child:
    def __init__(self, name, kind, precision, options, isa=""):
        command = [sys.executable, __file__, name, "--serve", kind, precision, "--threads", str(options.threads)]
        command += ["--quick"] * options.quick
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=os.environ | ({"ONEDNN_MAX_CPU_ISA": isa} if isa else {}),
        )  # fmt: skip
        self.times = []

    def step(self, *, count=True):
        """Whether the step was made: a process that died is left out from then on."""
        try:
            self.process.stdin.write("\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return False
        line = self.process.stdout.readline()
        if line and count:
            self.times.append(json.loads(line))
        return bool(line)

    def median(self, which):
        return statistics.median(times[which] for times in self.times)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("networks", nargs="*", default=list(CASES))
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--serve", nargs=2)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if options.serve:
        serve(options.networks[0], *options.serve, options.threads, options.quick)
        return
    from vsalient.devices import cpu_bfloat16

    cpu = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    model = next((line.split(":")[1].strip() for line in cpu.splitlines() if line.startswith("model name")), "")
    print(f"{model or platform.machine()}, bfloat16: {cpu_bfloat16() or 'none'}, {options.threads} threads")
    for name in options.networks:
        wanted = {(kind, "float32"): "" for kind in ("old", "new")}
        if cpu_bfloat16():
            wanted |= {("old", "bfloat16"): "AVX512_CORE_BF16", ("new", "bfloat16"): ""}
        children = {" ".join(what): Child(name, *what, options, isa) for what, isa in wanted.items()}
        for round_ in range(1 + (1 if options.quick else options.rounds)):
            for label, child in list(children.items()):
                if not child.step(count=round_ > 0):
                    print(f"{name}: {label}: the process ended with {child.process.wait()}", flush=True)
                    del children[label]
        batch, frames, *_ = sizes(name, options.quick)
        for label, child in children.items():
            speed = batch * frames / child.median(0)
            print(f"{name}: {label}: {speed:.2f} frames/s, {child.median(1):.2f} CPU s a step")
            child.process.kill()
            child.process.wait()
        if {label.split()[0] for label in children} != {"old", "new"}:
            continue
        for number, what in enumerate(("wall", "CPU")):
            best = {kind: min(c.median(number) for label, c in children.items() if label.startswith(kind))
                    for kind in ("old", "new")}  # fmt: skip
            print(f"{name}: {best['old'] / best['new']:.2f} times the speed of 0.1.0 by {what} time", flush=True)


if __name__ == "__main__":
    main()
