"""Choosing the best of scores on the same rows flatters by what the choice gains on redrawn rows."""

from collections.abc import Callable
from decimal import Decimal

import numpy as np
import pytest

from clue_bench.doors.records import RunRecord, parse_record
from clue_bench.doors.results import RowBits
from clue_bench.leaderboards.cells import MeasuredCell
from clue_bench.leaderboards.measured import SELECTION_NOTE, measured_section
from clue_bench.leaderboards.runs import measured_tables
from clue_bench.stats.selection import selection_bias
from clue_bench.stats.significance import Bools

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


@pytest.mark.parametrize("flips", [0.05, 0.3])
def test_the_bias_is_near_that_of_a_choice_among_equals_and_below_it(flips: float) -> None:
    rng = np.random.default_rng(2)
    true, found = [], []
    for _ in range(60):
        looks = looks_of(rng, 10, flips=flips)
        chance = (1 - flips) * looks_of_base(looks) + flips * 0.6  # of the look that was chosen, on these very rows
        true.append(looks.mean(axis=1).max() - chance)
        found.append(selection_bias([[looks]]))
    assert 0.5 * np.mean(true) < np.mean(found) < 1.1 * np.mean(true)


def looks_of_base(looks: Bools) -> float:
    """Return about the share of right rows that all looks have in common."""
    return float((looks.mean(axis=0) > 0.5).mean())


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
