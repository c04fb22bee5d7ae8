"""Choosing the best of scores on the same rows flatters by what the choice gains on redrawn rows."""

import sys
from collections.abc import Callable
from decimal import Decimal
from typing import NamedTuple

import numpy as np
import pytest

from clue_bench.doors.records import RunRecord, parse_record
from clue_bench.doors.results import RowBits
from clue_bench.leaderboards.cells import MeasuredCell
from clue_bench.leaderboards.measured import SELECTION_NOTE, measured_section
from clue_bench.leaderboards.runs import measured_tables
from clue_bench.stats.selection import selection_bias
from clue_bench.stats.significance import Bools, Floats

MakeRecord = Callable[..., RunRecord]
ROWS = 2_000


def cell_of(*records: RunRecord) -> MeasuredCell:
    (table,) = measured_tables(records)
    return table.models[0].cells["AFQMC"]


def with_looks(make_record: MakeRecord, looks: Bools, *, bits: bool = True, **facts: object) -> RunRecord:
    """Return the record of a run with these evaluations, each the rows that were right."""
    best = looks[looks.sum(axis=1).argmax()]
    record = make_record(correct=int(best.sum()), rows=looks.shape[1], **facts).model_dump(mode="json")
    dev = record["results"]["dev"]
    evaluations = [
        {**dev, "correct": int(look.sum()), "accuracy": look.mean(), "step": 1, "epoch": 1.0, "train_loss": 1.0}
        | ({"right": RowBits.pack(look).model_dump()} if bits else {})
        for look in looks
    ]
    record["results"] |= {"evaluations": evaluations, "dev_correct": RowBits.pack(best).model_dump()}
    return parse_record(record)


def looks_of(rng: np.random.Generator, number: int, *, flips: float, base: Bools | None = None) -> Bools:
    """Return evaluations that differ in a share of the rows."""
    base = rng.random(ROWS) < 0.6 if base is None else base
    return np.array([np.where(rng.random(ROWS) < flips, rng.random(ROWS) < 0.6, base) for _ in range(number)])


def test_evaluations_that_share_their_rows_leave_nothing_to_choose() -> None:
    rng = np.random.default_rng(1)
    one = rng.random(ROWS) < 0.6
    assert selection_bias([[np.array([one] * 15)]]) == pytest.approx(0.0, abs=1e-3)
    worse = np.array([one, one & (rng.random(ROWS) < 0.8)])
    assert selection_bias([[worse]]) == pytest.approx(0.0, abs=1e-3)


class Search(NamedTuple):
    """Settings, each with so many seeds and evaluations.

    Each setting is worse than the one before it by `gap`, each evaluation by `decline`; a seed moves a run's accuracy
    by a normal draw. `flips`: the share of rows in which evaluations differ.
    """

    settings: int = 1
    seeds: int = 1
    looks: int = 1
    rows: int = ROWS
    gap: float = 0.0
    decline: float = 0.0
    seed_sd: float = 0.0
    flips: float = 0.3


class Luck(NamedTuple):
    """Means over searches, in points, with the standard error of their difference."""

    true: float
    printed: float
    error: float


def searched(search: Search, *, trials: int) -> Luck:
    """Return the bias of a choice as it is, and as it is estimated.

    Rows differ in how hard they are, for all settings or, a quarter of them, for each anew. The luck of the rows that
    all have in common is not the choice's, and is taken out.
    """
    rng, levels = np.random.default_rng(7), np.linspace(0.35, 0.93, 7)
    found = []
    for _ in range(trials):
        hard = rng.choice(levels, search.rows)
        bits, truth = [], []
        for setting in range(search.settings):
            chance = np.where(rng.random(search.rows) < 0.25, rng.choice(levels, search.rows), hard)
            below = search.gap * setting + search.decline * np.arange(search.looks)
            seeds = rng.normal(0, search.seed_sd, search.seeds)
            bits.append([_looks(rng, chance + seed, below, flips=search.flips) for seed in seeds])
            truth.append(-below)
        means = [[looks.mean(axis=1) for looks in runs] for runs in bits]
        common = np.mean([one - true for runs, true in zip(means, truth, strict=True) for one in runs])
        best = [np.mean([one.max() for one in runs]) for runs in means]
        chosen = int(np.argmax(best))
        expected = np.mean([truth[chosen][one.argmax()] for one in means[chosen]])
        found.append((best[chosen] - expected - common, selection_bias(bits)))
    true, printed = 100 * np.array(found).T
    return Luck(float(true.mean()), float(printed.mean()), float((true - printed).std() / trials**0.5))


def _looks(rng: np.random.Generator, chance: Floats, below: Floats, *, flips: float) -> Bools:
    base = rng.random(len(chance))
    draws = np.array([np.where(rng.random(len(chance)) < flips, rng.random(len(chance)), base) for _ in below])
    return draws < chance - below[:, None]


SEARCHES = {
    "10 equal evaluations": Search(looks=10),
    "10 evaluations that share nearly all rows": Search(looks=10, flips=0.05),
    "10 evaluations, each 1 point worse": Search(looks=10, decline=0.01),
    "2 equal settings": Search(2),
    "12 equal settings": Search(12),
    "12 equal settings of 5 evaluations": Search(12, looks=5),
    "12 equal settings of 5 evaluations on 300 rows": Search(12, looks=5, rows=300),
    "12 equal settings of 3 seeds and 5 evaluations": Search(12, 3, 5),
    "4 settings, each 0.5 points worse": Search(4, gap=0.005),
    "4 settings, each 2 points worse": Search(4, gap=0.02),
}


def test_the_bias_of_a_choice_among_equals_is_neither_halved_nor_doubled() -> None:
    luck = searched(SEARCHES["12 equal settings"], trials=30)
    assert 0.75 * luck.true < luck.printed < 1.3 * luck.true


@pytest.mark.slow
@pytest.mark.parametrize("name", SEARCHES)
def test_the_bias_is_that_of_the_choice_within_the_noise_of_a_simulation(name: str) -> None:
    luck = searched(SEARCHES[name], trials=200)
    assert luck.printed == pytest.approx(luck.true, abs=3 * luck.error + 0.1 * luck.true)


@pytest.mark.slow
def test_the_luck_of_seeds_is_not_in_the_bias() -> None:
    luck = searched(Search(12, looks=5, seed_sd=0.005), trials=100)
    assert 0.5 * luck.true < luck.printed < luck.true - 2 * luck.error


def test_settings_are_chosen_too_and_further_seeds_only_their_evaluation() -> None:
    rng = np.random.default_rng(3)
    settings = [[looks_of(rng, 3, flips=0.3)] for _ in range(8)]
    alone, searched = selection_bias(settings[:1]), selection_bias(settings)
    assert searched > 1.5 * alone > 0
    seeds = [looks_of(rng, 3, flips=0.3) for _ in range(2)]
    mean = (searched + sum(selection_bias([[each]]) for each in seeds)) / 3
    assert selection_bias(settings, seeds) == pytest.approx(mean, rel=0.1)


def test_a_cell_says_how_much_choosing_adds(make_record: MakeRecord) -> None:
    rng = np.random.default_rng(4)
    runs = {seed: looks_of(rng, 5, flips=0.2) for seed in (1, 2)}
    cell = cell_of(*(with_looks(make_record, looks, seed=seed) for seed, looks in runs.items()))
    assert cell.bias == selection_bias([[runs[1], runs[2]]])
    assert cell.selection_text == f"5 scores (≈ {cell.selection_bias})"
    assert Decimal("0.05") < (cell.selection_bias or Decimal(0)) < Decimal("1.5")
    other = with_looks(make_record, looks_of(rng, 7, flips=0.2), learning_rate=1e-3)
    searched = cell_of(*(with_looks(make_record, looks, seed=seed) for seed, looks in runs.items()), other)
    assert searched.selection_text == f"12 scores of 2 settings (≈ {searched.selection_bias})"


def test_one_score_that_was_not_chosen_flatters_nothing(make_record: MakeRecord) -> None:
    assert cell_of(make_record()).selection_text == "–"


def test_older_records_that_keep_no_rows_have_no_figure(make_record: MakeRecord) -> None:
    looks = looks_of(np.random.default_rng(5), 4, flips=0.2)
    cell = cell_of(with_looks(make_record, looks, bits=False))
    assert (cell.selection_bias, cell.selection_text) == (None, "4 scores")


def test_the_board_says_how_the_selection_bias_is_computed(make_record: MakeRecord) -> None:
    (table,) = measured_tables([with_looks(make_record, looks_of(np.random.default_rng(6), 4, flips=0.2))])
    assert SELECTION_NOTE in measured_section(table).split("\n\n")


if __name__ == "__main__":  # the table of docs/protocol.md
    for name, search in SEARCHES.items():
        true, printed, _ = searched(search, trials=200)
        sys.stdout.write(f"| {name} | {true:.2f} | {printed:.2f} |\n")
