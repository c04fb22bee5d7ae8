"""The right answers of a question on a passage, and where they stand in it, however a row states them.

Input: the value of a row: SQuAD's list of text and answer_start, the `datasets` library's lists of both, or one text.
Output: the answers with their places. A text that does not stand at its answer_start is looked for: the place that is
nearest to the one stated is taken, and counted. One that is nowhere in the passage has no place. No tensors, no torch.
"""

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from clue_bench.errors import ClueBenchError
from clue_bench.numbers import counted

FAKE = "FAKE_ANSWER"  # in CMRC2018's test set
NOWHERE = -1
_SURROGATE = re.compile("[\ud800-\udfff]")  # what JSON like "\\ud83d" leaves; no text in UTF-8 has it


class Answer(NamedTuple):
    """A right answer; `start` is the place of its first character in the passage, or NOWHERE."""

    text: str
    start: int


class Answers(NamedTuple):
    """The right answers of a question, and how many of them did not stand where the row says."""

    right: tuple[Answer, ...]
    misplaced: int


def find_answers(value: Any, context: str, where: str) -> Answers:
    """Return the answers that a row states, none where they are unknown. Raises ClueBenchError for another layout."""
    found: list[Answer] = []
    misplaced = 0
    for text, stated in _stated(value, where):
        if not text.strip() or text.startswith(FAKE):
            continue
        is_there = stated is not None and stated >= 0 and context.startswith(text, stated)
        place = stated if is_there and stated is not None else nearest_place(text, context, stated or 0)
        found.append(Answer(text, place))
        misplaced += not is_there and stated is not None
    return Answers(tuple(found), misplaced)


def nearest_place(text: str, context: str, stated: int) -> int:
    """Return the place of `text` that is nearest to the stated one, NOWHERE if there is none."""
    places, at = [], context.find(text)
    while at >= 0:
        places.append(at)
        at = context.find(text, at + 1)
    return min(places, key=lambda place: abs(place - stated), default=NOWHERE)


def _stated(value: Any, where: str) -> Sequence[tuple[str, int | None]]:
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):  # a cell of a table
        with suppress(ValueError, RecursionError):
            value = json.loads(value)
    if value is None or isinstance(value, str):
        return [] if not value else [(whole_text(value, "text", where), None)]
    if isinstance(value, dict) and isinstance(value.get("text"), list):  # of `datasets`
        texts, starts = value["text"], value.get("answer_start") or [None] * len(value["text"])
        if not isinstance(starts, list) or len(starts) != len(texts):
            counts = f"{counted(len(texts), 'text')} and another number of answer_start"
            raise ClueBenchError(f"{where}: {counts}", "give each a place")
        value = [{"text": text, "answer_start": at} for text, at in zip(texts, starts, strict=True)]
    value = [value] if isinstance(value, dict) else value
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return [(whole_text(each, "text", where), None) for each in value]
    if not isinstance(value, list) or not all(isinstance(each, dict) and "text" in each for each in value):
        raise ClueBenchError(f"{where}: no answers as SQuAD has them", 'write [{"text": "…", "answer_start": 0}]')
    return [(whole_text(each["text"], "text", where), _place(each.get("answer_start"), where)) for each in value]


def whole_text(value: Any, name: str, where: str) -> str:
    """Return a value called `name` that is a text. Raises ClueBenchError if it is none, or holds half a character."""
    if not isinstance(value, str):
        raise ClueBenchError(f"{where}: {name} is {value!r}, expected a string", "fix the line")
    if _SURROGATE.search(value):
        raise ClueBenchError(f"{where}: {name} holds half a character", "fix the line")
    return value


def _place(start: Any, where: str) -> int | None:
    """Return an answer_start as a number; 3.0, of a column that had gaps, is one, and so is "3" of a table."""
    if isinstance(start, str) and start.isascii() and start.isdigit():
        start = int(start[:9])
    if isinstance(start, float) and start.is_integer():
        start = int(start)
    if start is not None and type(start) is not int:
        raise ClueBenchError(f"{where}: answer_start is {start!r}, expected a place in the text", "fix the line")
    return start
