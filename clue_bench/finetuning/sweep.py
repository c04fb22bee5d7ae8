"""Do many runs of one model on one task: every setting and seed that is still missing.

Input: what determines a run, a grid, seeds. Output: a folder per run, and the setting that did best.

1. Every point of the grid with the first seed; the best by the task's metric on dev is chosen.
2. The chosen point with the other seeds.

A run that is complete is not repeated, one that was interrupted continues. One that failed stays a record with its
error, and is repeated only when asked; the sweep goes on without it. Where even the record cannot be written (a full
disk, a folder that holds something else), the run has failed all the same, and nothing there is touched. A run that
another process is doing at the moment comes last: the sweep waits for its result, and does what is left of it.
"""

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from clue_bench.doors.records import FinetuneRecord, FolderInUseError, read_record_of, record_path
from clue_bench.errors import ClueBenchError
from clue_bench.finetuning.encode import Encodings
from clue_bench.finetuning.grid import Keep, Point
from clue_bench.finetuning.run import (
    SECONDS_BETWEEN_LOOKS,
    Plan,
    completed_record,
    drop_weights,
    failed_record,
    held_folder,
    one_line,
    prepare,
    run,
    write_failure,
)
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

    `done` counts finished runs, and fractions of those that run in parallel with this one. `ended` is the record of a
    run that has ended with this moment, whatever the outcome. `waits`: nothing goes on but in another process.
    """

    done: float
    plan: Plan
    report: FinetuningReport | None
    ended: FinetuneRecord | None = None
    waits: bool = False


class Planned(NamedTuple):
    """A run of a sweep before it begins, and the status of the record that is there, "" if there is none."""

    plan: Plan
    status: str
    point: Point


@dataclass
class Sweep:
    """The runs of one model on one task. `best` is None as long as no point of the grid is complete.

    `held` are runs that another process is doing, where the sweep has not waited for them: it is not complete then.
    """

    trials: list[Trial] = field(default_factory=list)
    best: Point | None = None
    held: list[str] = field(default_factory=list)

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


def planned(
    planner: Planner, candidates: Sequence[Point], seeds: Sequence[int], *, out: Path, keep: Keep | None = None
) -> list[Planned]:
    """Return every run of a sweep with what records say of it; no file but records is read.

    Which point gets the other seeds is known if the first seed's runs are all there. Else it is not, and the first
    point stands for it. Raises ClueBenchError if a run cannot be planned.
    """
    runs, records = [], []
    for point in candidates:
        plan = planner(point, seeds[0])
        records.append(_record_there(plan, out, keep))
        runs.append(Planned(plan, records[-1].status if records[-1] else "", point))
    complete = [
        Trial(point, seeds[0], record, out)
        for point, record in zip(candidates, records, strict=True)
        if record is not None and record.status == "completed"
    ]
    is_known = all(run.status in ("completed", "failed") for run in runs) and bool(complete)
    best = max(complete, key=_rank).point if is_known else candidates[0]
    for seed in seeds[1:]:
        plan = planner(best, seed)
        record = _record_there(plan, out, keep) if is_known or len(candidates) == 1 else None
        runs.append(Planned(plan, record.status if record else "", best))
    return runs


def _record_there(plan: Plan, out: Path, keep: Keep | None) -> FinetuneRecord | None:
    with suppress(ClueBenchError, OSError):  # the run itself will meet the error
        record = read_record_of(record_path(out / plan.run_id, plan.run_id), FinetuneRecord)
        is_dropped = record.status == "completed" and record.completed_results.weights_dropped
        return None if is_dropped and keep == "all" else record
    return None


def sweep(
    planner: Planner,
    candidates: Sequence[Point],
    seeds: Sequence[int],
    *,
    out: Path,
    asked: dict[str, Any],
    retry_failed: bool = False,
    keep: Keep | None = None,
    workers: int | None = None,
    waits: bool = True,
) -> Generator[Moment, None, Sweep]:
    """Do the missing runs; yield the progress after every update, and return the whole sweep.

    `asked` is the part of the command that records keep. With several `workers` (None: as many as pay off,
    `num_workers`) runs are done in parallel, each with its share of the threads, which changes sums in their last bits.
    `keep` drops weights as soon as it is clear that they are not wanted; with "all", a run that has lost them is
    repeated, and None leaves things as they are. Unless it `waits` for runs that another process is doing, the sweep
    ends without them. Raises ClueBenchError if a run cannot be planned.
    """
    done, encodings, weights = Sweep(), Encodings(), _Weights(keep)

    def runs(wanted: Sequence[tuple[Point, int]]) -> Generator[Moment, None, None]:
        requests = []
        for point, seed in wanted:
            plan = planner(point, seed)
            typed = {**asked, "seed": seed, "settings": point}
            requests.append(RunRequest(plan, out / plan.run_id, typed, retry_failed, keep == "all"))
        number = workers or num_workers([request.plan for request in requests])
        before, held = float(len(done.trials)), list[RunRequest]()
        moments = _all(requests, held, before=before, workers=number, encodings=encodings, waits=waits)
        order = {request.plan.run_id: len(done.trials) + at for at, request in enumerate(requests)}
        ended: dict[str, FinetuneRecord] = {}
        for moment in moments:
            if moment.ended is not None:
                run_id = moment.plan.run_id
                ended[run_id] = moment.ended
                weights.after_run(out / run_id, moment.ended, order=order[run_id])
            yield moment
        done.held += [request.plan.run_id for request in held]
        for (point, seed), request in zip(wanted, requests, strict=True):
            if request not in held:
                done.trials.append(Trial(point, seed, ended[request.plan.run_id], request.folder))

    yield from runs([(point, seeds[0]) for point in candidates])
    complete = [trial for trial in done.trials if trial.is_complete]
    if done.held and len(candidates) > 1:  # it is not known which is best
        return done
    if complete or done.held:
        done.best = max(complete, key=_rank).point if complete else candidates[0]
        yield from runs([(done.best, seed) for seed in seeds[1:]])
    done.trials = [trial._replace(record=weights.changed.get(trial.folder, trial.record)) for trial in done.trials]
    return done


class _Weights:
    """Drops the weights that are not to be kept; `changed` are the records that say so, by folder."""

    def __init__(self, keep: Keep | None) -> None:
        self._keep = keep
        self._best: tuple[tuple[float, int], Path, FinetuneRecord] | None = None
        self.changed: dict[Path, FinetuneRecord] = {}

    def after_run(self, folder: Path, record: FinetuneRecord, *, order: int) -> None:
        """Drop the run's weights, or those of the best one so far if it is better; the first in `order` wins ties."""
        if self._keep in (None, "all") or record.status != "completed":
            return
        score = (rank(record), -order)
        if self._keep == "best" and (self._best is None or score > self._best[0]):
            worse, self._best = self._best, (score, folder, record)
            if worse is None:
                return
            _, folder, record = worse
        self.changed[folder] = drop_weights(folder, record)


def attempt(request: RunRequest, encodings: Encodings) -> Generator[FinetuningReport, None, FinetuneRecord]:
    """Do one run, unless it is complete or failed before; return its record, whatever the outcome.

    Raises FolderInUseError if another process is doing it.
    """
    plan, folder, asked, _, needs_weights = request
    try:
        found = _earlier(request)
        if found is not None:
            return found
        with held_folder(folder):
            found = completed_record(plan, folder, needs_weights=needs_weights)  # another process may have ended it
            if found is None:
                prepared = _prepared(plan, folder, asked, encodings)
                yield from run(plan, prepared, out=folder, asked=asked, encodings=encodings)
            return found or read_record_of(record_path(folder, plan.run_id), FinetuneRecord)
    except FolderInUseError:
        raise
    except Exception as error:  # noqa: BLE001  one run of a sweep: whatever stops it becomes its record
        return _failed(plan, folder, asked, one_line(error))


def _earlier(request: RunRequest) -> FinetuneRecord | None:
    """Return the record to keep: of a complete run, or of a failed one that is not to be repeated."""
    plan, folder = request.plan, request.folder
    found = completed_record(plan, folder, needs_weights=request.needs_weights)
    path = record_path(folder, plan.run_id)
    if found is not None or request.retry_failed or not path.is_file():
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


def _all(
    requests: Sequence[RunRequest],
    held: list[RunRequest],
    *,
    before: float,
    workers: int,
    encodings: Encodings,
    waits: bool,
) -> Iterator[Moment]:
    """Do the requests, those that another process holds last; without `waits` they are left in `held`."""
    if workers > 1:
        yield from _side_by_side(requests, before, workers, held)
    else:
        yield from _one_by_one(requests, before, encodings, held)
    while held and waits:
        yield Moment(before + len(requests) - len(held), held[0].plan, None, waits=True)
        time.sleep(SECONDS_BETWEEN_LOOKS)
        again = held.copy()
        held.clear()
        yield from _one_by_one(again, before + len(requests) - len(again), encodings, held)


def _one_by_one(
    requests: Sequence[RunRequest], before: float, encodings: Encodings, held: list[RunRequest]
) -> Iterator[Moment]:
    ended: list[FinetuneRecord] = []

    def done(request: RunRequest) -> Iterator[FinetuningReport]:
        ended.append((yield from attempt(request, encodings)))

    for request in requests:
        yield Moment(before + len(ended), request.plan, None)
        try:
            for report in done(request):
                yield Moment(before + len(ended), request.plan, report)
        except FolderInUseError:
            held.append(request)
            continue
        yield Moment(before + len(ended) - 1, request.plan, None, ended[-1])


def _side_by_side(
    requests: Sequence[RunRequest], before: float, workers: int, held: list[RunRequest]
) -> Iterator[Moment]:
    shares: dict[int, float] = {}
    missing: list[RunRequest] = []
    for request in requests:
        found = None
        with suppress(ClueBenchError, OSError):  # its own attempt will meet the error, and record it
            found = _earlier(request)
        if found is None:
            missing.append(request)
        else:
            yield Moment(before, request.plan, None, found)
            before += 1
    for number, what in side_by_side(missing, workers=workers, do=attempt):
        request = missing[number]
        if isinstance(what, FinetuningReport):
            shares[number] = what.step / request.plan.total_steps
            others = sum(share for other, share in shares.items() if other != number)
            yield Moment(before + others, request.plan, what)
            continue
        shares.pop(number, None)
        if isinstance(what, FolderInUseError):
            held.append(request)
            continue
        if isinstance(what, ClueBenchError):
            what = _failed(request.plan, request.folder, request.asked, one_line(what))
        yield Moment(before + sum(shares.values()), request.plan, None, what)
        before += 1


def _rank(trial: Trial) -> float:
    return rank(trial.record)


def rank(record: FinetuneRecord) -> float:
    """Return the key by which settings are compared: the score on dev by the task's metric."""
    return float(getattr(record.completed_results.dev, record.task.metric))
