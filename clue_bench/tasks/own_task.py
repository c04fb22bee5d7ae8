"""Cards for rows of one's own: which task they are, and its classes.

Input: rows that `own` has read, and which columns hold texts and label, or that obvious ones are to be found. Output: a
card as a task of CLUE has one (classification, entities, questions with choices or with passages), and notes.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from clue_bench.cards import card_paths, decode
from clue_bench.errors import ClueBenchError
from clue_bench.tasks.choices import LETTERS, choices_of
from clue_bench.tasks.columns import Columns, QuestionColumns, as_names, find_columns, find_questions
from clue_bench.tasks.download import NotServed
from clue_bench.tasks.entities import LAYOUT, hold_entities, is_spans, laid_out, stated_entities
from clue_bench.tasks.formats import is_rows_file
from clue_bench.tasks.own import OwnRows, check_classes, name_of, nearest_file, one_class, own_rows
from clue_bench.tasks.own_about import MAX_LABELS_SHOWN
from clue_bench.tasks.rows import LABELLED_SPLITS, is_missing, spelled, value_at
from clue_bench.tasks.sources import (
    SPLIT_NAMES,
    Refused,
    RowSource,
    label_name,
    name_in,
    no_rows,
    require,
    source_of,
    stated_labels,
)
from clue_bench.tasks.task import Task, load_task

MAX_LENGTH = 128  # tokens, of a task without a card
QUESTION_LENGTH = 512  # tokens, with the passage
FIRST_ROWS = 20  # by which a layout is known


def own_task_of(
    name: str | Task | None, rows: Any, data: Any, *, text: Columns | None, label: str | int | None
) -> tuple[Task, OwnRows, list[str]]:
    """Return a card for the rows of `data`, the rows by split, and notes. Without a name, it is the file's.

    Raises ClueBenchError if `rows` have no obvious columns and none are given, or are no task.
    """
    if isinstance(rows, Path):
        if not rows.exists():
            raise ClueBenchError(f"{rows}: no such file or folder", nearest_file(rows))
        if name is None:
            raise ClueBenchError(
                f"{rows}: which task? it is no file of rows, and has no train.csv or the like in it",
                "give --task TASK (clue-bench tasks list), or --data FILE with rows of your own",
            )
        raise ClueBenchError(f"{rows}: the fields of a folder's files are named by a card", "leave text and label out")
    if isinstance(name, Task):
        raise ClueBenchError(f"task {name.name}: its card names the fields", "leave text and label out")
    if name is None and not isinstance(data, str | Path):
        raise ClueBenchError("rows in memory, but no task that they belong to", "give the task a name")
    called = name_of(Path(data)) if name is None else name
    try:
        split = name_in("train", rows) if isinstance(rows, Mapping) else None
        source = source_of(rows if split is None else rows[split], str(label))
        where = source.called or called
        questions = find_questions(source.columns, where=where) if text is None and label is None else None
        if questions is not None:
            by_split = own_rows(rows, [*questions.texts, *questions.choices], questions.label, are_questions=True)
            return _own_questions(called, by_split, questions), by_split, [questions.note, *by_split.notes]
        columns = find_columns(source.columns, text=text, label=label, where=where)
        if len(columns.texts) == 1 and _names_entities(source, columns.label):
            by_split = own_rows(rows, columns.texts, columns.label, are_questions=True)
            note = f"{called}: '{columns.label}' holds entities, as in CLUENER's layout"
            if any(map(is_spans, _first_values(source, columns.label))):
                note = (
                    f"{called}: '{columns.label}' holds entities as [start, end, type], end not included, "
                    "as doccano has them"
                )
            card = _own_entities(called, by_split, text=columns.texts[0], label=columns.label)
            return card, by_split, [note, *([columns.note] if columns.note else []), *by_split.notes]
        by_split = own_rows(rows, columns.texts, columns.label)
    except NotServed as error:
        raise ClueBenchError(f"{called}: {error.reason}", getattr(error, "hint", "give such rows")) from error
    card = own_task(called, by_split, text=columns.texts, label=columns.label)
    return card, by_split, [*([columns.note] if columns.note else []), *by_split.notes]


def card_for(name: str, data: Any) -> Task:
    """Return the card called `name`, a name or a path. Raises ClueBenchError, for rows with a hint to name columns."""
    try:
        return load_task(name)
    except ClueBenchError as error:
        is_folder = isinstance(data, str | Path) and not is_rows_file(Path(data).name)
        if is_folder or name.endswith(".toml") or name in card_paths("tasks"):
            raise
        hint = 'name the columns of rows without a card: text="…", label="…"'
        if isinstance(data, str | Path):
            hint = "leave out --task, or name the columns: --text COLUMN --label COLUMN"
        raise ClueBenchError(error.message, hint) from error


def own_task(name: str, data: Any, *, text: Columns, label: str | int) -> Task:
    """Return a card for rows without one: the classes are the labels of the training rows, sorted.

    Of one table that is divided, the classes are those of all its labelled rows. `text` names the column of texts, or
    the two columns of pairs; a column that is called by a number, by the number. Raises ClueBenchError.
    """
    if name in card_paths("tasks"):
        raise ClueBenchError(f"there is a task card called '{name}' already", "give it another name")
    fields = as_names(text)
    label = str(label)
    try:
        rows = own_rows(data, fields, label)
        of = LABELLED_SPLITS if rows.is_divided else ("train",)
        labels = _labels(rows.splits, fields, label, of=of)
        _check_known(rows.splits, label, labels, of=of)
    except NotServed as error:
        raise ClueBenchError(f"{name}: {error.reason}", getattr(error, "hint", "give such rows")) from error
    values = {
        "name": name,
        "title": name,
        "column": name,
        "text_fields": fields,
        "label_field": label,
        "labels": labels,
        "label_descriptions": labels,
        "metric": "accuracy",
        "max_length": MAX_LENGTH,
        "splits": {split: {"file": f"{split}.json"} for split in SPLIT_NAMES if split in rows.splits},
    }
    return decode(Task, values, where=f"the task '{name}' of these rows")


def _own_questions(name: str, rows: OwnRows, columns: QuestionColumns) -> Task:
    """Return a card for questions; of those with choices, as many labels as the one with the most choices has."""
    values: dict[str, Any] = {
        "name": name,
        "title": name,
        "column": name,
        "text_fields": columns.texts,
        "list_separator": "\n",
        "label_field": columns.label,
        "max_length": QUESTION_LENGTH,
        "splits": {split: {"file": f"{split}.json"} for split in SPLIT_NAMES if split in rows.splits},
    }
    if not columns.choices:
        span = {"kind": "span", "metric": "exact_match"}
        return decode(Task, {**values, **span}, where=f"the task '{name}' of these rows")
    most = 2
    for split, source in rows.splits.items():
        for place, row in zip(source.places, source.rows, strict=True):
            listed = [value_at(dict(row), field) for field in columns.choices]
            most = max(most, len(choices_of(listed, most=len(LETTERS), where=f"{source.called or split}, {place}")))
    numbers = [str(number) for number in range(most)]
    choice: dict[str, Any] = {
        "kind": "choice",
        "choice_fields": columns.choices,
        "labels": numbers,
        "label_descriptions": list(LETTERS[:most]),
        "metric": "accuracy",
    }
    return decode(Task, {**values, **choice}, where=f"the task '{name}' of these rows")


def _names_entities(source: RowSource, label: str) -> bool:
    """Return whether the first labels of rows are in CLUENER's layout, or doccano's."""
    return hold_entities(_first_values(source, label))


def _first_values(source: RowSource, field: str) -> list[Any]:
    return [value_at(dict(row), field) for row in islice(iter(source.rows), FIRST_ROWS)]


def _own_entities(name: str, rows: OwnRows, *, text: str, label: str) -> Task:
    """Return a card for texts with entities, of the types that train and dev have."""
    labels = set()
    for split in LABELLED_SPLITS:
        source = rows.splits[split]
        for place, row in zip(source.places, source.rows, strict=True):
            where = f"{source.called or split}, {place}: {label}"
            value = laid_out(value_at(dict(row), label), value_at(dict(row), text), where)
            labels |= {stated[0] for stated in stated_entities(value, where)}
    if not labels:
        raise ClueBenchError(f"{name}: no text of train or dev has an entity in '{label}'", LAYOUT)
    values = {
        "name": name,
        "kind": "tags",
        "title": name,
        "column": name,
        "text_fields": [text],
        "label_field": label,
        "labels": sorted(labels),
        "label_descriptions": sorted(labels),
        "metric": "entity_f1",
        "max_length": MAX_LENGTH,
        "splits": {split: {"file": f"{split}.json"} for split in SPLIT_NAMES if split in rows.splits},
    }
    return decode(Task, values, where=f"the task '{name}' of these rows")


def _labels(splits: Mapping[str, RowSource], fields: list[str], label: str, *, of: Iterable[str]) -> list[str]:
    """Return the classes of the splits `of`, sorted, or as a Dataset names them."""
    counts: dict[str, int] = {}
    for name in (split for split in of if split in splits):
        source = splits[name]
        if not source.num_rows:
            raise no_rows(name)
        require([*fields, label], source, source.called or name)
        values = stated_labels(source, label, source.called or name)
        if source.names is not None:
            if len(source.names) < 2:
                raise one_class(label, source.names)
            return source.names
        for place, value in zip(source.places, values, strict=True):
            found = label_name(value, f"{source.called or name}, {place}: {label}")
            counts[found] = counts.get(found, 0) + 1
    check_classes(counts, label)
    return sorted(counts)


def _check_known(splits: Mapping[str, RowSource], label: str, labels: Sequence[str], *, of: Sequence[str]) -> None:
    """Raise NotServed if a row of another split than `of` has a label that is not one of `labels`, those of `of`."""
    known = set(labels)
    for split, source in splits.items():
        if split in of or source.names is not None:
            continue
        for place, row in zip(source.places, source.rows, strict=True):
            value = value_at(dict(row), label)
            if is_missing(value) or (split not in LABELLED_SPLITS and spelled(value) == "-1"):
                continue
            where = f"{source.called or split}, {place}"
            if (found := label_name(value, f"{where}: {label}")) not in known:
                shown = ", ".join(labels[:MAX_LABELS_SHOWN]) + ", …" * (len(labels) > MAX_LABELS_SHOWN)
                raise Refused(
                    f"{where}: label '{found}' is not among the {len(labels)} labels of {' and '.join(of)}: {shown}",
                    "correct the label, leave the row out, or give training rows of that label",
                )
