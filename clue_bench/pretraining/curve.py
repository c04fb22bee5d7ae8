"""Draw the picture of a run, loss.svg, from metrics.jsonl, and reduce its curve for the record.

Three charts over the same steps: losses (the held-out part as points), learning rate, accuracies. The same metrics give
the same bytes.
"""

import json
import logging
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clue_bench import files
from clue_bench.charts import Axis, Chart, cut, sheet, short, ticks
from clue_bench.doors.results import Curve
from clue_bench.numbers import percent

log = logging.getLogger(__name__)

FILE = "loss.svg"
WIDTH, MARGINS = 880.0, (76.0, 48.0)  # units; room for learning rates and for the last number of tokens
LONG = 200  # points from which on a line is smoothed
SMOOTHED_SHARE = 1 / 40  # of a stage's points in the running mean
MAX_POINTS = 1000  # in a line; more are averaged in groups
MAX_RECORDED = 200  # points of the curve in a run's record

Floats = NDArray[np.float64]
Report = dict[str, Any]
"""One line of metrics.jsonl: a `TrainingReport`."""


class Line(NamedTuple):
    """The style of one column of the metrics."""

    column: str
    label: str
    style: str


LOSSES = (
    Line("loss", "loss", "one"),
    Line("lm_loss", "tokens", "four"),
    Line("sop_loss", "sentence order", "two"),
    Line("pair_loss", "labelled pairs", "five"),
    Line("bag_loss", "bag of words", "five"),
)
ACCURACIES = (
    Line("lm_accuracy", "tokens", "four"),
    Line("sop_accuracy", "sentence order", "two"),
    Line("pair_accuracy", "labelled pairs", "five"),
)
HELD_OUT_LOSSES = (Line("held_out_loss", "held-out tokens", "dot three"),)
HELD_OUT_ACCURACIES = (
    Line("held_out_accuracy", "held-out tokens", "dot three"),
    Line("held_out_sop_accuracy", "held-out order", "dot two hollow"),
)


def write_curve(metrics: Path, picture: Path, *, title: str) -> None:
    """Draw `metrics` (metrics.jsonl) into `picture`, an SVG file; draw nothing without reports.

    Raises OSError if a file cannot be read or written.
    """
    if reports := read_reports(metrics):
        files.write_text(picture, draw(reports, title=title))


def recorded_curve(reports: list[Report]) -> Curve | None:
    """Return the curve of a run for its record: at most `MAX_RECORDED` points, each of neighbouring reports.

    A point has the tokens seen at its last report, the mean of its finite losses (nats) and its last held-out loss.
    Points without a finite loss are left out; None if no point is left.
    """
    tokens, means, held_out = [], [], []
    for group in np.array_split(np.arange(len(reports)), min(MAX_RECORDED, max(1, len(reports)))):
        inside = [reports[number] for number in group]
        losses = [report["loss"] for report in inside if np.isfinite(report["loss"])]
        if not losses:
            continue
        evaluated = [x for report in inside if (x := report["held_out_loss"]) is not None and np.isfinite(x)]
        tokens.append(inside[-1]["tokens"])
        means.append(round(float(np.mean(losses)), 5))
        held_out.append(round(evaluated[-1], 5) if evaluated else None)
    return Curve(tokens=tokens, loss=means, held_out_loss=held_out) if tokens else None


def read_reports(metrics: Path) -> list[Report]:
    """Return the reports of `metrics`, without damaged lines, which are warned of.

    Raises OSError if the file cannot be read.
    """
    reports, damaged = [], 0
    for line in metrics.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            reports.append(_report(line))
        except (ValueError, RecursionError):  # a disk may leave anything, such as 1,000 brackets
            damaged += 1
    if damaged:
        log.warning("%s: damaged lines, left out: %d", metrics, damaged)
    return reports


def _report(line: str) -> Report:
    report = json.loads(line)
    wanted = ("step", "loss", "tokens")
    if not isinstance(report, dict) or not all(isinstance(report.get(key), int | float) for key in wanted):
        raise ValueError("no report")
    return report


def draw(reports: list[Report], *, title: str) -> str:
    """Return the picture."""
    last = reports[-1]
    losses = [LOSSES[0]]
    if any(_has(reports, line.column) for line in LOSSES[2:]):  # else the loss is that of the tokens
        losses = list(LOSSES)
    charts = [
        _chart("losses", "loss (nats)", reports, 330.0, losses, HELD_OUT_LOSSES),
        _chart("rate", "learning rate", reports, 130.0, [Line("learning_rate", "", "faint solid")]),
        _chart("accuracies", "accuracy", reports, 210.0, ACCURACIES, HELD_OUT_ACCURACIES, is_last=True),
    ]
    words = [f"step {last['step']:,}", f"loss {last['loss']:.3f}"]
    held_out = [report["held_out_loss"] for report in reports if report["held_out_loss"] is not None]
    words += [f"held-out {held_out[-1]:.3f}"] if held_out else []
    heading = " · ".join([cut(title, WIDTH / 2), *words])
    return sheet("curve", charts, title=heading, description="Losses, learning rate and accuracies over steps.")


def _chart(
    name: str,
    label: str,
    reports: list[Report],
    height: float,
    lines: "list[Line] | tuple[Line, ...]",
    dots: tuple[Line, ...] = (),
    *,
    is_last: bool = False,
) -> Chart:
    """Draw one of the three charts; the last one has the steps below it."""
    lines = [line for line in lines if _has(reports, line.column)]
    dots = tuple(line for line in dots if _has(reports, line.column))
    values = np.concatenate([_column(reports, line.column)[1] for line in (*lines, *dots)] or [np.zeros(1)])
    chart = Chart(
        name,
        title=label,
        description="",
        x=_steps(reports, is_labelled=is_last),
        y=_values(name, label, values),
        width=WIDTH,
        height=height,
        margins=MARGINS,
        heading=False,
    )
    for earlier, report in pairwise(reports):
        if report["stage"] != earlier["stage"]:
            chart.vertical(earlier["step"], "faint", f"stage {report['stage']}" if name == "losses" else "")
    for line in lines:
        _draw_line(chart, reports, line)
    for line in dots:
        chart.dots(_points(*_column(reports, line.column)), line.style)
    chart.legend([(line.label, line.style) for line in (*lines, *dots) if line.label])
    return chart


def _steps(reports: list[Report], *, is_labelled: bool) -> Axis:
    """Return the axis of steps, with the tokens up to each: a stage with longer rows uses more of them per step."""
    last = reports[-1]["step"]
    steps, tokens = ([0, *(report[key] for report in reports)] for key in ("step", "tokens"))
    marks = [mark for mark in ticks(0.0, float(last), least_step=1) if mark <= last]
    texts = [f"{mark:,.0f} · {short(float(np.interp(mark, steps, tokens)))}" if is_labelled else "" for mark in marks]
    label = "step · tokens trained on" if is_labelled else ""
    return Axis(label, 0.0, 1.01 * last, list(zip(marks, texts, strict=True)))


def _values(name: str, label: str, values: Floats) -> Axis:
    if name == "accuracies":
        return Axis(label, 0.0, 1.0, [(share / 4, percent(share / 4, 0)) for share in range(5)])
    finite = values if values.size else np.zeros(1)
    low, most = (0.0, 2) if name == "rate" else (float(finite.min()), 5)
    marks = ticks(low, float(finite.max()), most=most)
    return Axis(label, marks[0], marks[-1], [(mark, f"{mark:g}") for mark in marks])


def _draw_line(chart: Chart, reports: list[Report], line: Line) -> None:
    """Draw a column: a plain thin line if it is short, a faint one under its running mean if it is long."""
    steps, values = _column(reports, line.column)
    if len(values) < LONG or not line.label:
        chart.line(_points(*_thinned(steps, values)), line.style, dots=len(values) == 1)
        return
    chart.line(_points(*_thinned(steps, values)), f"{line.style} raw")
    ends = {report["stage"]: report["step"] for report in reports}
    for stage, end in ends.items():  # the loss jumps between stages; a mean over both would hide it
        inside = (steps > ends.get(stage - 1, 0)) & (steps <= end)
        smooth = running_mean(values[inside], max(1, round(int(inside.sum()) * SMOOTHED_SHARE)))
        chart.line(_points(*_thinned(steps[inside], smooth)), line.style)


def running_mean(values: Floats, width: int) -> Floats:
    """Return means over `width` values on both sides of each, fewer at the ends."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    numbers = np.arange(len(values))
    first, end = np.maximum(numbers - width, 0), np.minimum(numbers + width + 1, len(values))
    means: Floats = (sums[end] - sums[first]) / (end - first)
    return means


def _thinned(steps: Floats, values: Floats) -> tuple[Floats, Floats]:
    """Return at most `MAX_POINTS` points, means of neighbouring ones."""
    if len(values) <= MAX_POINTS:
        return steps, values
    edges = np.linspace(0, len(values), MAX_POINTS + 1).astype(int)
    counts = np.diff(edges)
    return np.add.reduceat(steps, edges[:-1]) / counts, np.add.reduceat(values, edges[:-1]) / counts


def _has(reports: list[Report], column: str) -> bool:
    return any(report[column] is not None for report in reports)


def _column(reports: list[Report], column: str) -> tuple[Floats, Floats]:
    """Return steps and values of a column where it has finite ones."""
    known = [(report["step"], report[column]) for report in reports if report[column] is not None]
    steps, values = np.array(known, dtype=np.float64).T
    finite = np.isfinite(values)
    return steps[finite], values[finite]


def _points(steps: Floats, values: Floats) -> list[tuple[float, float]]:
    return list(zip(steps.tolist(), values.tolist(), strict=True))
