"""Tables for papers: the data set's numbers as Markdown or LaTeX, a row for each set of predictions."""

import math
from collections.abc import Mapping, Sequence

from vsalient.evaluation.dataset import Evaluation
from vsalient.evaluation.output import number_text
from vsalient.metrics.catalogue import BLOCKS, LOWER_IS_BETTER

_SPECIAL = {"~": r"\textasciitilde{}", "\\": r"\textbackslash{}"}
_LATEX = str.maketrans({letter: "\\" + letter for letter in "&%$#_{}"} | _SPECIAL)
_DOWN, _UP = r"$\downarrow$", r"$\uparrow$"


def as_markdown(evaluation: Evaluation, columns: Mapping[str, Sequence[str]]) -> str:
    """A Markdown table; the best number of each column bold where there are several rows.

    Args:
        evaluation: whose numbers.
        columns: further columns, a value for each set of predictions.
    """
    names, rows, best = _cells(evaluation, columns)
    heads = ["", *(f"{name} {_arrow(name, '↓', '↑', columns)}".strip() for name in names)]
    lines = [_text_row(heads), _text_row(["---", *("---:" for _ in names)])]
    for label, cells in rows:
        bold = [f"**{cell}**" if (label, name) in best else cell for name, cell in zip(names, cells, strict=True)]
        lines.append(_text_row([label.replace("|", r"\|"), *bold]))
    return "\n".join(lines) + "\n"


def as_latex(evaluation: Evaluation, columns: Mapping[str, Sequence[str]]) -> str:
    """A LaTeX `tabular` in the style of booktabs, as `as_markdown`."""
    names, rows, best = _cells(evaluation, columns)
    heads = [f"{_tex(name)} {_arrow(name, _DOWN, _UP, columns)}".strip() for name in names]
    lines = [rf"\begin{{tabular}}{{l{'r' * len(names)}}}", r"\toprule", f" & {' & '.join(heads)} \\\\", r"\midrule"]
    for label, cells in rows:
        bold = [rf"\textbf{{{_tex(c)}}}" if (label, n) in best else _tex(c) for n, c in zip(names, cells, strict=True)]
        lines.append(f"{_tex(label)} & {' & '.join(bold)} \\\\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def _cells(
    evaluation: Evaluation, columns: Mapping[str, Sequence[str]]
) -> tuple[list[str], list[tuple[str, list[str]]], set[tuple[str, str]]]:
    results = evaluation.predictions
    reported = results[0].dataset.results
    numbers = [name for _, names in BLOCKS for name in names if name in reported]
    rows = []
    best: set[tuple[str, str]] = set()
    for index, result in enumerate(results):
        cells = [number_text(result.dataset.results[name]) for name in numbers]
        rows.append((result.name, cells + [values[index] for values in columns.values()]))
    for name in numbers if len(results) > 1 else ():
        values = [result.dataset.results[name] for result in results]
        known = [value for value in values if math.isfinite(value)]
        top = (min if name in LOWER_IS_BETTER else max)(known) if known else None
        best |= {(r.name, name) for r, value in zip(results, values, strict=True) if value == top}
    return [*numbers, *columns], rows, best


def _arrow(name: str, down: str, up: str, columns: Mapping[str, Sequence[str]]) -> str:
    return "" if name in columns else down if name in LOWER_IS_BETTER else up


def _text_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _tex(text: str) -> str:
    return text.replace("–", "--").translate(_LATEX)
