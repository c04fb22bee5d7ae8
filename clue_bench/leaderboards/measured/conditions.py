"""What qualifies the cells of a measured table: the conditions of each, and why rows are not comparable.

Input: a measured table. Output: the header and rows of the table of conditions, and sentences.
"""

from collections.abc import Callable, Sequence

from clue_bench.leaderboards.markdown import escape
from clue_bench.leaderboards.measured.cells import Cell, MeasuredTable
from clue_bench.leaderboards.measured.floors import over_floor_text
from clue_bench.leaderboards.measured.optimism import optimism_text
from clue_bench.leaderboards.scores import MISSING, SPLIT, percent_text, percentage

CONDITIONS = (
    "模型",
    "Task",
    "Split, data",
    "Seeds",
    "Accuracy (mean ± sd)",
    "Sampling error (1σ)",
    "Macro-F1",
    "Majority share",
    "Points over the floor",
    "Chosen from (optimism)",
    "Best step of steps",
    "Commit",
    "Flags",
)


def conditions_rows(table: MeasuredTable) -> list[list[str]]:
    """Return a row of `CONDITIONS` per cell, models in the table's order, columns from left to right."""
    names = [column.name for column in table.columns]
    return [
        _conditions(model.label, model.cells[name], table)
        for model in table.models
        for name in names
        if name in model.cells
    ]


def differing_conditions(table: MeasuredTable) -> list[str]:
    """Return a sentence that names what the models' rows differ in besides the model; none where they do not.

    Columns that only some models have are left out, but where there are no others.
    """
    facts: dict[str, Callable[[Cell], str]] = {
        "seeds": lambda cell: str(len(cell.seeds)),
        "settings tried": lambda cell: str(cell.num_settings),
        "dev scores to choose from": lambda cell: str(cell.dev_scores),
        "commit": lambda cell: ", ".join(filter(None, cell.commits)) or MISSING,
        "precision": lambda cell: ", ".join(cell.precisions) or MISSING,
        "machine": lambda cell: ", ".join(cell.machines) or MISSING,
    }
    models = [model for model in table.models if not model.is_floor]
    names = [column.name for column in table.columns]
    shared = [name for name in names if all(name in model.cells for model in models)] or names
    found = []
    for what, fact in facts.items():
        groups: dict[str, list[str]] = {}
        for model in models:
            values = dict.fromkeys(fact(model.cells[name]) for name in shared if name in model.cells)
            groups.setdefault(" / ".join(values), []).append(model.label)
        if len(groups) > 1:
            found.append(f"{what}: " + ", ".join(f"{value} ({', '.join(who)})" for value, who in groups.items()))
    if not found:
        return []
    return [escape(f"Not strictly comparable, since the rows differ in more than the model: {'; '.join(found)}.")]


def _conditions(label: str, cell: Cell, table: MeasuredTable) -> list[str]:
    """Return one row of the conditions table."""
    seeds = runs = len(cell.seeds)
    spread = "" if cell.deviation is None else f" ± {cell.deviation}"
    return [
        escape(label),
        escape(cell.column.name),
        f"{SPLIT}, {escape(cell.column.revision)}",
        f"{seeds}{_repeats(cell)}",
        f"{percent_text(cell.percent)}{spread}",
        f"± {cell.sampling_error}",
        percent_text(percentage(cell.macro_f1)),
        " / ".join(dict.fromkeys(percent_text(percentage(share)) for share in cell.majority_shares)),
        escape(over_floor_text(cell, table)),
        optimism_text(cell),
        f"{_range(cell.best_steps)} of {_range(cell.total_steps)}" if any(cell.total_steps) else MISSING,
        escape(", ".join(filter(None, cell.commits))) or MISSING,
        escape(", ".join(flag if num == runs else f"{flag} ({num} of {runs})" for flag, num in cell.flags)) or MISSING,
    ]


def _repeats(cell: Cell) -> str:
    """Return ` (1 repeat left out)` where a seed was run more than once."""
    number = len(cell.repeats)
    return f" ({number} repeat{'s' * (number > 1)} left out)" if number else ""


def _range(steps: Sequence[int]) -> str:
    """Return `300`, or `200–300` where seeds differ."""
    return str(steps[0]) if len(steps) == 1 else f"{min(steps)}–{max(steps)}"
