"""Numbers for people: one way to write each."""

import tomllib

import pytest

from clue_bench import numbers


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (numbers.count(8000), "8,000"),
        (numbers.percent(0.50756), "50.76 %"),
        (numbers.percent(1.0, 1), "100.0 %"),
        (numbers.points(-0.0123), "-1.23"),
        (numbers.scaled(4_915_200), "4.92 M"),
        (numbers.times(2.8), "2.8 ×"),
        (numbers.times(1.0312), "1.03 ×"),
        (numbers.times(41.7), "42 ×"),
        (numbers.counted(1, "shard"), "1 shard"),
        (numbers.counted(8000, "shard"), "8,000 shards"),
        (numbers.counted(0, "process", "processes"), "0 processes"),
        (numbers.article("interrupted run"), "an interrupted run"),
        (numbers.article("list"), "a list"),
    ],
)
def test_a_number_is_written_as_people_read_it(made, expected):
    assert made == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.018, "18 ms"),
        (1.321, "1.32 s"),
        (9.999, "10 s"),
        (47.4, "47 s"),
        (59.6, "1 m 0 s"),
        (107, "1 m 47 s"),
        (3_600, "1 h 0 m"),
        (7_530, "2 h 6 m"),
        (86_399, "1 d 0 h"),
        (273_600, "3 d 4 h"),
    ],
)
def test_a_time_has_its_two_largest_units(seconds, expected):
    assert numbers.duration(seconds) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(3e-4, "3e-4"), (1.5e-5, "1.5e-5"), (0.1, "0.1"), (1.0, "1"), (32768, "32768"), (True, "true"), ("mlm", "mlm")],
)
def test_a_setting_is_written_as_it_is_typed_and_read_back(value, expected):
    assert numbers.typed(value) == expected
    if not isinstance(value, str):
        assert tomllib.loads(f"value = {expected}")["value"] == value
