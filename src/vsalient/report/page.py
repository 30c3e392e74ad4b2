"""One self-contained HTML page: scores, curves, bars, J over time, best and worst frames."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np

from vsalient.datasets.layout import Tree
from vsalient.evaluation.dataset import Evaluation, PredictionResult
from vsalient.evaluation.output import notes_of, number_text
from vsalient.files import write_whole
from vsalient.metrics.catalogue import BLOCKS, LOWER_IS_BETTER
from vsalient.report.charts import SERIES, Line, bar_chart, legend, line_chart, spark
from vsalient.report.gallery import Exhibit, exhibits, ranking_metric
from vsalient.report.style import SCRIPT, style_sheet
from vsalient.version import __version__

_BARS_FIRST = ("O", "J_mean", "F_mean", "Fmax", "S", "maxE", "wF", "MAE", "CC", "AUC", "NSS")
_LONGEST_SPARK = 400


def write_report(evaluation: Evaluation, path: Path, *, frames: Tree | None = None) -> None:
    """Write the report.

    Args:
        evaluation: what to show.
        path: the HTML file; it appears only when it is whole.
        frames: the video frames, to lay overlays on.

    Raises:
        OutputError: the file cannot be written.
    """
    write_whole(path, render(evaluation, frames=frames))


def render(evaluation: Evaluation, *, frames: Tree | None = None) -> str:
    """Return the page's HTML."""
    results = evaluation.predictions
    labels = [result.name for result in results]
    body = [
        _header(evaluation),
        _summary(evaluation),
        _curves(results, labels),
        _bars(results, labels),
        _over_time(results, labels),
        *(_gallery(evaluation, result, frames, several=len(results) > 1) for result in results),
    ]
    title = f"vsalient evaluate: {evaluation.truth.preset.title}"
    return (
        "<!doctype html>\n"
        f'<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{style_sheet(SERIES)}</style></head><body>{''.join(body)}"
        f'<div id="tip"></div><script>{SCRIPT}</script></body></html>\n'
    )


def _header(evaluation: Evaluation) -> str:
    truth = evaluation.truth
    frames = sum(len(names) for names in truth.frames.values())
    dropped = " (first and last frame of each sequence left out)" if truth.protocol == "davis16" else ""
    return (
        f"<h1>{escape(', '.join(result.name for result in evaluation.predictions))}</h1>"
        f'<p class="sub">{escape(truth.preset.title)} data set at {escape(str(truth.root))} · {len(truth.tree)} '
        f"sequences, {frames} frames · protocol {truth.protocol}{dropped} · vsalient {__version__}</p>"
    )


def _summary(evaluation: Evaluation) -> str:
    results = evaluation.predictions
    reported = results[0].dataset.results
    heads = "".join(f"<th>{escape(result.name)}</th>" for result in results)
    notes = "".join(
        f'<p class="note">{escape(f"{result.name}: " if len(results) > 1 else "")}{escape("; ".join(lines))}</p>'
        for result in results
        if (lines := notes_of(result, evaluation))
    )
    tables = "".join(
        f'<div class="card"><h3>{escape(title)}</h3><table><tr><th></th>{heads}</tr>'
        f"{''.join(_table_row(name, results) for name in present)}</table></div>"
        for title, names in BLOCKS
        if (present := [f"{name}{end}" for name in names for end in ("", "_frames") if f"{name}{end}" in reported])
    )
    return f'<h2>Data set</h2><div class="row scroll">{tables}</div>{notes}'


def _table_row(name: str, results: Sequence[PredictionResult]) -> str:
    values = [result.dataset.results[name] for result in results]
    best = _best_of(name, values) if len(values) > 1 else None
    cells = "".join(f"<td{' class=best' if value == best else ''}>{number_text(value)}</td>" for value in values)
    return f"<tr><td>{escape(name)} {'↓' if name in LOWER_IS_BETTER else '↑'}</td>{cells}</tr>"


def _curves(results: Sequence[PredictionResult], labels: Sequence[str]) -> str:
    thresholds = range(256)
    cards = []
    if "precision" in results[0].dataset.curves:
        lines = [
            Line(
                result.name,
                [(float(r), float(p)) for p, r in zip(*_precision_recall(result), strict=True)],
                [
                    f"t = {t}  recall {r:.3f}  precision"
                    for t, r in zip(thresholds, _precision_recall(result)[1], strict=True)
                ],
                number,
            )
            for number, result in enumerate(results)
        ]
        cards.append(
            ("Precision and recall", line_chart(lines, title="Precision over recall", x="recall", y="precision"))
        )
    if "tpr" in results[0].dataset.curves:
        lines = [
            Line(
                result.name,
                [
                    (float(x), float(y))
                    for x, y in zip(result.dataset.curves["fpr"], result.dataset.curves["tpr"], strict=True)
                ],
                [f"t = {t}" for t in thresholds],
                number,
            )
            for number, result in enumerate(results)
        ]
        chart = line_chart(lines, title="ROC", x="false positive rate", y="true positive rate")
        cards.append(("ROC", chart))
    for curve, title, y in (
        ("f", "F (papers' averaging) over thresholds", "F, beta² = 0.3"),
        ("sod_f", "F (PySODMetrics) over thresholds", "F, min-max normalised"),
        ("e", "E-measure over thresholds", "E, min-max normalised"),
    ):
        if curve in results[0].dataset.curves:
            lines = [
                Line(
                    result.name,
                    [(float(t), float(v)) for t, v in zip(thresholds, result.dataset.curves[curve], strict=True)],
                    [f"t = {t}" for t in thresholds],
                    number,
                )
                for number, result in enumerate(results)
            ]
            chart = line_chart(lines, title=title, x="threshold", y=y, x_range=(0.0, 255.0), x_step=51.0)
            cards.append((title, chart))
    if not cards:
        return ""
    body = "".join(f'<div class="card"><h3>{escape(title)}</h3>{chart}</div>' for title, chart in cards)
    return f'<h2>Curves</h2>{legend(labels)}<div class="fill charts">{body}</div>'


def _precision_recall(result: PredictionResult) -> tuple[list[float], list[float]]:
    curves = result.dataset.curves
    return list(curves["precision"]), list(curves["recall"])


def _bars(results: Sequence[PredictionResult], labels: Sequence[str]) -> str:
    names = list(dict.fromkeys(sequence.name for result in results for sequence in result.sequences))
    tables = [{sequence.name: sequence.results() for sequence in result.sequences} for result in results]
    metrics = list(next(iter(tables[0].values())))
    metrics.sort(key=lambda name: _BARS_FIRST.index(name) if name in _BARS_FIRST else len(_BARS_FIRST))
    charts = []
    for metric in metrics:
        values = {name: [table.get(name, {}).get(metric, float("nan")) for table in tables] for name in names}
        # The hardest sequences last, so that they can be read off together.
        order = sorted(names, key=lambda name: _sort_value(values[name], metric))
        chart = bar_chart(
            [name or "sequence" for name in order], [values[name] for name in order], labels, title=metric
        )
        charts.append(f'<div class="bars" data-name="{escape(metric)}">{chart}</div>')
    options = "".join(f"<option>{escape(metric)}</option>" for metric in metrics)
    return (
        f'<h2>Sequences</h2><div class="card"><select data-switch="bars" aria-label="metric">{options}</select>'
        f"{legend(labels)}{''.join(charts)}</div>"
    )


def _over_time(results: Sequence[PredictionResult], labels: Sequence[str]) -> str:
    if "J" not in results[0].sequences[0].metrics:
        return ""
    names = list(dict.fromkeys(sequence.name for result in results for sequence in result.sequences))
    cards = []
    for name in names:
        lines, length, mean = [], 1, []
        for number, result in enumerate(results):
            sequence = next((s for s in result.sequences if s.name == name), None)
            if sequence is None:
                continue
            scores = sequence.values["J"]
            length = max(length, len(scores))
            mean.append(f"{float(np.mean(scores)):.3f}")
            # A point a pixel is enough, and keeps long videos from swelling the page.
            step = max(1, -(-len(scores) // _LONGEST_SPARK))
            kept = range(0, len(scores), step)
            points = [(float(at), float(scores[at])) for at in kept]
            lines.append(Line(result.name, points, [f"frame {sequence.frames[at]}  J" for at in kept], number))
        chart = spark(lines, title=f"J over the frames of {name}", length=length)
        heading = f'{escape(name or "sequence")} <span class="sub">{" · ".join(mean)}</span>'
        cards.append(f'<div class="card spark"><h3>{heading}</h3>{chart}</div>')
    return f'<h2>J over time</h2>{legend(labels)}<div class="fill">{"".join(cards)}</div>'


def _gallery(evaluation: Evaluation, result: PredictionResult, frames: Tree | None, *, several: bool) -> str:
    best, worst = exhibits(evaluation, result, frames)
    if not best:
        return ""
    title = f"Best and worst frames{f' of {escape(result.name)}' if several else ''} by {ranking_metric(result)}"
    key = (
        '<p class="legend"><span class="key"><i style="background:rgb(46,160,90)"></i>hit</span>'
        '<span class="key"><i style="background:rgb(214,64,52)"></i>false</span>'
        '<span class="key"><i style="background:rgb(48,110,220)"></i>missed</span></p>'
    )
    return (
        f'<h2>{title}</h2>{key}<div class="row"><div class="card half"><h3>Best</h3>{_figures(best)}</div>'
        f'<div class="card half"><h3>Worst</h3>{_figures(worst)}</div></div>'
    )


def _figures(shown: Sequence[Exhibit]) -> str:
    return "".join(
        f'<figure><figcaption>{escape(exhibit.caption)}</figcaption><div class="pictures">'
        + "".join(
            f'<div><img src="{uri}" alt="{escape(label)}">{escape(label)}</div>' for label, uri in exhibit.pictures
        )
        + "</div></figure>"
        for exhibit in shown
    )


def _best_of(name: str, values: Sequence[float]) -> float | None:
    defined = [value for value in values if np.isfinite(value)]
    if not defined:
        return None
    return min(defined) if name in LOWER_IS_BETTER else max(defined)


def _sort_value(values: Sequence[float], metric: str) -> float:
    first = next((value for value in values if np.isfinite(value)), float("-inf"))
    return first if metric in LOWER_IS_BETTER else -first
