"""Ranks of the models of a table, from paired tests: what no test separates shares a rank.

Enters: a measured table. Leaves: `Ranks` of every column, and of Score where all of its columns can be tested. A test
needs to know which dev rows were right; where a record does not say, its model has no rank, and the others are ranked
without it.

1. One run against one: McNemar's exact test. Otherwise the bootstrap over rows and seeds. Score: the bootstrap on the
   mean of the columns, which are redrawn each for itself.
2. Holm's correction for all pairs of the column; two models are separated below ALPHA.
3. From the highest accuracy down, a new rank begins only where every model above is separated from every one below. So
   two models that are not separated never have different ranks; two of one rank may be separated, with a third between.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from clue_bench.board.measured.cells import Cell, MeasuredTable
from clue_bench.board.scores import MISSING, SCORE, SCORE_COLUMNS
from clue_bench.significance import DRAWS, Bools, holm, joint_draws, mcnemar, pair_p_values

Floats = npt.NDArray[np.float64]

ALPHA = 0.05
DRAWS_PER_PAIR = 40  # a p-value is at least 1 / draws: twice as fine as Holm's first step asks for
SEED = 0

NO_TEST = "no test"
RANK_NOTE = (
    "Models share a rank (=) where no paired test separates all above from all below. Tests: McNemar's, exact, of one "
    "run against one; otherwise a bootstrap over the dev rows, the same for both, and over seeds; "
    f"p < {ALPHA} after Holm's correction for all pairs of the column. With a third model between them, two of one "
    "rank may still differ."
)
NO_TEST_NOTE = "no test: a record of the model does not say which rows were right, so it is in no test and no rank."


@dataclass(frozen=True)
class Rank:
    """A model's place among `of` tested ones; `is_shared` if another has it too."""

    place: int
    is_shared: bool
    of: int

    @property
    def text(self) -> str:
        """`=1` or `3`."""
        return f"{'=' if self.is_shared else ''}{self.place}"


@dataclass(frozen=True)
class Pair:
    """Two tested models, the one with the higher accuracy first, and the p-value, adjusted for all pairs."""

    better: str
    worse: str
    p_value: float

    @property
    def is_separated(self) -> bool:
        """Whether the difference is more than chance."""
        return self.p_value < ALPHA


@dataclass(frozen=True)
class Ranks:
    """Ranks of one column by the models' labels. `untested` are models whose records are too old for a test."""

    column: str
    by_model: Mapping[str, Rank]
    untested: tuple[str, ...]
    pairs: tuple[Pair, ...]

    def text(self, model: str) -> str:
        """Return what stands in the table of ranks: a rank, why there is none, or a dash for a model without a cell."""
        rank = self.by_model.get(model)
        if rank is not None:
            return rank.text if rank.of > 1 else MISSING
        return NO_TEST if model in self.untested else MISSING

    def as_json(self) -> dict[str, Any]:
        """Return ranks and pairs as plain values."""
        return {
            "ranks": {
                model: {"rank": r.place, "shared": r.is_shared, "of": r.of} for model, r in self.by_model.items()
            },
            "untested": list(self.untested),
            "pairs": [
                {"better": p.better, "worse": p.worse, "p": round(p.p_value, 5), "separated": p.is_separated}
                for p in self.pairs
            ],
        }


def ranks_of(table: MeasuredTable) -> list[Ranks]:
    """Return the ranks of every column, those of Score first where the table has one and all four can be tested."""
    pairs = len(table.models) * (len(table.models) - 1) // 2
    draws = max(DRAWS, DRAWS_PER_PAIR * pairs)
    tested: list[tuple[Ranks, dict[str, int], Floats]] = []
    for place, column in enumerate(table.columns):
        cells = {model.label: model.cells[column.name] for model in table.models if column.name in model.cells}
        right = {label: cell.correct for label, cell in cells.items() if cell.correct is not None}
        untested = tuple(label for label in cells if label not in right)
        drawn = np.empty((draws, 0))
        if len(right) > 1:
            drawn = joint_draws(list(right.values()), draws=draws, seed=SEED + place)
        accuracies = np.array([float(cells[label].accuracy) for label in right])
        p_values = _p_values(list(right.values()), accuracies, drawn)
        ranks = _ranks(column.name, list(right), accuracies, p_values, untested)
        tested.append((ranks, {label: number for number, label in enumerate(right)}, drawn))
    score = _score_ranks(table, tested)
    return [*([score] if score is not None else []), *(ranks for ranks, _, _ in tested)]


def _score_ranks(table: MeasuredTable, tested: Sequence[tuple[Ranks, dict[str, int], Floats]]) -> Ranks | None:
    """Return the ranks by Score; None unless two models can be tested on all of its columns."""
    of_score = [entry for entry in tested if entry[0].column in SCORE_COLUMNS]
    whole = {m.label: m for m in table.models if all(column in m.cells for column in SCORE_COLUMNS)}
    labels = [label for label in whole if all(label in places for _, places, _ in of_score)]
    if len(of_score) < len(SCORE_COLUMNS) or len(labels) < 2:
        return None
    drawn = np.mean([draws[:, [places[label] for label in labels]] for _, places, draws in of_score], axis=0)
    accuracies = np.array([_mean_accuracy(whole[label].cells) for label in labels])
    untested = tuple(label for label in whole if label not in labels)
    return _ranks(SCORE, labels, accuracies, pair_p_values(accuracies, drawn), untested)


def _mean_accuracy(cells: Mapping[str, Cell]) -> float:
    return sum(float(cells[column].accuracy) for column in SCORE_COLUMNS) / len(SCORE_COLUMNS)


def _p_values(models: Sequence[Bools], accuracies: Floats, drawn: Floats) -> Floats:
    """Return the p-value (models, models) of every pair, before any correction."""
    if len(models) < 2:
        return np.ones((len(models), len(models)))
    p_values = pair_p_values(accuracies, drawn)
    single = [number for number, correct in enumerate(models) if len(correct) == 1]
    for one, other in combinations(single, 2):
        exact = mcnemar(models[one], models[other]).p_value
        p_values[one, other] = p_values[other, one] = exact
    return p_values


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
    starts = [place for place in range(len(order)) if separated[:place, place:].all()]
    firsts = [max(start for start in starts if start <= place) for place in range(len(order))]
    by_model = {
        labels[number]: Rank(first + 1, firsts.count(first) > 1, len(order))
        for number, first in zip(order, firsts, strict=True)
    }
    pairs = tuple(
        Pair(labels[order[above]], labels[order[below]], p_value)
        for (above, below), p_value in zip(places, adjusted, strict=True)
    )
    return Ranks(column, by_model, untested, pairs)
