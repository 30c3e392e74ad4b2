"""A network as parts of fixed shapes, pixels in and probabilities out: what other libraries are given.

A network with a per-frame encoder has two parts, any other one. Shapes are fixed because that is what makes the other
libraries fast, and because a trace of a network holds for the shapes it was made with.

==========  =====================================================================  =================================
part        inputs                                                                 outputs
==========  =====================================================================  =================================
`encoder`   `frames` (1, 3, h, w) uint8; each prior (1, 1, h, w) float32           `feature0` … (1, C, h', w') float32
`decoder`   `feature0` … (T, C, h', w') float32, the frames' stacked               `probability` (T', h, w) float32
`network`   `frames` (1, 3, T, h, w) uint8; each prior (1, 1, T, h, w) float32     `probability` (T', h, w) float32
==========  =====================================================================  =================================
"""

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from vsalient.models.network import Network

PartName = Literal["encoder", "decoder", "network"]


@dataclass(frozen=True, slots=True, eq=False)
class NetworkPart:
    """A piece of a network that runs by itself.

    Attributes:
        name: which.
        module: takes the inputs in order; gives a tensor, or as many as there are outputs.
        inputs: name -> an example of the right shape and dtype.
        outputs: names.
    """

    name: PartName
    module: nn.Module
    inputs: dict[str, Tensor]
    outputs: tuple[str, ...]

    def trace(self) -> Any:
        """The part as a `torch.jit` trace.

        Raises:
            RuntimeError: whatever PyTorch raises of a network that cannot be traced.
        """
        with _plainly():
            # Without the checks: `as_tensor` in a network, there for its type, would fail them, and does no harm.
            return torch.jit.trace(  # type: ignore[no-untyped-call]
                self.module, tuple(self.inputs.values()), check_trace=False, strict=False
            )

    def run(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Compute it by PyTorch."""
        with torch.inference_mode():
            found = self.module(*inputs)
        return tuple(found) if isinstance(found, tuple) else (found,)


def encoder_part(network: Network, frames: Tensor, priors: Sequence[Tensor]) -> NetworkPart:
    """The per-frame encoder: `frames` (1, 3, h, w) uint8 and the priors (1, 1, h, w), for an example."""
    module = _Encoder(network).eval()
    with torch.inference_mode():
        count = len(module(frames, *priors))
    return NetworkPart(
        "encoder", module, _named(network, frames, priors), tuple(f"feature{number}" for number in range(count))
    )


def decoder_part(network: Network, features: Sequence[Tensor]) -> NetworkPart:
    """What follows the encoder: features (T, C, h', w') each, for an example."""
    inputs = {f"feature{number}": x for number, x in enumerate(features)}
    return NetworkPart("decoder", _Decoder(network).eval(), inputs, ("probability",))


def network_part(network: Network, frames: Tensor, priors: Sequence[Tensor]) -> NetworkPart:
    """A whole network: `frames` (1, 3, T, h, w) uint8 and the priors (1, 1, T, h, w), for an example."""
    return NetworkPart("network", _Whole(network).eval(), _named(network, frames, priors), ("probability",))


def parts(network: Network, frames: Tensor, priors: Sequence[Tensor]) -> list[NetworkPart]:
    """Cut a network into its parts.

    Args:
        network: on the CPU in float32.
        frames: a clip (1, 3, T, h, w) uint8, for an example: no two frames equal, so that the trace finds nothing alike
            that is not always so.
        priors: of the clip, (1, 1, T, h, w) float32 each, in the network's order.
    """
    if network.encode is None:
        return [network_part(network, frames, priors)]
    made = []
    for t in range(frames.shape[2]):
        encoder = encoder_part(network, frames[:, :, t], [x[:, :, t] for x in priors])
        made.append(encoder.run(*encoder.inputs.values()))
    return [encoder, decoder_part(network, [torch.cat(level) for level in zip(*made, strict=True)])]


class _Encoder(nn.Module):
    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network, self._described = network.module, network

    def forward(self, frames: Tensor, *priors: Tensor) -> tuple[Tensor, ...]:
        assert self._described.encode is not None
        maps = dict(zip(self._described.priors, priors, strict=True))
        return tuple(x.float() for x in self._described.encode(frames.float() / 255, **maps))


class _Decoder(nn.Module):
    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network, self._described = network.module, network

    def forward(self, *features: Tensor) -> Tensor:
        assert self._described.decode is not None
        return self._described.probability(self._described.decode(tuple(x[None] for x in features)))[0].float()


class _Whole(nn.Module):
    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network, self._described = network.module, network

    def forward(self, frames: Tensor, *priors: Tensor) -> Tensor:
        maps = dict(zip(self._described.priors, priors, strict=True))
        return self._described.probability(self._described.forward(frames.float() / 255, **maps))[0].float()


def _named(network: Network, frames: Tensor, priors: Sequence[Tensor]) -> dict[str, Tensor]:
    return {"frames": frames, **dict(zip(network.priors, priors, strict=True))}


@contextlib.contextmanager
def _plainly() -> Iterator[None]:
    """Without gradients, and without the tracer's warnings, which speak of shapes that are fixed on purpose."""
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
