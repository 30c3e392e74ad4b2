"""The contract between a network and everything that runs, trains or stores it.

`Network` says all of it in one typed descriptor that holds any `nn.Module`; `describe` makes one of a module, and is
the only place that looks at a module's attributes. A module says what it is in one of two ways:

* by a method `describe(self) -> Network`, as the networks of this package do;
* by the attributes of the table below, all but `forward` optional, which suits a class of one's own.

=====================  ===============================================================================================
`forward`              (B, 3, T, H, W) float in [0, 1], and each prior (B, 1, T, H, W) by name -> logits
`probability`          logits -> (B, T, H, W) in [0, 1]; default: the sigmoid of channel 0, the softmax's second of 2
`priors`               names of the per-frame maps that it takes beside the frames (`vsalient.priors.PRIORS`)
`maps`                 which frames' maps come out: "all" (default), "middle" or "last"
`encode`, `decode`     a per-frame encoder, and what follows: both or neither
`training_outputs`     like `forward`, but all the logits that losses are put on, the most important first
`encoder`              the part that was trained before, as a submodule: it may have a learning rate of its own
`load_encoder`         fills that part from a published state dict, in place
`convert_checkpoint`   a whole published checkpoint's state dict -> one that loads strictly
`running`              how it is run, a `Running`
=====================  ===============================================================================================

`fold = ((convolution, norm), ...)` on a class names attributes of which the second may be folded into the first.
A class with `conv`, `norm` and `act` that says `activation = "relu"` or `"relu6"` lets its convolution compute it.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from vsalient.errors import OptionError

MapsGiven = Literal["all", "middle", "last"]
FoldPair = tuple[nn.Module, str, str]
"""A module, the name of a convolution in it, and of the batch norm that alone reads that convolution's output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """How a network is run where no weights entry says it. The fields mean what they mean there.

    Attributes:
        clip_length: T, frames fed together.
        overlap: frames that neighbouring clips share, below `clip_length`.
        tail: what happens where a video ends within a clip, see `vsalient.clips`.
        geometry: source size -> network size, see `vsalient.transforms`.
        multiple: the network's sides are padded to multiples of this.
        postprocess: "crf" for a dense CRF on every map, or None.
        weights: a file that comes with the network, used where none is given.
    """

    clip_length: int = 8
    overlap: int = 1
    tail: str = "shift"
    geometry: str = "native"
    multiple: int = 32
    postprocess: str | None = None
    weights: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Network:
    """A module and what it needs to be run, trained and filled.

    Attributes:
        module: the network itself; its parameters are what checkpoints hold.
        forward: a clip (B, 3, T, H, W) float in [0, 1], priors (B, 1, T, H, W) by name -> logits.
        probability: logits -> (B, T, H, W) in [0, 1], T as `maps` says.
        priors: the per-frame maps it takes, by name.
        maps: for which of a clip's frames maps come out.
        shortest: the fewest frames a clip may have.
        encode: frames (N, 3, H, W), priors (N, 1, H, W) -> features (N, C, h, w), any number of them; None for a
            network that sees whole clips only.
        decode: features (B, T, C, h, w), as many -> logits.
        training_outputs: as `forward` -> logits that losses are put on, the most important first.
        encoder: the part that was trained before; None where there is no one part.
        load_encoder: fills that part from a published state dict.
        convert_checkpoint: a published checkpoint of the whole network -> a state dict that loads strictly.
        running: how it is run where no weights entry says it.
    """

    module: nn.Module
    forward: Callable[..., Tensor]
    probability: Callable[[Tensor], Tensor]
    training_outputs: Callable[..., Sequence[Tensor]]
    priors: tuple[str, ...] = ()
    maps: MapsGiven = "all"
    shortest: int = 1
    encode: Callable[..., tuple[Tensor, ...]] | None = None
    decode: Callable[[tuple[Tensor, ...]], Tensor] | None = None
    encoder: nn.Module | None = None
    load_encoder: Callable[[Mapping[str, Tensor]], None] | None = None
    convert_checkpoint: Callable[[Mapping[str, Tensor]], dict[str, Tensor]] | None = None
    running: Running | None = None

    def __post_init__(self) -> None:
        name = type(self.module).__name__
        if (self.encode is None) != (self.decode is None):
            raise OptionError(f"network {name} has one of encode and decode: it needs both, or neither")
        if self.maps not in get_args(MapsGiven):
            raise OptionError(f"network {name} says maps = {self.maps!r}: allowed are {', '.join(get_args(MapsGiven))}")

    def fold_pairs(self) -> Iterator[FoldPair]:
        """What may be folded: neighbours in an `nn.Sequential`, and the pairs that a class names in `fold`."""
        for parent in list(self.module.modules()):
            named: tuple[tuple[str, str], ...] = getattr(parent, "fold", ())
            for convolution, norm in named:
                yield parent, convolution, norm
            if isinstance(parent, nn.Sequential):
                for convolution, norm in itertools.pairwise(name for name, _ in parent.named_children()):
                    yield parent, convolution, norm


def describe(module: nn.Module | Network) -> Network:
    """What a module says of itself; see the module's text for how.

    Raises:
        OptionError: what it says is not what the contract allows.
    """
    if isinstance(module, Network):
        return module
    own: Callable[[], object] | None = getattr(module, "describe", None)
    if own is None:
        return _by_attributes(module)
    network = own()
    if not isinstance(network, Network):
        raise OptionError(f"{type(module).__name__}.describe() gives {type(network).__name__}, not a Network")
    return network


def _by_attributes(module: nn.Module) -> Network:
    def said(name: str, default: Any = None) -> Any:
        return getattr(module, name, default)

    running, name = said("running"), type(module).__name__
    if running is not None and not isinstance(running, Running):
        raise OptionError(f"{name}.running is {type(running).__name__}: give a vsalient.models.Running")
    priors = said("priors", ())
    if isinstance(priors, str) or not all(isinstance(prior, str) for prior in priors):
        raise OptionError(f"{name}.priors is {priors!r}: give a tuple of names")
    return Network(
        module=module,
        forward=module,
        probability=said("probability", default_probability),
        training_outputs=said("training_outputs") or (lambda clip, **maps: (module(clip, **maps),)),
        priors=tuple(priors),
        maps=said("maps", "all"),
        encode=said("encode"),
        decode=said("decode") if said("encode") is not None else None,
        encoder=said("encoder") if isinstance(said("encoder"), nn.Module) else None,
        load_encoder=said("load_encoder"),
        convert_checkpoint=said("convert_checkpoint"),
        running=running,
    )


def default_probability(logits: Tensor) -> Tensor:
    """Logits (B, 1 or 2, T, H, W) -> (B, T, H, W): a sigmoid, or the second of a softmax."""
    if logits.dim() != 5 or logits.shape[1] > 2:
        raise OptionError(
            f"the network gives logits {tuple(logits.shape)}: (B, 1 or 2, T, H, W) is expected, or a method probability"
        )
    logits = logits.float()
    return torch.sigmoid(logits[:, 0]) if logits.shape[1] == 1 else torch.softmax(logits, dim=1)[:, 1]
