"""Calibration and risk-coverage, counted by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clue_bench.analysis.calibration import expected_calibration_error, reliability_bins, risk_coverage


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
