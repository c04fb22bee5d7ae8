"""Tell by how much choosing the best of several scores on the same rows flatters it.

Input: which rows were right at every evaluation that could have been chosen, by setting and seed. Output: the bias, as
a share of 1. The choice is repeated with accuracies that are moved by a part of what redrawing rows moves them, and
what is chosen there is held against its accuracy on the rows as they are (Efron's optimism). Scores that share most of
their right rows, as the evaluations of one run do, leave little to choose. The luck of seeds is not in it: only that of
rows.

The accuracies have the luck of their own rows already. Redrawn in full, they would have it twice, and of equals the
first would decide as often as the second: the gain would be too low by the root of 2. By Stein's lemma, the gain of
ever smaller moves, divided by their share of the variance, is the bias itself, whatever is chosen how; but ever fewer
draws then choose differently. A quarter of the variance, and the factor that is exact among equals, are between the
two.
"""

from collections.abc import Sequence

import numpy as np

from clue_bench.stats.significance import Bools, Floats

DRAWS = 4_000  # half of them the others' opposites, which cancel where both choose the same
MOVED = 0.25  # share of the variance of redrawn rows
FACTOR = np.sqrt(1 + MOVED) / MOVED


def selection_bias(shared: Sequence[Sequence[Bools]], further: Sequence[Bools] = (), *, seed: int = 0) -> float:
    """Return the bias of a mean over seeds, as a share of 1.

    `shared` holds evaluations (evaluations, rows) by setting and seed, for the seeds that every setting has: in each
    run the best evaluation is chosen, then the setting with the best mean. `further` are the chosen setting's other
    seeds, in which only the evaluation is chosen.
    """
    runs = [looks for setting in shared for looks in setting] + list(further)
    stacked = np.concatenate(runs).astype(np.float64)
    accuracy = stacked.mean(axis=1)
    drawn = accuracy + _row_noise(stacked - accuracy[:, None], rng=np.random.default_rng(seed))
    ends = np.cumsum([len(looks) for looks in runs])[:-1]
    gains, best = [], []
    for here, there in zip(np.split(drawn, ends, axis=1), np.split(accuracy, ends), strict=True):
        chosen = here.argmax(axis=1)
        best.append(here.max(axis=1))
        gains.append(best[-1] - there[chosen])
    num_settings, num_seeds = len(shared), len(shared[0])
    shape = (num_settings, num_seeds, DRAWS)
    setting = np.reshape(best[: num_settings * num_seeds], shape).mean(axis=1).argmax(axis=0)
    of_shared = np.reshape(gains[: num_settings * num_seeds], shape).sum(axis=1)[setting, np.arange(DRAWS)]
    total = of_shared + np.sum(gains[num_settings * num_seeds :], axis=0)
    return float(total.mean() * FACTOR) / (num_seeds + len(further))


def _row_noise(centred: Floats, *, rng: np.random.Generator) -> Floats:
    """Return moves of each accuracy (draws, accuracies): so large a share of redrawing rows, in the normal law."""
    rows = centred.shape[1]
    values, vectors = np.linalg.eigh(centred @ centred.T / rows**2)
    size = vectors * np.sqrt(MOVED * np.maximum(values, 0.0))
    moves: Floats = rng.standard_normal((DRAWS // 2, len(values))) @ size.T
    return np.concatenate([moves, -moves])
