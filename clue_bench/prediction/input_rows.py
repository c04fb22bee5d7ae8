"""Read the rows to predict, from a file or a split of a task.

Input: a file of rows in any format of `tasks.formats`, or .txt (or .gz of one), or "-", the standard input; or a task
and a data folder. Output: texts, ids, the right labels where they are known, and every column of the file. The task's
card names the fields; without one, obvious names are found. A row needs no label. A .txt file has a row per line, with
a tab between the two texts of a pair.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from clue_bench.errors import ClueBenchError
from clue_bench.numbers import counted
from clue_bench.tasks.columns import Columns, as_names, guess_label, guess_texts, is_free, is_name
from clue_bench.tasks.entities import spelled_entities
from clue_bench.tasks.files import Found, content
from clue_bench.tasks.formats import (
    DELIMITERS,
    JSON_LINES,
    SUFFIXES,
    Table,
    decode_text,
    is_for_excel,
    parse_table,
    suffix_of,
)
from clue_bench.tasks.own import data_folder
from clue_bench.tasks.questions import blank_table, question_table
from clue_bench.tasks.rows import (
    UNLABELLED,
    answers_of,
    check_header,
    entities_of,
    has_label,
    id_of,
    is_missing,
    label_of,
    lacking,
    read_split,
    spelled,
    text_at,
    texts_of,
    value_at,
)
from clue_bench.tasks.standard_input import CALLED, STDIN, read_stdin
from clue_bench.tasks.task import Task

PLAIN = ".txt"
READ_AS = {
    PLAIN: "stdin: read as one text a line",
    ".jsonl": "stdin: read as JSON Lines",
    ".csv": "stdin: read as a table, CSV",
    ".tsv": "stdin: read as a table, TSV",
}
MAX_STRANGE = 3  # labels that are named


@dataclass(frozen=True)
class InputRows:
    """Rows of one or two texts; `gold` is None where the right label is unknown, `columns` where the rows have none.

    `for_excel`: tables that are made of them begin with a byte order mark, as their file did, or since it was GBK.
    """

    texts: list[tuple[str, ...]]
    ids: list[int | str]
    gold: list[str | None]
    columns: list[dict[str, Any]] | None = None
    answers: list[tuple[str, ...]] | None = None  # every right one of questions on passages
    notes: list[str] = field(default_factory=list)
    md5: str = ""  # of the file
    for_excel: bool = False
    lines: tuple[int, ...] = ()  # of blanks: the number of each one's line, over which candidates are assigned

    def __len__(self) -> int:
        return len(self.texts)


def split_rows(task: Task, split: str, data: Path) -> InputRows:
    """Read the rows of a split, without those of dropped labels; `data` is a folder of tasks, or a file of rows."""
    if split not in task.splits:
        raise ClueBenchError(f"{task.name} has no split '{split}'", f"give one of {', '.join(task.splits)}")
    with data_folder(task, data) as folder:
        rows = read_split(task, split, folder)
    if task.kind == "span":
        gold = [right[0].text if right else None for right in rows.answers]
    elif task.kind == "tags":
        named = zip(rows.labels, rows.entities, rows.texts, strict=True)
        gold = [None if label == UNLABELLED else spelled_entities(right, text) for label, right, (text,) in named]
    else:
        gold = [None if label == UNLABELLED else task.labels[label] for label in rows.labels]
    answers = [tuple(each.text for each in right) for right in rows.answers] if task.kind == "span" else None
    return InputRows(rows.texts, rows.ids, gold, answers=answers, notes=list(rows.notes), lines=rows.lines)


def file_rows(path: Path, *, task: Task | None, num_texts: int | None, text: Columns | None = None) -> InputRows:
    """Read the rows of a file, whose texts lie in the columns `text`, by default those that the task's card names.

    Where card and file have one column of texts each, their names may differ. Raises ClueBenchError that names file and
    line of the first bad row.
    """
    columns = as_names(text) if text is not None else task.fields if task is not None else []
    raw, name, where = _raw(path, columns)
    suffix = suffix_of(name)
    is_cloze = task is not None and task.kind == "cloze" and suffix != PLAIN
    if suffix == PLAIN:
        _refuse_column(text, where)
        rows = _lines(raw, num_texts, where)
    else:
        table = _table(raw, name, where, columns)
        table = blank_table(table) if is_cloze else table
        fields, notes = _text_columns(table, task, num_texts, text)
        read_as = None if task is None else task.model_copy(update={"text_fields": fields})
        rows = _fields(table, read_as, fields)
        rows.notes.extend(notes)
    if not rows.texts:
        raise ClueBenchError(f"{where}: no rows", "write one row a line")
    rows.notes.extend([READ_AS[suffix]] if path == STDIN else [])
    lines = tuple(row["line"] for row in rows.columns or ()) if is_cloze else ()
    for_excel = suffix in (PLAIN, *JSON_LINES, *DELIMITERS) and is_for_excel(raw)
    return replace(rows, md5=hashlib.md5(raw, usedforsecurity=False).hexdigest(), for_excel=for_excel, lines=lines)


def _table(raw: bytes, name: str, where: str, columns: Sequence[str]) -> Table:
    """Return the rows of a file: of several sheets, the only one with these columns, else the first."""
    try:
        return question_table(raw, name=name, where=where, is_wanted=lambda found: not lacking(columns, found))
    except ClueBenchError:  # the only column of texts may be called otherwise; what else is wrong is said again
        return question_table(raw, name=name, where=where)


def prompt_rows(path: Path, *, column: str | None) -> InputRows:
    """Read the prompts of a file: a .txt with one a line, or rows with one in a column.

    `column` is the prompts', by default "prompt", or the one that obviously holds texts. Raises ClueBenchError.
    """
    raw, name, where = _raw(path, [column or "prompt"])
    if suffix_of(name) == PLAIN:
        _refuse_column(column, where)
        return _lines(raw, 1, where)
    table = parse_table(raw, name=name, where=where)
    named = [each for each in table.columns if each.strip().lower() == "prompt"]
    found = [column] if column is not None else named or guess_texts(table.columns) or []
    if len(found) != 1 or found[0] not in table.columns:
        raise ClueBenchError(
            f"{where}: which column holds the prompts? found {', '.join(table.columns) or 'none'}",
            "name it: --text COLUMN",
        )
    texts: list[tuple[str, ...]] = [
        (text_at(row, found[0], f"{table.called}, {place}"),)
        for place, row in zip(table.places, table.rows, strict=True)
    ]
    if not texts:
        raise ClueBenchError(f"{where}: no rows", "write one row a line")
    notes = [*table.notes, *([] if column else [f"{where}: prompts are read from '{found[0]}'"])]
    return InputRows(texts, list(range(len(texts))), [None] * len(texts), table.values, notes=notes)


def _raw(path: Path, columns: Sequence[str]) -> tuple[bytes, str, str]:
    """Return a file's bytes, its name, and what errors call it; "-" is the standard input, whose texts have `columns`.

    Raises ClueBenchError if it is no file of rows.
    """
    if path == STDIN:
        return *read_stdin(columns, otherwise=PLAIN), CALLED
    check_file(path)
    return content(Found(path, None, path.name)), path.name, str(path)


def check_file(path: Path) -> None:
    """Raise ClueBenchError unless there is a file whose name is that of rows, or it is the standard input."""
    if path == STDIN:
        return
    suffix = suffix_of(path.name)
    if suffix not in (*SUFFIXES, PLAIN):
        raise ClueBenchError(
            f"{path}: a {suffix or 'nameless'} file, expected {', '.join((*SUFFIXES, PLAIN))}",
            "save it as one of these, e.g. as .csv",
        )
    if not path.is_file():
        raise ClueBenchError(f"{path}: no such file", "check the path")


def _refuse_column(named: Columns | None, where: str) -> None:
    """Raise ClueBenchError for a column that is named of lines of text."""
    if named is not None:
        raise ClueBenchError(
            f"{where}: read as one text a line, so there is no column '{as_names(named)[0]}'",
            "name no column, or give a table whose first line has its name",
        )


def _text_columns(
    table: Table, task: Task | None, num_texts: int | None, named: Columns | None
) -> tuple[list[str], list[str]]:
    """Return the columns that hold the texts, and a note where they are neither named nor the card's."""
    if task is None and named is None:
        fields = _guessed(table, num_texts) if table.rows else []
        return fields, [f"{table.called}: texts are read from {' and '.join(fields)}"]
    if named is not None:
        fields = as_names(named)
        wanted = num_texts or len(fields) if task is None else len(task.text_fields)
        missing = lacking(fields, table.columns)
        there = ", ".join(table.columns) or "none"
        if missing:
            raise ClueBenchError(
                f"{table.called}: no column '{missing[0]}'; found {there}",
                "give --column COLUMN for each text of a row",
            )
        if len(fields) != wanted:
            raise ClueBenchError(
                f"{table.called}: --column is given {counted(len(fields), 'time')}, expected {wanted}; found {there}",
                "give --column COLUMN for each text of a row",
            )
        return fields, []
    assert task is not None
    fields = task.text_fields
    if task.kind != "classification" or not lacking(fields, table.columns):
        return fields, []
    likely = _likely_texts(table, task)
    if len(fields) == len(likely) == 1 and is_name(likely[0]):
        return likely, [f"{table.called}: texts are read from '{likely[0]}', which was '{fields[0]}' in training"]
    if not table.has_header:
        return fields, []  # the first line that lacks the field is named
    raise ClueBenchError(
        f"{table.called}: the header has no column '{lacking(fields, table.columns)[0]}'; "
        f"found {', '.join(table.columns) or 'none'}",
        f"name the column: {' '.join(['--column COLUMN'] * len(fields))}; or write a header as the first line",
    )


def _likely_texts(table: Table, task: Task) -> list[str]:
    """Return the columns that may hold texts: neither ids, labels, a split nor numbers."""
    known = {task.label_field, task.id_field, guess_label(table.columns)}
    return [
        column
        for column in table.columns
        if column not in known and is_free(column) and not all(_is_number(row.get(column)) for row in table.rows)
    ]


def _is_number(value: Any) -> bool:
    """Return whether a cell says nothing, or a number."""
    if is_missing(value) or isinstance(value, int | float):
        return True
    try:
        float(str(value))
    except ValueError:
        return False
    return True


def _fields(table: Table, task: Task | None, fields: list[str]) -> InputRows:
    answers: list[tuple[str, ...]] = []
    asked = answers if task is not None and task.kind == "span" else None
    rows, strange = InputRows([], [], [], table.values, asked, list(table.notes)), list[str]()
    if task is not None:
        check_header(table, task.fields, table.called)
    for place, row in zip(table.places, table.rows, strict=True):
        where = f"{table.called}, {place}"
        if task is None:
            rows.texts.append(tuple(text_at(row, each, where) for each in fields))
            rows.gold.append(None)
            rows.ids.append(len(rows.ids))
            continue
        rows.texts.append(texts_of(row, task, where))
        if task.kind == "span":
            answered = answers_of(row, task, where).right
            rows.gold.append(answered[0].text if answered else None)
            answers.append(tuple(each.text for each in answered))
            rows.ids.append(id_of(row, task, len(rows.ids), where))
            continue
        if task.kind == "tags":
            right = entities_of(row, task, where).right if has_label(row, task) else None
            rows.gold.append(None if right is None else spelled_entities(right, rows.texts[-1][0]))
            rows.ids.append(id_of(row, task, len(rows.ids), where))
            continue
        label = spelled(value_at(row, task.label_field)) if has_label(row, task) else None
        if label is not None and task.has_choices:
            label = label_of(row, task, where)
        rows.gold.append(label if label in task.labels else None)
        if label is not None and label not in (*task.labels, *task.dropped_labels):
            strange.append(f"'{label}' in {place}")
        rows.ids.append(id_of(row, task, len(rows.ids), where))
    if task is not None and strange:
        more = ", …" if len(strange) > MAX_STRANGE else ""
        rows.notes.append(
            f"{table.called}: {counted(len(strange), 'label')} that {task.name} does not have, not counted in the "
            f"accuracy: {', '.join(strange[:MAX_STRANGE])}{more}"
        )
    return rows


def _guessed(table: Table, num_texts: int | None) -> list[str]:
    """Return the columns of texts for a model that names no task."""
    label = guess_label(table.columns)
    fields = guess_texts([column for column in table.columns if column != label])
    if fields is None or len(fields) != (num_texts or len(fields)):
        raise ClueBenchError(
            f"{table.called}: which columns hold the texts? the model names no task; found {', '.join(table.columns)}",
            "name the column, or the two of a pair: --column COLUMN; or give --task CARD.toml",
        )
    return fields


def _lines(raw: bytes, num_texts: int | None, called: str) -> InputRows:
    text, notes = decode_text(raw, called)
    if text.count("\r") - text.count("\r\n") > text.count("\n"):
        text, notes = text.replace("\r\n", "\n").replace("\r", "\n"), (*notes, f"{called}: lines end with CR alone")
    columns: list[dict[str, Any]] = []
    rows = InputRows([], [], [], columns, notes=list(notes))
    for number, line in enumerate(text.removesuffix("\n").split("\n") if text else [], 1):
        line = line.removesuffix("\r")
        if not line.strip():
            raise ClueBenchError(f"{called}, line {number}: an empty line, expected a text", "remove the line")
        texts = (line,) if num_texts == 1 else tuple(line.split("\t"))
        if len(texts) not in ((num_texts,) if num_texts else (1, 2)):
            raise ClueBenchError(
                f"{called}, line {number}: {counted(len(texts), 'text')}, expected {num_texts or '1 or 2'}",
                "put a tab between the texts of a pair",
            )
        rows.texts.append(texts)
        rows.gold.append(None)
        rows.ids.append(number - 1)
        columns.append(dict(zip(("text", "text_pair"), texts, strict=False)))
    return rows
