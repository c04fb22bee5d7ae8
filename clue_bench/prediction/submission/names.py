"""What the files of a submission are called.

Input: task cards. Output: the files that a submission can hold, and for a wrong name the one that was meant.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

from clue_bench.cards import builtin_folder, card_paths
from clue_bench.errors import ClueBenchError, nearest
from clue_bench.tasks.task import Task, load_task

FIRST_IDS = {
    "afqmc_predict.json": 0,
    "tnews11_predict.json": 0,
    "tnews10_predict.json": 0,
    "iflytek_predict.json": 0,
    "cmnli_predict.json": 0,
    "ocnli_50k_predict.json": 0,
    "cluewsc10_predict.json": 1,
}
"""First id of the official test files whose ids are contiguous, counted on the files. CSL's are not; 1.1 of CLUEWSC and
files of own tasks are not known: their ids are compared with --data only."""

OF_NO_CARD = (
    "ocnli_30k_predict.json",
    *(f"{task}{version}_predict.json" for task in ("c3", "chid") for version in ("10", "11")),
)
"""Official names of test sets that no built-in card describes."""


class Slot(NamedTuple):
    """A file that a submission can hold: its official name, and the test set that it answers."""

    name: str
    task: Task
    split: str


def slots(tasks: Iterable[Task]) -> dict[str, Slot]:
    """Return the files that submissions for `tasks` can hold, by name. Raises ClueBenchError if two share a name."""
    found: dict[str, Slot] = {}
    for task in tasks:
        for split, card in task.splits.items():
            if card.submission is None:
                continue
            other = found.setdefault(card.submission, Slot(card.submission, task, split))
            if (other.task.name, other.split) != (task.name, split):
                raise ClueBenchError(
                    f"{card.submission} is the submission of both {other.task.name} and {task.name}",
                    "change it in your own card",
                )
    return found


def known_slots(cards: Iterable[str] = ()) -> dict[str, Slot]:
    """Return the slots of every card that is found by name; `cards` (names or .toml paths) stand in for their names.

    Raises ClueBenchError for a broken card.
    """
    own = [load_task(card) for card in cards]
    names = {task.name for task in own}
    return slots([*own, *(load_task(name) for name in card_paths("tasks") if name not in names)])


def builtin_names() -> list[str]:
    """Return the names of the built-in cards' files, sorted: all of CLUE's that this package can fill."""
    paths = sorted(builtin_folder("tasks").glob("*.toml"))
    return sorted(slots(load_task(str(path)) for path in paths))


def meant(name: str, known: dict[str, Slot]) -> str:
    """Return which name was meant: those of the task whose name it begins with, else the nearest one.

    By letters alone ocnli_predict.json is nearer to cmnli_predict.json than to its own.
    """
    word = re.split(r"[^a-z]", name.lower())[0]
    own = sorted(slot.name for slot in known.values() if word and slot.task.name.startswith(word))
    return f"did you mean {' or '.join(own)}?" if own else nearest(name, known)
