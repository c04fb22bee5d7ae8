"""Tell how certain a dev accuracy is, and whether two or more of them differ.

Input: which rows were right, one row of booleans per seed, (rows,) or (seeds, rows). Output: intervals and p-values.

Of one model or one pair, the bootstrap is hierarchical: rows are redrawn, the same rows for every seed of every side,
and then seeds, for each side alone. With a single seed on a side only the rows are redrawn: the interval then says what
another dev set of this size would change, and nothing about another seed. A handful of seeds, redrawn, varies less than
seeds do (by the factor √((n-1)/n)), and never beyond the best and the worst of them: where seeds vary more than rows,
`paired_bootstrap` is too sure. Of simulated equal models with three seeds (sd 2.5 points, 10,000 rows) it called 18 %
different at p < 0.05; so `compare` asks Welch's test too.

Of many models (`pair_variances`, `welch_p_values`) the seeds' part is Welch's t-test instead: the variance of a
difference is that of the rows plus that of each side's seeds, with Satterthwaite's degrees of freedom (Satterthwaite
1946, Welch 1947), so that a few seeds separate only what a few seeds can. What a seed changes on single rows counts in
both parts, which errs on the careful side. Two seeds are too few for it far out in the tails: of five equal models with
two seeds that vary far more than rows (sd 2.5 points on 1,500 rows), after Holm some pair was separated in 13 % of the
simulated tables, with three seeds in 6 %; of single pairs, in 5 % and 4 %.
"""

import math
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from clue_bench.errors import ClueBenchError

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

LEVEL = 0.95
Z95 = 1.959963984540054  # of the normal distribution
LEAST_P = 0.0001  # below it a p-value of 10,000 draws says no more than that
DRAWS = 10_000
DRAWS_AT_ONCE = 500  # bounds the memory: so many draws times the distinct patterns, at most the rows
ROUNDING = 1e-12  # two differences closer than this are the same one
TINY = 1e-30  # the variance of a difference that nothing varies: far below that of a single row of any dev set


class ConfidenceInterval(NamedTuple):
    """A percentile interval of shares of 1."""

    low: float
    high: float
    level: float
    draws: int


class Discordance(NamedTuple):
    """Rows that exactly one of two runs has right, and McNemar's p-value."""

    only_a: int
    only_b: int
    p_value: float


class PairedTest(NamedTuple):
    """A test of two models on the same rows: its name, and its two-sided p-value before any correction."""

    name: str
    p_value: float


class PairedDifference(NamedTuple):
    """Accuracy of A minus accuracy of B, as shares of 1; `p_value` is two-sided."""

    difference: float
    interval: ConfidenceInterval
    p_value: float


def bootstrap_interval(correct: Bools, *, level: float = LEVEL, draws: int = DRAWS, seed: int) -> ConfidenceInterval:
    """Return the percentile bootstrap interval of the mean accuracy over seeds and rows.

    For one seed, redrawing n rows of which k are right is a draw from Binomial(n, k/n), and nothing else is computed.
    Raises ClueBenchError if there are no rows.
    """
    correct = _by_seed(correct)
    rng = np.random.default_rng(seed)
    means = _means(_redrawn_accuracies(correct, draws=draws, rng=rng), rng=rng)
    return _percentiles(means, level)


def mcnemar(a: Bools, b: Bools) -> Discordance:
    """Return McNemar's exact test for one run against one, (rows,) each.

    Two-sided: if the runs were equally good, each row that only one has right would be either's with probability 1/2.
    Raises ClueBenchError if the rows are not the same number, or none.
    """
    a, b = _by_seed(a), _by_seed(b)
    if a.shape != b.shape or len(a) != 1:
        raise ClueBenchError(
            f"McNemar's test compares one run with one on the same rows, found {a.shape} and {b.shape} (seeds, rows)",
            "use the paired bootstrap to compare several seeds",
        )
    return Discordance(int((a & ~b).sum()), int((b & ~a).sum()), float(mcnemar_p_values([a, b])[0, 1]))


def paired_bootstrap(a: Bools, b: Bools, *, level: float = LEVEL, draws: int = DRAWS, seed: int) -> PairedDifference:
    """Return the difference of mean accuracy of A and B on the same rows, its interval, and a p-value.

    The p-value is that of the bootstrap shifted to no difference (Efron and Tibshirani 1993, ch. 16; Berg-Kirkpatrick
    et al. 2012): the share of draws that lie as far from the observed difference as that lies from 0, in either
    direction; one is added to both counts, so that it is never 0. Raises ClueBenchError if the rows are not the same
    number, or none. With a few seeds that vary a lot, it is too sure of itself (see above).
    """
    a, b = _by_seed(a), _by_seed(b)
    if a.shape[1] != b.shape[1]:
        raise ClueBenchError(f"cannot pair {a.shape[1]:,} rows with {b.shape[1]:,}", "compare runs on the same rows")
    observed = float(a.mean() - b.mean())
    rng = np.random.default_rng(seed)
    accuracies = _redrawn_accuracies(np.concatenate([a, b]), draws=draws, rng=rng)
    drawn = _means(accuracies[:, : len(a)], rng=rng) - _means(accuracies[:, len(a) :], rng=rng)
    as_far = int((np.abs(drawn - observed) >= abs(observed) - ROUNDING).sum())
    return PairedDifference(observed, _percentiles(drawn, level), (1 + as_far) / (1 + draws))


class PairVariances(NamedTuple):
    """Of every pair of models (models, models): the variance of their difference, and of that variance's estimate."""

    variance: Floats
    uncertainty: Floats  # halved: the sum of part² / degrees of freedom, as Satterthwaite's formula has it


def pair_variances(models: Sequence[Bools], *, is_fixed: Sequence[bool] | None = None) -> PairVariances:
    """Return what rows and seeds add to the difference of every pair of models, all on the same rows.

    A model with a single seed is taken to vary over seeds as the other of the pair does, unless it `is_fixed`: made
    without any chance. Of two single seeds, the rows alone count. Raises ClueBenchError if the models were not on the
    same number of rows, or on none.
    """
    by_model = [_by_seed(correct) for correct in models]
    rows = _same_rows(by_model)
    freedom = max(rows - 1, 1)
    means = np.stack([correct.mean(axis=0) for correct in by_model])
    means -= means.mean(axis=1, keepdims=True)
    covariance = means @ means.T / freedom
    own = covariance.diagonal()
    of_rows = np.maximum(own[:, None] + own[None, :] - 2 * covariance, 0.0) / rows
    seeds = np.array([len(correct) for correct in by_model])
    spread = np.array([correct.mean(axis=1).var(ddof=1) if len(correct) > 1 else 0.0 for correct in by_model])
    divisor = np.maximum(seeds - 1, 1)
    borrows = (seeds == 1) & ~np.array(is_fixed if is_fixed is not None else np.zeros(len(seeds), dtype=np.bool_))
    # (this, other): the other's variance counts once for its own mean, and once more for a single seed of this one.
    of_other = spread * (1 / seeds + borrows[:, None])
    of_seeds = of_other**2 / divisor
    return PairVariances(of_rows + of_other + of_other.T, of_rows**2 / freedom + of_seeds + of_seeds.T)


def variances_of_mean(columns: Sequence[PairVariances]) -> PairVariances:
    """Return what `pair_variances` would be of the mean of columns whose rows and seeds have nothing in common."""
    variance = np.sum([column.variance for column in columns], axis=0) / len(columns) ** 2
    return PairVariances(variance, np.sum([column.uncertainty for column in columns], axis=0) / len(columns) ** 4)


def welch_p_values(accuracies: Floats, variances: PairVariances) -> Floats:
    """Return the two-sided p-value (models, models) of every pair by Welch's t-test; `accuracies` (models,)."""
    from scipy import special

    differences = np.abs(accuracies[:, None] - accuracies[None, :])
    differences[differences < ROUNDING] = 0.0
    variance, uncertainty = np.maximum(variances.variance, TINY), np.maximum(variances.uncertainty, TINY**2)
    p_values: Floats = 2 * special.stdtr(variance**2 / uncertainty, -differences / np.sqrt(variance))
    return p_values


def pair_p_values(models: Sequence[Bools], accuracies: Floats, variances: PairVariances) -> Floats:
    """Return the p-value (models, models) of every pair: McNemar's of one run against one, otherwise Welch's."""
    p_values = welch_p_values(accuracies, variances)
    single = [number for number, correct in enumerate(models) if len(_by_seed(correct)) == 1]
    if len(single) > 1:
        p_values[np.ix_(single, single)] = mcnemar_p_values([models[number] for number in single])
    return p_values


def paired_test(a: Bools, b: Bools, *, is_fixed: Sequence[bool] = (False, False)) -> PairedTest:
    """Return the test of A against B on the same rows, the same one that ranks the models of a leaderboard."""
    models = [_by_seed(a), _by_seed(b)]
    accuracies = np.array([correct.mean() for correct in models])
    p_values = pair_p_values(models, accuracies, pair_variances(models, is_fixed=is_fixed))
    name = "McNemar" if len(models[0]) == len(models[1]) == 1 else "Welch"
    return PairedTest(name, float(p_values[0, 1]))


def t_quantile(probability: float, freedom: float) -> float:
    """Return the quantile of Student's t distribution, the normal one's for infinite degrees of freedom."""
    from scipy import special

    return float(special.ndtri(probability) if np.isinf(freedom) else special.stdtrit(freedom, probability))


def mcnemar_p_values(runs: Sequence[Bools]) -> Floats:
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


def wilson_interval(share: float, rows: int) -> tuple[float, float]:
    """Return the 95 % interval of a share of `rows` independent rows (Wilson's score interval), as shares of 1."""
    middle = share + Z95**2 / (2 * rows)
    width = Z95 * math.sqrt(share * (1 - share) / rows + Z95**2 / (4 * rows**2))
    scale = 1 + Z95**2 / rows
    return max(0.0, (middle - width) / scale), min(1.0, (middle + width) / scale)


@cache
def expected_maximum(number: int) -> float:
    """Return the expected maximum of `number` independent standard normals: the integral of 1 − Φⁿ(x) − Φⁿ(−x)."""
    reach, steps = 12.0, 6000  # the integrand is below 1e-30 beyond; the error of the midpoint rule is below 1e-6
    width = reach / steps
    points = ((step + 0.5) * width for step in range(steps))
    tails = (0.5 * math.erfc(x / math.sqrt(2)) for x in points)
    return width * sum(-math.expm1(number * math.log1p(-tail)) - tail**number for tail in tails)


def p_text(p_value: float) -> str:
    """Return "= 0.0123" or "< 0.0001"."""
    return f"= {p_value:.4f}" if p_value >= LEAST_P else f"< {LEAST_P}"


def _by_seed(correct: Bools) -> Bools:
    """Return (seeds, rows)."""
    correct = np.atleast_2d(np.asarray(correct, dtype=np.bool_))
    if not correct.size:
        raise ClueBenchError("no rows: an accuracy over nothing is none", "give a run that predicted something")
    return correct


def _same_rows(models: Sequence[Bools]) -> int:
    """Return the number of rows of all `models`. Raises ClueBenchError unless it is the same."""
    numbers: set[int] = {correct.shape[1] for correct in models}
    if len(numbers) != 1:
        raise ClueBenchError(f"cannot pair models on {sorted(numbers)} rows", "compare runs on the same rows")
    return numbers.pop()


def _redrawn_accuracies(correct: Bools, *, draws: int, rng: np.random.Generator) -> Floats:
    """Return the accuracy (draws, seeds) of every seed on the rows of each draw.

    Rows on which the same seeds are right are interchangeable, so a draw of rows is one multinomial draw over these
    patterns.
    """
    patterns, counts = np.unique(correct, axis=1, return_counts=True)
    right_PS = patterns.T.astype(np.float64)  # P patterns, S seeds
    rows = correct.shape[1]
    accuracies = np.empty((draws, len(correct)))
    for start in range(0, draws, DRAWS_AT_ONCE):
        part = accuracies[start : start + DRAWS_AT_ONCE]
        part[:] = rng.multinomial(rows, counts / rows, size=len(part)) @ right_PS / rows
    return accuracies


def _means(accuracies: Floats, *, rng: np.random.Generator) -> Floats:
    """Return the mean (draws,) over seeds drawn with replacement from those of `accuracies` (draws, seeds)."""
    draws, seeds = accuracies.shape
    weights = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=draws) / seeds
    means: Floats = (accuracies * weights).sum(axis=1)
    return means


def _percentiles(drawn: Floats, level: float) -> ConfidenceInterval:
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return ConfidenceInterval(float(low), float(high), level, len(drawn))
