from decimal import Decimal

import pytest

from clue_bench.leaderboards.arrows import points_change, relative_change, speed_change


@pytest.mark.parametrize(
    ("new", "old", "text"),
    [
        ("69.93", "69.52", "(↑0.41)"),
        ("69.52", "69.93", "(↓0.41)"),
        ("69.52", "69.52", "(=)"),
        ("1.005", "1", "(↑0.01)"),  # half up
        ("0.995", "1", "(↓0.01)"),  # away from zero on both sides
    ],
)
def test_points_carry_the_arrow_of_their_direction(new: str, old: str, text: str) -> None:
    assert points_change(Decimal(new), Decimal(old)) == text


@pytest.mark.parametrize(
    ("new", "old", "text"),
    [("8021", "21128", "(↓62.04%)"), ("92", "102", "(↓9.80%)"), ("7.5", "102", "(↓92.65%)"), ("3", "2", "(↑50.00%)")],
)
def test_relative_changes_are_shares_of_the_old_number(new: str, old: str, text: str) -> None:
    assert relative_change(Decimal(new), Decimal(old)) == text


@pytest.mark.parametrize(("new", "text"), [("350", "(↑15.43%)"), ("50", "(↑708.00%)"), ("808", "(↓50.00%)")])
def test_less_time_for_the_same_work_is_more_speed(new: str, text: str) -> None:
    assert speed_change(Decimal(new), Decimal(404)) == text
