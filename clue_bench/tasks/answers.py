"""The right answers of a question on a passage, and where they stand in it, however a row states them.

Input: the value of a row: SQuAD's list of text and answer_start, the `datasets` library's lists of both, or one text.
Output: the answers with their places. A text that does not stand at its answer_start is looked for: the place that is
nearest to the one stated is taken, and counted. One that is nowhere in the passage has no place. No tensors, no torch.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from clue_bench.errors import ClueBenchError

FAKE = "FAKE_ANSWER"  # in CMRC2018's test set
NOWHERE = -1


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
        if not text or text.startswith(FAKE):
            continue
        is_there = stated is not None and stated >= 0 and context.startswith(text, stated)
        found.append(Answer(text, stated if is_there and stated is not None else _nearest(text, context, stated or 0)))
        misplaced += not is_there and stated is not None
    return Answers(tuple(found), misplaced)


def _nearest(text: str, context: str, stated: int) -> int:
    """Return the place of `text` that is nearest to the stated one, NOWHERE if there is none."""
    places, at = [], context.find(text)
    while at >= 0:
        places.append(at)
        at = context.find(text, at + 1)
    return min(places, key=lambda place: abs(place - stated), default=NOWHERE)


def _stated(value: Any, where: str) -> Sequence[tuple[str, int | None]]:
    if value is None or isinstance(value, str):
        return [] if not value else [(value, None)]
    if isinstance(value, dict) and isinstance(value.get("text"), list):  # of `datasets`
        starts = value.get("answer_start") or [None] * len(value["text"])
        value = [{"text": text, "answer_start": at} for text, at in zip(value["text"], starts, strict=False)]
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return [(each, None) for each in value]
    if not isinstance(value, list) or not all(isinstance(each, dict) and _is_answer(each) for each in value):
        raise ClueBenchError(f"{where}: no answers as SQuAD has them", 'write [{"text": "…", "answer_start": 0}]')
    return [(each["text"], each.get("answer_start")) for each in value]


def _is_answer(value: dict[str, Any]) -> bool:
    start = value.get("answer_start")
    return isinstance(value.get("text"), str) and (start is None or type(start) is int)
