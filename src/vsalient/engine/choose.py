"""From what was asked for to a runner that was tried: device and dtype, falling back under "auto" with a reason."""

import copy
import logging
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from vsalient import devices
from vsalient.devices import DTYPES, dtype_name, resolve_device
from vsalient.engine import failures, layout, policy, trust
from vsalient.engine.torch_runner import TorchRunner
from vsalient.errors import DeviceError, OptionError, VsalientError
from vsalient.models.network import Network
from vsalient.vocabulary import DtypeName

log = logging.getLogger(__name__)


class Place(NamedTuple):
    """A device to try.

    Attributes:
        device: where.
        kind: whose policy counts: "cpu", "cuda" or "mps".
    """

    device: torch.device
    kind: str


class _Trial(NamedTuple):
    """A sample and what the network makes of it in float32 on the CPU; None where it does not take the sample."""

    clip: Tensor
    priors: dict[str, Tensor]
    expected: Tensor | None


def open_torch(
    network: Network,
    *,
    device: str = "auto",
    dtype: DtypeName = "auto",
    fuse: bool = True,
    exact: bool = False,
    multiple: int | None = None,
) -> TorchRunner:
    """Place a network where it was asked for, or on the best device on which it gives what it should.

    Args:
        network: taken over and changed in place.
        device: "auto" (CUDA, else MPS, else the CPU), "cpu", "cuda", "cuda:N" or "mps".
        dtype: "auto" is bfloat16 where the device is fast at it, else float32.
        fuse: fold batch norms into their convolutions.
        exact: float32, nothing folded, reordered or rewritten.
        multiple: what the sides of frames are multiples of, for the sample.

    Raises:
        OptionError: an unknown device or dtype, or `exact` with a reduced dtype.
        DeviceError: the device is not there, or the network does not run on it as it should.
    """
    if exact and dtype not in ("auto", "float32"):
        raise OptionError(f"exact means float32, not {dtype}; leave one of the two out")
    if dtype != "auto" and dtype not in DTYPES:
        raise OptionError(f"unknown dtype '{dtype}'; allowed: auto, {', '.join(DTYPES)}")
    asked = resolve_device(device)
    places = [Place(found, found.type) for found in (policy.candidates() if device == "auto" else [asked])]
    return first_sound(network, places, "float32" if exact else dtype, fuse=fuse, exact=exact, multiple=multiple)


def first_sound(
    network: Network,
    places: Sequence[Place],
    dtype: DtypeName,
    *,
    fuse: bool = True,
    exact: bool = False,
    multiple: int | None = None,
) -> TorchRunner:
    """The first place and dtype at which the network gives what it gives on the CPU in float32.

    Raises:
        DeviceError: there is none; says what became of the last.
    """
    attempts = [(place, *attempt) for place in places for attempt in _dtypes(place, dtype, exact=exact)]
    trial: _Trial | None = None
    setbacks: list[str] = []
    for number, (place, wanted, reason) in enumerate(attempts):
        on_cpu = place.kind == "cpu"
        plain = on_cpu and wanted == torch.float32  # what the others are held against
        if trial is None and not plain:
            trial = _try_out(network, multiple)
        last = number == len(attempts) - 1
        spare = None if last else copy.deepcopy(network)  # what is placed is changed in place
        problem: DeviceError | None = None
        try:
            runner = TorchRunner(
                network,
                place.device,
                wanted,
                fuse=fuse,
                exact=exact,
                kind=place.kind,
                reason=_with_setbacks(reason, setbacks),
            )
            problem = None if plain or trial is None else _hold_against(runner, trial)
        except VsalientError:
            raise
        except Exception as error:
            problem = failures.explain(error, place.device, dtype_name(wanted), "placing the network")
            failures.free(place.device, error)
            if problem is None:
                raise
        if problem is None:
            if trial is not None and place.kind == "cuda" and not exact and layout.has_depthwise_3d(network.module):
                frames = network.running.clip_length if network.running else 8
                layout.settle(runner, *layout.larger(trial.clip, trial.priors, frames))
            return runner
        if spare is None:
            raise problem
        log.debug("%s in %s: %s", place.device, wanted, problem)
        setbacks.append(str(problem).partition(";")[0])
        network = spare
    raise AssertionError("there is always an attempt")


def _with_setbacks(reason: str, setbacks: Sequence[str]) -> str:
    return "; ".join([reason, *setbacks])


def _dtypes(place: Place, dtype: DtypeName, *, exact: bool) -> list[tuple[torch.dtype, str]]:
    """What to try at a place, in order, and why."""
    if exact:
        return [(torch.float32, "exact: nothing folded or reordered")]
    if dtype != "auto":
        wanted = DTYPES[dtype]
        fast = wanted == torch.float32 or place.kind != "cpu" or wanted == devices.reduced_dtype(place.device)[0]
        return [(wanted, "asked for" if fast else "asked for, though slow on this CPU")]
    reduced, why = devices.reduced_dtype(place.device)
    if reduced is None:
        return [(torch.float32, why)]
    return [(reduced, why), (torch.float32, "in place of bfloat16")]


def _try_out(network: Network, multiple: int | None) -> _Trial:
    clip, priors = trust.sample(network, multiple)
    try:
        expected = trust.reference(network, clip, priors)
        # Weights that are broken are broken everywhere: the engine says so at the first clip.
        return _Trial(clip, priors, expected if expected.numel() and expected.isfinite().all() else None)
    except Exception as error:
        # A network of a fixed size, say: it will be run as it is, and only its values are looked at.
        log.debug("the network does not take the sample: %s", error)
        return _Trial(clip, priors, None)


def _hold_against(runner: TorchRunner, trial: _Trial) -> DeviceError | None:
    """What is wrong with a runner, None when it gives what it should; its `reason` then says so."""
    if trial.expected is None:
        return None
    maps = runner.whole(trial.clip, trial.priors)
    got = torch.from_numpy(maps() if callable(maps) else maps)
    error = trust.largest_error(got, trial.expected, DTYPES[runner.dtype])
    if error > trust.TOLERANCES[DTYPES[runner.dtype]]:
        return DeviceError(
            f"{runner.device} fails the self-check in {runner.dtype} (probabilities are off by {error:.2g}); "
            "try dtype auto or device cpu"
        )
    runner.reason += f", self-check passed (error {error:.1g})"
    return None
