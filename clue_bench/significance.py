"""How sure a dev accuracy is, and whether two of them, or many, differ.

Enters: which rows were right, one row of booleans per seed, (rows,) or (seeds, rows). Leaves: intervals and p-values.

The bootstrap is hierarchical: rows are redrawn, the same rows for every seed of every side, and then seeds, for each
side alone. With a single seed on a side only the rows are redrawn: the interval then says what another dev set of this
size would change, and nothing about another seed. A handful of seeds, redrawn, varies a little less than seeds do (by
the factor √((n-1)/n)), so with three seeds the part that is due to them is some 18 % too narrow.

Many models at once (`joint_draws`) take the normal limit of redrawing rows: the accuracies on n redrawn rows are nearly
normal, with the covariance of the rows over n. It costs the same for any number of rows.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from clue_bench.errors import ClueBenchError

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

LEVEL = 0.95
DRAWS = 10_000
DRAWS_AT_ONCE = 500  # bounds the memory: so many draws times the distinct patterns, at most the rows
ROUNDING = 1e-12  # two differences closer than this are the same one


class Interval(NamedTuple):
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


class Difference(NamedTuple):
    """Accuracy of A minus accuracy of B, as shares of 1; `p_value` is two-sided."""

    difference: float
    interval: Interval
    p_value: float


def bootstrap_interval(correct: Bools, *, level: float = LEVEL, draws: int = DRAWS, seed: int) -> Interval:
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
    from scipy.stats import binomtest

    a, b = _by_seed(a), _by_seed(b)
    if a.shape != b.shape or len(a) != 1:
        raise ClueBenchError(
            f"McNemar's test compares one run with one on the same rows, found {a.shape} and {b.shape} (seeds, rows)",
            "compare several seeds by the paired bootstrap",
        )
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    discordant = only_a + only_b
    p_value = float(binomtest(only_a, discordant, 0.5).pvalue) if discordant else 1.0
    return Discordance(only_a, only_b, p_value)


def paired_bootstrap(a: Bools, b: Bools, *, level: float = LEVEL, draws: int = DRAWS, seed: int) -> Difference:
    """Return the difference of mean accuracy of A and B on the same rows, its interval, and a p-value.

    The p-value is that of the bootstrap shifted to no difference (Efron and Tibshirani 1993, ch. 16; Berg-Kirkpatrick
    et al. 2012): the share of draws that lie as far from the observed difference as that lies from 0, in either
    direction; one is added to both counts, so that it is never 0. Raises ClueBenchError if the rows are not the same
    number, or none.
    """
    a, b = _by_seed(a), _by_seed(b)
    if a.shape[1] != b.shape[1]:
        raise ClueBenchError(f"cannot pair {a.shape[1]:,} rows with {b.shape[1]:,}", "compare runs on the same rows")
    observed = float(a.mean() - b.mean())
    rng = np.random.default_rng(seed)
    accuracies = _redrawn_accuracies(np.concatenate([a, b]), draws=draws, rng=rng)
    drawn = _means(accuracies[:, : len(a)], rng=rng) - _means(accuracies[:, len(a) :], rng=rng)
    as_far = int((np.abs(drawn - observed) >= abs(observed) - ROUNDING).sum())
    return Difference(observed, _percentiles(drawn, level), (1 + as_far) / (1 + draws))


def joint_draws(models: Sequence[Bools], *, draws: int = DRAWS, seed: int) -> Floats:
    """Return the mean accuracies (draws, models) on redrawn rows, the same for all, and seeds, redrawn for each model.

    Raises ClueBenchError if the models were not on the same number of rows, or on none.
    """
    by_model = [_by_seed(correct) for correct in models]
    rows = {correct.shape[1] for correct in by_model}
    if len(rows) != 1:
        raise ClueBenchError(f"cannot pair models on {sorted(rows)} rows", "compare runs on the same rows")
    runs = np.concatenate(by_model).astype(np.float64)
    covariance = np.atleast_2d(np.cov(runs, bias=True)) / runs.shape[1]
    variances, directions = np.linalg.eigh(covariance)
    root = directions * np.sqrt(np.maximum(variances, 0.0))  # exact for runs that are right on the same rows, too
    rng = np.random.default_rng(seed)
    drawn = runs.mean(axis=1) + rng.standard_normal((draws, len(runs))) @ root.T
    ends = np.cumsum([len(correct) for correct in by_model])
    parts = np.split(drawn, ends[:-1], axis=1)
    return np.stack([_means(part, rng=rng) for part in parts], axis=1)


def pair_p_values(accuracies: Floats, drawn: Floats) -> Floats:
    """Return the p-value (models, models) of every pair, as `paired_bootstrap` has it, from its `joint_draws`.

    `accuracies` (models,) are those observed.
    """
    p_values = np.ones((len(accuracies), len(accuracies)))
    for place in range(len(accuracies) - 1):
        observed = accuracies[place] - accuracies[place + 1 :]
        off = np.abs(drawn[:, place, None] - drawn[:, place + 1 :] - observed)
        as_far = (off >= np.abs(observed) - ROUNDING).sum(axis=0)
        p_values[place, place + 1 :] = p_values[place + 1 :, place] = (1 + as_far) / (1 + len(drawn))
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


def _by_seed(correct: Bools) -> Bools:
    """Return (seeds, rows)."""
    correct = np.atleast_2d(np.asarray(correct, dtype=np.bool_))
    if not correct.size:
        raise ClueBenchError("no rows: an accuracy over nothing is none", "give a run that predicted something")
    return correct


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


def _percentiles(drawn: Floats, level: float) -> Interval:
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), level, len(drawn))
