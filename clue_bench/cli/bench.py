"""`clue-bench bench`: models on tasks, with every seed and setting that is still missing."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clue_bench.cli import bench_tables, terminal
from clue_bench.cli.options import Json, Set, Steps, overrides
from clue_bench.errors import ClueBenchError

if TYPE_CHECKING:
    from clue_bench.analysis.summary import Summary
    from clue_bench.finetune.grid import Grid, Point
    from clue_bench.finetune.pretrained import Pretrained
    from clue_bench.finetune.run import Plan
    from clue_bench.finetune.sweep import Sweep
    from clue_bench.task_data.read import Rows
    from clue_bench.task_data.task import Task


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
class Outcome:
    """The sweep of one model on one task, and what it comes to; `summary` is None if no run is complete."""

    model: str
    task: str
    sweep: "Sweep"
    candidates: list["Point"]
    summary: "Summary | None"


def bench(
    model: Annotated[list[str], typer.Option(help="Checkpoint folder, a run's --out, or a hub id; repeatable.")],
    tasks: Annotated[
        str, typer.Option(help="Tasks, separated by commas  [default: every card whose data is in --data]")
    ] = "",
    data: Annotated[Path, typer.Option(help="Folder with a folder or zip per task.")] = Path("data"),
    out: Annotated[Path, typer.Option(help="Folder of the runs, one folder each.")] = Path("runs"),
    seeds: Annotated[int, typer.Option(min=1, help="Seeds 1 to N of the chosen setting.")] = 3,
    search: Annotated[
        bool, typer.Option("--search", help="Search learning rate × batch × epochs × dropout around the defaults.")
    ] = False,
    grid: Annotated[
        list[str] | None, typer.Option(help="key=value,value: search this instead; repeatable.", show_default=False)
    ] = None,
    untrained: Annotated[
        bool, typer.Option("--untrained", help="Also run each architecture from random weights.")
    ] = False,
    intermediate: Annotated[
        str, typer.Option(help="First fine-tune each model on this task, and start from there (STILTs).")
    ] = "",
    floor: Annotated[bool, typer.Option(help="Also run the floors: majority class and TF-IDF.")] = True,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Repeat runs that failed.")] = False,
    steps: Steps = None,
    settings: Set = None,
    json: Json = False,
) -> None:
    """Fine-tune models on tasks over several seeds: means, intervals, and paired tests against the floor.

    Runs that are complete are not repeated, so the same command continues an interrupted one. A run that fails is
    recorded with its error, and the others go on. Each run's folder gets a report.html.

    Example: clue-bench bench --model runs/tiny --data clue --seeds 3

    Example: clue-bench bench --model runs/tiny --tasks tnews --grid learning_rate=1e-4,3e-4,1e-3 --grid dropout=0,0.1
    """
    from clue_bench.finetune.grid import parse_grid
    from clue_bench.finetune.pretrained import open_pretrained
    from clue_bench.finetune.untrained import untrained as without_weights
    from clue_bench.task_data.task import load_task

    asked = Asked(
        data=data,
        out=out,
        seeds=list(range(1, seeds + 1)),
        settings=overrides(settings, steps),
        grid=parse_grid(grid or []),
        is_search=search or bool(grid),
        retry_failed=retry_failed,
    )
    cards = _cards(tasks, data)
    starts: list[Pretrained] = []
    for reference in model:
        start = open_pretrained(reference)
        for note in start.notes:
            terminal.say(note)
        starts += [start, without_weights(start)] if untrained else [start]
    if intermediate:
        starts = [_after(start, load_task(intermediate), asked) for start in starts]
    outcomes: list[Outcome] = []
    floors: list[Summary] = []
    for card in cards:
        found = _bench_task(card, starts, asked, with_floor=floor)
        floors += found[0]
        outcomes += found[1]
    if json:
        terminal.print_json(bench_tables.as_json(outcomes, floors))
    else:
        bench_tables.print_outcomes(outcomes, floors)
    _raise_failures(outcomes)


def _cards(tasks: str, data: Path) -> list["Task"]:
    """Return the tasks that are meant; without a list, those whose data is there, and the others are said aloud."""
    from clue_bench.catalog import card_paths
    from clue_bench.task_data.files import available_splits
    from clue_bench.task_data.task import load_task

    if tasks.strip():
        named = [load_task(name.strip()) for name in tasks.split(",") if name.strip()]
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


def _bench_task(
    card: "Task", starts: list["Pretrained"], asked: Asked, *, with_floor: bool
) -> tuple[list["Summary"], list[Outcome]]:
    """Run floors and models on one task; return what the floors and the models come to."""
    from clue_bench.analysis.summary import summarise
    from clue_bench.finetune.floor import FLOORS, floor_run_id, run_floor
    from clue_bench.finetune.sweep import num_runs
    from clue_bench.task_data.read import read_rows

    rows = read_rows(card, asked.data)
    floor_folders = []
    for kind in FLOORS if with_floor else ():
        folder = asked.out / floor_run_id(card, rows, kind=kind, seed=1)
        run_floor(card, rows, data=asked.data, kind=kind, seed=1, out=folder, asked={"floor": kind, "task": card.name})
        floor_folders.append(folder)
    candidates = {start.name: _candidates(card, start, rows, asked) for start in starts}
    total = sum(num_runs(points, asked.seeds) for points in candidates.values())
    outcomes, before = [], 0
    again = "type the same command again: complete runs are kept, the one that was interrupted starts over"
    with terminal.bar(f"bench {card.name}", total, count=False, on_interrupt=again) as bar:
        for start in starts:
            points = candidates[start.name]
            swept = _sweep(card, start, rows, points, asked, bar, before)
            before += num_runs(points, asked.seeds)
            bar.update(before, start.name)
            runs = [trial.folder for trial in swept.of_best]
            summary = summarise(runs, floor_folders) if runs else None
            outcomes.append(Outcome(start.name, card.name, swept, points, summary))
    _write_reports([trial.folder for outcome in outcomes for trial in outcome.sweep.of_best], asked.data)
    return [summarise([folder], []) for folder in floor_folders], outcomes


def _after(start: "Pretrained", card: "Task", asked: Asked) -> "Pretrained":
    """Return `start` after fine-tuning on another task first, with default settings and the first seed."""
    from clue_bench.finetune.pretrained import open_pretrained
    from clue_bench.task_data.read import read_rows

    rows = read_rows(card, asked.data)
    with terminal.bar(f"intermediate task {card.name}", 1) as bar:
        (trial,) = _sweep(card, start, rows, [{}], replace(asked, seeds=asked.seeds[:1]), bar, 0).trials
        bar.update(1, start.name)
    if not trial.is_complete:
        raise ClueBenchError(f"intermediate task {card.name}: {trial.record.error}", "mend it, then --retry-failed")
    return open_pretrained(trial.folder)


def _candidates(card: "Task", start: "Pretrained", rows: dict[str, "Rows"], asked: Asked) -> list["Point"]:
    """Return the settings to try: the points of the grid laid over what --set says."""
    from clue_bench.finetune.grid import default_grid, points
    from clue_bench.finetune.settings import make_settings

    if not asked.is_search:
        return [dict(asked.settings)]
    defaults = make_settings(card, start.sizes, asked.settings, train_rows=len(rows["train"])).model_dump()
    grid = asked.grid or {k: v for k, v in default_grid(defaults).items() if k not in asked.settings}
    return [{**asked.settings, **point} for point in points(grid)]


def _sweep(
    card: "Task",
    start: "Pretrained",
    rows: dict[str, "Rows"],
    candidates: list["Point"],
    asked: Asked,
    bar: terminal.Bar,
    before: int,
) -> "Sweep":
    """Do the runs of one model, moving the bar on from `before` runs."""
    from clue_bench.finetune.run import Plan
    from clue_bench.finetune.settings import make_settings
    from clue_bench.finetune.sweep import Moment, Sweep, sweep

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
        share = report.step / moment.plan.total_steps
        bar.update(
            before + moment.done + share, f"{start.name} seed {moment.plan.seed}  loss {report.loss:.3f}{detail}"
        )
    return ended[0]


def _write_reports(folders: list[Path], data: Path) -> None:
    """Write the report of every run that lacks one."""
    from clue_bench.analysis.report import FILE, write_report

    for folder in folders:
        if not (folder / FILE).is_file():
            write_report(folder, data, folder / FILE)


def _raise_failures(outcomes: list[Outcome]) -> None:
    """Say what failed, and end with an error if anything did."""
    failed = [trial for outcome in outcomes for trial in outcome.sweep.failed]
    for trial in failed:
        terminal.say(f"failed: {trial.record.run_id}: {trial.record.error}")
    if failed:
        total = sum(len(outcome.sweep.trials) for outcome in outcomes)
        raise ClueBenchError(
            f"{len(failed)} of {total} runs failed; their records hold the errors",
            "mend what they name; --retry-failed",
        )
