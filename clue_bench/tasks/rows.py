"""Rows of task data, read and checked against the card.

Input: a task, a data folder. Output: the rows of a split, and the facts that say which file they came from. JSON Lines
for `.json` and `.jsonl`, tables with a header for `.csv` and `.tsv`. Everything that is not as the card says is an
error naming file, line and field.
"""

import csv
import hashlib
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from clue_bench.doors.records import FileFacts
from clue_bench.errors import ClueBenchError
from clue_bench.tasks.files import DAMAGED, available_splits, content, find
from clue_bench.tasks.task import Span, Task

_SURROGATE = re.compile("[\ud800-\udfff]")  # what JSON like "\\ud83d" leaves; no text in UTF-8 has it
_PLACE = re.compile("[0-9]{1,9}")
_ABSENT = object()


def texts_of(row: dict[str, Any], task: Task, where: str) -> tuple[str, ...]:
    """Return the row's texts: lists joined, spans marked. `where` names file and line in errors."""
    return tuple(_text(row, name, task, where) for name in task.text_fields)


def label_of(row: dict[str, Any], task: Task, where: str) -> str:
    """Return the row's label as the card spells it; JSON's 0 and true are taken as "0" and "true"."""
    value = _at(row, task.label_field, where)
    if isinstance(value, bool):
        return str(value).lower()
    return _clean(str(value) if isinstance(value, int) else value, task.label_field, where)


def id_of(row: dict[str, Any], task: Task, number: int, where: str = "") -> int | str:
    """Return the row's id, or its number in the file if it has none, or null."""
    value = _found(row, task.id_field)
    if value is _ABSENT or value is None:
        return number
    if not isinstance(value, int | str) or isinstance(value, bool):
        raise ClueBenchError(f"{where}: {task.id_field} is {value!r}, expected a number or a string", "fix the line")
    return value


def _text(row: dict[str, Any], name: str, task: Task, where: str) -> str:
    value = _at(row, name, where)
    if isinstance(value, list):
        value = task.list_separator.join(_clean(part, name, where) for part in value)
    text = _clean(value, name, where)
    spans = [span for span in task.spans if span.field == name]
    return _marked(text, row, spans, where) if spans else text


def _marked(text: str, row: dict[str, Any], spans: list[Span], where: str) -> str:
    """Return `text` with every span between its marks. Raises ClueBenchError if a span is not where the row says."""
    inserted: list[tuple[int, int, int, int, str]] = []  # where, and what decides the order at one place
    for number, span in enumerate(spans):
        start, words = _at(row, span.start, where), _clean(_at(row, span.text, where), span.text, where)
        if isinstance(start, str) and _PLACE.fullmatch(start):  # tables hold strings only
            start = int(start)
        if not isinstance(start, int) or isinstance(start, bool) or start < 0:
            raise ClueBenchError(f"{where}: {span.start} is {start!r}, expected a place in the text", "fix the line")
        if not words:
            raise ClueBenchError(f"{where}: {span.text} is empty, nothing to mark", "fix the line")
        if text[start : start + len(words)] != words:
            found = text[start : start + len(words)]
            raise ClueBenchError(
                f"{where}: {span.text} is '{words}', at character {start} stands '{found}'", "fix the line"
            )
        # At one place ends come before beginnings, the end of the inner span first, the beginning of the outer first.
        end = start + len(words)
        inserted += [(start, 1, -end, number, span.before), (end, 0, -start, -number, span.after)]
    for place, *_, mark in sorted(inserted, reverse=True):
        text = text[:place] + mark + text[place:]
    return text


def _at(row: dict[str, Any], name: str, where: str) -> Any:
    """Return the value of a field; "target.span1_text" reaches into an object."""
    value = _found(row, name)
    if value is _ABSENT:
        keys = ", ".join(row) or "none"
        raise ClueBenchError(f"{where}: no field '{name}'; found {keys}", "fix the line")
    return value


def _found(row: dict[str, Any], name: str) -> Any:
    """Return the value of a field, _ABSENT if there is none. A column may have a dot in its own name."""
    if name in row:
        return row[name]
    value: Any = row
    for part in name.split("."):
        if not isinstance(value, dict) or part not in value:
            return _ABSENT
        value = value[part]
    return value


def _clean(value: Any, name: str, where: str) -> str:
    if not isinstance(value, str):
        raise ClueBenchError(f"{where}: {name} is {value!r}, expected a string", "fix the line")
    if _SURROGATE.search(value):
        raise ClueBenchError(f"{where}: {name} holds half a character", "fix the line")
    return value


UNLABELLED = -1
LABELLED_SPLITS = ("train", "dev")
_JSON_LINES = (".json", ".jsonl")
_DELIMITERS = {".csv": ",", ".tsv": "\t"}
LONGEST_FIELD = 2**24  # characters in a field of a table; Python's own limit of 131,072 is less than a novel


@dataclass(frozen=True)
class Rows:
    """The rows of a split: texts (one or two per row), class numbers (UNLABELLED in test sets), and ids as given."""

    texts: list[tuple[str, ...]]
    labels: npt.NDArray[np.int64]
    ids: list[int | str]
    facts: FileFacts

    def __len__(self) -> int:
        return len(self.texts)


def read_rows(task: Task, data: Path) -> dict[str, Rows]:
    """Return every split of `task` that the data folder has; train and dev must be there."""
    return {split: read_split(task, split, data) for split in available_splits(task, data)}


def read_split(task: Task, split: str, data: Path) -> Rows:
    """Read one split of `task` from the data folder.

    Raises ClueBenchError if there is no such file, or naming file, line and what is wrong with it.
    """
    found = find(task, split, data)
    raw = content(found)
    card = task.splits[split]
    classes = {label: number for number, label in enumerate(task.labels)}
    texts: list[tuple[str, ...]] = []
    labels: list[int] = []
    ids: list[int | str] = []
    dropped = count = 0
    for number, row in _parsed(_decoded(raw, found.where), name=found.name, where=found.where):
        where = f"{found.where}, line {number}"
        count += 1
        if split in LABELLED_SPLITS:
            label = label_of(row, task, where)
            if label in task.dropped_labels:
                dropped += 1
                continue
            if label not in classes:
                raise ClueBenchError(
                    f"{where}: label '{label}' is not one of {task.name}'s {len(classes)} labels",
                    f"run clue-bench tasks show {task.name}",
                )
            labels.append(classes[label])
        else:
            labels.append(UNLABELLED)
        texts.append(texts_of(row, task, where))
        ids.append(id_of(row, task, count - 1, where))
    if not texts:
        raise ClueBenchError(f"{found.where}: no rows", DAMAGED)
    md5 = hashlib.md5(raw, usedforsecurity=False).hexdigest()
    facts = FileFacts(rows=count, md5=md5, expected_rows=card.rows, expected_md5=card.md5, dropped_rows=dropped)
    return Rows(texts, np.array(labels, dtype=np.int64), ids, facts)


def parse_rows(raw: bytes, *, name: str, where: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield line number and row of a file's bytes; `name` ends in .json, .jsonl, .csv or .tsv."""
    yield from _parsed(_decoded(raw, where), name=name, where=where)


def _parsed(text: str, *, name: str, where: str) -> Iterator[tuple[int, dict[str, Any]]]:
    suffix = Path(name.removesuffix(".gz")).suffix.lower()
    if suffix in _JSON_LINES:
        return _json_lines(text, where)
    if suffix not in _DELIMITERS:
        known = ", ".join((*_JSON_LINES, *_DELIMITERS))
        raise ClueBenchError(
            f"{where}: '{name}' ends in none of {known}", "rename the file, or save it as one of these"
        )
    return _table(text, _DELIMITERS[suffix], where)


def _json_lines(text: str, where: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ClueBenchError(
                f"{where}, line {number}: not JSON: {error}", "write one JSON object a line"
            ) from error
        if not isinstance(row, dict):
            kind = type(row).__name__
            raise ClueBenchError(f"{where}, line {number}: found a {kind}, expected a JSON object", "fix the line")
        yield number, row


def _table(text: str, delimiter: str, where: str) -> Iterator[tuple[int, dict[str, Any]]]:
    csv.field_size_limit(LONGEST_FIELD)
    # A tab-separated file has no quotes: a title may begin with one.
    lines = io.StringIO(text, newline="")
    if delimiter == "\t":
        reader = csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE)
    else:
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
    header: list[str] | None = None
    try:
        for cells in reader:
            if not cells:
                continue
            if header is None:
                header = [cell.strip() for cell in cells]
                if len(set(header)) != len(header):
                    twice = next(name for name in header if header.count(name) > 1)
                    raise ClueBenchError(f"{where}: two columns are called '{twice}'", "rename one of them")
                continue
            if len(cells) != len(header):
                raise ClueBenchError(
                    f"{where}, line {reader.line_num}: {len(cells)} columns, the header has {len(header)}",
                    "quote fields that hold the delimiter",
                )
            yield reader.line_num, dict(zip(header, cells, strict=True))
    except csv.Error as error:
        raise ClueBenchError(f"{where}, line {reader.line_num}: {error}", "fix the line") from error


def _decoded(raw: bytes, where: str) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ClueBenchError(f"{where}: invalid UTF-8 at byte {error.start}", "save the file as UTF-8") from error
