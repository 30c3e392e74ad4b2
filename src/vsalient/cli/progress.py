"""What is said on stderr: one line on the device, a progress bar on a terminal, figures and a table at the end."""

import logging
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from vsalient.cli.common import Outcome
from vsalient.figures import Report

BOTTLENECKS = {
    "decode": "reading the video",
    "priors": "computing optical flow",
    "model": "the network",
    "segment": "making masks",
    "finish": "bringing the maps to size",
    "encode": "writing the outputs",
}


class RateColumn(ProgressColumn):
    """Frames a second over the last moments."""

    def render(self, task: Task) -> Text:
        """Return the rate, or dashes before there is one."""
        speed = task.finished_speed or task.speed
        return Text("–– frames/s" if speed is None else f"{speed:.1f} frames/s")


class _Lines(logging.Handler):
    """The library's log, a line a record, above a bar that may be running."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record."""
        prefix = f"{record.levelname.capitalize()}: " if record.levelno >= logging.WARNING else ""
        message = record.getMessage()
        text = message.rstrip() if getattr(record, "as_it_is", False) else " ".join(message.split())
        self._console.print(prefix + text, markup=False)


class Narrator:
    """Speaks on stderr: bars on a terminal, plain lines elsewhere, nothing when quiet."""

    def __init__(self, *, quiet: bool = False, verbose: bool = False) -> None:
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        self.quiet = quiet
        self.verbose = verbose
        self._bars: Progress | None = None
        level = logging.ERROR if quiet else logging.DEBUG if verbose else logging.WARNING
        logger = logging.getLogger("vsalient")
        logger.setLevel(level)
        logger.handlers = [_Lines(self.console)]

    def say(self, text: str) -> None:
        """One line, unless quiet."""
        if not self.quiet:
            self.console.print(text, markup=False)

    def detail(self, text: str) -> None:
        """One line for those who asked for more."""
        if self.verbose:
            self.say(text)

    @property
    def shows_bars(self) -> bool:
        """Whether somebody watches a terminal."""
        return self.console.is_terminal and not self.quiet

    def frames(self, name: str, total: int | None) -> "FrameBar":
        """A bar for one video of about `total` frames."""
        return FrameBar(self, name, total)

    def summary(self, name: str, report: Report) -> None:
        """The figures of one video."""
        rate = report.frames / report.seconds if report.seconds else 0.0
        self.say(f"{name}: {report.frames} frames in {report.seconds:.1f} s, {rate:.1f} frames/s")
        times = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in report.stages.items())
        self.say(f"  busy: {times}; the bottleneck is {BOTTLENECKS.get(report.bottleneck, 'unknown')}")

    def table(self, outcomes: Sequence[Outcome]) -> None:
        """One row an input: what became of it. One input alone needs none; whoever wants quiet is told of errors."""
        if self.quiet:
            for outcome in outcomes:
                if outcome.error is not None:
                    self.console.print(f"Error: {_named(outcome)}", markup=False)
            return
        if len(outcomes) < 2:
            return
        if not self.console.is_terminal:
            for outcome in outcomes:
                self.say(f"{outcome.state:8}{_named(outcome)}")
        else:
            table = Table("input", "result", "", box=None, pad_edge=False)
            for outcome in outcomes:
                style = {"failed": "red", "partial": "yellow", "skipped": "dim"}.get(outcome.state, "green")
                table.add_row(Text(outcome.source), Text(outcome.state, style), Text(outcome.error or ""))
            self.console.print(table)
        failures = sum(outcome.error is not None for outcome in outcomes)
        self.say(f"{len(outcomes) - failures} of {len(outcomes)} inputs succeeded")


def _named(outcome: Outcome) -> str:
    """The source with its error, which as a rule begins with the source's name."""
    if outcome.error is None or outcome.error.startswith(outcome.source):
        return outcome.error or outcome.source
    return f"{outcome.source}: {outcome.error}"


class FrameBar:
    """A bar of frames for one video; a context manager. Does nothing where nobody watches."""

    def __init__(self, narrator: Narrator, name: str, total: int | None) -> None:
        self._progress: Progress | None = None
        if narrator.shows_bars:
            self._progress = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                RateColumn(),
                TimeRemainingColumn(),
                console=narrator.console,
                transient=True,
                speed_estimate_period=10,
            )
            self._task = self._progress.add_task(name, total=total)
            self._total = total

    def __enter__(self) -> Self:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()

    def advance(self, frames: int) -> None:
        """`frames` maps are done by now; containers' counts may be wrong, so the total may have to grow."""
        if self._progress is not None:
            if self._total is not None and frames > self._total:
                self._total = None
            self._progress.update(self._task, completed=frames, total=self._total)
