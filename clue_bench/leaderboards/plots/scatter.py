"""Scores as points: against pretraining tokens, and against speed.

Input: the points of a column. Output: charts. Upright bars are the binomial sampling error (1 sigma); the dashed level
is the best model without any pretraining, where one was run.
"""

import math
from collections.abc import Mapping, Sequence

from clue_bench.leaderboards.plots.points import ColumnPoints, ScoredPoint, pareto_front, staircase
from clue_bench.leaderboards.plots.svg import Axis, Chart, cut, log_ticks, short, ticks
from clue_bench.leaderboards.scores import parameters_text

DOT = 5.0  # units
SMALLEST_BUBBLE, LARGEST_BUBBLE = 4.0, 24.0  # units; between them the area is proportional to the parameters
WIDEST_LABEL = 240.0  # units
SCORE_AXIS = "dev 准确率 accuracy (%)"


def tokens_chart(name: str, column: ColumnPoints, *, linked: bool) -> Chart:
    """Return the chart of a column's scores over pretraining tokens; a model whose tokens are not known is left out."""
    points = [(float(point.tokens), point) for point in column.points if point.tokens is not None]
    x = _log_axis("预训练词元 pretraining tokens (log)", [tokens for tokens, _ in points])
    chart = _chart(name, column, x, points, what="pretraining tokens")
    for tokens, point in points:
        tip = f"{_tip(point)}, {tokens:,.0f} pretraining tokens"
        style = "one" if tokens else "one hollow"
        chart.bubble((tokens, point.percent), DOT, style, tip=tip, link=_link(point, linked), error=point.error)
    for tokens, point in points:
        chart.label((tokens, point.percent), cut(point.label, WIDEST_LABEL), distance=DOT)
    _name_floor(chart, column)
    return chart


def speed_chart(
    name: str, column: ColumnPoints, speeds: Mapping[str, float], *, unit: str, largest: int, linked: bool
) -> Chart:
    """Return the chart of a column's scores over speeds (sha256 of weights → value), with the Pareto front.

    The area of a bubble is proportional to the model's parameters, `largest` those of the largest bubble.
    """
    points = [(speeds[point.sha256], point) for point in column.points if point.sha256 in speeds]
    x = _log_axis(f"预测速度 speed ({unit}, log)", [speed for speed, _ in points])
    chart = _chart(name, column, x, points, what=f"speed in {unit}; the area of a bubble is its parameters")
    front = pareto_front(points, speed=lambda each: each[0], score=lambda each: each[1].percent)
    chart.line(staircase([(speed, point.percent) for speed, point in front]), "front")
    sizes = {point.label: bubble_radius(point.parameters, largest) for _, point in points}
    for speed, point in sorted(points, key=lambda each: (-each[1].parameters, each[1].label)):
        tip = f"{_tip(point)}, {short(speed)} {unit}, {parameters_text(point.parameters)} parameters"
        style = "one" if any(point is best for _, best in front) else "two"
        where = (speed, point.percent)
        chart.bubble(where, sizes[point.label], style, tip=tip, link=_link(point, linked), error=point.error)
    for speed, point in points:
        text = f"{point.label} ({parameters_text(point.parameters)})"
        chart.label((speed, point.percent), cut(text, WIDEST_LABEL), distance=sizes[point.label])
    _name_floor(chart, column)
    return chart


def bubble_radius(parameters: int, largest: int) -> float:
    """Return the radius in units; a model too small to be seen gets the smallest."""
    return max(SMALLEST_BUBBLE, LARGEST_BUBBLE * math.sqrt(parameters / largest)) if largest else SMALLEST_BUBBLE


def _chart(
    name: str, column: ColumnPoints, x: Axis, points: Sequence[tuple[float, ScoredPoint]], *, what: str
) -> Chart:
    heights = [point.percent + sign * point.error for _, point in points for sign in (-1, 1)]
    heights += [column.floor[1]] if column.floor else []
    y = _linear_axis(SCORE_AXIS, heights)
    said = "; ".join(f"{point.label} {point.percent:.2f}% at {short(value)}" for value, point in points)
    floor = f" Best floor: {column.floor[0]} {column.floor[1]:.2f}%." if column.floor else ""
    description = f"Accuracy on dev ({column.condition}) over {what}: {said}.{floor}"
    chart = Chart(name, title=f"{column.column} · {column.condition}", description=description, x=x, y=y)
    if column.floor:
        chart.level(column.floor[1], "faint")
    return chart


def _name_floor(chart: Chart, column: ColumnPoints) -> None:
    """Name the level of the floor: last, so that the points' names have the first choice."""
    if column.floor:
        chart.level_label(column.floor[1], f"无预训练 floor: {column.floor[0]} {column.floor[1]:.2f}%")


def _linear_axis(label: str, values: Sequence[float]) -> Axis:
    low, high = min(values), max(values)
    room = max((high - low) * 0.08, 0.5)
    marks = ticks(max(0.0, low - room), min(100.0, high + room))
    return Axis(label, marks[0], marks[-1], [(mark, f"{mark:g}") for mark in marks])


def _log_axis(label: str, values: Sequence[float]) -> Axis:
    """Return an axis with half a step of room at both ends, so that a bubble at an end is whole."""
    positive = [value for value in values if value > 0] or [1.0]
    marks = log_ticks(min(positive) / 1.6, max(positive) * 1.6)
    zero = any(value <= 0 for value in values)
    shown = [(mark, short(mark)) for mark in marks]
    return Axis(label, marks[0], marks[-1], [*([(0.0, "0")] if zero else []), *shown], is_log=True, with_zero=zero)


def _tip(point: ScoredPoint) -> str:
    return f"{point.label}: {point.percent:.2f}% ± {point.error:.2f}"


def _link(point: ScoredPoint, linked: bool) -> str:
    from urllib.parse import urlencode

    return f"#{urlencode({'cell': point.address})}" if linked else ""
