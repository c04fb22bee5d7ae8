"""Confusions, calibration and risk-coverage, counted by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from clue_bench.analysis.examine import (
    class_scores,
    confused_pairs,
    confusion_matrix,
    expected_calibration_error,
    macro_f1,
    most_confused_block,
    reliability_bins,
    risk_coverage,
)

GOLD = np.array([0, 0, 0, 0, 1, 1, 2])
PREDICTED = np.array([0, 1, 1, 2, 1, 0, 2])


def test_pairs_are_counted_in_one_direction_the_most_frequent_first():
    pairs = confused_pairs(confusion_matrix(GOLD, PREDICTED, num_classes=4))
    assert [pair[:3] for pair in pairs] == [(0, 1, 2), (1, 0, 1), (0, 2, 1)]
    assert [pair.share for pair in pairs] == [0.5, 0.5, 0.25]


def test_few_classes_are_all_shown():
    counts = confusion_matrix(GOLD, PREDICTED, num_classes=4)
    block = most_confused_block(counts, max_classes=4)
    assert block.classes == [0, 1, 2, 3]
    assert not block.has_others
    assert block.errors == 4


def test_of_many_classes_the_most_confused_are_shown_and_the_rest_is_counted():
    counts = np.diag([10] * 30)
    counts[7, 21] = 6
    counts[21, 7] = 5
    counts[3, 4] = 4
    counts[7, 0] = 1
    block = most_confused_block(counts, max_classes=4)
    assert block.classes == [7, 21, 3, 4]
    assert block.has_others
    assert block.errors == 15
    assert block.counts.tolist() == [[10, 6, 0, 0, 1], [5, 10, 0, 0, 0], [0, 0, 10, 4, 0], [0, 0, 0, 10, 0]]
    assert block.counts.sum() == counts[block.classes].sum()


def test_a_block_is_full_although_a_pair_does_not_fit():
    counts = np.diag([1] * 8)
    counts[0, 1] = 9
    counts[2, 3] = 8
    counts[2, 0] = 7
    assert most_confused_block(counts, max_classes=3).classes == [0, 1, 2]


def test_without_errors_a_block_of_classes_is_still_shown():
    block = most_confused_block(np.diag([2] * 25), max_classes=20)
    assert len(block.classes) == 20
    assert block.errors == 0


def test_scores_per_class_name_support_and_predictions():
    scores = class_scores(GOLD, PREDICTED, num_classes=4)
    assert scores[0] == (0, pytest.approx(1 / 2), pytest.approx(1 / 4), pytest.approx(1 / 3), 4, 2)
    assert scores[3] == (3, 0.0, 0.0, 0.0, 0, 0)
    assert macro_f1(scores) == pytest.approx(f1_score(GOLD, PREDICTED, average="macro", zero_division=0.0))


def test_ece_is_the_mean_gap_of_bins_weighted_by_rows():
    confidence = np.array([0.9, 0.92, 0.5, 0.48, 0.2])
    correct = np.array([True, False, True, True, False])
    # of fifteen bins: (13/15, 14/15] has two rows, half right; (7/15, 8/15] two, both right; (2/15, 3/15] one, wrong
    by_hand = (2 * abs(0.5 - 0.91) + 2 * abs(1.0 - 0.49) + 1 * abs(0.0 - 0.2)) / 5
    bins = reliability_bins(confidence, correct)
    assert len(bins) == 15
    assert [each.rows for each in bins if each.rows] == [1, 2, 2]
    assert expected_calibration_error(bins) == pytest.approx(by_hand)


@pytest.mark.parametrize(("confidence", "place"), [(0.0, 0), (1 / 15, 0), (0.0667, 1), (14 / 15, 13), (1.0, 14)])
def test_bins_are_closed_on_the_right_and_the_first_has_zero(confidence, place):
    bins = reliability_bins(np.array([confidence]), np.array([True]))
    assert [each.rows for each in bins].index(1) == place


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=50), st.integers(1, 20))
def test_every_row_is_in_one_bin_whose_ends_hold_its_confidence(rows, num_bins):
    confidence, correct = np.array([p for p, _ in rows]), np.array([c for _, c in rows])
    bins = reliability_bins(confidence, correct, num_bins=num_bins)
    assert sum(each.rows for each in bins) == len(rows)
    for each in bins:
        if each.rows:
            assert each.low - 1e-9 <= each.confidence <= each.high + 1e-9
    assert 0 <= expected_calibration_error(bins) <= 1


def test_a_model_that_is_as_sure_as_it_is_right_has_no_calibration_error():
    confidence, correct = np.full(4, 0.75), np.array([True, True, True, False])
    assert expected_calibration_error(reliability_bins(confidence, correct)) == pytest.approx(0.0)


def test_risks_are_the_wrong_shares_of_the_most_confident_rows():
    risk = risk_coverage(np.array([0.6, 0.9, 0.8, 0.7]), np.array([False, True, False, True]))
    assert risk.risks == pytest.approx([0, 1 / 2, 1 / 3, 2 / 4])
    assert risk.best_risks == pytest.approx([0, 0, 1 / 3, 2 / 4])
    assert risk.area == pytest.approx((0 + 1 / 2 + 1 / 3 + 2 / 4) / 4)
    assert risk.best_area == pytest.approx((1 / 3 + 2 / 4) / 4)
    assert risk.accuracy_at(0.5) == pytest.approx(1 / 2)
    assert risk.accuracy_at(1.0) == pytest.approx(1 / 2)


def test_a_perfect_order_reaches_the_best_area():
    risk = risk_coverage(np.array([0.9, 0.8, 0.3, 0.2]), np.array([True, True, False, False]))
    assert risk.area == pytest.approx(risk.best_area)


def test_rows_of_equal_confidence_count_in_no_order():
    confidence = np.array([0.9, 0.5, 0.5, 0.5])
    expected = [0, (1 / 3) / 2, (2 / 3) / 3, 1 / 4]
    for order in ([True, False, True, True], [True, True, True, False]):
        assert risk_coverage(confidence, np.array(order)).risks == pytest.approx(expected)
