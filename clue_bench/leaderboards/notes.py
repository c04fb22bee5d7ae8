"""Sentences below a table of measured cells: what its marks mean, on which rows it ranks, and how its rows differ.

Input: a `MeasuredTable`. Output: sentences, in Markdown where they name what a reader has chosen.
"""

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from functools import partial

import numpy as np

from clue_bench.cards import builtin_folder
from clue_bench.leaderboards.cells import (
    CLUE,
    FLOOR_MARK,
    MAJORITY_MARK,
    MeasuredCell,
    MeasuredModel,
    MeasuredTable,
)
from clue_bench.leaderboards.scores import (
    CLUE_COLUMNS,
    READING_COLUMNS,
    TEN_COLUMNS,
    mean_of,
    percent_text,
    percentage,
)
from clue_bench.tables import MISSING, escape
from clue_bench.tasks.task import load_task

MAJORITY_NOTE = (
    f"{MAJORITY_MARK} The model predicts (nearly) only the majority class, or is no better than doing so, "
    "in at least one of the runs behind the cell."
)
FLOOR_NOTE = (
    f"{FLOOR_MARK} The model does not beat the floor: on the same rows, a simple model without any pretraining "
    "is at least as good."
)


NOT_SETTINGS = ("seed", "epochs", "steps", "precision", "evaluations_per_epoch", "max_evaluations")
"""Keys of a record's settings that updates, precision and dev scores stand for."""


def mark_notes(table: MeasuredTable) -> list[str]:
    """Return the meaning of the marks in a table, if it has any."""
    notes = [FLOOR_NOTE] if any(map(table.misses_floor, table.cells)) else []
    notes += [MAJORITY_NOTE] if any(cell.is_majority for cell in table.cells) else []
    return [*notes, *clean_notes(table), *passage_notes(table), *entity_notes(table), *clue_notes(table)]


def entity_notes(table: MeasuredTable) -> list[str]:
    """Return a sentence on the columns of entities, whose score is no accuracy; none without such."""
    found = list(dict.fromkeys(cell.column.name for cell in table.cells if cell.is_of_entities))
    if not found:
        return []
    named = ", ".join(found)
    return [
        f"Macro-F1 over the types of entities, of the right type and place, stands for accuracy: {named}. The floors "
        "there: 无实体, nothing found; 实体词典, the dictionary of train's entities."
    ]


def passage_notes(table: MeasuredTable) -> list[str]:
    """Return a sentence on the columns of questions, whose errors are those of whole passages; none without such."""
    found = {cell.column.name: len(np.unique(cell.passages)) for cell in table.cells if cell.passages is not None}
    if not found:
        return []
    named = ", ".join(f"{column} ({count:,} passages)" for column, count in found.items())
    return [f"Questions on one passage are not independent: intervals, errors and tests draw whole passages: {named}."]


def clue_notes(table: MeasuredTable) -> list[str]:
    """Return the models' scores of CLUE 1.1, or what they lack for one; none for other data, or without reading tasks.

    A part of a reading task's dev rows, or rows in its layout, are other data. The mean of PaddleNLP's ten columns is
    stated where a model has all of the nine, too.
    """
    reading = [column for column in table.columns if column.name in READING_COLUMNS]
    if table.dataset != CLUE or not any(column.dev_rows == _official_rows(column.name) for column in reading):
        return []
    notes = [f"Score of CLUE 1.1, the mean of nine columns: {_means(table, CLUE_COLUMNS)}."]
    if any(set(CLUE_COLUMNS) <= model.percents.keys() for model in table.models):
        notes.append(f"Mean of PaddleNLP's ten columns, these and CMNLI: {_means(table, TEN_COLUMNS)}.")
    return notes


def _official_rows(column: str) -> int | None:
    """Return how many rows dev of a task of ours has, by the name of its column."""
    return load_task(str(builtin_folder("tasks") / f"{column.lower()}.toml")).splits["dev"].rows


def _means(table: MeasuredTable, columns: Sequence[str]) -> str:
    """Return the mean of each row that has all of the columns; then what models lack, those of equal lacks together."""
    found, lacks = [], dict[str, list[str]]()
    for model in table.models:
        mean = mean_of(model.percents, columns)
        if mean is not None:
            found.append(f"{model.label} {percent_text(mean)}")
        elif not model.is_floor:
            missing = ", ".join(column for column in columns if column not in model.percents)
            lacks.setdefault(missing, []).append(model.label)
    lacking = "; ".join(f"{missing} ({', '.join(models)})" for missing, models in lacks.items())
    return ". Lacking: ".join(filter(None, [", ".join(found) or "of no model", lacking]))


def clean_notes(table: MeasuredTable) -> list[str]:
    """Return a sentence for each column whose dev rows training repeats: the scores on the others, which rank."""
    found = []
    for column in table.columns:
        cells = {model.label: model.cells[column.name] for model in table.models if column.name in model.cells}
        repeated = max((cell.repeated_rows or 0 for cell in cells.values()), default=0)
        if repeated:
            known = [(label, clean_percent(cell)) for label, cell in cells.items()]
            scores = ", ".join(f"{label} {percent_text(percent)}" for label, percent in known if percent is not None)
            shared = f"{column.name}: {repeated:,} of {column.dev_rows:,} dev rows have the texts of a training row."
            left = f"Ranks and floors are on the other {column.dev_rows - repeated:,}: {scores}."
            found.append(f"{shared} {left if scores else 'No other row is left to rank models on.'}")
    return found


def differing_conditions(table: MeasuredTable) -> list[str]:
    """Return a sentence that names how the models' rows differ besides the model; none if they do not.

    Only cells of one column are held against each other.
    """
    models = [model for model in table.models if not model.is_floor]
    found = []
    for what, fact in _facts(model.cells.values() for model in models).items():
        of_columns = [_known(models, column.name, fact) for column in table.columns]
        differing = [values for values in of_columns if len(set(values.values())) > 1]
        groups: dict[tuple[str, ...], list[str]] = {}
        for label in (model.label for model in models):
            values = tuple(each[label] for each in differing if label in each)
            if values:
                groups.setdefault(values if len(set(values)) > 1 else values[:1], []).append(label)
        if groups:
            named = {values: " / ".join(dict.fromkeys(values)) for values in groups}
            if len(set(named.values())) < len(groups):  # the same values, on other columns
                named = {values: " / ".join(values) for values in groups}
            found.append(
                f"{what}: " + ", ".join(f"{named[values]} ({', '.join(who)})" for values, who in groups.items())
            )
    if not found:
        return []
    return [escape(f"Not strictly comparable, since the rows differ in more than the model: {'; '.join(found)}.")]


def _facts(cells: Iterable[Iterable[MeasuredCell]]) -> dict[str, Callable[[MeasuredCell], str]]:
    """Return what rows may differ in, by its name: every setting that a record has, and how it was run."""
    keys = dict.fromkeys(key for of_model in cells for cell in of_model for key in cell.effective)
    settings = [key for key in keys if key not in NOT_SETTINGS]
    return {
        "updates": lambda cell: cell.updates_text,
        **{key.replace("_", " "): partial(MeasuredCell.setting, name=key) for key in settings},
        "seeds": lambda cell: str(len(cell.seeds)),
        "settings tried": lambda cell: str(cell.num_settings),
        "dev scores to choose from": lambda cell: str(cell.dev_scores),
        "commit": lambda cell: cell.commit_text,
        "precision": lambda cell: ", ".join(cell.precisions) or MISSING,
        "machine": lambda cell: ", ".join(cell.machines) or MISSING,
    }


def _known(models: Iterable[MeasuredModel], column: str, fact: Callable[[MeasuredCell], str]) -> dict[str, str]:
    """Return a fact of each model's cell in a column, by label, where it is known."""
    found = {model.label: fact(model.cells[column]) for model in models if column in model.cells}
    return {label: value for label, value in found.items() if value != MISSING}


def clean_percent(cell: MeasuredCell) -> Decimal | None:
    """Return the accuracy on the clean rows as it is shown; None if it is not known."""
    return None if cell.clean_accuracy is None else percentage(cell.clean_accuracy)
