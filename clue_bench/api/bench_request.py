"""The request of a benchmark, decoded: tasks and models opened, every setting decided, what records say of each run.

Input: the arguments of `bench`. Output: cells, a model on a task each, and their planned runs. Nothing is run.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

from clue_bench.api.bench_plan import PlannedSweep
from clue_bench.api.inputs import TaskData, check_model, open_model, task_data
from clue_bench.api.progress import Progress
from clue_bench.api.runs import as_settings, check_choice
from clue_bench.cards import card_paths
from clue_bench.doors.records import LOCK
from clue_bench.errors import ClueBenchError
from clue_bench.files import expanded
from clue_bench.numbers import counted

if TYPE_CHECKING:
    from clue_bench.api.inputs import Data, Model
    from clue_bench.finetuning.base_models.pretrained import Pretrained
    from clue_bench.finetuning.grid import Grid, Keep, Point
    from clue_bench.finetuning.run import Plan
    from clue_bench.finetuning.sweep import Planner
    from clue_bench.tasks.columns import Columns
    from clue_bench.tasks.task import Task

HASH_DIGITS = 6


@contextmanager
def opened(
    models: "Sequence[Model]",
    tasks: "str | Task | Sequence[str | Task] | None",
    asked: "Asked",
    *,
    data: "Data",
    text: "Columns | None",
    label: str | None,
    model_names: Sequence[str],
    untrained: bool = False,
) -> "Iterator[tuple[list[Job], list[Pretrained]]]":
    """Open tasks and models, and decide all settings. Raises ClueBenchError if any of that is impossible."""
    from clue_bench.finetuning.grid import points
    from clue_bench.finetuning.settings import check_settings

    show = asked.show
    if not models:
        raise ClueBenchError(f"models={models!r}: expected at least one model", "give a folder, a hub id or a run")
    if model_names and len(model_names) != len(models):
        raise ClueBenchError(
            f"{counted(len(models), 'model')} and {counted(len(model_names), 'name')}",
            "give one --name for each --model",
        )
    for model in models:
        check_model(model)
    with ExitStack() as stack:
        has_columns = text is not None or label is not None
        named = [None] if not tasks and has_columns else _find_tasks(tasks, data, show)
        tasks_opened = [stack.enter_context(task_data(task, data, text=text, label=label, show=show)) for task in named]
        for each in tasks_opened:
            for point in points(asked.grid):
                check_settings(each.card, {**asked.settings, **point})
        show.import_torch()
        starts = _open_models(models, model_names or [None] * len(models), with_untrained=untrained, show=show)
        yield (
            [
                Job(each, [_candidates(each, start, asked) for start in starts], task)
                for each, task in zip(tasks_opened, named, strict=True)
            ],
            starts,
        )


def _list_seeds(seeds: int | Sequence[int]) -> list[int]:
    """Return the seeds, for a number those from 1 on. Raises ClueBenchError if there is none."""
    if isinstance(seeds, int) and seeds >= 1:
        return list(range(1, seeds + 1))
    if isinstance(seeds, Sequence) and seeds and all(isinstance(seed, int) and seed >= 0 for seed in seeds):
        return list(seeds)
    raise ClueBenchError(
        f"seeds={seeds!r}: expected how many, at least 1, or a list of seeds, none below 0",
        "give e.g. seeds=3 or seeds=[1, 2, 3]",
    )


@dataclass(frozen=True)
class Asked:
    """The request, decoded."""

    out: Path
    seeds: list[int]
    settings: dict[str, Any]
    grid: "Grid"
    is_search: bool
    retry_failed: bool
    keep: "Keep | None"
    show: Progress

    @classmethod
    def of(
        cls,
        out: Path | str,
        *,
        seeds: int | Sequence[int],
        settings: Mapping[str, Any] | None,
        steps: int | None,
        search: bool,
        grid: "Grid | None",
        retry_failed: bool,
        show: Progress,
        keep: "Keep | None" = None,
    ) -> "Asked":
        """Decode a request. Raises ClueBenchError for one that cannot be meant."""
        from clue_bench.finetuning.grid import Keep

        if keep is not None:
            check_choice("keep", keep, get_args(Keep))
        typed = as_settings(settings, steps=steps)
        found = cls(
            expanded(out), _list_seeds(seeds), typed, dict(grid or {}), search or bool(grid), retry_failed, keep, show
        )
        found.refuse_both()
        return found

    def lock_of(self, run_id: str) -> Path:
        """Return the file that is locked while a process does this run."""
        return self.out / run_id / LOCK

    def refuse_both(self) -> None:
        """Raise ClueBenchError if a key is both set and searched."""
        both = [key for key in self.settings if key in self.grid]
        if both:
            key, values = both[0], ",".join(str(value) for value in self.grid[both[0]])
            raise ClueBenchError(
                f"--set {key}={self.settings[key]} and --grid {key}={values}: both decide {key}", "keep one of them"
            )


class Job(NamedTuple):
    """A task with its data, and the settings to try, a list for every model."""

    given: TaskData
    candidates: "list[list[Point]]"
    asked: "str | Task | None"  # as it was given; None for a file of rows that is called by its own name


def _open_models(
    models: "Sequence[Model]", names: Sequence[str | None], *, with_untrained: bool, show: Progress
) -> "list[Pretrained]":
    """Open every model, followed by its untrained version if requested; a repeated model counts once."""
    from clue_bench.finetuning.base_models.pretrained import untrained

    starts: dict[str, Pretrained] = {}
    for model, name in zip(models, names, strict=True):
        start = open_model(model, show, name=name)
        for each in (start, untrained(start)) if with_untrained else (start,):
            key = f"{each.name} {_identity(each)}"
            if key in starts:
                show.note(f"{each.name}: given twice, the same architecture, vocabulary and weights: counted once")
            starts.setdefault(key, each)
    return list(starts.values())


def _labels_of(starts: "Sequence[Pretrained]") -> list[str]:
    """Return each model's label: its name, with digits of its hash if another model has the same name."""
    counts = Counter(start.name for start in starts)
    return [
        start.name if counts[start.name] == 1 else f"{start.name}-{_identity(start)[:HASH_DIGITS]}" for start in starts
    ]


def _identity(start: "Pretrained") -> str:
    return hashlib.sha256(json.dumps(start.identity, sort_keys=True).encode()).hexdigest()


def _find_tasks(
    tasks: "str | Task | Sequence[str | Task] | None", data: "Data", show: Progress
) -> "list[str | Task | None]":
    """Return the requested tasks, by default those whose data is in the folder; note the others.

    None stands for the task of a file of rows, or of a folder with train.csv or the like.
    """
    from clue_bench.tasks.files import available_splits
    from clue_bench.tasks.own import holds_rows
    from clue_bench.tasks.task import load_task

    if tasks:
        named: list[str | Task | None] = (
            list(tasks) if isinstance(tasks, Sequence) and not isinstance(tasks, str) else [tasks]
        )
        names = [task if isinstance(task, str) else task.name for task in named if task is not None]
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise ClueBenchError(f"--task {','.join(names)}: {twice[0]} is given twice", "give every task once")
        return named
    if not isinstance(data, str | Path):
        raise ClueBenchError("rows in memory, but no task that they belong to", 'give the task, e.g. tasks=["tnews"]')
    if holds_rows(expanded(data)):
        return [None]
    found: list[str | Task | None] = []
    missing = []
    for name in card_paths("tasks"):
        card = load_task(name)
        try:
            available_splits(card, expanded(data))
            found.append(card)
        except ClueBenchError as error:
            missing.append(f"{name} ({error.message})")
    if not found:
        raise ClueBenchError(f"{data}: data of no task", f"run clue-bench data fetch --data {data}")
    show.notes(f"left aside: {reason}" for reason in missing)
    return found


def _candidates(given: TaskData, start: "Pretrained", asked: Asked) -> "list[Point]":
    """Return the settings to try: the points of the grid, each with the given settings. Raises ClueBenchError."""
    from clue_bench.finetuning.grid import default_grid, points
    from clue_bench.finetuning.settings import make_settings

    train_rows = len(given.rows["train"])
    candidates = [dict(asked.settings)]
    if asked.is_search:
        grid = asked.grid
        if not grid:
            defaults = make_settings(given.card, start.sizes, asked.settings, train_rows=train_rows).model_dump()
            grid = {key: values for key, values in default_grid(defaults).items() if key not in asked.settings}
        candidates = [{**asked.settings, **point} for point in points(grid)]
    for point in candidates:
        make_settings(given.card, start.sizes, point, train_rows=train_rows)
    return candidates


class Cell(NamedTuple):
    """A model on a task, with the settings to try and the model's label."""

    given: TaskData
    start: "Pretrained"
    points: "list[Point]"
    label: str

    @property
    def words(self) -> str:
        """Return both names."""
        return f"{self.given.card.name}, {self.label}"


def cells_of(jobs: Sequence[Job], starts: "Sequence[Pretrained]") -> list[Cell]:
    """Return every model on every task, task by task."""
    labels = _labels_of(starts)
    return [
        Cell(job.given, start, points, label)
        for job in jobs
        for start, points, label in zip(starts, job.candidates, labels, strict=True)
    ]


def planner_of(given: TaskData, start: "Pretrained") -> "Planner":
    """Return what plans a run of a setting and a seed."""
    from clue_bench.finetuning.run import Plan
    from clue_bench.finetuning.settings import make_settings

    def planner(point: "Point", seed: int) -> "Plan":
        settings = make_settings(given.card, start.sizes, point, train_rows=len(given.rows["train"]))
        return Plan(given.card, start, settings, seed=seed, rows=given.rows, data=given.folder)

    return planner


def planned_sweep(cell: Cell, asked: Asked) -> PlannedSweep:
    """Return the runs of a cell and what records say of them."""
    from clue_bench.finetuning.sweep import planned

    planner = planner_of(cell.given, cell.start)
    runs = planned(planner, cell.points, asked.seeds, out=asked.out, keep=asked.keep)
    return PlannedSweep(cell.label, cell.given.card.name, len(cell.points), runs)
