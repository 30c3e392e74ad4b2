"""The training loop: one process or several, checkpoints, exact resume, averaged weights, validation, a CSV log."""

import csv
import logging
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from vsalient import models
from vsalient.errors import CheckpointError, DeviceError
from vsalient.models.network import describe
from vsalient.training.data import ClipStream
from vsalient.training.initial import initialise
from vsalient.training.losses import deep_supervision
from vsalient.training.recipe import Recipe, to_dict
from vsalient.training.sources import Mixture, PairSource, split_stills
from vsalient.training.validation import Scores, validate

logger = logging.getLogger(__name__)
Batch = tuple[Tensor, Tensor, dict[str, Tensor], Tensor, Tensor]
"""`Sample`s joined: frames (B, 3, T, H, W), masks (B, 1, T, H, W), priors, which clips are unrelated stills (B,), which
masks are soft (B, T)."""
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Progress:
    """What a step left: for progress bars and logs.

    Attributes:
        step, steps: optimiser steps done, and of the whole run.
        loss: running mean of the loss.
        frames_per_second: training frames, all processes together.
        scores: of a validation that this step brought, else None.
    """

    step: int
    steps: int
    loss: float
    frames_per_second: float
    scores: Scores | None = None


class Trained(nn.Module):
    """A network whose forward pass gives what losses are put on, so that DDP can wrap it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, clip: Tensor, priors: dict[str, Tensor], apart: Tensor) -> tuple[Tensor, ...]:
        """Outputs for clips (B, 3, T, H, W); where `apart` (B,) is set, each frame is seen as a clip of its own."""
        if not bool(apart.any()):
            return self._outputs(clip, priors)
        count, frames = len(clip), clip.shape[2]
        stills = self._stills(clip[apart], {name: x[apart] for name, x in priors.items()})
        outputs = [x.view(-1, frames, *x.shape[1:]).transpose(1, 3).squeeze(1) for x in stills]
        if bool(apart.all()):
            return tuple(outputs)
        together = self._outputs(clip[~apart], {name: x[~apart] for name, x in priors.items()})
        joined = []
        for alone, clips in zip(outputs, together, strict=True):
            both = clips.new_empty(count, *clips.shape[1:])
            both[~apart] = clips
            both[apart] = alone.to(clips.dtype)
            joined.append(both)
        return tuple(joined)

    def _outputs(self, clip: Tensor, priors: dict[str, Tensor]) -> tuple[Tensor, ...]:
        return tuple(describe(self.network).training_outputs(clip, **priors))

    def _stills(self, clip: Tensor, priors: dict[str, Tensor]) -> tuple[Tensor, ...]:
        """Outputs (B·T, 1, 1, h, w) for each frame alone.

        Batch norm takes its running statistics here, which are those of moving clips, and leaves them as they are: it
        will do so at inference, and statistics of stills alone would train a network that nobody runs.
        """
        norms = [m for m in self.network.modules() if isinstance(m, _BatchNorm) and m.training]
        for norm in norms:
            norm.eval()
        each = {name: x.transpose(1, 2).flatten(0, 1).unsqueeze(2) for name, x in priors.items()}
        outputs = self._outputs(clip.transpose(1, 2).flatten(0, 1).unsqueeze(2), each)
        for norm in norms:
            norm.train()
        return outputs


class Trainer:
    """Runs one recipe in one folder.

    The folder gets `last.ckpt` (all that a resumed run needs), `best.pt` and `last.pt` (averaged weights, state dicts)
    and `log.csv`. Under torchrun every process takes its share of the clips, and the first one writes.

    Args:
        recipe: what to do.
        data: the sources; held-out sequences are taken out of them and kept for validation.
        folder: where the run lives.
        device: torch device, such as "cpu" or "cuda".
        workers: processes that make clips.
        resume: go on from `last.ckpt` if it is there; otherwise an existing one is an error.
        init: overrides the recipe's `init`.

    Raises:
        DataError: no data for a kind of clip.
        CheckpointError: a checkpoint of another recipe, or one in the way.
    """

    def __init__(
        self,
        recipe: Recipe,
        data: Sequence[PairSource],
        folder: Path,
        *,
        device: str = "cpu",
        workers: int = 1,
        resume: bool = True,
        init: str | None = None,
    ) -> None:
        self.recipe, self.folder, self.device, self.workers = recipe, folder, torch.device(device), workers
        self.rank, self.world = _join_processes(self.device)
        if self.world > 1 and self.device.type == "cuda":
            self.device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.manual_seed(recipe.seed)
        self.network = models.build(recipe.architecture, **recipe.config)
        initialise(self.network, init or recipe.init, recipe.init_copy)
        self.network.to(self.device)
        self.parameters = _freeze(self.network, recipe)
        self.optimiser = _optimiser(self.parameters, recipe)
        self.rates = [group["lr"] for group in self.optimiser.param_groups]
        self.average = {k: v.detach().clone() for k, v in self.network.state_dict().items()}
        self.initial = {k: v.clone() for k, v in self.average.items()} if recipe.keep else {}
        self.step, self.running, self.best = 0, 0.0, -1.0
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=recipe.precision == "float16")
        if self.checkpoint.exists():
            if not resume:
                raise CheckpointError(
                    f"{self.checkpoint} exists; add --resume to go on from it, or choose another --out"
                )
            self._restore()
        held = [source.select(keep=recipe.held_out) for source in data] if recipe.held_out else []
        self.held_out = [source for source in held if source.names]
        parts = [split_stills(source.select(drop=recipe.held_out)) for source in data]
        self.stills, self.videos = Mixture([p[0] for p in parts]), Mixture([p[1] for p in parts])
        batch = recipe.batch * recipe.accumulate
        self.stream = ClipStream(
            self.stills,
            self.videos,
            recipe.clips,
            seed=recipe.seed,
            start=self.step * batch * self.world + self.rank,
            step=self.world,
            priors=describe(self.network).priors,
        )

    @property
    def checkpoint(self) -> Path:
        """All that a resumed run needs."""
        return self.folder / "last.ckpt"

    def run(self, report: Callable[[Progress], None] | None = None) -> Path:
        """Train to the end; gives the file of the best weights (the last ones when nothing is held out)."""
        recipe = self.recipe
        self.folder.mkdir(parents=True, exist_ok=True)
        trained: nn.Module = Trained(self.network)
        if self.world > 1:
            ids = [self.device.index] if self.device.type == "cuda" else None
            trained = DistributedDataParallel(trained, device_ids=ids, find_unused_parameters=True)
        loader = DataLoader(
            self.stream,
            batch_size=recipe.batch,
            num_workers=self.workers,
            prefetch_factor=4 if self.workers else None,
            pin_memory=self.device.type == "cuda",
        )
        batches = iter(loader)
        begun, first = time.perf_counter(), self.step
        frames = recipe.batch * recipe.accumulate * recipe.clips.frames * self.world
        while self.step < recipe.steps:
            loss = self._one_step(trained, batches)
            self.step += 1
            self.running = loss if self.running == 0 else 0.98 * self.running + 0.02 * loss
            scores = None
            last = self.step == recipe.steps
            if self.rank == 0 and self.held_out and (last or self.step % recipe.validate_every == 0):
                scores = self._validate()
            if self.rank == 0 and (last or scores is not None or self.step % recipe.save_every == 0):
                self._save()
            if self.world > 1 and (last or self.step % recipe.save_every == 0):
                dist.barrier()
            speed = frames * (self.step - first) / (time.perf_counter() - begun)
            progress = Progress(self.step, recipe.steps, self.running, speed, scores)
            if self.rank == 0 and (self.step % 10 == 0 or last or scores is not None):
                self._log(progress)
            if report is not None:
                report(progress)
        best = self.folder / "best.pt"
        return best if best.exists() else self.folder / "last.pt"

    def _one_step(self, trained: nn.Module, batches: Iterator[Batch]) -> float:
        recipe = self.recipe
        _training_mode(self.network, recipe)
        share = schedule(recipe, self.step)
        for group, rate in zip(self.optimiser.param_groups, self.rates, strict=True):
            group["lr"] = rate * share
        self.optimiser.zero_grad(set_to_none=True)
        total = 0.0
        for part in range(recipe.accumulate):
            clip, target, priors, apart, soft = next(batches)
            clip, target = (x.to(self.device, non_blocking=True) for x in (clip, target))
            priors = {name: x.to(self.device, non_blocking=True) for name, x in priors.items()}
            ends = part == recipe.accumulate - 1
            wait = nullcontext() if ends or not isinstance(trained, DistributedDataParallel) else trained.no_sync()
            with wait:
                use = recipe.precision != "float32"
                with torch.autocast(self.device.type, DTYPES[recipe.precision], enabled=use):
                    outputs = trained(clip.float() / 255, priors, apart.to(self.device))
                target = _target(target.float() / 255, recipe)
                counts = _target(torch.where(soft, recipe.loss.soft, 1.0)[:, None], recipe)[:, 0]
                terms, scales = recipe.loss.terms, recipe.loss.scales
                loss = deep_supervision(outputs, target, terms, scales, counts) / recipe.accumulate
                self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
        if not math.isfinite(total):
            raise CheckpointError(
                f"the loss is {total} at step {self.step + 1}; lower optimiser.rate or use precision=float32, "
                f"then go on from {self.checkpoint}"
            )
        self.scaler.unscale_(self.optimiser)
        if recipe.optimiser.clip:
            nn.utils.clip_grad_norm_(self.parameters["encoder"] + self.parameters["rest"], recipe.optimiser.clip)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self._update_average()
        return total

    @torch.no_grad()
    def _update_average(self) -> None:
        # The average of the first steps would otherwise be mostly the initial weights.
        decay = min(self.recipe.ema, (1 + self.step) / (10 + self.step)) if self.recipe.ema else 0.0
        for key, value in self.network.state_dict().items():
            if value.dtype.is_floating_point:
                self.average[key].lerp_(value, 1 - decay)
            else:
                self.average[key].copy_(value)

    def _validate(self) -> Scores:
        current = {k: v.detach().clone() for k, v in self.network.state_dict().items()}
        shipped = self._shipped()
        self.network.load_state_dict(shipped)
        scores = validate(self.network, self.held_out, self.recipe, self.device)
        self.network.load_state_dict(current)
        if scores.jaccard > self.best:
            self.best = scores.jaccard
            _write(shipped, self.folder / "best.pt")
        return scores

    def _shipped(self) -> dict[str, Tensor]:
        """The averaged weights, with the recipe's share of those the run began with."""
        mixed = dict(self.average)
        for key, value in self.initial.items():
            if value.dtype.is_floating_point:
                mixed[key] = torch.lerp(self.average[key], value, self.recipe.keep)
        return mixed

    def _save(self) -> None:
        _write(self._shipped(), self.folder / "last.pt")
        state = {
            "recipe": to_dict(self.recipe),
            "network": self.network.state_dict(),
            "average": self.average,
            "initial": self.initial,
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.scaler.state_dict(),
            "random": torch.get_rng_state(),
            "step": self.step,
            "running": self.running,
            "best": self.best,
        }
        _write(state, self.checkpoint)

    def _restore(self) -> None:
        state = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
        old, new = state["recipe"], to_dict(self.recipe)
        for key in ("architecture", "config", "seed", "batch", "accumulate", "keep", "clips"):
            if old.get(key) != new[key]:
                raise CheckpointError(
                    f"{self.checkpoint} was made with {key} = {old.get(key)!r}, the recipe now says {new[key]!r}; "
                    "choose another --out"
                )
        self.network.load_state_dict(state["network"])
        self.average, self.initial = state["average"], state["initial"]
        self.optimiser.load_state_dict(state["optimiser"])
        self.scaler.load_state_dict(state["scaler"])
        torch.set_rng_state(state["random"].cpu())
        self.step, self.running, self.best = state["step"], state["running"], state["best"]
        logger.info("resumed from %s at step %d", self.checkpoint, self.step)

    def _log(self, progress: Progress) -> None:
        path = self.folder / "log.csv"
        new = not path.exists()
        scores = progress.scores
        with path.open("a", newline="", encoding="utf-8") as handle:
            writer = csv.writer(handle)
            if new:
                writer.writerow(["step", "loss", "rate", "frames_per_second", "J", "MAE", "per_sequence"])
            each = " ".join(f"{k}={v:.3f}" for k, v in scores.per_sequence.items()) if scores else ""
            numbers = [f"{scores.jaccard:.4f}", f"{scores.mae:.4f}"] if scores else ["", ""]
            rate = self.optimiser.param_groups[-1]["lr"]
            speed = f"{progress.frames_per_second:.1f}"
            writer.writerow([progress.step, f"{progress.loss:.5f}", f"{rate:.3g}", speed, *numbers, each])


def schedule(recipe: Recipe, step: int) -> float:
    """The share of the learning rate at a 0-based step."""
    optimiser = recipe.optimiser
    share = min(1.0, (step + 1) / max(1, optimiser.warmup))
    if optimiser.schedule == "cosine":
        share *= 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / (optimiser.schedule_steps or recipe.steps)))
    elif optimiser.schedule == "step":
        share *= optimiser.gamma ** (step // optimiser.step_size)
    elif optimiser.schedule == "exponential":
        share *= optimiser.gamma ** (step / optimiser.step_size)
    return float(share)


def _target(target: Tensor, recipe: Recipe) -> Tensor:
    if recipe.clips.target == "middle":
        middle = target.shape[2] // 2
        return target[:, :, middle : middle + 1]
    return target[:, :, -1:] if recipe.clips.target == "last" else target


def _training_mode(network: nn.Module, recipe: Recipe) -> None:
    network.train()
    kept = {"none": None, "encoder": describe(network).encoder, "all": network}[recipe.freeze_norm]
    if kept is not None:
        for module in kept.modules():
            if isinstance(module, _BatchNorm):
                module.eval()


def _freeze(network: nn.Module, recipe: Recipe) -> dict[str, list[nn.Parameter]]:
    prefixes = recipe.optimiser.frozen + (("encoder.",) if recipe.optimiser.encoder_rate == 0 else ())
    groups: dict[str, list[nn.Parameter]] = {"encoder": [], "rest": []}
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(not name.startswith(prefixes))
        if parameter.requires_grad:
            groups["encoder" if name.startswith("encoder.") else "rest"].append(parameter)
    return groups


def _optimiser(parameters: dict[str, list[nn.Parameter]], recipe: Recipe) -> torch.optim.Optimizer:
    o = recipe.optimiser
    groups: list[dict[str, Any]] = [
        {"params": parameters["encoder"], "lr": o.encoder_rate},
        {"params": parameters["rest"], "lr": o.rate},
    ]
    if o.name == "sgd":
        return torch.optim.SGD(groups, momentum=o.momentum, weight_decay=o.weight_decay)
    kind = torch.optim.AdamW if o.name == "adamw" else torch.optim.Adam
    return kind(groups, betas=(o.momentum, o.second), weight_decay=o.weight_decay)


def _write(state: dict[str, Any], path: Path) -> None:
    temporary = path.with_name(f".{path.name}.part")
    torch.save(state, temporary)
    temporary.replace(path)


def _join_processes(device: torch.device) -> tuple[int, int]:
    """Rank and number of processes, from torchrun's environment; 0 and 1 without it."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world > 1 and not dist.is_initialized():
        if device.type == "cuda" and not torch.cuda.is_available():
            raise DeviceError("training on CUDA was asked for, but torch sees no CUDA device; use --device cpu")
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return (dist.get_rank(), dist.get_world_size()) if world > 1 else (0, 1)
