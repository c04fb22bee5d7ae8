"""Read rows from outside a data folder: datasets on the Hugging Face hub, pandas frames, lists of rows.

Input: rows by split, under the hub's names or the card's. Output: a folder with files in CLUE's own format, labels
spelled as on the card, so that everything else reads one kind of data, and the revision of a run is the hash of its
rows. The hub numbers classes in an order of its own, keeps neither keywords nor rows that CLUE labels "-", so that its
files are another revision than the official ones; where it keeps everything, they are the same bytes.
"""

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from clue_bench.cards import decode
from clue_bench.errors import ClueBenchError
from clue_bench.tasks.download import NotServed, Patience, reach
from clue_bench.tasks.rows import LABELLED_SPLITS
from clue_bench.tasks.task import Task

BATCH_ROWS = 1_000
DEV_SHARE = 10  # of rows without splits one in so many is held out as dev
MAX_LENGTH = 128  # tokens, of a task without a card
_JSON_LINES = (".json", ".jsonl")
_SPLIT_NAMES = {"dev": ("dev", "validation", "valid", "val")}
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
            raise NotServed(f"no {needed} split; found {', '.join(splits) or 'none'}")
    folder.mkdir(parents=True, exist_ok=True)
    sources = {split: _source(splits[name], task.label_field) for split, name in chosen.items()}
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
            splits = data if isinstance(data, Mapping) else _divided(task, data)
            write_splits(task, splits, Path(scratch) / task.name, by_name=False)
        except NotServed as error:
            raise ClueBenchError(
                f"{task.name}: {error.reason}", "give rows with the fields and labels of the card"
            ) from error
        yield Path(scratch)


def data_name(data: Any) -> str:
    """Return the name of `data` in records: a folder's name, or the type of the rows' container."""
    return Path(data).name if isinstance(data, str | Path) else f"rows of a {type(data).__name__}"


def own_task(name: str, data: Any, *, text: str | Sequence[str], label: str) -> Task:
    """Return a card for rows without one: the classes are the labels of the training rows, sorted.

    `text` names the column of texts, or the two columns of pairs. Raises ClueBenchError.
    """
    if isinstance(data, str | Path):
        raise ClueBenchError(f"{data}: the fields of a folder's files are named by a card", "leave text and label out")
    fields = [text] if isinstance(text, str) else list(text)
    splits = data if isinstance(data, Mapping) else {"train": data}
    train = splits.get("train")
    if train is None:
        raise ClueBenchError(f"no train split; found {', '.join(splits) or 'none'}", 'give data={"train": …, "dev": …}')
    try:
        source = _source(train, label)
    except NotServed as error:
        raise ClueBenchError(error.reason, "give rows of one of these kinds") from error
    lacking = [column for column in [*fields, label] if column not in source.columns]
    if lacking:
        raise ClueBenchError(f"no column {', '.join(lacking)}; found {', '.join(source.columns)}", "name one of them")
    labels = source.names or sorted({str(row[label]) for row in source.rows})
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


def _divided(task: Task, data: Any) -> dict[str, list[Mapping[str, Any]]]:
    """Return the rows of one table by split."""
    source = _source(data, task.label_field)
    splits: dict[str, list[Mapping[str, Any]]] = {}
    for row in source.rows:
        row = {**row, task.label_field: source.names[row[task.label_field]]} if source.names else row
        split = str(row["split"]) if "split" in source.columns else _drawn(row, task)
        splits.setdefault(split, []).append(row)
    return splits


def _drawn(row: Mapping[str, Any], task: Task) -> str:
    texts = json.dumps([row.get(name) for name in task.text_fields], ensure_ascii=False, default=str)
    return "train" if int(hashlib.sha256(texts.encode()).hexdigest(), 16) % DEV_SHARE else "dev"


def _name_in(split: str, splits: Splits) -> str | None:
    return next((name for name in _SPLIT_NAMES.get(split, (split,)) if name in splits), None)


def _source(rows: Any, label_field: str) -> _Source:
    """Return rows of any supported type with their columns and names. Raises NotServed for other types."""
    if hasattr(rows, "column_names") and hasattr(rows, "iter"):  # datasets.Dataset
        names = getattr(rows.features.get(label_field), "names", None)
        return _Source(list(rows.column_names), rows.num_rows, names, _dataset_rows(rows))
    if hasattr(rows, "to_dict") and hasattr(rows, "columns"):  # pandas.DataFrame
        records = rows.to_dict("records")
        return _Source([str(column) for column in rows.columns], len(records), None, records)
    found = list(rows) if isinstance(rows, Iterable) and not isinstance(rows, str | bytes | Mapping) else [rows]
    if not all(isinstance(row, Mapping) for row in found):
        raise NotServed(f"rows are a {type(rows).__name__}, expected a frame, a Dataset or a list of dictionaries")
    return _Source(list(dict.fromkeys(key for row in found for key in row)), len(found), None, found)


def _dataset_rows(dataset: Any) -> Iterator[dict[str, Any]]:
    for batch in dataset.iter(batch_size=BATCH_ROWS):
        for values in zip(*batch.values(), strict=True):
            yield dict(zip(batch, values, strict=True))


def _rows(task: Task, source: _Source, *, split: str, name: str, by_name: bool) -> Iterator[dict[str, Any]]:
    """Yield the rows of a split with keys in the order in which CLUE's files have them."""
    labelled = split in LABELLED_SPLITS
    paths = [*task.text_fields, *(path for span in task.spans for path in (span.start, span.text))]
    texts = list(dict.fromkeys(path.split(".")[0] for path in paths))
    columns = source.columns
    lacking = [column for column in [*texts, *([task.label_field] if labelled else [])] if column not in columns]
    if lacking:
        raise NotServed(f"{name}: no column {', '.join(lacking)}; found {', '.join(columns)}")
    id_column = next((column for column in (task.id_field, *_ID_COLUMNS) if column in columns), None)
    for number, row in enumerate(source.rows):
        fields = {column: row.get(column) for column in texts}
        if labelled:
            value = row.get(task.label_field)
            if source.names is None and not by_name and not isinstance(value, str | float):
                value = str(value)
            label = _label(value, source.names, task, where=f"{name}, row {number}")
            yield _labelled(fields, label, task)
        else:
            yield {task.id_field: number if id_column is None else row[id_column], **fields}


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
