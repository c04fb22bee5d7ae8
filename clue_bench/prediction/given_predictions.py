"""Read predictions that anybody made, and put them in the order of the rows that they are for.

Input: a file of rows with an id and an answer each (JSON Lines, JSON, CSV, TSV, Excel, Parquet), our own predictions
and CLUE's submission format among them, or one JSON object of ids and answers. Output: an answer for each expected id.
Ids are compared as text, so that 7 and "7" are one. Missing, doubled and unknown ids are an error that counts them:
nothing is scored by its place in the file.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clue_bench.errors import ClueBenchError
from clue_bench.tasks.files import Found, content
from clue_bench.tasks.formats import JSON_LINES, Row, decode_text, parse_table, suffix_of
from clue_bench.tasks.rows import is_missing, spelled
from clue_bench.tasks.standard_input import CALLED, STDIN, read_stdin

ANSWERS = ("predicted", "prediction", "prediction_text", "answer", "label")
"""Columns that hold the answer, in this order: `predict --file` keeps a file's own `label` beside `predicted`."""

GOLD = "gold"  # in our own predictions


@dataclass(frozen=True)
class GivenPredictions:
    """Answers by row, as they stand in the file, and the gold labels that it states, if any."""

    path: Path
    ids: list[str]
    answers: list[str]
    gold: list[str | None]
    notes: tuple[str, ...] = ()


def read_given(path: Path, *, are_entities: bool = False) -> GivenPredictions:
    """Read a file of predictions, "-" for stdin; those of entities may be objects, and are given as JSON.

    Raises ClueBenchError that names file and place of what is wrong.
    """
    if path == STDIN:
        raw, name = read_stdin(["id"], otherwise=".csv")
        path = Path(CALLED)
    elif path.is_file():
        raw, name = content(Found(path, None, path.name)), path.name
    else:
        raise ClueBenchError(f"{path}: no such file", "check the path")
    if suffix_of(name) in JSON_LINES and (pairs := _one_object(raw, path)) is not None:
        answers = [_answer(each, f"{path}, {key}", are_entities=are_entities) for key, each in pairs]
        return GivenPredictions(path, [key for key, _ in pairs], answers, [None] * len(pairs))
    table = parse_table(raw, name=name, where=str(path))
    named = {column.strip().lower(): column for column in table.columns}
    column = next((named[each] for each in ANSWERS if each in named), None)
    if not table.rows or column is None or "id" not in named:
        lacks = "no rows" if not table.rows else f"no column '{'label' if column is None else 'id'}'"
        raise ClueBenchError(
            f"{path}: {lacks}; found {', '.join(table.columns) or 'nothing'}",
            "give every row an id, that of the data or else the row's number from 0, and a label",
        )
    notes = list(table.notes)
    if column.strip().lower() != "label" and "label" in named:
        notes.append(f"{path}: predictions are read from '{column}', not from 'label'")
    gold = [None if GOLD not in named else _gold(row, named[GOLD]) for row in table.rows]
    placed = [(row, f"{path}, {place}") for place, row in zip(table.places, table.rows, strict=True)]
    ids = [_answer(row.get(named["id"]), where) for row, where in placed]
    answers = [_answer(row.get(column), where, are_entities=are_entities) for row, where in placed]
    return GivenPredictions(path, ids, answers, gold, tuple(notes))


class _Pairs(list[tuple[str, Any]]):
    """The keys and values of a JSON object, repeated keys too."""


def _unpaired(value: Any) -> Any:
    return {key: _unpaired(each) for key, each in value} if isinstance(value, _Pairs) else value


def _one_object(raw: bytes, path: Path) -> list[tuple[str, Any]] | None:
    """Return the keys and values of a file that is one JSON object of answers by id, repeated keys too."""
    text, _ = decode_text(raw, str(path))
    try:
        found = json.loads(text, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError):
        return None  # JSON Lines, or an error that names the line
    is_row = isinstance(found, list) and any(isinstance(each, tuple) and each[0] == "id" for each in found)
    if is_row or not found or not all(isinstance(each, tuple) for each in found):
        return None
    return [(str(key), value) for key, value in found]


def _answer(value: Any, where: str, *, are_entities: bool = False) -> str:
    """Return an answer, or an id, as text; entities as JSON.

    Raises ClueBenchError for a list, or an object of anything else, such as of n best answers.
    """
    if are_entities and isinstance(value, dict | _Pairs):
        return json.dumps(_unpaired(value), ensure_ascii=False)
    if isinstance(value, list | dict):
        raise ClueBenchError(f"{where}: a list or an object, expected one answer", "give the best one")
    return "" if is_missing(value) else str(spelled(value))


def _gold(row: Row, column: str) -> str | None:
    value = row.get(column)
    return None if is_missing(value) or isinstance(value, list | dict) else str(spelled(value))


def in_order(
    given: GivenPredictions, expected: Sequence[str], *, what: str, left_out: Sequence[str] = (), by_id: bool = False
) -> tuple[list[int], list[str]]:
    """Return the place in the file of the answer for each of the `expected` ids, and notes.

    `what` names the split; ids of `left_out` are those of rows that are not scored; CLUE's server, too, goes `by_id`
    where it takes one object. Raises ClueBenchError if ids are
    missing, doubled or unknown, or the file states other gold labels.
    """
    place_of = {each: place for place, each in enumerate(given.ids)}
    ignored = set(left_out)
    known = {*expected, *ignored}
    problems = [
        _counted([each for each in expected if each not in place_of], "missing"),
        _counted([each for each, times in Counter(given.ids).items() if times > 1], "given more than once"),
        _counted([each for each in place_of if each not in known], "unknown"),
    ]
    if any(problems):
        raise ClueBenchError(
            f"{given.path}: ids {', '.join(filter(None, problems))}; {what} has {len(expected):,} to score",
            "give exactly one line for each row of the split, with its id; one without an answer has an empty one",
        )
    places = [place_of[each] for each in expected]
    notes = [*given.notes]
    if places != sorted(places) and not by_id:
        notes.append(
            f"{given.path}: rows matched by id, since they stand in another order; CLUE's server goes by the order"
        )
    if left := sum(each in ignored for each in given.ids):
        notes.append(f"{given.path}: left out, since their rows have no label to score: {left:,}")
    return places, notes


def _counted(ids: Sequence[str], fault: str) -> str:
    return f"{fault}: {len(ids):,} (first '{ids[0]}')" if ids else ""
