"""The best of N is expected to flatter by the maximum of N normals."""

import math
from collections.abc import Callable
from decimal import Decimal

import pytest
from scipy import integrate, stats

from clue_bench.doors.records import FinetuneRecord, RunRecord
from clue_bench.doors.results import EvaluationScores, TriedC
from clue_bench.leaderboards.cells import MeasuredCell
from clue_bench.leaderboards.measured import SELECTION_NOTE, measured_section
from clue_bench.leaderboards.runs import measured_tables
from clue_bench.stats.significance import expected_maximum

MakeRecord = Callable[..., RunRecord]


def cell_of(*records: RunRecord) -> MeasuredCell:
    (table,) = measured_tables(records)
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
    assert isinstance(record, FinetuneRecord)
    assert record.results is not None
    evaluation = EvaluationScores(**record.results.dev.model_dump(), step=1, epoch=1.0, train_loss=1.0)
    results = record.results.model_copy(update={"evaluations": [evaluation] * number})
    return record.model_copy(update={"results": results})


def test_noise_is_that_of_seeds_and_sampling_and_scores_those_of_all_settings(make_record: MakeRecord) -> None:
    made = [
        with_evaluations(make_record(correct=correct, seed=seed, learning_rate=rate), number)
        for rate, correct, seed, number in (
            (1e-4, 7000, 1, 7),
            (1e-4, 7200, 2, 7),
            (3e-5, 6000, 1, 3),
            (3e-5, 6000, 2, 3),
        )
    ]
    cell = cell_of(*made)
    assert cell.dev_scores == 10  # 7 + 3: a run of the one setting, and one of the other
    # 1.53875 for ten; sd 1.41 over seeds, 0.45 of sampling.
    assert cell.selection_bias == Decimal("2.28")
    assert cell.selection_text == "10 scores of 2 settings (≈ 2.28)"


def test_one_score_that_was_not_chosen_flatters_nothing(make_record: MakeRecord) -> None:
    cell = cell_of(make_record())
    assert (cell.dev_scores, cell.selection_bias, cell.selection_text) == (1, Decimal("0.00"), "–")


def test_a_single_seed_has_no_sd_and_so_no_figure(make_record: MakeRecord) -> None:
    one = cell_of(with_evaluations(make_record(correct=5000), 2))
    assert (one.selection_bias, one.selection_text) == (None, "2 scores (one seed)")
    three = cell_of(*(make_record(learning_rate=rate) for rate in (1e-4, 2e-4, 3e-4)))
    assert three.selection_text == "3 scores of 3 settings (one seed)"


def test_the_settings_that_a_floor_tried_count(make_record: MakeRecord) -> None:
    floor = make_record(is_floor=True, model="floor-tfidf")
    tried = [TriedC(C=c, accuracy=0.5, macro_f1=0.5) for c in (0.1, 0.3, 1.0)]
    results = floor.completed_results.model_copy(update={"tried": tried})
    floor = floor.model_copy(update={"results": results})
    assert cell_of(floor).dev_scores == 3


def test_the_board_says_how_the_selection_bias_is_computed(make_record: MakeRecord) -> None:
    (table,) = measured_tables([with_evaluations(make_record(), 4)])
    assert SELECTION_NOTE in measured_section(table).split("\n\n")
