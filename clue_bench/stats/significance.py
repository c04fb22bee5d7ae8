"""Tell how certain a dev accuracy is, and whether two or more of them differ.

Input: which rows were right, one row of booleans per seed, (rows,) or (seeds, rows); or numbers whose mean is the
score, as `entity_scores.row_values` are. Output: intervals and p-values.

There is one variance, of a mean over seeds as of the difference of two of them on the same rows:

    rows + seeds − residual

Rows: the variance over rows of what is averaged over seeds, divided by the rows. Seeds: the variance of a model's
accuracies over its seeds, divided by the seeds. Residual: what a seed changes on single rows. It is a part of both, so
it is taken off once, from each model's seeds and never below 0. Where it is all that seeds do, the rows alone remain,
paired, averaged over seeds; where seeds move whole accuracies, it is next to nothing, and Welch's variance remains.
The t distribution's degrees of freedom are Satterthwaite's (1946), as in Welch's test (1947). How unsure the seeds'
part is of itself lies between the seeds' and that of what is left of them; √(left × seeds³) / (n − 1), found by
simulation, errs least on both sides. `tests/stats/test_simulation.py` holds how often all this is right,
docs/protocol.md has the table.

A single seed says nothing of others. It is taken to vary as the models beside it do, by their pooled seed variance;
without one beside it that has several seeds, no p-value is known (nan). What is `is_fixed`, made without any chance or
to be judged as it is, does not vary; of two such runs, McNemar's exact test is asked.

Questions on one passage are right or wrong together. Where `groups` say which rows these are, another draw of rows
is one of whole passages: their sums are what varies, there are as many as there are groups, and no exact test is left.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from clue_bench.errors import ClueBenchError

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Right = Bools | Floats
"""Which rows are right, or what each gives to a score."""
Groups = npt.NDArray[np.int64] | None
"""(rows,) the number of each row's group; None: every row is one."""

LEVEL = 0.95
ALPHA = 0.05  # a difference is told from chance below it
Z95 = 1.959963984540054  # of the normal distribution
LEAST_P = 0.0001  # below it, a p-value's digits say nothing
ROUNDING = 1e-12  # two differences closer than this are the same one
TINY = 1e-30  # the variance of a difference that nothing varies: far below that of a single row of any dev set


class ConfidenceInterval(NamedTuple):
    """An interval of shares of 1."""

    low: float
    high: float
    level: float


class Discordance(NamedTuple):
    """Rows that exactly one of two runs has right, and McNemar's p-value."""

    only_a: int
    only_b: int
    p_value: float


class PairedTest(NamedTuple):
    """A test of two models on the same rows: its name, and its two-sided p-value before any correction.

    `difference` is the accuracy of the one minus that of the other, as shares of 1.
    """

    name: str
    p_value: float
    difference: float
    interval: ConfidenceInterval


def mcnemar(a: Bools, b: Bools) -> Discordance:
    """Return McNemar's exact test for one run against one, (rows,) each.

    Two-sided: if the runs were equally good, each row that only one has right would be either's with probability 1/2.
    Raises ClueBenchError if the rows are not the same number, or none.
    """
    one, other = _by_seed(a), _by_seed(b)
    if one.shape != other.shape or len(one) != 1:
        raise ClueBenchError(
            f"McNemar's test compares one run with one on the same rows, found {one.shape} and {other.shape} "
            "(seeds, rows)",
            "compare several seeds by Welch's test",
        )
    p_value = float(mcnemar_p_values([one, other])[0, 1])
    return Discordance(int((one > other).sum()), int((other > one).sum()), p_value)


class PairTests(NamedTuple):
    """Of every pair of models (models, models): their difference as shares of 1, its variance, and the test.

    `uncertainty` is variance² / degrees of freedom; `exact` holds McNemar's p-value where both are fixed, else nan.
    """

    difference: Floats
    variance: Floats
    uncertainty: Floats
    exact: Floats
    is_grouped: bool = False

    @property
    def freedom(self) -> Floats:
        """Return the degrees of freedom of each variance."""
        freedom: Floats = np.maximum(self.variance, TINY) ** 2 / np.maximum(self.uncertainty, TINY**2)
        return freedom

    @property
    def p_values(self) -> Floats:
        """Return the two-sided p-values: McNemar's where exact, otherwise Welch's; nan where no seed is known."""
        from scipy import special

        error = np.sqrt(np.maximum(self.variance, TINY))
        p_values = 2 * special.stdtr(self.freedom, -np.abs(self.difference) / error)
        chosen: Floats = np.where(np.isnan(self.exact), p_values, self.exact)
        return chosen

    def margins(self, level: float = LEVEL) -> Floats:
        """Return half the width of each interval."""
        from scipy import special

        margins: Floats = special.stdtrit(self.freedom, (1 + level) / 2) * np.sqrt(self.variance)
        return margins

    def of(self, places: Sequence[int]) -> "PairTests":
        """Return the tests of the models at these places only, in their order."""
        at = np.ix_(places, places)
        return PairTests(self.difference[at], self.variance[at], self.uncertainty[at], self.exact[at], self.is_grouped)

    def test(self, one: int, other: int) -> PairedTest:
        """Return the test of one pair."""
        difference, margin = float(self.difference[one, other]), float(self.margins()[one, other])
        name = "Welch" if np.isnan(self.exact[one, other]) else "McNemar"
        name = "over passages" if self.is_grouped else name
        # With two seeds, few degrees of freedom make the margin exceed what two shares can differ by.
        interval = ConfidenceInterval(max(difference - margin, -1.0), min(difference + margin, 1.0), LEVEL)
        return PairedTest(name, float(self.p_values[one, other]), difference, interval)


class _Parts(NamedTuple):
    """What varies in models (models,) on the same rows; covariance (models, models) is that of their rows.

    Divided by the rows, it is the means'. There are `units` of them to draw: rows, or groups of rows.
    """

    accuracy: Floats
    covariance: Floats
    seeds: Floats  # of the mean over seeds, the residual included; 0 for one seed
    excess: Floats  # the same without the residual, not below 0
    num_seeds: npt.NDArray[np.int_]
    units: int


def pair_tests(models: Sequence[Right], *, is_fixed: Sequence[bool] | None = None, groups: Groups = None) -> PairTests:
    """Return the tests of every pair of models, all on the same rows; `is_fixed` models do not vary over seeds.

    Raises ClueBenchError if the models were not on the same number of rows, or on none.
    """
    by_model = [_by_seed(correct) for correct in models]
    rows = _same_rows(by_model)
    parts = _parts(by_model, groups)
    single = parts.num_seeds == 1
    fixed = single & np.array(is_fixed if is_fixed is not None else np.zeros(len(models)), dtype=np.bool_)
    pooled, pooled_freedom = _pooled_seed_variance(parts)
    borrows = single & ~fixed
    excess = np.where(borrows, pooled, parts.excess)
    seeds = np.where(borrows, pooled, parts.seeds)
    freedom = np.where(borrows, pooled_freedom, np.maximum(parts.num_seeds - 1, 1))
    own = parts.covariance.diagonal()
    of_rows = np.maximum(own[:, None] + own[None, :] - 2 * parts.covariance, 0.0) / rows
    of_seeds = excess[:, None] + excess[None, :]
    doubt = np.sqrt(excess * seeds**3) / freedom
    variance = of_rows + of_seeds
    exact = np.full_like(variance, np.nan)
    are_shares = all(correct.dtype == np.bool_ for correct in by_model)
    if groups is None and are_shares and (at := np.flatnonzero(fixed)).size > 1:
        exact[np.ix_(at, at)] = mcnemar_p_values([by_model[place] for place in at])
    difference = parts.accuracy[:, None] - parts.accuracy[None, :]
    difference[np.abs(difference) < ROUNDING] = 0.0
    uncertainty = of_rows**2 / max(parts.units - 1, 1) + doubt[:, None] + doubt[None, :]
    return PairTests(difference, variance, uncertainty, exact, groups is not None)


def mean_tests(columns: Sequence[PairTests]) -> PairTests:
    """Return the tests of the mean of columns whose rows and seeds have nothing in common."""
    number = len(columns)
    difference = np.sum([column.difference for column in columns], axis=0) / number
    variance = np.sum([column.variance for column in columns], axis=0) / number**2
    uncertainty = np.sum([column.uncertainty for column in columns], axis=0) / number**4
    difference[np.abs(difference) < ROUNDING] = 0.0
    return PairTests(difference, variance, uncertainty, np.full_like(variance, np.nan))


def paired_test(a: Right, b: Right, *, is_fixed: Sequence[bool] = (False, False), groups: Groups = None) -> PairedTest:
    """Return the test of A against B on the same rows, the same one that ranks the models of a leaderboard."""
    return pair_tests([a, b], is_fixed=is_fixed, groups=groups).test(0, 1)


def accuracy_interval(correct: Right, *, groups: Groups = None, level: float = LEVEL) -> ConfidenceInterval:
    """Return an interval of the mean accuracy over seeds: Wilson's, on as many rows as have the mean's variance.

    With one seed these are its rows, and the interval says nothing of another seed. Raises ClueBenchError: no rows.
    """
    correct = _by_seed(correct)
    parts, units = _parts([correct], groups), correct.shape[1] if groups is None else len(np.unique(groups))
    accuracy, excess, of_rows = float(parts.accuracy[0]), float(parts.excess[0]), rows_variance(correct, groups)
    variance = of_rows + excess
    doubt = math.sqrt(excess * float(parts.seeds[0]) ** 3) / max(len(correct) - 1, 1)
    doubt += 0.0 if groups is None else of_rows**2 / max(units - 1, 1)
    freedom = variance**2 / doubt if doubt else math.inf
    effective = accuracy * (1 - accuracy) / variance if variance else units
    low, high = wilson_interval(accuracy, effective, quantile=t_quantile((1 + level) / 2, freedom))
    return ConfidenceInterval(low, high, level)


def rows_variance(correct: Right, groups: Groups = None) -> float:
    """Return the variance that another draw of the same number of rows, or of groups, gives a mean over these seeds."""
    correct = _by_seed(correct)
    means = correct.mean(axis=0)
    return float(means.var() / len(means)) if groups is None else grouped_variance(means, groups)


def grouped_variance(values: Floats, groups: npt.NDArray[np.int64]) -> float:
    """Return the variance of the mean of `values` (rows,) of which those of a group are drawn together.

    It is that of a ratio of two sums over groups, the values and the rows.
    """
    sums = _sums(values[None] - values.mean(), groups)
    return float((sums**2).sum() * sums.shape[1] / max(sums.shape[1] - 1, 1) / len(values) ** 2)


def _sums(deviations: Floats, groups: npt.NDArray[np.int64]) -> Floats:
    """Return (models, groups) the sums of deviations (models, rows) over the rows of each group."""
    _, place = np.unique(groups, return_inverse=True)
    return np.stack([np.bincount(place, weights=each) for each in deviations])


def _parts(by_model: Sequence[Right], groups: Groups = None) -> _Parts:
    rows = by_model[0].shape[1]
    seeds = np.array([len(correct) for correct in by_model])
    means = np.stack([correct.mean(axis=0) for correct in by_model])
    accuracy = means.mean(axis=1)
    spread = np.array([correct.mean(axis=1).var(ddof=1) if len(correct) > 1 else 0.0 for correct in by_model])
    # The mean variance of a row over seeds.
    within = np.array([correct.var(axis=0).mean() for correct in by_model]) * seeds / np.maximum(seeds - 1, 1)
    residual = np.maximum(within - spread, 0.0) / max(rows - 1, 1)
    excess = np.maximum(spread - residual, 0.0) * (seeds > 1)
    centred = means - accuracy[:, None]
    summed = centred if groups is None else _sums(centred, groups)
    units = summed.shape[1]
    covariance = summed @ summed.T / max(units - 1, 1) * (units / rows)
    return _Parts(accuracy, covariance, spread / seeds, excess / seeds, seeds, units)


def _pooled_seed_variance(parts: _Parts) -> tuple[float, float]:
    """Return what another seed adds to the accuracy of one, over all models with several; nan if there is none."""
    freedom = parts.num_seeds - 1
    if not freedom.sum():
        return math.nan, 1.0
    return float((freedom * parts.excess * parts.num_seeds).sum() / freedom.sum()), float(freedom.sum())


def t_quantile(probability: float, freedom: float) -> float:
    """Return the quantile of Student's t distribution, the normal one's for infinite degrees of freedom."""
    from scipy import special

    return float(special.ndtri(probability) if np.isinf(freedom) else special.stdtrit(freedom, probability))


def mcnemar_p_values(runs: Sequence[Right]) -> Floats:
    """Return the p-value (runs, runs) of `mcnemar` of every pair of single runs (rows,) or (1, rows)."""
    from scipy import special

    by_run = [_by_seed(correct) for correct in runs]
    _same_rows(by_run)
    right = np.concatenate(by_run).astype(np.float64)
    only_this = right.sum(axis=1)[:, None] - right @ right.T
    discordant = (only_this + only_this.T).astype(np.int_)
    p_values: Floats = np.minimum(1.0, 2 * special.bdtr(np.minimum(only_this, only_this.T), discordant, 0.5))
    return p_values


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number (Holm 1979): below alpha, none at all is wrong but with that chance."""
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    adjusted = [1.0] * len(p_values)
    largest = 0.0
    for place, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def wilson_interval(share: float, rows: float, *, quantile: float = Z95) -> tuple[float, float]:
    """Return the interval of a share of `rows` independent rows (Wilson's score interval), 95 % by default."""
    middle = share + quantile**2 / (2 * rows)
    width = quantile * math.sqrt(share * (1 - share) / rows + quantile**2 / (4 * rows**2))
    scale = 1 + quantile**2 / rows
    return max(0.0, (middle - width) / scale), min(1.0, (middle + width) / scale)


def p_text(p_value: float) -> str:
    """Return "= 0.0123" or "< 0.0001"."""
    return f"= {p_value:.4f}" if p_value >= LEAST_P else f"< {LEAST_P}"


def _by_seed(correct: Right) -> Right:
    """Return (seeds, rows)."""
    found: npt.NDArray[Any] = np.atleast_2d(np.asarray(correct))
    if not found.size:
        raise ClueBenchError("no rows: an accuracy over nothing is none", "give a run that predicted something")
    return found if found.dtype.kind == "f" else found.astype(np.bool_)


def _same_rows(models: Sequence[Right]) -> int:
    """Return the number of rows of all `models`. Raises ClueBenchError unless it is the same."""
    numbers: set[int] = {correct.shape[1] for correct in models}
    if len(numbers) != 1:
        raise ClueBenchError(f"cannot pair models on {sorted(numbers)} rows", "compare runs on the same rows")
    return numbers.pop()
