"""Scores of named entities, and how certain they are.

Input: counts (rows, types, 3) of the entities of each text and type that are right, found, and there. Output: the mean
over types of their F1, as CLUENER defines it (`score.py` of its repository: the F1 of each type over all texts, then
their mean); its interval; and values of rows whose mean it is. No torch.

Which entities are the same is the caller's to say. We take (type, first, last character), as the published baselines'
own evaluation does; `score.py` compares type and text alone, which differs where a text names an entity twice. A type
that is neither there nor found has no F1 and is left out, where `score.py` would divide by zero.

A macro-F1 is no mean over texts, but to first order one of `row_values` (the infinitesimal jackknife): each is the
score plus what the text pulls it by, and their mean is exactly the score. Their variance, paired or not, is that of
the score, so the tests of `significance` take them as they take right and wrong rows.
"""

import numpy as np
import numpy.typing as npt

from clue_bench.errors import ClueBenchError
from clue_bench.stats.score_intervals import DRAWS, DRAWS_AT_ONCE
from clue_bench.stats.significance import LEVEL, ConfidenceInterval, Floats

Counts = npt.NDArray[np.int64]
"""(rows, types, 3): right, found, there."""


def entity_f1(counts: Counts) -> float:
    """Return the mean F1 of the types. Raises ClueBenchError if no text has an entity, and none was found."""
    f1, known = _of_types(counts)
    return float(f1[known].mean())


def row_values(counts: Counts) -> Floats:
    """Return (rows,) values whose mean is the mean F1, and whose variance is that of the score, times the rows."""
    f1, known = _of_types(counts)
    right, both = counts[:, known, 0], counts[:, known, 1:].sum(axis=2)
    pulls = ((2 * right - f1[known] * both) / both.sum(axis=0)).mean(axis=1)
    values: Floats = f1[known].mean() + len(counts) * pulls
    return values


def entity_f1_interval(counts: Counts, *, level: float = LEVEL, seed: int = 0) -> ConfidenceInterval:
    """Return the percentile bootstrap interval of the mean F1 over texts; of a draw, over the types that it has."""
    sides = np.concatenate([2 * counts[:, :, 0], counts[:, :, 1:].sum(axis=2)], axis=1).astype(np.float64)
    rng = np.random.default_rng(seed)
    scores = np.empty(DRAWS)
    for start in range(0, DRAWS, DRAWS_AT_ONCE):
        part = scores[start : start + DRAWS_AT_ONCE]
        firsts = np.arange(len(part))[:, None] * len(counts)
        chosen = rng.integers(len(counts), size=(len(part), len(counts))) + firsts
        drawn = np.bincount(chosen.ravel(), minlength=len(part) * len(counts)).reshape(len(part), -1)
        above, below = np.split(drawn @ sides, 2, axis=1)
        f1 = np.divide(above, below, out=np.zeros_like(above), where=below > 0)
        part[:] = f1.sum(axis=1) / np.maximum((below > 0).sum(axis=1), 1)
    low, high = np.quantile(scores, [(1 - level) / 2, (1 + level) / 2])
    return ConfidenceInterval(float(low), float(high), level)


def _of_types(counts: Counts) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Return the F1 of each type, and which types occur."""
    right, found, there = counts.sum(axis=0).T
    known = found + there > 0
    if not known.any():
        raise ClueBenchError("no entities to score against", "give a split whose texts have some")
    return 2 * right / np.maximum(found + there, 1), known
