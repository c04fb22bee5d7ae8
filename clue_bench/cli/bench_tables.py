"""What `clue-bench bench` prints: the row of each model, and what stands behind each of its numbers."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clue_bench.cli import terminal

if TYPE_CHECKING:
    from clue_bench.analysis.summary import Summary
    from clue_bench.finetuning.grid import Point
    from clue_bench.finetuning.sweep import Sweep

MAJORITY_MARK, FLOOR_MARK = "†", "▽"
LEAST_P = 1e-4


@dataclass(frozen=True)
class Outcome:
    """The sweep of one model on one task, and what it comes to; `summary` is None if no run is complete.

    `model` is what tables call it, `column` what they call the task; `most` has the bounds that the model sets.
    """

    model: str
    task: str
    column: str
    most: dict[str, float]
    sweep: "Sweep"
    candidates: list["Point"]
    summary: "Summary | None"


def print_outcomes(outcomes: list[Outcome], floors: list["Summary"]) -> None:
    """Print the table of means, the table of conditions, and warnings in words."""
    by_place = {(floor.model, floor.task): _mean_text(floor) for floor in floors}
    for outcome in outcomes:
        by_place[outcome.model, outcome.task] = "failed" if outcome.summary is None else _mean_text(outcome.summary)
    columns = {outcome.task: outcome.column for outcome in outcomes}
    names = dict.fromkeys(name for name, _ in [*((o.model, o.task) for o in outcomes), *by_place])
    rows = [[name, *(by_place.get((name, task), "–") for task in columns)] for name in names]
    terminal.print_table(["dev accuracy, %", *columns.values()], rows)
    terminal.print_table([], [])
    header = ["task", "model", "seeds", "mean ± sd", "95 % interval", "macro-F1", "over the best floor", "p"]
    terminal.print_table([*header, "settings", "seconds", "data revision"], [_condition(o) for o in outcomes])
    _say_marks([*(outcome.summary for outcome in outcomes if outcome.summary is not None), *floors])
    if any(len(outcome.candidates) > 1 for outcome in outcomes):
        terminal.say("best of N: the first seed chose the setting and counts, so its mean and interval are flattering")
    _say_edges(outcomes)


def as_json(outcomes: list[Outcome], floors: list["Summary"]) -> dict[str, Any]:
    """Return everything as plain values."""
    from clue_bench.finetuning.grid import edges

    rows = []
    for outcome in outcomes:
        best = outcome.sweep.best
        rows.append(
            {
                "model": outcome.model,
                "task": outcome.task,
                "settings_tried": len(outcome.candidates),
                "best_settings": best,
                "on_the_edge": [] if best is None else edges(_grid_of(outcome), best, most=outcome.most),
                "runs": [trial.record.run_id for trial in outcome.sweep.of_best],
                "failed": {trial.record.run_id: trial.record.error for trial in outcome.sweep.failed},
                "dev": None if outcome.summary is None else outcome.summary.as_json(),
            }
        )
    return {"rows": rows, "floors": [summary.as_json() for summary in floors]}


def _mean_text(summary: "Summary") -> str:
    from clue_bench.doors.records import MAJORITY_CLASS

    spread = "" if summary.deviation is None else f" ± {100 * summary.deviation:.2f}"
    mark = MAJORITY_MARK * (MAJORITY_CLASS in summary.flags) + FLOOR_MARK * summary.misses_floor
    return f"{100 * summary.mean:.2f}{spread}{mark}"


def _condition(outcome: Outcome) -> list[str]:
    summary, best = outcome.summary, outcome.sweep.best
    if summary is None:
        return [outcome.column, outcome.model, "0", "failed"]
    low, high = 100 * summary.interval.low, 100 * summary.interval.high
    over, p = "no floor run", ""
    if summary.over_floor is not None:
        difference = summary.over_floor.difference
        over, p = (
            f"{100 * difference.difference:+.2f} ({summary.floor})",
            _p_text(max(summary.over_floor.p_values.values())),
        )
    tried = len(outcome.candidates)
    chosen = ", ".join(f"{key}={value}" for key, value in (best or {}).items()) or "defaults"
    return [
        summary.column,
        summary.model,
        str(len(summary.accuracies)),
        _mean_text(summary),
        f"{low:.2f} … {high:.2f}",
        f"{summary.macro_f1:.4f}",
        over,
        p,
        chosen if tried == 1 else f"best of {tried}: {chosen}",
        f"{summary.seconds:.0f}",
        summary.revision,
    ]


def _p_text(p_value: float) -> str:
    return f"{p_value:.4f}" if p_value >= LEAST_P else f"< {LEAST_P:.4f}"


def _grid_of(outcome: Outcome) -> dict[str, list[Any]]:
    """Return the values that were tried of every key that varied."""
    grid: dict[str, list[Any]] = {}
    for point in outcome.candidates:
        for key, value in point.items():
            if value not in grid.setdefault(key, []):
                grid[key].append(value)
    return {key: values for key, values in grid.items() if len(values) > 1}


def _say_marks(summaries: list["Summary"]) -> None:
    from clue_bench.doors.records import MAJORITY_CLASS

    if any(MAJORITY_CLASS in summary.flags for summary in summaries):
        terminal.say(f"{MAJORITY_MARK} in at least one run no better than always answering the majority class")
    if any(summary.misses_floor for summary in summaries):
        terminal.say(f"{FLOOR_MARK} not above the best floor, a model without any pretraining")


def _say_edges(outcomes: list[Outcome]) -> None:
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
