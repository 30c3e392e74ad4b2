"""Results as JSON, CSV and remarks."""

import csv
import io
import math
from typing import Any

import numpy as np

from vsalient.evaluation.compare import Difference, Interval, Spread
from vsalient.evaluation.dataset import Evaluation, PredictionResult
from vsalient.metrics import SequenceScores
from vsalient.version import __version__


def as_json(evaluation: Evaluation, spread: Spread | None = None) -> dict[str, Any]:
    """Return everything as plain data, undefined numbers as None.

    `predictions[i].dataset` and `.sequences[j].results` hold the numbers by name, `.curves` the 256 values over the
    thresholds 0..255, `.sequences[j].per_frame` the numbers of each frame. With a spread, `.intervals` are 95 %
    bootstrap intervals over sequences and `.against_first` the paired tests against the first set of predictions.
    """
    truth, options = evaluation.truth, evaluation.options
    return {
        "vsalient": __version__,
        "dataset": truth.preset.name,
        "protocol": truth.protocol,
        "ground_truth": str(truth.root),
        "metrics": list(options.metrics),
        "missing": options.missing,
        "size_mismatch": options.size_mismatch,
        "predictions": [
            _prediction(result) | (_spread(spread[at]) if spread else {})
            for at, result in enumerate(evaluation.predictions)
        ],
    }


def as_csv(evaluation: Evaluation) -> str:
    """Return a table with a row for each data set and sequence; undefined numbers are empty."""
    names = list(evaluation.predictions[0].dataset.results)
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["prediction", "level", "sequence", "frames", *names])
    for result in evaluation.predictions:
        numbers = [_csv_number(result.dataset.results[name]) for name in names]
        writer.writerow([result.name, "dataset", "", result.dataset.frames, *numbers])
        for sequence in result.sequences:
            results = sequence.results()
            numbers = [_csv_number(results.get(name, math.nan)) for name in names]
            writer.writerow([result.name, "sequence", sequence.name, len(sequence.frames), *numbers])
    return stream.getvalue()


def notes_of(result: PredictionResult, evaluation: Evaluation) -> list[str]:
    """Return what a reader of the numbers has to know: undefined, missing, extra and resized frames."""
    frames = result.dataset.frames
    notes = []
    if result.absent:
        what = "counted as empty maps" if evaluation.options.missing == "zero" else "left out"
        notes.append(f"{_frames(result.absent)} without a prediction {what}")
    planned = len(evaluation.truth.tree)
    if len(result.sequences) < planned:
        notes.append(f"{planned - len(result.sequences)} of {planned} sequences left out, without any prediction")
    if result.extra:
        notes.append(f"{_frames(result.extra)} predicted without ground truth passed over")
    if result.extra_sequences:
        plural = "s" if result.extra_sequences != 1 else ""
        notes.append(f"{result.extra_sequences} sequence{plural} predicted without ground truth passed over")
    if result.resized:
        notes.append(f"{_frames(result.resized)} resized to the ground truth")
    for name, number in result.dataset.undefined.items():
        notes.append(f"{name} undefined in {number} of {frames} frames, left out of its mean")
    for name, number in result.dataset.flagged.items():
        notes.append(f"{name} in {number} of {frames} frames, settled by weight 0")
    return notes


def number_text(value: float) -> str:
    """Return a number for people, a dash where undefined."""
    return f"{value:.4f}" if math.isfinite(value) else "–"


def _prediction(result: PredictionResult) -> dict[str, Any]:
    return {
        "name": result.name,
        "path": str(result.path),
        "frames": result.dataset.frames,
        "absent_frames": result.absent,
        "extra_frames": result.extra,
        "extra_sequences": result.extra_sequences,
        "resized_frames": result.resized,
        "undefined_frames": result.dataset.undefined,
        "flagged_frames": result.dataset.flagged,
        "dataset": {name: _number(value) for name, value in result.dataset.results.items()},
        "curves": {name: _json_numbers(curve) for name, curve in result.dataset.curves.items()},
        "sequences": [_sequence(sequence) for sequence in result.sequences],
    }


def _spread(spread: tuple[dict[str, Interval], dict[str, Difference]]) -> dict[str, Any]:
    found, differences = spread
    return {
        "intervals": {name: [_number(x.low), _number(x.high)] for name, x in found.items()},
        "against_first": {
            name: {"difference": _number(x.mean), "p": _number(x.p), "sequences": x.sequences}
            for name, x in differences.items()
        },
    }


def _sequence(sequence: SequenceScores) -> dict[str, Any]:
    return {
        "name": sequence.name,
        "frames": list(sequence.frames),
        "results": {name: _number(value) for name, value in sequence.results().items()},
        "undefined_frames": sequence.undefined,
        "flagged_frames": sequence.flagged,
        "curves": {name: _json_numbers(curve) for name, curve in sequence.curves.items()},
        "per_frame": {name: _json_numbers(values) for name, values in sequence.values.items()},
    }


def _frames(number: int) -> str:
    return f"{number} frame{'s' if number != 1 else ''}"


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _json_numbers(values: np.ndarray[Any, Any]) -> list[float | None]:
    return [_number(value) for value in values]


def _csv_number(value: float) -> str:
    return repr(float(value)) if math.isfinite(value) else ""
