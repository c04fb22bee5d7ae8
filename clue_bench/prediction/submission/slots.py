"""The files that a submission can contain: official names, from task cards, and their test sets. No torch."""

import re
from collections.abc import Iterable
from typing import NamedTuple

from clue_bench.cards import builtin_folder, card_paths
from clue_bench.errors import ClueBenchError, nearest
from clue_bench.tasks.task import Task, load_task

OF_NO_CARD = ("ocnli_30k_predict.json",)
"""Official file names of test sets without a built-in card."""

ONE_OBJECT = ("span", "cloze")
"""Kinds of tasks whose file is one JSON object."""


class Slot(NamedTuple):
    """A file that a submission can contain: its official name and its test set."""

    name: str
    task: Task
    split: str


def slots(tasks: Iterable[Task]) -> dict[str, Slot]:
    """Return the files that submissions for `tasks` can contain, by name. Raises ClueBenchError for a shared name."""
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
    """Return the slots of every card; `cards` (names or .toml paths) replace those of the same name.

    Raises ClueBenchError for a broken card.
    """
    given = [load_task(card) for card in cards]
    names = {task.name for task in given}
    return slots([*given, *(load_task(name) for name in card_paths("tasks") if name not in names)])


def builtin_names() -> list[str]:
    """Return the names of the built-in cards' files, sorted: all of CLUE's that this package can fill."""
    paths = sorted(builtin_folder("tasks").glob("*.toml"))
    return sorted(slots(load_task(str(path)) for path in paths))


def meant(name: str, known: dict[str, Slot]) -> str:
    """Guess the intended name: those of the task that `name` begins with, else the nearest one.

    By letters alone, ocnli_predict.json is nearer to cmnli_predict.json than to its own.
    """
    word = re.split(r"[^a-z]", name.lower())[0]
    of_task = sorted(slot.name for slot in known.values() if word and slot.task.name.startswith(word))
    return f"did you mean {' or '.join(of_task)}?" if of_task else nearest(name, known)
