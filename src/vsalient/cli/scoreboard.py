"""Tables of scores on stdout, progress on stderr."""

import math
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from vsalient.evaluation.compare import Spread
from vsalient.evaluation.dataset import Evaluation, PredictionResult
from vsalient.evaluation.output import notes_of, number_text
from vsalient.metrics.catalogue import BLOCKS, LOWER_IS_BETTER

_PIPED_WIDTH = 120


class Scoreboard:
    """Speaks to the user of `vsalient evaluate`; leaving it takes unfinished bars off the terminal."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._out = Console(highlight=False)
        if not self._out.is_terminal:
            self._out = Console(highlight=False, width=_PIPED_WIDTH)
        self._err = Console(stderr=True, highlight=False, soft_wrap=True)
        self._quiet = quiet
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.done()

    def say(self, text: str) -> None:
        """Write one line on stderr, unless quiet."""
        if not self._quiet:
            self._err.print(text, markup=False)

    def scored(self, name: str, done: int, total: int) -> None:
        """Move the bar of scored sequences."""
        self._advance("score", name, done, total)

    def predicted(self, name: str, done: int, total: int) -> None:
        """Move the bar of predicted sequences."""
        self._advance("predict", name, done, total)

    def done(self) -> None:
        """Take the bars away."""
        if self._bars is not None:
            self._bars.stop()
            self._bars = None
            self._tasks = {}

    def tables(
        self, evaluation: Evaluation, columns: Mapping[str, Sequence[str]] | None = None, spread: Spread | None = None
    ) -> None:
        """Print the scores, with further columns and how sure the numbers are where these are given."""
        results = evaluation.predictions
        truth = evaluation.truth
        dropped = ", first and last frame of each sequence left out" if truth.protocol == "davis16" else ""
        self._out.print(
            f"{truth.preset.title}: {_plural(len(truth.tree), 'sequence')}, protocol {truth.protocol}{dropped}",
            markup=False,
        )
        for title, names in BLOCKS:
            present = [name for name in names if name in results[0].dataset.results]
            for part in _fitting(present, results, self._out.width):
                self._out.print(
                    _one_table(title, part, results[0]) if len(results) == 1 else _many(title, part, results)
                )
        if len(results) > 1:
            self._out.print(_predictions_side_by_side(results))
        if columns:
            table = _table("Given", "predictions", list(columns))
            for at, result in enumerate(results):
                table.add_row(_plain_cells(result.name), *(_plain_cells(values[at]) for values in columns.values()))
            self._out.print(table)
        if spread is not None:
            self._out.print(_spread_table(results, spread))
        for result in results:
            for note in notes_of(result, evaluation):
                self._out.print(f"{f'{result.name}: ' if len(results) > 1 else ''}{note}", markup=False)

    def _advance(self, kind: str, name: str, done: int, total: int) -> None:
        if self._quiet or not self._err.is_terminal:
            return
        if self._bars is None:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
            self._bars = Progress(*columns, console=self._err, transient=True)
            self._bars.start()
        if kind not in self._tasks or done == 1:
            self._tasks[kind] = self._bars.add_task(kind, total=total)
        self._bars.update(self._tasks[kind], completed=done, description=f"{kind} {name}")


def _fitting(names: Sequence[str], results: Sequence[PredictionResult], width: int) -> list[list[str]]:
    """Share columns out over as many tables as a narrow terminal needs, rather than cut numbers off."""
    rows = [result.name for result in results] if len(results) > 1 else [s.name for s in results[0].sequences]
    first = min(max(map(len, [*rows, "… over frames"])), 40) + 4
    parts: list[list[str]] = []
    room = 0
    for name in names:
        needed = max(len(_heading(name)), 7) + 3
        if needed > room:
            parts.append([])
            room = width - first
        parts[-1].append(name)
        room -= needed
    return parts


def _heading(name: str) -> str:
    return f"{name} ↓" if name in LOWER_IS_BETTER else name


def _one_table(title: str, names: Sequence[str], result: PredictionResult) -> Table:
    """Return a table with a row for each sequence and the data set."""
    table = _table(title, "sequence", names)
    for sequence in result.sequences:
        values = sequence.results()
        table.add_row(_plain_cells(sequence.name) or "(only one)", *(number_text(values[name]) for name in names))
    table.add_section()
    dataset = result.dataset.results
    table.add_row("data set", *(number_text(dataset[name]) for name in names), style="bold")
    if any(f"{name}_frames" in dataset for name in names):
        pooled = (number_text(dataset[f"{name}_frames"]) if f"{name}_frames" in dataset else "" for name in names)
        table.add_row("… over frames", *pooled)
    return table


def _many(title: str, names: Sequence[str], results: Sequence[PredictionResult]) -> Table:
    """Return a table with a row for each set of predictions, the best numbers bold."""
    table = _table(title, "predictions", names)
    best = {name: _best(name, [result.dataset.results[name] for result in results]) for name in names}
    for result in results:
        values = result.dataset.results
        cells = (
            f"[bold]{number_text(values[name])}[/bold]" if values[name] == best[name] else number_text(values[name])
            for name in names
        )
        table.add_row(_plain_cells(result.name), *cells)
    return table


def _predictions_side_by_side(results: Sequence[PredictionResult]) -> Table:
    """Return the sequences' main number, a column for each set of predictions."""
    tables = [{sequence.name: sequence.results() for sequence in result.sequences} for result in results]
    reported = results[0].dataset.results
    main: str | None = next(
        (name for name in ("O", "J_mean", "F_mean", "Fmax", "S", "MAE", "CC") if name in reported), None
    )
    shown = main or next(iter(reported))
    table = _table(f"{shown} by sequence", "sequence", [_plain_cells(result.name) for result in results])
    for name in dict.fromkeys(name for entries in tables for name in entries):
        numbers = (number_text(entries.get(name, {}).get(shown, math.nan)) for entries in tables)
        table.add_row(_plain_cells(name) or "(only one)", *numbers)
    return table


def _spread_table(results: Sequence[PredictionResult], spread: Spread) -> Table:
    """Each number with its interval, and its difference to the first set of predictions with p."""
    table = Table(title="95 % intervals over sequences; difference to the first, p", title_justify="left")
    table.add_column("number")
    for result in results:
        table.add_column(_plain_cells(result.name), justify="right")
    for name in results[0].dataset.results:
        cells = []
        for result, (found, differences) in zip(results, spread, strict=True):
            value = number_text(result.dataset.results[name])
            cell = f"{value} [{number_text(found[name].low)}, {number_text(found[name].high)}]"
            if name in differences:
                cell += f"\n{differences[name].mean:+.4f}, p {differences[name].p:.3g}"
            cells.append(_plain_cells(cell))
        table.add_row(name, *cells)
    return table


def _table(title: str, first: str, names: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column(first, overflow="fold")
    for name in names:
        table.add_column(_heading(name), justify="right", no_wrap=True)
    return table


def _best(name: str, values: Sequence[float]) -> float | None:
    defined = [value for value in values if math.isfinite(value)]
    if not defined:
        return None
    return min(defined) if name in LOWER_IS_BETTER else max(defined)


def _plain_cells(text: str) -> str:
    """Keep Rich from reading brackets in names as markup."""
    return text.replace("[", r"\[")


def _plural(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
