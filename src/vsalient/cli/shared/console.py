"""What is said on stderr while the work goes on: lines, one bar, figures, a table; or the same as lines of JSON."""

import json
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from rich.console import Console as Terminal
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from vsalient.cli.shared.pace import BatchPace, Pace, clock_text
from vsalient.cli.shared.plain import plain, shorten, valid
from vsalient.figures import Report
from vsalient.scale.agenda import Outcome

ProgressForm = Literal["auto", "bar", "lines", "json", "none"]
BOTTLENECKS = {
    "decode": "reading the video",
    "priors": "computing optical flow",
    "model": "the network",
    "segment": "making masks",
    "finish": "bringing the maps to size",
    "encode": "writing the outputs",
}
LINE_SECONDS = 60.0
"""A line of progress comes so often where there is no terminal."""
JSON_SECONDS = 1.0
_REDRAW_SECONDS = 0.1
_BESIDE = 66
"""Columns that everything but the name takes in a bar."""


class Console:
    """Speaks on stderr, and escapes whatever a name may hold.

    Args:
        quiet: say nothing but errors.
        verbose: say more.
        progress: "bar", "lines" (one a minute), "json" or "none"; "auto" is a bar on a terminal, else lines.
    """

    def __init__(self, *, quiet: bool = False, verbose: bool = False, progress: ProgressForm = "auto") -> None:
        self.terminal = Terminal(stderr=True, highlight=False, soft_wrap=True, markup=False, emoji=False)
        self.quiet = quiet
        self.verbose = verbose
        self.form = progress
        if progress == "auto":
            self.form = "none" if quiet else "bar" if self.terminal.is_terminal else "lines"
        self.batch = BatchPace([])
        level = logging.ERROR if quiet else logging.DEBUG if verbose else logging.WARNING
        logger = logging.getLogger("vsalient")
        logger.setLevel(level)
        logger.handlers = [_Lines(self)]

    def say(self, text: str) -> None:
        """One line, unless quiet."""
        if not self.quiet:
            self.put(text)

    def detail(self, text: str) -> None:
        """One line for those who asked for more."""
        if self.verbose:
            self.say(text)

    def put(self, text: str, level: str = "info") -> None:
        """One line, above a bar that may be running."""
        if self.form == "json":
            self.event("message", level=level, text=text)
        else:
            self.terminal.print("\n".join(map(plain, text.split("\n"))))

    def event(self, event: str, **facts: Any) -> None:
        """One line of JSON."""
        told = {key: valid(value) if isinstance(value, str) else value for key, value in facts.items()}
        self.terminal.file.write(json.dumps({"event": event, **told}, ensure_ascii=False) + "\n")
        self.terminal.file.flush()

    def begin(self, sources: Sequence[Path]) -> None:
        """A batch of these videos and frame folders begins."""
        self.batch = BatchPace(sources)

    def frames(self, name: str, total: int | None) -> "FrameBar":
        """Progress of the batch's next video, which has this path and about `total` frames."""
        self.batch.next()
        return FrameBar(self, name, total)

    def summary(self, name: str, report: Report) -> None:
        """The figures of one video."""
        if self.form == "json":
            self.event("done", input=name, **report.figures())
            return
        rate = report.frames / report.seconds if report.seconds else 0.0
        self.say(f"{name}: {report.frames} frames in {report.seconds:.1f} s, {rate:.1f} frames/s")
        times = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in report.stages.items())
        if report.delays is not None:
            middle, most = report.delays
            self.say(f"  delay from a frame's arrival to its outputs: {middle:.2f} s, 95 % within {most:.2f} s")
        self.say(f"  busy: {times}; the bottleneck is {BOTTLENECKS.get(report.bottleneck, 'unknown')}")

    def table(self, outcomes: Sequence[Outcome]) -> None:
        """One row an input: what became of it. One input alone needs none; whoever wants quiet is told of errors."""
        if self.form == "json":
            for outcome in outcomes:
                self.event("outcome", input=outcome.source, state=outcome.state, error=outcome.error)
            return
        if self.quiet:
            for outcome in outcomes:
                if outcome.error is not None:
                    self.put(f"Error: {_named_outcome(outcome)}")
            return
        if len(outcomes) < 2:
            return
        if not self.terminal.is_terminal:
            for outcome in outcomes:
                self.say(f"{outcome.state:8}{_named_outcome(outcome)}")
        else:
            table = Table("input", "result", "", box=None, pad_edge=False)
            for outcome in outcomes:
                style = {"failed": "red", "partial": "yellow", "skipped": "dim"}.get(outcome.state, "green")
                table.add_row(Text(plain(outcome.source)), Text(outcome.state, style), Text(plain(outcome.error or "")))
            self.terminal.print(table)
        failures = sum(outcome.error is not None for outcome in outcomes)
        self.say(f"{len(outcomes) - failures} of {len(outcomes)} inputs succeeded")


class FrameBar:
    """Progress of one video; a context manager."""

    def __init__(self, console: Console, name: str, total: int | None) -> None:
        self.pace = Pace(total)
        self._console, self._name, self._shown = console, name, Path(name).name
        self._told = time.monotonic()
        batch = console.batch
        self._place = f"{batch.number}/{batch.count} " if batch.count > 1 else ""
        self._bar: Progress | None = None
        if console.form == "bar":
            room = max(12, console.terminal.width - _BESIDE - len(self._place))
            self._bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=12),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}", markup=False),
                TextColumn("{task.fields[left]}", markup=False),
                console=console.terminal,
                transient=True,
            )
            text = self._place + shorten(plain(self._shown), room)
            self._task = self._bar.add_task(text, total=total, rate="–– frames/s", left="")

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        if self._console.form == "json":
            batch = self._console.batch
            self._console.event("begin", input=self._name, number=batch.number, of=batch.count, total=self.pace.total)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, frames: int) -> None:
        """`frames` maps are done by now."""
        self.pace.reach(frames)
        form, now = self._console.form, time.monotonic()
        every = {"bar": _REDRAW_SECONDS, "lines": LINE_SECONDS, "json": JSON_SECONDS}.get(form)
        if every is None or now - self._told < every:
            return
        self._told = now
        rate, left, batch_left = self.pace.rate, self.pace.left, self._console.batch.left(self.pace)
        if form == "json":
            self._console.event(
                "progress",
                input=self._name,
                number=self._console.batch.number,
                of=self._console.batch.count,
                frames=frames,
                total=self.pace.total,
                frames_per_second=_rounded(rate),
                seconds_left=_rounded(left),
                batch_seconds_left=_rounded(batch_left),
            )
            return
        speed = "–– frames/s" if rate is None else f"{rate:.1f} frames/s"
        times = [f"{clock_text(left)} left"] if left is not None else []
        if batch_left is not None and self._console.batch.count > 1:
            times.append(f"all {clock_text(batch_left)}")
        if self._bar is not None:
            self._bar.update(self._task, completed=frames, total=self.pace.total, rate=speed, left=", ".join(times))
        else:
            of = f" of {self.pace.total}" if self.pace.total else ""
            self._console.say(", ".join([f"{self._place}{self._shown}: {frames}{of} frames", speed, *times]))


class _Lines(logging.Handler):
    """The library's log, a line a record."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record."""
        prefix = f"{record.levelname.capitalize()}: " if record.levelno >= logging.WARNING else ""
        message = record.getMessage()
        text = message.rstrip() if getattr(record, "as_it_is", False) else " ".join(message.split())
        self._console.put(prefix + text, record.levelname.lower())


def _named_outcome(outcome: Outcome) -> str:
    """The source with its error, which as a rule begins with the source's name."""
    if outcome.error is None or outcome.error.startswith(outcome.source):
        return outcome.error or outcome.source
    return f"{outcome.source}: {outcome.error}"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
