"""Measured cells as tables: scores in the layout of the published small-model table, ranks, conditions, all cells.

Input: `MeasuredTable`s. Output: `Table`s, and a section of Markdown. The best of each column, as displayed, is marked,
and so is every tie with it; floors come last and compete, too. Below a table of scores are its split, the data revision
of each column, the ranks that paired tests allow, and the conditions of every cell: whatever qualifies a number stays
close to it.
"""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

from clue_bench.leaderboards.cells import (
    CLUE,
    SYNTHETIC,
    MeasuredCell,
    MeasuredModel,
    MeasuredTable,
    cell_address,
    range_text,
)
from clue_bench.leaderboards.notes import clean_percent, differing_conditions, mark_notes
from clue_bench.leaderboards.ranks import NO_TEST_NOTE, ONE_SEED_NOTE, RANK_NOTE, Ranks, ranks_of
from clue_bench.leaderboards.scores import (
    SCORE,
    SCORE_COLUMNS,
    SPLIT,
    half_up,
    parameters_text,
    percent_text,
    percentage,
)
from clue_bench.numbers import counted
from clue_bench.stats.significance import LEVEL, PairedTest, p_text
from clue_bench.tables import MISSING, Cell, Column, Row, Table, escape, make_table
from clue_bench.tasks.scores import named_f1, score_name, score_names

LEGEND = (
    "模型: model; 参数: parameters; 无预训练: without pretraining; 多数类: majority class; 线性: linear model. "
    "Bold: the largest number of a column, whether or not tests separate it from the others."
)
WITHOUT_PRETRAINING = "无预训练"
FLOORS_NOTE = (
    "Rows in *italics* are floors, simple models without any pretraining: the majority class of train, and a linear "
    "model on TF-IDF of character n-grams. Their parameters are the coefficients that each task needs."
)
SELECTION_NOTE = (
    "Selection bias (≈): about what choosing the best of N dev scores, the sum over settings of the scores of a run, "
    "adds to a cell, in points: the choice is repeated on redrawn dev rows, and the chosen held against its score on "
    "the rows as they are. Records of older versions do not say enough for it."
)
BEST_NOTE = (
    "A run's score is that of its best evaluation on dev, whatever that predicted; where it is (nearly) one class, the "
    "best evaluation that is not stands beside it."
)
SUMMARY_NOTE = (
    "The interval is over dev rows and seeds, of one seed over rows alone; p is that of the leaderboard's paired test "
    "against the best floor, before any correction. A model with one seed varies as the others of its task do; where "
    "none has several seeds, there is no p."
)


def score_table(table: MeasuredTable, ranks: Sequence[Ranks] = (), *, as_published: bool = False) -> Table:
    """Return the table of scores, its `ranks` below the numbers.

    Score is included if its four columns are; with `as_published`, all of them are if any of the four is.
    """
    columns = {column.name: column for column in table.columns}
    enough = any if as_published else all
    of_score = list(SCORE_COLUMNS) if enough(name in columns for name in SCORE_COLUMNS) else []
    names = [*of_score, *(name for name in columns if name not in of_score)]
    numbers = [*([SCORE] if of_score else []), *names]
    percents = {model.label: _percents(model) for model in table.models}
    best = {name: max((row[name] for row in percents.values() if name in row), default=None) for name in numbers}
    by_column = {of_column.column: of_column for of_column in ranks}

    def number(model: MeasuredModel, name: str) -> Cell:
        percent = percents[model.label].get(name)
        if percent is None:
            return Cell(MISSING)
        mark = table.mark(model.cells[name]) if name in model.cells else ""
        below = by_column[name].rank_text(model.label) if name in by_column else ""
        address = cell_address(table.address, model.label, name)
        return Cell(percent_text(percent), percent, mark, percent == best[name], below=below, address=address)

    rows = []
    for model in table.models:
        cells = [number(model, name) for name in numbers]
        cells.insert(len(numbers) - len(names), _parameters(model))
        search = f"{model.label} {model.name} {model.sha256[:8]}"
        rows.append(Row((Cell(model.label), *cells), WITHOUT_PRETRAINING if model.is_floor else "", search))
    heads = [_column(table, name) for name in numbers]
    heads.insert(len(numbers) - len(names), Column("参数", "parameters", True))
    return Table(table.title, (Column("模型", "model"), *heads), tuple(rows), tuple(mark_notes(table)), table.address)


def ranks_table(table: MeasuredTable, ranks: Sequence[Ranks]) -> Table:
    """Return the ranks of the models in every column."""
    rows = [[model.label, *(of_column.text(model.label) for of_column in ranks)] for model in table.models]
    return make_table("Ranks", ["模型", *(Column(each.column, is_name=True) for each in ranks)], rows)


def conditions_table(table: MeasuredTable) -> Table:
    """Return the conditions of each cell: a row per cell, models in the table's order, columns from left to right."""
    places = list(_places(table))
    columns = _named(CONDITIONS, places)
    return make_table("Conditions", columns, _rows(columns, places))


def summary_table(table: MeasuredTable) -> Table:
    """Return a row per model and task: mean, interval, and the paired test against the best floor."""
    places = [place for place in _places(table) if not place.cell.is_floor]
    named = _named(SUMMARY, places)
    columns = [
        Column(
            name,
            is_number=name in NUMBERS,
            is_below=name in BELOW,
            is_detail=name in DETAILS,
            is_words=name not in NAMES,
        )
        for name in named
    ]
    return make_table(f"{table.title}, against the floors", columns, _rows(named, places), notes=[SUMMARY_NOTE])


def cell_table(tables: Iterable[MeasuredTable]) -> Table:
    """Return a line per cell with everything that qualifies its number, in the order of tables, models and columns.

    Published scores are not included: they have files of their own, and no column contains both.
    """
    rows = _rows(CELL_COLUMNS, (place for table in tables for place in _places(table)))
    return make_table("Measured cells", CELL_COLUMNS, rows)


def cell_values(label: str, cell: MeasuredCell, table: MeasuredTable) -> dict[str, Any]:
    """Return the results of a cell as plain values, shares of 1, with its test against the best floor."""
    floor, over = table.floor_of(cell.column.name), table.over_floor(cell)
    test = _test_against_floor(label, cell, table)
    low, high = cell.interval
    return {
        "model": cell.model,
        "task": cell.column.task,
        "data_revision": cell.column.revision,
        "seeds": len(cell.seeds),
        "accuracies": [float(share) for share in cell.accuracies],
        "mean": float(cell.accuracy),
        "clean": None if cell.clean_accuracy is None else float(cell.clean_accuracy),
        "repeated_rows": cell.repeated_rows,
        "non_constant": [None if share is None else float(share) for share in cell.non_constant],
        "selection_bias": cell.bias,
        "deviation": statistics.stdev(map(float, cell.accuracies)) if len(cell.accuracies) > 1 else None,
        "interval": {"low": low, "high": high, "level": LEVEL},
        **named_f1(cell.kind, float(cell.macro_f1)),
        "majority_share": float(cell.majority_shares[0]),
        "flags": [flag for flag, _ in cell.flags],
        "seconds": cell.seconds,
        "floor": None if floor is None or cell.is_floor else floor.name,
        "over_floor": None if over is None else float(over),
        "test": None if test is None else {**test._asdict(), "interval": test.interval._asdict()},
    }


def measured_section(table: MeasuredTable, ranks: Sequence[Ranks] | None = None) -> str:
    """Return a measured table with its split, its data revisions, its footnotes and the conditions of every cell."""
    ranks = ranks_of(table) if ranks is None else ranks
    parts = [score_table(table, as_published=True).to_markdown(), LEGEND, _data_sentences(table)]
    parts += [FLOORS_NOTE] if any(model.is_floor for model in table.models) else []
    parts += mark_notes(table)
    if any(of_column.pairs for of_column in ranks):  # else no two models can be tested against each other
        parts += ["Ranks:", ranks_table(table, ranks).to_markdown(), RANK_NOTE]
        parts += [NO_TEST_NOTE] if any(of_column.untested for of_column in ranks) else []
    parts += [ONE_SEED_NOTE] if any(of_column.one_seed for of_column in ranks) else []
    parts += differing_conditions(table)
    if any(cell.dev_scores > 1 for cell in table.cells):
        parts.append(SELECTION_NOTE)
    parts += [BEST_NOTE] if any(cell.has_constant and not cell.is_floor for cell in table.cells) else []
    return "\n\n".join([*parts, "Conditions:", conditions_table(table).to_markdown()])


class _Place(NamedTuple):
    """A cell with its row and its table."""

    model: MeasuredModel
    cell: MeasuredCell
    table: MeasuredTable


_Columns = Mapping[str, Callable[[_Place], object]]


def _places(table: MeasuredTable) -> Iterable[_Place]:
    """Yield every cell, models in the table's order, columns from left to right."""
    names = [column.name for column in table.columns]
    return (_Place(m, m.cells[name], table) for m in table.models for name in names if name in m.cells)


def _named(columns: _Columns, places: Iterable[_Place]) -> _Columns:
    """Return the columns with their scores called what they are of these cells' tasks, without an F1 that none has."""
    kinds = {place.cell.kind for place in places}
    accuracy, (_, f1) = score_name(*kinds), score_names(kinds)
    names = {"Accuracy (mean ± sd)": f"{accuracy[0].upper()}{accuracy[1:]} (mean ± sd)", "macro-F1": f1}
    names["Macro-F1"] = f1[:1].upper() + f1[1:]
    return {names.get(name, name): value for name, value in columns.items() if names.get(name, name)}


def _rows(columns: _Columns, places: Iterable[_Place]) -> list[list[object]]:
    return [[value(place) for value in columns.values()] for place in places]


def _percents(model: MeasuredModel) -> dict[str, Decimal]:
    return model.percents if model.score is None else {SCORE: model.score, **model.percents}


def _parameters(model: MeasuredModel) -> Cell:
    counts = list(dict.fromkeys(map(parameters_text, model.parameters)))
    text = counts[0] if len(counts) == 1 else f"{counts[0]}–{counts[-1]}"
    return Cell(text, max(model.parameters))


def _column(table: MeasuredTable, name: str) -> Column:
    """Return a column of percentages, with its data and its tags for filters."""
    own = [c for c in table.columns if (c.name in SCORE_COLUMNS if name == SCORE else c.name == name)]
    if not own:
        return Column(name, "", True, {"task": name}, is_name=True)
    note = "mean of four" if name == SCORE else f"{own[0].revision}\n{own[0].dev_rows:,} rows"
    revision = "official" if all(column.is_official for column in own) else "other"
    return Column(name, note, True, {"task": name, "revision": revision}, is_name=name != SCORE)


def _test_against_floor(label: str, cell: MeasuredCell, table: MeasuredTable) -> PairedTest | None:
    """Return the paired test against the best floor; None for a floor, without one, or if a record says too little."""
    floor = None if cell.is_floor else table.floor_of(cell.column.name)
    tests = None if floor is None else table.tests[cell.column.name].pair(label, floor.label)
    return None if tests is None else tests.test(0, 1)


def _data_sentences(table: MeasuredTable) -> str:
    """Return the data of the columns, and which of them must not be compared with published scores."""
    held = ", ".join(f"{escape(c.name)} {escape(c.revision)} ({c.dev_rows:,} rows)" for c in table.columns)
    sentences = [f"Split: {SPLIT}. Data revision: {held}."]
    others = [escape(column.name) for column in table.columns if not column.is_official]
    if table.dataset == SYNTHETIC:
        sentences.append("The data is synthetic, not CLUE: no column is comparable with published scores.")
    elif others:
        sentences.append(f"Not comparable with published scores, since the data is not official: {', '.join(others)}.")
    if table.dataset == CLUE and len(others) < len(table.columns):
        sentences.append(f"The published small-model table is on test, this one on {SPLIT}.")
    return " ".join(sentences)


def _mean_text(cell: MeasuredCell) -> str:
    return percent_text(cell.percent) + ("" if cell.deviation is None else f" ± {cell.deviation}")


def _seeds_text(cell: MeasuredCell) -> str:
    """Return `3`, or `3 (1 repeat left out)` if a seed was run more than once."""
    number = len(cell.repeats)
    return f"{len(cell.seeds)}" + f" ({counted(number, 'repeat')} left out)" * bool(number)


def _steps_text(cell: MeasuredCell) -> str:
    """Return `200 of 600`, or `200–300 of 600` if seeds differ; a dash for a floor."""
    return f"{range_text(cell.best_steps)} of {cell.updates_text}" if any(cell.total_steps) else MISSING


def _flags_text(cell: MeasuredCell) -> str:
    runs = len(cell.runs)
    return ", ".join(flag if num == runs else f"{flag} ({num} of {runs})" for flag, num in cell.flags) or MISSING


def _interval_text(cell: MeasuredCell) -> str:
    low, high = cell.interval
    return f"{100 * low:.2f} … {100 * high:.2f}"


def _shares_text(shares: Iterable[Fraction]) -> str:
    return " / ".join(dict.fromkeys(percent_text(percentage(share)) for share in shares))


def _p_value_text(at: _Place) -> str:
    test = _test_against_floor(at.model.label, at.cell, at.table)
    return MISSING if test is None else p_text(test.p_value).removeprefix("= ")


def _points_over_floor(cell: MeasuredCell, table: MeasuredTable) -> Decimal | None:
    over = table.over_floor(cell)
    return None if over is None else half_up(over * 100)


CONDITIONS: _Columns = {
    "模型": lambda at: at.model.label,
    "Task": lambda at: at.cell.column.name,
    "Split, data": lambda at: f"{SPLIT}, {at.cell.column.revision}",
    "Seeds": lambda at: _seeds_text(at.cell),
    "Accuracy (mean ± sd)": lambda at: _mean_text(at.cell),
    "Sampling error (1σ)": lambda at: f"± {at.cell.sampling_error}",
    "Macro-F1": lambda at: at.cell.f1_text,
    "Majority share": lambda at: _shares_text(at.cell.majority_shares),
    "Points over the floor": lambda at: at.table.over_floor_text(at.cell),
    "Chosen from (selection bias)": lambda at: at.cell.selection_text,
    "Best step of steps": lambda at: _steps_text(at.cell),
    "Commit": lambda at: at.cell.commit_text,
    "Flags": lambda at: _flags_text(at.cell),
    "On clean rows": lambda at: at.cell.clean_text,
    "Best not constant": lambda at: at.cell.non_constant_text,
    "Settings": lambda at: at.cell.settings_text,
}
SUMMARY: _Columns = {
    "task": lambda at: at.cell.column.name,
    "model": lambda at: at.model.label,
    "seeds": lambda at: len(at.cell.seeds),
    "mean ± sd": lambda at: Cell(_mean_text(at.cell), at.cell.percent, at.table.mark(at.cell)),
    "95 % interval": lambda at: _interval_text(at.cell),
    "on clean rows": lambda at: at.cell.clean_text,
    "best not constant": lambda at: at.cell.non_constant_text,
    "macro-F1": lambda at: at.cell.f1_text,
    "over the best floor": lambda at: at.table.over_floor_text(at.cell),
    "p": _p_value_text,
    "chosen from": lambda at: at.cell.selection_text,
    "seconds": lambda at: Cell(f"{at.cell.seconds:,.0f}", at.cell.seconds),
    "data revision": lambda at: at.cell.column.revision,
}
NUMBERS = ("seeds", "seconds")
NAMES = ("task", "model", "data revision")
BELOW = ("95 % interval", "best not constant", "over the best floor", "p")
DETAILS = ("on clean rows", "macro-F1", "F1", "macro-F1 or F1", "chosen from", "seconds", "data revision")
"""Columns of the summary that hold numbers, that may stand below a row, and that a narrow terminal leaves out."""

CELL_COLUMNS: _Columns = {
    "data": lambda at: at.table.dataset,
    "table": lambda at: at.table.number,
    "split": lambda at: SPLIT,
    "model": lambda at: at.model.name,
    "model_sha256": lambda at: at.model.sha256,
    "is_floor": lambda at: at.model.is_floor,
    "parameters": lambda at: at.cell.parameters,
    "column": lambda at: at.cell.column.name,
    "task": lambda at: at.cell.column.task,
    "data_revision": lambda at: at.cell.column.revision,
    "dev_rows": lambda at: at.cell.column.dev_rows,
    "accuracy_percent": lambda at: at.cell.percent,
    "clean_accuracy_percent": lambda at: clean_percent(at.cell),
    "repeated_rows": lambda at: at.cell.repeated_rows,
    "sd_points": lambda at: at.cell.deviation,
    "sampling_error_points": lambda at: at.cell.sampling_error,
    "macro_f1_percent": lambda at: named_f1(at.cell.kind, percentage(at.cell.macro_f1)).get("macro_f1"),
    "f1_percent": lambda at: named_f1(at.cell.kind, percentage(at.cell.macro_f1)).get("f1"),
    "majority_share_percent": lambda at: " ".join(str(percentage(s)) for s in at.cell.majority_shares),
    "points_over_floor": lambda at: _points_over_floor(at.cell, at.table),
    "misses_floor": lambda at: at.table.misses_floor(at.cell),
    "seeds": lambda at: " ".join(map(str, at.cell.seeds)),
    "num_settings": lambda at: at.cell.num_settings,
    "settings": lambda at: at.cell.settings,
    "learning_rate": lambda at: at.cell.effective.get("learning_rate"),
    "updates": lambda at: None if at.cell.is_floor else at.cell.updates_text,
    "batch_size": lambda at: at.cell.effective.get("batch_size"),
    "max_length": lambda at: at.cell.effective.get("max_length"),
    "dropout": lambda at: at.cell.effective.get("dropout"),
    "options": lambda at: ", ".join(at.cell.options),
    "runs": lambda at: " ".join(at.cell.runs),
    "commits": lambda at: " ".join(filter(None, at.cell.commits)),
    "flags": lambda at: " ".join(flag for flag, _ in at.cell.flags),
}
"""The columns of the CSV file. Several values in one cell are separated by blanks."""
