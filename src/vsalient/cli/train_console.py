"""What `vsalient train` says while it runs: a bar in a terminal, else a line now and then, without Rich."""

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from vsalient.training.log import Progress

EVERY_STEPS = 50
"""Steps after which a line comes where there is no bar, if `EVERY_SECONDS` have not passed before."""
EVERY_SECONDS = 60.0


class TrainingConsole:
    """Lines on stderr about one run.

    Args:
        name: of the run.
        steps: of the whole run.
        done: steps done before.
        quiet: say nothing.
    """

    def __init__(self, name: str, steps: int, done: int, *, quiet: bool) -> None:
        self.name, self.steps, self.done, self.quiet = name, steps, done, quiet
        self._bar: Bar | None = None
        self._said = time.monotonic()

    def line(self, text: str) -> None:
        """Say something."""
        if self.quiet:
            return
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False)
        else:
            click.echo(f"{self.name}: {text}", err=True)

    def report(self, progress: "Progress") -> None:
        """Say how a step went, in the bar or now and then in a line."""
        state = f"loss {progress.loss:.3f}, {progress.frames_per_second:.1f} frames/s"
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=progress.step, description=f"{self.name} {state}")
        else:
            waited = time.monotonic() - self._said
            if progress.step % EVERY_STEPS == 0 or waited > EVERY_SECONDS or progress.step == progress.steps:
                self._said = time.monotonic()
                self.line(f"step {progress.step} of {progress.steps}: {state}")
        if progress.scores is not None:
            self.line(f"step {progress.step}: J {progress.scores.jaccard:.4f}, MAE {progress.scores.mae:.4f}")

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Show the bar within the block, where stderr is a terminal and Rich is there."""
        if self.quiet or not sys.stderr.isatty():
            yield
            return
        try:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
        except ImportError:
            yield
            return
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
        with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as self._bar:
            self._bar.add_task(self.name, total=self.steps, completed=self.done)
            try:
                yield
            finally:
                self._bar.refresh()
        self._bar = None
