"""Which library runs a network: what the user asks for, or a table by processor and architecture.

Nothing is timed at run time, so that a run is the same every time. `vsalient doctor --tune` times both libraries once
and writes the user's own table, which goes before this one; VSALIENT_ENGINE goes before both.
"""

import os
import tomllib
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from vsalient.checkpoints.cache import added_root
from vsalient.devices import processor_flags
from vsalient.engine import compiled
from vsalient.engine.choose import open_torch
from vsalient.engine.runner import Runner
from vsalient.errors import OptionError
from vsalient.models.network import Network, describe
from vsalient.vocabulary import ENGINES, DtypeName, EngineName

PROCESSORS = {"amx": "amx_bf16", "avx512-bf16": "avx512_bf16", "avx512": "avx512f", "avx2": "avx2"}
"""Kind of processor -> the flag that makes one, best first."""
TABLE: dict[str, tuple[str, ...]] = {
    "amx": ("lite3dc",),
    "avx512-bf16": ("lite3dc",),
    "avx512": ("lite3dc",),
    "avx2": ("lite3dc",),
}
"""Kind of processor -> the architectures that OpenVINO runs faster than PyTorch there (docs/engines.md has the
measurements); others are PyTorch's, and so is what nobody has measured."""


def processor() -> str:
    """The kind of processor, a key of `TABLE`, or "other"."""
    flags = processor_flags()
    # Where both libraries are told to leave the newer instructions alone, as benchmarks do.
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper()
    kinds = [kind for kind, flag in PROCESSORS.items() if flag in flags]
    if limit.startswith("AVX2"):
        kinds = [kind for kind in kinds if kind == "avx2"]
    elif limit in ("AVX512_CORE", "AVX512_CORE_VNNI"):
        kinds = [kind for kind in kinds if kind in ("avx512", "avx2")]
    return kinds[0] if kinds else "other"


def user_table() -> Path:
    """The file that `vsalient doctor --tune` writes: `[KIND]`, then architecture = "torch" or "openvino"."""
    return added_root().parent / "engines.toml"


def choose_engine(architecture: str) -> tuple[Literal["torch", "openvino"], str]:
    """The library that "auto" takes for an architecture on this processor, and why.

    Raises:
        OptionError: the user's own table cannot be read, or VSALIENT_ENGINE is no engine.
    """
    kind, file = processor(), user_table()
    wanted = os.environ.get("VSALIENT_ENGINE", "auto")
    if wanted not in ENGINES:
        raise OptionError(f"VSALIENT_ENGINE is '{wanted}'; allowed: {', '.join(ENGINES)}")
    if wanted == "torch" or (wanted == "openvino" and compiled.available()):
        return wanted, "by VSALIENT_ENGINE"
    own = _read_table(file).get(kind, {}).get(architecture)
    if own is not None and (own == "torch" or compiled.available()):
        return own, f"by {file}"
    if architecture in TABLE.get(kind, ()) and compiled.available():
        return "openvino", f"the faster one for {architecture} on {kind}"
    return "torch", "the default"


def open_runner(
    network: nn.Module | Network,
    architecture: str,
    *,
    engine: EngineName = "auto",
    device: str = "auto",
    dtype: DtypeName = "auto",
    exact: bool = False,
    multiple: int | None = None,
) -> Runner:
    """A network ready to run.

    Args:
        network: taken over and changed in place.
        architecture: its key in `vsalient.models.ARCHITECTURES`, for the table.
        engine: the library; "auto" takes the table's, and PyTorch wherever OpenVINO cannot do what is asked for.
        device: see `vsalient.engine.Engine`, like the three that follow.
        dtype: "auto", or what the library can.
        exact: PyTorch's float32, nothing folded or rewritten.
        multiple: what the sides of frames are multiples of.

    Raises:
        OptionError: an unknown engine, device or dtype, or some that exclude each other.
        DeviceError: the device is not there, or the network does not run on it as it should.
        MissingDependencyError: OpenVINO is asked for and not installed.
    """
    check_engine(engine, device, dtype, exact=exact)
    described = describe(network)
    on_cpu = device == "cpu" or (
        device == "auto" and not torch.cuda.is_available() and not torch.backends.mps.is_available()
    )
    why = "asked for"
    if engine == "auto":
        fits = on_cpu and not exact and dtype != "float16"
        engine, why = choose_engine(architecture) if fits else ("torch", "")
        asked = False
    else:
        asked = True
    if engine == "torch":
        return open_torch(described, device=device, dtype=dtype, exact=exact, multiple=multiple)
    from vsalient.engine.openvino_runner import OpenVinoRunner, choose_dtype

    chosen, reason = choose_dtype(dtype)

    def instead(left: Network) -> Runner:
        return open_torch(left, device="cpu", dtype=dtype, multiple=multiple)

    return OpenVinoRunner(described, chosen, reason=f"{why}; {reason}", instead=None if asked else instead)


def check_engine(engine: str, device: str, dtype: str, *, exact: bool) -> None:
    """Refuse an engine that is unknown, or that cannot do what else is asked for; loads no library.

    Raises:
        OptionError: says what excludes what.
    """
    if engine not in ENGINES:
        raise OptionError(f"unknown engine '{engine}'; allowed: {', '.join(ENGINES)}")
    if engine != "openvino":
        return
    if exact:
        raise OptionError("exact is PyTorch's float32: leave it out, or take engine torch")
    if device not in ("auto", "cpu"):
        raise OptionError(f"engine openvino runs on the CPU, not on {device}: take device cpu, or engine torch")
    if dtype == "float16":
        raise OptionError("engine openvino has no float16 on a CPU: use float32, bfloat16 or auto")


def _read_table(file: Path) -> dict[str, dict[str, Literal["torch", "openvino"]]]:
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as error:
        raise OptionError(f"cannot read {file} ({error}); remove it, or run `vsalient doctor --tune` again") from None
    for kind, rows in table.items():
        if not isinstance(rows, dict) or not set(map(str, rows.values())) <= {"torch", "openvino"}:
            raise OptionError(f'{file}: [{kind}] must give "torch" or "openvino" for each architecture')
    return table


def write_user_table(kind: str, rows: dict[str, Literal["torch", "openvino"]]) -> Path:
    """Put what was measured on a kind of processor into the user's own table; other kinds stay.

    Raises:
        OptionError: the table there cannot be read, or written.
    """
    from vsalient.checkpoints.cache import put_text

    file = user_table()
    table = _read_table(file) | {kind: rows}
    lines = ["# Written by `vsalient doctor --tune`: which library runs which architecture, by kind of processor."]
    for name, each in table.items():
        lines += ["", f"[{name}]", *(f'"{architecture}" = "{library}"' for architecture, library in each.items())]
    try:
        put_text(file, "\n".join(lines) + "\n")
    except OSError as error:
        raise OptionError(f"cannot write {file}: {error.strerror}") from None
    return file
