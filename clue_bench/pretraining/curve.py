"""The picture of a run: metrics.jsonl in, loss.svg out.

Three panels over the same steps: losses (the held-out part as points), learning rate, accuracies. Every colour is a
middle tone, so that the picture, which has no background of its own, is readable on white and on a dark page. The same
metrics give the same bytes. matplotlib is imported when a picture is drawn, not before.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clue_bench import files

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FILE = "loss.svg"

# Contrast against white and against GitHub's dark #0d1117 is at least 3 for lines and 4.2 for text; no tone has more
# than 4.35 against both. Blue, orange and green of about one lightness stay apart for colour-blind readers by the
# line's style.
TEXT = "#797979"
GRID = "#79797940"
TOTAL, MODEL, ORDER, PAIRS, HELD_OUT, RATE = "#2f81f7", "#8b6fd8", "#c4692a", "#b85f96", "#2a9153", "#797979"

LONG = 200  # points of a line from which on it is smoothed
SMOOTHED_SHARE = 1 / 40  # of a stage's points in the running mean
MOST_POINTS = 1000  # of a line; more are averaged in groups
MOST_RECORDED = 200  # points of the curve in a run's record

# Looked for in this order where a title is not written in Latin letters.
CHINESE_FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans SC",
    "Source Han Sans SC",
    "Source Han Sans CN",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "Droid Sans Fallback",
    "Microsoft YaHei",
    "SimHei",
    "PingFang SC",
    "Hiragino Sans GB",
    "Arial Unicode MS",
)

Floats = NDArray[np.float64]


class Line(NamedTuple):
    """How one column of the metrics is drawn."""

    column: str
    label: str
    colour: str
    style: str


LOSSES = (
    Line("loss", "loss", TOTAL, "-"),
    Line("lm_loss", "tokens", MODEL, "--"),
    Line("sop_loss", "sentence order", ORDER, "-."),
    Line("pair_loss", "labelled pairs", PAIRS, ":"),
)
ACCURACIES = (
    Line("lm_accuracy", "tokens", MODEL, "--"),
    Line("sop_accuracy", "sentence order", ORDER, "-."),
    Line("pair_accuracy", "labelled pairs", PAIRS, ":"),
)
HELD_OUT_LOSS = Line("held_out_loss", "held-out tokens", HELD_OUT, "o")
HELD_OUT_ACCURACIES = (
    Line("held_out_accuracy", "held-out tokens", HELD_OUT, "o"),
    Line("held_out_sop_accuracy", "held-out order", HELD_OUT, "^"),
)


def write_curve(metrics: Path, picture: Path, *, title: str, name: str) -> None:
    """Draw `metrics` (metrics.jsonl, a `report.Report` a line) into `picture`, an SVG file.

    `name`, in ASCII, is the heading where no font of this machine has the characters of `title`. Without reports
    nothing is drawn. Raises OSError if a file cannot be read or written.
    """
    reports = read_reports(metrics)
    if not reports:
        return
    import matplotlib
    from matplotlib import style

    # A user's own matplotlibrc changes nothing; ids in the file come from the salt, and there is no date.
    with style.context("default"), matplotlib.rc_context({"svg.hashsalt": "clue-bench"}):
        figure = draw(reports, title=title, name=name)
        with files.replacing(picture) as temporary:
            figure.savefig(temporary, format="svg", metadata={"Date": None, "Title": title}, transparent=True)


def recorded(reports: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Return the curve of a run for its record: at most `MOST_RECORDED` points, each of neighbouring reports.

    "tokens" seen at the last report of a point, "loss" (nats, mean of the finite ones), "held_out_loss" of the last
    look among them, None where there was none. A point without a finite loss is left out.
    """
    curve: dict[str, list[Any]] = {"tokens": [], "loss": [], "held_out_loss": []}
    for group in np.array_split(np.arange(len(reports)), min(MOST_RECORDED, max(1, len(reports)))):
        own = [reports[place] for place in group]
        losses = [report["loss"] for report in own if np.isfinite(report["loss"])]
        if not losses:
            continue
        looks = [report["held_out_loss"] for report in own if report["held_out_loss"] is not None]
        curve["tokens"].append(own[-1]["tokens"])
        curve["loss"].append(round(float(np.mean(losses)), 5))
        curve["held_out_loss"].append(round(looks[-1], 5) if looks else None)
    return curve


def read_reports(metrics: Path) -> list[dict[str, Any]]:
    """Return the reports of `metrics`. Raises OSError if the file cannot be read."""
    return [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]


def draw(reports: list[dict[str, Any]], *, title: str, name: str) -> "Figure":
    """Return the figure."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 7.2), layout="constrained", facecolor="none")
    losses, rates, accuracies = figure.subplots(3, 1, sharex=True, height_ratios=(5, 1, 2))
    _losses(losses, reports)
    for line in ACCURACIES:
        _line(accuracies, reports, line)
    for line in HELD_OUT_ACCURACIES:
        _points(accuracies, reports, line)
    accuracies.set_ylim(0.0, 1.0)
    accuracies.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    rates.plot(*_column(reports, "learning_rate"), color=RATE, linewidth=1.0)
    rates.set_ylim(bottom=0.0)
    rates.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
    for axes, label in ((losses, "loss (nats)"), (rates, "learning rate"), (accuracies, "accuracy")):
        axes.set_xlim(0, 1.01 * reports[-1]["step"])
        _paint(axes, label)
    _stages(losses, (rates, accuracies), reports)
    _count_tokens(accuracies, reports)
    heading, fonts = _heading(title, name)
    figure.suptitle(heading, x=0.01, ha="left", fontsize=13, color=TEXT, family=fonts, parse_math=False)
    figure.text(0.99, 0.99, _last(reports), ha="right", va="top", fontsize=9, color=TEXT)
    return figure


def _losses(axes: "Axes", reports: list[dict[str, Any]]) -> None:
    total, *parts = LOSSES
    _line(axes, reports, total)
    if any(_has(reports, line.column) for line in parts[1:]):  # else the loss is that of the tokens
        for line in parts:
            _line(axes, reports, line)
    _points(axes, reports, HELD_OUT_LOSS)


def _points(axes: "Axes", reports: list[dict[str, Any]], line: Line) -> None:
    if _has(reports, line.column):
        steps, values = _column(reports, line.column)
        axes.plot(steps, values, line.style, color=line.colour, markersize=4, label=line.label, zorder=3)


def _line(axes: "Axes", reports: list[dict[str, Any]], line: Line) -> None:
    """Draw a column: thin and clear where it is short, faint with its running mean over it where it is long."""
    if not _has(reports, line.column):
        return
    steps, values = _column(reports, line.column)
    if len(values) < LONG:
        marker = "." if len(values) == 1 else None
        axes.plot(steps, values, line.style, color=line.colour, linewidth=1.4, marker=marker, label=line.label)
        return
    axes.plot(*_thinned(steps, values), color=line.colour, linewidth=0.7, alpha=0.35)
    ends = {report["stage"]: report["step"] for report in reports}
    label: str | None = line.label
    for stage, end in ends.items():  # the loss jumps between stages; a mean over both would hide it
        own = (steps > ends.get(stage - 1, 0)) & (steps <= end)
        smooth = running_mean(values[own], max(1, round(int(own.sum()) * SMOOTHED_SHARE)))
        axes.plot(*_thinned(steps[own], smooth), line.style, color=line.colour, linewidth=1.7, label=label)
        label = None


def running_mean(values: Floats, width: int) -> Floats:
    """Return means over `width` values on both sides of each, fewer at the ends."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    places = np.arange(len(values))
    first, end = np.maximum(places - width, 0), np.minimum(places + width + 1, len(values))
    means: Floats = (sums[end] - sums[first]) / (end - first)
    return means


def _thinned(steps: Floats, values: Floats) -> tuple[Floats, Floats]:
    """Return at most `MOST_POINTS` points, means of neighbouring ones."""
    if len(values) <= MOST_POINTS:
        return steps, values
    edges = np.linspace(0, len(values), MOST_POINTS + 1).astype(int)
    counts = np.diff(edges)
    return np.add.reduceat(steps, edges[:-1]) / counts, np.add.reduceat(values, edges[:-1]) / counts


def _has(reports: list[dict[str, Any]], column: str) -> bool:
    return any(report[column] is not None for report in reports)


def _column(reports: list[dict[str, Any]], column: str) -> tuple[Floats, Floats]:
    """Return steps and values of a column where it has finite ones."""
    known = [(report["step"], report[column]) for report in reports if report[column] is not None]
    steps, values = np.array(known, dtype=np.float64).T
    finite = np.isfinite(values)
    return steps[finite], values[finite]


def _paint(axes: "Axes", label: str) -> None:
    axes.set_facecolor("none")
    axes.set_ylabel(label, color=TEXT, fontsize=9)
    axes.tick_params(colors=TEXT, labelsize=8)
    axes.yaxis.get_offset_text().set(color=TEXT, fontsize=8)
    axes.grid(color=GRID, linewidth=0.6)
    axes.spines[:].set_color(TEXT)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_legend_handles_labels()[1]:
        # Above the panel: nothing that is drawn can lie under it.
        axes.legend(
            loc="lower right",
            bbox_to_anchor=(1.0, 1.0),
            ncols=6,
            frameon=False,
            fontsize=8,
            labelcolor=TEXT,
            borderaxespad=0.0,
            columnspacing=1.4,
        )


def _stages(losses: "Axes", others: tuple["Axes", ...], reports: list[dict[str, Any]]) -> None:
    """Mark where a stage begins."""
    last = reports[0]
    for report in reports[1:]:
        if report["stage"] != last["stage"]:
            for axes in (losses, *others):
                axes.axvline(last["step"], color=TEXT, linewidth=0.9, linestyle=(0, (4, 3)))
            across = losses.get_xaxis_transform()
            text = f" stage {report['stage']}"
            losses.text(last["step"], 0.98, text, transform=across, color=TEXT, fontsize=8, va="top")
        last = report


def _count_tokens(axes: "Axes", reports: list[dict[str, Any]]) -> None:
    """Write tokens under the steps. A stage with longer rows takes more of them a step."""
    from matplotlib.ticker import MaxNLocator

    steps = [0, *(report["step"] for report in reports)]
    tokens = [0, *(report["tokens"] for report in reports)]
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(lambda at, _: f"{at:,.0f}\n{_short(float(np.interp(at, steps, tokens)))}")
    axes.set_xlabel("step, and tokens trained on", color=TEXT, fontsize=9)


def _short(number: float) -> str:
    for unit, size in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:.0f}"


def _heading(title: str, name: str) -> tuple[str, list[str]]:
    """Return what stands above the picture and the fonts that together have all its characters."""
    from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font

    def characters(family: str) -> set[int]:
        return set(get_font(findfont(FontProperties(family=family))).get_charmap())

    latin = "DejaVu Sans"  # comes with matplotlib
    asked = set(map(ord, title)) - characters(latin)
    if not asked:
        return title, [latin]
    here = {font.name for font in fontManager.ttflist}
    for family in CHINESE_FONTS:
        if family in here and asked <= characters(family):
            return title, [latin, family]
    return name, [latin]


def _last(reports: list[dict[str, Any]]) -> str:
    """Return the last values in words."""
    last = reports[-1]
    parts = [f"step {last['step']:,}", f"loss {last['loss']:.3f}"]
    held_out = [report["held_out_loss"] for report in reports if report["held_out_loss"] is not None]
    if held_out:
        parts.append(f"held-out {held_out[-1]:.3f}")
    return " · ".join(parts)
