"""Tables of measured cells, each compared with the best model without any pretraining.

A cell is one model on one task and one data revision: the mean over seeds, with everything a reader needs to judge it.
`runs` makes the tables of run records.

The accuracy shown is that of all dev rows, which published ones are of. Rows whose texts stand in training, too,
measure memory: models are ranked and held against floors on the clean rows, the others, as soon as a record says which.

A floor is a model without any pretraining. It is a row like the others, below them, and each cell of its column is
compared with it, never with a floor on another revision or number of rows. Beating it means being strictly better.

A run's score is that of its best evaluation, whatever was predicted; where that is (nearly) one class, the cell is
marked, and the best evaluation that is not stands beside it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np

from clue_bench.doors.records import MAJORITY_CLASS, OFF, OFFICIAL
from clue_bench.leaderboards.scores import SPLIT, half_up, percent_text, percentage, score_of
from clue_bench.numbers import typed
from clue_bench.stats.significance import (
    Bools,
    Groups,
    PairTests,
    Right,
    accuracy_interval,
    pair_tests,
    rows_variance,
    wilson_interval,
)
from clue_bench.tables import MISSING
from clue_bench.tasks.scores import score_names

CLUE = "clue"
SYNTHETIC = "synthetic"

MAJORITY_MARK, FLOOR_MARK = "†", "▽"
NO_FLOOR, IS_FLOOR = "no floor run", "floor"
FLOOR_LABELS = {
    "floor-majority": "多数类",
    "floor-tfidf": "TF-IDF + 线性",
    "floor-nothing": "无实体",
    "floor-dictionary": "实体词典",
}
"""Name of a floor in records → shown name."""


@dataclass(frozen=True)
class MeasuredColumn:
    """A column of a measured table, and the only data that it may contain."""

    name: str
    task: str
    revision: str
    dev_rows: int

    @property
    def is_official(self) -> bool:
        """Return whether the data is exactly, byte for byte, what the task card describes."""
        return self.revision == OFFICIAL


@dataclass(frozen=True)
class MeasuredCell:
    """One model on one column. Shares are exact fractions of 1.

    `runs` are those of the best of `num_settings`, one per seed; `repeats` are further runs of these seeds, ignored.
    """

    dataset: str
    kind: str  # of the task
    model: str
    model_sha256: str
    parameters: int
    is_floor: bool
    column: MeasuredColumn
    runs: tuple[str, ...]
    repeats: tuple[str, ...]
    seeds: tuple[int, ...]
    settings: str
    effective: Mapping[str, Any] = field(compare=False, repr=False)  # of the shown setting, defaults included
    num_settings: int
    accuracies: tuple[Fraction, ...]  # one per seed
    non_constant: tuple[Fraction | None, ...]
    """One per seed: of the best evaluation whose predictions are not all one class; None if there is none."""
    has_constant: bool  # the shown evaluation of a seed predicts (nearly) one class
    macro_f1: Fraction  # of a task of spans, the mean F1; of choices it means nothing
    majority_shares: tuple[Fraction, ...]  # distinct; one, since the rows are the same
    best_steps: tuple[int, ...]
    total_steps: tuple[int, ...]
    commits: tuple[str, ...]
    flags: tuple[tuple[str, int], ...]  # flag, number of runs that have it
    dev_scores: int  # how many dev scores the displayed one was chosen from: one run's scores for every setting
    bias: float | None  # of choosing, as a share of 1; None if a record does not say what was right in each score
    precisions: tuple[str, ...]
    machines: tuple[str, ...]
    seconds: float  # of all runs together
    pretraining_tokens: int | None
    origin: str  # the recipe or release that the model is; its name unless a user has chosen that
    other_files: str  # files of the data that differ from the task card, in words
    correct: Right | None = field(compare=False, repr=False)
    """Which dev rows are right, (seeds, rows), or numbers whose mean is the score; None if a record does not say."""
    correct_clean: Right | None = field(default=None, compare=False, repr=False)
    """The same of the clean rows alone; None if they are not known, or there are none."""
    clean: Bools | None = field(default=None, compare=False, repr=False)
    """Which dev rows training does not repeat, (rows,); None if no record of the column says so."""
    passages: Groups = field(default=None, compare=False, repr=False)
    """The passage of each question of dev, (rows,); None where rows are no questions, or no record says so."""

    @property
    def accuracy(self) -> Fraction:
        """Return the mean over seeds."""
        return mean_of_shares(self.accuracies)

    @property
    def is_of_entities(self) -> bool:
        """Return whether the score is the macro-F1 of entities; of everything else it is accuracy."""
        return self.kind == "tags"

    @property
    def tested(self) -> Right | None:
        """Return what tests compare, (seeds, rows): `correct` on the clean rows, on all if they are not known."""
        return self.correct if self.correct is None or self.clean is None else self.correct_clean

    @property
    def tested_passages(self) -> Groups:
        """Return the passages of what tests compare, (rows,)."""
        return self.passages if self.passages is None or self.clean is None else self.passages[self.clean]

    @property
    def clean_accuracy(self) -> Fraction | None:
        """Return the mean over seeds on the clean rows; None if they are not known, or there are none."""
        if self.tested is None or self.clean is None or not self.clean.any():
            return None
        total = self.tested.sum()
        return Fraction(float(total) if self.is_of_entities else int(total)) / self.tested.size

    @property
    def ranked_accuracy(self) -> Fraction:
        """Return the accuracy that models are compared by: on the clean rows, where it is known."""
        return self.accuracy if self.clean_accuracy is None else self.clean_accuracy

    @property
    def repeated_rows(self) -> int | None:
        """Return how many dev rows training repeats; None if no record says so."""
        return None if self.clean is None else int((~self.clean).sum())

    @property
    def clean_text(self) -> str:
        """Return `53.74% of 8,901 rows`, `all rows` where training repeats none, a dash if that is not known."""
        if self.clean is None or self.repeated_rows == 0:
            return MISSING if self.clean is None else "all rows"
        share = self.clean_accuracy
        return MISSING if share is None else f"{percentage(share)}% of {int(self.clean.sum()):,} rows"

    @property
    def non_constant_text(self) -> str:
        """Return the mean of the best evaluations that are not constant, where a shown one is; else a dash."""
        if self.is_floor or not self.has_constant:
            return MISSING
        known = [share for share in self.non_constant if share is not None]
        return f"{percentage(mean_of_shares(known))}%" if len(known) == len(self.non_constant) else "none"

    @property
    def percent(self) -> Decimal:
        """Return the displayed accuracy."""
        return percentage(self.accuracy)

    @property
    def deviation(self) -> Decimal | None:
        """Return the sample standard deviation over seeds in percentage points; None for a single seed."""
        if len(self.accuracies) < 2:
            return None
        squares = sum(((share - self.accuracy) ** 2 for share in self.accuracies), Fraction(0))
        return _root_in_points(squares / (len(self.accuracies) - 1))

    @property
    def sampling_error(self) -> Decimal:
        """Return the standard error (1 sigma) in points that another draw of dev rows gives the mean over these seeds.

        It is binomial for one seed, and where a record does not say which rows were right.
        """
        if self.correct is not None:
            return _root_in_points(Fraction(rows_variance(self.correct, self.passages)))
        return _root_in_points(self.accuracy * (1 - self.accuracy) / self.column.dev_rows)

    @property
    def interval(self) -> tuple[float, float]:
        """Return the 95 % interval of the accuracy, as shares of 1: over dev rows, and seeds if there are several."""
        if self.correct is not None:
            return accuracy_interval(self.correct, groups=self.passages)[:2]
        return wilson_interval(float(self.accuracy), self.column.dev_rows)

    @property
    def selection_bias(self) -> Decimal | None:
        """Return about how much choosing adds, in percentage points; None if a record says too little."""
        return None if self.bias is None else half_up(Decimal(self.bias) * 100) + 0  # no "-0.00"

    @property
    def selection_text(self) -> str:
        """Return the text `15 scores (≈ 0.22)`, `60 scores of 4 settings (≈ 0.71)`; a dash where nothing was chosen."""
        if self.dev_scores == 1:
            return MISSING
        bias = self.selection_bias
        chosen = f"{self.dev_scores} scores of {self.num_settings} settings"
        chosen = chosen if self.num_settings > 1 else f"{self.dev_scores} scores"
        return chosen if bias is None else f"{chosen} (≈ {bias})"

    @property
    def settings_text(self) -> str:
        """Return `3e-4, 500 updates of 32 rows, 128 tokens, dropout 0` and options that are on; a dash for a floor."""
        if self.is_floor:
            return MISSING
        rows, length, dropout = map(self.setting, ("batch_size", "max_length", "dropout"))
        batch = "" if rows == MISSING else f" of {rows} rows"
        parts = [self.setting("learning_rate"), f"{self.updates_text} updates{batch}"]
        parts += [] if length == MISSING else [f"{length} tokens"]
        parts += [] if dropout == MISSING else [f"dropout {dropout}"]
        return ", ".join([*parts, *self.options])

    @property
    def updates_text(self) -> str:
        """Return the updates of a whole run, `200–300` if seeds differ."""
        return range_text(self.total_steps)

    @property
    def options(self) -> list[str]:
        """Return the options that are on, as `r_drop_alpha 1`."""
        found = {key: value for key, value in self.effective.items() if key in OFF and value != OFF[key]}
        return [f"{key} {typed(value)}" for key, value in found.items()]

    def setting(self, name: str) -> str:
        """Return the value of a setting as it is typed; a dash where there is none."""
        value = self.effective.get(name)
        return MISSING if value is None or self.is_floor else typed(value)

    @property
    def commit_text(self) -> str:
        """Return the commits behind the cell, or a dash."""
        return ", ".join(filter(None, self.commits)) or MISSING

    @property
    def f1_text(self) -> str:
        """Return the F1; a dash where it means nothing."""
        return percent_text(percentage(self.macro_f1)) if score_names([self.kind])[1] else MISSING

    @property
    def is_majority(self) -> bool:
        """Return whether any of the runs is no better than always answering the most frequent class."""
        return MAJORITY_CLASS in dict(self.flags)


@dataclass(frozen=True)
class MeasuredModel:
    """A row of a measured table: one model (one set of weights, or one floor), cells by column name."""

    label: str
    name: str
    sha256: str
    is_floor: bool
    cells: dict[str, MeasuredCell]

    @property
    def parameters(self) -> tuple[int, ...]:
        """Return the distinct parameter counts, ascending: one for a checkpoint, one per task for a floor."""
        return tuple(sorted({cell.parameters for cell in self.cells.values()}))

    @property
    def score(self) -> Decimal | None:
        """Return the mean of the four columns of Score, None unless all are there."""
        return score_of(self.percents)

    @property
    def percents(self) -> dict[str, Decimal]:
        """Return the displayed accuracies by column name."""
        return {name: cell.percent for name, cell in self.cells.items()}


@dataclass(frozen=True)
class ColumnTests:
    """The paired tests of a column's models, by label: of all whose records say which rows were right."""

    labels: tuple[str, ...]
    untested: tuple[str, ...]
    tests: PairTests | None

    @property
    def one_seed(self) -> tuple[str, ...]:
        """Return the models with a single seed that no other model of the column says the variance of."""
        if self.tests is None:
            return ()
        is_unknown = np.isnan(self.tests.variance.diagonal())
        return tuple(label for label, unknown in zip(self.labels, is_unknown, strict=True) if unknown)

    def pair(self, label: str, other: str) -> PairTests | None:
        """Return the tests of two models; None if one of them is in no test, or varies nobody knows how."""
        if self.tests is None or {label, other} - set(self.labels) or {label, other} & set(self.one_seed):
            return None
        return self.tests.of([self.labels.index(label), self.labels.index(other)])


@dataclass(frozen=True)
class MeasuredTable:
    """One table: one data set, one revision per column.

    Models are sorted by descending Score, followed by those without one, and floors last.
    """

    dataset: str
    number: int
    columns: tuple[MeasuredColumn, ...]
    models: tuple[MeasuredModel, ...]

    @property
    def address(self) -> str:
        """Return the table's name in permalinks, which does not change when rows are added."""
        return f"{self.dataset}-{self.number}"

    @property
    def title(self) -> str:
        """Return which data the table is on."""
        names = {CLUE: "CLUE", SYNTHETIC: "synthetic data, not CLUE"}
        return f"Measured on {names.get(self.dataset, f'data “{self.dataset}”')} ({SPLIT})"

    @property
    def cells(self) -> list[MeasuredCell]:
        """Return all cells, row by row."""
        return [cell for model in self.models for cell in model.cells.values()]

    @cached_property
    def tests(self) -> dict[str, ColumnTests]:
        """Return the paired tests of every column by its name."""
        return {column.name: self._tests_of(column.name) for column in self.columns}

    def _tests_of(self, column: str) -> ColumnTests:
        cells = {model.label: model.cells[column] for model in self.models if column in model.cells}
        right = {label: cell.tested for label, cell in cells.items() if cell.tested is not None and cell.tested.size}
        untested = tuple(label for label in cells if label not in right)
        is_fixed = [cells[label].is_floor for label in right]
        groups = cells[next(iter(right))].tested_passages if right else None
        tests = pair_tests(list(right.values()), is_fixed=is_fixed, groups=groups) if right else None
        return ColumnTests(tuple(right), untested, tests)

    def floor_of(self, column: str) -> MeasuredModel | None:
        """Return the best floor of a column, the first row of equals; None if no floor was run on it."""
        floors = [model for model in self.models if model.is_floor and column in model.cells]
        return max(floors, key=lambda model: model.cells[column].ranked_accuracy, default=None)

    def over_floor(self, cell: MeasuredCell) -> Fraction | None:
        """Return by what share of 1 a model exceeds the best floor; None for a floor, or if none was run.

        On the clean rows, unless one of the two does not say which of them were right.
        """
        floor = self.floor_of(cell.column.name)
        if cell.is_floor or floor is None:
            return None
        other = floor.cells[cell.column.name]
        if cell.clean_accuracy is None or other.clean_accuracy is None:
            return cell.accuracy - other.accuracy
        return cell.clean_accuracy - other.clean_accuracy

    def misses_floor(self, cell: MeasuredCell) -> bool:
        """Return whether a floor was run on the cell's column and the model is no better."""
        over = self.over_floor(cell)
        return over is not None and over <= 0

    def over_floor_text(self, cell: MeasuredCell) -> str:
        """Return `+3.42 (TF-IDF + 线性)`: percentage points, and above which floor."""
        floor, over = self.floor_of(cell.column.name), self.over_floor(cell)
        if floor is None:
            return NO_FLOOR
        if over is None:
            return IS_FLOOR
        return f"{half_up(over * 100):+}{FLOOR_MARK if over <= 0 else ''} ({floor.label})"

    def mark(self, cell: MeasuredCell) -> str:
        """Return the marks behind a number: no better than the majority class, no better than the floor."""
        return MAJORITY_MARK * cell.is_majority + FLOOR_MARK * self.misses_floor(cell)


def range_text(steps: Sequence[int]) -> str:
    """Return `200`, or `200–300` if seeds differ."""
    return "–".join(map(str, sorted({min(steps), max(steps)})))


def cell_address(table: str, row: str, column: str) -> str:
    """Return the permalink name of a cell, made of its table's address, its row's displayed name and its column."""
    return f"{table}/{row}/{column}"


def mean_of_shares(shares: Iterable[Fraction]) -> Fraction:
    """Return the mean of exact shares."""
    values = list(shares)
    return sum(values, Fraction(0)) / len(values)


def _root_in_points(variance: Fraction) -> Decimal:
    """Return the square root of a variance of shares, in percentage points with two decimals."""
    return half_up((Decimal(variance.numerator) / Decimal(variance.denominator)).sqrt() * 100)
