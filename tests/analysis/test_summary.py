"""What several seeds come to: mean, deviation, interval, and the comparison with the best floor."""

import json
import math

import numpy as np
import pytest

from clue_bench.analysis.comparison import compare_runs
from clue_bench.analysis.summary import summarise
from clue_bench.doors.records import MAJORITY_CLASS
from clue_bench.errors import ClueBenchError
from clue_bench.stats.significance import bootstrap_interval

GOLD = ["108", "103", "104", "116", "104", "109"]


def right(number):
    """Predictions of which the first `number` are right."""
    return [*GOLD[:number], *["100"] * (6 - number)]


@pytest.fixture
def finished(make_run):
    """Return a function that writes a run with so many right predictions."""

    def make(number, *, name, seed=1, model="tiny", macro_f1=0.5, **changed):
        dev = {"rows": 6, "correct": number, "macro_f1": macro_f1, "majority_share": 2 / 6}
        results = {"dev": dev, "best_step": 20, "evaluations": []}
        return make_run(right(number), name=name, seed=seed, model=model, results=results, **changed)

    return make


def test_seeds_are_averaged_with_their_sample_deviation_and_interval(finished):
    runs = [
        finished(n, name=f"r{s}", seed=s, macro_f1=n / 10, wall_seconds=10.0 * s) for s, n in enumerate((5, 3, 4), 1)
    ]
    found = summarise(runs, [])
    assert found.accuracies == pytest.approx((5 / 6, 3 / 6, 4 / 6))
    assert found.mean == pytest.approx(np.mean(found.accuracies))
    assert found.deviation == pytest.approx(np.std(found.accuracies, ddof=1))
    correct = np.array([[number < n for number in range(6)] for n in (5, 3, 4)])
    assert found.interval == bootstrap_interval(correct, seed=0)
    assert found.interval.low < found.mean < found.interval.high
    assert (found.macro_f1, found.seconds, found.majority_share) == (pytest.approx(0.4), 60.0, 2 / 6)
    assert (found.model, found.task, found.column) == ("tiny", "tnews", "TNEWS'")


def test_one_seed_has_no_deviation(finished):
    found = summarise([finished(4, name="r")], [])
    assert found.deviation is None
    assert found.as_json()["deviation"] is None
    assert found.accuracies == pytest.approx((4 / 6,))


def test_the_best_floor_is_compared_with_row_by_row(finished):
    runs = [finished(5, name=f"r{seed}", seed=seed) for seed in (1, 2)]
    low, high = finished(1, name="low", model="floor-low"), finished(3, name="high", model="floor-high")
    for floors in ([low, high], [high, low]):
        found = summarise(runs, floors)
        assert found.floor == "floor-high"
        assert found.over_floor == compare_runs(runs, [high])
        assert found.over_floor.difference.difference == pytest.approx(2 / 6)
        assert not found.misses_floor


@pytest.mark.parametrize(("number", "misses"), [(2, True), (3, True), (4, False)])
def test_a_mean_that_is_not_above_the_floor_misses_it(finished, number, misses):
    floor = finished(3, name="floor", model="floor-tfidf")
    assert summarise([finished(number, name="r")], [floor]).misses_floor is misses


def test_without_a_floor_nothing_is_missed_and_nothing_compared(finished):
    found = summarise([finished(0, name="r")], [])
    assert (found.floor, found.over_floor, found.misses_floor) == (None, None, False)
    assert (found.as_json()["floor"], found.as_json()["over_floor"]) == (None, None)


def test_a_flag_of_any_seed_is_a_flag_of_all(finished):
    runs = [finished(4, name="a", seed=1), finished(2, name="b", seed=2, flags=[MAJORITY_CLASS])]
    assert summarise(runs, []).flags == (MAJORITY_CLASS,)
    assert summarise(runs[:1], []).flags == ()


def test_all_of_it_is_plain_json(finished):
    runs = [finished(n, name=f"r{n}", seed=n) for n in (4, 5)]
    found = summarise(runs, [finished(1, name="floor", model="floor-tfidf")])
    values = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert values["seeds"] == 2
    assert values["accuracies"] == pytest.approx([4 / 6, 5 / 6])
    assert math.isclose(values["mean"], 0.75)
    assert values["interval"]["level"] == 0.95
    assert values["over_floor"]["b"]["model"] == values["floor"] == "floor-tfidf"


def test_runs_that_are_not_seeds_of_one_setting_on_the_same_rows_are_refused(finished, other_data):
    one, floor = finished(4, name="a"), finished(1, name="floor", model="floor-tfidf")
    elsewhere = finished(1, name="c", model="floor-tfidf", data=other_data)
    other = finished(4, name="b", seed=2, effective={"learning_rate": 3e-4})
    with pytest.raises(ClueBenchError, match="cannot be compared"):
        summarise([one], [elsewhere])
    for floors in ([floor], []):
        with pytest.raises(ClueBenchError, match="mixes settings: learning_rate"):
            summarise([one, other], floors)
    with pytest.raises(ClueBenchError, match="the run is failed"):
        summarise([finished(4, name="d", status="failed", error="out of memory")], [])
