"""Write the report of a run: its analysis as one HTML file, in the shell of `clue_bench.page`.

Input: an `Analysis`. Output: a page that needs nothing else. Everything that comes from data is escaped, by jinja2, by
the tables or by the XML writer of the charts. Every chart has its numbers in a table of the page, or in the words
beside it.
"""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from markupsafe import Markup

from clue_bench import charts, files
from clue_bench.analysis.examine import COVERAGES, NUM_BINS, Analysis, Bin, Block, RiskCoverage, examine
from clue_bench.charts import Axis, Chart, add, cut, drawing, keep, text_width, ticks, to_xml
from clue_bench.doors.records import MAJORITY_CLASS
from clue_bench.numbers import percent
from clue_bench.page import Page, asset, fill, markup
from clue_bench.tables import Cell, Column, make_table
from clue_bench.tasks.entities import NO_ENTITIES, stated_entities
from clue_bench.tasks.scores import score_names
from clue_bench.tasks.task import Task

FILE = "report.html"
SHORT_TEXT = 160  # characters of an example that are shown before one asks for the rest
AROUND_ANSWER = 40  # characters shown on both sides of an answer in a passage
MARKED = re.compile("【[^】]*】|⟦[^⟧]*⟧")

USUAL = {"classification": "majority class", "span": "most frequent answer", "tags": "without an entity"}
"""What the answer is called that looks at no row; of choices it is their most frequent place."""

FLAGS = {
    MAJORITY_CLASS: "The model gives (nearly) nothing but the most frequent answer, or is no better than always giving "
    "it: the score shows no skill."
}
"""The meaning of a record's flags; other flags are shown unchanged."""

WIDTH, HEIGHT = 480.0, 300.0  # units of a chart
LONGEST_LABEL = 190.0  # units
LARGEST_CELL, SMALLEST_CELL, MATRIX = 92.0, 36.0, 640.0  # units
# Opacity of a cell by the share of the gold label's rows. Between the two ranges neither the page's text colour nor its
# background would stand out against the cell (a contrast of 4.5), so that no cell has such a depth.
HALF = 0.5
PALE, DEEP = (0.0, 0.58), (0.82, 1.0)
CURVE_POINTS = 240  # of the risk-coverage curve
SHARES = [(value / 5, percent(value / 5, 0)) for value in range(6)]


def write_report(run_folder: Path, data: Path, out: Path, *, card: Task | None = None) -> None:
    """Write the report of the run in `run_folder` to the file `out`, atomically.

    `data` is the folder of task data that the run read; `card` the task's, looked up by its name if None. Raises
    ClueBenchError if the run is not finished, or the data are not those that it predicted.
    """
    files.write_text(out, render(examine(run_folder, data, card=card)))


def render(analysis: Analysis) -> str:
    """Return the page."""
    record, task = analysis.run.record, analysis.task
    is_tags = task.kind == "tags"
    types = [label_name(task, number) for number in range(len(task.labels))]
    names = [] if is_tags else types
    body = fill(
        asset(__package__, "report.html"),
        filters={"percent": percent, "number": _number},
        analysis=analysis,
        record=record,
        task=task,
        num_labels=len(names),
        is_tags=is_tags,
        name_of={NO_ENTITIES: "no entity"} if is_tags else dict(zip(task.labels, names, strict=True)),
        in_words=entity_words if is_tags else str,
        flags=[FLAGS.get(flag, flag.replace("_", " ")) for flag in record.flags],
        coverages=[(share, analysis.risk.accuracy_at(share)) for share in COVERAGES],
        num_bins=NUM_BINS,
        short_text=SHORT_TEXT,
        excerpt=excerpt,
        tables=_tables(analysis, types),
        confusion=markup(confusion_chart(analysis.block, names)) if names else "",
        calibration=[markup(reliability_chart(analysis.bins)), markup(risk_coverage_chart(analysis.risk))],
        learning=[markup(chart) for chart in learning_charts(analysis)],
    )
    return Page(
        title=f"{record.run_id}: errors and calibration",
        body=body,
        style=charts.stylesheet() + asset(__package__, "report.css"),
        script=asset(__package__, "report.js"),
        language="en",
    ).html


def excerpt(text: str) -> str:
    """Return what surrounds the marked answers of a passage; its beginning where nothing is marked."""
    parts: list[tuple[int, int]] = []
    for mark in MARKED.finditer(text):
        begin, end = max(mark.start() - AROUND_ANSWER, 0), mark.end() + AROUND_ANSWER
        if parts and begin <= parts[-1][1]:
            begin = parts.pop()[0]
        parts.append((begin, end))
    if not parts:
        return text[:SHORT_TEXT]
    return "…" * (parts[0][0] > 0) + " … ".join(text[begin:end] for begin, end in parts)


def entity_words(label: str) -> str:
    """Return the entities that a prediction spells in words."""
    named = [f"{kind} {words} {first}–{last}" for kind, words, first, last in stated_entities(label, "predictions")]
    return ", ".join(named) or "no entity"


def label_name(task: Task, number: int) -> str:
    """Return a label with its description, where that says more."""
    label, description = task.labels[number], task.label_descriptions[number]
    return f"{label} {description}" if description and description != label else label


def _tables(analysis: Analysis, names: list[str]) -> dict[str, Markup]:
    """Return the report's tables as HTML, by name."""
    pairs = make_table(
        f"Most confused pairs: {len(analysis.pairs):,} of {analysis.num_pairs:,} that occur.",
        ["gold", "predicted", "rows", Column("share of gold", is_number=True)],
        [(names[each.gold], names[each.predicted], each.rows, percent(each.share, 1)) for each in analysis.pairs],
    )
    classes = make_table(
        "Scores per label.",
        ["label", *(Column(name, is_number=True) for name in ("precision", "recall", "F1", "rows", "predicted"))],
        [(names[number], *(_cell(value, 3) for value in values)) for number, *values in analysis.classes],
    )
    bins = make_table(
        "Rows by confidence.",
        ["confidence", *(Column(name, is_number=True) for name in ("rows", "mean confidence", "accuracy"))],
        [(f"{low:.3f} – {high:.3f}", *(_cell(value) for value in values)) for low, high, *values in analysis.bins],
    )
    results = analysis.run.record.completed_results
    scores = score_names([analysis.task.kind])
    evaluations = make_table(
        "Evaluations on dev while training; the checkpoint that was kept is in bold.",
        [Column(name, is_number=True) for name in ("step", "train loss", "dev loss", *filter(None, scores))],
        [
            [
                _cell(getattr(each, key), is_best=each.step == results.best_step)
                for key in ("step", "train_loss", "loss", "accuracy", *(["macro_f1"] if scores[1] else []))
            ]
            for each in results.evaluations
        ],
    )
    tables = {"pairs": pairs, "bins": bins, "evaluations": evaluations}
    if not analysis.task.has_choices:  # precision and recall of places among the choices say nothing
        tables["classes"] = classes
    return {name: markup(table.to_html()) for name, table in tables.items() if table.rows}


def confusion_chart(block: Block, labels: list[str]) -> str:
    """Draw a block of the confusion matrix: rows are gold labels, columns predictions.

    The depth of a cell's colour follows the share of the gold label's rows; right and wrong have different colours.
    """
    names = [labels[number] for number in block.classes]
    columns = [*names, "other labels"] if block.has_others else names
    cell = min(LARGEST_CELL, max(SMALLEST_CELL, MATRIX / len(columns)))
    left = min(LONGEST_LABEL, max(map(text_width, names))) + 34
    head = min(LONGEST_LABEL, max(map(text_width, columns))) * 0.82 + 36
    width, height = left + cell * len(columns) + head * 0.6, head + cell * len(names) + 8
    description = "The most confused pairs are in the table below it."
    root = drawing("confusion-matrix", width, height, title="Confusion matrix", description=description)
    root.set("width", f"{width:.0f}")
    add(root, "text", "predicted", x=left, y=14, style_class="quiet")
    middle = head + cell * len(names) / 2
    rotation = f"rotate(-90 12 {middle:.1f})"
    add(root, "text", "gold", x=12, y=middle + 4, text_anchor="middle", transform=rotation, style_class="quiet")
    for number, name in enumerate(columns):
        x, y = left + cell * (number + 0.5), head - 8
        text = add(root, "text", cut(name, LONGEST_LABEL), x=x, y=y, transform=f"rotate(-55 {x:.1f} {y:.1f})")
        if number < len(names):
            keep(text)
    for gold, name in enumerate(names):
        y = head + cell * (gold + 0.5)
        keep(add(root, "text", cut(name, LONGEST_LABEL), x=left - 8, y=y + 4, text_anchor="end"))
        total = int(block.counts[gold].sum())
        for predicted, column in enumerate(columns):
            count = int(block.counts[gold, predicted])
            share = count / total if total else 0.0
            x = left + cell * predicted
            group = add(root, "g", style_class="right" if gold == predicted else "wrong")
            depth = f"{cell_opacity(share):.2f}"
            rect = add(group, "rect", x=x, y=y - cell / 2, width=cell - 1, height=cell - 1, fill_opacity=depth)
            add(rect, "title", f"gold {name}, predicted {column}: {count:,} of {total:,} rows, {percent(share, 1)}")
            if count:
                style = "deep" if share >= HALF else ""
                add(group, "text", f"{count:,}", x=x + cell / 2, y=y + 4, text_anchor="middle", style_class=style)
    return to_xml(root)


def cell_opacity(share: float) -> float:
    """Return the opacity of a cell: it grows with the root of the share, so that a confusion of 5 % is seen."""
    root, half = math.sqrt(share), math.sqrt(HALF)
    (low, high), part = (PALE, root / half) if share < HALF else (DEEP, (root - half) / (1 - half))
    return low + (high - low) * part


def reliability_chart(bins: list[Bin]) -> str:
    """Draw accuracy over confidence: a bar a bin, a dot at its mean confidence, and the line of perfect calibration.

    Low bars at the bottom say how many rows the bins have, the fullest one 15 % of the height.
    """
    chart = _chart(
        "reliability",
        "Reliability diagram",
        "Accuracy of the rows in each bin of confidence; the numbers are in the table below it.",
        x=Axis("confidence (probability of the predicted label)", 0.0, 1.0, SHARES),
        y=Axis("accuracy", 0.0, 1.0, SHARES),
    )
    max_rows = max(each.rows for each in bins)
    points = []
    for low, high, rows, confidence, accuracy in bins:
        if confidence is None or accuracy is None:
            continue
        tip = f"confidence {low:.2f} to {high:.2f}: {rows:,} rows, {percent(accuracy, 1)} right"
        chart.bar(low, high, accuracy, "one pale", tip=tip)
        chart.bar(low, high, rows / max_rows * 0.15, "two", tip=tip)
        points.append((confidence, accuracy))
    chart.line([(0.0, 0.0), (1.0, 1.0)], "faint")
    chart.line(points, "one", dots=True)
    chart.legend([("this run", "one"), ("calibrated", "faint"), ("rows in the bin", "two bar")])
    return chart.svg


def risk_coverage_chart(risk: RiskCoverage) -> str:
    """Draw the risk over coverage, with the best order possible and answering in any order."""
    rows = len(risk.risks)
    counts = sorted({round(1 + (rows - 1) * step / CURVE_POINTS) for step in range(CURVE_POINTS + 1)})
    overall = float(risk.risks[-1])
    # The first few rows jump about: one wrong row among three is a risk of a third. They may leave the picture.
    shown = [k for k in counts if k >= rows / 100]
    values = ticks(0.0, min(1.0, max(0.05, overall, *(float(risk.risks[k - 1]) for k in shown)) * 1.1))
    high = min(1.0, values[-1])
    chart = _chart(
        "risk-coverage",
        "Risk-coverage curve",
        f"Share wrong if only the most confident rows are answered; {percent(overall, 1)} at full coverage.",
        x=Axis("coverage (share of rows answered)", 0.0, 1.0, SHARES),
        y=Axis("risk (share wrong)", 0.0, high, [(value, percent(value, 0)) for value in values if value <= high]),
    )
    chart.line([(0.0, overall), (1.0, overall)], "faint")
    chart.line([(k / rows, float(risk.best_risks[k - 1])) for k in counts], "two")
    chart.line([(k / rows, float(risk.risks[k - 1])) for k in shown], "one")
    chart.legend([("this run", "one"), ("best order", "two"), ("any order", "faint")])
    return chart.svg


def learning_charts(analysis: Analysis) -> list[str]:
    """Draw losses, and dev scores with that of the most frequent answer; nothing without evaluations."""
    results = analysis.run.record.completed_results
    evaluations, best_step = results.evaluations, results.best_step

    def points(key: str) -> list[tuple[float, float]]:
        known = [(float(each.step), float(getattr(each, key))) for each in evaluations]
        return [(step, value) for step, value in known if math.isfinite(value)]

    losses = {"train": ("two", points("train_loss")), "dev": ("one", points("loss"))}
    exact, f1 = score_names([analysis.task.kind])
    scores = {exact: ("one", points("accuracy")), **({f1: ("two", points("macro_f1"))} if f1 else {})}
    usual = USUAL.get(analysis.task.kind, "always the same choice"), analysis.majority_share
    drawn = (
        _curves("Losses while training", "loss (nats)", losses, best_step, "{:g}".format),
        _curves("Dev scores while training", "share", scores, best_step, lambda share: percent(share, 0), usual=usual),
    )
    return [chart.svg for chart in drawn if chart is not None]


def _curves(
    title: str,
    label: str,
    curves: dict[str, tuple[str, list[tuple[float, float]]]],
    best_step: int,
    tick_text: Callable[[float], str],
    *,
    usual: tuple[str, float] | None = None,
) -> Chart | None:
    """Draw curves (name → style and points) over steps, and what the `usual` answer scores; None without points."""
    curves = {name: curve for name, curve in curves.items() if curve[1]}
    if not curves:
        return None
    heights = [y for _, points in curves.values() for _, y in points] + ([] if usual is None else [usual[1]])
    values = ticks(min(heights), max(heights))
    last = max(x for _, points in curves.values() for x, _ in points)
    steps = [(value, f"{value:,.0f}") for value in ticks(0.0, last, least_step=1) if value <= last]
    chart = _chart(
        title.partition(" ")[0].lower(),
        title,
        "The numbers are in the table below it.",
        x=Axis("step (the vertical line is the checkpoint that was kept)", 0.0, max(last, 1.0), steps),
        y=Axis(label, values[0], values[-1], [(value, tick_text(value)) for value in values]),
    )
    chart.vertical(best_step, "faint")
    entries = [(name, style) for name, (style, _) in curves.items()]
    if usual is not None:
        chart.horizontal(usual[1], "faint")
        entries.append((usual[0], "faint"))
    for style, points in curves.values():
        chart.line(points, style, dots=len(points) <= 40)
    chart.legend(entries)
    return chart


def _chart(name: str, title: str, description: str, *, x: Axis, y: Axis) -> Chart:
    return Chart(name, title=title, description=description, x=x, y=y, width=WIDTH, height=HEIGHT, heading=False)


def _number(value: Any, digits: int = 4) -> str:
    """Return an integer with separators, any other number with a fixed number of digits, and nothing for None."""
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:.{digits}f}"


def _cell(value: Any, digits: int = 4, *, is_best: bool = False) -> Cell:
    return Cell(_number(value, digits), value, is_best=is_best)
