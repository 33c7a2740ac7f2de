"""The plots of the page as inline SVG: dots with whiskers, differences, a matrix, curves.

>>> "<svg" in whiskers("Accuracy", [("base", 0.5, 0.4, 0.6)])
True

Drawn here rather than by a plotting library because the page's style sheet colours them (light, dark, print), text
stays text that a reader can select, and the same inputs give the same bytes. Labels are escaped by markupsafe.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from markupsafe import Markup

from bench.inert import one_line

WIDTH, LEFT, RIGHT, ROW = 720, 190, 90, 26
Dot = tuple[str, float, float | None, float | None]
"""(label, value, low, high); without an interval the ends are None."""


def whiskers(
    title: str, rows: Sequence[Dot], *, zero: bool = False, scale: float = 100, digits: int = 1,
    domain: tuple[float, float] | None = None,
) -> Markup:
    """Dots with whiskers, a row each. `zero` draws bars from a zero line (differences) instead of dots.

    The axis spans the data, and at least `domain` (in drawn units) where that is given.
    """
    ends = [scale * x for _, *values in rows for x in values if x is not None]
    low, high = (min(ends), max(ends)) if ends else (0.0, 1.0)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    if domain is not None:
        low, high = min(low, domain[0]), max(high, domain[1])
    low, high, step = _nice(low, high)
    span = WIDTH - LEFT - RIGHT

    def x(value: float) -> float:
        return round(LEFT + span * (value - low) / (high - low), 1)

    bottom = 8 + ROW * len(rows)
    parts = []
    for tick in _ticks(low, high, step):
        parts.append(Markup('<line class="grid" x1="{0}" x2="{0}" y1="4" y2="{1}"/>'
                            '<text class="tick" x="{0}" y="{2}">{3}</text>').format(x(tick), bottom, bottom + 16,
                                                                                   f"{tick:g}"))
    for number, (label, value, lower, upper) in enumerate(rows):
        y = 8 + ROW * number + ROW // 2
        parts.append(Markup('<text class="label" x="{}" y="{}">{}</text>').format(
            LEFT - 10, y + 4, one_line(label, 26)))
        centre = x(scale * value)
        if zero:
            start = min(x(0.0), centre)
            parts.append(Markup('<rect class="{}" x="{}" y="{}" width="{}" height="10"/>').format(
                "up" if value >= 0 else "down", start, y - 5, round(abs(centre - x(0.0)), 1)))
        if lower is not None and upper is not None:
            a, b = x(scale * lower), x(scale * upper)
            parts.append(Markup('<path class="whisker" d="M{0} {2}V{3}M{0} {4}H{1}M{1} {2}V{3}"/>').format(
                a, b, y - 5, y + 5, y))
        if not zero:
            parts.append(Markup('<circle class="dot" cx="{}" cy="{}" r="4.5"/>').format(centre, y))
        text = f"{scale * value:+.{digits}f}" if zero else f"{scale * value:.{digits}f}"
        parts.append(Markup('<text class="value" x="{}" y="{}">{}</text>').format(WIDTH - RIGHT + 12, y + 4, text))
    if zero:
        parts.append(Markup('<line class="zero" x1="{0}" x2="{0}" y1="4" y2="{1}"/>').format(x(0.0), bottom))
    return _svg(title, bottom + 24, parts)


def matrix(title: str, labels: Sequence[str], values: Mapping[tuple[str, str], float]) -> Markup:
    """A symmetric matrix of correlations in [-1, 1]; an empty cell where there is none."""
    cell = 64
    left = 170
    parts = []
    for i, row in enumerate(labels):
        parts.append(Markup('<text class="label" x="{}" y="{}">{}</text>').format(
            left - 10, 40 + cell * i, one_line(row, 24)))
        parts.append(Markup('<text class="tick" x="{}" y="{}">{}</text>').format(
            left + cell * i + cell // 2, 22 + cell * len(labels), one_line(row, 9)))
        for j, column in enumerate(labels):
            value = 1.0 if i == j else values.get((row, column), values.get((column, row)))
            if value is None:
                continue
            shade = round(max(0.0, value), 2)
            parts.append(Markup('<rect class="cell" x="{}" y="{}" width="{}" height="{}" fill-opacity="{}"/>').format(
                left + cell * j, 6 + cell * i, cell - 2, cell - 2, shade))
            parts.append(Markup('<text class="{}" x="{}" y="{}">{}</text>').format(
                "on" if shade > 0.55 else "off", left + cell * j + cell // 2, 40 + cell * i, f"{value:.2f}"))
    return _svg(title, 30 + cell * len(labels), parts)


def curves(title: str, series: Mapping[str, Sequence[tuple[float, float]]]) -> Markup:
    """Lines over steps; a legend below. Points that are no finite numbers are left out."""
    finite = {n: [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)] for n, points in series.items()}
    clean = {name: points for name, points in finite.items() if points}
    xs = [x for points in clean.values() for x, _ in points] or [0.0, 1.0]
    ys = [y for points in clean.values() for _, y in points] or [0.0, 1.0]
    low, high, step = _nice(min(ys), max(ys))
    start, end = min(xs), max(*xs, min(xs) + 1e-9)
    left, right, top, bottom = 60, WIDTH - 20, 10, 240
    parts = []
    for tick in _ticks(low, high, step):
        y = round(bottom - (bottom - top) * (tick - low) / (high - low), 1)
        parts.append(Markup('<line class="grid" x1="{}" x2="{}" y1="{}" y2="{}"/>'
                            '<text class="label" x="{}" y="{}">{}</text>').format(left, right, y, y, left - 8, y + 4,
                                                                                 f"{tick:g}"))
    for number, (name, points) in enumerate(clean.items()):
        path = " ".join(
            f"{round(left + (right - left) * (x - start) / (end - start), 1)},"
            f"{round(bottom - (bottom - top) * (y - low) / (high - low), 1)}" for x, y in points)
        kind = f"line line{number % 6}"
        parts.append(Markup('<polyline class="{}" points="{}"/>').format(kind, path))
        parts.append(Markup('<line class="{0}" x1="{1}" x2="{2}" y1="{3}" y2="{3}"/>'
                            '<text class="legend" x="{4}" y="{5}">{6}</text>').format(
            kind, left, left + 24, bottom + 26 + 20 * number, left + 32, bottom + 30 + 20 * number, one_line(name, 50)))
    return _svg(title, bottom + 30 + 20 * len(clean), parts)


def _svg(title: str, height: float, parts: Sequence[Markup]) -> Markup:
    return Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        WIDTH, height, one_line(title, 120), Markup("").join(parts))


def _nice(low: float, high: float) -> tuple[float, float, float]:
    """Ends and tick distance in round numbers around `low` and `high`."""
    span = max(high - low, 1e-9 + abs(high) * 1e-6)
    power = 10.0 ** math.floor(math.log10(span / 4))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= span / 5)
    return math.floor(low / step) * step, max(math.ceil(high / step), math.floor(low / step) + 1) * step, step


def _ticks(low: float, high: float, step: float) -> list[float]:
    return [round(low + i * step, 10) for i in range(round((high - low) / step) + 1)]
