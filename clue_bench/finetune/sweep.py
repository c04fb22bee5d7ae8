"""Many runs of one model on one task: every setting and seed that is still missing.

Enters: what decides a run, a grid, seeds. Leaves: a folder per run, and the setting that did best.

1. Every point of the grid with the first seed; the best by the task's metric on dev is chosen.
2. The chosen point with the other seeds.

A run that is complete is not repeated, one that was interrupted starts over. One that failed stays a record with its
error, and is repeated only when asked; the sweep goes on without it. Where even the record cannot be written (a full
disk, a folder that holds something else), the run has failed all the same, and nothing there is touched. A run that
another process is doing at the moment ends the sweep: its result is not there yet, and is not to be waited for blindly.
"""

from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from clue_bench.errors import ClueBenchError
from clue_bench.finetune.grid import Point
from clue_bench.finetune.run import (
    FolderInUseError,
    Plan,
    completed_record,
    failed_record,
    held_folder,
    one_line,
    prepare,
    run,
    write_failure,
)
from clue_bench.finetune.score import CONSTANT_SHARE
from clue_bench.finetune.train import Finetuning, Report
from clue_bench.records import RunRecord, read_record, record_path

Planner = Callable[[Point, int], Plan]
"""Decides the run of a point and a seed."""


class Trial(NamedTuple):
    """One run of a sweep, and what came of it."""

    point: Point
    seed: int
    record: RunRecord
    folder: Path

    @property
    def is_complete(self) -> bool:
        """Whether it has a result."""
        return self.record.status == "completed"


class Moment(NamedTuple):
    """Where a sweep stands: `done` runs are over, and the present one has come to `report` (None: not begun)."""

    done: int
    plan: Plan
    report: Report | None


@dataclass
class Sweep:
    """The runs of one model on one task. `best` is None as long as no point of the grid is complete."""

    trials: list[Trial] = field(default_factory=list)
    best: Point | None = None

    @property
    def of_best(self) -> list[Trial]:
        """The complete runs of the chosen point, a seed each."""
        return [trial for trial in self.trials if trial.point == self.best and trial.is_complete]

    @property
    def failed(self) -> list[Trial]:
        """The runs without a result."""
        return [trial for trial in self.trials if not trial.is_complete]


def num_runs(candidates: Sequence[Point], seeds: Sequence[int]) -> int:
    """Return how many runs a sweep has, found or made."""
    return len(candidates) + len(seeds) - 1


def sweep(
    planner: Planner,
    candidates: Sequence[Point],
    seeds: Sequence[int],
    *,
    out: Path,
    asked: dict[str, Any],
    retry_failed: bool = False,
) -> Generator[Moment, None, Sweep]:
    """Do what is missing; yield where it stands after every update, return the whole.

    `asked` is what the records repeat of the command. Raises ClueBenchError if a plan cannot be made at all, and
    FolderInUseError if another process is at one of the runs.
    """
    done = Sweep()
    for point in candidates:
        yield from _trial(done, planner, point, seeds[0], out=out, asked=asked, retry_failed=retry_failed)
    complete = [trial for trial in done.trials if trial.is_complete]
    if not complete:
        return done
    done.best = max(complete, key=_rank).point
    for seed in seeds[1:]:
        yield from _trial(done, planner, done.best, seed, out=out, asked=asked, retry_failed=retry_failed)
    return done


def attempt(
    plan: Plan, *, folder: Path, asked: dict[str, Any], retry_failed: bool
) -> Generator[Report, None, RunRecord]:
    """Do one run, unless it is done or has failed before; return its record, whatever came of it.

    Raises FolderInUseError if another process is doing it.
    """
    try:
        found = _earlier(plan, folder, retry_failed=retry_failed)
        if found is not None:
            return found
        with held_folder(folder):
            found = completed_record(plan, folder)  # another process may have ended it since
            if found is None:
                yield from run(plan, _prepared(plan, folder, asked), out=folder, asked=asked)
            return found or read_record(record_path(folder, plan.run_id))
    except FolderInUseError:
        raise
    except Exception as error:  # noqa: BLE001  one run of a sweep: whatever stops it becomes its record
        return _failed(plan, folder, asked, one_line(error))


def _earlier(plan: Plan, folder: Path, *, retry_failed: bool) -> RunRecord | None:
    """Return the record that stands: of a complete run, or of one that failed and is not to be repeated."""
    found = completed_record(plan, folder)
    path = record_path(folder, plan.run_id)
    if found is not None or retry_failed or not path.is_file():
        return found
    record = read_record(path)
    return record if record.status == "failed" else None


def _prepared(plan: Plan, folder: Path, asked: dict[str, Any]) -> Finetuning:
    try:
        return prepare(plan)
    except Exception as error:
        write_failure(plan, folder, asked=asked, error=one_line(error))
        raise


def _failed(plan: Plan, folder: Path, asked: dict[str, Any], error: str) -> RunRecord:
    """Return the record that the run has left, or one in its place that is written nowhere."""
    with suppress(ClueBenchError, OSError):
        record = read_record(record_path(folder, plan.run_id))
        if (record.status, record.error) == ("failed", error):
            return record
    return failed_record(plan, asked=asked, error=error)


def _trial(
    done: Sweep, planner: Planner, point: Point, seed: int, *, out: Path, asked: dict[str, Any], retry_failed: bool
) -> Generator[Moment, None, None]:
    plan = planner(point, seed)
    folder = out / plan.run_id
    yield Moment(len(done.trials), plan, None)
    reports = attempt(plan, folder=folder, asked={**asked, "seed": seed, "settings": point}, retry_failed=retry_failed)
    while True:
        try:
            report = next(reports)
        except StopIteration as end:
            done.trials.append(Trial(point, seed, end.value, folder))
            return
        yield Moment(len(done.trials), plan, report)


def _rank(trial: Trial) -> tuple[bool, float]:
    """Return the key by which settings are compared: a constant counts only if there is nothing else."""
    record = trial.record
    dev = record.results["dev"]
    metric = record.task.metric if record.task is not None else "accuracy"
    return dev["top_share"] < CONSTANT_SHARE, float(dev[metric])
