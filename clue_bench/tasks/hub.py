"""A task's data from the Hugging Face hub, written in CLUE's own format.

Input: the splits of a hub dataset, whose labels are numbers with names in an order of their own. Output: JSON Lines
under the card's file names, labels spelled as on the card. The hub keeps neither keywords nor rows that CLUE labels
"-", so that such files are another revision than the official ones; where it keeps everything, they are the same bytes.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from clue_bench.tasks.download import NotServed, Patience, reach
from clue_bench.tasks.rows import LABELLED_SPLITS
from clue_bench.tasks.task import Task

BATCH_ROWS = 1_000
_JSON_LINES = (".json", ".jsonl")
_HUB_NAMES = {"dev": ("dev", "validation")}
_ID_COLUMNS = ("corpus_id", "idx")  # corpus_id is CSL's own id, idx the number of the line

Splits = Mapping[str, Any]
"""The hub's name of a split → `datasets.Dataset`."""

Load = Callable[[str, str], Splits]
"""Called with the name of a dataset and of a configuration. May raise anything."""


def load_from_hub(dataset: str, config: str) -> Splits:
    """Load a dataset through `datasets`. Raises NotServed if the hub cannot be reached, else whatever that raises."""
    import datasets
    from huggingface_hub import constants

    if not (datasets.config.HF_DATASETS_OFFLINE or constants.HF_HUB_OFFLINE):
        # Asked first, because the library repeats itself for half a minute where there is no network.
        reach(constants.ENDPOINT, patience=Patience())
    splits: Splits = datasets.load_dataset(dataset, config)
    return splits


def write_splits(task: Task, splits: Splits, folder: Path, *, progress: Callable[[int, int], None]) -> None:
    """Write every split of the card that `splits` has to `folder`; `progress` is called with rows done and of all.

    Raises NotServed if train or dev is missing, if the card's files are tables, or naming what cannot be mapped to it.
    """
    tables = [card.file for card in task.splits.values() if not card.file.endswith(_JSON_LINES)]
    if tables:
        raise NotServed(f"the card wants {', '.join(tables)}; rows of the hub are written as JSON Lines only")
    chosen = {split: name for split in task.splits if (name := _name_on_hub(split, splits)) is not None}
    for needed in LABELLED_SPLITS:
        if needed not in chosen:
            raise NotServed(f"no {needed} split; found {', '.join(splits) or 'none'}")
    folder.mkdir(parents=True, exist_ok=True)
    total, done = sum(splits[name].num_rows for name in chosen.values()), 0
    for split, name in chosen.items():
        with (folder / task.splits[split].file).open("w", encoding="utf-8", newline="\n") as file:
            for row in _rows(task, splits[name], split=split, name=name):
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
                done += 1
                if done % BATCH_ROWS == 0 or done == total:
                    progress(done, total)


def _name_on_hub(split: str, splits: Splits) -> str | None:
    return next((name for name in _HUB_NAMES.get(split, (split,)) if name in splits), None)


def _rows(task: Task, dataset: Any, *, split: str, name: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of a split with keys in the order in which CLUE's files have them."""
    labelled = split in LABELLED_SPLITS
    paths = [*task.text_fields, *(path for span in task.spans for path in (span.start, span.text))]
    texts = list(dict.fromkeys(path.split(".")[0] for path in paths))
    columns = dataset.column_names
    lacking = [column for column in [*texts, *([task.label_field] if labelled else [])] if column not in columns]
    if lacking:
        raise NotServed(f"{name}: no column {', '.join(lacking)}; found {', '.join(columns)}")
    id_column = next((column for column in (task.id_field, *_ID_COLUMNS) if column in columns), None)
    names = getattr(dataset.features.get(task.label_field), "names", None)
    number = 0
    for batch in dataset.iter(batch_size=BATCH_ROWS):
        for place in range(len(batch[texts[0]])):
            fields = {column: batch[column][place] for column in texts}
            if labelled:
                label = _label(batch[task.label_field][place], names, task, where=f"{name}, row {number}")
                yield _labelled(fields, label, task)
            else:
                yield {task.id_field: batch[id_column][place] if id_column is not None else number, **fields}
            number += 1


def _labelled(fields: dict[str, Any], label: str, task: Task) -> dict[str, Any]:
    if not task.label_description_field:
        return {**fields, task.label_field: label}
    known = dict(zip(task.labels, task.label_descriptions, strict=True))
    return {task.label_field: label, task.label_description_field: known.get(label, ""), **fields}


def _label(value: Any, names: list[str] | None, task: Task, *, where: str) -> str:
    """Return the card's spelling of a hub label: by name, because the hub numbers classes in another order."""
    if names is not None and isinstance(value, int) and 0 <= value < len(names):
        value = names[value]
    if not isinstance(value, str) or value not in {*task.labels, *task.dropped_labels}:
        expected = f"one of the card's {len(task.labels)} labels"
        raise NotServed(f"{where}: label {value!r}, expected {expected}{'' if names else ' by name'}")
    return value
