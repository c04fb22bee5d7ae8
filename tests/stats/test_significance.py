"""Intervals and tests of accuracies against scipy, the binomial distribution, and counting by hand."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from clue_bench.errors import ClueBenchError
from clue_bench.stats.significance import (
    Bools,
    PairTests,
    accuracy_interval,
    holm,
    mcnemar,
    mcnemar_p_values,
    mean_tests,
    pair_tests,
    paired_test,
    rows_variance,
    t_quantile,
)


def rows_right(right: int, rows: int) -> np.ndarray:
    return np.arange(rows) < right


@pytest.mark.parametrize(("right", "rows"), [(2_978, 4_316), (5_299, 10_000), (150, 2_599), (0, 7), (7, 7)])
def test_the_interval_of_one_run_is_wilsons(right: int, rows: int) -> None:
    found = accuracy_interval(rows_right(right, rows))
    wilson = stats.binomtest(right, rows).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((wilson.low, wilson.high), abs=1e-9)


def test_a_seed_that_repeats_another_does_not_narrow_the_interval() -> None:
    one = rows_right(60, 100)
    assert accuracy_interval(np.stack([one] * 5)) == pytest.approx(accuracy_interval(one))


def test_more_seeds_shrink_what_seeds_change_on_single_rows() -> None:
    rng = np.random.default_rng(0)
    chance = rng.choice([0.4, 0.9], 2_000)
    errors = [math.sqrt(rows_variance(rng.random((seeds, 2_000)) < chance)) for seeds in (1, 20)]
    assert errors[0] == pytest.approx(math.sqrt(0.65 * 0.35 / 2_000), rel=0.02)
    assert errors[1] == pytest.approx(0.25 / math.sqrt(2_000), rel=0.1)  # the rows' own difficulty, sd 0.25, is left


def test_seeds_that_disagree_widen_the_interval_to_that_of_students_t() -> None:
    seeds = np.stack([rows_right(right, 20_000) for right in (11_000, 12_000, 13_000)])
    found, shares = accuracy_interval(seeds), np.array([0.55, 0.6, 0.65])
    margin = stats.t(2).ppf(0.975) * shares.std(ddof=1) / math.sqrt(3)
    assert (found.high - found.low) / 2 == pytest.approx(margin, rel=0.05)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=80))
def test_mcnemar_counts_discordant_rows_and_sums_the_binomial(pairs):
    a, b = np.array(pairs, dtype=np.bool_).T
    found = mcnemar(a, b)
    only_a, only_b = sum(x and not y for x, y in pairs), sum(y and not x for x, y in pairs)
    assert (found.only_a, found.only_b) == (only_a, only_b)
    discordant = only_a + only_b
    tail = sum(math.comb(discordant, k) for k in range(min(only_a, only_b) + 1)) / 2**discordant
    assert found.p_value == pytest.approx(min(1.0, 2 * tail))
    assert found == (only_a, only_b, found.p_value)
    assert mcnemar(b, a).p_value == pytest.approx(found.p_value)


def test_mcnemar_refuses_several_seeds_and_other_rows():
    one = rows_right(3, 5)
    for other in (np.stack([one, one]), rows_right(3, 6)):
        with pytest.raises(ClueBenchError, match="the same rows"):
            mcnemar(one, other)


def test_equal_runs_do_not_differ() -> None:
    one = rows_right(30, 50)
    assert mcnemar(one, one).p_value == 1.0
    assert paired_test(np.stack([one, ~one]), np.stack([one, ~one])).p_value == 1.0


def test_the_interval_of_a_difference_stays_within_what_two_shares_can_differ_by() -> None:
    drawn = np.random.default_rng(2)
    rows = np.ones((2, 12), dtype=bool), drawn.random((2, 12)) < [[0.9], [0.1]]  # two seeds far apart
    interval = paired_test(*rows).interval
    assert (interval.low >= -1.0, interval.high) == (True, 1.0)


def test_an_interval_over_nothing_is_an_error() -> None:
    with pytest.raises(ClueBenchError, match="no rows"):
        accuracy_interval(np.array([], dtype=np.bool_))


def equal_models(rng: np.random.Generator, *, models: int, seeds: int, points: float, rows: int) -> list[Bools]:
    """Return models that are equally good: what they have right is row, seed (sd in points) and chance."""
    row = rng.normal(0.0, 1.0, rows)
    found = []
    for _ in range(models):
        seed = rng.normal(0.0, points / 100, (seeds, 1)) / 0.27  # 0.27: what a threshold of 0.36 gains per unit
        found.append(row + rng.normal(0.0, 1.0, (seeds, rows)) < 0.36 + seed)
    return found


def p_values_of(models: list[Bools]) -> np.ndarray:
    return pair_tests(models).p_values


def test_five_models_that_are_equally_good_are_separated_no_more_often_than_the_level() -> None:
    rng = np.random.default_rng(3)
    families = []
    for _ in range(250):
        upper = p_values_of(equal_models(rng, models=5, seeds=3, points=2.5, rows=1_500))[np.triu_indices(5, 1)]
        families.append(min(holm(upper.tolist())) < 0.05)
    assert np.mean(families) < 0.1


def test_where_seeds_are_all_that_varies_the_p_value_is_that_of_welchs_t_test() -> None:
    right = ([62_000, 65_500, 60_100], [54_000, 56_000, 52_500, 58_000])
    a, b = (np.array([rows_right(n, 100_000) for n in side]) for side in right)  # no row is right by chance
    expected = stats.ttest_ind(*(np.array(side) for side in right), equal_var=False).pvalue
    assert paired_test(a, b).p_value == pytest.approx(expected, rel=0.15)


def test_where_rows_are_all_that_varies_the_p_value_is_that_of_the_paired_t_test() -> None:
    rng = np.random.default_rng(4)
    base = rng.random(800) < 0.6
    models = [np.stack([base ^ (rng.random(800) < flips)] * 2) for flips in (0.0, 0.1, 0.2)]  # both seeds the same
    p_values = p_values_of(models)
    for one, other in ((0, 1), (0, 2), (1, 2)):
        expected = stats.ttest_rel(models[one][0].astype(float), models[other][0].astype(float)).pvalue
        assert p_values[one, other] == pytest.approx(expected)


def test_what_seeds_change_on_single_rows_counts_once() -> None:
    rng = np.random.default_rng(5)
    chance = rng.choice([0.3, 0.9], 20_000)
    a, b = (rng.random((10, 20_000)) < chance for _ in range(2))
    noise = 2 * np.mean(chance * (1 - chance)) / 10 / 20_000
    assert pair_tests([a, b]).variance[0, 1] == pytest.approx(noise, rel=0.3)


def test_a_single_seed_varies_as_the_pooled_seeds_of_the_others_unless_it_is_fixed() -> None:
    a, b, single = equal_models(np.random.default_rng(3), models=3, seeds=4, points=5.0, rows=2_000)
    a, single = a[:2], single[:1]
    spread = [model.mean(axis=1).var(ddof=1) for model in (a, b)]
    borrowed, fixed = (pair_tests([a, b, single], is_fixed=[False, False, is_fixed]) for is_fixed in (False, True))
    pooled = (spread[0] + 3 * spread[1]) / 4
    assert borrowed.variance[0, 2] - fixed.variance[0, 2] == pytest.approx(pooled, rel=0.1)
    assert borrowed.variance[0, 1] == fixed.variance[0, 1]


def test_of_single_seeds_alone_no_test_is_known_and_fixed_ones_are_mcnemars() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.random((2, 300)) < 0.6
    assert np.isnan(p_values_of([a, b])).all()
    assert np.isnan(pair_tests([a, b], is_fixed=[False, True]).p_values[0, 1])
    assert pair_tests([a, b], is_fixed=[True, True]).p_values[0, 1] == mcnemar(a, b).p_value


def test_the_mean_of_independent_columns_has_half_the_error_of_one_of_four() -> None:
    models = equal_models(np.random.default_rng(3), models=2, seeds=3, points=2.0, rows=500)
    one = pair_tests(models)
    mean = mean_tests([one] * 4)
    assert mean.variance == pytest.approx(one.variance / 4)
    assert mean.difference == pytest.approx(one.difference)
    assert mean.freedom[0, 1] == pytest.approx(4 * one.freedom[0, 1])


def test_models_that_are_right_on_the_same_rows_are_not_separated() -> None:
    rows = np.random.default_rng(0).random(500) < 0.7
    p_values = p_values_of([np.stack([each] * 2) for each in (rows, rows, ~rows)])
    assert p_values[0, 1] == 1.0
    assert p_values[0, 2] == p_values[1, 2] < 1e-9


def test_all_right_against_all_wrong_is_separated_although_nothing_varies() -> None:
    assert p_values_of([np.stack([rows_right(right, 7)] * 2) for right in (7, 0)])[0, 1] < 1e-9


def test_many_single_runs_have_the_p_values_of_mcnemar_one_pair_at_a_time() -> None:
    rng = np.random.default_rng(2)
    base = rng.random(400) < 0.6
    runs = [base, base, base ^ (rng.random(400) < 0.02), base ^ (rng.random(400) < 0.3), rng.random(400) < 0.5]
    expected = [[mcnemar(one, other).p_value for other in runs] for one in runs]
    assert mcnemar_p_values(runs) == pytest.approx(np.array(expected))


@pytest.mark.parametrize("test", [pair_tests, mcnemar_p_values])
def test_models_on_different_numbers_of_rows_cannot_be_paired(test: Callable[[list[Bools]], object]) -> None:
    with pytest.raises(ClueBenchError, match="cannot pair models"):
        test([np.ones(3, dtype=np.bool_), np.ones(4, dtype=np.bool_)])


@pytest.mark.parametrize("freedom", [1, 2.5, 40, math.inf])
def test_the_quantile_is_students_and_at_last_the_normal_one(freedom: float) -> None:
    assert t_quantile(0.975, freedom) == pytest.approx(stats.t(freedom).ppf(0.975))


@pytest.mark.parametrize(
    ("p_values", "adjusted"),
    [
        ([], []),
        ([0.03], [0.03]),
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),  # 3 × .01, 2 × .03, then no less than the one before
        ([0.5, 0.9], [1.0, 1.0]),
        ([0.02, 0.001], [0.02, 0.002]),
    ],
)
def test_p_values_of_a_family_are_adjusted_by_holms_steps(p_values: list[float], adjusted: list[float]) -> None:
    assert holm(p_values) == pytest.approx(adjusted)


def test_two_runs_as_they_are_have_mcnemars_test_and_seeds_welchs() -> None:
    rng = np.random.default_rng(7)
    a, b = rng.random((3, 500)) < 0.7, rng.random((2, 500)) < 0.6
    found = paired_test(a[0], b[0], is_fixed=(True, True))
    assert (found.name, found.p_value) == ("McNemar", mcnemar(a[0], b[0]).p_value)
    found, tests = paired_test(a, b), pair_tests([a, b])
    assert (found.name, found.p_value) == ("Welch", tests.p_values[0, 1])
    assert found.difference == pytest.approx(a.mean() - b.mean())
    middle, margin = found.difference, tests.margins()[0, 1]
    assert found.interval == pytest.approx((middle - margin, middle + margin, 0.95))


def test_an_interval_excludes_nothing_just_where_the_test_is_below_the_level() -> None:
    rng = np.random.default_rng(9)
    tests = pair_tests([rng.random((2, 400)) < share for share in np.linspace(0.5, 0.7, 12)])
    pair = np.triu_indices(12, 1)
    excludes = np.abs(tests.difference) > tests.margins()
    assert (excludes[pair] == (tests.p_values[pair] < 0.05)).all()
    assert isinstance(tests.of([0, 1]), PairTests)
