"""Ranks are the places that paired tests leave open, and nothing is claimed of what cannot be tested."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from clue_bench.doors.records import RunRecord
from clue_bench.doors.results import RowBits
from clue_bench.leaderboards.cells import MeasuredTable
from clue_bench.leaderboards.leaderboard import build
from clue_bench.leaderboards.measured import measured_section
from clue_bench.leaderboards.ranks import NO_TEST_NOTE, ONE_SEED_NOTE, RANK_NOTE, Ranks, _ranks, _with_implied, ranks_of
from clue_bench.leaderboards.runs import measured_tables
from clue_bench.stats.significance import Bools, PairTests, paired_test

MakeRecord = Callable[..., RunRecord]
Make = Callable[..., RunRecord]
TASKS = ("afqmc", "tnews", "iflytek", "cmnli")
ROWS = 1000


@pytest.fixture
def make(make_record: MakeRecord) -> Make:
    """Return a function that makes the record of a run with these rows right, by default of a floor: without seeds."""

    def make(model: str, correct: Bools, task: str = "afqmc", **facts: object) -> RunRecord:
        facts = {"sha256": (model[0] * 64), "is_floor": True, **facts}
        made = make_record(task, int(correct.sum()), rows=len(correct), model=model, **facts)
        results = made.completed_results.model_copy(update={"dev_correct": RowBits.pack(correct)})
        return made.model_copy(update={"results": results})

    return make


def first(right: int, *, rows: int = ROWS, offset: int = 0) -> Bools:
    """Return rows of which `right` are right, from `offset` on."""
    return np.roll(np.arange(rows) < right, offset)


def table(*records: RunRecord) -> MeasuredTable:
    (one,) = measured_tables(records)
    return one


def column(records: list[RunRecord], name: str = "AFQMC") -> Ranks:
    (found,) = (ranks for ranks in ranks_of(table(*records)) if ranks.column == name)
    return found


def places(ranks: Ranks) -> dict[str, str]:
    return {model: rank.text for model, rank in ranks.by_model.items()}


def test_a_difference_that_mcnemars_test_separates_is_two_ranks_and_another_is_a_tie(make: Make) -> None:
    # a and b: 20 rows against 0; b and c: 20 rows against 19.
    records = [make("a", first(520)), make("b", first(500)), make("c", first(499, offset=20))]
    ranks = column(records)
    assert places(ranks) == {"a": "1", "b": "2–3", "c": "2–3"}
    p_values = {(pair.better, pair.worse): pair.p_value for pair in ranks.pairs}
    assert p_values["b", "c"] == pytest.approx(stats.binomtest(20, 41, 0.5).pvalue, rel=0.5)
    assert p_values["a", "b"] == pytest.approx(2 * stats.binomtest(20, 20, 0.5).pvalue)  # Holm: a and c come first


def test_equal_models_share_both_places(make: Make) -> None:
    assert places(column([make("a", first(500)), make("b", first(500))])) == {"a": "1–2", "b": "1–2"}


def separations(ranks: Ranks) -> list[tuple[str, bool]]:
    return [(pair.better + pair.worse, pair.is_separated) for pair in ranks.pairs]


def test_the_first_and_the_last_of_a_chain_are_told_apart_and_the_one_between_is_open(make: Make) -> None:
    # Neighbours differ by 6 rows against 0, p = 0.031 before Holm; a and c by 12 against 0, p = 0.0005.
    ranks = column([make("a", first(512)), make("b", first(506)), make("c", first(500))])
    assert separations(ranks) == [("ab", False), ("ac", True), ("bc", False)]
    assert places(ranks) == {"a": "1–2", "b": "1–3", "c": "2–3"}


def test_neighbours_that_are_separated_are_one_above_the_other_and_the_rest_is_open(make: Make) -> None:
    # b is right on every row that c is, and on 12 more; a is right on other rows, so that nothing can be said of it.
    ranks = column([make("a", first(502, offset=400)), make("b", first(500)), make("c", first(488))])
    assert separations(ranks) == [("ab", False), ("ac", False), ("bc", True)]
    assert places(ranks) == {"a": "1–3", "b": "1–2", "c": "2–3"}


def test_a_third_model_between_two_separates_them_and_ranges_without_a_common_place_are_separated() -> None:
    # Six places; nothing but 0 > 2 > 4 and 1 > 3 > 5 was found, and what follows from it.
    found = np.zeros((6, 6), dtype=np.bool_)
    for better, worse in ((0, 2), (2, 4), (1, 3), (3, 5)):
        found[better, worse] = True
    implied = _with_implied(found)
    assert {(int(one), int(other)) for one, other in np.argwhere(implied & ~found)} == {(0, 4), (1, 5)}


@given(data=st.data())
def test_two_models_that_are_not_separated_always_have_a_place_in_common(data: st.DataObject) -> None:
    size = data.draw(st.integers(2, 7))
    p_values = np.ones((size, size))
    for one in range(size):
        for other in range(one):
            p_values[one, other] = p_values[other, one] = data.draw(st.sampled_from([1e-9, 1.0]))
    accuracies = np.linspace(0.9, 0.1, size)
    tests = PairTests(accuracies[:, None] - accuracies, np.ones_like(p_values), np.ones_like(p_values), p_values)
    ranks = _ranks("AFQMC", list("abcdefg"[:size]), tests, ())
    for pair in ranks.pairs:
        better, worse = ranks.by_model[pair.better], ranks.by_model[pair.worse]
        assert 1 <= better.first <= better.last <= size
        assert pair.is_separated or worse.first <= better.last
        assert not pair.is_separated or (better.first < worse.first and better.last < worse.last)


def test_seeds_are_what_several_seeds_are_tested_on(make: Make) -> None:
    # Every seed's rows are those of the next best: nothing but seeds varies, but for the rows that they differ in.
    right = {"a": (620, 655, 601), "b": (540, 560, 525)}
    records = [
        make(name, first(of_seed), seed=of_seed, is_floor=False) for name, seeds in right.items() for of_seed in seeds
    ]
    (pair,) = column(records).pairs
    models = [np.stack([first(of_seed) for of_seed in seeds]) for seeds in right.values()]
    assert pair.p_value == pytest.approx(paired_test(*models).p_value)
    assert pair.p_value > 0.001  # one run against one has 80 rows against 0; three seeds a side say less


def test_a_floor_is_not_taken_to_vary_over_seeds(make: Make) -> None:
    seeds = [make("a", first(right), seed=right, is_floor=False) for right in (600, 640, 560)]
    p_values = [
        column([*seeds, make("b", first(400), is_floor=is_floor)]).pairs[0].p_value for is_floor in (False, True)
    ]
    assert p_values[1] < p_values[0] / 1.5


def test_a_single_seed_ranks_nothing_unless_others_of_the_column_say_how_seeds_vary(make: Make) -> None:
    alone = [make(name, first(right), is_floor=False) for name, right in (("a", 900), ("b", 300))]
    ranks = column([*alone, make("f", first(500)), make("g", first(100))])
    assert (ranks.one_seed, ranks.text("a"), places(ranks)) == (("a", "b"), "one seed", {"f": "1", "g": "2"})
    several = [make("c", first(right), seed=right, is_floor=False) for right in (600, 601, 602, 603)]
    assert places(column([*alone, *several])) == {"a": "1", "c": "2", "b": "3"}
    section = measured_section(table(*alone, make("f", first(500)), make("g", first(100))))
    assert ONE_SEED_NOTE in section


def test_hundreds_of_models_are_ranked_in_no_time(make: Make) -> None:
    rng = np.random.default_rng(0)
    names = [f"{place:04}" for place in range(300)]
    records = [make(name, rng.random(ROWS) < 0.5, sha256=name * 16) for name in names]
    assert len(column(records).pairs) == 44_850


def test_more_pairs_need_more_evidence(make: Make) -> None:
    # 8 rows against 0: p = 0.0078, and 0.0078 × 10 pairs is no longer below 0.05.
    two = [make("a", first(508)), make("b", first(500))]
    assert places(column(two)) == {"a": "1", "b": "2"}
    more = [make(name, first(500)) for name in "cde"]
    assert set(places(column([*two, *more])).values()) == {"1–5"}


def test_a_record_that_does_not_say_which_rows_were_right_gets_no_rank_and_leaves_the_others_theirs(
    make: Make, make_record: MakeRecord
) -> None:
    old = make_record(correct=990, rows=ROWS, model="old", sha256="o" * 64)
    ranks = column([make("a", first(600)), make("b", first(500)), old])
    assert places(ranks) == {"a": "1", "b": "2"}
    assert (ranks.untested, ranks.text("old"), ranks.by_model["a"].of) == (("old",), "no test", 2)


def test_one_seed_of_several_without_its_rows_is_enough_for_no_test(make: Make, make_record: MakeRecord) -> None:
    old = make_record(correct=500, rows=ROWS, model="a", sha256="a" * 64, seed=2)
    assert column([make("a", first(500)), old, make("b", first(400))]).untested == ("a",)


def test_a_model_alone_has_no_rank_to_show(make: Make, make_record: MakeRecord) -> None:
    assert column([make("a", first(500))]).text("a") == "–"
    section = measured_section(table(make_record()))
    assert "Ranks:" not in section


def test_score_is_ranked_only_where_all_four_columns_can_be_tested(make: Make, make_record: MakeRecord) -> None:
    both = [
        make(model, first(right, offset=7 * place), task)
        for place, task in enumerate(TASKS)
        for model, right in (("a", 560), ("b", 520))
    ]
    assert places(column(both, "Score")) == {"a": "1", "b": "2"}
    old = [make_record(task, 900, rows=ROWS, model="old", sha256="o" * 64) for task in TASKS]
    assert column([*both, *old], "Score").untested == ("old",)
    assert ranks_of(table(*both[:-1]))[0].column == "AFQMC"


def test_score_is_tested_on_the_mean_of_columns_that_are_redrawn_each_for_itself(make: Make) -> None:
    # The same rows in every column, but they are other rows to the test: the error of the mean is half a column's.
    rng = np.random.default_rng(0)
    a, b = (first(500) ^ (rng.random(ROWS) < 0.02) for _ in range(2))
    records = [make(model, correct, task) for task in TASKS for model, correct in (("a", a), ("b", b))]
    found = {ranks.column: ranks.pairs[0].p_value for ranks in ranks_of(table(*records))}
    assert set(found) == {"Score", "AFQMC", "TNEWS'", "IFLYTEK'", "CMNLI"}
    difference = a.astype(float) - b
    z = abs(difference.mean()) / (difference.var() / ROWS / len(TASKS)) ** 0.5
    assert found["Score"] == pytest.approx(2 * stats.norm.sf(z), abs=0.02)
    assert 0.02 < found["Score"] < found["AFQMC"] / 2


def test_the_board_shows_ranks_and_says_what_they_are(
    make: Make, make_record: MakeRecord, published_folder: Path
) -> None:
    old = make_record(correct=990, rows=ROWS, model="old", sha256="o" * 64)
    board = build([make("a", first(600)), make("b", first(599)), old], published_folder)
    assert "| 模型 | AFQMC |\n|:-:|:-:|\n| old | no test |\n| a | 1–2 |\n| b | 1–2 |" in board.markdown
    assert RANK_NOTE in board.markdown
    assert NO_TEST_NOTE in board.markdown
    ranks = board.to_json()["measured"][0]["ranks"]["AFQMC"]
    assert ranks["ranks"]["a"] == {"first": 1, "last": 2, "of": 2}
    assert ranks["untested"] == ["old"]
    assert ranks["pairs"] == [{"better": "a", "worse": "b", "p": 1.0, "separated": False}]


def test_ranks_do_not_depend_on_the_order_of_the_records(make: Make) -> None:
    rng = np.random.default_rng(5)
    records = [make(name, rng.random(ROWS) < 0.5, seed=seed, is_floor=False) for name in "abc" for seed in (1, 2)]
    assert ranks_of(table(*records)) == ranks_of(table(*reversed(records)))


def test_the_note_names_the_tests_and_the_correction() -> None:
    assert re.search(r"Student.*McNemar.*Holm", RANK_NOTE)
