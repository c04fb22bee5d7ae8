"""The one variance, simulated: how often equal models are called different, and how often intervals hold the truth.

Forty models answer the same rows. A quarter of a model's rows are as hard as only this model finds them; a seed moves a
model's whole accuracy by a normal draw, and each row is then right by chance. Every second model is 2 points better.
With one seed, ten more models of three seeds stand beside them, whose pooled seed variance is what single seeds have.
`python tests/stats/test_simulation.py` prints the table of docs/protocol.md.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from clue_bench.stats.significance import Bools, pair_tests

SEEDS, POINTS, ROWS = (1, 2, 3, 5, 10), (0, 0.5, 2), (300, 3_000, 10_000)
MODELS, BETTER, OWN = 40, 0.02, 0.25
DOCS = Path(__file__).parents[2] / "docs" / "protocol.md"


class Shares(NamedTuple):
    """Per cent of pairs: equal ones that differ at p < 0.05, intervals with the truth, better ones found."""

    false_positives: float
    coverage: float
    power: float


def answers(rng: np.random.Generator, *, seeds: int, points: float, rows: int, extra: int = 0) -> list[Bools]:
    """Return what each model has right, (seeds, rows)."""
    levels = np.linspace(0.35, 0.93, 7, dtype=np.float32)
    shared = rng.choice(levels, rows)
    found = []
    for model in range(MODELS + extra):
        number = seeds if model < MODELS else 3
        chance = np.where(rng.random(rows) < OWN, rng.choice(levels, rows), shared) + BETTER * (model % 2)
        moved = rng.normal(0.0, points / 100, (number, 1)).astype(np.float32)
        found.append(rng.random((number, rows), dtype=np.float32) < chance + moved)
    return found


def simulate(*, seeds: int, points: float, rows: int, trials: int) -> Shares:
    """Return the shares over `trials` dev sets."""
    rng = np.random.default_rng([seeds, int(10 * points), rows])
    better = np.arange(MODELS) % 2 == 1
    above = np.triu(np.ones((MODELS, MODELS), dtype=np.bool_), 1)
    equal, unequal = above & (better[:, None] == better), better[:, None] & ~better
    counts = np.zeros(3)
    for _ in range(trials):
        models = answers(rng, seeds=seeds, points=points, rows=rows, extra=10 * (seeds == 1))
        tests = pair_tests(models).of(range(MODELS))
        is_different, difference = tests.p_values < 0.05, tests.difference
        holds = np.abs(difference - BETTER) <= tests.margins()
        counts += [is_different[equal].mean(), holds[unequal].mean(), (is_different & (difference > 0))[unequal].mean()]
    return Shares(*(100 * counts / trials).tolist())


def table_rows(trials: int) -> Iterator[tuple[int, float, list[Shares]]]:
    for seeds in SEEDS:
        for points in POINTS:
            yield seeds, points, [simulate(seeds=seeds, points=points, rows=rows, trials=trials) for rows in ROWS]


def markdown(trials: int) -> str:
    """Return the table: seeds, sd, and the three shares for each number of rows."""
    head = ["seeds", "sd", *(f"{rows:,} rows" for rows in ROWS)]
    lines = [head, [":-:"] * len(head)]
    for seeds, points, shares in table_rows(trials):
        cells = [f"{each.false_positives:.1f} · {each.coverage:.1f} · {each.power:.0f}" for each in shares]
        lines.append([str(seeds), f"{points:g}", *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


@pytest.mark.slow
@pytest.mark.parametrize("points", POINTS)
@pytest.mark.parametrize("seeds", SEEDS)
def test_what_the_documentation_says_of_the_test_is_so(seeds: int, points: float) -> None:
    line = re.search(rf"^\| {seeds} \| {points:g} \| (.*) \|$", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    assert line is not None
    for rows, cell in zip(ROWS, line.group(1).split(" | "), strict=True):
        said = Shares(*map(float, cell.split(" · ")))
        found = simulate(seeds=seeds, points=points, rows=rows, trials=40)
        assert found[:2] == pytest.approx(said[:2], abs=2)
        assert found.power == pytest.approx(said.power, abs=8)
        assert found.false_positives < 6 + 2 * (seeds == 2)  # two seeds are few
        assert found.coverage > 94 - 2 * (seeds == 2)


if __name__ == "__main__":
    sys.stdout.write(markdown(150) + "\n")
