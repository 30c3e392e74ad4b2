"""What a run writes down as it goes: log.csv, metrics.jsonl, and for TensorBoard where it is installed."""

import csv
import importlib.util
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vsalient.files import write_whole
from vsalient.training.validation import Scores

COLUMNS = ("step", "loss", "rate", "frames_per_second", "J", "MAE", "per_sequence")


@dataclass(frozen=True)
class Progress:
    """What a step left: for progress bars and logs.

    Attributes:
        step, steps: optimiser steps done, and of the whole run.
        loss: running mean of the loss.
        frames_per_second: training frames, all processes together.
        rate: learning rate of what is not the encoder.
        scores: of a validation that this step brought, else None.
    """

    step: int
    steps: int
    loss: float
    frames_per_second: float
    rate: float = 0.0
    scores: Scores | None = None


class RunLog:
    """The log of a run's folder; rows behind `step`, which a broken run did and will do again, are taken out.

    Args:
        folder: of the run; it exists.
        step: where the run goes on.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self.table, self.lines = folder / "log.csv", folder / "metrics.jsonl"
        if self.lines.is_file():
            old = self.lines.read_text("utf-8").splitlines(keepends=True)
            kept_lines = [line for line in old if _step(line) <= step]
            if len(kept_lines) < len(old):
                write_whole(self.lines, "".join(kept_lines))
        if self.table.is_file():
            with self.table.open(newline="", encoding="utf-8") as handle:
                rows = list(csv.reader(handle))
            kept = [row for row in rows if row and not (row[0].isdecimal() and int(row[0]) > step)]
            if len(kept) < len(rows):
                text = io.StringIO()
                csv.writer(text).writerows(kept)
                write_whole(self.table, text.getvalue())
        self._board: Any = None
        if importlib.util.find_spec("tensorboard") is not None:
            from torch.utils.tensorboard.writer import SummaryWriter

            # Steps behind `purge_step` are those that the broken run did.
            self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def close(self) -> None:
        """Write out what TensorBoard's writer holds back."""
        if self._board is not None:
            self._board.close()

    def write(self, progress: Progress) -> None:
        """Add a row."""
        new = not self.table.exists()
        scores = progress.scores
        with self.table.open("a", newline="", encoding="utf-8") as handle:
            writer = csv.writer(handle)
            if new:
                writer.writerow(COLUMNS)
            each = " ".join(f"{k}={v:.3f}" for k, v in scores.per_sequence.items()) if scores else ""
            numbers = [f"{scores.jaccard:.4f}", f"{scores.mae:.4f}"] if scores else ["", ""]
            speed = f"{progress.frames_per_second:.1f}"
            writer.writerow([progress.step, f"{progress.loss:.5f}", f"{progress.rate:.3g}", speed, *numbers, each])
        numbers_now = {"loss": progress.loss, "rate": progress.rate, "frames_per_second": progress.frames_per_second}
        if scores:
            numbers_now |= {"J": scores.jaccard, "MAE": scores.mae}
        line = {"step": progress.step, **numbers_now} | ({"per_sequence": scores.per_sequence} if scores else {})
        with self.lines.open("a", encoding="utf-8") as handle:
            handle.write(json.dumps(line) + "\n")
        if self._board is not None:
            for name, number in numbers_now.items():
                self._board.add_scalar(name, number, progress.step)


def _step(line: str) -> int:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, TypeError, KeyError):
        return 1 << 62  # the half line of a run that was killed
