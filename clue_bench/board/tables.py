"""Measured cells as Markdown, in the layout of the published small-model table.

Enters: `MeasuredTable`s. Leaves: Markdown text. The best of each column, as displayed, is bold, and so is every tie
with it; floors, in italics, stand last and compete too. Under a measured table stand its split, the data revision of
each column and the conditions of every cell: what qualifies a number stays in sight of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from clue_bench.board.cells import CLUE, SYNTHETIC, Cell, MeasuredTable
from clue_bench.board.floors import FLOOR_MARK, FLOOR_NOTE, FLOORS_NOTE, misses_floor, over_floor_text
from clue_bench.board.markdown import escape, markdown_table
from clue_bench.board.scores import (
    MISSING,
    SCORE_COLUMNS,
    parameters_text,
    percent_text,
    percentage,
    score_of,
)

SCORE = "Score"
SPLIT = "dev"  # the only split whose labels are public, so the only one a run can score itself

MAJORITY_MARK = "†"
MAJORITY_NOTE = (
    f"{MAJORITY_MARK} The model predicts (nearly) only the majority class, or is no better than doing so, "
    "in at least one of the runs behind the cell."
)

CONDITIONS = (
    "模型",
    "Task",
    "Seeds",
    "Accuracy (mean ± sd)",
    "Sampling error (1σ)",
    "Macro-F1",
    "Majority share",
    "Points over the floor",
    "Settings tried",
    "Best step of steps",
    "Commit",
    "Flags",
)


@dataclass(frozen=True)
class TableRow:
    """One row: percentages by column, and marks that follow a number, by column or "Score"."""

    model: str
    parameters: str
    percents: Mapping[str, Decimal]
    marks: Mapping[str, str] = field(default_factory=dict)
    is_floor: bool = False


def score_table(rows: Sequence[TableRow], columns: Sequence[str] = SCORE_COLUMNS) -> str:
    """Return the small-model table; Score is shown where `columns` hold the four that it is the mean of."""
    with_score = set(SCORE_COLUMNS) <= set(columns)
    values: list[dict[str, Decimal]] = []
    for row in rows:
        score = score_of(row.percents)
        values.append({**row.percents, **({SCORE: score} if score is not None else {})})
    numbers = [*([SCORE] if with_score else []), *columns]
    best = {name: max((value[name] for value in values if name in value), default=None) for name in numbers}
    body = []
    for row, value in zip(rows, values, strict=True):
        cells = [_number(value.get(name), best[name], row.marks.get(name, "")) for name in numbers]
        cells.insert(1 if with_score else 0, row.parameters)
        body.append([f"*{escape(row.model)} (无预训练)*" if row.is_floor else escape(row.model), *cells])
    return markdown_table(["模型", *([SCORE] if with_score else []), "参数", *map(escape, columns)], body)


def measured_section(table: MeasuredTable) -> str:
    """Return a measured table with its split, its data revisions, its footnotes and the conditions of every cell."""
    names = [column.name for column in table.columns]
    others = [name for name in names if name not in SCORE_COLUMNS]
    standard = SCORE_COLUMNS if len(others) < len(names) else ()
    parts = [score_table(_measured_rows(table), [*standard, *others]), _data_sentences(table)]
    cells = [(model.label, model.cells[name]) for model in table.models for name in names if name in model.cells]
    if any(model.is_floor for model in table.models):
        parts.append(FLOORS_NOTE)
    if any(misses_floor(cell, table) for _, cell in cells):
        parts.append(FLOOR_NOTE)
    if any(cell.is_majority for _, cell in cells):
        parts.append(MAJORITY_NOTE)
    parts.append("Conditions:")
    parts.append(markdown_table(CONDITIONS, [_conditions(label, cell, table) for label, cell in cells]))
    return "\n\n".join(parts)


def _measured_rows(table: MeasuredTable) -> list[TableRow]:
    """Return a row per model, with the marks of its cells."""
    rows = []
    for model in table.models:
        marks = {
            name: (MAJORITY_MARK if cell.is_majority else "") + (FLOOR_MARK if misses_floor(cell, table) else "")
            for name, cell in model.cells.items()
        }
        counts = list(dict.fromkeys(map(parameters_text, model.parameters)))
        parameters = counts[0] if len(counts) == 1 else f"{counts[0]}–{counts[-1]}"
        rows.append(TableRow(model.label, parameters, model.percents, marks, model.is_floor))
    return rows


def _data_sentences(table: MeasuredTable) -> str:
    """Return what data the columns hold, and which of them nobody may compare with published scores."""
    held = ", ".join(f"{escape(c.name)} {escape(c.revision)} ({c.dev_rows:,} rows)" for c in table.columns)
    sentences = [f"Split: {SPLIT}. Data revision: {held}."]
    foreign = [escape(column.name) for column in table.columns if not column.is_official]
    if table.dataset == SYNTHETIC:
        sentences.append("The data is synthetic, not CLUE: no column is comparable with published scores.")
    elif foreign:
        sentences.append(f"Not comparable with published scores, since the data is not official: {', '.join(foreign)}.")
    if table.dataset == CLUE and len(foreign) < len(table.columns):
        sentences.append(f"The published small-model table is on test, this one on {SPLIT}.")
    return " ".join(sentences)


def _conditions(label: str, cell: Cell, table: MeasuredTable) -> list[str]:
    """Return one row of the conditions table."""
    seeds, runs = len(cell.seeds), len(cell.runs)
    spread = "" if cell.deviation is None else f" ± {cell.deviation}"
    tried = cell.num_settings
    return [
        escape(label),
        escape(cell.column.name),
        str(seeds) if runs == seeds else f"{seeds} ({runs} runs)",
        f"{percent_text(cell.percent)}{spread}",
        f"± {cell.sampling_error}",
        percent_text(percentage(cell.macro_f1)),
        " / ".join(dict.fromkeys(percent_text(percentage(share)) for share in cell.majority_shares)),
        escape(over_floor_text(cell, table)),
        "1" if tried == 1 else f"best of {tried} settings",
        f"{_range(cell.best_steps)} of {_range(cell.total_steps)}" if any(cell.total_steps) else MISSING,
        escape(", ".join(filter(None, cell.commits))) or MISSING,
        escape(", ".join(flag if num == runs else f"{flag} ({num} of {runs})" for flag, num in cell.flags)) or MISSING,
    ]


def _range(steps: Sequence[int]) -> str:
    """Return `300`, or `200–300` where seeds differ."""
    return str(steps[0]) if len(steps) == 1 else f"{min(steps)}–{max(steps)}"


def _number(percent: Decimal | None, best: Decimal | None, mark: str) -> str:
    """Return one percentage, bold if it is the best of its column."""
    text = percent_text(percent)
    return (f"**{text}**" if percent is not None and percent == best else text) + mark
