"""Rank the models of a table by paired tests: a rank is the range of places that the tests leave open.

Input: a measured table. Output: `Ranks` of every column, and of Score if all of its columns can be tested. A test needs
to know which dev rows were right; a model whose record does not say has no rank, and the others are ranked without it.

1. One run against one: McNemar's exact test. Otherwise Welch's t-test on rows and seeds. Score: the same on the mean of
   the columns, whose rows and seeds have nothing in common.
2. Holm's correction for all pairs of the column; two models are separated below ALPHA, or if a third one between them
   is separated from both: if Holm's conclusions all hold, so does this one.
3. A model's rank ranges from 1 + the number of models that are separated from it and better, to the number of all
   models minus those that are separated from it and worse. Two models that are not separated have a place in common.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from clue_bench.leaderboards.cells import MeasuredCell, MeasuredTable
from clue_bench.leaderboards.scores import SCORE, SCORE_COLUMNS
from clue_bench.stats.significance import (
    Floats,
    PairVariances,
    holm,
    pair_p_values,
    pair_variances,
    variances_of_mean,
    welch_p_values,
)
from clue_bench.tables import MISSING

ALPHA = 0.05

NO_TEST = "no test"
RANK_NOTE = (
    "Rank: the places that paired tests leave open, 2–4 from the second to the fourth; ranges without a place in "
    "common belong to models that tests separate. Tests: McNemar's, exact, of one run against one, which says nothing "
    "of other seeds; otherwise Welch's t-test, where the variance of a difference is that over dev rows, paired, plus "
    "that of each model's mean over its seeds (a model with one seed is taken to vary as the other does; floors do "
    f"not vary), with Satterthwaite's degrees of freedom. Two models are separated at p < {ALPHA} after Holm's "
    "correction for all pairs of the column, or by a third between them that is separated from both. Two seeds are "
    "few for this test: where they vary far more than rows do, it is wrong more often than that."
)
NO_TEST_NOTE = "no test: a record of the model does not say which rows were right, so it is in no test and no rank."


@dataclass(frozen=True)
class Rank:
    """A model's place among `of` tested ones: from `first` to `last`, as far as the tests can say."""

    first: int
    last: int
    of: int

    @property
    def text(self) -> str:
        """Return `1–6` or `3`."""
        return str(self.first) if self.first == self.last else f"{self.first}–{self.last}"


@dataclass(frozen=True)
class Pair:
    """Two tested models, the one with the higher accuracy first, and the p-value, adjusted for all pairs.

    `is_separated`: the difference is more than chance, by its own p-value or by a third model between the two.
    """

    better: str
    worse: str
    p_value: float
    is_separated: bool


@dataclass(frozen=True)
class Ranks:
    """The ranks of one column by the models' labels. `untested` are models whose records are too old for a test."""

    column: str
    by_model: Mapping[str, Rank]
    untested: tuple[str, ...]
    pairs: tuple[Pair, ...]

    def text(self, model: str) -> str:
        """Return a model's entry in the table of ranks: a rank, why there is none, or a dash without a cell."""
        rank = self.by_model.get(model)
        if rank is not None:
            return rank.text if rank.of > 1 else MISSING
        return NO_TEST if model in self.untested else MISSING

    def rank_text(self, model: str) -> str:
        """Return `1–3/5`, "" where no two models were tested."""
        rank = self.by_model.get(model)
        return f"{rank.text}/{rank.of}" if rank is not None and rank.of > 1 else ""

    def to_json(self) -> dict[str, Any]:
        """Return ranks and pairs as plain values."""
        return {
            "ranks": {model: {"first": r.first, "last": r.last, "of": r.of} for model, r in self.by_model.items()},
            "untested": list(self.untested),
            "pairs": [
                {"better": p.better, "worse": p.worse, "p": round(p.p_value, 5), "separated": p.is_separated}
                for p in self.pairs
            ],
        }


@dataclass(frozen=True)
class _Tested:
    """The models of a column that can be tested, and the variances of their differences."""

    ranks: Ranks
    labels: list[str]
    variances: PairVariances


def ranks_of(table: MeasuredTable) -> list[Ranks]:
    """Return the ranks of every column, those of Score first if the table has one and all four can be tested."""
    tested = [_tested(table, column.name) for column in table.columns]
    score = _score_ranks(table, tested)
    return [*([score] if score is not None else []), *(of_column.ranks for of_column in tested)]


def _tested(table: MeasuredTable, column: str) -> _Tested:
    """Return the tests of one column."""
    cells = {model.label: model.cells[column] for model in table.models if column in model.cells}
    right = {label: cell.correct for label, cell in cells.items() if cell.correct is not None}
    labels, untested = list(right), tuple(label for label in cells if label not in right)
    accuracies = np.array([float(cells[label].accuracy) for label in labels])
    variances = PairVariances(np.zeros((len(labels),) * 2), np.zeros((len(labels),) * 2))
    p_values = np.ones((len(labels),) * 2)
    if len(labels) > 1:
        models = list(right.values())
        variances = pair_variances(models, is_fixed=[cells[label].is_floor for label in labels])
        p_values = pair_p_values(models, accuracies, variances)
    return _Tested(_ranks(column, labels, accuracies, p_values, untested), labels, variances)


def _score_ranks(table: MeasuredTable, tested: Sequence[_Tested]) -> Ranks | None:
    """Return the ranks by Score; None unless two models can be tested on all of its columns."""
    of_score = [of_column for of_column in tested if of_column.ranks.column in SCORE_COLUMNS]
    whole = {m.label: m for m in table.models if all(column in m.cells for column in SCORE_COLUMNS)}
    labels = [label for label in whole if all(label in of_column.labels for of_column in of_score)]
    if len(of_score) < len(SCORE_COLUMNS) or len(labels) < 2:
        return None
    variances = variances_of_mean([_of_models(of_column, labels) for of_column in of_score])
    accuracies = np.array([_mean_accuracy(whole[label].cells) for label in labels])
    untested = tuple(label for label in whole if label not in labels)
    return _ranks(SCORE, labels, accuracies, welch_p_values(accuracies, variances), untested)


def _of_models(of_column: _Tested, labels: Sequence[str]) -> PairVariances:
    """Return the variances of the given models only, in their order."""
    places = [of_column.labels.index(label) for label in labels]
    variance, uncertainty = of_column.variances
    return PairVariances(variance[np.ix_(places, places)], uncertainty[np.ix_(places, places)])


def _mean_accuracy(cells: Mapping[str, MeasuredCell]) -> float:
    return sum(float(cells[column].accuracy) for column in SCORE_COLUMNS) / len(SCORE_COLUMNS)


def _ranks(
    column: str, labels: Sequence[str], accuracies: Floats, p_values: Floats, untested: tuple[str, ...]
) -> Ranks:
    """Return the ranks that the tests allow."""
    order = sorted(range(len(labels)), key=lambda number: (-accuracies[number], labels[number]))
    places = list(combinations(range(len(order)), 2))
    adjusted = holm([float(p_values[order[above], order[below]]) for above, below in places])
    separated = np.zeros((len(order), len(order)), dtype=np.bool_)
    for (above, below), p_value in zip(places, adjusted, strict=True):
        separated[above, below] = p_value < ALPHA
    separated = _with_implied(separated)
    better, worse = separated.sum(axis=0), separated.sum(axis=1)
    by_model = {
        labels[number]: Rank(1 + int(better[place]), len(order) - int(worse[place]), len(order))
        for place, number in enumerate(order)
    }
    pairs = tuple(
        Pair(labels[order[above]], labels[order[below]], p_value, bool(separated[above, below]))
        for (above, below), p_value in zip(places, adjusted, strict=True)
    )
    return Ranks(column, by_model, untested, pairs)


def _with_implied(separated: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return `separated` (better, worse) with what follows from it, if A is above B and B above C."""
    for between in range(len(separated)):
        separated = separated | np.outer(separated[:, between], separated[between])
    return separated
