"""Rows of task data, read and checked against the card.

Input: a task, a data folder. Output: the rows of a split, and the facts that say which file they came from; `formats`
reads the files. Everything that is not as the card says is an error naming file, line and field.
"""

import datetime
import hashlib
import numbers
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from clue_bench.doors.records import DataFacts, FileFacts
from clue_bench.doors.results import RowBits
from clue_bench.errors import ClueBenchError
from clue_bench.tasks.answers import NOWHERE, Answer, Answers, find_answers, whole_text
from clue_bench.tasks.choices import choices_of, right_choice
from clue_bench.tasks.entities import LAYOUT, Entities, Entity, find_entities, without_overlaps
from clue_bench.tasks.files import DAMAGED, available_splits, content, describe, find_all
from clue_bench.tasks.formats import Table
from clue_bench.tasks.questions import blank_table, question_table
from clue_bench.tasks.task import Span, Task

_PLACE = re.compile("[0-9]{1,9}")
_ABSENT = object()


def texts_of(row: dict[str, Any], task: Task, where: str) -> tuple[str, ...]:
    """Return the row's texts: lists joined, spans marked; then its choices. `where` names file and line in errors."""
    texts = tuple(_text(row, name, task, where) for name in task.text_fields)
    return (*texts, *_choices(row, task, where)) if task.has_choices else texts


def answers_of(row: dict[str, Any], task: Task, where: str) -> Answers:
    """Return the right answers of a question on a passage, the first of its texts; none where they are unknown."""
    context = _text(row, task.text_fields[0], task, where)
    return find_answers(value_at(row, task.label_field), context, f"{where}: {task.label_field}")


def entities_of(row: dict[str, Any], task: Task, where: str) -> Entities:
    """Return the entities of a text. Raises ClueBenchError for another layout, or a type that the task lacks."""
    text, value = _text(row, task.text_fields[0], task, where), value_at(row, task.label_field)
    return find_entities(value, text, task.labels, where=f"{where}: {task.label_field}", hint=task.labels_hint)


def _choices(row: dict[str, Any], task: Task, where: str) -> list[str]:
    values = [_at(row, field, where) for field in task.choice_fields]
    named = ", ".join(task.choice_fields)
    return [
        whole_text(spelled(each), named, where)
        for each in choices_of(values, most=len(task.labels), where=f"{where}: {named}")
    ]


def label_of(row: dict[str, Any], task: Task, where: str) -> str:
    """Return the row's label as the card spells it; 0, 1.0 and true are taken as "0", "1" and "true".

    That of a question with choices is the number of the right one.
    """
    label = whole_text(spelled(_at(row, task.label_field, where)), task.label_field, where)
    if not task.has_choices:
        return label
    return task.labels[right_choice(label, _choices(row, task, where), where=f"{where}: {task.label_field}")]


def spelled(label: Any) -> Any:
    """Return how a card spells a label that is a number or a truth value; anything else as it is.

    1.0, from a column of numbers that had gaps, is the class "1".
    """
    if isinstance(label, bool) or type(label).__name__ == "bool_":  # of numpy
        return str(bool(label)).lower()
    if isinstance(label, numbers.Integral):
        return str(label)
    if isinstance(label, numbers.Real) and label == label:
        return str(int(float(label))) if label == label // 1 else str(label)
    return label


def value_at(row: dict[str, Any], field: str) -> Any:
    """Return the value of a field, None if there is none; "target.text" reaches into an object."""
    value = _found(row, field)
    return None if value is _ABSENT else value


def has_label(row: dict[str, Any], task: Task) -> bool:
    """Return whether a row has a label at all: it is not missing, and not -1, which the hub's test sets have."""
    value = value_at(row, task.label_field)
    if isinstance(value, list | dict):
        return bool(value) or task.kind == "tags"  # a text may have no entity
    return not is_missing(value) and (spelled(value) != "-1" or "-1" in task.labels)


def is_missing(value: Any) -> bool:
    """Return whether a value says nothing: null, "", or not a number."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):  # of pandas
        return True
    return bool(value == "") if isinstance(value, str) else isinstance(value, numbers.Real) and value != value


def column_of(field: str, columns: Collection[str]) -> str:
    """Return the column that holds a field: the one of that full name, else the one that "target.text" reaches into."""
    return field if field in columns else field.split(".")[0]


def lacking(fields: Iterable[str], columns: Collection[str]) -> list[str]:
    """Return the fields that none of `columns` holds."""
    return [field for field in dict.fromkeys(fields) if column_of(field, columns) not in columns]


def check_header(table: Table, fields: Iterable[str], where: str) -> None:
    """Raise ClueBenchError if the header of a table has no column for one of the card's fields."""
    missing = lacking(fields, table.columns) if table.has_header else []
    if missing:
        raise ClueBenchError(
            f"{where}: the header has no column '{missing[0]}'; found {', '.join(table.columns) or 'none'}",
            f"rename the column in the header to '{missing[0]}', or change the card's fields to those of the file",
        )


def id_of(row: dict[str, Any], task: Task, number: int, where: str = "") -> int | str:
    """Return the row's id, or its number in the file if it has none."""
    value = _found(row, task.id_field)
    if value is _ABSENT or is_missing(value):
        return number
    found = plain_id(value)
    if found is None:
        raise ClueBenchError(f"{where}: {task.id_field} is {value!r}, expected a number or a string", "fix the line")
    return whole_text(found, task.id_field, where) if isinstance(found, str) else found


def plain_id(value: Any) -> int | str | None:
    """Return an id as JSON holds it, None if it is none: 1.0, of a column that had gaps, is 1, and a date its text."""
    if isinstance(value, str) or type(value) is int:
        return value
    if isinstance(value, bool) or type(value).__name__ == "bool_":
        return None
    if isinstance(value, numbers.Real | Decimal):
        is_whole = float(value).is_integer()
        return int(float(value)) if is_whole else str(value)
    return value.isoformat() if isinstance(value, datetime.date | datetime.time) else None


def text_at(row: dict[str, Any], field: str, where: str) -> str:
    """Return the text in a field, which no card describes. Raises ClueBenchError if it is none."""
    return whole_text(_at(row, field, where), field, where)


def _text(row: dict[str, Any], name: str, task: Task, where: str) -> str:
    value = _at(row, name, where)
    if isinstance(value, list):
        value = task.list_separator.join(whole_text(part, name, where) for part in value)
    text = whole_text(value, name, where)
    spans = [span for span in task.spans if span.field == name]
    return _marked(text, row, spans, where) if spans else text


def _marked(text: str, row: dict[str, Any], spans: list[Span], where: str) -> str:
    """Return `text` with every span between its marks. Raises ClueBenchError if a span is not where the row says."""
    inserted: list[tuple[int, int, int, int, str]] = []  # where, and what decides the order at one place
    for number, span in enumerate(spans):
        start, words = _at(row, span.start, where), whole_text(_at(row, span.text, where), span.text, where)
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


UNLABELLED = -1
LABELLED_SPLITS = ("train", "dev")


@dataclass(frozen=True)
class Rows:
    """The rows of a split: texts (one or two per row), class numbers (or UNLABELLED, in test sets), and ids as given.

    `notes` say what was recognised in the file, e.g. another encoding. Of a question with choices, those are the texts
    from number `choices_from` on, and its class is the number of the right one. Of a question on a passage there are
    right `answers`, of which some may have no place; it has no class, 0 stands for one that is known. So it does for
    the `entities` of a text.
    """

    texts: list[tuple[str, ...]]
    labels: npt.NDArray[np.int64]
    ids: list[int | str]
    facts: FileFacts
    notes: tuple[str, ...] = ()
    dropped_ids: tuple[int | str, ...] = ()  # of rows with a dropped label
    choices_from: int = 0  # 0: none has choices
    answers: tuple[tuple[Answer, ...], ...] = ()
    lines: tuple[int, ...] = ()  # of blanks: the number of each one's line
    entities: tuple[tuple[Entity, ...], ...] = ()

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def num_empty(self) -> int:
        """Return how many rows have a text, or a choice, of nothing but white space."""
        return sum(not all(text.strip() for text in texts) for texts in self.texts)

    @property
    def passages(self) -> npt.NDArray[np.int64]:
        """Return (rows,) the number of each question's passage, or of each blank's line: these go together."""
        if self.lines:
            return np.array(self.lines, dtype=np.int64)
        number: dict[str, int] = {}
        return np.array([number.setdefault(texts[0], len(number)) for texts in self.texts], dtype=np.int64)

    def first_equal(self, classes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return chosen classes, each as the first choice of the same text: of two equal ones, either is right."""
        if not self.choices_from:
            return classes
        choices = [texts[self.choices_from :] for texts in self.texts]
        pairs = zip(choices, classes.tolist(), strict=True)
        return np.array([each.index(each[n]) if 0 <= n < len(each) else n for each, n in pairs], dtype=np.int64)


def read_rows(task: Task, data: Path) -> dict[str, Rows]:
    """Return every split of `task` that the data folder has; train and dev must be there."""
    return {split: read_split(task, split, data) for split in available_splits(task, data)}


def repeated_rows(rows: dict[str, Rows], split: str = "dev") -> npt.NDArray[np.bool_]:
    """Return which rows of `split` have the texts of a training row, character by character, pairs in their order."""
    known = set(rows["train"].texts)
    return np.array([texts in known for texts in rows[split].texts], dtype=np.bool_)


def describe_rows(task: Task, data: Path, rows: dict[str, Rows]) -> DataFacts:
    """Return which data set and revision the rows are, which of dev's training repeats, and where passages begin."""
    facts = describe(task, data, {split: part.facts for split, part in rows.items()})
    found = {"repeated": RowBits.pack(repeated_rows(rows))}
    if task.kind in ("choice", "span", "cloze"):
        found["passages"] = RowBits.pack(np.diff(rows["dev"].passages, prepend=-1) != 0)
    return facts.model_copy(update=found)


def read_split(task: Task, split: str, data: Path) -> Rows:
    """Read one split of `task` from the data folder.

    Raises ClueBenchError if there is no such file, or naming file, line and what is wrong with it.
    """
    found = find_all(task, split, data)
    raws = [content(each) for each in found]
    tables = [question_table(raw, name=each.name, where=each.where) for raw, each in zip(raws, found, strict=True)]
    if task.kind == "cloze":
        tables = [blank_table(tables[0], *tables[1:])]
    is_labelled = split in LABELLED_SPLITS
    placed: list[tuple[str, dict[str, Any]]] = []
    for table, each in zip(tables, found, strict=task.kind != "cloze"):
        check_header(table, [*task.fields, *([task.label_field] if is_labelled else [])], each.where)
        placed += [(f"{each.where}, {place}", row) for place, row in zip(table.places, table.rows, strict=True)]
    of_kind = {"span": _with_answers, "tags": _with_entities}
    rows = of_kind.get(task.kind, _with_classes)(placed, task, split)
    if not rows.texts:
        raise ClueBenchError(f"{found[0].where}: no rows", DAMAGED)
    card, empty, notes = task.splits[split], rows.num_empty, [*rows.notes]
    notes += [f"{split} of {task.name}: rows with a blank text: {empty:,}"] * bool(empty)
    is_numbered = _lacks_ids([row for _, row in placed], task, split)
    if is_numbered:
        notes.append(f"{split} of {task.name}: rows without ids, which CLUE's own file has: no order to submit them in")
    facts = FileFacts(
        rows=len(placed),
        md5=hashlib.md5(b"".join(raws), usedforsecurity=False).hexdigest(),
        expected_rows=card.rows,
        expected_md5=card.md5,
        dropped_rows=len(rows.dropped_ids),
        is_numbered=is_numbered or None,
    )
    return replace(rows, facts=facts, notes=(*(note for table in tables for note in table.notes), *notes))


MAY_LACK_IDS = "cluewsc11_predict.json"
"""Of CLUE's test files all but this one are known to state an id in each row."""


def _lacks_ids(rows: Sequence[dict[str, Any]], task: Task, split: str) -> bool:
    """Return whether rows of one of CLUE's test sets have no ids, as those of another release in another order."""
    name = task.splits[split].submission
    if name in (None, MAY_LACK_IDS) or not task.is_builtin:
        return False
    return any(is_missing(value_at(row, task.id_field)) for row in rows)


_NO_FILE = FileFacts(rows=0, md5="", expected_rows=None, expected_md5=None)


def _has_labels(task: Task, split: str) -> bool:
    """Return whether labels of a split are looked at: those of an official test set, if any, never are."""
    return split in LABELLED_SPLITS or task.splits[split].submission is None


def _with_classes(placed: Sequence[tuple[str, dict[str, Any]]], task: Task, split: str) -> Rows:
    """Return rows with their classes; `placed` has each with its place in words."""
    classes = {label: number for number, label in enumerate(task.labels)}
    texts: list[tuple[str, ...]] = []
    labels: list[int] = []
    ids: list[int | str] = []
    dropped: list[int | str] = []
    is_labelled = split in LABELLED_SPLITS
    for number, (where, row) in enumerate(placed):
        if is_labelled or (_has_labels(task, split) and has_label(row, task)):
            label = label_of(row, task, where)
            if is_labelled and label in task.dropped_labels:
                dropped.append(id_of(row, task, number, where))
                continue
            if label not in classes and label not in task.dropped_labels:
                raise ClueBenchError(
                    f"{where}: label '{label}' is not one of {task.name}'s {len(classes)} labels", task.labels_hint
                )
            labels.append(classes.get(label, UNLABELLED))
        else:
            labels.append(UNLABELLED)
        texts.append(texts_of(row, task, where))
        ids.append(id_of(row, task, number, where))
    choices_from = task.num_texts if task.has_choices else 0
    twice = sum(len(set(each[choices_from:])) < len(each[choices_from:]) for each in texts) if choices_from else 0
    note = f"{split} of {task.name}: questions with the same choice twice, either of which is right: {twice:,}"
    numbers = np.array(labels, dtype=np.int64)
    lines = tuple(row["line"] for _, row in placed) if task.kind == "cloze" else ()
    return Rows(texts, numbers, ids, _NO_FILE, (note,) * bool(twice), tuple(dropped), choices_from, lines=lines)


def _with_answers(placed: Iterable[tuple[str, dict[str, Any]]], task: Task, split: str) -> Rows:
    """Return questions on passages with their answers; without a place for any, none is trained on."""
    rows = Rows([], np.empty(0, dtype=np.int64), [], _NO_FILE)
    answers: list[tuple[Answer, ...]] = []
    dropped: list[int | str] = []
    num_answers = misplaced = absent = unanswered = 0
    for number, (where, row) in enumerate(placed):
        right, wrong_places = answers_of(row, task, where) if _has_labels(task, split) else ((), 0)
        num_answers += len(right)
        misplaced += wrong_places
        absent += sum(each.start == NOWHERE for each in right)
        is_lost = split == "train" and all(each.start == NOWHERE for each in right)
        if is_lost or (split in LABELLED_SPLITS and not right):
            unanswered += not right
            dropped.append(id_of(row, task, number, where))
            continue
        answers.append(right)
        rows.texts.append(texts_of(row, task, where))
        rows.ids.append(id_of(row, task, number, where))
    notes = []
    if misplaced or absent:
        notes.append(
            f"{split} of {task.name}: of {num_answers:,} answers, {misplaced:,} do not stand at their answer_start, "
            f"{absent:,} of these nowhere in their passage; scores look at the texts alone"
        )
    if unanswered:
        notes.append(f"{split} of {task.name}: left out, since they have no answer: {unanswered:,}")
    if lost := len(dropped) - unanswered:
        notes.append(f"{split} of {task.name}: left out, since no answer stands in the passage: {lost:,}")
    labels = np.array([0 if right else UNLABELLED for right in answers], dtype=np.int64)
    return replace(rows, labels=labels, notes=tuple(notes), dropped_ids=tuple(dropped), answers=tuple(answers))


def _with_entities(placed: Sequence[tuple[str, dict[str, Any]]], task: Task, split: str) -> Rows:
    """Return texts with their entities."""
    rows = Rows([], np.empty(0, dtype=np.int64), [], _NO_FILE)
    labels: list[int] = []
    found: list[Entities] = []
    for number, (where, row) in enumerate(placed):
        is_known = split in LABELLED_SPLITS or (_has_labels(task, split) and has_label(row, task))
        found.append(entities_of(row, task, where) if is_known else Entities((), 0, 0))
        labels.append(0 if is_known else UNLABELLED)
        rows.texts.append(texts_of(row, task, where))
        rows.ids.append(id_of(row, task, number, where))
    misplaced, absent = (sum(counts) for counts in zip(*(each[1:] for each in found), strict=True)) if found else (0, 0)
    total = absent + sum(len(each.right) for each in found)
    if found and total == absent and split in LABELLED_SPLITS:
        raise ClueBenchError(
            f"{split} of {task.name}: no entity in any of {len(found):,} texts; {absent:,} stand nowhere in theirs",
            LAYOUT,
        )
    hidden = sum(len(each.right) - len(without_overlaps(each.right)) for each in found)
    notes = []
    if total == absent and 0 in labels:  # a macro-F1 over nothing raises, and only after a whole run
        labels = [UNLABELLED] * len(labels)
        notes.append(f"{split} of {task.name}: no label names an entity of its text: read as not labelled")
    if misplaced:
        notes.append(
            f"{split} of {task.name}: of {total:,} entities, {misplaced:,} do not stand at their place: the nearest is "
            f"taken; {absent:,} of these stand nowhere in their text and are left out"
        )
    if hidden:
        notes.append(
            f"{split} of {task.name}: entities that overlap a longer one: {hidden:,}; tags cannot hold them, scores "
            "count them"
        )
    entities = tuple(each.right for each in found)
    return replace(rows, labels=np.array(labels, dtype=np.int64), notes=tuple(notes), entities=entities)
