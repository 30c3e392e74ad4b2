"""What became of an input, as it is told on stdout."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from vsalient.cli.shared.plain import plain, valid
from vsalient.scale.agenda import Outcome


def print_path(path: Path | str) -> None:
    """Print a path on stdout; when its reader has gone (`| head -1`), the work goes on all the same."""
    text = str(path)
    try:
        click.echo(plain(text) if sys.stdout.isatty() else text)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def input_records(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """What became of each input, for a JSON summary."""
    return [
        {
            "input": valid(outcome.source),
            "state": outcome.state,
            "outputs": {kind: valid(str(path)) for kind, path in outcome.written.items()},
            **outcome.summary,
            "error": None if outcome.error is None else valid(outcome.error),
        }
        for outcome in outcomes
    ]
