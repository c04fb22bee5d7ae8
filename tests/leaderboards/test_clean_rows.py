"""Rows that training repeats measure memory: beside the official score stands that of the others, which ranks."""

from collections.abc import Callable

import numpy as np
import pytest

from clue_bench.doors.records import RunRecord, parse_record
from clue_bench.doors.results import RowBits
from clue_bench.leaderboards.cells import MeasuredTable
from clue_bench.leaderboards.leaderboard import leaderboard_of
from clue_bench.leaderboards.measured import BEST_NOTE, measured_section
from clue_bench.leaderboards.runs import measured_tables
from clue_bench.stats.significance import Bools

MakeRecord = Callable[..., RunRecord]
Make = Callable[..., RunRecord]
ROWS, REPEATED = 1_000, 200


@pytest.fixture
def make(make_record: MakeRecord) -> Make:
    """Return a function that makes a record of these right rows; the first REPEATED rows stand in training."""

    def make(model: str, right: Bools, *, knows: bool = True, **facts: object) -> RunRecord:
        facts = {"sha256": model[0] * 64, **facts}
        record = make_record("tnews", int(right.sum()), rows=ROWS, model=model, **facts).model_dump(mode="json")
        record["results"]["dev_correct"] = RowBits.pack(right).model_dump()
        if knows:
            record["data"]["repeated"] = RowBits.pack(np.arange(ROWS) < REPEATED).model_dump()
        return parse_record(record)

    return make


def right(of_repeated: int, of_clean: int) -> Bools:
    rows = np.arange(ROWS)
    return (rows < of_repeated) | ((rows >= REPEATED) & (rows < REPEATED + of_clean))


def table(*records: RunRecord) -> MeasuredTable:
    (one,) = measured_tables(records)
    return one


def test_floors_and_tests_are_held_against_on_the_clean_rows(make: Make) -> None:
    # Over all rows the model is 5 points better than the floor; on the 800 clean ones it is worse.
    floor = make("floor-tfidf", right(100, 500), is_floor=True)
    model = [make("tiny", right(200, 450 + seed), seed=seed) for seed in (1, 2, 3)]
    board = leaderboard_of([*model, floor])
    (cell,) = (row.cells["TNEWS'"] for row in board.measured[0].models if row.label == "tiny")
    assert cell.accuracy > 0.65
    assert cell.clean_accuracy == pytest.approx(452 / 800)
    assert board.measured[0].misses_floor(cell)
    values = board.by_run[model[0].run_id]
    assert values["test"]["difference"] == pytest.approx((452 - 500) / 800)
    assert (values["clean"], values["repeated_rows"]) == (pytest.approx(452 / 800), 200)
    section = measured_section(board.measured[0])
    assert "200 of 1,000 dev rows have the texts of a training row" in section
    assert "Ranks and floors are on the other 800: " in section
    assert "tiny 56.50%, TF-IDF + 线性 62.50%" in section


def test_one_record_of_a_column_that_knows_the_rows_is_enough_for_older_ones(make: Make) -> None:
    older = make("tiny", right(200, 450), knows=False)
    assert table(older).models[0].cells["TNEWS'"].clean_text == "–"
    both = table(older, make("other", right(0, 500)))
    assert {model.label: model.cells["TNEWS'"].clean_text for model in both.models} == {
        "tiny": "56.25% of 800 rows",
        "other": "62.50% of 800 rows",
    }


def with_constant(record: RunRecord, *, shown: int) -> RunRecord:
    """Return an older record, of which a constant evaluation with 700 right rows was not shown."""
    values = record.model_dump(mode="json")
    dev = values["results"]["dev"]
    looks = [(700, 1.0, 1), (shown, 0.8, 2)]
    values["results"]["evaluations"] = [
        {**dev, "correct": n, "accuracy": n / ROWS, "top_share": share, "step": step, "epoch": 1.0, "train_loss": 1.0}
        for n, share, step in looks
    ]
    return parse_record(values)


def test_the_best_evaluation_is_shown_with_its_mark_and_the_best_that_is_not_constant_beside_it(make: Make) -> None:
    found = table(with_constant(make("tiny", right(200, 400)), shown=600))
    (cell,) = found.cells
    assert (float(cell.accuracy), cell.best_steps, cell.is_majority) == (0.7, (1,), True)
    assert (cell.non_constant_text, cell.correct) == ("60.00%", None)
    assert BEST_NOTE in measured_section(found)
    better = table(with_constant(make("tiny", right(200, 550)), shown=750))
    assert (better.cells[0].percent, better.cells[0].non_constant_text) == (75, "–")


def test_where_training_repeats_every_row_none_is_left_to_rank_on(make: Make) -> None:
    record = make("tiny", right(200, 450)).model_dump(mode="json")
    record["data"]["repeated"] = RowBits.pack(np.ones(ROWS, bool)).model_dump()
    section = measured_section(table(parse_record(record)))
    assert "1,000 of 1,000 dev rows have the texts of a training row. No other row is left" in section


def test_questions_on_one_passage_are_drawn_together_on_a_board(make: Make) -> None:
    def questions(model: str, right: Bools, **facts: object) -> RunRecord:
        values = make(model, right, knows=False, **facts).model_dump(mode="json")
        values["data"]["passages"] = RowBits.pack(np.arange(ROWS) % 10 == 0).model_dump()
        return parse_record(values)

    of_passages = np.random.default_rng(0).random(ROWS // 10) < 0.6
    together = questions("tiny", np.repeat(of_passages, 10))
    board = table(together, questions("floor-tfidf", np.arange(ROWS) % 2 == 0, is_floor=True))
    cell = next(model.cells["TNEWS'"] for model in board.models if not model.is_floor)
    plain = next(iter(table(make("tiny", np.repeat(of_passages, 10), knows=False)).models)).cells["TNEWS'"]
    assert float(cell.sampling_error) == pytest.approx(float(plain.sampling_error) * np.sqrt(10), rel=0.01)
    low, high = cell.interval
    assert high - low > 2.5 * (plain.interval[1] - plain.interval[0])
    section = measured_section(board)
    assert "draw whole passages: TNEWS' (100 passages)" in section
    assert "draw whole passages" not in measured_section(table(make("tiny", right(200, 450))))
