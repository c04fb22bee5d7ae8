"""Rows of one's own, without a folder of task data: a file, a folder of files, frames, datasets, dictionaries.

Input: rows, and which columns hold texts and label; obvious ones are found. Output: the rows by split, and a folder
with files in CLUE's format that everything else reads like any other. Where there is no dev split, a tenth of
each label's training rows is held out, by a seed and by their texts, so that the same text is never in both; the folder
says so in DATASET.json, and the run's record repeats it.
"""

import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from clue_bench import files
from clue_bench.cards import as_name, card_paths
from clue_bench.doors.records import HeldOut
from clue_bench.errors import NEAR, ClueBenchError
from clue_bench.numbers import article, counted
from clue_bench.tasks.columns import Columns, are_found
from clue_bench.tasks.download import NotServed
from clue_bench.tasks.files import MARKER, Found, content, md5_of
from clue_bench.tasks.formats import SUFFIXES, Table, Wanted, is_rows_file, suffix_of
from clue_bench.tasks.held_out import DEV_SHARE, SPLIT_SEED, draw_dev
from clue_bench.tasks.questions import question_table
from clue_bench.tasks.rows import LABELLED_SPLITS, column_of, is_missing, lacking, value_at
from clue_bench.tasks.sources import (
    GIVE_SPLITS,
    MORE_ROWS,
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
from clue_bench.tasks.task import Task

MAX_CLASSES = 1_000
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
        raise ClueBenchError(f"{path}: no such file", nearest_file(path))
    return _read(path, is_wanted)


def nearest_file(path: Path) -> str:
    """Return a hint that names the file of rows whose name is nearest to one that is missing, if there is any."""
    known = [each.name for each in path.parent.iterdir() if holds_rows(each)] if path.parent.is_dir() else []
    close = get_close_matches(path.name, known, n=1, cutoff=NEAR)
    return f"did you mean '{path.parent / close[0]}'?" if close else "check the path"


def holds_rows(path: Path) -> bool:
    """Return whether `open_rows` reads this path as rows: a file, or a folder with train.csv or the like in it."""
    return path.is_file() or is_rows_file(path.name) or (path.is_dir() and _file_of(path, "train") is not None)


def _file_of(folder: Path, split: str) -> Path | None:
    names = SPLIT_NAMES[split]
    found = [path for path in sorted(folder.iterdir()) if is_rows_file(path.name) and _stem(path) in names]
    if len(found) > 1:
        raise ClueBenchError(
            f"{folder}: both {found[0].name} and {found[1].name} are {split} rows", "move one of them away"
        )
    return found[0] if found else None


def _stem(path: Path) -> str:
    """Return what says of which split a file is, in whatever case; nothing for a hidden file."""
    return path.name.split(".")[0].lower()


def _unread(folder: Path) -> Iterator[str]:
    """Yield a note for each file of rows in a folder that is read by the names of its files, and not read itself."""
    known = {name for names in SPLIT_NAMES.values() for name in names}
    for path in sorted(folder.iterdir()):
        if is_rows_file(path.name) and _stem(path) not in {"", *known}:
            yield f"{path}: left out, its name is neither train, dev nor test"


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
            check_classes(Counter(labels), label)
        raise Refused(f"{counted(len(rows), 'row')}: too few different texts to hold out dev", MORE_ROWS)

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
    notes = [note for table in tables for note in table.notes]
    return (path if opened is None else opened), (*notes, *(_unread(path) if isinstance(opened, dict) else ()))


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


def check_classes(counts: Mapping[str, int], label: str) -> None:
    """Raise NotServed if a column's values, with their rows, are no classes."""
    if len(counts) < 2:
        raise one_class(label, counts)
    if len(counts) > MAX_CLASSES or (len(counts) > 20 and 2 * len(counts) > sum(counts.values())):
        found = f"{len(counts):,} different values in {sum(counts.values()):,} rows"
        raise Refused(f"column {label} has {found}: no labels of classes", "name another column: --label COLUMN")
    for each in counts:
        if each != each.strip() and each.strip() in counts:
            raise Refused(f"column {label}: '{each}' and '{each.strip()}' are two labels", "remove the blanks")


def one_class(label: str, labels: Iterable[str]) -> NotServed:
    """Return the error of a column that has one class only, or none."""
    return Refused(f"all labels in column {label} are '{', '.join(labels)}'", "give rows of two classes or more")
