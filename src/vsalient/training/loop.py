"""The training loop: one process or several, checkpoints, exact resume, averaged weights, validation."""

import dataclasses
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import cv2
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from vsalient import models
from vsalient.errors import CheckpointError, TrainingError, VsalientError, one_line
from vsalient.models.network import describe
from vsalient.sweeping import sweep
from vsalient.training import state as states
from vsalient.training.data import ClipNumbers, ClipStream, Told, join_told
from vsalient.training.folder import sole_run
from vsalient.training.initial import initialise
from vsalient.training.log import Progress, RunLog
from vsalient.training.optimiser import apply_options, norm_to_keep, schedule
from vsalient.training.outputs import Trained, check_recipe_clips
from vsalient.training.precision import choose_precision, dtype_of
from vsalient.training.processes import join
from vsalient.training.recipe import FreezeNorm, Precision, Recipe, to_dict
from vsalient.training.sources import Mixture, PairSource, split_stills
from vsalient.training.steps import Batch, Stepper
from vsalient.training.stopping import Stopping, stand_apart
from vsalient.training.validation import Scores, validate

__all__ = ["Progress", "Trained", "Trainer", "schedule"]
log = logging.getLogger(__name__)


class Trainer:
    """Runs one recipe in one folder.

    The folder gets `last.ckpt` (all that a resumed run needs), `best.pt` and `last.pt` (averaged weights, state dicts)
    and `log.csv`. Under torchrun every process takes its share of the clips, and the first one writes.

    Args:
        recipe: what to do.
        data: the sources; held-out sequences are taken out of them and kept for validation.
        folder: where the run lives.
        device: "cpu", "cuda", "cuda:N", "mps", or "auto" for a CUDA GPU or else the CPU.
        workers: processes that make clips; the clips are the same for any number.
        resume: go on from `last.ckpt` if it is there; otherwise an existing one is an error.
        init: overrides the recipe's `init`.

    Raises:
        DataError: no data for a kind of clip.
        OptionError: clips whose size or length does not fit the network; an unknown device.
        DeviceError: the device, or the precision on it, is not there.
        CheckpointError: a damaged checkpoint, one of another recipe or other data, or one in the way.
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
        self.recipe, self.folder, self.workers = recipe, folder, workers
        self.processes = join(device)
        self.device, self.rank, self.world = self.processes.device, self.processes.rank, self.processes.world
        if self.checkpoint.exists() and not resume:
            raise CheckpointError(f"{self.checkpoint} exists; add --resume to go on from it, or choose another --out")
        held = [source.select(keep=recipe.held_out) for source in data] if recipe.held_out else []
        self.held_out = [source for source in held if source.names]
        parts = [split_stills(source.select(drop=recipe.held_out)) for source in data]
        self.stills, self.videos = Mixture([p[0] for p in parts]), Mixture([p[1] for p in parts])
        torch.manual_seed(recipe.seed)
        self.network = models.build(recipe.architecture, **recipe.config)
        priors = describe(self.network).priors
        self.stream = ClipStream(self.stills, self.videos, recipe.clips, seed=recipe.seed, priors=priors)
        check_recipe_clips(self.network, recipe)
        saved = states.read_state(self.checkpoint) if self.checkpoint.exists() else None
        if saved is None:
            initialise(self.network, init or recipe.init, recipe.init_copy, recipe.init_widen)
        else:
            states.check_recipe(saved["recipe"], recipe, self.checkpoint)
        before: Precision = saved.get("precision", saved["recipe"].get("precision", "auto")) if saved else "auto"
        # Of a run that began before this was written down, what the recipe says.
        self.freeze_norm: FreezeNorm = (saved or {}).get("freeze_norm", recipe.freeze_norm)
        if saved is None:
            self.freeze_norm = norm_to_keep(self.network, recipe)
            if self.freeze_norm != recipe.freeze_norm:
                log.warning(
                    '%s: freeze_norm = "%s" is not followed: the batch norms of random weights have no statistics yet, '
                    "so they learn; begin from trained weights with --init to freeze them",
                    recipe.name,
                    recipe.freeze_norm,
                )
        self.precision, self.why = choose_precision(recipe.precision, self.device, before)
        followed = dataclasses.replace(recipe, freeze_norm=self.freeze_norm)
        self.stepper = Stepper(self.network, followed, self.device, self.precision, self.rank)
        self.optimiser, self.average = self.stepper.optimiser, self.stepper.average
        self.initial = {k: v.clone() for k, v in self.average.items()} if recipe.keep else {}
        self.running, self.best, self.validated = 0.0, -1.0, True
        if saved is not None:
            self._restore(saved)

    @property
    def step(self) -> int:
        """Optimiser steps done."""
        return self.stepper.done

    @property
    def checkpoint(self) -> Path:
        """All that a resumed run needs."""
        return self.folder / "last.ckpt"

    def run(self, report: Callable[[Progress], None] | None = None, *, minutes: float | None = None) -> Path:
        """Train to the end; gives the file of the best weights (the last ones when nothing is held out).

        A signal to stop (Ctrl-C, SIGTERM) lets the step end and saves; the same command goes on from there.

        Args:
            report: is told of every step.
            minutes: stop and save after this time, if the run is not through by then; `step` tells.

        Raises:
            TrainingError: the loss is no number, or the folder cannot be written to or is in use.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        hold = sole_run(self.folder) if self.rank == 0 else nullcontext()
        with hold, Stopping(minutes) as stopping:
            log = None
            if self.rank == 0:
                sweep([self.folder])
                log = RunLog(self.folder, self.step)
            try:
                self._steps(stopping, log, report)
            finally:
                if log is not None:
                    log.close()
        best = self.folder / "best.pt"
        return best if best.exists() else self.folder / "last.pt"

    def _steps(self, stopping: Stopping, log: RunLog | None, report: Callable[[Progress], None] | None) -> None:
        recipe = self.recipe
        trained: nn.Module = Trained(self.network)
        if self.world > 1:
            ids = [self.device.index] if self.device.type == "cuda" else None
            trained = DistributedDataParallel(trained, device_ids=ids, find_unused_parameters=True)
        batches = iter(self._loader())
        begun, first, saved = time.perf_counter(), self.step, self.step
        frames = recipe.batch * recipe.accumulate * recipe.clips.frames * self.world

        def tell(scores: Scores | None = None) -> None:
            speed = frames * (self.step - first) / (time.perf_counter() - begun)
            rate = self.optimiser.param_groups[-1]["lr"]
            progress = Progress(self.step, recipe.steps, self.running, speed, rate, scores)
            if log is not None and (self.step % 10 == 0 or self.step == recipe.steps or scores is not None):
                log.write(progress)
            if report is not None:
                report(progress)

        if not self.validated:
            # The run was stopped while it scored the weights of its last step.
            tell(self._validate(stopping))
        while self.step < recipe.steps and not self.processes.any(stopping()):
            loss = self.stepper.step([self._next(batches) for _ in range(recipe.accumulate)], trained)
            if not math.isfinite(loss):
                raise TrainingError(
                    f"the loss is {loss} at step {self.step}; lower optimiser.rate and go on from "
                    f"{self.checkpoint}, or begin anew with precision=float32 in another --out"
                )
            self.running = loss if self.running == 0 else 0.98 * self.running + 0.02 * loss
            last = self.step == recipe.steps
            due = bool(self.held_out) and (last or self.step % recipe.validate_every == 0)
            if due:
                self.validated = False
            if last or due or self.step % recipe.save_every == 0:
                self._save()
                saved = self.step
            tell(self._validate(stopping) if due else None)
        if self.step > saved or not self.checkpoint.exists():  # or a run of no steps
            self._save()

    @staticmethod
    def _next(batches: Iterator[Any]) -> Batch:
        batch: Batch | VsalientError = next(batches)
        if isinstance(batch, VsalientError):
            raise batch
        return batch

    def _loader(self) -> "DataLoader[Any]":
        _steady_opencv()
        done = self.step * self.recipe.batch * self.recipe.accumulate * self.world
        numbers = ClipNumbers(first=done + self.rank, step=self.world, batch=self.recipe.batch)
        return DataLoader(
            Told(self.stream),
            collate_fn=join_told,
            batch_sampler=numbers,
            num_workers=self.workers,
            prefetch_factor=4 if self.workers else None,
            pin_memory=self.device.type == "cuda",
            worker_init_fn=_begin_worker,
            # Its own generator: the loader draws a seed for its workers, which must not shift the network's.
            generator=torch.Generator().manual_seed(self.recipe.seed),
        )

    def _validate(self, stopping: Stopping) -> Scores | None:
        """Score the averaged weights and keep the best; None when the run was stopped meanwhile."""
        current = {k: v.detach().clone() for k, v in self.network.state_dict().items()}
        shipped = self._shipped()
        if self.world > 1:
            # Each process has its own batch-norm statistics; the first one's are saved, so they are scored.
            for value in shipped.values():
                dist.broadcast(value, 0)
        self.network.load_state_dict(shipped)
        scores = validate(
            self.network, self.held_out, self.recipe, self.device, dtype_of(self.precision), self.processes, stopping
        )
        self.network.load_state_dict(current)
        if scores is None:
            return None
        if scores.jaccard > self.best:
            self.best = scores.jaccard
            if self.rank == 0:
                states.write_state(shipped, self.folder / "best.pt")
        self.validated = True
        self._save()
        return scores

    def _shipped(self) -> dict[str, Tensor]:
        """The averaged weights, with the recipe's share of those the run began with."""
        mixed = dict(self.average)
        for key, value in self.initial.items():
            if value.dtype.is_floating_point:
                mixed[key] = torch.lerp(self.average[key], value, self.recipe.keep)
        return mixed

    def _save(self) -> None:
        if self.rank:
            return
        states.write_state(self._shipped(), self.folder / "last.pt")
        state = {
            "recipe": to_dict(self.recipe),
            "network": self.network.state_dict(),
            "average": self.average,
            "initial": self.initial,
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.stepper.scaler.state_dict(),
            "random": torch.get_rng_state(),  # for older versions; steps seed themselves
            "step": self.step,
            "running": self.running,
            "best": self.best,
            "validated": self.validated,
            "precision": self.precision,
            "freeze_norm": self.freeze_norm,
            "world": self.world,
            "data": self._data(),
        }
        states.write_state(state, self.checkpoint)

    def _data(self) -> str:
        frames = self.videos.frames
        return f"{self.stills.sequences} stills and {self.videos.sequences} videos of {frames} frames"

    def _restore(self, saved: dict[str, Any]) -> None:
        states.check_same(self.checkpoint, "data:", saved.get("data", self._data()), self._data())
        states.check_same(self.checkpoint, "processes:", saved.get("world", self.world), self.world)
        if self.precision != saved.get("precision", self.precision):
            log.warning("the run began in %s and goes on in %s (%s)", saved["precision"], self.precision, self.why)
        try:
            self.network.load_state_dict(saved["network"])
            for name, mine in (("average", self.average), ("initial", self.initial)):
                for key in mine:
                    mine[key].copy_(saved[name][key])
            self.optimiser.load_state_dict(saved["optimiser"])
            if self.stepper.scaler.is_enabled() and saved.get("scaler"):
                self.stepper.scaler.load_state_dict(saved["scaler"])
            self.running, self.best = float(saved["running"]), float(saved["best"])
        except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
            said = one_line(error)[:160]
            raise CheckpointError(
                f"{self.checkpoint} does not fit its own recipe ({said}); choose another --out"
            ) from error
        apply_options(self.optimiser, self.recipe)
        self.stepper.done, self.validated = saved["step"], bool(saved.get("validated", True))
        log.info("resumed from %s at step %d", self.checkpoint, self.step)


def _steady_opencv() -> None:
    """One thread, and without IPP, whose results depend in the last bit on where in memory a picture lies."""
    cv2.setNumThreads(0)
    cv2.ipp.setUseIPP(False)


def _begin_worker(number: int) -> None:
    _steady_opencv()
    stand_apart()
