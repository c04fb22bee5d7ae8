"""The plan of a benchmark, said before anything runs, and its one bar.

Input: the runs of every model on every task, and what records say of them. Output: lines for people, and a bar over the
work of the runs that are to be done. A run's work is an estimate for the ETA alone: rows × their length × the weights
of the layers, dev and test counting a third, since they have no backward pass.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import fmean
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from clue_bench.api.progress import Bar, Progress
from clue_bench.numbers import counted, duration

if TYPE_CHECKING:
    from clue_bench.finetuning.run import Plan
    from clue_bench.finetuning.sweep import Moment, Planned
    from clue_bench.tasks.rows import Rows

AGAIN = "type the same command again: complete runs are kept, interrupted ones continue"
FORWARD = 1 / 3  # of the time of forward and backward


class PlannedSweep(NamedTuple):
    """The runs of one model on one task; the first `num_points` try settings with the first seed."""

    model: str
    task: str
    num_points: int
    runs: "list[Planned]"


def plan_lines(sweeps: Sequence[PlannedSweep], *, seeds: Sequence[int], retry_failed: bool) -> list[str]:
    """Return what will be done, and what is there already."""
    total = sum(len(each.runs) for each in sweeps)
    models, tasks = {each.model for each in sweeps}, {each.task for each in sweeps}
    points = sorted({each.num_points for each in sweeps})
    many = f"{counted(len(models), 'model')} × {counted(len(tasks), 'task')}"
    if points == [1]:
        what = f"{many}, {_seeds(seeds)}"
    else:
        what = f"{many}, {points[-1]} settings with seed {seeds[0]}"
        what += f", the best also with {_seeds(seeds[1:])}" if seeds[1:] else ""
    there = Counter(run.status for each in sweeps for run in each.runs)
    states = [(there["completed"], "complete already"), (there["interrupted"], "to continue")]
    states += [(there["failed"], "failed before, to repeat" if retry_failed else "failed (--retry-failed repeats)")]
    states += [(there[""], "to do")]
    return [
        f"{counted(total, 'run')}: {what}",
        ", ".join(f"{number:,} {words}" for number, words in states if number),
    ]


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {', '.join(map(str, seeds))}"


def estimated_work(plan: "Plan") -> float:
    """Return a number that the time of a run is about proportional to."""
    rows = plan.total_steps * plan.settings.batch_size
    others = sum(len(each) for split, each in plan.rows.items() if split not in ("train", "dev"))
    evaluations = min(plan.settings.max_evaluations, plan.settings.epochs * plan.settings.evaluations_per_epoch)
    predicted = evaluations * len(plan.rows["dev"]) + others
    sizes = plan.start.sizes
    length = min(_mean_length(plan.rows["train"]), plan.settings.max_length)
    return (rows + FORWARD * predicted) * length * sizes.layers * sizes.hidden_size**2


def _mean_length(rows: "Rows") -> float:
    some = rows.texts[:: max(1, len(rows) // 1000)]
    return 3 + fmean(sum(map(len, texts)) for texts in some)


@dataclass
class SweepBar:
    """One bar over all runs that are to be done, in every model and task.

    Runs that were there are no work. Where the setting is not known yet, another run of the same sweep stands in: a
    run is known by the number of its sweep and its id, which is "" and a number for a stand-in.
    """

    bar: Bar
    show: Progress
    work: dict[tuple[int, str], float]
    failed: set[str]  # runs that are known to have failed
    shares: dict[tuple[int, str], float] = field(default_factory=dict)  # done, of 1
    ended: set[tuple[int, str]] = field(default_factory=set)
    started: float | None = None  # of the first run, before its model is loaded and its data tokenised
    baseline_seconds: float = 0.0  # of the first task
    tasks_left: int = 0  # whose baselines are still to be done

    @contextmanager
    def baselines(self, tasks_left: int) -> Iterator[None]:
        """Time the baselines of a task, behind which are `tasks_left` others; then its runs begin."""
        began = monotonic()
        yield
        self.tasks_left = tasks_left
        if self.started is None:
            self.baseline_seconds = monotonic() - began
            self.started = monotonic()

    def update(self, number: int, moment: "Moment", words: str) -> None:
        """Show a moment of sweep `number`, whose run `words` describe.

        Says at once what has failed, and after the first run how long the others will take.
        """
        report, ended = moment.report, moment.ended
        run = (number, moment.plan.run_id)
        if ended is not None and ended.status == "failed" and ended.run_id not in self.failed:
            self.failed.add(ended.run_id)
            self.show.note(f"failed: {ended.run_id}: {ended.error}")
        if report is not None:
            self.started = self.started or monotonic()
            if run not in self.work:
                self._replace_stand_in(run)
            self.shares[run] = report.step / moment.plan.total_steps
        elif ended is not None and run in self.work:
            self._end([run])
            self._say_how_long()
        self.move(words)

    def end_sweep(self, number: int, words: str) -> None:
        """Count what is left of a sweep as done: the setting's other runs were there, or there is no setting."""
        self._end([run for run in self.work if run[0] == number])
        self.move(words)

    def move(self, words: str) -> None:
        """Show `words` beside the number of the run."""
        at = min(len(self.ended) + 1, len(self.work))
        self.bar.update(self._done, f"run {at:,} of {len(self.work):,}  {words}")

    @property
    def _done(self) -> float:
        return sum(self.work[run] * share for run, share in self.shares.items() if run in self.work)

    def _end(self, runs: list[tuple[int, str]]) -> None:
        self.ended.update(runs)
        self.shares |= dict.fromkeys(runs, 1.0)

    def _replace_stand_in(self, run: tuple[int, str]) -> None:
        stand_ins = [each for each in self.work if each[0] == run[0] and each[1].isdigit()]
        if stand_ins:
            self.work[run] = self.work.pop(stand_ins[0])

    def _say_how_long(self) -> None:
        left = len(self.work) - len(self.ended)
        if len(self.ended) == 1 and left and self.started is not None:
            seconds = (monotonic() - self.started) * (sum(self.work.values()) / self._done - 1)
            seconds += self.baseline_seconds * self.tasks_left
            runs = "the other run takes" if left == 1 else f"the other {left:,} runs take"
            self.show.note(f"after the first run: {runs} about {duration(seconds)}")


@contextmanager
def sweep_bar(sweeps: Sequence[PlannedSweep], *, retry_failed: bool, show: Progress) -> Iterator[SweepBar]:
    """Show one bar over the runs that are to be done, if there are any."""
    work: dict[tuple[int, str], float] = {}
    failed = set[str]()
    for number, each in enumerate(sweeps):
        for place, (plan, status, _) in enumerate(each.runs):
            if status == "failed" and not retry_failed:
                failed.add(plan.run_id)
            elif status != "completed":
                is_known = place < each.num_points or each.num_points == 1
                work[number, plan.run_id if is_known else str(place)] = estimated_work(plan)
    shown = show if work else Progress(False)
    with shown.bar("bench", sum(work.values()), on_interrupt=AGAIN) as bar:
        yield SweepBar(bar, show, work, failed)
