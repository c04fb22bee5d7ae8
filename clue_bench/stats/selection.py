"""Tell by how much choosing the best of several scores on the same rows flatters it.

Input: which rows were right at every evaluation that could have been chosen, by setting and seed. Output: the bias, as
a share of 1. The choice is repeated on redrawn rows, and what is chosen there is held against its accuracy on the rows
as they are (Efron's optimism). Scores that share most of their right rows, as the evaluations of one run do, leave
little to choose; where they are equally good, so that everything is chance, the estimate is too low, by a half in
simulations.
"""

from collections.abc import Sequence

import numpy as np

from clue_bench.stats.significance import Bools, Floats

DRAWS = 4_000


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
    return float(total.mean()) / (num_seeds + len(further))


def _row_noise(centred: Floats, *, rng: np.random.Generator) -> Floats:
    """Return what redrawing rows adds to each accuracy (draws, accuracies), to the accuracy of the normal law."""
    rows = centred.shape[1]
    values, vectors = np.linalg.eigh(centred @ centred.T / rows**2)
    noise: Floats = rng.standard_normal((DRAWS, len(values))) @ (vectors * np.sqrt(np.maximum(values, 0.0))).T
    return noise
