"""`vsalient doctor --tune`: time PyTorch and OpenVINO once on this machine, and remember which is faster."""

from typing import Literal

import click

from vsalient import checkpoints
from vsalient.cli.benchmark import in_a_process
from vsalient.errors import MissingDependencyError

Library = Literal["torch", "openvino"]


def tune(seconds: float = 5.0) -> None:
    """Time every architecture whose weights are here with both libraries; write the user's table and print it.

    Raises:
        MissingDependencyError: OpenVINO is not installed: there is nothing to choose from.
        OptionError: the table cannot be read or written.
    """
    from vsalient.engine import compiled, libraries

    if not compiled.available():
        raise MissingDependencyError(
            "there is only PyTorch here, and nothing to choose from; pip install 'vsalient[openvino]' first"
        )
    rows: dict[str, Library] = {}
    for name, entry in checkpoints.registry().items():
        if entry.architecture in rows or checkpoints.status(entry) not in ("bundled", "cached", "own file"):
            continue
        found = {
            library: in_a_process(name, ["--engine", library, "--device", "cpu", "--seconds", str(seconds)])
            for library in ("torch", "openvino")
        }
        speeds = {library: row.get("frames_per_second", 0.0) for library, row in found.items()}
        rows[entry.architecture] = "openvino" if speeds["openvino"] > speeds["torch"] else "torch"
        said = ", ".join(
            f"{library} {row['error']}" if "error" in row else f"{library} {row['frames_per_second']:.2f} frames/s"
            for library, row in found.items()
        )
        click.echo(f"{name:12} {rows[entry.architecture]:9} ({said})")
    click.echo(str(libraries.write_user_table(libraries.processor(), rows)))
