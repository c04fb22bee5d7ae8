"""Intervals of scores that are no shares of independent rows: of questions on shared passages, and of macro-F1."""

import numpy as np
import numpy.typing as npt

from clue_bench.stats.significance import (
    LEVEL,
    ConfidenceInterval,
    Floats,
    grouped_variance,
    t_quantile,
    wilson_interval,
)

Numbers = npt.NDArray[np.int64]

DRAWS = 10_000
DRAWS_AT_ONCE = 500  # bounds the memory: so many draws times the pairs of classes that occur


def grouped_interval(values: Floats, groups: Numbers, *, level: float = LEVEL) -> ConfidenceInterval:
    """Return an interval of the mean of `values` (rows,), each from 0 to 1: Wilson's, on as many rows as vary like it.

    `groups` (rows,) says which rows belong together, e.g. the questions on one passage. They count as one draw, of a
    ratio of two sums: what they have right, and how many they are.
    """
    mean, number = float(values.mean()), len(np.unique(groups))
    variance = grouped_variance(values, groups)
    effective = mean * (1 - mean) / variance if variance > 0 else number
    low, high = wilson_interval(mean, effective, quantile=t_quantile((1 + level) / 2, max(number - 1, 1)))
    return ConfidenceInterval(low, high, level)


def macro_f1_interval(gold: Numbers, predicted: Numbers, *, level: float = LEVEL, seed: int = 0) -> ConfidenceInterval:
    """Return the percentile bootstrap interval of macro-F1 over rows; of each draw, over the classes that occur in it.

    Rows of the same gold and predicted class are interchangeable, so a draw is one multinomial draw over such pairs.
    """
    pairs, counts = np.unique(np.stack([gold, predicted]), axis=1, return_counts=True)
    classes = np.arange(pairs.max() + 1)
    of_gold, of_predicted = (pairs[:, :, None] == classes).astype(np.float64)  # (pairs, classes) each
    rng = np.random.default_rng(seed)
    scores = np.empty(DRAWS)
    for start in range(0, DRAWS, DRAWS_AT_ONCE):
        part = scores[start : start + DRAWS_AT_ONCE]
        drawn = rng.multinomial(len(gold), counts / len(gold), size=len(part)).astype(np.float64)
        right, total = drawn @ (of_gold * of_predicted), drawn @ (of_gold + of_predicted)
        part[:] = np.divide(2 * right, total, out=np.zeros_like(right), where=total > 0).sum(axis=1)
        part /= (total > 0).sum(axis=1)
    low, high = np.quantile(scores, [(1 - level) / 2, (1 + level) / 2])
    return ConfidenceInterval(float(low), float(high), level)
