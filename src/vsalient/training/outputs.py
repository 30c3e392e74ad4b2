"""What losses are put on: a network's training outputs, for clips and for frames that are unrelated stills."""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from vsalient.errors import OptionError
from vsalient.models.network import describe
from vsalient.training.recipe import Recipe


class Trained(nn.Module):
    """A network whose forward pass gives what losses are put on, so that DDP can wrap it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, clip: Tensor, priors: dict[str, Tensor], apart: Tensor) -> tuple[Tensor, ...]:
        """Outputs for clips (B, 3, T, H, W); where `apart` (B,) is set, each frame is seen as a clip of its own.

        `apart` is best left on the CPU: it decides what is run, and asking a GPU for it would wait for the GPU.
        """
        alone, joint = apart.nonzero()[:, 0].tolist(), (~apart).nonzero()[:, 0].tolist()
        if not alone:
            return self._outputs(clip, priors)
        count, frames = len(clip), clip.shape[2]
        stills = self._stills(clip[alone], {name: x[alone] for name, x in priors.items()})
        outputs = [x.view(-1, frames, *x.shape[1:]).transpose(1, 3).squeeze(1) for x in stills]
        if not joint:
            return tuple(outputs)
        together = self._outputs(clip[joint], {name: x[joint] for name, x in priors.items()})
        joined = []
        for still, clips in zip(outputs, together, strict=True):
            both = clips.new_empty(count, *clips.shape[1:])
            both[joint] = clips
            both[alone] = still.to(clips.dtype)
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


def choose_target(target: Tensor, recipe: Recipe) -> Tensor:
    """The frames of a target (B, 1, T, H, W) that the recipe's loss sees."""
    if recipe.clips.target == "middle":
        middle = target.shape[2] // 2
        return target[:, :, middle : middle + 1]
    return target[:, :, -1:] if recipe.clips.target == "last" else target


def check_recipe_clips(network: nn.Module, recipe: Recipe) -> None:
    """Run a network on one of the recipe's clips without computing anything (on the meta device).

    Raises:
        OptionError: clips of this length or size do not fit the network, or its outputs not the recipe's target.
    """
    import copy

    height, width = recipe.clips.size
    where = f"clips.frames = {recipe.clips.frames}, clips.size = [{height}, {width}]"
    dry = Trained(copy.deepcopy(network).to("meta").eval())
    clip = torch.empty(1, 3, recipe.clips.frames, height, width, device="meta")
    priors = dict.fromkeys(describe(network).priors, clip[:, :1])
    alone = recipe.clips.kinds.get("stills", 0) > 0 and not any(
        share > 0 for kind, share in recipe.clips.kinds.items() if kind != "stills"
    )
    try:
        with torch.no_grad():
            outputs = dry(clip, priors, torch.tensor([alone]))
    except NotImplementedError:  # an operation without a meta kernel: the first step will tell
        return
    except (RuntimeError, ValueError, OptionError) as error:
        raise OptionError(
            f"{recipe.name}: {where} does not fit {recipe.architecture} ({str(error).splitlines()[0][:160]}); "
            "sides that are multiples of 32 fit every network"
        ) from error
    wanted = choose_target(clip[:, :1], recipe).shape
    if outputs[0].shape != wanted:
        raise OptionError(
            f"{recipe.name}: {recipe.architecture} gives {tuple(outputs[0].shape[2:])} (frames, height, width), "
            f'but clips.target = "{recipe.clips.target}" has {tuple(wanted[2:])}; change clips.target, frames or size'
        )
