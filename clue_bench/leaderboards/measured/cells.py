"""The frame of runs as tables of cells.

Input: the frame of `frames`. Output: `MeasuredTable`s. A cell is one model on one task and one data revision: the mean
over seeds of the setting that did best, with everything a reader needs to judge it. A seed counts once: of several runs
of one seed, the first by run_id, and the others are named.

Tables never mix: runs are first grouped by data set ("clue", "synthetic", …), and within one table a column holds one
task, one data revision and one number of dev rows only. Of several, the official one goes to the first table, the
others, in alphabetical order, to tables of their own.

A floor is a model without any pretraining. It is a row like the others, below them, and what each cell of its column is
held against: never one of another revision or another number of rows.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from clue_bench.doors import correct_rows
from clue_bench.doors.records import MAJORITY_CLASS, OFFICIAL
from clue_bench.leaderboards.scores import COLUMN_ORDER, exact, half_up, percentage, score_of

CLUE = "clue"
SYNTHETIC = "synthetic"

FLOOR_LABELS = {"floor-majority": "多数类", "floor-tfidf": "TF-IDF + 线性"}
"""Name of a floor in records → shown name."""


@dataclass(frozen=True)
class Column:
    """A column of a measured table, and the only data that it may hold."""

    name: str
    task: str
    revision: str
    dev_rows: int

    @property
    def is_official(self) -> bool:
        """Whether the data is, byte for byte, what the task card describes."""
        return self.revision == OFFICIAL


@dataclass(frozen=True)
class Cell:
    """One model on one column. Shares are exact fractions of 1.

    `runs` are those of the best of `num_settings`, one per seed; `repeats` are further runs of these seeds, left out.
    """

    dataset: str
    model: str
    model_sha256: str
    parameters: int
    is_floor: bool
    column: Column
    runs: tuple[str, ...]
    repeats: tuple[str, ...]
    seeds: tuple[int, ...]
    settings: str
    num_settings: int
    accuracies: tuple[Fraction, ...]  # one per seed
    macro_f1: Fraction
    majority_shares: tuple[Fraction, ...]  # distinct; one, since the rows are the same
    best_steps: tuple[int, ...]
    total_steps: tuple[int, ...]
    commits: tuple[str, ...]
    flags: tuple[tuple[str, int], ...]  # flag, number of runs that have it
    dev_scores: int  # how many scores on dev the one shown was chosen from: of every setting, those of one run
    precisions: tuple[str, ...]
    machines: tuple[str, ...]
    pretraining_tokens: int | None
    other_files: str  # which files of the data are not the task card's, in words
    correct: npt.NDArray[np.bool_] | None = field(compare=False, repr=False)
    """Which dev rows are right (seeds, rows); None if one of the records does not say."""

    @property
    def accuracy(self) -> Fraction:
        """Mean over seeds."""
        return _mean(self.accuracies)

    @property
    def percent(self) -> Decimal:
        """The displayed accuracy."""
        return percentage(self.accuracy)

    @property
    def deviation(self) -> Decimal | None:
        """Sample standard deviation over seeds in percentage points; None for a single seed."""
        if len(self.accuracies) < 2:
            return None
        squares = sum(((share - self.accuracy) ** 2 for share in self.accuracies), Fraction(0))
        return _root_in_points(squares / (len(self.accuracies) - 1))

    @property
    def sampling_error(self) -> Decimal:
        """Binomial standard error (1 sigma) in percentage points: what another dev set of this size would change.

        More seeds do not shrink it: they all see the same rows.
        """
        return _root_in_points(self.accuracy * (1 - self.accuracy) / self.column.dev_rows)

    @property
    def is_majority(self) -> bool:
        """Whether any of the runs is no better than always answering the most frequent class."""
        return MAJORITY_CLASS in dict(self.flags)


@dataclass(frozen=True)
class MeasuredModel:
    """A row of a measured table: one model (one set of weights, or one floor), cells by column name."""

    label: str
    name: str
    sha256: str
    is_floor: bool
    cells: dict[str, Cell]

    @property
    def parameters(self) -> tuple[int, ...]:
        """Distinct parameter counts, rising: one for a checkpoint; a floor has as many as each task needs."""
        return _distinct(cell.parameters for cell in self.cells.values())

    @property
    def percents(self) -> dict[str, Decimal]:
        """The displayed accuracies by column name."""
        return {name: cell.percent for name, cell in self.cells.items()}


@dataclass(frozen=True)
class MeasuredTable:
    """One table: one data set, one revision per column.

    Models stand from the highest Score down, those without one after them, floors last.
    """

    dataset: str
    number: int
    columns: tuple[Column, ...]
    models: tuple[MeasuredModel, ...]

    def floor_of(self, column: str) -> MeasuredModel | None:
        """Return the best floor of a column, the first row of equals; None if no floor was run on it."""
        floors = [model for model in self.models if model.is_floor and column in model.cells]
        return max(floors, key=lambda model: model.cells[column].accuracy, default=None)


def measured_tables(frame: pd.DataFrame) -> list[MeasuredTable]:
    """Return the tables of all runs in `frame`: CLUE first, synthetic data last, each run in exactly one table."""
    frame = frame.assign(dataset=[*map(dataset_of, frame["data_name"], frame["data_revision"])])
    keys = ["dataset", "data_revision", "column", "task", "dev_rows", "model", "model_sha256"]
    cells = [_cell(runs) for _, runs in frame.groupby(keys, sort=True)]
    labels = _labels(cells)
    tables = []
    for dataset in sorted({cell.dataset for cell in cells}, key=lambda name: (name != CLUE, name == SYNTHETIC, name)):
        of_dataset = [cell for cell in cells if cell.dataset == dataset]
        places = _places({cell.column for cell in of_dataset})
        for number in range(1, max(places.values()) + 1):
            columns = tuple(column for column, place in places.items() if place == number)
            shown = [cell for cell in of_dataset if cell.column in columns]
            tables.append(MeasuredTable(dataset, number, columns, _models(shown, labels)))
    return tables


def dataset_of(data_name: str, data_revision: str) -> str:
    """Return the data set that a run belongs to: what calls itself synthetic anywhere is synthetic."""
    return SYNTHETIC if SYNTHETIC in (data_name, data_revision) else data_name


def _places(columns: Iterable[Column]) -> dict[Column, int]:
    """Return column → number of its table, in display order; official ones take theirs first."""
    order = {name: place for place, name in enumerate(COLUMN_ORDER)}
    taken: Counter[str] = Counter()
    places = {}
    for column in sorted(columns, key=lambda c: (not c.is_official, c.revision, -c.dev_rows, c.task)):
        taken[column.name] += 1
        places[column] = taken[column.name]
    return dict(sorted(places.items(), key=lambda item: (order.get(item[0].name, len(order)), item[0].name, item[1])))


def _models(cells: list[Cell], labels: dict[tuple[str, str], str]) -> tuple[MeasuredModel, ...]:
    """Return the rows that `cells` fill."""
    models = []
    for key in sorted({(cell.model, cell.model_sha256) for cell in cells}):
        own = [cell for cell in cells if (cell.model, cell.model_sha256) == key]
        by_column = {cell.column.name: cell for cell in own}
        assert len(by_column) == len(own), "two cells in one place"
        models.append(MeasuredModel(labels[key], *key, own[0].is_floor, by_column))
    return tuple(sorted(models, key=_rank))


def _rank(model: MeasuredModel) -> tuple[bool, bool, Decimal, int, str, str]:
    """Return the sorting key of a row: floor or not, Score, else how many columns there are, else the name."""
    score = score_of(model.percents)
    return (model.is_floor, score is None, -(score or Decimal(0)), -len(model.cells), model.name, model.sha256)


def _labels(cells: Iterable[Cell]) -> dict[tuple[str, str], str]:
    """Return (model, sha256) → shown name; two sets of weights under one name get the hash beside it."""
    names = {
        (cell.model, cell.model_sha256): FLOOR_LABELS.get(cell.model, cell.model) if cell.is_floor else cell.model
        for cell in cells
    }
    uses = Counter(names.values())
    return {key: name if uses[name] == 1 else f"{name} ({key[1][:7]})" for key, name in names.items()}


def _cell(runs: pd.DataFrame) -> Cell:
    """Return the cell of all runs of one model on one column: of the settings with the most seeds, the best mean.

    A search tries every setting with one seed and repeats the best with others: a single lucky seed of another setting
    does not stand against a mean over several.
    """
    settings = {
        str(name): group.drop_duplicates("seed").sort_values("seed")  # rows stand by run_id
        for name, group in runs.groupby("settings", sort=True)
    }
    accuracies = {name: _accuracies(group) for name, group in settings.items()}
    most = max(map(len, accuracies.values()))
    repeated = [name for name in settings if len(accuracies[name]) == most]
    best = min(repeated, key=lambda name: (-_mean(accuracies[name]), name))
    chosen = settings[best]
    first: dict[Any, Any] = chosen.iloc[0].to_dict()
    return Cell(
        dataset=first["dataset"],
        model=first["model"],
        model_sha256=first["model_sha256"],
        parameters=first["parameters"],
        is_floor=first["is_floor"],
        column=Column(first["column"], first["task"], first["data_revision"], first["dev_rows"]),
        runs=tuple(chosen["run_id"]),
        repeats=_distinct(set(runs["run_id"][runs["settings"] == best]) - set(chosen["run_id"])),
        seeds=tuple(chosen["seed"]),
        settings=best,
        num_settings=len(settings),
        accuracies=accuracies[best],
        macro_f1=_mean(map(exact, chosen["macro_f1"])),
        majority_shares=_distinct(map(exact, chosen["majority_share"])),
        best_steps=_distinct(chosen["best_step"]),
        total_steps=_distinct(chosen["total_steps"]),
        commits=_distinct(map(_commit_text, chosen["commit"], chosen["dirty"], chosen["version"])),
        flags=tuple(sorted(Counter(flag for flags in chosen["flags"] for flag in flags).items())),
        dev_scores=sum(max(group["dev_scores"]) for group in settings.values()),
        precisions=_distinct(filter(None, chosen["precision"])),
        machines=_distinct(filter(None, chosen["machine"])),
        pretraining_tokens=first["pretraining_tokens"],
        other_files=first["other_files"],
        correct=_correct(chosen),
    )


def _correct(runs: pd.DataFrame) -> npt.NDArray[np.bool_] | None:
    """Return which dev rows each run has right; None if one of the records lacks it."""
    if any(packed is None for packed in runs["dev_correct"]):
        return None
    return np.array([correct_rows.unpack(packed) for packed in runs["dev_correct"]], dtype=np.bool_)


def _accuracies(runs: pd.DataFrame) -> tuple[Fraction, ...]:
    """Return the accuracy of each run."""
    return tuple(map(Fraction, runs["correct"], runs["dev_rows"]))


def _commit_text(commit: str, dirty: bool, version: str) -> str:
    """Return the commit, 7 characters and `+dirty`, or the version where the code was no git checkout."""
    if not commit:
        return f"v{version}" if version else ""
    return commit[:7] + ("+dirty" if dirty else "")


def _mean(shares: Iterable[Fraction]) -> Fraction:
    values = list(shares)
    return sum(values, Fraction(0)) / len(values)


def _distinct(values: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(sorted(set(values)))


def _root_in_points(variance: Fraction) -> Decimal:
    """Return the square root of a variance of shares, in percentage points with two decimals."""
    return half_up((Decimal(variance.numerator) / Decimal(variance.denominator)).sqrt() * 100)
