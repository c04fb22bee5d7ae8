"""The results of a benchmark: scores of models on tasks, the chosen settings, and every one that was tried.

Input: the sweeps that `benchmark` has done, and the baselines. Output: tables, notes and plain values.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from clue_bench.api.run_tables import record_kind
from clue_bench.api.runs import Run, Runs
from clue_bench.doors.records import MAJORITY_CLASS
from clue_bench.errors import ClueBenchError
from clue_bench.numbers import counted, duration, percent, typed
from clue_bench.tables import Column, Shown, Table, make_table, our_words
from clue_bench.tasks.scores import kind_of, named_f1, score_names

if TYPE_CHECKING:
    from clue_bench.finetuning.grid import Point
    from clue_bench.finetuning.sweep import Sweep, Trial
    from clue_bench.leaderboards.leaderboard import Leaderboard

FLATTERED = "best of N: the first seed chose the setting and counts, so its mean and interval are flattering"


class Outcome(NamedTuple):
    """The sweep of one model on one task; `bounds` holds the largest values that the model allows."""

    model: str
    task: str
    column: str  # what tables call the task
    bounds: dict[str, float]
    sweep: "Sweep"
    candidates: "list[Point]"

    @property
    def grid(self) -> dict[str, list[Any]]:
        """Return the values that were tried, for every key that varied."""
        grid: dict[str, list[Any]] = {}
        for point in self.candidates:
            for key, value in point.items():
                if value not in grid.setdefault(key, []):
                    grid[key].append(value)
        return {key: values for key, values in grid.items() if len(values) > 1}

    @property
    def no_choice(self) -> str:
        """Return why the best setting of the search is no choice, "" if it is one."""
        from clue_bench.finetuning.grid import no_choice

        first = self.sweep.trials[: len(self.candidates)]  # those with the first seed, a point each
        done = [trial.record for trial in first if trial.is_complete]
        scores = [float(getattr(record.completed_results.dev, record.task.metric)) for record in done]
        at_majority = all(MAJORITY_CLASS in record.flags for record in done)
        return no_choice(scores, tried=len(self.candidates), at_majority=at_majority)

    @property
    def points(self) -> "list[Trial]":
        """Return the runs with the first seed, one for every setting, best first and failed ones last."""
        from clue_bench.finetuning.sweep import rank

        first = self.sweep.trials[: len(self.candidates)]
        complete = [trial for trial in first if trial.is_complete]
        failed = [trial for trial in first if not trial.is_complete]
        return [*sorted(complete, key=lambda trial: rank(trial.record), reverse=True), *failed]

    @property
    def points_table(self) -> Table:
        """Return every setting that was tried, with its scores or what failed."""
        accuracy, f1 = score_names(kind_of(trial.record.task) for trial in self.points if trial.record.task)
        rows = []
        for trial in self.points:
            results = trial.record.completed_results if trial.is_complete else None
            scores: list[object] = [our_words("failed"), ""]
            if results is not None:
                scores = [percent(results.dev.accuracy), percent(results.dev.macro_f1)]
            scores = scores[: 1 + bool(f1)]
            seconds = "" if results is None else duration(trial.record.wall_seconds)
            rows.append([*(typed(trial.point[key]) for key in self.grid), *scores, seconds])
        seed = self.points[0].seed
        title = f"{self.column}, {self.model}: {len(rows)} settings with seed {seed}, best first"
        return make_table(
            title, [*self.grid, f"dev {accuracy}", *([f1] if f1 else []), Column("time", is_words=True)], rows
        )

    @property
    def setting(self) -> str:
        """Return the setting that did best, in words."""
        if self.sweep.best is None or not self.sweep.of_best:
            return "failed"
        chosen = ", ".join(f"{key}={typed(value)}" for key, value in self.sweep.best.items()) or "defaults"
        return chosen if len(self.candidates) == 1 else f"best of {len(self.candidates)}: {chosen}"


@dataclass(frozen=True, repr=False)
class Benchmark(Shown):
    """The results of models on tasks, with the baselines; `leaderboard` shows the best settings."""

    outcomes: tuple[Outcome, ...]
    baselines: Runs

    @property
    def runs(self) -> Runs:
        """Return the complete runs of the best settings."""
        return Runs(tuple(Run(trial.record, trial.folder) for each in self.outcomes for trial in each.sweep.of_best))

    @cached_property
    def leaderboard(self) -> "Leaderboard":
        """Return the leaderboard of these runs and the baselines; the other settings say what was chosen from."""
        from clue_bench.leaderboards.leaderboard import leaderboard_of

        tried = [trial.record for each in self.outcomes for trial in each.sweep.trials if trial.is_complete]
        shown = {run.record.run_id for run in self.runs}
        return leaderboard_of([*tried, *(run.record for run in self.baselines)], shown)

    @property
    def settings(self) -> Table:
        """Return which setting each model was run with on each task."""
        rows = [(each.column, each.model, str(len(each.sweep.of_best)), each.setting) for each in self.outcomes]
        return make_table("Settings", ["task", "model", "seeds", Column("settings", is_words=True)], rows)

    @property
    def notes(self) -> list[str]:
        """Return what to know beside the numbers."""
        from clue_bench.finetuning.grid import beyond, edges

        notes = [FLATTERED] if any(len(each.candidates) > 1 for each in self.outcomes) else []
        for each in self.outcomes:
            best = each.sweep.best
            if best is not None and each.no_choice:
                notes.append(f"warning: {each.task}, {each.model}: {each.no_choice}")
            elif best is not None and (found := edges(each.grid, best, most=each.bounds)):
                notes.append(
                    f"warning: {each.task}, {each.model}: {'; '.join(found)}: the optimum may lie beyond. "
                    f"Search on: {beyond(each.grid, best, most=each.bounds)}"
                )
        return notes + [
            f"failed: {trial.record.run_id}: {trial.record.error}"
            for each in self.outcomes
            for trial in each.sweep.failed
        ]

    def raise_failures(self) -> None:
        """Raise ClueBenchError if a run has failed; the notes say why."""
        failed = sum(len(each.sweep.failed) for each in self.outcomes)
        if failed:
            total = sum(len(each.sweep.trials) for each in self.outcomes)
            raise ClueBenchError(
                f"{failed} of {counted(total, 'run')} failed, for the reasons above",
                "fix what they name, then type the same command with --retry-failed",
            )

    @property
    def tables(self) -> tuple[Table, ...]:
        """Those of the leaderboard, every setting that was tried, and the chosen ones."""
        searched = [each.points_table for each in self.outcomes if len(each.candidates) > 1]
        return *self.leaderboard.tables, *searched, self.settings

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        from clue_bench.finetuning.grid import edges

        by_run, rows = self.leaderboard.by_run, []
        for each in self.outcomes:
            best, runs = each.sweep.best, [trial.record.run_id for trial in each.sweep.of_best]
            rows.append(
                {
                    "model": each.model,
                    "task": each.task,
                    "settings_tried": len(each.candidates),
                    "points": [_point_json(trial) for trial in each.points],
                    "best_settings": best,
                    "on_the_edge": [] if best is None or each.no_choice else edges(each.grid, best, most=each.bounds),
                    "runs": runs,
                    "failed": {trial.record.run_id: trial.record.error for trial in each.sweep.failed},
                    "dev": by_run[runs[0]] if runs else None,
                }
            )
        return {"rows": rows, "floors": [by_run[run.run_id] for run in self.baselines]}


def _point_json(trial: "Trial") -> dict[str, Any]:
    record = trial.record
    dev = record.completed_results.dev if trial.is_complete else None
    scores = {"accuracy": dev and dev.accuracy, **named_f1(record_kind(record), dev and dev.macro_f1)}
    return {"run": record.run_id, "settings": trial.point, "status": record.status, **scores, "error": record.error}
