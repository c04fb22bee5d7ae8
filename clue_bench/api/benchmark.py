"""Models on tasks, with every seed and setting that is still missing.

1. Open models and tasks and decide every setting, so that impossible requests fail before anything runs.
2. For each task, run the no-pretraining baselines, then each model's sweep, and write the reports.
3. Make one leaderboard of all runs.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from clue_bench.api.bench_plan import PlannedSweep, SweepBar, plan_lines, sweep_bar
from clue_bench.api.bench_results import Benchmark, Outcome
from clue_bench.api.inputs import TaskData, keep_rows, open_model, task_data
from clue_bench.api.progress import Progress
from clue_bench.api.runs import Run, Runs
from clue_bench.cards import card_paths
from clue_bench.errors import ClueBenchError
from clue_bench.numbers import counted

if TYPE_CHECKING:
    from clue_bench.api.inputs import Data, Model
    from clue_bench.finetuning.base_models.pretrained import Pretrained
    from clue_bench.finetuning.grid import Grid, Point
    from clue_bench.finetuning.run import Plan
    from clue_bench.finetuning.sweep import Keep, Moment, Planner, Sweep, Trial
    from clue_bench.leaderboards.leaderboard import Leaderboard
    from clue_bench.tasks.columns import Columns
    from clue_bench.tasks.task import Task

HASH_DIGITS = 6


def bench(
    models: "Model | Sequence[Model]",
    tasks: "str | Task | Sequence[str | Task] | None" = None,
    *,
    data: "Data" = "data",
    out: Path | str = "runs",
    seeds: int | Sequence[int] = 3,
    progress: bool = True,
    **more: Any,
) -> "Leaderboard":
    """Fine-tune models on tasks over several seeds; return a leaderboard of these runs and the baselines.

    `models` and `data` are as for `finetune`; `tasks` defaults to every card whose data is in the folder. Complete runs
    are not repeated. `more` is passed to `run_benchmark`: settings, steps, search, grid, untrained, keep, … Raises
    ClueBenchError before anything runs if the plan is impossible, and afterwards if no run is complete.
    """
    done = run_benchmark(models, tasks, data=data, out=out, seeds=seeds, progress=progress, **more)
    Progress(progress).notes(done.notes)
    if not done.runs:
        done.raise_failures()
    return done.leaderboard


def run_benchmark(
    models: "Model | Sequence[Model]",
    tasks: "str | Task | Sequence[str | Task] | None" = None,
    *,
    data: "Data" = "data",
    text: "Columns | None" = None,
    label: str | None = None,
    out: Path | str = "runs",
    seeds: int | Sequence[int] = 3,
    settings: Mapping[str, Any] | None = None,
    steps: int | None = None,
    search: bool = False,
    grid: "Grid | None" = None,
    untrained: bool = False,
    intermediate: str | None = None,
    floor: bool = True,
    retry_failed: bool = False,
    keep: "Keep | None" = None,
    model_names: Sequence[str] = (),
    progress: bool = True,
) -> Benchmark:
    """Do the missing runs of `bench`; return all runs with their settings.

    `search` tries learning rate × batch × epochs × dropout around the defaults with the first seed; `grid` tries the
    given values instead. `untrained` also runs each architecture from random weights, `intermediate` first fine-tunes
    each model on that task (STILTs), and `floor` runs the baselines. A failed run is recorded and the others continue;
    `retry_failed` repeats it. `keep` drops weights: of all runs but the "best" of each model and task, or of all of
    them ("none"); predictions and records stay, and only "all" repeats a run for weights that were dropped.
    `model_names` are what tables call the models. Raises ClueBenchError if the plan is impossible or another process
    is doing a run.
    """
    show = Progress(progress)
    asked = _Asked(
        out=Path(out),
        seeds=_list_seeds(seeds),
        settings={**(settings or {}), **({} if steps is None else {"steps": steps})},
        grid=dict(grid or {}),
        is_search=search or bool(grid),
        retry_failed=retry_failed,
        keep=keep,
        show=show,
    )
    asked.refuse_both()
    given = [models] if isinstance(models, str | Path | Run | tuple) else list(models)
    if not given:
        raise ClueBenchError(f"models={models!r}: expected at least one model", "give a folder, a hub id or a run")
    if model_names and len(model_names) != len(given):
        raise ClueBenchError(
            f"{counted(len(given), 'model')} and {counted(len(model_names), 'name')}",
            "give one --name for each --model",
        )
    with ExitStack() as stack:
        has_columns = text is not None or label is not None
        named = [None] if not tasks and has_columns else _find_tasks(tasks, data, show)
        opened = [stack.enter_context(task_data(task, data, text=text, label=label, show=show)) for task in named]
        show.import_torch()
        starts = _open_models(given, model_names or [None] * len(given), with_untrained=untrained, show=show)
        jobs = [_Job(each, [_candidates(each, start, asked) for start in starts]) for each in opened]
        if intermediate:
            before = stack.enter_context(task_data(intermediate, data, show=show))
            starts = [_after(start, before, asked) for start in starts]
        done = _bench_tasks(jobs, starts, asked, with_floor=floor)
    outcomes = tuple(outcome for _, found in done for outcome in found)
    return Benchmark(outcomes, Runs(tuple(run for floors, _ in done for run in floors)))


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
class _Asked:
    """The request, decoded."""

    out: Path
    seeds: list[int]
    settings: dict[str, Any]
    grid: "Grid"
    is_search: bool
    retry_failed: bool
    keep: "Keep | None"
    show: Progress

    def refuse_both(self) -> None:
        """Raise ClueBenchError if a key is both set and searched."""
        both = [key for key in self.settings if key in self.grid]
        if both:
            key, values = both[0], ",".join(str(value) for value in self.grid[both[0]])
            raise ClueBenchError(
                f"--set {key}={self.settings[key]} and --grid {key}={values}: both decide {key}", "keep one of them"
            )


class _Job(NamedTuple):
    """A task with its data, and the settings to try, a list for every model."""

    given: TaskData
    candidates: "list[list[Point]]"


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
    if holds_rows(Path(data)):
        return [None]
    found: list[str | Task | None] = []
    missing = []
    for name in card_paths("tasks"):
        card = load_task(name)
        try:
            available_splits(card, Path(data))
            found.append(card)
        except ClueBenchError as error:
            missing.append(f"{name} ({error.message})")
    if not found:
        raise ClueBenchError(f"{data}: data of no task", f"run clue-bench data fetch --data {data}")
    show.notes(f"left aside: {reason}" for reason in missing)
    return found


def _candidates(given: TaskData, start: "Pretrained", asked: _Asked) -> "list[Point]":
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


def _bench_tasks(
    jobs: Sequence[_Job], starts: "Sequence[Pretrained]", asked: _Asked, *, with_floor: bool
) -> list[tuple[list[Run], list[Outcome]]]:
    """Say the plan; run baselines and models on every task under one bar, and write the reports."""
    labels = _labels_of(starts)
    sweeps = [
        _planned(job.given, start, points, asked, label)
        for job in jobs
        for start, points, label in zip(starts, job.candidates, labels, strict=True)
    ]
    asked.show.notes(plan_lines(sweeps, seeds=asked.seeds, retry_failed=asked.retry_failed))
    asked.show.notes(_untrained_positions(jobs, starts))
    done = []
    with sweep_bar(sweeps, retry_failed=asked.retry_failed, show=asked.show) as bar:
        for at, job in enumerate(jobs):
            given, outcomes = job.given, list[Outcome]()
            with bar.baselines(len(jobs) - at - 1):
                if with_floor:
                    bar.move(f"{given.card.name}: baselines")
                floors = _run_floors(given, asked) if with_floor else []
            for number, (start, points, label) in enumerate(
                zip(starts, job.candidates, labels, strict=True), at * len(starts)
            ):
                words = f"{given.card.name}, {label}"
                swept = _sweep(given, start, points, asked, bar, number, words)
                bar.end_sweep(number, words)
                bounds = {"max_length": float(start.sizes.max_positions)}
                outcomes.append(Outcome(label, given.card.name, given.card.column, bounds, swept, points))
            for trial in (trial for outcome in outcomes for trial in outcome.sweep.trials if trial.is_complete):
                keep_rows(given, trial.folder)
            _write_reports([trial for outcome in outcomes for trial in outcome.sweep.of_best], given)
            done.append((floors, outcomes))
    return done


def _untrained_positions(jobs: "Sequence[_Job]", starts: "Sequence[Pretrained]") -> list[str]:
    """Return a warning for each task and model whose rows may be longer than those of its pretraining."""
    from clue_bench.finetuning.settings import make_settings

    found = []
    for job in jobs:
        card, train_rows = job.given.card, len(job.given.rows["train"])
        for start, points in zip(starts, job.candidates, strict=True):
            lengths = [make_settings(card, start.sizes, point, train_rows=train_rows).max_length for point in points]
            if warning := start.beyond_pretraining(max(lengths)):
                found.append(f"warning: {card.name}, {start.name}: {warning}")
    return found


def _run_floors(given: TaskData, asked: _Asked) -> list[Run]:
    """Run the missing baselines; return all that succeeded."""
    from clue_bench.finetuning.baselines import FLOORS, completed_floor, floor_run_id, run_floor
    from clue_bench.finetuning.run import held_folder

    found = []
    for kind in FLOORS:
        run_id = floor_run_id(given.card, given.rows, kind=kind, seed=1)
        folder = asked.out / run_id
        record = completed_floor(folder, run_id)
        if record is None:
            typed = {"floor": kind, "task": given.card.name}
            try:
                with held_folder(folder):
                    record = run_floor(
                        given.card, given.rows, data=given.folder, kind=kind, seed=1, out=folder, asked=typed
                    )
            except ClueBenchError as error:
                asked.show.note(f"{given.card.name}: no floor of the kind {kind}: {error.message}")
                continue
        keep_rows(given, folder)
        found.append(Run(record, folder))
    return found


def _after(start: "Pretrained", given: TaskData, asked: _Asked) -> "Pretrained":
    """Return `start` after fine-tuning on another task first, with the same settings and the first seed."""
    from clue_bench.finetuning.base_models.opening import open_pretrained

    only = replace(asked, seeds=asked.seeds[:1], keep="all")
    points = [dict(asked.settings)]
    asked.show.note(f"intermediate task {given.card.name}, {start.name}:")
    sweeps = [_planned(given, start, points, only, start.name)]
    with sweep_bar(sweeps, retry_failed=asked.retry_failed, show=asked.show) as bar:
        (trial,) = _sweep(given, start, points, only, bar, 0, f"{given.card.name}, {start.name}").trials
    if not trial.is_complete:
        raise ClueBenchError(
            f"intermediate task {given.card.name}: {trial.record.run_id}: {trial.record.error}",
            "fix it, then type the same command with --retry-failed",
        )
    return open_pretrained(trial.folder)


def _planner(given: TaskData, start: "Pretrained") -> "Planner":
    from clue_bench.finetuning.run import Plan
    from clue_bench.finetuning.settings import make_settings

    def planner(point: "Point", seed: int) -> "Plan":
        settings = make_settings(given.card, start.sizes, point, train_rows=len(given.rows["train"]))
        return Plan(given.card, start, settings, seed=seed, rows=given.rows, data=given.folder)

    return planner


def _planned(
    given: TaskData, start: "Pretrained", candidates: "list[Point]", asked: _Asked, label: str
) -> PlannedSweep:
    from clue_bench.finetuning.sweep import planned

    runs = planned(_planner(given, start), candidates, asked.seeds, out=asked.out, keep=asked.keep)
    return PlannedSweep(label, given.card.name, len(candidates), runs)


def _sweep(
    given: TaskData,
    start: "Pretrained",
    candidates: "list[Point]",
    asked: _Asked,
    bar: SweepBar,
    number: int,
    words: str,
) -> "Sweep":
    """Do the runs of one model on one task, sweep `number` of the bar."""
    from clue_bench.finetuning.sweep import sweep

    moments = sweep(
        _planner(given, start),
        candidates,
        asked.seeds,
        out=asked.out,
        asked={"task": given.card.name, "model": start.name, "data": given.name},
        retry_failed=asked.retry_failed,
        keep=asked.keep,
    )
    swept: list[Sweep] = []

    def followed() -> "Iterator[Moment]":
        swept.append((yield from moments))

    accuracies: dict[str, str] = {}  # of runs that may go on in parallel
    for moment in followed():
        report, run_id = moment.report, moment.plan.run_id
        if report is not None and report.evaluation is not None:
            accuracies[run_id] = f"  dev accuracy {report.evaluation.scores.accuracy:.4f}"
        loss = "" if report is None else f"  loss {report.loss:.3f}{accuracies.get(run_id, '')}"
        bar.update(number, moment, f"{words}, seed {moment.plan.seed}{loss}")
    return swept[0]


def _write_reports(trials: "Sequence[Trial]", given: TaskData) -> None:
    """Write the report of every run whose report is missing or out of date."""
    from clue_bench.analysis.report import FILE, write_report
    from clue_bench.doors.records import record_path

    for trial in trials:
        report, record = trial.folder / FILE, record_path(trial.folder, trial.record.run_id)
        if not report.is_file() or report.stat().st_mtime_ns < record.stat().st_mtime_ns:
            write_report(trial.folder, given.folder, report, card=given.card)
