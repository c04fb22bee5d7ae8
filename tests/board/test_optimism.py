"""The best of N is expected to flatter by the maximum of N normals."""

import math
from collections.abc import Callable
from decimal import Decimal

import pytest
from scipy import integrate, stats

from clue_bench.board.measured.cells import Cell, measured_tables
from clue_bench.board.measured.frames import run_frame
from clue_bench.board.measured.optimism import OPTIMISM_NOTE, expected_maximum, optimism_of
from clue_bench.board.measured.tables import measured_section
from clue_bench.records import RunRecord

MakeRecord = Callable[..., RunRecord]


def cell_of(*records: RunRecord) -> Cell:
    (table,) = measured_tables(run_frame(records))
    return table.models[0].cells["AFQMC"]


@pytest.mark.parametrize("number", [1, 2, 3, 12, 15, 360])
def test_the_expected_maximum_is_the_integral_of_its_density(number: int) -> None:
    def density(x: float) -> float:
        return float(x * number * stats.norm.pdf(x) * stats.norm.cdf(x) ** (number - 1))

    assert expected_maximum(number) == pytest.approx(integrate.quad(density, -12, 12)[0], abs=1e-6)


@pytest.mark.parametrize(("number", "exact"), [(2, 1 / math.sqrt(math.pi)), (3, 1.5 / math.sqrt(math.pi))])
def test_the_expected_maximum_of_two_and_three_is_known(number: int, exact: float) -> None:
    assert expected_maximum(number) == pytest.approx(exact, abs=1e-6)


def with_evaluations(record: RunRecord, number: int) -> RunRecord:
    return record.model_copy(update={"results": {**record.results, "evaluations": [{}] * number}})


def test_settings_and_evaluations_multiply_and_noise_is_that_of_seeds_and_sampling(make_record: MakeRecord) -> None:
    made = [
        with_evaluations(make_record(correct=correct, seed=seed, learning_rate=rate), 5)
        for rate, correct, seed in ((1e-4, 7000, 1), (1e-4, 7200, 2), (3e-5, 6000, 1), (3e-5, 6000, 2))
    ]
    found = optimism_of(cell_of(*made))
    assert (found.num_scores, found.has_seeds) == (10, True)
    # 1.53875 for ten; sd 1.41 over seeds, 0.45 of sampling.
    assert found.points == Decimal("2.28")
    assert found.text == "2 settings × 5 scores (≤ 2.28)"


def test_one_score_that_was_not_chosen_flatters_nothing(make_record: MakeRecord) -> None:
    found = optimism_of(cell_of(make_record()))
    assert (found.num_scores, found.points, found.text) == (1, Decimal("0.00"), "–")


def test_settings_that_were_scored_once_are_named_alone(make_record: MakeRecord) -> None:
    cell = cell_of(*(make_record(learning_rate=rate) for rate in (1e-4, 2e-4, 3e-4)))
    assert optimism_of(cell).text == "3 settings (≤ 0.37)"  # 0.8463 × 0.44


def test_a_single_seed_leaves_only_the_sampling_error(make_record: MakeRecord) -> None:
    found = optimism_of(cell_of(with_evaluations(make_record(correct=5000), 2)))
    assert found.points == Decimal("0.28")  # 0.5642 × 0.50
    assert (found.has_seeds, found.text) == (False, "2 scores (≤ 0.28)")


def test_the_settings_that_a_floor_tried_count(make_record: MakeRecord) -> None:
    floor = make_record(is_floor=True, model="floor-tfidf")
    floor = floor.model_copy(update={"results": {**floor.results, "evaluations": [], "tried": [{}, {}, {}]}})
    assert optimism_of(cell_of(floor)).num_scores == 3


def test_the_board_says_how_the_optimism_is_computed(make_record: MakeRecord) -> None:
    (table,) = measured_tables(run_frame([with_evaluations(make_record(), 4)]))
    assert OPTIMISM_NOTE in measured_section(table).split("\n\n")
