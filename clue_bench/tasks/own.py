"""Rows of one's own, without a folder of task data: a file, a folder of files, frames, datasets, dictionaries.

Input: rows, and which columns hold texts and label; obvious ones are found. Output: the rows by split, a card, and a
folder with files in CLUE's format that everything else reads like any other. Where there is no dev split, a tenth of
each label's training rows is held out, by a seed and by their texts, so that the same text is never in both; the folder
says so in DATASET.json, and the run's record repeats it.
"""

import json
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from clue_bench import files
from clue_bench.cards import as_name, card_paths, decode
from clue_bench.doors.records import HeldOut
from clue_bench.errors import NEAR, ClueBenchError
from clue_bench.numbers import article, count, counted, percent
from clue_bench.tasks.choices import LETTERS, choices_of
from clue_bench.tasks.columns import Columns, QuestionColumns, are_found, as_names, find_columns, find_questions
from clue_bench.tasks.download import NotServed
from clue_bench.tasks.entities import LAYOUT, hold_entities, is_spans, laid_out, stated_entities
from clue_bench.tasks.files import MARKER, Found, content, md5_of
from clue_bench.tasks.formats import SUFFIXES, Table, Wanted, is_rows_file, suffix_of
from clue_bench.tasks.held_out import DEV_SHARE, SPLIT_SEED, draw_dev
from clue_bench.tasks.questions import question_table
from clue_bench.tasks.rows import LABELLED_SPLITS, UNLABELLED, Rows, column_of, is_missing, lacking, spelled, value_at
from clue_bench.tasks.sources import (
    GIVE_SPLITS,
    SPLIT_NAMES,
    Refused,
    RowSource,
    label_name,
    name_in,
    no_rows,
    require,
    source_of,
    stated_labels,
    write_splits,
)
from clue_bench.tasks.task import Task, load_task

MAX_LENGTH = 128  # tokens, of a task without a card
QUESTION_LENGTH = 512  # tokens, with the passage
MAX_CLASSES = 1_000
MAX_LABELS_SHOWN = 12
FIRST_ROWS = 20  # by which a layout is known
MIN_ANSWERS = 20  # of which the first choice is surely right once
_SPLIT = "split"


@dataclass(frozen=True)
class OwnRows:
    """Rows by split. `is_divided` says that they came as one table; `notes` what was left out."""

    splits: Mapping[str, RowSource]
    is_divided: bool
    held_out: HeldOut | None
    notes: tuple[str, ...] = ()


def open_rows(path: Path, is_wanted: Wanted | None = None) -> Table | dict[str, Table] | None:
    """Return the rows of a file, or of a folder with train.csv or the like in it; None for a folder of tasks.

    `is_wanted` chooses the sheet of a workbook of labelled rows, as in `parse_table`.
    Raises ClueBenchError for a file that is missing, or whose rows cannot be read.
    """
    if path.is_dir():
        found = {split: file for split in SPLIT_NAMES if (file := _file_of(path, split)) is not None}
        wanted = {split: is_wanted if split in LABELLED_SPLITS else None for split in found}
        return {split: _read(file, wanted[split]) for split, file in found.items()} if "train" in found else None
    if not path.exists() and not is_rows_file(path.name):
        return None
    if not path.is_file():
        raise ClueBenchError(f"{path}: no such file", _near(path))
    return _read(path, is_wanted)


def _near(path: Path) -> str:
    """Return a hint that names the file of rows whose name is nearest to one that is missing, if there is any."""
    known = [each.name for each in path.parent.iterdir() if holds_rows(each)] if path.parent.is_dir() else []
    close = get_close_matches(path.name, known, n=1, cutoff=NEAR)
    return f"did you mean '{path.parent / close[0]}'?" if close else "check the path"


def holds_rows(path: Path) -> bool:
    """Return whether `open_rows` reads this path as rows: a file, or a folder with train.csv or the like in it."""
    return path.is_file() or is_rows_file(path.name) or (path.is_dir() and _file_of(path, "train") is not None)


def _file_of(folder: Path, split: str) -> Path | None:
    names = SPLIT_NAMES[split]
    found = [path for path in sorted(folder.iterdir()) if is_rows_file(path.name) and path.name.split(".")[0] in names]
    if len(found) > 1:
        raise ClueBenchError(
            f"{folder}: both {found[0].name} and {found[1].name} are {split} rows", "move one of them away"
        )
    return found[0] if found else None


def _read(path: Path, is_wanted: Wanted | None) -> Table:
    if suffix_of(path.name) not in SUFFIXES:
        raise ClueBenchError(
            f"{path}: a file that ends in none of {', '.join(SUFFIXES)}", "save it as one of these, e.g. as .csv"
        )
    found = Found(path, None, path.name)
    table = question_table(content(found), name=path.name, where=str(path), is_wanted=is_wanted)
    if not table.rows:
        raise ClueBenchError(f"{path}: no rows", "write a header, and one row a line")
    return replace(table, md5=md5_of(found))


def name_of(path: Path) -> str:
    """Return what a task is called after its file or folder: a name that no card has."""
    stem = path.name if path.is_dir() else path.name.split(".")[0]
    name = as_name(stem, default="data")
    return f"own-{name}" if name in card_paths("tasks") else name


def own_rows(data: Any, texts: Sequence[str], label: str, *, are_questions: bool = False) -> OwnRows:
    """Return rows by split: those of `data`, or one table, which its column `split` divides; dev held out if missing.

    Of questions, whole passages are held out, which are the first of `texts`.

    Raises NotServed naming what does not fit.
    """
    if isinstance(data, OwnRows):
        return data
    if isinstance(data, Mapping):
        splits = {split: source_of(data[name], label) for split in SPLIT_NAMES if (name := name_in(split, data))}
        known = [name_in(split, data) for split in splits]
        notes = tuple(f"left out: split '{name}', neither train, dev nor test" for name in data if name not in known)
        if "train" not in splits:
            raise Refused(f"no train split; found {', '.join(map(str, data)) or 'none'}", GIVE_SPLITS)
        given = OwnRows(splits, False, None, notes)
    else:
        source = source_of(data, label)
        if not source.num_rows:
            raise no_rows(source.called or "data")
        require([*texts, label], source)
        columns = [column_of(field, source.columns) for field in texts]
        others = [column for column in source.columns if column not in (*columns, label)]
        split = next((column for column in others if column.strip().lower() == _SPLIT), None)
        given = OwnRows({"train": source} if split is None else _by_split(source, split), True, None)
        if "train" not in given.splits:
            raise Refused(f"column split: no train rows; found {', '.join(given.splits)}", "write train in some rows")
    return given if "dev" in given.splits else _held_out(given, texts, label, by_passage=are_questions)


def _by_split(source: RowSource, column: str) -> dict[str, RowSource]:
    """Return rows by what their column `column` says."""
    split_of = {name: split for split, names in SPLIT_NAMES.items() for name in names}
    found: dict[str, tuple[list[Mapping[str, Any]], list[str]]] = {}
    for row, place in zip(source.rows, source.places, strict=True):
        value = row.get(column)
        if is_missing(value) or str(value).strip().lower() not in split_of:
            where = f"{source.called}, {place}" if source.called else place
            raise Refused(f"{where}: split is {value!r}, expected train, dev or test", "write train, dev or test there")
        rows, places = found.setdefault(split_of[str(value).strip().lower()], ([], []))
        rows.append(row)
        places.append(place)
    return {
        split: source._replace(num_rows=len(found[split][0]), rows=found[split][0], places=found[split][1])
        for split in SPLIT_NAMES
        if split in found
    }


def _held_out(given: OwnRows, texts: Sequence[str], label: str, *, by_passage: bool) -> OwnRows:
    """Return the rows with a share of each label's training rows as dev. Rows of the same texts stay together.

    With `by_passage` labels do not count, and rows of the same first text stay together. Raises NotServed.
    """
    train = given.splits["train"]
    if not train.num_rows:
        raise no_rows(train.called or "train")
    require([*texts, label], train, "" if given.is_divided else "train")
    rows = [dict(row) for row in train.rows]
    labels = [""] * len(rows)
    if not by_passage:
        values = stated_labels(train, label, train.called or ("" if given.is_divided else "train"))
        before = f"{train.called}, " if train.called else ""
        labels = [label_name(v, f"{before}{place}: {label}") for v, place in zip(values, train.places, strict=True)]
    read = texts[: 1 if by_passage else None]
    keys = [_key([str(value_at(row, text)) for text in read]) for row in rows]
    dev = draw_dev(keys, labels)
    if not dev:
        if len(set(labels)) > 1:
            _check_classes(Counter(labels), label)
        raise Refused(f"{counted(len(rows), 'row')}: too few different texts to hold out dev", GIVE_SPLITS)

    def part(numbers: list[int]) -> RowSource:
        return train._replace(
            num_rows=len(numbers), rows=[rows[n] for n in numbers], places=[train.places[n] for n in numbers]
        )

    kept = part([number for number in range(len(rows)) if number not in dev])
    splits = {"train": kept, "dev": part(sorted(dev)), **{k: v for k, v in given.splits.items() if k != "train"}}
    return OwnRows(splits, given.is_divided, HeldOut(share=DEV_SHARE, seed=SPLIT_SEED, rows=len(dev)), given.notes)


def _key(texts: Sequence[str]) -> str | None:
    """Return what is alike for texts that are the same to a model, None if one is blank.

    They may differ in case or blanks, and a pair from its mirror.
    """
    plain = sorted("".join(text.lower().split()) for text in texts)
    return json.dumps(plain, ensure_ascii=False) if all(plain) else None


def rows_of(
    data: Any, task: Task | None, *, text: Columns | None = None, label: str | int | None = None
) -> tuple[Any, tuple[str, ...]]:
    """Return rows for `own_task_of` and `data_folder`, and notes: the tables of files, else `data` as it is.

    A folder is read as one of task data if it has a folder of the task's name. Of several sheets, the only one is read
    that has the columns of the task, else `text` and `label`, or obvious ones. Raises ClueBenchError.
    """
    if not isinstance(data, str | Path):
        return data, ()
    path = files.expanded(data)

    def is_wanted(columns: Sequence[str]) -> bool:
        if task is not None:
            return not lacking([*task.fields, task.label_field], columns)
        return are_found(columns, text=text, label=label)

    opened = None if task is not None and (path / task.name).is_dir() else open_rows(path, is_wanted)
    tables = [opened] if isinstance(opened, Table) else list((opened or {}).values())
    return (path if opened is None else opened), tuple(note for table in tables for note in table.notes)


def own_task_of(
    name: str | Task | None, rows: Any, data: Any, *, text: Columns | None, label: str | int | None
) -> tuple[Task, OwnRows, list[str]]:
    """Return a card for the rows of `data`, the rows by split, and notes. Without a name, it is the file's.

    Raises ClueBenchError if `rows` have no obvious columns and none are given, or are no task.
    """
    if isinstance(rows, Path):
        if not rows.exists():
            raise ClueBenchError(f"{rows}: no such file or folder", _near(rows))
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


def about_rows(called: str, task: Task, rows: Mapping[str, Rows], held_out: HeldOut | None) -> list[str]:
    """Return in words how many rows each split and label has, how dev was held out, and what looks like a mistake."""
    counts = np.zeros(len(task.labels), dtype=np.int64)
    number = {label: place for place, label in enumerate(task.labels)}
    for part in rows.values():
        classes = part.labels[part.labels != UNLABELLED]
        if task.kind == "tags":
            classes = np.array([number[each.label] for of in part.entities for each in of], dtype=np.int64)
        counts += np.bincount(classes, minlength=len(task.labels))
    splits = ", ".join(f"{split} {len(part):,}" for split, part in rows.items())
    if task.kind == "span":
        return [f"{called}: rows: {splits}", *about_held_out(called, task, held_out)]
    shown = [f"{label} {count:,}" for label, count in zip(task.labels, counts, strict=True)]
    more = ", …" if len(shown) > MAX_LABELS_SHOWN else ""
    found = [f"{called}: rows: {splits}; {len(shown)} labels: {', '.join(shown[:MAX_LABELS_SHOWN])}{more}"]
    found += about_held_out(called, task, held_out)
    if task.kind == "tags" and "train" in rows and "dev" in rows:
        taught, asked = ({each.label for of in rows[split].entities for each in of} for split in LABELLED_SPLITS)
        if unknown := sorted(asked - taught):
            names = ", ".join(map(repr, unknown[:MAX_LABELS_SHOWN])) + ", …" * (len(unknown) > MAX_LABELS_SHOWN)
            found.append(f"warning: {called}: dev has entities of types that train has none of: {names}")
    if task.has_choices and not counts[0] and counts.sum() >= MIN_ANSWERS:
        found.append(
            f"warning: {called}: the first choice is never right, in {count(int(counts.sum()))} questions: "
            "answers that are numbers count from 0"
        )
    alike: dict[str, list[str]] = {}
    for label in task.labels:
        alike.setdefault(unicodedata.normalize("NFKC", label).lower(), []).append(label)
    found += [
        f"warning: {called}: labels that differ in case or width only: {', '.join(map(repr, same))}"
        for same in alike.values()
        if len(same) > 1
    ]
    lost = sum("\ufffd" in text for part in rows.values() for texts in part.texts for text in texts)
    if lost:
        found.append(f"warning: {called}: {counted(lost, 'text has', 'texts have')} U+FFFD where characters were lost")
    return found


def about_held_out(called: str, task: Task, held_out: HeldOut | None) -> list[str]:
    """Return in words how dev was held out, nothing where it was not."""
    if held_out is None:
        return []
    share = percent(held_out.share, 0)
    decides = f"with seed {held_out.seed}; a column 'split' (train, dev, test) decides otherwise"
    if task.kind == "classification":
        return [f"{called}: dev was held out: {share} of the rows of each label, no text in both, {decides}"]
    if task.kind == "tags":
        return [f"{called}: dev was held out: {share} of the rows, no text in both, {decides}"]
    return [f"{called}: dev was held out: {share} of the rows, no passage in both, {decides}"]


@contextmanager
def data_folder(task: Task, data: Any) -> Iterator[Path]:
    """Yield a folder with the task's data: `data` itself if it is a folder, else one that is gone after the block.

    `data` may be a file, splits by name, or the rows of one: then its column `split` divides it, and dev is held out of
    train where it is missing. Raises ClueBenchError.
    """
    data, _ = rows_of(data, task)
    if isinstance(data, Path):
        yield data
        return
    with tempfile.TemporaryDirectory(prefix="clue-bench-rows-") as scratch:
        try:
            rows = own_rows(data, task.fields, task.label_field, are_questions=task.kind != "classification")
            write_splits(task, rows.splits, Path(scratch) / task.name, by_name=False)
        except NotServed as error:
            hint = getattr(error, "hint", "give rows with the fields and labels of the card")
            raise ClueBenchError(f"{task.name}: {error.reason}", hint) from error
        stated = {"held_out": rows.held_out and rows.held_out.model_dump(), "source_md5": rows.splits["train"].md5}
        if any(stated.values()):
            files.write_json(Path(scratch) / MARKER, {key: value for key, value in stated.items() if value})
        yield Path(scratch)


def data_name(data: Any) -> str:
    """Return the name of `data` in records: a file's or folder's name, or the type of the rows' container."""
    return Path(data).name if isinstance(data, str | Path) else f"rows of {article(type(data).__name__)}"


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
                raise _one_class(label, source.names)
            return source.names
        for place, value in zip(source.places, values, strict=True):
            found = label_name(value, f"{source.called or name}, {place}: {label}")
            counts[found] = counts.get(found, 0) + 1
    _check_classes(counts, label)
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


def _check_classes(counts: Mapping[str, int], label: str) -> None:
    """Raise NotServed if a column's values, with their rows, are no classes."""
    if len(counts) < 2:
        raise _one_class(label, counts)
    if len(counts) > MAX_CLASSES or (len(counts) > 20 and 2 * len(counts) > sum(counts.values())):
        found = f"{len(counts):,} different values in {sum(counts.values()):,} rows"
        raise Refused(f"column {label} has {found}: no labels of classes", "name another column: --label COLUMN")
    for each in counts:
        if each != each.strip() and each.strip() in counts:
            raise Refused(f"column {label}: '{each}' and '{each.strip()}' are two labels", "remove the blanks")


def _one_class(label: str, labels: Iterable[str]) -> NotServed:
    return Refused(f"all labels in column {label} are '{', '.join(labels)}'", "give rows of two classes or more")
