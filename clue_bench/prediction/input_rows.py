"""Read the rows to predict, from a file or a split of a task.

Input: a .jsonl, .json, .csv, .tsv or .txt file (or .gz of one), or a task and a data folder. Output: texts, ids
and the right labels where they are known. In tables and JSON Lines the task's card names the fields; a row needs no
label. A .txt file has a row per line, with a tab between the two texts of a pair.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clue_bench.errors import ClueBenchError
from clue_bench.tasks.files import Found, content
from clue_bench.tasks.rows import LABELLED_SPLITS, id_of, label_of, parse_rows, read_split, texts_of
from clue_bench.tasks.task import Task

SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".txt")


@dataclass(frozen=True)
class InputRows:
    """Rows of one or two texts; `gold` is None where the right label is unknown."""

    texts: list[tuple[str, ...]]
    ids: list[int | str]
    gold: list[str | None]

    def __len__(self) -> int:
        return len(self.texts)


def split_rows(task: Task, split: str, data: Path) -> InputRows:
    """Read the rows of a split, without those of dropped labels."""
    if split not in task.splits:
        raise ClueBenchError(f"{task.name} has no split '{split}'", f"give one of {', '.join(task.splits)}")
    rows = read_split(task, split, data)
    is_labelled = split in LABELLED_SPLITS
    gold: list[str | None] = [task.labels[label] if is_labelled else None for label in rows.labels]
    return InputRows(rows.texts, rows.ids, gold)


def file_rows(path: Path, *, task: Task | None, num_texts: int | None) -> InputRows:
    """Read the rows of a file. Raises ClueBenchError that names file and line of the first bad row."""
    name = path.name.removesuffix(".gz")
    suffix = Path(name).suffix
    if suffix not in SUFFIXES:
        raise ClueBenchError(
            f"{path}: a {suffix or 'nameless'} file, expected {', '.join(SUFFIXES)}", "rename the file"
        )
    if not path.is_file():
        raise ClueBenchError(f"{path}: no such file", "check the path")
    raw = content(Found(path, None, name))
    if suffix == ".txt":
        rows = _lines(raw, num_texts, str(path))
    elif task is None:
        raise ClueBenchError(
            f"{path}: the model names no task, so the fields' names are not known",
            "give --task NAME or --task CARD.toml",
        )
    else:
        rows = _fields(raw, task, name, str(path))
    if not rows.texts:
        raise ClueBenchError(f"{path}: no rows", "write one row a line")
    return rows


def _fields(raw: bytes, task: Task, name: str, called: str) -> InputRows:
    rows = InputRows([], [], [])
    for number, row in parse_rows(raw, name=name, where=called):
        where = f"{called}, line {number}"
        rows.texts.append(texts_of(row, task, where))
        rows.gold.append(_gold(row, task, where))
        rows.ids.append(id_of(row, task, len(rows.ids)))
    return rows


def _gold(row: dict[str, Any], task: Task, where: str) -> str | None:
    if row.get(task.label_field.partition(".")[0]) in (None, ""):
        return None
    label = label_of(row, task, where)
    if label in task.dropped_labels:
        return None
    if label not in task.labels:
        raise ClueBenchError(
            f"{where}: label '{label}' is not one of {task.name}'s {len(task.labels)} labels",
            f"fix it, or leave it out; run clue-bench tasks show {task.name} to see the labels",
        )
    return label


def _lines(raw: bytes, num_texts: int | None, called: str) -> InputRows:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ClueBenchError(f"{called}: invalid UTF-8 at byte {error.start}", "save the file as UTF-8") from error
    rows = InputRows([], [], [])
    for number, line in enumerate(text.removesuffix("\n").split("\n") if text else [], 1):
        line = line.removesuffix("\r")
        if not line.strip():
            raise ClueBenchError(f"{called}, line {number}: an empty line, expected a text", "remove the line")
        texts = (line,) if num_texts == 1 else tuple(line.split("\t"))
        if len(texts) not in ((num_texts,) if num_texts else (1, 2)):
            raise ClueBenchError(
                f"{called}, line {number}: {len(texts)} texts, expected {num_texts or '1 or 2'}",
                "put a tab between the texts of a pair",
            )
        rows.texts.append(texts)
        rows.gold.append(None)
        rows.ids.append(number - 1)
    return rows
