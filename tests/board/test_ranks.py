"""Ranks come from paired tests: what none separates shares one, and nothing is claimed of what cannot be tested."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from clue_bench import correct_rows
from clue_bench.board.leaderboard import build_leaderboard
from clue_bench.board.measured.cells import MeasuredTable, measured_tables
from clue_bench.board.measured.frames import run_frame
from clue_bench.board.measured.ranks import NO_TEST_NOTE, RANK_NOTE, Ranks, ranks_of
from clue_bench.board.measured.tables import measured_section
from clue_bench.records import RunRecord
from clue_bench.significance import Bools, paired_bootstrap

MakeRecord = Callable[..., RunRecord]
Make = Callable[..., RunRecord]
TASKS = ("afqmc", "tnews", "iflytek", "cmnli")
ROWS = 1000


@pytest.fixture
def make(make_record: MakeRecord) -> Make:
    """Return a function that makes the record of a run with these rows right."""

    def make(model: str, correct: Bools, task: str = "afqmc", **facts: object) -> RunRecord:
        facts = {"sha256": (model[0] * 64), **facts}
        made = make_record(task, int(correct.sum()), rows=len(correct), model=model, **facts)
        return made.model_copy(update={"results": {**made.results, "dev_correct": correct_rows.pack(correct)}})

    return make


def first(right: int, *, rows: int = ROWS, offset: int = 0) -> Bools:
    """Return rows of which `right` are right, from `offset` on."""
    return np.roll(np.arange(rows) < right, offset)


def table(*records: RunRecord) -> MeasuredTable:
    (one,) = measured_tables(run_frame(records))
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
    assert places(ranks) == {"a": "1", "b": "=2", "c": "=2"}
    p_values = {(pair.better, pair.worse): pair.p_value for pair in ranks.pairs}
    assert p_values["b", "c"] == pytest.approx(stats.binomtest(20, 41, 0.5).pvalue, rel=0.5)
    assert p_values["a", "b"] == pytest.approx(2 * stats.binomtest(20, 20, 0.5).pvalue)  # Holm: a and c come first


def test_equal_models_share_the_first_rank(make: Make) -> None:
    assert places(column([make("a", first(500)), make("b", first(500))])) == {"a": "=1", "b": "=1"}


def test_models_that_are_not_separated_never_have_different_ranks_whatever_lies_between(make: Make) -> None:
    # Neighbours differ by 6 rows against 0, p = 0.031 before Holm; a and c by 12 against 0, p = 0.0005.
    ranks = column([make("a", first(512)), make("b", first(506)), make("c", first(500))])
    assert [(pair.better + pair.worse, pair.is_separated) for pair in ranks.pairs] == [
        ("ab", False),
        ("ac", True),
        ("bc", False),
    ]
    assert places(ranks) == {"a": "=1", "b": "=1", "c": "=1"}


def test_neighbours_that_are_separated_share_a_rank_if_one_above_is_not_separated_from_one_below(make: Make) -> None:
    # b is right on every row that c is, and on 12 more; a is right on other rows, so that nothing can be said of it.
    ranks = column([make("a", first(502, offset=400)), make("b", first(500)), make("c", first(488))])
    assert [(pair.better + pair.worse, pair.is_separated) for pair in ranks.pairs] == [
        ("ab", False),
        ("ac", False),
        ("bc", True),
    ]
    assert places(ranks) == {"a": "=1", "b": "=1", "c": "=1"}


def test_several_seeds_are_tested_by_the_bootstrap_that_compare_uses(make: Make) -> None:
    rng = np.random.default_rng(3)
    shared = rng.random(ROWS) < 0.6
    seeds = {
        name: np.stack([shared ^ (rng.random(ROWS) < flips) for _ in range(3)])
        for name, flips in (("a", 0.10), ("b", 0.14))
    }
    records = [make(name, correct, seed=seed) for name, models in seeds.items() for seed, correct in enumerate(models)]
    (pair,) = column(records).pairs
    alone = paired_bootstrap(seeds["a"], seeds["b"], seed=0).p_value
    assert pair.p_value == pytest.approx(alone, abs=0.02)


def test_more_pairs_need_more_evidence(make: Make) -> None:
    # 8 rows against 0: p = 0.0078, and 0.0078 × 10 pairs is no longer below 0.05.
    two = [make("a", first(508)), make("b", first(500))]
    assert places(column(two)) == {"a": "1", "b": "2"}
    more = [make(name, first(500)) for name in "cde"]
    assert set(places(column([*two, *more])).values()) == {"=1"}


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


def test_the_board_shows_ranks_and_says_what_a_tie_is(
    make: Make, make_record: MakeRecord, published_folder: Path
) -> None:
    old = make_record(correct=990, rows=ROWS, model="old", sha256="o" * 64)
    board = build_leaderboard([make("a", first(600)), make("b", first(599)), old], published_folder)
    assert "| 模型 | AFQMC |\n|:-:|:-:|\n| a | =1 |\n| b | =1 |\n| old | no test |" in board.markdown
    assert RANK_NOTE in board.markdown
    assert NO_TEST_NOTE in board.markdown
    ranks = board.as_json()["measured"][0]["ranks"]["AFQMC"]
    assert ranks["ranks"]["a"] == {"rank": 1, "shared": True, "of": 2}
    assert ranks["untested"] == ["old"]
    assert ranks["pairs"] == [{"better": "a", "worse": "b", "p": 1.0, "separated": False}]


def test_ranks_do_not_depend_on_the_order_of_the_records(make: Make) -> None:
    rng = np.random.default_rng(5)
    records = [make(name, rng.random(ROWS) < 0.5, seed=seed) for name in "abc" for seed in (1, 2)]
    assert ranks_of(table(*records)) == ranks_of(table(*reversed(records)))


def test_the_note_names_both_tests_and_the_correction() -> None:
    assert re.search(r"McNemar.*bootstrap.*Holm", RANK_NOTE)
