"""OpenVINO as a runner: a network's parts compiled for the CPU, each held against PyTorch before it is trusted."""

import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vsalient.devices import DTYPES, device_name, reduced_dtype
from vsalient.engine import failures, trust
from vsalient.engine.compiled import PRECISIONS, CompiledPart, identity_of, load_openvino
from vsalient.engine.parts import NetworkPart, decoder_part, encoder_part, network_part
from vsalient.engine.place import fold_batch_norms
from vsalient.engine.runner import Features, Probabilities, Runner
from vsalient.errors import DeviceError, OptionError, first_line
from vsalient.models.network import Network

log = logging.getLogger(__name__)


class OpenVinoRunner:
    """A network run by OpenVINO on the CPU; see `vsalient.engine.runner.Runner`.

    Parts are compiled when the first clip of a size comes and kept on disk; what was compiled now is run beside PyTorch
    once, on that clip.

    Args:
        network: taken over: put in evaluation mode, batch norms folded.
        dtype: "float32" or "bfloat16".
        reason: why this library and dtype, for the description.
        instead: makes the runner to go on with where OpenVINO cannot run the network or gives other values; None makes
            that an error.
    """

    per_frame: bool

    def __init__(
        self, network: Network, dtype: str, *, reason: str, instead: Callable[[Network], Runner] | None = None
    ) -> None:
        self._version = load_openvino().__version__.split("-")[0]
        module = network.module.eval().requires_grad_(False)
        self._folded = fold_batch_norms(module)
        self._network, self._instead = network, instead
        self.name, self.priors = type(module).__name__, network.priors
        self.device, self.dtype, self.reason = "cpu", dtype, reason
        self.per_frame = network.encode is not None
        self._identity = identity_of(module)
        self._compiled: dict[tuple[Any, ...], CompiledPart] = {}
        self._other: Runner | None = None

    @property
    def description(self) -> str:
        """One line: device, library, dtype and why."""
        if self._other is not None:
            return f"{self._other.description}; {self.reason}"
        folded = [f"{self._folded} batch norms folded"] * bool(self._folded)
        return "; ".join(
            [f"{device_name(torch.device('cpu'))}, OpenVINO {self._version}, {self.dtype}: {self.reason}", *folded]
        )

    def encode(self, frames: Tensor, priors: Mapping[str, Tensor]) -> list[Features]:
        """See `Runner`; a frame's features are arrays (1, C, h, w)."""
        if self._other is None:
            with contextlib.suppress(_TakenOverError):
                return [
                    self._run(
                        lambda inputs: encoder_part(self._network, inputs[0], inputs[1:]),
                        [frames[slot : slot + 1], *(priors[name][slot : slot + 1].float() for name in self.priors)],
                        relative=True,
                    )
                    for slot in range(len(frames))
                ]
        return self._successor.encode(frames, priors)

    def decode(self, features: Sequence[Features]) -> Probabilities:
        """See `Runner`."""
        if self._other is None:
            stacked = [torch.from_numpy(np.concatenate(level)) for level in zip(*features, strict=True)]
            with contextlib.suppress(_TakenOverError):
                return self._run(lambda inputs: decoder_part(self._network, inputs), stacked)[0]
        # Of the frames before the change, what OpenVINO made of them is still held.
        return self._successor.decode([tuple(torch.as_tensor(level) for level in frame) for frame in features])

    def whole(self, clip: Tensor, priors: Mapping[str, Tensor]) -> Probabilities:
        """See `Runner`."""
        if self._other is None and self.per_frame:
            maps = {name: priors[name][0].transpose(0, 1) for name in self.priors}
            return self.decode(self.encode(clip[0].transpose(0, 1), maps))
        if self._other is None:
            inputs = [clip, *(priors[name].float() for name in self.priors)]
            with contextlib.suppress(_TakenOverError):
                return self._run(lambda given: network_part(self._network, given[0], given[1:]), inputs)[0]
        return self._successor.whole(clip, priors)

    def explain(self, error: Exception, clip: str) -> DeviceError | None:
        """See `Runner`."""
        if self._other is not None:
            return self._other.explain(error, clip)
        if failures.is_out_of_memory(error):
            return DeviceError(
                f"OpenVINO ran out of memory on {clip}; try a smaller size, shorter clips or engine torch"
            )
        return DeviceError(f"OpenVINO failed on {clip} ({first_line(error)}); try engine torch")

    def release(self) -> None:
        """See `Runner`."""
        self._compiled.clear()

    @property
    def _successor(self) -> Runner:
        assert self._other is not None
        return self._other

    def _run(
        self, make: Callable[[Sequence[Tensor]], NetworkPart], inputs: Sequence[Tensor], *, relative: bool = False
    ) -> tuple[NDArray[np.float32], ...]:
        """Run the part that `make` makes for these inputs; raises `_TakenOverError` when PyTorch goes on."""
        key = (relative, *(tuple(x.shape) for x in inputs))
        arrays = [np.ascontiguousarray(x.numpy()) for x in inputs]
        compiled = self._compiled.get(key)
        if compiled is not None:
            return compiled(arrays)
        part = make(inputs)
        try:
            log.debug("compiling the %s for %s", part.name, key)
            compiled = CompiledPart(part, self.dtype, torch.get_num_threads(), self._identity)
            found = compiled(arrays)
        except Exception as error:
            if failures.is_out_of_memory(error):
                raise
            self._give_up(f"it does not run there ({first_line(error)})", error)
        if compiled.fresh:
            problem = _difference(found, part.run(*inputs), DTYPES[self.dtype], relative=relative)
            if problem is not None:
                self._give_up(problem)
            compiled.accept()
        self._compiled[key] = compiled
        return found

    def _give_up(self, problem: str, error: Exception | None = None) -> NoReturn:
        if self._instead is None:
            raise DeviceError(f"OpenVINO cannot run {self.name}: {problem}; try engine torch") from error
        log.warning("OpenVINO is not used for %s: %s; going on with PyTorch", self.name, problem)
        self.reason = f"in place of OpenVINO: {problem}"
        self._compiled.clear()
        self._other = self._instead(self._network)
        raise _TakenOverError


class _TakenOverError(Exception):
    """PyTorch goes on from here."""


def _difference(
    found: Sequence[NDArray[np.float32]], expected: Sequence[Tensor], dtype: torch.dtype, *, relative: bool
) -> str | None:
    """What is wrong with a part's values; None when they are what PyTorch's are, within the dtype's tolerance."""
    tolerance = trust.TOLERANCES[dtype]
    for got, wanted in zip(found, expected, strict=True):
        error = trust.largest_error(torch.from_numpy(got), wanted, torch.float32 if relative else dtype)
        scale = max(1.0, float(wanted.abs().max())) if relative and wanted.numel() else 1.0
        if error > tolerance * scale * (4 if relative else 1):  # the features' own outliers do not count as maps do
            return f"it fails the self-check (off by {error:.2g} where PyTorch has {scale:.2g} at most)"
    return None


def choose_dtype(dtype: str) -> tuple[str, str]:
    """The dtype that a name stands for with OpenVINO on this CPU, and why.

    Raises:
        OptionError: OpenVINO does not compute in it here.
    """
    reduced, why = reduced_dtype(torch.device("cpu"))
    if dtype == "auto":
        return ("bfloat16", why) if reduced is not None else ("float32", why)
    if dtype not in PRECISIONS:
        raise OptionError(f"engine openvino has no {dtype} on a CPU: use {', '.join(PRECISIONS)} or auto")
    if dtype == "bfloat16" and reduced is None:
        raise OptionError(f"engine openvino has no bfloat16 here ({why}): use float32 or auto")
    return dtype, "asked for"
