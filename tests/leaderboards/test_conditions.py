"""What makes rows of one table not comparable is said, and only where it is so."""

from collections.abc import Callable

from clue_bench.doors.records import RunRecord
from clue_bench.leaderboards.measured.cells import MeasuredTable, measured_tables
from clue_bench.leaderboards.measured.conditions import differing_conditions
from clue_bench.leaderboards.measured.frames import run_frame
from clue_bench.leaderboards.measured.tables import measured_section

MakeRecord = Callable[..., RunRecord]
OTHER = {"model": "other", "sha256": "b" * 64}


def table(*records: RunRecord) -> MeasuredTable:
    (one,) = measured_tables(run_frame(records))
    return one


def test_rows_made_alike_differ_in_nothing(make_record: MakeRecord) -> None:
    assert differing_conditions(table(make_record(), make_record(**OTHER))) == []


def test_seeds_search_size_and_commit_are_named_with_who_has_which(make_record: MakeRecord) -> None:
    code = {"version": "0.1.0", "commit": "fedcba9876543210", "dirty": True}
    found = table(
        make_record(seed=1),
        make_record(seed=2),
        make_record(**OTHER, code=code, learning_rate=1e-4),
        make_record(**OTHER, code=code, learning_rate=3e-5),
    )
    assert differing_conditions(found) == [
        "Not strictly comparable, since the rows differ in more than the model: seeds: 1 (other), 2 (tiny); settings "
        "tried: 2 (other), 1 (tiny); dev scores to choose from: 2 (other), 1 (tiny); commit: fedcba9+dirty (other), "
        "0123456 (tiny)."
    ]
    assert differing_conditions(found)[0] in measured_section(found)


def test_another_precision_or_machine_is_named(make_record: MakeRecord) -> None:
    here = make_record(effective={"precision": "fp32"}, hardware={"processor": "a CPU"})
    there = make_record(**OTHER, effective={"precision": "bf16"}, hardware={"processor": "another CPU", "gpu": "a GPU"})
    (sentence,) = differing_conditions(table(here, there))
    assert sentence.endswith(
        "more than the model: precision: bf16 (other), fp32 (tiny); machine: a GPU (other), a CPU (tiny)."
    )


def test_columns_that_one_model_lacks_make_no_difference(make_record: MakeRecord) -> None:
    more = [make_record("tnews", 5000, **OTHER, seed=seed) for seed in (1, 2)]
    assert differing_conditions(table(make_record(), make_record(**OTHER), *more)) == []


def test_floors_are_made_otherwise_and_do_not_count(make_record: MakeRecord) -> None:
    floor = make_record(model="floor-tfidf", sha256="c" * 64, is_floor=True, code={"version": "0.2"})
    assert differing_conditions(table(make_record(), floor)) == []
