"""One optimiser step of one process: forward, backward, clipped gradients, averaged weights."""

import math
from collections.abc import Sequence
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from vsalient.training import fast
from vsalient.training.losses import deep_supervision
from vsalient.training.optimiser import freeze, make_optimiser, schedule, training_mode
from vsalient.training.outputs import Trained, choose_target
from vsalient.training.precision import Resolved, dtype_of
from vsalient.training.recipe import Recipe
from vsalient.training.state import seed_step

Batch = tuple[Tensor, Tensor, dict[str, Tensor], Tensor, Tensor, Tensor]
"""`Sample`s joined: frames (B, 3, T, H, W), masks (B, 1, T, H, W), priors, which clips are unrelated stills (B,), which
masks are soft and which are there at all (B, T)."""


class Stepper:
    """A network with its optimiser and its averaged weights.

    Args:
        network: moved to `device` and made ready for fast steps in place (`vsalient.training.fast`).
        recipe: what a step is.
        device: where to compute.
        precision: of autocast.
        rank: of this process: each has dropout of its own.

    Attributes:
        done: steps done.
        average: the averaged weights, as a state dict.
    """

    def __init__(
        self, network: nn.Module, recipe: Recipe, device: torch.device, precision: Resolved, rank: int = 0
    ) -> None:
        self.network, self.recipe, self.device, self.precision, self.rank = network, recipe, device, precision, rank
        network.to(device)
        self.parameters = freeze(network, recipe)
        fast.prepare(network)
        self.optimiser = make_optimiser(self.parameters, recipe)
        self.rates = [group["lr"] for group in self.optimiser.param_groups]
        self.average = {k: v.detach().clone() for k, v in network.state_dict().items()}
        self.scaler = torch.amp.GradScaler(device.type, enabled=precision == "float16")
        self.done = 0
        self._alone = Trained(network)

    def step(self, batches: Sequence[Batch], trained: nn.Module | None = None) -> float:
        """One step on one batch for each micro-batch of the recipe; gives the loss.

        A loss that is no number moves nothing: the caller decides what then.

        Args:
            batches: micro-batches.
            trained: the network wrapped in `Trained`, and for several processes in DDP around that.
        """
        recipe, trained = self.recipe, trained or self._alone
        seed_step(recipe.seed, self.done, self.rank)
        training_mode(self.network, recipe)
        share = schedule(recipe, self.done)
        for group, rate in zip(self.optimiser.param_groups, self.rates, strict=True):
            group["lr"] = rate * share
        self.optimiser.zero_grad(set_to_none=True)
        total = torch.zeros((), device=self.device)
        for number, batch in enumerate(batches):
            ends = number == len(batches) - 1
            wait = nullcontext() if ends or not isinstance(trained, DistributedDataParallel) else trained.no_sync()
            with wait:
                loss = self.loss(trained, batch) / len(batches)
                self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        value = float(total)
        if math.isfinite(value):
            self.scaler.unscale_(self.optimiser)
            if recipe.optimiser.clip:
                nn.utils.clip_grad_norm_(self.parameters["encoder"] + self.parameters["rest"], recipe.optimiser.clip)
            self.scaler.step(self.optimiser)
            self.scaler.update()
            self._update_average()
        self.done += 1
        return value

    def loss(self, trained: nn.Module, batch: Batch) -> Tensor:
        """The loss of one batch, in this step's precision."""
        clip, target, priors, apart, soft, labelled = batch
        recipe = self.recipe
        clip, target = (x.to(self.device, non_blocking=True) for x in (clip, target))
        priors = {name: x.to(self.device, non_blocking=True) for name, x in priors.items()}
        frames = (clip.float() / 255).contiguous(memory_format=fast.layout(clip))
        with torch.autocast(self.device.type, dtype_of(self.precision), enabled=self.precision != "float32"):
            outputs = trained(frames, priors, apart)
        every = target.float() / 255
        counts = torch.where(soft, recipe.loss.soft, 1.0).where(labelled, 0.0)[:, None]
        target = choose_target(every, recipe)
        main = [x for x in outputs if x.shape[2] == target.shape[2]]
        terms, scales = recipe.loss.terms, recipe.loss.scales
        loss = deep_supervision(main, target, terms, scales, choose_target(counts, recipe)[:, 0])
        if len(main) < len(outputs):  # of a network with one map a clip, outputs for every frame (STAN's streams)
            rest = [x for x in outputs if x.shape[2] != target.shape[2]]
            loss = loss + deep_supervision(rest, every, terms, scales[len(main) :] or scales[-1:], counts[:, 0])
        return loss

    @torch.no_grad()
    def _update_average(self) -> None:
        # The average of the first steps would otherwise be mostly the initial weights.
        decay = min(self.recipe.ema, (1 + self.done) / (10 + self.done)) if self.recipe.ema else 0.0
        now = self.network.state_dict()
        floats = [key for key, value in now.items() if value.dtype.is_floating_point]
        torch._foreach_lerp_([self.average[key] for key in floats], [now[key] for key in floats], 1 - decay)
        for key in now.keys() - set(floats):
            self.average[key].copy_(now[key])
