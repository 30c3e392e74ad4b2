"""`vsalient benchmark`: how fast the models are on this machine."""

import json
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from vsalient import checkpoints
from vsalient.cli.shared.options import check_engine_options
from vsalient.errors import OptionError

_COLUMNS = ("model", "frames/s", "CPU ms", "memory MiB", "first map s", "yardsticks", "engine")


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@click.option("--size", default="854x480", show_default=True, metavar="WxH", help="Width x height of the video.")
@click.option(
    "--seconds", default=10.0, show_default=True, type=click.FloatRange(0.1, 600), help="How long to time each."
)
@click.option("--device", default="auto", show_default=True, metavar="auto|cpu|cuda|cuda:N|mps")
@click.option(
    "--dtype", default="auto", show_default=True, type=click.Choice(["auto", "float32", "bfloat16", "float16"])
)
@click.option("--engine", default="auto", show_default=True, type=click.Choice(["auto", "torch", "openvino"]))
@click.option("--fast", is_flag=True, help="As of predict: the network sees every second frame.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout instead.")
@click.option("--here", is_flag=True, hidden=True, help="Measure one model in this process.")
def command(
    models: tuple[str, ...],
    size: str,
    seconds: float,
    device: str,
    dtype: str,
    engine: str,
    fast: bool,
    as_json: bool,
    here: bool,
) -> int:
    """Time models end to end: a made-up video is decoded, the network runs, the saliency video is written.

    Without MODEL all of `vsalient models list` are timed, one process after the other; those whose weights are not here
    get random ones, which take the same time. A model that does not run has its reason in the table, and the exit
    code is then 1. Yardsticks are frames/s times the seconds that a fixed piece of plain work took beside it: a figure
    that does not depend much on how busy or how fast the machine is.
    """
    check_engine_options(device, dtype, False, engine=engine)
    width, height = _frame_size(size)
    entries = {name: checkpoints.find_entry(name) for name in models} if models else checkpoints.registry()
    names = list(entries)
    options = ["--size", size, "--seconds", str(seconds), "--device", device, "--dtype", dtype, "--engine", engine]
    options += ["--fast"] * fast
    if here:
        from vsalient.benchmarking import make_video, measure_model
        from vsalient.procedure import Clips

        with tempfile.TemporaryDirectory(prefix="vsalient-benchmark-") as place:
            video = make_video(Path(place) / "video.mp4", width, height)
            row = measure_model(
                entries[names[0]],
                video,
                Path(place),
                seconds=seconds,
                clips=Clips(fast=fast),
                device=device,
                dtype=dtype,
                engine=engine,
            )
        click.echo(json.dumps(asdict(row)))
        return 0
    rows: list[dict[str, Any]] = []
    if not as_json:
        click.echo(_column_line(_COLUMNS))
    for name in names:
        rows.append(in_a_process(name, options))
        if not as_json:
            click.echo(_shown_row(rows[-1]))
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    return int(any("error" in row for row in rows))


def in_a_process(name: str, options: list[str]) -> dict[str, Any]:
    """One model's row, measured in a process of its own; `model` and `error` of one that does not run."""
    command = [sys.executable, "-m", "vsalient", "benchmark", name, "--here", *options]
    done = subprocess.run(command, capture_output=True, text=True)
    lines = done.stdout.strip().splitlines()
    if done.returncode == 0 and lines:
        found: dict[str, Any] = json.loads(lines[-1])
        return found
    said = done.stderr.strip().splitlines() or [f"the process ended with {done.returncode}"]
    return {"model": name, "error": said[-1].removeprefix("Error: ")}


def _shown_row(row: dict[str, Any]) -> str:
    if "error" in row:
        return f"{row['model']:12} {row['error']}"
    memory = "" if row["peak_mib"] is None else f"{row['peak_mib']:.0f}"
    random = " (random weights)" * (row["weights"] == "random")
    speed = row["frames_per_second"]
    values = (
        row["model"],
        f"{speed:.2f}",
        f"{row['cpu_ms']:.0f}",
        memory,
        f"{row['first_map_seconds']:.2f}",
        f"{speed * row['yardstick']:.2f}",
        row["engine"] + random,
    )
    return _column_line(values)


def _column_line(values: tuple[str, ...]) -> str:
    name, *numbers, engine = values
    return f"{name:12} {' '.join(f'{number:>11}' for number in numbers)}  {engine}"


def _frame_size(text: str) -> tuple[int, int]:
    try:
        width, height = (int(part) for part in text.split("x"))
    except ValueError:
        raise OptionError(f"--size '{text}' is no size: write width x height, such as 854x480") from None
    if not (64 <= width <= 8192 and 64 <= height <= 8192) or width % 2 or height % 2:
        raise OptionError(f"--size {text}: both sides must be even, from 64 to 8192")
    return width, height
