"""`clue-bench bench`: models on tasks, with every seed and setting that is still missing.

1. Open models and tasks, and decide every setting, so that a command that cannot be is an error at once.
2. Per task: the floors, then each model's sweep, then the reports.
3. Print the tables, and end with an error if a run has failed.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from clue_bench.cli import bench_inputs, bench_tables, terminal
from clue_bench.cli.bench_inputs import Asked, Job
from clue_bench.cli.bench_tables import Outcome
from clue_bench.cli.options import Json, Set, Steps, overrides
from clue_bench.errors import ClueBenchError

if TYPE_CHECKING:
    from clue_bench.doors.records import BaselineRecord
    from clue_bench.finetuning.base_models.pretrained import Pretrained
    from clue_bench.finetuning.grid import Point
    from clue_bench.finetuning.run import Plan
    from clue_bench.finetuning.sweep import Sweep, Trial
    from clue_bench.tasks.task import Task


def bench(
    model: Annotated[list[str], typer.Option(help="Checkpoint folder, a run's --out, or a hub id; repeatable.")],
    tasks: Annotated[
        str, typer.Option(help="Tasks, separated by commas  [default: every card whose data is in --data]")
    ] = "",
    data: Annotated[Path, typer.Option(help="Folder with a folder or zip per task.")] = Path("data"),
    out: Annotated[Path, typer.Option(help="Folder of the runs, one folder each.")] = Path("runs"),
    seeds: Annotated[int, typer.Option(min=1, help="Seeds 1 to N of the chosen setting.")] = 3,
    search: Annotated[
        bool,
        typer.Option(
            "--search", help="Search learning rate × batch × epochs × dropout around the defaults, with seed 1."
        ),
    ] = False,
    grid: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE,VALUE", help="Search these values instead (implies --search); repeatable."),
    ] = None,
    untrained: Annotated[
        bool, typer.Option("--untrained", help="Also run each architecture from random weights.")
    ] = False,
    intermediate: Annotated[
        str,
        typer.Option(
            help="First fine-tune each model on this task, with the same --set, and start from there (STILTs)."
        ),
    ] = "",
    floor: Annotated[bool, typer.Option(help="Also run the floors: majority class and TF-IDF.")] = True,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Repeat runs that failed.")] = False,
    steps: Steps = None,
    settings: Set = None,
    json: Json = False,
) -> None:
    """Fine-tune models on tasks over several seeds: means, intervals, and paired tests against the floor.

    Runs that are complete are not repeated, so the same command continues an interrupted one. A run that fails is
    recorded with its error, and the others go on; --retry-failed repeats it. A run that another process is doing at
    the moment is an error. Each run of the table leaves a report.html in its folder.

    Example: clue-bench bench --model runs/tiny --data clue --seeds 3

    Example: clue-bench bench --model runs/tiny --tasks tnews --grid learning_rate=1e-4,3e-4,1e-3 --grid dropout=0,0.1

    Example: clue-bench bench --model runs/tiny --untrained --tasks ocnli --intermediate cmnli --json
    """
    from clue_bench.finetuning.grid import parse_grid
    from clue_bench.tasks.rows import read_rows
    from clue_bench.tasks.task import load_task

    asked = Asked(
        data=data,
        out=out,
        seeds=list(range(1, seeds + 1)),
        settings=overrides(settings, steps),
        grid=parse_grid(grid or []),
        is_search=search or bool(grid),
        retry_failed=retry_failed,
    )
    bench_inputs.refuse_both(asked.settings, asked.grid)
    cards = bench_inputs.find_tasks(tasks, data)
    starts = bench_inputs.open_models(model, with_untrained=untrained)
    jobs = [bench_inputs.plan_job(card, starts, asked) for card in cards]
    if intermediate:
        first = load_task(intermediate)
        rows = read_rows(first, data)
        starts = [_after(start, Job(first, rows, [[{}]]), asked) for start in starts]
    outcomes: list[Outcome] = []
    floors: list[BaselineRecord] = []
    for job in jobs:
        found = _bench_task(job, starts, asked, with_floor=floor)
        floors += found[0]
        outcomes += found[1]
    if json:
        terminal.print_json(bench_tables.as_json(outcomes, floors))
    else:
        bench_tables.print_outcomes(outcomes, floors)
    _raise_failures(outcomes)


def _bench_task(
    job: Job, starts: list["Pretrained"], asked: Asked, *, with_floor: bool
) -> tuple[list["BaselineRecord"], list[Outcome]]:
    """Run floors and models on one task; return the records of the floors, and what the models come to."""
    from clue_bench.finetuning.sweep import num_runs

    card = job.card
    total = sum(num_runs(points, asked.seeds) for points in job.candidates)
    outcomes, before = [], 0
    again = "type the same command again: complete runs are kept, the one that was interrupted starts over"
    with terminal.bar(f"bench {card.name}", total, count=False, on_interrupt=again) as bar:
        floors = _run_floors(job, asked) if with_floor else []
        for start, points, label in zip(starts, job.candidates, bench_inputs.labels_of(starts), strict=True):
            swept = _sweep(job, start, points, asked, _Place(bar, before, label))
            before += num_runs(points, asked.seeds)
            bar.update(before, label)
            most = {"max_length": float(start.sizes.max_positions)}
            outcomes.append(Outcome(label, card.name, card.column, most, swept, points))
        _write_reports([trial for outcome in outcomes for trial in outcome.sweep.of_best], card, asked.data)
        return floors, outcomes


def _run_floors(job: Job, asked: Asked) -> list["BaselineRecord"]:
    """Run the floors that are missing; return their records."""
    from clue_bench.finetuning.baselines.measure import FLOORS, completed_floor, floor_run_id, run_floor
    from clue_bench.finetuning.run import held_folder

    found = []
    for kind in FLOORS:
        run_id = floor_run_id(job.card, job.rows, kind=kind, seed=1)
        folder = asked.out / run_id
        record = completed_floor(folder, run_id)
        if record is None:
            typed = {"floor": kind, "task": job.card.name}
            try:
                with held_folder(folder):
                    record = run_floor(job.card, job.rows, data=asked.data, kind=kind, seed=1, out=folder, asked=typed)
            except ClueBenchError as error:
                terminal.say(f"{job.card.name}: no floor of the kind {kind}: {error.message}")
                continue
        found.append(record)
    return found


def _after(start: "Pretrained", job: Job, asked: Asked) -> "Pretrained":
    """Return `start` after fine-tuning on another task first, with the same --set and the first seed."""
    from clue_bench.finetuning.base_models.pretrained import open_pretrained

    with terminal.bar(f"intermediate task {job.card.name}", 1) as bar:
        first = replace(asked, seeds=asked.seeds[:1])
        (trial,) = _sweep(job, start, [dict(asked.settings)], first, _Place(bar, 0, start.name)).trials
        bar.update(1, start.name)
    if not trial.is_complete:
        raise ClueBenchError(
            f"intermediate task {job.card.name}: {trial.record.run_id}: {trial.record.error}",
            "fix it, then type the same command with --retry-failed",
        )
    return open_pretrained(trial.folder)


class _Place(NamedTuple):
    """Where the runs of one model are shown: so many runs of the bar come before, under this label."""

    bar: terminal.Bar
    before: int
    label: str


def _sweep(job: Job, start: "Pretrained", candidates: list["Point"], asked: Asked, place: _Place) -> "Sweep":
    """Do the runs of one model, moving the bar on."""
    from clue_bench.finetuning.run import Plan
    from clue_bench.finetuning.settings import make_settings
    from clue_bench.finetuning.sweep import Moment, Sweep, sweep

    card, rows = job.card, job.rows

    def planner(point: "Point", seed: int) -> "Plan":
        settings = make_settings(card, start.sizes, point, train_rows=len(rows["train"]))
        return Plan(task=card, start=start, settings=settings, seed=seed, rows=rows, data=asked.data)

    typed = {"task": card.name, "model": start.name, "data": asked.data.name}
    moments = sweep(planner, candidates, asked.seeds, out=asked.out, asked=typed, retry_failed=asked.retry_failed)
    ended: list[Sweep] = []

    def followed() -> Iterator[Moment]:
        ended.append((yield from moments))

    detail = ""
    for moment in followed():
        report = moment.report
        if report is None:
            detail = ""
            continue
        if report.evaluation is not None:
            detail = f"  dev accuracy {report.evaluation.scores.accuracy:.4f}"
        done = place.before + moment.done + report.step / moment.plan.total_steps
        place.bar.update(done, f"{place.label} seed {moment.plan.seed}  loss {report.loss:.3f}{detail}")
    return ended[0]


def _write_reports(trials: list["Trial"], card: "Task", data: Path) -> None:
    """Write the report of every run that has none, or one from before it was repeated."""
    from clue_bench.analysis.report import FILE, write_report
    from clue_bench.doors.records import record_path

    for folder, report, record in ((t.folder, t.folder / FILE, record_path(t.folder, t.record.run_id)) for t in trials):
        if not report.is_file() or report.stat().st_mtime_ns < record.stat().st_mtime_ns:
            write_report(folder, data, report, card=card)


def _raise_failures(outcomes: list[Outcome]) -> None:
    """Say what failed, and end with an error if anything did."""
    failed = [trial for outcome in outcomes for trial in outcome.sweep.failed]
    for trial in failed:
        terminal.say(f"failed: {trial.record.run_id}: {trial.record.error}")
    if failed:
        total = sum(len(outcome.sweep.trials) for outcome in outcomes)
        raise ClueBenchError(
            f"{len(failed)} of {total} runs failed, for the reasons above",
            "fix what they name, then type the same command with --retry-failed",
        )
