"""Read rows from outside a data folder: datasets on the Hugging Face hub, pandas frames, lists of rows.

Input: rows by split, under the hub's names or the card's. Output: a folder with files in CLUE's own format, labels
spelled as on the card, so that everything else reads one kind of data, and the revision of a run is the hash of its
rows. The hub numbers classes in an order of its own, keeps neither keywords nor rows that CLUE labels "-", so that its
files are another revision than the official ones; where it keeps everything, they are the same bytes.
"""

import hashlib
import json
import numbers
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from clue_bench.cards import card_paths, decode
from clue_bench.errors import ClueBenchError
from clue_bench.tasks.download import NotServed, Patience, reach
from clue_bench.tasks.rows import LABELLED_SPLITS, texts_of
from clue_bench.tasks.task import Task, load_task

BATCH_ROWS = 1_000
DEV_SHARE = 10  # of rows without splits one in so many is held out as dev
MAX_LENGTH = 128  # tokens, of a task without a card
_JSON_LINES = (".json", ".jsonl")
_SPLIT_NAMES = {"dev": ("dev", "validation", "valid", "val")}
_KINDS = "a frame, a Dataset or a list of dictionaries"
_GIVE_SPLITS = 'give data={"train": …, "dev": …}'
_ID_COLUMNS = ("corpus_id", "idx")  # corpus_id is CSL's own id, idx the number of the line

Splits = Mapping[str, Any]
"""Name of a split, the hub's or the card's → rows: a Dataset, a frame, or a sequence of mappings."""

Load = Callable[[str, str], Splits]
"""Called with the name of a dataset and of a configuration. May raise anything."""


class _Source(NamedTuple):
    """Rows of one split, whatever held them: `names` are those of numbered labels, None where labels are themselves."""

    columns: list[str]
    num_rows: int
    names: list[str] | None
    rows: Iterable[Mapping[str, Any]]
    numbers: Sequence[int]  # of the rows in what held them, for errors


class _Refused(NotServed):
    """Rows in memory that do not fit, with what to change."""

    def __init__(self, reason: str, hint: str) -> None:
        super().__init__(reason)
        self.hint = hint


def load_from_hub(dataset: str, config: str) -> Splits:
    """Load a dataset through `datasets`. Raises NotServed if the hub cannot be reached, else whatever that raises."""
    import datasets
    from huggingface_hub import constants

    if not (datasets.config.HF_DATASETS_OFFLINE or constants.HF_HUB_OFFLINE):
        # Asked first, because the library repeats itself for half a minute where there is no network.
        reach(constants.ENDPOINT, patience=Patience())
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

    A label that is a number without a name is refused if labels go `by_name`, else taken as the card's label of that
    spelling. Raises NotServed if train or dev is missing, if the card's files are tables, or naming what does not fit.
    """
    tables = [card.file for card in task.splits.values() if not card.file.endswith(_JSON_LINES)]
    if tables:
        raise NotServed(f"the card wants {', '.join(tables)}; such rows are written as JSON Lines only")
    chosen = {split: name for split in task.splits if (name := _name_in(split, splits)) is not None}
    for needed in LABELLED_SPLITS:
        if needed not in chosen:
            raise _Refused(f"no {needed} split; found {', '.join(map(str, splits)) or 'none'}", _GIVE_SPLITS)
    folder.mkdir(parents=True, exist_ok=True)
    sources = {split: _source(splits[name], task.label_field) for split, name in chosen.items()}
    if not by_name:  # all rows are looked at before any is written
        for split, source in sources.items():
            if not source.num_rows:
                raise _no_rows(chosen[split])
            for _ in _rows(task, source, split=split, name=chosen[split], by_name=by_name):
                pass
    total, done = sum(source.num_rows for source in sources.values()), 0
    for split, source in sources.items():
        with (folder / task.splits[split].file).open("w", encoding="utf-8", newline="\n") as file:
            for row in _rows(task, source, split=split, name=chosen[split], by_name=by_name):
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
                done += 1
                if done % BATCH_ROWS == 0 or done == total:
                    progress(done, total)


@contextmanager
def data_folder(task: Task, data: Any) -> Iterator[Path]:
    """Yield a folder with the task's data: `data` itself if it is a path, else one that is gone after the block.

    `data` may be splits by name, or the rows of one: then its column `split` divides it, and without such a column one
    row in ten is held out as dev, chosen by its texts, so that the same text is never in both. Raises ClueBenchError.
    """
    if isinstance(data, str | Path):
        yield Path(data)
        return
    with tempfile.TemporaryDirectory(prefix="clue-bench-rows-") as scratch:
        try:
            splits = data if isinstance(data, Mapping) else _divided(data, task.text_fields, task.label_field)
            write_splits(task, splits, Path(scratch) / task.name, by_name=False)
        except NotServed as error:
            hint = getattr(error, "hint", "give rows with the fields and labels of the card")
            raise ClueBenchError(f"{task.name}: {error.reason}", hint) from error
        yield Path(scratch)


def data_name(data: Any) -> str:
    """Return the name of `data` in records: a folder's name, or the type of the rows' container."""
    return Path(data).name if isinstance(data, str | Path) else f"rows of a {type(data).__name__}"


def card_for(name: str, data: Any) -> Task:
    """Return the card called `name`, a name or a path. Raises ClueBenchError, for rows with a hint to name columns."""
    try:
        return load_task(name)
    except ClueBenchError as error:
        if isinstance(data, str | Path) or name.endswith(".toml") or name in card_paths("tasks"):
            raise
        hint = 'name the columns of rows without a card: text="…", label="…"'
        raise ClueBenchError(error.message, hint) from error


def own_task(name: str, data: Any, *, text: str | int | Sequence[str | int], label: str | int) -> Task:
    """Return a card for rows without one: the classes are the labels of the training rows, sorted.

    Of one table that is divided, the classes are those of all its labelled rows. `text` names the column of texts, or
    the two columns of pairs; a column that is called by a number, by the number. Raises ClueBenchError.
    """
    if isinstance(data, str | Path):
        raise ClueBenchError(f"{data}: the fields of a folder's files are named by a card", "leave text and label out")
    if name in card_paths("tasks"):
        raise ClueBenchError(f"there is a task card called '{name}' already", "give it another name")
    fields = [str(column) for column in ([text] if isinstance(text, str | int) else text)]
    label = str(label)
    try:
        splits = data if isinstance(data, Mapping) else _divided(data, fields, label)
        if "train" not in splits:
            raise _Refused(f"no train split; found {', '.join(map(str, splits)) or 'none'}", _GIVE_SPLITS)
        labels = _labels(splits, fields, label, of=("train",) if splits is data else LABELLED_SPLITS)
    except NotServed as error:
        raise ClueBenchError(f"{name}: {error.reason}", getattr(error, "hint", "give such rows")) from error
    present = [split for split in ("train", "dev", "test") if split in LABELLED_SPLITS or _name_in(split, splits)]
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
        "splits": {split: {"file": f"{split}.json"} for split in present},
    }
    return decode(Task, values, where=f"the task '{name}' of these rows")


def _labels(splits: Splits, fields: list[str], label: str, *, of: Iterable[str]) -> list[str]:
    """Return the classes of the splits `of`, sorted, or as a Dataset names them."""
    labels: set[str] = set()
    for name in filter(None, (_name_in(split, splits) for split in of)):
        source = _source(splits[name], label)
        if not source.num_rows:
            raise _no_rows(name)
        _require([*fields, label], source, name)
        if source.names is not None:
            if len(source.names) < 2:
                raise _one_class(label, source.names)
            return source.names
        for number, row in zip(source.numbers, source.rows, strict=True):
            labels.add(_label_name(row.get(label), f"{name}, row {number}: {label}"))
    if len(labels) < 2:
        raise _one_class(label, labels)
    return sorted(labels)


def _one_class(label: str, labels: Iterable[str]) -> NotServed:
    return _Refused(f"all labels in column {label} are '{', '.join(labels)}'", "give rows of two classes or more")


def _label_name(value: Any, where: str) -> str:
    """Return the class that a label names: 1.0, from a column of numbers that had gaps, is the class "1"."""
    if _is_missing(value):
        raise _Refused(f"{where} is {value!r}, expected a label", "label the row, or leave it out")
    whole = isinstance(value, numbers.Real) and not isinstance(value, numbers.Integral) and value == value // 1
    return str(int(value)) if whole else str(value)


def _is_missing(value: Any) -> bool:
    if value is None or type(value).__name__ in ("NAType", "NaTType"):  # of pandas
        return True
    return value == "" if isinstance(value, str) else isinstance(value, numbers.Real) and value != value


def _divided(data: Any, fields: list[str], label: str) -> dict[str, _Source]:
    """Return the rows of one table by split. A column `split` divides them, unless it holds texts or labels."""
    source = _source(data, label)
    if not source.num_rows:
        raise _no_rows("data")
    _require([*fields, label], source)
    texts = [_column(field, source.columns) for field in fields]
    is_given = "split" in source.columns and "split" not in (*texts, label)
    found: dict[str, tuple[list[int], list[Mapping[str, Any]]]] = {}
    for number, row in enumerate(source.rows):
        split = row.get("split") if is_given else _drawn([row.get(column) for column in texts])
        if _is_missing(split):
            raise _Refused(f"row {number}: split is {split!r}, expected a name", "write train, dev or test there")
        numbers_found, rows = found.setdefault(str(split), ([], []))
        numbers_found.append(number)
        rows.append(row)
    if not is_given and len(found) < 2:
        raise _Refused(f"{source.num_rows} rows have too few different texts to hold out dev", _GIVE_SPLITS)
    return {
        split: source._replace(num_rows=len(rows), rows=rows, numbers=numbers_found)
        for split, (numbers_found, rows) in found.items()
    }


def _drawn(values: list[Any]) -> str:
    texts = json.dumps(values, ensure_ascii=False, default=str)
    return "train" if int(hashlib.sha256(texts.encode(errors="replace")).hexdigest(), 16) % DEV_SHARE else "dev"


def _no_rows(name: str) -> NotServed:
    return _Refused(f"{name} has no rows", "give one row or more")


def _column(path: str, columns: Collection[str]) -> str:
    """Return the column that holds a field: the one of that full name, else the one that "target.text" reaches into."""
    return path if path in columns else path.split(".")[0]


def _require(paths: Iterable[str], source: _Source, where: str = "") -> None:
    lacking = dict.fromkeys(path for path in paths if _column(path, source.columns) not in source.columns)
    if lacking:
        reason = f"no column {', '.join(lacking)}; found {', '.join(source.columns) or 'none'}"
        raise _Refused(f"{where}: {reason}" if where else reason, "name columns that the rows have")


def _name_in(split: str, splits: Splits) -> str | None:
    return next((name for name in _SPLIT_NAMES.get(split, (split,)) if name in splits), None)


def _source(rows: Any, label_field: str) -> _Source:
    """Return rows of any supported type with their columns and names. Raises NotServed for other types."""
    if isinstance(rows, _Source):
        return rows
    if all(hasattr(rows, name) for name in ("column_names", "iter", "num_rows")):  # datasets.Dataset
        names = getattr(rows.features.get(label_field), "names", None)
        return _Source(list(rows.column_names), rows.num_rows, names, _Batches(rows), range(rows.num_rows))
    if all(hasattr(rows, name) for name in ("to_dict", "columns", "set_axis")):  # pandas.DataFrame
        columns = [str(column) for column in rows.columns]
        if len(set(columns)) < len(columns):
            twice = next(name for name in columns if columns.count(name) > 1)
            raise _Refused(f"two columns are called '{twice}'", "rename one of them")
        records = rows.set_axis(columns, axis=1).to_dict("records")
        return _Source(columns, len(rows), None, records, range(len(rows)))
    # What can be read only once is refused: rows are read for their labels, checked, and written.
    found = list(rows) if isinstance(rows, Collection) and not isinstance(rows, str | bytes | Mapping) else [rows]
    if not all(isinstance(row, Mapping) for row in found) or isinstance(rows, Mapping):
        kind = "None" if rows is None else f"of type {type(rows).__name__}"
        raise _Refused(f"rows are {kind}, expected {_KINDS}", f"give {_KINDS}")
    named = [{str(key): value for key, value in row.items()} for row in found]
    return _Source(list(dict.fromkeys(key for row in named for key in row)), len(named), None, named, range(len(named)))


@dataclass(frozen=True)
class _Batches:
    """The rows of a Dataset, read in batches."""

    dataset: Any

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for batch in self.dataset.iter(batch_size=BATCH_ROWS):
            for values in zip(*batch.values(), strict=True):
                yield dict(zip(batch, values, strict=True))


def _rows(task: Task, source: _Source, *, split: str, name: str, by_name: bool) -> Iterator[dict[str, Any]]:
    """Yield the rows of a split with keys in the order in which CLUE's files have them."""
    labelled = split in LABELLED_SPLITS
    paths = [*task.text_fields, *(path for span in task.spans for path in (span.start, span.text))]
    columns = source.columns
    _require([*paths, *([task.label_field] if labelled else [])], source, name)
    texts = list(dict.fromkeys(_column(path, columns) for path in paths))
    id_column = next((column for column in (task.id_field, *_ID_COLUMNS) if column in columns), None)
    for place, (number, row) in enumerate(zip(source.numbers, source.rows, strict=True)):
        where = f"{name}, row {number}"
        fields = {column: row.get(column) for column in texts}
        try:
            texts_of(fields, task, where)
        except ClueBenchError as error:
            raise _Refused(error.message, "change the value, or leave the row out") from error
        if labelled:
            value = row.get(task.label_field)
            if not by_name and (source.names is None or _is_missing(value)):
                value = _label_name(value, f"{where}: {task.label_field}")
            yield _labelled(fields, _label(value, source.names, task, where=where), task)
        else:
            yield {task.id_field: place if id_column is None else row.get(id_column), **fields}


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
        expected = f"one of the card's {len(task.labels)} labels"
        raise NotServed(f"{where}: label {value!r}, expected {expected}{'' if names else ' by name'}")
    return value
