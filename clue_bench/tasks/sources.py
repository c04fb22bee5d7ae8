"""Read rows from outside a data folder: datasets on the Hugging Face hub, pandas frames, lists of rows, single files.

Input: rows by split, under the hub's names or the card's. Output: a folder with files in CLUE's own format, labels
spelled as on the card, so that everything else reads one kind of data, and the revision of a run is the hash of its
rows. The hub numbers classes in an order of its own, keeps neither keywords nor rows that CLUE labels "-", so that its
files are another revision than the official ones; where it keeps everything, they are the same bytes.
"""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from clue_bench.doors.hub import hub_address
from clue_bench.errors import ClueBenchError
from clue_bench.tasks.download import NotServed, Patience, reach
from clue_bench.tasks.entities import LAYOUT
from clue_bench.tasks.formats import JSON_LINES, Table, suffix_of, write_rows
from clue_bench.tasks.rows import (
    LABELLED_SPLITS,
    answers_of,
    column_of,
    entities_of,
    has_label,
    is_missing,
    label_of,
    lacking,
    plain_id,
    spelled,
    texts_of,
    value_at,
)
from clue_bench.tasks.task import Task

BATCH_ROWS = 1_000
SPLIT_NAMES = {
    "train": ("train", "training", "训练集", "训练"),
    "dev": ("dev", "validation", "valid", "val", "eval", "验证集", "验证", "开发集"),
    "test": ("test", "testing", "测试集", "测试"),
}
_KINDS = "a frame, a Dataset or a list of dictionaries"
GIVE_SPLITS = 'give data={"train": …, "dev": …}'
MORE_ROWS = "give more rows, or say of each in a column split whether it is train or dev"
_ID_COLUMNS = ("corpus_id", "idx")  # corpus_id is CSL's own id, idx the number of the line

Splits = Mapping[str, Any]
"""Name of a split, the hub's or the card's → rows: a Dataset, a frame, or a sequence of mappings."""

Load = Callable[[str, str], Splits]
"""Called with the name of a dataset and of a configuration. May raise anything."""


class RowSource(NamedTuple):
    """Rows of one split, whatever held them: `names` are those of numbered labels, None where labels are themselves."""

    columns: list[str]
    num_rows: int
    names: list[str] | None
    rows: Iterable[Mapping[str, Any]]
    places: Sequence[str]  # where the rows stand in what held them, for errors
    called: str = ""  # a file's name
    md5: str = ""  # of the file


class Refused(NotServed):
    """Rows in memory that do not fit, with what to change."""

    def __init__(self, reason: str, hint: str) -> None:
        super().__init__(reason)
        self.hint = hint


def load_from_hub(dataset: str, config: str) -> Splits:
    """Load a dataset through `datasets`. Raises NotServed if the hub cannot be reached, else whatever that raises."""
    address = hub_address()  # before the libraries read it

    import datasets
    from huggingface_hub import constants

    if not (datasets.config.HF_DATASETS_OFFLINE or constants.HF_HUB_OFFLINE):
        # Asked first, because the library repeats itself for half a minute where there is no network.
        reach(address, patience=Patience())
    splits: Splits = datasets.load_dataset(dataset, config)
    return splits


def write_splits(
    task: Task,
    splits: Splits,
    folder: Path,
    *,
    by_name: bool = True,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Write every split of the card that `splits` has to `folder`; `progress` is called with rows done and of all.

    A label that is a number without a name is refused if labels go `by_name`, as the hub's do, else taken as the card's
    label of that spelling. Raises NotServed if train or dev is missing, if the card's files are tables and the rows the
    hub's, or naming what does not fit.
    """
    tables = [card.file for card in task.splits.values() if suffix_of(card.file) not in JSON_LINES]
    if tables and by_name:
        raise NotServed(f"the card wants {', '.join(tables)}; such rows are written as JSON Lines only")
    chosen = {split: name for split in task.splits if (name := name_in(split, splits)) is not None}
    for needed in LABELLED_SPLITS:
        if needed not in chosen:
            raise Refused(f"no {needed} split; found {', '.join(map(str, splits)) or 'none'}", GIVE_SPLITS)
    folder.mkdir(parents=True, exist_ok=True)
    sources = {split: source_of(splits[name], task.label_field) for split, name in chosen.items()}
    if not by_name:  # all rows are looked at before any is written
        for split, source in sources.items():
            if not source.num_rows:
                raise no_rows(chosen[split])
            if split in LABELLED_SPLITS and task.kind == "classification":
                require([*task.fields, task.label_field], source, chosen[split])
                stated_labels(source, task.label_field, source.called or chosen[split])
            for _ in _rows(task, source, split=split, name=chosen[split], by_name=by_name):
                pass
    total, done = sum(source.num_rows for source in sources.values()), 0
    for split, source in sources.items():
        rows = _rows(task, source, split=split, name=chosen[split], by_name=by_name)
        if suffix_of(task.splits[split].file) not in JSON_LINES:
            write_rows(folder / task.splits[split].file, [_flat(row, task) for row in rows])
            continue
        with (folder / task.splits[split].file).open("w", encoding="utf-8", newline="\n") as file:
            for row in rows:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
                done += 1
                if done % BATCH_ROWS == 0 or done == total:
                    progress(done, total)


def _flat(row: dict[str, Any], task: Task) -> dict[str, Any]:
    """Return a row for a table, whose columns have the fields' full names."""
    texts = {field: value_at(row, field) for field in task.fields}
    return {key: row[key] for key in (task.id_field, task.label_field) if key in row} | texts


def no_rows(name: str) -> NotServed:
    """Return the error for a split without rows."""
    return Refused(f"{name} has no rows", "give one row or more")


def require(fields: Iterable[str], source: RowSource, where: str = "") -> None:
    """Raise NotServed if no column of the rows holds one of the fields."""
    if missing := lacking(fields, source.columns):
        reason = f"no column {', '.join(missing)}; found {', '.join(source.columns) or 'none'}"
        raise Refused(
            f"{where}: {reason}" if where else reason, "let --text, --text2 and --label name columns that are there"
        )


def stated_labels(source: RowSource, label: str, where: str = "") -> list[Any]:
    """Return the labels of rows. Raises NotServed if some have none, naming the first and how many there are."""
    values = [value_at(dict(row), label) for row in source.rows]
    missing = [
        (place, value)
        for place, value in zip(source.places, values, strict=True)
        if is_missing(value) or not str(value).strip()
    ]
    if not missing:
        return values
    place, value = missing[0]
    first = f"{where}, {place}" if where else place
    if len(missing) == source.num_rows > 1:
        raise Refused(
            f"{first}: {label} is {value!r}, expected a label; so in all {len(missing):,} rows",
            "name the column that holds the labels: --label COLUMN",
        )
    more = f"; so in {len(missing):,} of {source.num_rows:,} rows" if len(missing) > 1 else ""
    raise Refused(
        f"{first}: {label} is {value!r}, expected a label{more}",
        "label the rows, or leave them out; clue-bench predict --file labels them once a model is trained",
    )


def name_in(split: str, splits: Iterable[str]) -> str | None:
    """Return what `splits` call the split, None if they lack it."""
    return next((name for name in SPLIT_NAMES.get(split, (split,)) if name in splits), None)


def _places(number: int) -> list[str]:
    return [f"row {place}" for place in range(number)]


def source_of(rows: Any, label_field: str) -> RowSource:
    """Return rows of any supported type with their columns and names. Raises NotServed for other types."""
    if isinstance(rows, RowSource):
        return rows
    if isinstance(rows, Table):
        return RowSource(rows.columns, len(rows), None, rows.rows, rows.places, rows.called, rows.md5)
    if all(hasattr(rows, name) for name in ("column_names", "iter", "num_rows")):  # datasets.Dataset
        names = getattr(rows.features.get(label_field), "names", None)
        return RowSource(list(rows.column_names), rows.num_rows, names, _Batches(rows), _places(rows.num_rows))
    if all(hasattr(rows, name) for name in ("to_dict", "columns", "set_axis")):  # pandas.DataFrame
        columns = [str(column) for column in rows.columns]
        if len(set(columns)) < len(columns):
            twice = next(name for name in columns if columns.count(name) > 1)
            raise Refused(f"two columns are called '{twice}'", "rename one of them")
        records = rows.set_axis(columns, axis=1).to_dict("records")
        return RowSource(columns, len(rows), None, records, _places(len(rows)))
    # What can be read only once is refused: rows are read for their labels, checked, and written.
    found = list(rows) if isinstance(rows, Collection) and not isinstance(rows, str | bytes | Mapping) else [rows]
    if not all(isinstance(row, Mapping) for row in found) or isinstance(rows, Mapping):
        kind = "None" if rows is None else f"of type {type(rows).__name__}"
        raise Refused(f"rows are {kind}, expected {_KINDS}", f"give {_KINDS}")
    named = [{str(key): value for key, value in row.items()} for row in found]
    return RowSource(
        list(dict.fromkeys(key for row in named for key in row)), len(named), None, named, _places(len(named))
    )


@dataclass(frozen=True)
class _Batches:
    """The rows of a Dataset, read in batches."""

    dataset: Any

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for batch in self.dataset.iter(batch_size=BATCH_ROWS):
            for values in zip(*batch.values(), strict=True):
                yield dict(zip(batch, values, strict=True))


def _rows(task: Task, source: RowSource, *, split: str, name: str, by_name: bool) -> Iterator[dict[str, Any]]:
    """Yield the rows of a split with keys in the order in which CLUE's files have them."""
    labelled = split in LABELLED_SPLITS
    paths = task.fields
    columns = source.columns
    require([*paths, *([task.label_field] if labelled else [])], source, name)
    texts = list(dict.fromkeys(column_of(path, columns) for path in paths))
    id_column = next((column for column in (task.id_field, *_ID_COLUMNS) if column in columns), None)
    for number, (place, row) in enumerate(zip(source.places, source.rows, strict=True)):
        where = f"{source.called or name}, {place}"
        fields = {column: row.get(column) for column in texts}
        try:
            texts_of(fields, task, where)
        except ClueBenchError as error:
            raise Refused(error.message, "change the value, or leave the row out") from error
        ids = {} if labelled else {task.id_field: _id(row, id_column, number, where)}
        if labelled or (not by_name and task.splits[split].submission is None and has_label(dict(row), task)):
            value = value_at(dict(row), task.label_field)
            if task.kind != "classification":
                key = {task.id_field: _id(row, id_column, number, where)} if id_column else {}
                yield {**key, **ids, **fields, task.label_field: _answer(dict(row), task, where)}
                continue
            if not by_name and (source.names is None or is_missing(value)):
                value = label_name(value, f"{where}: {task.label_field}")
            yield {**ids, **_labelled(fields, _label(value, source.names, task, where=where), task)}
        else:
            yield {**ids, **fields}


def _id(row: Mapping[str, Any], column: str | None, number: int, where: str) -> int | str:
    value = None if column is None else row.get(column)
    if is_missing(value):
        return number
    found = plain_id(value)
    if found is None:
        raise Refused(f"{where}: {column} is {value!r}, expected a number or a string", "change the value")
    return found


def label_name(value: Any, where: str) -> str:
    """Return the class that a label names. Raises NotServed if there is none."""
    if is_missing(value):
        raise Refused(f"{where} is {value!r}, expected a label", "label the row, or leave it out")
    if (found := _several(value)) is not None:
        kind = "an object" if isinstance(found, Mapping) else "a list"
        hint = "write one label a row; a row of several labels is no class"
        if kind == "an object" or any(not isinstance(each, str) for each in found):
            hint = f"give one column of texts if these are entities, and {LAYOUT}"
        raise Refused(f"{where} is {kind}, {str(found)[:60]}, expected one label", hint)
    return str(spelled(value))


def _several(label: Any) -> Collection[Any] | None:
    """Return the list or object that a label is, or that a cell holds as JSON, None if it is neither.

    A list of one in a cell may be a name.
    """
    if not isinstance(label, str | bytes):
        return label if hasattr(label, "__len__") else None
    if label[:1] not in ("[", "{"):
        return None
    try:
        found = json.loads(label)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict | list) and len(found) > 1 else None


def _answer(row: dict[str, Any], task: Task, where: str) -> Any:
    """Return the answer of a question, or the entities of a text, checked."""
    try:
        if task.kind in ("span", "tags"):
            (answers_of if task.kind == "span" else entities_of)(row, task, where)
            return value_at(row, task.label_field)
        label_of(row, task, where)
    except ClueBenchError as error:
        raise Refused(error.message, error.hint or "change the value") from error
    return str(spelled(value_at(row, task.label_field)))


def _labelled(fields: dict[str, Any], label: str, task: Task) -> dict[str, Any]:
    if not task.label_description_field:
        return {**fields, task.label_field: label}
    known = dict(zip(task.labels, task.label_descriptions, strict=True))
    return {task.label_field: label, task.label_description_field: known.get(label, ""), **fields}


def _label(value: Any, names: list[str] | None, task: Task, *, where: str) -> str:
    """Return the card's spelling of a label: by name, because the hub numbers classes in another order."""
    if names is not None and isinstance(value, int) and 0 <= value < len(names):
        value = names[value]
    if not isinstance(value, str) or value not in {*task.labels, *task.dropped_labels}:
        expected = f"one of the card's {len(task.labels)} labels{'' if names else ', by name'}"
        raise NotServed(f"{where}: label {value!r}, expected {expected}")
    return value
