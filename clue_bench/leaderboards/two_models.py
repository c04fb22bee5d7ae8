"""Compare two models on every task that both have been run on, from their records alone.

Input: run records, and two models by name, label or hash. Output: a `ModelComparison`: per task the difference of the
mean accuracies on the same dev rows, its interval, and the paired test that ranks a leaderboard, with Holm's correction
for the number of tasks; and one test on the mean of the tasks. The cells are those of the measured tables: of a model's
settings, the best of those with the most seeds. Different data revisions never meet.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from clue_bench.doors.records import RunRecord
from clue_bench.errors import ClueBenchError, nearest
from clue_bench.leaderboards.cells import MeasuredCell, MeasuredModel, MeasuredTable
from clue_bench.leaderboards.runs import measured_tables
from clue_bench.numbers import count, counted, percent, points
from clue_bench.stats.significance import ALPHA, ConfidenceInterval, PairTests, holm, mean_tests, p_text
from clue_bench.tables import MISSING, Cell, Column, Shown, Table, make_table

if TYPE_CHECKING:
    import pandas as pd

NO_TEST = "no test"
NEITHER = MISSING


@dataclass(frozen=True)
class TaskDifference:
    """A minus B on one task, as shares of 1; without interval and p-value where the records say too little to test."""

    a: MeasuredCell
    b: MeasuredCell
    tests: PairTests | None  # of these two
    p_value: float | None  # adjusted for the number of tasks

    @property
    def interval(self) -> ConfidenceInterval | None:
        """Return the interval of the difference."""
        return None if self.tests is None else self.tests.test(0, 1).interval

    @property
    def difference(self) -> float:
        """Return by how much A is above B."""
        return float(self.a.ranked_accuracy - self.b.ranked_accuracy)

    @property
    def better(self) -> str:
        """Return "A" or "B" where the test separates them, a dash where it does not."""
        if self.p_value is None:
            return NO_TEST
        return NEITHER if self.p_value >= ALPHA else "A" if self.difference > 0 else "B"


@dataclass(frozen=True, repr=False)
class ModelComparison(Shown):
    """Two models on the tasks that both have; `only` names the tasks that one of them lacks on the same data."""

    a: MeasuredModel
    b: MeasuredModel
    tasks: tuple[TaskDifference, ...]
    only: tuple[str, ...]
    mean_p_value: float | None

    @property
    def mean(self) -> tuple[float, float]:
        """Return the means of A and of B over the tasks, as shares of 1."""
        a, b = (np.mean([float(cell.ranked_accuracy) for cell in cells]) for cells in self._cells)
        return float(a), float(b)

    @property
    def verdict(self) -> str:
        """Return the verdict in one sentence."""
        named = [task.better for task in self.tasks]
        counts = f"A is better on {named.count('A')}, B on {named.count('B')} of {counted(len(named), 'task')}"
        if NO_TEST in named:
            counts += f", no test on {named.count(NO_TEST)}: the records say too little of rows or seeds"
        a, b = self.mean
        if len(self.tasks) < 2 or self.mean_p_value is None:
            return counts
        where = "not separated" if self.mean_p_value >= ALPHA else f"{'A' if a > b else 'B'} is better"
        return f"{counts}; their means differ by {points(a - b)} points: {where}, p {p_text(self.mean_p_value)}"

    @property
    def tables(self) -> tuple[Table, ...]:
        """Return the two models, the differences task by task, and the verdict."""
        models = [
            (side, model.label, count(max(model.parameters)), percent(mean), sum(len(cell.seeds) for cell in cells))
            for side, model, mean, cells in zip("AB", (self.a, self.b), self.mean, self._cells, strict=True)
        ]
        sides = make_table(
            "", ["", "model", Column("parameters", "", True), f"mean of {len(self.tasks)}", "runs"], models
        )
        columns: list[str | Column] = ["task", "A", "B", "A minus B", "95 % interval", "p"]
        columns += [Column("better", is_words=True), Column("seeds", is_detail=True, is_words=True)]
        columns += [Column("data revision", is_detail=True)]
        rows = [self._row(task) for task in self.tasks]
        notes = [
            "p: paired test on the same dev rows, after Holm's correction for the number of tasks. Better: the model "
            f"that the test separates from the other at p < {ALPHA}."
        ]
        if any(cell.is_majority for cells in self._cells for cell in cells):
            notes.append("† (nearly) always the most frequent answer, or no better than that")
        if repeated := {task.a.column.name: task.a.repeated_rows for task in self.tasks if task.a.repeated_rows}:
            rows_of = ", ".join(f"{name} {count(number)} rows" for name, number in repeated.items())
            notes.append(f"Accuracies are on the dev rows that training does not repeat. Without: {rows_of}.")
        notes += [f"Left out: {'; '.join(self.only)}."] if self.only else []
        return sides, make_table("", columns, rows, notes=[*notes, f"Verdict: {self.verdict}."])

    def to_dataframe(self) -> "pd.DataFrame":
        """Return a row per task: the accuracies, their difference and the test."""
        return self.tables[1].to_dataframe()

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values; shares are of 1."""
        a, b = self.mean
        return {
            "a": {"model": self.a.label, "model_sha256": self.a.sha256, "mean": a},
            "b": {"model": self.b.label, "model_sha256": self.b.sha256, "mean": b},
            "tasks": [
                {
                    "task": task.a.column.task,
                    "data_revision": task.a.column.revision,
                    "rows": task.a.column.dev_rows,
                    "a": _cell_json(task.a),
                    "b": _cell_json(task.b),
                    "difference": task.difference,
                    "interval": None if task.interval is None else task.interval._asdict(),
                    "p": task.p_value,
                    "better": task.better if task.better in ("A", "B") else None,
                }
                for task in self.tasks
            ],
            "left_out": list(self.only),
            "mean_p": self.mean_p_value,
            "verdict": self.verdict,
        }

    @property
    def _cells(self) -> tuple[list[MeasuredCell], list[MeasuredCell]]:
        return [task.a for task in self.tasks], [task.b for task in self.tasks]

    def _row(self, task: TaskDifference) -> list[object]:
        low_high = MISSING
        if task.interval is not None:
            low_high = f"{points(task.interval.low)} … {points(task.interval.high)}"
        p_value = MISSING if task.p_value is None else p_text(task.p_value).removeprefix("= ")
        seeds = f"{len(task.a.seeds)} and {len(task.b.seeds)}"
        return [
            task.a.column.name,
            _accuracy(task.a),
            _accuracy(task.b),
            Cell(points(task.difference), task.difference),
            low_high,
            p_value,
            task.better,
            seeds,
            task.a.column.revision,
        ]


def _accuracy(cell: MeasuredCell) -> Cell:
    """Return the accuracy that is compared, with the mark of the majority class."""
    share = float(cell.ranked_accuracy)
    return Cell(percent(share), share, "†" * cell.is_majority)


def compare_two_models(records: Iterable[RunRecord], a: str, b: str) -> ModelComparison:
    """Compare the models `a` and `b`, each a name, the label of a table or the hash of its weights.

    Raises ClueBenchError if one of them has no run, a name stands for several models, or they share no task.
    """
    tables = measured_tables(records)
    left, right = find_model(tables, a), find_model(tables, b)
    if left == right:
        raise ClueBenchError(f"{a} and {b} are the same model, {left[0]}", "give two models")
    shared: list[TaskDifference] = []
    only: list[str] = []
    models = [next(m for table in tables for m in table.models if model_key(m) == key) for key in (left, right)]
    for table in tables:
        here = {model_key(model): model for model in table.models}
        one, other = here.get(left), here.get(right)
        for column in table.columns:
            cells = [model.cells.get(column.name) if model else None for model in (one, other)]
            if cells[0] is not None and cells[1] is not None:
                tests = table.tests[column.name].pair(one.label, other.label) if one and other else None
                shared.append(TaskDifference(cells[0], cells[1], tests, tests and tests.test(0, 1).p_value))
            elif any(cells):
                of = f"{column.name} ({column.revision})"
                only.append(f"{of}: only A" if cells[0] else f"{of}: only B")
    if not shared:
        raise ClueBenchError(
            f"{a} and {b} have no task in common" + (f": {'; '.join(only)}" if only else ""),
            f"run clue-bench bench --model {a} --model {b} first, on the same --data",
        )
    return ModelComparison(models[0], models[1], _adjusted(shared), tuple(only), _of_mean(shared))


def find_model(tables: Iterable[MeasuredTable], reference: str) -> tuple[str, str]:
    """Return name and hash of the one model that `reference` stands for. Raises ClueBenchError."""
    models = {model_key(model): model for table in tables for model in table.models}
    hits = [key for key, m in models.items() if reference in (m.label, m.sha256)]
    hits = hits or [key for key, m in models.items() if m.name == reference]
    if len(hits) == 1:
        return hits[0]
    if hits:
        labels = [models[key].label for key in hits]
        raise ClueBenchError(f"{len(hits)} models are called {reference}", f"give one of: {', '.join(labels)}")
    names = [model.label for model in models.values()]
    raise ClueBenchError(
        f"no completed run of a model called '{reference}': {nearest(reference, names)}",
        f"run clue-bench bench --model {reference}, or give another --records",
    )


def model_key(model: MeasuredModel) -> tuple[str, str]:
    """Return what tells a model from all others."""
    return model.name, model.sha256


def _cell_json(cell: MeasuredCell) -> dict[str, Any]:
    clean = cell.clean_accuracy
    return {"accuracy": float(cell.accuracy), "clean": None if clean is None else float(clean), "runs": list(cell.runs)}


def _adjusted(tasks: list[TaskDifference]) -> tuple[TaskDifference, ...]:
    tested = [task.p_value for task in tasks if task.p_value is not None]
    adjusted = iter(holm(tested))
    return tuple(
        task if task.p_value is None else TaskDifference(task.a, task.b, task.tests, next(adjusted)) for task in tasks
    )


def _of_mean(tasks: list[TaskDifference]) -> float | None:
    """Return the p-value of the mean of the tasks; None if one of them cannot be tested, or there is only one."""
    known = [task.tests for task in tasks if task.tests is not None]
    return None if len(known) < len(tasks) or len(tasks) < 2 else mean_tests(known).test(0, 1).p_value
