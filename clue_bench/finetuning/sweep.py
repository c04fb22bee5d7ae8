"""Do many runs of one model on one task: every setting and seed that is still missing.

Input: what determines a run, a grid, seeds. Output: a folder per run, and the setting that did best.

1. Every point of the grid with the first seed; the best by the task's metric on dev is chosen.
2. The chosen point with the other seeds.

A run that is complete is not repeated, one that was interrupted continues. One that failed stays a record with its
error, and is repeated only when asked; the sweep goes on without it. Where even the record cannot be written (a full
disk, a folder that holds something else), the run has failed all the same, and nothing there is touched. A run that
another process is doing at the moment ends the sweep with an error, since its result is not there yet.
"""

from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from clue_bench.doors.records import FinetuneRecord, read_record_of, record_path
from clue_bench.errors import ClueBenchError
from clue_bench.finetuning.encode import Encodings
from clue_bench.finetuning.grid import Point
from clue_bench.finetuning.run import (
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
from clue_bench.finetuning.score import CONSTANT_SHARE
from clue_bench.finetuning.train import Finetuning, FinetuningReport
from clue_bench.finetuning.workers import RunRequest, num_workers, side_by_side

Planner = Callable[[Point, int], Plan]
"""Plans the run of a point and a seed."""


class Trial(NamedTuple):
    """One run of a sweep and its record."""

    point: Point
    seed: int
    record: FinetuneRecord
    folder: Path

    @property
    def is_complete(self) -> bool:
        """Return whether the run has a result."""
        return self.record.status == "completed"


class Moment(NamedTuple):
    """The progress of a sweep: the run of `plan` has reached `report` (None: not begun), and `done` others are done.

    `done` counts finished runs, and fractions of those that run in parallel with this one.
    """

    done: float
    plan: Plan
    report: FinetuningReport | None


@dataclass
class Sweep:
    """The runs of one model on one task. `best` is None as long as no point of the grid is complete."""

    trials: list[Trial] = field(default_factory=list)
    best: Point | None = None

    @property
    def of_best(self) -> list[Trial]:
        """Return the complete runs of the chosen point, a seed each."""
        return [trial for trial in self.trials if trial.point == self.best and trial.is_complete]

    @property
    def failed(self) -> list[Trial]:
        """Return the runs without a result."""
        return [trial for trial in self.trials if not trial.is_complete]


def num_runs(candidates: Sequence[Point], seeds: Sequence[int]) -> int:
    """Return the number of runs in a sweep, existing or new."""
    return len(candidates) + len(seeds) - 1


def sweep(
    planner: Planner,
    candidates: Sequence[Point],
    seeds: Sequence[int],
    *,
    out: Path,
    asked: dict[str, Any],
    retry_failed: bool = False,
    workers: int | None = None,
) -> Generator[Moment, None, Sweep]:
    """Do the missing runs; yield the progress after every update, and return the whole sweep.

    `asked` is the part of the command that records keep. With several `workers` (None: as many as pay off,
    `num_workers`) runs are done in parallel, each with its share of the threads, which changes sums in their last bits.
    Raises ClueBenchError if a run cannot be planned, and FolderInUseError if another process is doing one of the runs.
    """
    done, encodings = Sweep(), Encodings()

    def runs(wanted: Sequence[tuple[Point, int]]) -> Generator[Moment, None, None]:
        requests = []
        for point, seed in wanted:
            plan = planner(point, seed)
            requests.append(
                RunRequest(plan, out / plan.run_id, {**asked, "seed": seed, "settings": point}, retry_failed)
            )
        number = workers or num_workers([request.plan for request in requests])
        before = float(len(done.trials))
        moments = _side_by_side(requests, before, number) if number > 1 else _one_by_one(requests, before, encodings)
        for (point, seed), request, record in zip(wanted, requests, (yield from moments), strict=True):
            done.trials.append(Trial(point, seed, record, request.folder))

    yield from runs([(point, seeds[0]) for point in candidates])
    complete = [trial for trial in done.trials if trial.is_complete]
    if not complete:
        return done
    done.best = max(complete, key=_rank).point
    yield from runs([(done.best, seed) for seed in seeds[1:]])
    return done


def attempt(request: RunRequest, encodings: Encodings) -> Generator[FinetuningReport, None, FinetuneRecord]:
    """Do one run, unless it is complete or failed before; return its record, whatever the outcome.

    Raises FolderInUseError if another process is doing it.
    """
    plan, folder, asked, retry_failed = request
    try:
        found = _earlier(plan, folder, retry_failed=retry_failed)
        if found is not None:
            return found
        with held_folder(folder):
            found = completed_record(plan, folder)  # another process may have ended it since
            if found is None:
                prepared = _prepared(plan, folder, asked, encodings)
                yield from run(plan, prepared, out=folder, asked=asked, encodings=encodings)
            return found or read_record_of(record_path(folder, plan.run_id), FinetuneRecord)
    except FolderInUseError:
        raise
    except Exception as error:  # noqa: BLE001  one run of a sweep: whatever stops it becomes its record
        return _failed(plan, folder, asked, one_line(error))


def _earlier(plan: Plan, folder: Path, *, retry_failed: bool) -> FinetuneRecord | None:
    """Return the record to keep: of a complete run, or of a failed one that is not to be repeated."""
    found = completed_record(plan, folder)
    path = record_path(folder, plan.run_id)
    if found is not None or retry_failed or not path.is_file():
        return found
    record = read_record_of(path, FinetuneRecord)
    return record if record.status == "failed" else None


def _prepared(plan: Plan, folder: Path, asked: dict[str, Any], encodings: Encodings) -> Finetuning:
    try:
        return prepare(plan, encodings)
    except Exception as error:
        write_failure(plan, folder, asked=asked, error=one_line(error))
        raise


def _failed(plan: Plan, folder: Path, asked: dict[str, Any], error: str) -> FinetuneRecord:
    """Return the record that the failed run has left, or an unwritten one in its place."""
    with suppress(ClueBenchError, OSError):
        record = read_record_of(record_path(folder, plan.run_id), FinetuneRecord)
        if (record.status, record.error) == ("failed", error):
            return record
    return failed_record(plan, asked=asked, error=error)


def _one_by_one(
    requests: Sequence[RunRequest], before: float, encodings: Encodings
) -> Generator[Moment, None, list[FinetuneRecord]]:
    records: list[FinetuneRecord] = []

    def done(request: RunRequest) -> Generator[FinetuningReport, None, None]:
        records.append((yield from attempt(request, encodings)))

    for number, request in enumerate(requests):
        yield Moment(before + number, request.plan, None)
        for report in done(request):
            yield Moment(before + number, request.plan, report)
    return records


def _side_by_side(
    requests: Sequence[RunRequest], before: float, workers: int
) -> Generator[Moment, None, list[FinetuneRecord]]:
    records: dict[int, FinetuneRecord] = {}
    shares: dict[int, float] = {}
    for number, request in enumerate(requests):
        with suppress(ClueBenchError, OSError):  # its own attempt will meet the error, and record it
            found = _earlier(request.plan, request.folder, retry_failed=request.retry_failed)
            if found is not None:
                records[number] = found
    missing = [number for number in range(len(requests)) if number not in records]
    for message in side_by_side([requests[number] for number in missing], workers=workers, do=attempt):
        number, what = missing[message.number], message.what
        request = requests[number]
        if isinstance(what, FinetuningReport):
            shares[number] = what.step / request.plan.total_steps
            others = sum(share for other, share in shares.items() if other != number)
            yield Moment(before + len(records) + others, request.plan, what)
            continue
        shares.pop(number, None)
        if isinstance(what, FolderInUseError):
            raise what
        if isinstance(what, ClueBenchError):
            what = _failed(request.plan, request.folder, request.asked, one_line(what))
        records[number] = what
    return [records[number] for number in range(len(requests))]


def _rank(trial: Trial) -> tuple[bool, float]:
    """Return the key by which settings are compared: constant predictions count only if there is nothing else."""
    record = trial.record
    dev = record.completed_results.dev
    return dev.top_share < CONSTANT_SHARE, float(getattr(dev, record.task.metric))
