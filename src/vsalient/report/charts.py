"""Charts as inline SVG: lines, small lines, bars. Colours come from the page's style sheet by class."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

SERIES = 8
"""The style sheet has this many series colours; more predictions begin again."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chart.

    Attributes:
        label: for legend and tooltip.
        points: (x, y); a NaN leaves a gap.
        notes: what the tooltip adds at each point ("t = 128").
        colour: number of the series.
    """

    label: str
    points: Sequence[tuple[float, float]]
    notes: Sequence[str]
    colour: int


def line_chart(
    lines: Sequence[Line],
    *,
    title: str,
    x: str,
    y: str,
    x_range: tuple[float, float] = (0.0, 1.0),
    y_range: tuple[float, float] = (0.0, 1.0),
    x_step: float = 0.2,
) -> str:
    """Return an SVG of lines with axes; the page's script gives it a tooltip."""
    width, height = 420, 300
    left, right, top, bottom = 46, 12, 10, 40
    frame = _Frame(left, top, width - right, height - bottom, x_range, y_range)
    parts = [_grid(frame, x_step, 0.2)]
    parts += [_path(line, frame) for line in lines]
    parts.append(
        f'<text class="axis" x="{(left + width - right) / 2:.1f}" y="{height - 6}" text-anchor="middle">'
        f"{escape(x)}</text>"
        f'<text class="axis" transform="rotate(-90 12 {(top + height - bottom) / 2:.1f})" x="12" '
        f'y="{(top + height - bottom) / 2:.1f}" text-anchor="middle">{escape(y)}</text>'
    )
    return _svg(width, height, title, "".join(parts), _hover(lines, frame))


def spark(lines: Sequence[Line], *, title: str, length: int) -> str:
    """Return a small SVG of lines over frames 0..length-1, values in [0, 1]."""
    width, height = 260, 84
    frame = _Frame(22, 6, width - 4, height - 14, (0.0, float(max(length - 1, 1))), (0.0, 1.0))
    grid = "".join(
        f'<line class="grid" x1="{frame.left}" x2="{frame.right}" y1="{frame.y(v):.1f}" y2="{frame.y(v):.1f}"/>'
        f'<text class="tick" x="{frame.left - 4}" y="{frame.y(v) + 3:.1f}" text-anchor="end">{v:g}</text>'
        for v in (0.0, 0.5, 1.0)
    )
    ends = (
        f'<text class="tick" x="{frame.left}" y="{height - 2}">1</text>'
        f'<text class="tick" x="{frame.right}" y="{height - 2}" text-anchor="end">{length}</text>'
    )
    return _svg(width, height, title, grid + ends + "".join(_path(line, frame) for line in lines), _hover(lines, frame))


def bar_chart(names: Sequence[str], values: Sequence[Sequence[float]], labels: Sequence[str], *, title: str) -> str:
    """Return an SVG of horizontal bars.

    Args:
        names: of the rows.
        values: for each row, one number a series; NaN draws nothing.
        labels: of the series.
        title: for screen readers.
    """
    bar, gap, digits = (16, 6, 10.5) if len(labels) == 1 else (11, 9, 9.5)
    left, width = 8 + round(6.6 * max((len(name) for name in names), default=4)), 880
    row = len(labels) * bar + gap
    height = len(names) * row + 24
    finite = [value for numbers in values for value in numbers if math.isfinite(value)]
    low, high = min([0.0, *finite]), max([0.0, *finite])
    high = 1.0 if low >= 0.0 and 0.25 < high <= 1.0 else (high or 1.0)
    frame = _Frame(left, 4, width - 48, height - 20, (low, high), (0.0, 1.0))
    parts = [
        f'<line class="grid" x1="{frame.x(v):.1f}" x2="{frame.x(v):.1f}" y1="4" y2="{height - 20}"/>'
        f'<text class="tick" x="{frame.x(v):.1f}" y="{height - 6}" text-anchor="middle">{v:.3g}</text>'
        for v in _ticks(low, high)
    ]
    for at, (name, numbers) in enumerate(zip(names, values, strict=True)):
        y = 6 + at * row
        middle = y + len(labels) * bar / 2 + 4
        parts.append(f'<text class="name" x="{left - 6}" y="{middle:.1f}" text-anchor="end">{escape(name)}</text>')
        for series, value in enumerate(numbers):
            if not math.isfinite(value):
                continue
            start, end = sorted((frame.x(0.0), frame.x(value)))
            parts.append(
                f'<rect class="b s{series % SERIES}" x="{start:.1f}" y="{y + series * bar}" width="{end - start:.1f}" '
                f'height="{bar - 2}" rx="2"><title>{escape(name)} · {escape(labels[series])}: {value:.4f}</title>'
                f"</rect>"
                f'<text class="value" style="font-size:{digits}px" x="{end + 4:.1f}" '
                f'y="{y + series * bar + bar / 2 + 2.6:.1f}">{value:.3f}</text>'
            )
    return _svg(width, height, title, "".join(parts), None)


def legend(labels: Sequence[str]) -> str:
    """Return the names of the series with their colours; nothing for a single one."""
    if len(labels) < 2:
        return ""
    items = (
        f'<span class="key"><i class="s{number % SERIES}"></i>{escape(label)}</span>'
        for number, label in enumerate(labels)
    )
    return f'<p class="legend">{"".join(items)}</p>'


@dataclass(frozen=True, slots=True)
class _Frame:
    left: float
    top: float
    right: float
    bottom: float
    x_range: tuple[float, float]
    y_range: tuple[float, float]

    def x(self, value: float) -> float:
        low, high = self.x_range
        return self.left + (value - low) / (high - low) * (self.right - self.left)

    def y(self, value: float) -> float:
        low, high = self.y_range
        return self.bottom - (value - low) / (high - low) * (self.bottom - self.top)


def _svg(width: float, height: float, title: str, body: str, hover: str | None) -> str:
    data = f' data-hover="{escape(hover)}"' if hover else ""
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img"{data}>'
        f"<title>{escape(title)}</title>{body}</svg>"
    )


def _grid(frame: _Frame, x_step: float, y_step: float) -> str:
    parts = []
    for number in range(1 + round((frame.y_range[1] - frame.y_range[0]) / y_step)):
        value = frame.y_range[0] + number * y_step
        parts.append(
            f'<line class="grid" x1="{frame.left}" x2="{frame.right}" y1="{frame.y(value):.1f}" '
            f'y2="{frame.y(value):.1f}"/><text class="tick" x="{frame.left - 6}" y="{frame.y(value) + 3.5:.1f}" '
            f'text-anchor="end">{value:.1f}</text>'
        )
    for number in range(1 + int((frame.x_range[1] - frame.x_range[0]) / x_step + 1e-9)):
        value = frame.x_range[0] + number * x_step
        parts.append(
            f'<text class="tick" x="{frame.x(value):.1f}" y="{frame.bottom + 15}" text-anchor="middle">{value:g}</text>'
        )
    return "".join(parts)


def _path(line: Line, frame: _Frame) -> str:
    commands, pen = [], False
    for x, y in line.points:
        if math.isfinite(x) and math.isfinite(y):
            commands.append(f"{'L' if pen else 'M'}{frame.x(x):.1f} {frame.y(y):.1f}")
            pen = True
        else:
            pen = False
    return f'<path class="l s{line.colour % SERIES}" d="{"".join(commands)}"/>'


def _hover(lines: Sequence[Line], frame: _Frame) -> str:
    series = [
        {
            "label": line.label,
            "colour": line.colour % SERIES,
            "points": [
                [round(frame.x(x), 1), round(frame.y(y), 1), f"{note}{'  ' if note else ''}{y:.3f}"]
                for (x, y), note in zip(line.points, line.notes, strict=True)
                if math.isfinite(x) and math.isfinite(y)
            ],
        }
        for line in lines
    ]
    return json.dumps(series, ensure_ascii=False, separators=(",", ":"))


def _ticks(low: float, high: float) -> list[float]:
    span = high - low
    step = 10 ** math.floor(math.log10(span)) if span else 1.0
    step = next(step * factor for factor in (0.1, 0.2, 0.5, 1.0, 2.0) if span / (step * factor) <= 6)
    return [number * step for number in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]
