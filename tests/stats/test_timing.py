"""Repetitions become a median and an interval that can be checked against numpy and scipy."""

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import stats

from clue_bench.stats.timing import MedianInterval, passes, percentile, summarise


@pytest.mark.parametrize("num", [1, 2, 5, 6, 7, 9, 12, 20, 41])
def test_the_median_is_numpys(num: int) -> None:
    values = np.random.default_rng(num).lognormal(size=num)
    assert summarise(values).median == pytest.approx(np.median(values))
    assert summarise(values).values == values.tolist()


@pytest.mark.parametrize("num", range(1, 60))
def test_the_coverage_is_that_of_the_binomial_distribution(num: int) -> None:
    values = np.arange(1.0, num + 1)
    interval = summarise(values)
    k = int(interval.low)  # the values are their own ranks
    assert interval.high == num + 1 - k
    assert interval.coverage == pytest.approx(max(0.0, 1 - 2 * stats.binom.cdf(k - 1, num, 0.5)))
    if num < 6:  # even all of them are not enough
        assert (k, interval.coverage < 0.95) == (1, True)
        assert interval.has_few_values
    else:
        assert interval.coverage >= 0.95
        assert not interval.has_few_values
        assert 1 - 2 * stats.binom.cdf(k, num, 0.5) < 0.95, "a narrower interval would do"


@pytest.mark.parametrize("num", [6, 9, 17, 30])
def test_the_interval_is_that_of_scipys_quantile_test(num: int) -> None:
    values = np.random.default_rng(num).lognormal(size=num)
    expected = stats.quantile_test(values, q=float(np.median(values)), p=0.5).confidence_interval(0.95)
    interval = summarise(values)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))


def test_the_interval_holds_the_true_median_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    samples = generator.lognormal(size=(2_000, 9))  # true median 1
    intervals = [summarise(sample) for sample in samples]
    share = np.mean([interval.low <= 1 <= interval.high for interval in intervals])
    assert share == pytest.approx(intervals[0].coverage, abs=0.015)


@pytest.mark.parametrize(
    ("values", "noisy"), [([100, 101, 102], False), ([100, 105, 110], False), ([95, 100, 106], True)]
)
def test_a_measurement_that_disagrees_with_itself_is_noisy(values: list[float], noisy: bool) -> None:
    assert summarise(values).is_noisy is noisy


@pytest.mark.parametrize(
    ("mine", "other", "overlaps"), [([1, 2, 3], [3, 4, 5], True), ([1, 2, 3], [4, 5, 6], False), ([2], [1, 3], True)]
)
def test_intervals_overlap_or_not(mine: list[float], other: list[float], overlaps: bool) -> None:
    assert summarise(mine).overlaps(summarise(other)) is overlaps
    assert summarise(other).overlaps(summarise(mine)) is overlaps


@pytest.mark.parametrize("values", [[], [1.0, 0.0], [-1.0], [float("nan")], [float("inf")]])
def test_what_is_no_positive_number_is_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match=r"nothing was measured|greater than 0|finite"):
        summarise(values)


@pytest.mark.parametrize("change", [{"median": 2.5}, {"low": 0.5}, {"high": 9.0}, {"coverage": 0.95}, {"values": []}])
def test_an_interval_that_contradicts_its_values_is_refused(change: dict[str, object]) -> None:
    honest = summarise([1.0, 2.0, 3.0]).model_dump()
    assert MedianInterval.model_validate(honest).median == 2.0
    with pytest.raises(ValidationError):
        MedianInterval.model_validate({**honest, **change})


@pytest.mark.parametrize("percent", [0, 5, 50, 95, 100])
def test_percentiles_are_numpys(percent: float) -> None:
    values = np.random.default_rng(1).exponential(size=50).tolist()
    assert percentile(values, percent) == pytest.approx(np.percentile(values, percent))


@pytest.mark.parametrize(("one", "least", "expected"), [(0.3, 1.0, 4), (0.5, 1.0, 2), (3.0, 1.0, 1), (1.0, 1.0, 1)])
def test_short_work_is_repeated_until_it_is_long_enough(one: float, least: float, expected: int) -> None:
    assert passes(one, least_seconds=least) == expected
