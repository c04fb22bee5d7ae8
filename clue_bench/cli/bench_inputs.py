"""What `clue-bench bench` is given, opened and checked before anything runs.

Input: model references, task names, a data folder. Output: models under names of which none comes twice, tasks with
their rows, and the settings to try of every model on every task. What cannot be planned is an error here.
"""

import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clue_bench.cli import terminal
from clue_bench.errors import ClueBenchError

if TYPE_CHECKING:
    from clue_bench.finetuning.base_models.pretrained import Pretrained
    from clue_bench.finetuning.grid import Grid, Point
    from clue_bench.tasks.rows import Rows
    from clue_bench.tasks.task import Task

HASH_DIGITS = 6


@dataclass(frozen=True)
class Asked:
    """What the command was asked for, decoded."""

    data: Path
    out: Path
    seeds: list[int]
    settings: dict[str, Any]
    grid: "Grid"
    is_search: bool
    retry_failed: bool


@dataclass(frozen=True)
class Job:
    """A task, its rows, and the settings to try, a list for every model."""

    card: "Task"
    rows: dict[str, "Rows"]
    candidates: list[list["Point"]]


def refuse_both(settings: dict[str, Any], grid: "Grid") -> None:
    """Raise ClueBenchError if a key is both set and searched."""
    both = [key for key in settings if key in grid]
    if both:
        values = ",".join(str(value) for value in grid[both[0]])
        raise ClueBenchError(
            f"--set {both[0]}={settings[both[0]]} and --grid {both[0]}={values}: both decide {both[0]}",
            "keep one of them",
        )


def open_models(references: list[str], *, with_untrained: bool) -> list["Pretrained"]:
    """Open every model, each followed by its untrained self if asked; one that is given twice counts once."""
    from clue_bench.finetuning.base_models.pretrained import open_pretrained, untrained

    starts: dict[str, Pretrained] = {}
    for reference in references:
        start = open_pretrained(reference)
        for note in start.notes:
            terminal.say(note)
        for each in (start, untrained(start)) if with_untrained else (start,):
            key = f"{each.name} {_identity(each)}"
            if key in starts:
                terminal.say(f"{each.name}: given twice, the same architecture, vocabulary and weights: counted once")
            starts.setdefault(key, each)
    return list(starts.values())


def labels_of(starts: list["Pretrained"]) -> list[str]:
    """Return what to call each model in tables: its name, with digits of its hash if another has the same."""
    counts = Counter(start.name for start in starts)
    return [
        start.name if counts[start.name] == 1 else f"{start.name}-{_identity(start)[:HASH_DIGITS]}" for start in starts
    ]


def find_tasks(names: str, data: Path) -> list["Task"]:
    """Return the tasks that are meant; without names, those whose data is there, and the others are said aloud."""
    from clue_bench.cards import card_paths
    from clue_bench.tasks.files import available_splits
    from clue_bench.tasks.task import load_task

    if names.strip(" ,"):
        named = [load_task(name.strip()) for name in names.split(",") if name.strip()]
        twice = [name for name, count in Counter(card.name for card in named).items() if count > 1]
        if twice:
            raise ClueBenchError(f"--tasks {names}: {twice[0]} comes twice", "give every task once")
        for card in named:
            available_splits(card, data)
        return named
    found, missing = [], []
    for name in card_paths("tasks"):
        card = load_task(name)
        try:
            available_splits(card, data)
            found.append(card)
        except ClueBenchError as error:
            missing.append(f"{name} ({error.message})")
    if not found:
        raise ClueBenchError(f"{data}: data of no task", "clue-bench data fetch")
    for reason in missing:
        terminal.say(f"left aside: {reason}")
    return found


def plan_job(card: "Task", starts: list["Pretrained"], asked: Asked) -> Job:
    """Read a task's rows and decide what is tried of every model. Raises ClueBenchError for settings that cannot be."""
    from clue_bench.tasks.rows import read_rows

    rows = read_rows(card, asked.data)
    return Job(card, rows, [_candidates(card, start, len(rows["train"]), asked) for start in starts])


def _candidates(card: "Task", start: "Pretrained", train_rows: int, asked: Asked) -> list["Point"]:
    """Return the settings to try: the points of the grid together with what --set says."""
    from clue_bench.finetuning.grid import default_grid, points
    from clue_bench.finetuning.settings import make_settings

    candidates = [dict(asked.settings)]
    if asked.is_search:
        grid = asked.grid
        if not grid:
            defaults = make_settings(card, start.sizes, asked.settings, train_rows=train_rows).model_dump()
            grid = {key: values for key, values in default_grid(defaults).items() if key not in asked.settings}
        candidates = [{**asked.settings, **point} for point in points(grid)]
    for point in candidates:
        make_settings(card, start.sizes, point, train_rows=train_rows)
    return candidates


def _identity(start: "Pretrained") -> str:
    return hashlib.sha256(json.dumps(start.identity, sort_keys=True).encode()).hexdigest()
