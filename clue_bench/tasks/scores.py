"""What the two scores of a record on a task are called: its accuracy, and its F1, if that means something.

Input: the kind of a task, or what a record says about it. Output: names for people, and keys for JSON. No torch.

    classification   accuracy, macro-F1
    span             exact match, and the mean F1 of the answers
    choice, cloze    accuracy alone: labels are places among the choices, and a macro-F1 over places means nothing
    tags             the share of texts in which all entities are right, and their macro-F1, which is the score
"""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import TypeVar

from clue_bench.cards import builtin_folder
from clue_bench.doors.records import TaskFacts
from clue_bench.tasks.task import load_task

Share = TypeVar("Share")

NAMES = {
    "classification": ("accuracy", "macro-F1"),
    "choice": ("accuracy", ""),
    "cloze": ("accuracy", ""),
    "span": ("exact match", "F1"),
    "tags": ("right texts", "macro-F1"),
}
MIXED = (
    *("accuracy or exact match", "accuracy or right texts", "exact match or right texts", "macro-F1 or F1"),
    *("accuracy or exact match or right texts", "F1 or macro-F1", "accuracy or macro-F1", "exact match or macro-F1"),
    "accuracy or exact match or macro-F1",
)
"""What columns are called of tasks of which some have the one score, some the other."""
CHINESE = {
    "accuracy": "准确率",
    "exact match": "完全匹配",
    "macro-F1": "宏平均 F1",
    "F1": "F1",
    "right texts": "全对的文本",
}
KEYS = {"classification": "macro_f1", "span": "f1", "tags": "macro_f1"}
OF_METRIC = {"exact_match": "span", "entity_f1": "tags"}
WITH_CHOICES = ("choice", "cloze")


def score_names(kinds: Iterable[str]) -> tuple[str, str]:
    """Return what the two scores of tasks of these kinds are called; the second is "" where no task has one.

    Where tasks differ, all names of a score stand at the head of its column (`MIXED`).
    """
    found = set(kinds) or {"classification"}
    of_kind = [names for kind, names in NAMES.items() if kind in found]
    accuracy, f1 = (dict.fromkeys(filter(None, names)) for names in zip(*of_kind, strict=True))
    return " or ".join(accuracy), " or ".join(f1)


def score_name(*kinds: str) -> str:
    """Return what the score is called that models on tasks of these kinds are compared by."""
    found = set(kinds) or {"classification"}
    return " or ".join(dict.fromkeys(names[kind == "tags"] for kind, names in NAMES.items() if kind in found))


def named_f1(kind: str, value: Share) -> dict[str, Share]:
    """Return the second score of a task of this kind under its key for JSON; nothing where it means nothing."""
    return {KEYS[kind]: value} if kind in KEYS else {}


def kind_of(facts: TaskFacts) -> str:
    """Return the kind of a record's task: its own card's, else the built-in one's; else its metric tells.

    The last is for kinds of another version, too. A record carries every card that is not built in, since they can have
    other kinds than texts with labels.
    """
    if facts.card is not None and (kind := facts.card.get("kind", "classification")) in NAMES:
        return str(kind)
    return _builtin_kinds().get(facts.name) or OF_METRIC.get(facts.metric, "classification")


@cache
def _builtin_kinds() -> Mapping[str, str]:
    return {path.stem: load_task(str(path)).kind for path in builtin_folder("tasks").glob("*.toml")}
