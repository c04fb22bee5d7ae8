"""The pictures of a report, as inline SVG.

Input: an `Analysis`. Output: SVG text: the confusion matrix, the reliability diagram, the risk-coverage curve, the
learning curves. Every one has its numbers in a table of the page, or in the words beside it.
"""

import math
import unicodedata
from collections.abc import Callable
from typing import Any

from clue_bench.analysis.calibration import Bin, RiskCoverage
from clue_bench.analysis.confusion import Block
from clue_bench.analysis.svg import Axis, Chart, add, drawing, ticks, written

LATIN_WIDTH, CHINESE_WIDTH = 7.2, 13.0  # units that a character takes at the page's font size
LONGEST_LABEL = 190.0  # units
LARGEST_CELL, SMALLEST_CELL, MATRIX = 92.0, 36.0, 640.0  # units
# Opacity of a cell by the share of the gold label's rows. Between the two parts neither the page's text colour nor its
# background would stand out against the cell (a contrast of 4.5), so that no cell has such a depth.
HALF = 0.5
PALE, DEEP = (0.0, 0.58), (0.82, 1.0)
CURVE_POINTS = 240  # of the risk-coverage curve
SHARES = [(value / 5, f"{value / 5:.0%}") for value in range(6)]


def confusion_picture(block: Block, labels: list[str]) -> str:
    """Draw a block of the confusion matrix: rows are gold labels, columns predictions.

    The depth of a cell's colour follows the share of the gold label's rows; right and wrong have different colours.
    """
    names = [labels[number] for number in block.classes]
    columns = [*names, "other labels"] if block.others else names
    cell = min(LARGEST_CELL, max(SMALLEST_CELL, MATRIX / len(columns)))
    left = min(LONGEST_LABEL, max(map(_width, names))) + 34
    head = min(LONGEST_LABEL, max(map(_width, columns))) * 0.82 + 36
    width = left + cell * len(columns) + head * 0.6
    height = head + cell * len(names) + 8
    root = drawing(
        width, height, title="Confusion matrix", description="The most confused pairs are in the table below it."
    )
    add(root, "text", "predicted", x=left, y=14, style_class="quiet")
    turned = f"rotate(-90 12 {head + cell * len(names) / 2:.1f})"
    middle = head + cell * len(names) / 2
    add(root, "text", "gold", x=12, y=middle + 4, text_anchor="middle", transform=turned, style_class="quiet")
    for number, name in enumerate(columns):
        x, y = left + cell * (number + 0.5), head - 8
        add(root, "text", _cut(name), x=x, y=y, transform=f"rotate(-55 {x:.1f} {y:.1f})")
    for gold, name in enumerate(names):
        y = head + cell * (gold + 0.5)
        add(root, "text", _cut(name), x=left - 8, y=y + 4, text_anchor="end")
        total = int(block.counts[gold].sum())
        for predicted, column in enumerate(columns):
            count = int(block.counts[gold, predicted])
            x = left + cell * predicted
            share = count / total if total else 0.0
            group = add(root, "g", style_class="right" if gold == predicted else "wrong")
            depth = cell_opacity(share)
            rect = add(group, "rect", x=x, y=y - cell / 2, width=cell - 1, height=cell - 1, fill_opacity=depth)
            add(rect, "title", f"gold {name}, predicted {column}: {count:,} of {total:,} rows, {share:.1%}")
            if count:
                style = "deep" if share >= HALF else ""
                add(group, "text", f"{count:,}", x=x + cell / 2, y=y + 4, text_anchor="middle", style_class=style)
    return written(root)


def cell_opacity(share: float) -> float:
    """Return the opacity of a cell: it grows with the root of the share, so that a confusion of 5 % is seen."""
    root, half = math.sqrt(share), math.sqrt(HALF)
    (low, high), part = (PALE, root / half) if share < HALF else (DEEP, (root - half) / (1 - half))
    return low + (high - low) * part


def reliability_picture(bins: list[Bin]) -> str:
    """Draw accuracy over confidence: a bar a bin, a dot at its mean confidence, and the line of perfect calibration.

    Low bars at the bottom say how many rows the bins have, the fullest one 15 % of the height.
    """
    chart = Chart(
        title="Reliability diagram",
        description="Accuracy of the rows in each bin of confidence; the numbers are in the table below it.",
        x=Axis("confidence (probability of the predicted label)", 0.0, 1.0, SHARES),
        y=Axis("accuracy", 0.0, 1.0, SHARES),
    )
    most = max(each.rows for each in bins)
    filled = [each for each in bins if each.accuracy is not None and each.confidence is not None]
    for each in filled:
        tip = f"confidence {each.low:.2f} to {each.high:.2f}: {each.rows:,} rows, {each.accuracy:.1%} right"
        chart.bar(each.low, each.high, each.accuracy or 0.0, "bar one", tip=tip)
        chart.bar(each.low, each.high, each.rows / most * 0.15, "bar rows", tip=tip)
    chart.line([(0.0, 0.0), (1.0, 1.0)], "faint dashed")
    chart.line([(each.confidence or 0.0, each.accuracy or 0.0) for each in filled], "one", dots=True)
    for label, style in (("this run", "one"), ("calibrated", "faint dashed"), ("rows in the bin", "rows")):
        chart.legend(label, style)
    return chart.text()


def risk_coverage_picture(risk: RiskCoverage) -> str:
    """Draw the risk over coverage, with the best order possible and answering in any order."""
    rows = len(risk.risks)
    marks = sorted({round(1 + (rows - 1) * step / CURVE_POINTS) for step in range(CURVE_POINTS + 1)})
    overall = float(risk.risks[-1])
    # The first few rows jump about: one wrong row among three is a risk of a third. They may leave the picture.
    shown = [k for k in marks if k >= rows / 100]
    top = max(0.05, overall, *(float(risk.risks[k - 1]) for k in shown)) * 1.1
    values = ticks(0.0, min(1.0, top))
    high = min(1.0, values[-1])
    chart = Chart(
        title="Risk-coverage curve",
        description=f"Share wrong if only the most confident rows are answered; {overall:.1%} at full coverage.",
        x=Axis("coverage (share of rows answered)", 0.0, 1.0, SHARES),
        y=Axis("risk (share wrong)", 0.0, high, [(value, f"{value:.0%}") for value in values if 0 <= value <= high]),
    )
    chart.line([(0.0, overall), (1.0, overall)], "faint dashed")
    chart.line([(k / rows, float(risk.best_risks[k - 1])) for k in marks], "two dotted")
    chart.line([(k / rows, float(risk.risks[k - 1])) for k in shown], "one")
    for label, style in (("this run", "one"), ("best order", "two dotted"), ("any order", "faint dashed")):
        chart.legend(label, style)
    return chart.text()


def loss_picture(evaluations: list[dict[str, Any]], *, best_step: int) -> str:
    """Draw training and dev loss over the evaluations."""
    return _curves(
        "Losses while training",
        "loss (nats)",
        {"train": ("train_loss", "two dashed"), "dev": ("loss", "one")},
        evaluations,
        best_step=best_step,
        tick=lambda value: f"{value:g}",
    )


def accuracy_picture(evaluations: list[dict[str, Any]], *, best_step: int, majority_share: float) -> str:
    """Draw dev accuracy and macro-F1 over the evaluations, with what always answering the majority class gives."""
    return _curves(
        "Dev scores while training",
        "share",
        {"accuracy": ("accuracy", "one"), "macro-F1": ("macro_f1", "two dashed")},
        evaluations,
        best_step=best_step,
        tick=lambda value: f"{value:.0%}",
        held_against=("majority class", majority_share),
    )


def _curves(
    title: str,
    label: str,
    columns: dict[str, tuple[str, str]],
    evaluations: list[dict[str, Any]],
    *,
    best_step: int,
    tick: Callable[[float], str],
    held_against: tuple[str, float] | None = None,
) -> str:
    """Draw columns (name → key and style) of the evaluations over their steps. Returns "" if there is nothing."""
    lines = {name: (style, _points(evaluations, key)) for name, (key, style) in columns.items()}
    lines = {name: line for name, line in lines.items() if line[1]}
    if not lines:
        return ""
    heights = [y for _, points in lines.values() for _, y in points] + ([held_against[1]] if held_against else [])
    values = ticks(min(heights), max(heights))
    last = max(x for _, points in lines.values() for x, _ in points)
    steps = [value for value in ticks(0.0, last, whole=True) if 0 <= value <= last]
    chart = Chart(
        title=title,
        description="The numbers are in the table below it.",
        x=Axis(
            "step (the upright line is the checkpoint that was kept)",
            0.0,
            max(last, 1.0),
            [(s, f"{s:,.0f}") for s in steps],
        ),
        y=Axis(label, values[0], values[-1], [(value, tick(value)) for value in values]),
    )
    chart.upright(best_step, "faint")
    if held_against:
        chart.line([(0.0, held_against[1]), (last, held_against[1])], "faint dashed")
    for style, points in lines.values():
        chart.line(points, style, dots=len(points) <= 40)
    for name, (style, _) in lines.items():
        chart.legend(name, style)
    if held_against:
        chart.legend(held_against[0], "faint dashed")
    return chart.text()


def _points(evaluations: list[dict[str, Any]], key: str) -> list[tuple[float, float]]:
    """Return (step, value) where there is a finite value."""
    known = [(each["step"], each.get(key)) for each in evaluations]
    return [(float(step), float(value)) for step, value in known if value is not None and math.isfinite(value)]


def _width(text: str) -> float:
    """Return about how wide a text is."""
    return sum(CHINESE_WIDTH if unicodedata.east_asian_width(each) in "WF" else LATIN_WIDTH for each in text)


def _cut(text: str) -> str:
    """Return the text, or as much of it as a label has room for."""
    if _width(text) <= LONGEST_LABEL:
        return text
    while _width(text) > LONGEST_LABEL - CHINESE_WIDTH:
        text = text[:-1]
    return text + "…"
