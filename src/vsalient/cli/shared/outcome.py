"""What became of an input, and how it is told on stdout."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from vsalient.cli.shared.plain import plain, valid


@dataclass
class Outcome:
    """What became of one input.

    Attributes:
        source: the video or frame folder, as given.
        written: kind of output -> path, or address.
        summary: figures for the JSON summary.
        skipped: everything existed already.
        partial: the source was cut short; the outputs hold the frames that there are, and `error` says so.
        error: what is wrong, in one line; None when nothing is.
    """

    source: str
    written: dict[str, Path | str] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    skipped: bool = False
    partial: bool = False
    error: str | None = None

    @property
    def state(self) -> str:
        """One word: done, skipped, partial or failed."""
        if self.partial:
            return "partial"
        return "failed" if self.error is not None else "skipped" if self.skipped else "done"


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
