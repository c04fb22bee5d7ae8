"""The board's pictures: score against speed, score against pretraining tokens, pretraining losses.

Input: records, the measured tables, the speeds of one machine and session. Output: `Picture`s, each a few charts of one
kind. They show the first measured table only, since scores on other data are not comparable. Vertical bars are the
binomial sampling error (1 sigma); the dashed level is the best model without any pretraining, if one was run.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlencode

from clue_bench.charts import Axis, Chart, cut, log_ticks, sheet, short, ticks
from clue_bench.doors.records import RunRecord
from clue_bench.leaderboards.cells import MeasuredTable
from clue_bench.leaderboards.plots.points import (
    ColumnPoints,
    RunCurve,
    ScoredPoint,
    Speeds,
    column_points,
    pareto_front,
    pretraining_tokens,
    read_curves,
    staircase,
)
from clue_bench.leaderboards.scores import SPLIT, parameters_text
from clue_bench.tasks.scores import CHINESE, score_name

FOLDER = "plots"
SPEED, TOKENS, LOSS = PICTURES = ("score-speed", "score-tokens", "loss")
MIN_MODELS = 2  # in a chart: a single point shows no relation
STYLES = ("one", "two", "three", "four")  # of the runs in one chart of losses: more lines cannot be distinguished
DOT, HELD_OUT_DOT = 5.0, 2.6  # units
SMALLEST_BUBBLE, LARGEST_BUBBLE = 4.0, 24.0  # units; between them the area is proportional to the parameters
WIDEST_LABEL = 240.0  # units
SPEED_UNIT = "行 rows/s"


@dataclass(frozen=True)
class Picture:
    """A picture: charts of one kind, or a sentence that says why it is left out."""

    name: str
    title: str
    english: str
    caption: str = ""
    charts: tuple[tuple[str, str], ...] = ()  # (column or "", SVG) for a page, styled by it and linked to cells
    file: str = field(default="", repr=False)  # complete, styled by itself
    left_out: str = ""

    @property
    def path(self) -> str:
        """Return the file's path, relative to the board's folder."""
        return f"{FOLDER}/{self.name}.svg"


def draw_pictures(
    records: Sequence[RunRecord], tables: Sequence[MeasuredTable], speeds: Speeds | None
) -> tuple[Picture, ...]:
    """Draw the three pictures, or say why one is left out.

    Raises ClueBenchError that names runs with contradictory records, or an invalid curve.
    """
    columns = column_points(tables[0], pretraining_tokens(records)) if tables else []
    data = f"{tables[0].dataset}, {SPLIT}, table {tables[0].number}" if tables else ""
    return _score_and_speed(columns, speeds, data), _score_and_tokens(columns, data), _losses(records)


def _score_and_speed(columns: Sequence[ColumnPoints], speeds: Speeds | None, data: str) -> Picture:
    names = SPEED, "得分与速度", "Score against speed"
    if speeds is None:
        return Picture(*names, left_out="Left out: there are no speed records of one machine and one session.")
    known = speeds.by_sha256
    shown = [each for each in columns if sum(point.sha256 in known for point in each.points) >= MIN_MODELS]
    if not shown:
        why = f"Left out: fewer than {MIN_MODELS} models have both a score and a speed of one machine and session."
        return Picture(*names, left_out=why)
    caption = (
        f"Measured on {data}. Speed: {speeds.condition}. The area of a bubble is the model's parameters; upright bars "
        "are the sampling error (1σ). The dashed staircase is the Pareto front: no model is faster and better than "
        "those on it (blue)."
    )
    largest = max(point.parameters for each in shown for point in each.points if point.sha256 in known)
    return _of_columns(
        names, caption, shown, lambda name, each, is_linked: _speed_chart(name, each, is_linked, known, largest)
    )


def _score_and_tokens(columns: Sequence[ColumnPoints], data: str) -> Picture:
    names = TOKENS, "得分与预训练词元", "Score against pretraining tokens"
    shown = [each for each in columns if sum(point.tokens is not None for point in each.points) >= MIN_MODELS]
    if not shown:
        why = f"Left out: fewer than {MIN_MODELS} measured models say on how many tokens they were pretrained."
        return Picture(*names, left_out=why)
    unknown = sorted({point.label for each in shown for point in each.points if point.tokens is None})
    caption = f"Measured on {data}. Upright bars are the sampling error (1σ); hollow: never pretrained." + (
        f" Not shown, since their pretraining tokens are not known: {', '.join(unknown)}." if unknown else ""
    )
    return _of_columns(names, caption, shown, _tokens_chart)


def _losses(records: Sequence[RunRecord]) -> Picture:
    names = LOSS, "预训练损失", "Pretraining loss"
    curves, without = read_curves(records)
    missing = f" Without a curve in the record: {', '.join(without)}." if without else ""
    if not curves:
        why = f"Left out: no record of a completed pretraining run carries its curve.{missing}"
        return Picture(*names, left_out=why)
    bags = (
        " The held-out loss is that of masked tokens alone." if any("bag" in each.objective for each in curves) else ""
    )
    caption = f"Losses are comparable only for one objective and one vocabulary; dots: held-out part.{bags}{missing}"
    groups: dict[tuple[str, str], list[RunCurve]] = {}
    for curve in curves:
        groups.setdefault((curve.objective, curve.vocabulary), []).append(curve)
    size = len(STYLES)
    charts = [runs[start : start + size] for _, runs in sorted(groups.items()) for start in range(0, len(runs), size)]
    drawn = [_loss_chart(f"{LOSS}-{number}", runs) for number, runs in enumerate(charts, 1)]
    return _picture(names, caption, [("", chart.svg) for chart in drawn], drawn)


Draw = Callable[[str, ColumnPoints, bool], Chart]


def _of_columns(names: tuple[str, str, str], caption: str, columns: Sequence[ColumnPoints], draw: Draw) -> Picture:
    """Return a picture with a chart per column; points are links in the page, but not in the file."""
    linked, plain = (
        [draw(f"{names[0]}-{number}", each, is_linked) for number, each in enumerate(columns)]
        for is_linked in (True, False)
    )
    pairs = [(each.column, chart.svg) for each, chart in zip(columns, linked, strict=True)]
    return _picture(names, caption, pairs, plain)


def _picture(
    names: tuple[str, str, str], caption: str, in_page: Sequence[tuple[str, str]], in_file: Sequence[Chart]
) -> Picture:
    name, title, english = names
    file = sheet(name, in_file, title=f"{title} {english}", description=caption, across=2)
    return Picture(*names, caption, tuple(in_page), file)


def _tokens_chart(name: str, column: ColumnPoints, is_linked: bool) -> Chart:
    """Draw a column's scores over pretraining tokens; models with unknown tokens are left out."""
    points = [(float(point.tokens), point) for point in column.points if point.tokens is not None]
    x = _log_axis("预训练词元 pretraining tokens (log)", [tokens for tokens, _ in points])
    chart = _score_chart(name, column, x, points, over="pretraining tokens")
    for tokens, point in points:
        tip = f"{_tip(point)}, {tokens:,.0f} pretraining tokens"
        style = "one" if tokens else "one hollow"
        chart.bubble((tokens, point.percent), DOT, style, tip=tip, link=_link(point, is_linked), error=point.error)
    for tokens, point in points:
        chart.label((tokens, point.percent), cut(point.label, WIDEST_LABEL), distance=DOT)
    _label_floor(chart, column)
    return chart


def _speed_chart(name: str, column: ColumnPoints, is_linked: bool, speeds: Mapping[str, float], largest: int) -> Chart:
    """Draw a column's scores over speeds (sha256 of weights → value), with the Pareto front.

    The area of a bubble is proportional to the model's parameters, `largest` those of the largest bubble.
    """
    points = [(speeds[point.sha256], point) for point in column.points if point.sha256 in speeds]
    x = _log_axis(f"预测速度 speed ({SPEED_UNIT}, log)", [speed for speed, _ in points])
    over = f"speed in {SPEED_UNIT}; the area of a bubble is its parameters"
    chart = _score_chart(name, column, x, points, over=over)
    front = pareto_front(points, speed=lambda each: each[0], score=lambda each: each[1].percent)
    chart.line(staircase([(speed, point.percent) for speed, point in front]), "front")
    radii = {
        point.label: max(SMALLEST_BUBBLE, LARGEST_BUBBLE * math.sqrt(point.parameters / largest) if largest else 0)
        for _, point in points
    }
    for speed, point in sorted(points, key=lambda each: (-each[1].parameters, each[1].label)):
        tip = f"{_tip(point)}, {short(speed)} {SPEED_UNIT}, {parameters_text(point.parameters)} parameters"
        style = "one" if any(point is best for _, best in front) else "two"
        radius, link = radii[point.label], _link(point, is_linked)
        chart.bubble((speed, point.percent), radius, style, tip=tip, link=link, error=point.error)
    for speed, point in points:
        text = f"{point.label} ({parameters_text(point.parameters)})"
        chart.label((speed, point.percent), cut(text, WIDEST_LABEL), distance=radii[point.label])
    _label_floor(chart, column)
    return chart


def _loss_chart(name: str, runs: list[RunCurve]) -> Chart:
    losses = [loss for run in runs for _, loss in (*run.curve.points, *run.curve.held_out_points)]
    x_ticks = ticks(0.0, float(max(run.curve.tokens[-1] for run in runs)))
    y_ticks = ticks(min(losses), max(losses))
    ends = "; ".join(
        f"{run.model} ends at {run.curve.loss[-1]:.3f} after {run.curve.tokens[-1]:,} tokens" for run in runs
    )
    chart = Chart(
        name,
        title=f"{runs[0].objective} · 词表 vocabulary {runs[0].vocabulary or '?'}",
        description=f"Loss over tokens trained on: {ends}. Dots are the held-out part.",
        x=Axis("训练词元 tokens trained on", 0.0, x_ticks[-1], [(mark, short(mark)) for mark in x_ticks]),
        y=Axis("损失 loss (nats)", y_ticks[0], y_ticks[-1], [(mark, f"{mark:g}") for mark in y_ticks]),
    )
    for run, style in zip(runs, STYLES, strict=False):
        chart.line(run.curve.points, style)
        for tokens, loss in run.curve.held_out_points:
            tip = f"{run.model}, held-out part: {loss:.3f} after {tokens:,.0f} tokens"
            chart.bubble((tokens, loss), HELD_OUT_DOT, style, tip=tip)
    names = [f"{cut(run.model, 200)} {run.curve.loss[-1]:.3f}" for run in runs]
    chart.legend(
        list(zip(names, STYLES, strict=False)), stacked=True, are_names=True
    )  # a loss falls, so that there is room
    return chart


def _score_chart(
    name: str, column: ColumnPoints, x: Axis, points: Sequence[tuple[float, ScoredPoint]], *, over: str
) -> Chart:
    heights = [point.percent + sign * point.error for _, point in points for sign in (-1, 1)]
    heights += [column.floor[1]] if column.floor else []
    low, high = min(heights), max(heights)
    room = max((high - low) * 0.08, 0.5)
    marks = ticks(max(0.0, low - room), min(100.0, high + room))
    accuracy = score_name(column.kind)
    y = Axis(f"dev {CHINESE[accuracy]} {accuracy} (%)", marks[0], marks[-1], [(mark, f"{mark:g}") for mark in marks])
    scores = "; ".join(f"{point.label} {point.percent:.2f}% at {short(value)}" for value, point in points)
    floor = f" Best floor: {column.floor[0]} {column.floor[1]:.2f}%." if column.floor else ""
    description = f"{accuracy.capitalize()} on dev ({column.condition}) over {over}: {scores}.{floor}"
    chart = Chart(name, title=f"{column.column} · {column.condition}", description=description, x=x, y=y)
    if column.floor:
        chart.horizontal(column.floor[1], "faint")
    return chart


def _label_floor(chart: Chart, column: ColumnPoints) -> None:
    """Name the level of the floor: last, so that the points' names have the first choice."""
    if column.floor:
        chart.horizontal_label(column.floor[1], f"无预训练 floor: {column.floor[0]} {column.floor[1]:.2f}%")


def _log_axis(label: str, values: Sequence[float]) -> Axis:
    """Return an axis with half a step of room at both ends, so that bubbles there are not cut."""
    positive = [value for value in values if value > 0] or [1.0]
    marks = log_ticks(min(positive) / 1.6, max(positive) * 1.6)
    zero = any(value <= 0 for value in values)
    shown = [(mark, short(mark)) for mark in marks]
    return Axis(label, marks[0], marks[-1], [*([(0.0, "0")] if zero else []), *shown], is_log=True, with_zero=zero)


def _tip(point: ScoredPoint) -> str:
    return f"{point.label}: {point.percent:.2f}% ± {point.error:.2f}"


def _link(point: ScoredPoint, is_linked: bool) -> str:
    return f"#{urlencode({'cell': point.address})}" if is_linked else ""
