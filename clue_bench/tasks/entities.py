"""The entities of a text, however a row states them, and how many of each type are found.

Input: the value of a row in CLUENER's layout, {type: {entity: [[first, last], ...]}}, where `last` is the place of the
last character, not the one behind it; or doccano's, [[start, end, type], ...], where `end` is the place behind the last
character; or either as JSON in the cell of a table. Output: entities with their places.
One that does not stand at its place is looked for: the nearest place where its text stands is taken, and counted; one
that stands nowhere is left out, and counted.

Tags hold one entity a token: of entities that overlap, the longest is trained on (`without_overlaps`), of equally long
ones the first. Scores count them all. No tensors, no torch.
"""

import json
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from clue_bench.errors import ClueBenchError
from clue_bench.tasks.answers import NOWHERE, nearest_place, whole_text

NO_ENTITIES = "{}"  # as predictions spell those of a text without any
SPANS = 'write [[0, 2, "name"]]: first character, the one behind the last, type'
LAYOUT = 'write {"name": {"李华": [[0, 1]]}}: type, entity, first and last character'


class Entity(NamedTuple):
    """An entity from character `first` to character `last`, which belongs to it."""

    first: int
    last: int
    label: str


class Entities(NamedTuple):
    """The entities of a text in its order, and how many stood elsewhere or nowhere."""

    right: tuple[Entity, ...]
    misplaced: int
    absent: int  # of the misplaced ones


def find_entities(value: Any, text: str, labels: Collection[str], *, where: str, hint: str) -> Entities:
    """Return the entities that a row states. Raises ClueBenchError for another layout, or a type not in `labels`."""
    found: set[Entity] = set()
    misplaced = absent = 0
    for label, words, first, last in stated_entities(laid_out(value, text, where), where):
        if label not in labels:
            raise ClueBenchError(f"{where}: type '{label}' is not one of {len(labels)}", hint)
        if not words or text[first : last + 1] != words:
            misplaced += 1
            first = nearest_place(words, text, first) if words else NOWHERE
            if first == NOWHERE:
                absent += 1
                continue
        found.add(Entity(first, first + len(words) - 1, label))
    return Entities(tuple(sorted(found)), misplaced, absent)


def laid_out(value: Any, text: Any, where: str) -> Any:
    """Return the spans of a text, as doccano exports them, in CLUENER's layout; any other value as it is.

    Raises ClueBenchError for a span that is not within the text.
    """
    spans = _parsed(value)
    if spans != [] and not is_spans(spans):
        return value
    whole = whole_text(text, "text", where)
    for start, end, _ in spans:
        if not 0 <= start < end <= len(whole):
            raise ClueBenchError(f"{where}: [{start}, {end}] is no part of a text of {len(whole)} characters", SPANS)
    return layout_of((Entity(start, end - 1, label) for start, end, label in spans), whole)


def is_spans(value: Any) -> bool:
    """Return whether a value, or what the cell of a table holds, is a list of [start, end, type], and not empty."""
    value = _parsed(value)
    return isinstance(value, list) and bool(value) and all(isinstance(each, list) and _is_span(each) for each in value)


def _is_span(value: list[Any]) -> bool:
    return len(value) == 3 and type(value[0]) is type(value[1]) is int and isinstance(value[2], str)


def stated_entities(value: Any, where: str) -> list[tuple[str, str, int, int]]:
    """Return type, text, first and last character of every entity, as stated. Raises ClueBenchError: another layout."""
    found: list[tuple[str, str, int, int]] = []
    for label, of_label in _object(_parsed(value), where).items():
        if not str(label).strip():
            raise ClueBenchError(f"{where}: a type without a name", LAYOUT)
        for words, places in _object(of_label, f"{where}, {label}").items():
            if not isinstance(places, list) or not places or not all(_is_place(each) for each in places):
                raise ClueBenchError(f"{where}, {label}: the places of '{words}' are {str(places)[:60]}", LAYOUT)
            whole_text(words, str(label), where)
            found += [(label, words, first, last) for first, last in places]
    return found


def _parsed(value: Any) -> Any:
    """Return what the cell of a table holds, or the value itself."""
    if isinstance(value, str):
        with suppress(ValueError, RecursionError):
            return json.loads(value)
    return value


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ClueBenchError(f"{where}: no entities as CLUENER has them: {str(value)[:60]}", LAYOUT)
    return value


def _is_place(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(type(each) is int and each >= 0 for each in value)


def hold_entities(values: Iterable[Any]) -> bool:
    """Return whether labels are meant to be entities: one is an object of objects, or spans, or all are empty ones.

    One is enough, so that what is wrong with another is said by `stated_entities`: no class is an object.
    """
    found = [_parsed(value) for value in values]
    if any(isinstance(each, dict) and each and all(isinstance(of, dict) for of in each.values()) for each in found):
        return True
    if any(is_spans(each) for each in found):
        return True
    return bool(found) and all(each == {} for each in found)


def layout_of(entities: Iterable[Entity], text: str) -> dict[str, dict[str, list[list[int]]]]:
    """Return entities in CLUENER's layout, in the order of the text."""
    found: dict[str, dict[str, list[list[int]]]] = {}
    for first, last, label in sorted(entities):
        found.setdefault(label, {}).setdefault(text[first : last + 1], []).append([first, last])
    return found


def spelled_entities(entities: Iterable[Entity], text: str) -> str:
    """Return entities in CLUENER's layout as one text; the same ones always give the same."""
    return json.dumps(layout_of(entities, text), ensure_ascii=False)


def entities_in(spelled: str) -> set[Entity]:
    """Return the entities that a prediction spells."""
    return {Entity(first, last, label) for label, _, first, last in stated_entities(spelled, "predictions")}


def without_overlaps(entities: Sequence[Entity]) -> list[Entity]:
    """Return the entities that tags can hold, in the order of the text."""
    kept: list[Entity] = []
    for each in sorted(entities, key=lambda one: (one.first - one.last, one)):
        if all(each.last < other.first or other.last < each.first for other in kept):
            kept.append(each)
    return sorted(kept)


def count_entities(
    found: Sequence[Collection[Any]], right: Sequence[Collection[Any]], labels: Sequence[str]
) -> npt.NDArray[np.int64]:
    """Return (rows, types, 3) how many entities are right, found, and there; the last part of each is its type."""
    number = {label: place for place, label in enumerate(labels)}
    counts = np.zeros((len(right), len(labels), 3), dtype=np.int64)
    for row, (ours, theirs) in enumerate(zip(map(set, found), map(set, right), strict=True)):
        for column, part in enumerate((ours & theirs, ours, theirs)):
            for entity in part:
                counts[row, number[entity[-1]], column] += 1
    return counts
