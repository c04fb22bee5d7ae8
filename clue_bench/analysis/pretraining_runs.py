"""Compare pretraining runs: their curves laid over each other, tokens, seconds and held-out losses.

Input: the folders of two to five pretraining runs, finished or not: their records and metrics.jsonl (where that is
gone, the curve in the record, which has no times). Output: a `PretrainingComparison`, and one HTML page with the curves
over tokens and over time. Losses are nats per predicted token: of runs on other vocabularies, other masks or other
held-out text they do not compare, and the comparison says so.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from clue_bench import charts
from clue_bench.charts import Axis, Chart, short, ticks
from clue_bench.doors.records import PretrainRecord, read_record, record_paths
from clue_bench.errors import ClueBenchError
from clue_bench.numbers import count, duration, scaled, typed
from clue_bench.page import Page, fill, markup
from clue_bench.tables import MISSING, Shown, Table, make_table, our_words

METRICS = "metrics.jsonl"
STYLES = ("one", "two", "three", "four", "five")
MAX_POINTS = 300  # of a line; more are averaged in groups
WIDTH, HEIGHT = 880.0, 340.0
UNITS = ((86_400.0, "days"), (3_600.0, "hours"), (60.0, "minutes"), (1.0, "seconds"))

BODY = """<header><h1><bdi>{{ title }}</bdi></h1></header>
<main>
{% for note in notes %}<p class="warning">{{ note }}</p>
{% endfor %}
{% for chart in charts %}<figure>{{ chart }}</figure>
{% endfor %}
<p class="quiet">Lines: the training loss, the mean of neighbouring reports. Dots: the held-out loss.</p>
{% for table in tables %}<div class="scroll">{{ table }}</div>
{% endfor %}
</main>
"""


@dataclass(frozen=True)
class Point:
    """One report: positions trained on so far, seconds of training, and the losses (nats)."""

    tokens: float
    seconds: float | None
    loss: float
    held_out: float | None


@dataclass(frozen=True)
class PretrainingRun:
    """A pretraining run with its curve. `label` is its letter in the comparison."""

    label: str
    folder: Path
    record: PretrainRecord
    points: list[Point]

    @property
    def name(self) -> str:
        """Return letter and folder, which tell runs by one recipe from each other."""
        return f"{self.label} {self.folder.resolve().name}"

    @property
    def last(self) -> Point:
        """Return the last report."""
        return self.points[-1]

    @property
    def last_held_out(self) -> float | None:
        """Return the last held-out loss."""
        return next((point.held_out for point in reversed(self.points) if point.held_out is not None), None)

    def held_out_at(self, tokens: float) -> float | None:
        """Return the held-out loss after `tokens`, linear between two evaluations; None beyond them."""
        known = [(point.tokens, point.held_out) for point in self.points if point.held_out is not None]
        if not known or not known[0][0] <= tokens <= known[-1][0]:
            return None
        places, losses = zip(*known, strict=True)
        return float(np.interp(tokens, places, losses))


@dataclass(frozen=True, repr=False)
class PretrainingComparison(Shown):
    """Pretraining runs side by side."""

    runs: tuple[PretrainingRun, ...]
    page: Path | None = None

    @property
    def notes(self) -> list[str]:
        """Return what stands in the way of comparing the losses."""
        records = [run.record for run in self.runs]
        facts: dict[str, list[object]] = {
            "vocabularies": [record.data.vocabulary_sha256 for record in records],
            "corpora": [record.data.corpus_sha256 for record in records],
            "objectives": [record.effective.get("objective") for record in records],
            "held-out parts": [record.effective.get("held_out_share") for record in records],
        }
        differing = [what for what, values in facts.items() if len(set(map(str, values))) > 1]
        found = []
        if differing:
            found.append(f"Different {', '.join(differing)}: the losses do not compare as they stand.")
        return found + [
            f"{run.label} is {run.record.status}: its curve so far." for run in self.runs if run.record.results is None
        ]

    @property
    def verdict(self) -> str:
        """Return which run has the lower held-out loss, after equally many tokens and at its end."""
        shared = self.shared_tokens
        at_end = {run.label: loss for run in self.runs if (loss := run.last_held_out) is not None}
        equal = {run.label: loss for run in self.runs if (loss := run.held_out_at(shared)) is not None}
        sentences = [
            f"{when} {min(found, key=lambda label: found[label])} has the lowest held-out loss ({_listed(found)})"
            for when, found in ((f"after {scaled(shared)} tokens", equal), ("at the end", at_end))
            if len(found) == len(self.runs)
        ]
        if not sentences:
            return (
                "not every run has a held-out loss: compare them on tasks, with clue-bench compare --model A --model B"
            )
        return "; ".join(sentences)

    @property
    def shared_tokens(self) -> float:
        """Return the tokens up to which every run has held-out losses."""
        ends = ([p.tokens for p in run.points if p.held_out is not None] or [run.last.tokens] for run in self.runs)
        return min(end[-1] for end in ends)

    @property
    def tables(self) -> tuple[Table, ...]:
        """Return the runs in columns, and the settings that differ."""
        rows: list[list[object]] = [
            ["folder", *(str(run.folder) for run in self.runs)],
            ["model", *(run.record.model.name for run in self.runs)],
            ["parameters", *(count(run.record.model.parameters) for run in self.runs)],
            ["tokens", *(count(run.last.tokens) for run in self.runs)],
            ["training time", *(our_words(_time(run.last.seconds)) for run in self.runs)],
            ["tokens per second", *(_rate(run.last) for run in self.runs)],
            ["loss (nats)", *(f"{run.last.loss:.3f}" for run in self.runs)],
            ["held-out loss (nats)", *(_loss(run.last_held_out) for run in self.runs)],
            [
                f"… after {scaled(self.shared_tokens)} tokens",
                *(_loss(run.held_out_at(self.shared_tokens)) for run in self.runs),
            ],
            ["held-out perplexity", *(_perplexity(run.last_held_out) for run in self.runs)],
            ["corpus", *(f"{run.record.data.name} {run.record.data.revision}" for run in self.runs)],
        ]
        labels = [run.label for run in self.runs]
        notes = [*self.notes, f"Verdict: {self.verdict}."]
        notes += [] if self.page is None else [f"Curves: {self.page}"]
        facts = make_table("", ["", *labels], rows, notes=notes)
        settings = [_flat(run.record.effective) for run in self.runs]
        keys = dict.fromkeys(key for values in settings for key in values)
        differing = [
            [key, *(typed(values.get(key)) or MISSING for values in settings)]
            for key in keys
            if all(key in values for values in settings)  # what an older record lacks is unknown, and no difference
            and len({typed(values[key]) for values in settings}) > 1
            and key != "title"
        ]
        columns = ["setting", *labels]
        return (facts, make_table("Settings that differ", columns, differing)) if differing else (facts,)

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values; losses are nats."""
        return {
            "runs": [
                {
                    "label": run.label,
                    "run_id": run.record.run_id,
                    "folder": str(run.folder),
                    "status": run.record.status,
                    "tokens": run.last.tokens,
                    "seconds": run.last.seconds,
                    "loss": run.last.loss,
                    "held_out_loss": run.last_held_out,
                    "held_out_loss_at_shared_tokens": run.held_out_at(self.shared_tokens),
                }
                for run in self.runs
            ],
            "shared_tokens": self.shared_tokens,
            "notes": self.notes,
            "verdict": self.verdict,
            "page": None if self.page is None else str(self.page),
        }


def compare_pretraining(folders: Sequence[Path]) -> PretrainingComparison:
    """Compare the pretraining runs in `folders`, two to five.

    Raises ClueBenchError for other runs, other numbers of them, and runs without a report.
    """
    if not 2 <= len(folders) <= len(STYLES):
        raise ClueBenchError(
            f"{len(folders)} pretraining runs, expected 2 to {len(STYLES)}", "give the folders of some of them"
        )
    return PretrainingComparison(tuple(_read(folder, "ABCDE"[place]) for place, folder in enumerate(folders)))


def render(comparison: PretrainingComparison) -> str:
    """Return the page: the curves over tokens and over time, and the tables."""
    title = " · ".join(run.name for run in comparison.runs)
    drawn = [_chart(comparison.runs, "tokens")]
    if all(run.last.seconds is not None for run in comparison.runs):
        drawn.append(_chart(comparison.runs, "seconds"))
    body = fill(
        BODY,
        title=title,
        notes=comparison.notes,
        charts=[markup(chart.svg) for chart in drawn],
        tables=[markup(table.to_html()) for table in comparison.tables],
    )
    return Page(title=f"Pretraining runs: {title}", body=body, style=charts.stylesheet(), language="en").html


def _read(folder: Path, label: str) -> PretrainingRun:
    paths = record_paths(folder)
    record = read_record(paths[0]) if len(paths) == 1 else None
    if not isinstance(record, PretrainRecord):
        raise ClueBenchError(
            f"{folder}: no pretraining run", "give the --out of clue-bench pretrain; see clue-bench runs list"
        )
    points = _reported(folder / METRICS)
    if not points and record.results is not None and record.results.curve is not None:
        curve = record.results.curve
        held_out = curve.held_out_loss or [None] * len(curve.tokens)
        points = [Point(*each) for each in zip(curve.tokens, [None] * len(held_out), curve.loss, held_out, strict=True)]
    if not points:
        raise ClueBenchError(f"{folder / METRICS}: no report of this run", "type the command of that run again")
    return PretrainingRun(label, folder, record, points)


def _reported(path: Path) -> list[Point]:
    """Return the finite reports of metrics.jsonl; none without the file. A line that a crash cut short is no report."""
    points = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            report = json.loads(line)
            point = Point(report["tokens"], report.get("seconds"), report["loss"], report.get("held_out_loss"))
            is_finite = math.isfinite(point.loss)
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
        if is_finite:
            points.append(point)
    return points


def _chart(runs: Sequence[PretrainingRun], over: str) -> Chart:
    """Draw the losses of all runs over their tokens or seconds."""
    last = max(float(getattr(run.last, over)) for run in runs)
    size, unit = (1.0, "") if over == "tokens" else next((s, u) for s, u in UNITS if last >= 2 * s or s == 1.0)
    losses = [value for run in runs for point in run.points for value in (point.loss, point.held_out) if value]
    # The first reports are far above the rest and would press the curves to the bottom.
    high = float(np.quantile(losses, 0.98))
    marks = ticks(min(losses), max(high, min(losses) + 1e-3))
    x_marks = [mark for mark in ticks(0.0, last / size) if mark <= last / size]
    x_label = "tokens trained on" if over == "tokens" else f"{unit} of training"
    chart = Chart(
        over,
        title=f"Loss over {'tokens' if over == 'tokens' else 'time'}",
        description="Training losses as lines, held-out losses as dots; the numbers are in the table below.",
        x=Axis(x_label, 0.0, 1.01 * last / size, [(m, short(m) if over == "tokens" else f"{m:g}") for m in x_marks]),
        y=Axis("loss (nats)", marks[0], marks[-1], [(mark, f"{mark:g}") for mark in marks]),
        width=WIDTH,
        height=HEIGHT,
    )
    for run, style in zip(runs, STYLES, strict=False):
        places = np.array([getattr(point, over) for point in run.points], dtype=np.float64) / size
        values = np.array([point.loss for point in run.points])
        groups = np.array_split(np.arange(len(values)), min(MAX_POINTS, len(values)))
        line = [(float(places[group].mean()), float(values[group].mean())) for group in groups]
        chart.line([(x, min(y, marks[-1])) for x, y in line], style, dots=len(line) == 1)
        dots = [(float(x), p.held_out) for x, p in zip(places, run.points, strict=True) if p.held_out is not None]
        chart.dots([(x, min(y, marks[-1])) for x, y in dots], f"dot {style}")
    chart.legend([(run.name, style) for run, style in zip(runs, STYLES, strict=False)], are_names=True)
    return chart


def _flat(values: dict[str, Any], outer: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{outer}{key}.") if isinstance(value, dict) else {f"{outer}{key}": value}
    return flat


def _listed(losses: dict[str, float]) -> str:
    return ", ".join(f"{label} {loss:.3f}" for label, loss in losses.items())


def _time(seconds: float | None) -> str:
    return MISSING if seconds is None else duration(seconds)


def _rate(point: Point) -> str:
    return MISSING if not point.seconds else count(point.tokens / point.seconds)


def _loss(loss: float | None) -> str:
    return MISSING if loss is None else f"{loss:.3f}"


def _perplexity(loss: float | None) -> str:
    return MISSING if loss is None else f"{math.exp(min(loss, 30.0)):,.4g}"
