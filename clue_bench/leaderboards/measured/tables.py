"""Measured cells as Markdown, in the layout of the published small-model table.

Input: `MeasuredTable`s. Output: Markdown text. The best of each column, as displayed, is bold, and so is every tie
with it; floors, in italics, stand last and compete too. Under a measured table stand its split, the data revision of
each column, the ranks that paired tests allow, and the conditions of every cell: what qualifies a number stays in sight
of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from clue_bench.leaderboards.markdown import escape, markdown_table
from clue_bench.leaderboards.measured.cells import CLUE, SYNTHETIC, MeasuredTable
from clue_bench.leaderboards.measured.conditions import CONDITIONS, conditions_rows, differing_conditions
from clue_bench.leaderboards.measured.floors import FLOOR_MARK, FLOOR_NOTE, FLOORS_NOTE, misses_floor
from clue_bench.leaderboards.measured.optimism import OPTIMISM_NOTE
from clue_bench.leaderboards.measured.ranks import NO_TEST_NOTE, RANK_NOTE, ranks_of
from clue_bench.leaderboards.scores import SCORE as SCORE
from clue_bench.leaderboards.scores import SCORE_COLUMNS, parameters_text, percent_text, score_of
from clue_bench.leaderboards.scores import SPLIT as SPLIT

LEGEND = "模型: model; 参数: parameters; 无预训练: without pretraining; 多数类: majority class; 线性: linear model."

MAJORITY_MARK = "†"
MAJORITY_NOTE = (
    f"{MAJORITY_MARK} The model predicts (nearly) only the majority class, or is no better than doing so, "
    "in at least one of the runs behind the cell."
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
    parts = [score_table(_measured_rows(table), [*standard, *others]), LEGEND, _data_sentences(table)]
    cells = [cell for model in table.models for cell in model.cells.values()]
    if any(model.is_floor for model in table.models):
        parts.append(FLOORS_NOTE)
    if any(misses_floor(cell, table) for cell in cells):
        parts.append(FLOOR_NOTE)
    if any(cell.is_majority for cell in cells):
        parts.append(MAJORITY_NOTE)
    parts += ranks_section(table)
    parts += differing_conditions(table)
    if any(cell.dev_scores > 1 for cell in cells):
        parts.append(OPTIMISM_NOTE)
    parts += ["Conditions:", markdown_table(CONDITIONS, conditions_rows(table))]
    return "\n\n".join(parts)


def ranks_section(table: MeasuredTable) -> list[str]:
    """Return the table of ranks and what it says; nothing where no two models can be tested against each other."""
    ranks = ranks_of(table)
    if not any(of_column.pairs for of_column in ranks):
        return []
    header = ["模型", *(escape(of_column.column) for of_column in ranks)]
    rows = [[escape(model.label), *(of_column.text(model.label) for of_column in ranks)] for model in table.models]
    notes = [NO_TEST_NOTE] * any(of_column.untested for of_column in ranks)
    return ["Ranks:", markdown_table(header, rows), RANK_NOTE, *notes]


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


def _number(percent: Decimal | None, best: Decimal | None, mark: str) -> str:
    """Return one percentage, bold if it is the best of its column."""
    text = percent_text(percent)
    return (f"**{text}**" if percent is not None and percent == best else text) + mark
