"""Models on tasks, with every seed and setting that is still missing.

1. Open models and tasks and decide every setting, so that impossible requests fail before anything runs.
2. For each task, run the no-pretraining baselines, then each model's sweep, and write the reports.
3. Make one leaderboard of all runs.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from clue_bench.api.bench_plan import SweepBar, plan_lines, sweep_bar
from clue_bench.api.bench_request import Asked, Cell, Job, cells_of, opened, planned_sweep, planner_of
from clue_bench.api.bench_results import Benchmark, Outcome
from clue_bench.api.inputs import TaskData, keep_rows, open_card, task_data
from clue_bench.api.progress import Progress, evaluation_words
from clue_bench.api.runs import Run, Runs, check_choice
from clue_bench.api.unread import notes_on
from clue_bench.errors import ClueBenchError
from clue_bench.tasks.scores import score_names

if TYPE_CHECKING:
    from clue_bench.api.inputs import Data, Model
    from clue_bench.finetuning.base_models.pretrained import Pretrained
    from clue_bench.finetuning.grid import Grid, Keep
    from clue_bench.finetuning.sweep import Moment, Sweep
    from clue_bench.leaderboards.leaderboard import Leaderboard
    from clue_bench.tasks.columns import Columns
    from clue_bench.tasks.task import Task

Engine = Literal["local", "ray"]


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
    engine: Engine = "local",
    progress: bool = True,
) -> Benchmark:
    """Do the missing runs of `bench`; return all runs with their settings.

    `search` tries learning rate × batch × epochs × dropout around the defaults with the first seed; `grid` tries the
    given values instead. `untrained` also runs each architecture from random weights, `intermediate` first fine-tunes
    each model on that task (STILTs), and `floor` runs the baselines. A failed run is recorded and the others continue;
    `retry_failed` repeats it. `keep` drops weights: of all runs but the "best" of each model and task, or of all of
    them ("none"); predictions and records stay, and only "all" repeats a run for weights that were dropped.
    `model_names` are what tables call the models. Runs that another process is doing are waited for at the end. With
    the `engine` "ray" the models' runs are done by the workers of a Ray cluster, which see the same folders. Raises
    ClueBenchError if the plan is impossible.
    """
    check_choice("engine", engine, get_args(Engine))
    if engine == "ray":
        from clue_bench.api.bench_cluster import run_on_ray

        if untrained or intermediate:
            alone = "untrained" if untrained else "intermediate"
            raise ClueBenchError(f"--engine ray with --{alone}: no command does such a run", "leave one of them out")
        run_on_ray(
            models, tasks, data=data, text=text, label=label, out=out, seeds=seeds, settings=settings, steps=steps,
            search=search, grid=grid, retry_failed=retry_failed, model_names=model_names, show=Progress(progress),
        )  # fmt: skip
        retry_failed = False  # the cluster has done that
    asked = Asked.of(
        out, seeds=seeds, settings=settings, steps=steps, search=search, grid=grid, retry_failed=retry_failed,
        keep=keep, show=Progress(progress),
    )  # fmt: skip
    if intermediate:
        open_card(intermediate, data)
    given = [models] if isinstance(models, str | Path | Run | tuple) else list(models)
    columns: dict[str, Any] = {"text": text, "label": label}
    with opened(given, tasks, asked, data=data, untrained=untrained, model_names=model_names, **columns) as found:
        jobs, starts = found
        if intermediate:
            with task_data(intermediate, data, show=asked.show) as before:
                starts = [_after(start, before, asked) for start in starts]
        floors, outcomes = _bench_tasks(jobs, starts, asked, with_floor=floor)
    return Benchmark(tuple(outcomes), Runs(tuple(floors)))


def _bench_tasks(
    jobs: Sequence[Job], starts: "Sequence[Pretrained]", asked: Asked, *, with_floor: bool
) -> tuple[list[Run], list[Outcome]]:
    """Say the plan; run baselines and models on every task under one bar, and write the reports.

    What other processes are doing is left for the end, so that several commands share the runs.
    """
    cells, floors = cells_of(jobs, starts), list[Run]()
    swept: list[Sweep] = []
    sweeps = [planned_sweep(cell, asked) for cell in cells]
    asked.show.notes(plan_lines(sweeps, seeds=asked.seeds, retry_failed=asked.retry_failed))
    asked.show.notes(_untrained_positions(jobs, starts))
    with sweep_bar(sweeps, retry_failed=asked.retry_failed, show=asked.show) as bar:
        for number, cell in enumerate(cells):
            at, of_task = divmod(number, len(starts))
            if of_task == 0:
                with bar.baselines(len(jobs) - at - 1):
                    if with_floor:
                        bar.move(f"{cell.given.card.name}: baselines")
                        floors += _run_floors(cell.given, asked)
            swept.append(_sweep(cell, asked, bar, number, waits=False))
            _write_reports(swept[-1], cell.given)
        asked = replace(asked, retry_failed=False)  # what failed a moment ago is not repeated
        for number, cell in enumerate(cells):
            if swept[number].held:
                swept[number] = _sweep(cell, asked, bar, number, waits=True)
                _write_reports(swept[number], cell.given)
    outcomes = []
    for cell, sweep in zip(cells, swept, strict=True):
        card, bounds = cell.given.card, {"max_length": float(cell.start.sizes.max_positions)}
        outcomes.append(Outcome(cell.label, card.name, card.column, bounds, sweep, cell.points))
    return floors, outcomes


def _untrained_positions(jobs: "Sequence[Job]", starts: "Sequence[Pretrained]") -> list[str]:
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


def _run_floors(given: TaskData, asked: Asked) -> list[Run]:
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
                with held_folder(folder, waits=True):
                    record = completed_floor(folder, run_id) or run_floor(
                        given.card, given.rows, data=given.folder, kind=kind, seed=1, out=folder, asked=typed
                    )
            except ClueBenchError as error:
                asked.show.note(f"{given.card.name}: no floor of the kind {kind}: {error.message}")
                continue
        keep_rows(given, folder)
        found.append(Run(record, folder))
    return found


def _after(start: "Pretrained", given: TaskData, asked: Asked) -> "Pretrained":
    """Return `start` after fine-tuning on another task first, with the same settings and the first seed."""
    from clue_bench.finetuning.base_models.opening import open_pretrained

    only = replace(asked, seeds=asked.seeds[:1], keep="all")
    asked.show.note(f"intermediate task {given.card.name}, {start.name}:")
    cell = Cell(given, start, [dict(asked.settings)], start.name)
    with sweep_bar([planned_sweep(cell, only)], retry_failed=asked.retry_failed, show=asked.show) as bar:
        (trial,) = _sweep(cell, only, bar, 0, waits=True).trials
    if not trial.is_complete:
        raise ClueBenchError(
            f"intermediate task {given.card.name}: {trial.record.run_id}: {trial.record.error}",
            "fix it, then type the same command with --retry-failed",
        )
    return open_pretrained(trial.folder)


def _sweep(cell: Cell, asked: Asked, bar: SweepBar, number: int, *, waits: bool) -> "Sweep":
    """Do the runs of one model on one task, sweep `number` of the bar; `waits` for those of other processes."""
    from clue_bench.finetuning.sweep import sweep

    given, start = cell.given, cell.start
    moments = sweep(
        planner_of(given, start),
        cell.points,
        asked.seeds,
        out=asked.out,
        asked={"task": given.card.name, "model": start.name, "data": given.name},
        retry_failed=asked.retry_failed,
        keep=asked.keep,
        waits=waits,
    )
    swept: list[Sweep] = []

    def followed() -> "Iterator[Moment]":
        swept.append((yield from moments))

    accuracies: dict[str, str] = {}  # of runs that may go on in parallel
    for moment in followed():
        report, run_id = moment.report, moment.plan.run_id
        if report is not None and report.evaluation is not None:
            accuracies[run_id] = f"  dev {score_names([given.card.kind])[0]} {report.evaluation.scores.accuracy:.4f}"
        looks = "" if report is None else evaluation_words(report, kind=given.card.kind)
        loss = "" if report is None else f"  loss {report.loss:.3f}{looks or accuracies.get(run_id, '')}"
        loss = "  another process is doing it" if moment.waits else loss
        bar.update(number, moment, f"{cell.words}, seed {moment.plan.seed}{loss}")
    if swept[0].held:
        asked.show.notes(f"{run_id}: another process is doing it; the others first" for run_id in swept[0].held)
    else:
        bar.end_sweep(number, cell.words)
        asked.show.notes(_unread(swept[0], cell))
    return swept[0]


def _unread(swept: "Sweep", cell: Cell) -> list[str]:
    """Return what the model did not see of the rows of its task; older records do not say."""
    for trial in swept.of_best[:1]:
        results, length = trial.record.completed_results, trial.record.effective["max_length"]
        return notes_on(results.read_texts, max_length=length, of=cell.words)
    return []


def _write_reports(swept: "Sweep", given: TaskData) -> None:
    """Keep the rows of complete runs, and write the reports of the best ones that have none, or an older one."""
    from clue_bench.analysis.report import FILE, write_report
    from clue_bench.doors.records import record_path

    for trial in swept.trials:
        if trial.is_complete:
            keep_rows(given, trial.folder)
    for trial in swept.of_best:
        report, record = trial.folder / FILE, record_path(trial.folder, trial.record.run_id)
        if not report.is_file() or report.stat().st_mtime_ns < record.stat().st_mtime_ns:
            write_report(trial.folder, given.folder, report, card=given.card)
