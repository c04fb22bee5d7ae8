from decimal import Decimal
from fractions import Fraction

import pytest

from clue_bench.leaderboards.scores import (
    SCORE_COLUMNS,
    exact,
    half_up,
    parameters_text,
    percentage,
    points_change,
    relative_change,
    score_of,
    size_text,
    speed_change,
)

TIES = [("67.565", "67.57"), ("69.455", "69.46"), ("67.435", "67.44"), ("68.915", "68.92")]


@pytest.mark.parametrize(("value", "rounded"), TIES)
def test_ties_are_rounded_up_where_binary_floats_and_bankers_rounding_miss_some(value: str, rounded: str) -> None:
    assert str(half_up(Decimal(value))) == rounded
    assert str(half_up(Fraction(value))) == rounded
    assert str(percentage(Fraction(value) / 100)) == rounded


def test_float_formatting_does_not_reproduce_the_published_scores() -> None:
    assert [f"{float(value):.2f}" for value, _ in TIES] != [rounded for _, rounded in TIES]


@pytest.mark.parametrize(
    ("columns", "score"),
    [
        ("73.70 56.58 60.29 79.69", "67.57"),
        ("69.92 53.35 48.71 70.61", "60.65"),
        ("69.52 54.57 57.31 73.10", "63.63"),
        ("74.44 58.41 62.77 82.20", "69.46"),
        ("74.41 58.38 63.58 82.36", "69.68"),
    ],
)
def test_score_is_the_half_up_mean_of_the_four_published_columns(columns: str, score: str) -> None:
    assert str(score_of(dict(zip(SCORE_COLUMNS, map(Decimal, columns.split()), strict=True)))) == score


def test_score_needs_all_four_columns() -> None:
    assert score_of({"AFQMC": Decimal("70.00"), "TNEWS'": Decimal("55.00"), "CMNLI": Decimal("70.00")}) is None


def test_a_float_from_json_counts_as_the_decimal_that_is_printed() -> None:
    assert str(percentage(exact(0.67565))) == "67.57"


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        (108_000_000, "108M"),
        (7_451_000, "7.5M"),
        (4_000_000, "4M"),
        (4_080_000, "4.1M"),
        (290_000_000, "290M"),
        (312_100_000, "312M"),
        (102_270_000, "102M"),
        (3_180_000, "3.2M"),
        (9_960_000, "10M"),
        (10_500_000, "11M"),
        (999_700, "1M"),
        (45_300, "45K"),
        (812, "812"),
    ],
)
def test_parameters_are_written_as_the_tables_do(parameters: int, text: str) -> None:
    assert parameters_text(parameters) == text


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


@pytest.mark.parametrize(
    ("parameters", "text"), [(312_100_864, "312M"), (28_410_624, "28.4M"), (7_449_936, "7.45M"), (99_950_000, "100.0M")]
)
def test_counted_sizes_have_three_significant_digits(parameters: int, text: str) -> None:
    assert size_text(parameters) == text
