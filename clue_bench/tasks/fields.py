"""From a row of a file to its texts, label and id, as the card says.

Input: a row (a JSON object, or a line of a table as strings). Output: text. Everything that is not as the card says is
an error naming file, line and field.
"""

import re
from typing import Any

from clue_bench.errors import ClueBenchError
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
