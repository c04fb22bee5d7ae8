"""What `clue-bench bench` prints: the leaderboard of its own runs, their settings, and what failed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from clue_bench.cli import terminal

if TYPE_CHECKING:
    from clue_bench.doors.records import RunRecord
    from clue_bench.finetuning.grid import Point
    from clue_bench.finetuning.sweep import Sweep
    from clue_bench.leaderboards.leaderboard import Leaderboard


@dataclass(frozen=True)
class Outcome:
    """The sweep of one model on one task.

    `model` is what tables call it, `column` what they call the task; `most` has the bounds that the model sets.
    """

    model: str
    task: str
    column: str
    most: dict[str, float]
    sweep: "Sweep"
    candidates: list["Point"]


def board_of(outcomes: Sequence[Outcome], floors: Sequence["RunRecord"]) -> "Leaderboard":
    """Return the leaderboard of the best setting of every model and of the floors."""
    from clue_bench.leaderboards.leaderboard import leaderboard_of

    return leaderboard_of([*(trial.record for outcome in outcomes for trial in outcome.sweep.of_best), *floors])


def print_outcomes(outcomes: Sequence[Outcome], floors: Sequence["RunRecord"]) -> None:
    """Print the leaderboard, the table of settings, and warnings in words."""
    from clue_bench.tables import make_table

    typer.echo(str(board_of(outcomes, floors)))
    rows = [[o.column, o.model, len(o.sweep.of_best), _settings(o)] for o in outcomes]
    typer.echo(f"\n{make_table('Settings', ['task', 'model', 'seeds', 'settings'], rows)}")
    if any(len(outcome.candidates) > 1 for outcome in outcomes):
        terminal.say("best of N: the first seed chose the setting and counts, so its mean and interval are flattering")
    _say_edges(outcomes)


def as_json(outcomes: Sequence[Outcome], floors: Sequence["RunRecord"]) -> dict[str, Any]:
    """Return everything as plain values."""
    from clue_bench.finetuning.grid import edges

    by_run = board_of(outcomes, floors).by_run
    rows = []
    for outcome in outcomes:
        best = outcome.sweep.best
        runs = [trial.record.run_id for trial in outcome.sweep.of_best]
        rows.append(
            {
                "model": outcome.model,
                "task": outcome.task,
                "settings_tried": len(outcome.candidates),
                "best_settings": best,
                "on_the_edge": [] if best is None else edges(_grid_of(outcome), best, most=outcome.most),
                "runs": runs,
                "failed": {trial.record.run_id: trial.record.error for trial in outcome.sweep.failed},
                "dev": by_run[runs[0]] if runs else None,
            }
        )
    return {"rows": rows, "floors": [by_run[record.run_id] for record in floors]}


def _settings(outcome: Outcome) -> str:
    """Return the chosen settings, and of how many; "failed" where no run is complete."""
    if not outcome.sweep.of_best:
        return "failed"
    tried = len(outcome.candidates)
    chosen = ", ".join(f"{key}={value}" for key, value in (outcome.sweep.best or {}).items()) or "defaults"
    return chosen if tried == 1 else f"best of {tried}: {chosen}"


def _grid_of(outcome: Outcome) -> dict[str, list[Any]]:
    """Return the values that were tried of every key that varied."""
    grid: dict[str, list[Any]] = {}
    for point in outcome.candidates:
        for key, value in point.items():
            if value not in grid.setdefault(key, []):
                grid[key].append(value)
    return {key: values for key, values in grid.items() if len(values) > 1}


def _say_edges(outcomes: Sequence[Outcome]) -> None:
    """Warn where the best setting lies on the edge of what was tried."""
    from clue_bench.finetuning.grid import beyond, edges

    for outcome in outcomes:
        best, grid = outcome.sweep.best, _grid_of(outcome)
        if best is None:
            continue
        found = edges(grid, best, most=outcome.most)
        if found:
            terminal.say(
                f"warning: {outcome.task}, {outcome.model}: {'; '.join(found)}: the optimum may lie beyond. "
                f"Search on: {beyond(grid, best, most=outcome.most)}"
            )
