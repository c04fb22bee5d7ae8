from collections.abc import Callable
from fractions import Fraction

import pytest

from clue_bench.doors.records import RunRecord
from clue_bench.errors import ClueBenchError
from clue_bench.leaderboards.runs import (
    commit_text,
    completed_runs,
    measured_tables,
    settings_fingerprint,
    unfinished_runs,
)

MakeRecord = Callable[..., RunRecord]


def test_a_completed_run_keeps_exact_numbers(make_record: MakeRecord) -> None:
    (run,) = completed_runs([make_record(correct=2977, rows=4316, flags=["majority_class"], run_id="one")])
    assert run.accuracy == Fraction(2977, 4316)
    assert (run.record.run_id, run.column.name, run.column.dev_rows) == ("one", "AFQMC", 4316)
    assert (commit_text(run.record.code), run.column.revision, run.dataset) == ("0123456", "official", "clue")


def test_no_records_give_no_tables() -> None:
    assert completed_runs([]) == measured_tables([]) == []


def test_runs_that_did_not_complete_are_listed_and_in_no_table(make_record: MakeRecord) -> None:
    records = [
        make_record(run_id="c", status="failed", error="out of memory", results={}),
        make_record(run_id="b", status="interrupted", results={}),
        make_record(run_id="a"),
        make_record(run_id="p", kind="pretrain", status="interrupted", results={}),
    ]
    assert [run.record.run_id for run in completed_runs(records)] == ["a"]
    assert [(run.run_id, run.status, run.error) for run in unfinished_runs(records)] == [
        ("b", "interrupted", ""),
        ("c", "failed", "out of memory"),
    ]


def test_seeds_share_a_settings_fingerprint_and_other_settings_do_not() -> None:
    first = settings_fingerprint({"learning_rate": 1e-4, "epochs": 3, "seed": 1})
    assert settings_fingerprint({"epochs": 3, "seed": 2, "learning_rate": 1e-4}) == first
    assert settings_fingerprint({"epochs": 3, "learning_rate": 1e-4, "class_balance": 0.0}) == first  # older records
    assert settings_fingerprint({"epochs": 3, "learning_rate": 1e-4, "class_balance": 0.5}) != first
    assert settings_fingerprint({"epochs": 5, "seed": 1, "learning_rate": 1e-4}) != first


def test_what_a_machine_made_of_auto_is_no_setting_and_what_was_asked_for_is() -> None:
    automatic = [settings_fingerprint({"precision": found}, {"settings": {}}) for found in ("bf16", "fp32")]
    asked = [settings_fingerprint({"precision": "bf16"}, {"settings": {"precision": it}}) for it in ("bf16", "fp32")]
    assert automatic[0] == automatic[1]
    assert len({automatic[0], *asked}) == 3


def test_seeds_of_two_machines_make_one_cell(make_record: MakeRecord) -> None:
    records = [
        make_record(seed=seed, effective={"epochs": 3, "precision": found}, asked={"task": "afqmc", "settings": {}})
        for seed, found in enumerate(("bf16", "fp32", "bf16"))
    ]
    (table,) = measured_tables(records)
    cell = table.models[0].cells["AFQMC"]
    assert (cell.num_settings, cell.seeds, cell.precisions) == (1, (0, 1, 2), ("bf16", "fp32"))


def test_the_same_run_given_twice_is_an_error(make_record: MakeRecord) -> None:
    with pytest.raises(ClueBenchError, match=r"'twin'.* twice"):
        completed_runs([make_record(run_id="twin"), make_record(run_id="twin")])


def test_a_setting_that_was_chosen_before_is_shown_and_the_others_are_counted(make_record: MakeRecord) -> None:
    high, low = make_record(correct=7200, learning_rate=1e-4), make_record(correct=7000, learning_rate=3e-5)
    for shown, accuracy in (((), 0.72), ((low.run_id,), 0.70)):
        (cell,) = measured_tables([high, low], shown)[0].cells
        assert (float(cell.accuracy), cell.num_settings) == (accuracy, 2)
