"""Rank the models of a table by paired tests: a rank is the range of places that the tests leave open.

Input: a measured table. Output: `Ranks` of every column, and of Score if all of its columns can be tested. A test needs
to know which dev rows were right, and what another seed would do; a model whose records do not say has no rank, and the
others are ranked without it.

1. The paired test of rows and seeds (`stats.significance`). Score: the same on the mean of the columns, whose rows and
   seeds have nothing in common. A single seed varies as the pooled seeds of the column do.
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

from clue_bench.leaderboards.cells import ColumnTests, MeasuredTable
from clue_bench.leaderboards.scores import SCORE, SCORE_COLUMNS
from clue_bench.stats.significance import ALPHA, PairTests, holm, mean_tests
from clue_bench.tables import MISSING

NO_TEST, ONE_SEED = "no test", "one seed"
RANK_NOTE = (
    "Rank: the places that paired tests leave open, 2–4 from the second to the fourth; ranges without a place in "
    "common belong to models that tests separate. Test: Student's t, where the variance of a difference is that over "
    "dev rows, paired, plus that of each model's mean over its seeds, minus what both hold, the noise of seeds on "
    "single rows. A model with one seed is taken to vary as the models with several do, pooled over the column; "
    "floors do not vary, and two of them are tested by McNemar's exact test. Two models are separated at "
    f"p < {ALPHA} after Holm's correction for all pairs of the column, or by a third between them that is separated "
    "from both."
)
NO_TEST_NOTE = "no test: a record of the model does not say which rows were right, so it is in no test and no rank."
ONE_SEED_NOTE = (
    "one seed: a single seed ranks nothing, and no other model of the column has several, whose variance it could have."
)


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
    one_seed: tuple[str, ...] = ()

    def text(self, model: str) -> str:
        """Return a model's entry in the table of ranks: a rank, why there is none, or a dash without a cell."""
        rank = self.by_model.get(model)
        if rank is not None:
            return rank.text if rank.of > 1 else MISSING
        return NO_TEST if model in self.untested else ONE_SEED if model in self.one_seed else MISSING

    def rank_text(self, model: str) -> str:
        """Return `1–3/5`, "" where no two models were tested."""
        rank = self.by_model.get(model)
        return f"{rank.text}/{rank.of}" if rank is not None and rank.of > 1 else ""

    def to_json(self) -> dict[str, Any]:
        """Return ranks and pairs as plain values."""
        return {
            "ranks": {model: {"first": r.first, "last": r.last, "of": r.of} for model, r in self.by_model.items()},
            "untested": list(self.untested),
            "one_seed": list(self.one_seed),
            "pairs": [
                {"better": p.better, "worse": p.worse, "p": round(p.p_value, 5), "separated": p.is_separated}
                for p in self.pairs
            ],
        }


def ranks_of(table: MeasuredTable) -> list[Ranks]:
    """Return the ranks of every column, those of Score first if the table has one and all four can be tested."""
    score = _score_ranks(table)
    of_columns = [_column_ranks(column.name, table.tests[column.name]) for column in table.columns]
    return [*([score] if score is not None else []), *of_columns]


def _column_ranks(column: str, tested: ColumnTests) -> Ranks:
    """Return the ranks of one column: without the models whose seeds nobody knows."""
    labels = [label for label in tested.labels if label not in tested.one_seed]
    if tested.tests is None or not labels:
        return Ranks(column, {}, tested.untested, (), tested.one_seed)
    tests = tested.tests.of([tested.labels.index(label) for label in labels])
    return _ranks(column, labels, tests, tested.untested, tested.one_seed)


def _score_ranks(table: MeasuredTable) -> Ranks | None:
    """Return the ranks by Score; None unless two models can be tested on all of its columns."""
    of_score = [table.tests[name] for name in SCORE_COLUMNS if name in table.tests]
    whole = [m.label for m in table.models if all(column in m.cells for column in SCORE_COLUMNS)]
    labels = [label for label in whole if all(label in tested.labels for tested in of_score)]
    one_seed = tuple(label for label in labels if any(label in tested.one_seed for tested in of_score))
    known = [label for label in labels if label not in one_seed]
    if len(of_score) < len(SCORE_COLUMNS) or len(known) < 2:
        return None
    columns = [
        tested.tests.of([tested.labels.index(label) for label in known])
        for tested in of_score
        if tested.tests is not None
    ]
    return _ranks(SCORE, known, mean_tests(columns), tuple(label for label in whole if label not in labels), one_seed)


def _ranks(
    column: str, labels: Sequence[str], tests: PairTests, untested: tuple[str, ...], one_seed: tuple[str, ...] = ()
) -> Ranks:
    """Return the ranks that the tests allow."""
    lead = tests.difference.sum(axis=1)  # over all others: in the order of the accuracies
    order = sorted(range(len(labels)), key=lambda number: (-round(lead[number], 12), labels[number]))
    places, p_values = list(combinations(range(len(order)), 2)), tests.p_values
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
    return Ranks(column, by_model, untested, pairs, one_seed)


def _with_implied(separated: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return `separated` (better, worse) with what follows from it, if A is above B and B above C."""
    for between in range(len(separated)):
        separated = separated | np.outer(separated[:, between], separated[between])
    return separated
