"""Intervals of grouped rows and of macro-F1, against plain redrawing."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from clue_bench.stats.score_intervals import grouped_interval, macro_f1_interval
from clue_bench.stats.significance import accuracy_interval, pair_tests


def test_rows_of_groups_of_one_have_the_interval_of_independent_rows():
    correct = np.random.default_rng(0).random(500) < 0.7
    grouped, plain = grouped_interval(correct.astype(np.float64), np.arange(500)), accuracy_interval(correct)
    assert (grouped.low, grouped.high) == pytest.approx((plain.low, plain.high), abs=1e-3)


def test_rows_that_are_the_same_within_a_group_tell_no_more_than_the_groups():
    values = (np.random.default_rng(0).random(100) < 0.5).astype(np.float64)
    alone = grouped_interval(values, np.arange(100))
    repeated = grouped_interval(np.repeat(values, 9), np.repeat(np.arange(100), 9))
    assert repeated[:2] == pytest.approx(alone[:2], abs=1e-9)
    assert grouped_interval(np.ones(9), np.arange(9)).high == 1.0


def test_groups_of_several_sizes_have_the_interval_of_redrawn_groups():
    rng = np.random.default_rng(3)
    sizes = rng.integers(1, 9, 300)
    groups = np.repeat(np.arange(300), sizes)
    values = np.clip(rng.random(300)[groups] + rng.normal(0, 0.3, len(groups)), 0, 1)
    sums, draws = np.bincount(groups, weights=values), rng.integers(0, 300, (4_000, 300))
    means = sums[draws].sum(axis=1) / sizes[draws].sum(axis=1)
    assert grouped_interval(values, groups)[:2] == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=0.004)


def test_the_interval_of_macro_f1_is_that_of_redrawn_rows():
    rng = np.random.default_rng(0)
    gold = rng.integers(0, 4, 300)
    predicted = np.where(rng.random(300) < 0.6, gold, rng.integers(0, 4, 300))
    drawn = [rng.integers(0, 300, 300) for _ in range(400)]
    scores = [f1_score(gold[rows], predicted[rows], average="macro", zero_division=0.0) for rows in drawn]
    assert macro_f1_interval(gold, predicted)[:2] == pytest.approx(np.quantile(scores, [0.025, 0.975]), abs=0.015)


def grouped_models(seed, *, number=400):
    """Two models, three seeds each, on groups of questions that are right or wrong together."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(number), rng.integers(1, 8, number))
    hard = rng.random(number)[groups]
    gain = np.where(rng.random(number) < 0.3, 0.4, -0.05)[groups]
    chance = rng.random((3, len(groups)))
    return chance < hard * 0.8, chance[:, ::-1] < hard * 0.8 + gain, groups


def redrawn(values, groups, draws=4_000):
    rng = np.random.default_rng(1)
    sums, sizes = np.bincount(groups, weights=values), np.bincount(groups)
    drawn = rng.integers(0, len(sums), (draws, len(sums)))
    return sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)


def test_the_interval_of_a_mean_over_seeds_and_of_a_difference_are_those_of_redrawn_passages():
    a, b, groups = grouped_models(0)
    tests = pair_tests([a, b], groups=groups)
    assert np.sqrt(tests.variance[0, 1]) >= redrawn(a.mean(axis=0) - b.mean(axis=0), groups).std() * 0.97
    one = pair_tests([a[0], b[0]], is_fixed=(True, True), groups=groups)
    difference = a[0].astype(np.float64) - b[0]
    assert np.sqrt(one.variance[0, 1]) == pytest.approx(redrawn(difference, groups).std(), rel=0.05)
    assert one.test(0, 1).name == "over passages"
    assert one.test(0, 1).interval[:2] == pytest.approx(
        np.quantile(redrawn(difference, groups), [0.025, 0.975]), abs=0.004
    )
    plain = pair_tests([a[0], b[0]], is_fixed=(True, True))
    assert plain.variance[0, 1] < one.variance[0, 1]
    assert accuracy_interval(a[0], groups=groups) == grouped_interval(a[0].astype(np.float64), groups)
    assert accuracy_interval(a, groups=groups).low < accuracy_interval(a).low


def test_groups_of_one_row_each_change_no_variance():
    a, b, _ = grouped_models(2)
    alone = np.arange(a.shape[1])
    for models in ([a, b], [a[:1], b[:1]]):
        grouped, plain = pair_tests(models, groups=alone), pair_tests(models)
        assert grouped.variance == pytest.approx(plain.variance, nan_ok=True)
        assert grouped.uncertainty == pytest.approx(plain.uncertainty, nan_ok=True)
