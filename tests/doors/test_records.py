"""Door 3: run records are read as they were written, and nothing wrong is passed over."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from pydantic_core import PydanticSerializationError

from clue_bench.doors.records import (
    DataFacts,
    FileFacts,
    FinetuneRecord,
    ModelFacts,
    PretrainRecord,
    RunRecord,
    TaskFacts,
    parse_record,
    read_record,
    read_records,
    read_runs,
    record_path,
    record_schema,
    write_record,
)
from clue_bench.doors.results import RowBits
from clue_bench.errors import ClueBenchError

FILE = FileFacts(rows=4316, md5="0" * 32, expected_rows=4316, expected_md5="0" * 32)
DEV = {
    "rows": 4316,
    "correct": 2977,
    "accuracy": 2977 / 4316,
    "macro_f1": 0.5,
    "loss": 1e-300,
    "top_label": "0",
    "top_share": 1.0,
    "majority_label": "0",
    "majority_share": 0.69,
}
RESULTS = {"dev": DEV, "best_step": 1, "total_steps": 2}
PRETRAINED = {
    "step": 1,
    "loss": 2.5,
    "learning_rate": 1e-4,
    "gradient_norm": 1.0,
    "tokens": 10,
    "tokens_per_second": 1.0,
    "model_flops_per_second": 1.0,
    "seconds": 1.0,
    "epochs": 1.0,
    "mean_tokens_per_second": 1.0,
    "peak_memory_mib": 1,
    "curve": {"tokens": [10], "loss": [2.5], "held_out_loss": [None]},
}


def record(run_id: str = "afqmc-tiny-1", **facts: Any) -> RunRecord:
    fields = {
        "kind": "finetune",
        "run_id": run_id,
        "status": "completed",
        "started_at": "2026-01-01T00:00:00Z",
        "finished_at": "2026-01-01T00:01:00Z",
        "wall_seconds": 60.25,
        "asked": {"task": "afqmc", "set": ["seed=1"]},
        "effective": {"learning_rate": 1e-4, "epochs": 3, "weighted": False, "layers": None},
        "seed": 1,
        "task": TaskFacts(name="afqmc", title="AFQMC 蚂蚁金融", column="AFQMC", metric="accuracy"),
        "data": DataFacts(name="clue", revision="official", files={"dev": FILE}),
        "model": ModelFacts(name="tiny", parameters=7_450_000, sha256="a" * 64, layers=4, hidden_size=312),
        "code": {"version": "0.1.0", "commit": "0123456789abcdef", "dirty": True},
        "packages": {"torch": "2.11.0"},
        "hardware": {"cpu": "some", "cores": 2},
        "results": RESULTS,
        "flags": ["majority_class"],
    }
    return parse_record({**fields, **facts})


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"kind": "pretrain", "task": None, "results": PRETRAINED, "flags": []},
        {"status": "failed", "error": "ValueError: 坏", "finished_at": None, "results": {}},
        {"status": "interrupted", "results": {}},
        {"status": "interrupted"},
    ],
)
def test_a_record_is_read_as_it_was_written(tmp_path: Path, facts: dict[str, Any]) -> None:
    written = record(**facts)
    path = write_record(tmp_path / "runs", written)
    assert path == record_path(tmp_path / "runs", written.run_id) == tmp_path / "runs" / "afqmc-tiny-1.record.json"
    assert read_record(path) == written
    assert list(read_records(tmp_path)) == [written]


def test_a_record_is_json_for_everybody(tmp_path: Path) -> None:
    text = write_record(tmp_path, record()).read_text(encoding="utf-8")
    value = json.loads(text)
    assert list(value) == list(FinetuneRecord.model_fields)
    assert value["format_version"] == 1
    assert value["results"]["dev"]["accuracy"] == 2977 / 4316
    assert "蚂蚁金融" in text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_none_is_not_lost_in_silence(tmp_path: Path, value: float) -> None:
    # JSON has no NaN. Whether it is refused or written as text, it must not be read back as "not measured".
    try:
        path = write_record(tmp_path, record(kind="pretrain", results={**PRETRAINED, "loss": value}))
    except (ClueBenchError, ValueError):
        assert list(tmp_path.iterdir()) == []
    else:
        found = read_record(path)
        assert isinstance(found, PretrainRecord)
        assert found.completed_results.loss == value or value != value


def test_a_later_record_of_a_run_replaces_the_earlier_one(tmp_path: Path) -> None:
    write_record(tmp_path, record(status="interrupted"))
    write_record(tmp_path, record(status="completed"))
    assert [found.status for found in read_records(tmp_path)] == ["completed"]
    assert [path.name for path in tmp_path.iterdir()] == ["afqmc-tiny-1.record.json"]


def test_a_record_that_cannot_be_written_leaves_the_earlier_one(tmp_path: Path) -> None:
    write_record(tmp_path, record(status="interrupted"))
    with pytest.raises(PydanticSerializationError):
        write_record(tmp_path, record(asked={"task": object()}))
    assert [found.status for found in read_records(tmp_path)] == ["interrupted"]
    assert [path.name for path in tmp_path.iterdir()] == ["afqmc-tiny-1.record.json"]


def changed(folder: Path, **facts: object) -> Path:
    """Write a record and change keys of its JSON; None removes one."""
    path = write_record(folder, record())
    value = {**json.loads(path.read_text(encoding="utf-8")), **facts}
    path.write_text(json.dumps({key: fact for key, fact in value.items() if fact is not None}), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("facts", "key"),
    [
        ({"seed": None}, "seed"),
        ({"seed": "one"}, "seed"),
        ({"status": "done"}, "status"),
        ({"kind": "profile"}, "kind"),
        ({"format_version": 2}, "format_version"),
        ({"format_version": 2, "novelty": 1}, "format_version"),
        ({"novelty": 1}, "novelty"),
        ({"model": {"name": "tiny"}}, r"model\.parameters"),
        ({"data": {"name": "a", "revision": "b", "files": {"dev": {"rows": 1}}}}, r"data\.files\.dev\.md5"),
    ],
)
def test_an_invalid_record_names_file_and_key(tmp_path: Path, facts: dict[str, object], key: str) -> None:
    path = changed(tmp_path, **facts)
    expected = rf"afqmc-tiny-1\.record\.json: not a run record of format 1: {key}: "
    for read in (lambda: read_record(path), lambda: list(read_records(tmp_path))):
        with pytest.raises(ClueBenchError, match=expected):
            read()


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"\xff{}", b'{"format_version": 1'])
def test_a_file_that_is_no_record_is_named(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "half.record.json").write_bytes(data)
    with pytest.raises(ClueBenchError, match=r"half\.record\.json: .*format 1"):
        list(read_records(tmp_path))


def test_records_come_from_any_depth_in_the_order_of_their_paths(tmp_path: Path) -> None:
    write_record(tmp_path / "b" / "deep", record("b"))
    write_record(tmp_path / "a", record("a"))
    write_record(tmp_path, record("c"))
    (tmp_path / "a" / "metrics.jsonl").write_text("{}")
    (tmp_path / "a" / ".a.record.json.123.tmp").write_text("{")
    assert [found.run_id for found in read_records(tmp_path)] == ["a", "b", "c"]


def test_runs_behind_a_link_are_found_and_none_twice(tmp_path: Path) -> None:
    write_record(tmp_path / "disk" / "a", record("a"))
    write_record(tmp_path / "runs" / "b", record("b"))
    (tmp_path / "runs" / "a").symlink_to(tmp_path / "disk" / "a")
    (tmp_path / "runs" / "0-newest").symlink_to(tmp_path / "runs" / "b")
    assert [found.folder for found in read_runs(tmp_path / "runs")] == [tmp_path / "runs" / name for name in "ab"]


def test_a_copied_record_counts_once_in_the_folder_of_its_run(tmp_path: Path) -> None:
    for name in ("afqmc-tiny-1", "afqmc-tiny-2"):
        write_record(tmp_path / "runs" / name, record(name))
        write_record(tmp_path / "published", record(name))
    found = read_runs(tmp_path)
    assert [each.record.run_id for each in found] == ["afqmc-tiny-1", "afqmc-tiny-2"]
    assert [each.folder for each in found] == [tmp_path / "runs" / each.record.run_id for each in found]
    assert all(each.copies == (tmp_path / "published",) for each in found)


def test_of_a_run_done_again_the_complete_and_newest_record_counts_and_the_others_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    times = {"a": ("completed", "2026-01-01"), "b": ("completed", "2026-01-03"), "c": ("interrupted", "2026-01-04")}
    for name, (status, started_at) in times.items():
        changes = {"status": status, "started_at": started_at, **({} if status == "completed" else {"results": None})}
        write_record(tmp_path / name, record().model_copy(update=changes))
    (found,) = read_runs(tmp_path)
    assert found.folder == tmp_path / "b"
    assert [line.split(":")[0] for line in caplog.messages] == [str(tmp_path / name) for name in ("a", "c")]


def test_a_record_under_another_name_is_an_error(tmp_path: Path) -> None:
    write_record(tmp_path, record()).rename(tmp_path / "renamed.record.json")
    with pytest.raises(ClueBenchError, match=r"renamed\.record\.json.*run_id|run_id.*renamed\.record\.json"):
        list(read_records(tmp_path))


def test_a_missing_folder_is_an_error_and_an_empty_one_is_not(tmp_path: Path) -> None:
    with pytest.raises(ClueBenchError, match="missing: no such folder"):
        list(read_records(tmp_path / "missing"))
    assert list(read_records(tmp_path)) == []


@pytest.mark.parametrize(
    ("facts", "official"), [({}, True), ({"rows": 1}, False), ({"md5": "1" * 32}, False), ({"dropped_rows": 2}, True)]
)
def test_a_file_is_official_by_rows_and_md5(facts: dict[str, Any], official: bool) -> None:
    assert FILE.model_copy(update=facts).is_official is official


RIGHT = [True, False, True, True, False]
COUNTED = {"rows": 5, "correct": 3, "accuracy": 0.6}
PACKED = RowBits.pack(RIGHT).model_dump()


def test_a_record_keeps_which_dev_rows_were_right(tmp_path: Path) -> None:
    results = {**RESULTS, "dev": {**DEV, **COUNTED}, "dev_correct": RowBits.pack(RIGHT)}
    found = read_record(write_record(tmp_path, record(results=results)))
    assert isinstance(found, FinetuneRecord)
    assert found.completed_results.dev_correct is not None
    assert found.completed_results.dev_correct.unpack() == RIGHT


@pytest.mark.parametrize(
    ("dev", "packed", "problem"),
    [
        ({"rows": 5, "correct": 2, "accuracy": 0.4}, PACKED, "3 right of 5 rows; results.dev says 2 of 5"),
        ({"rows": 6, "correct": 3, "accuracy": 0.5}, PACKED, "3 right of 5 rows; results.dev says 3 of 6"),
        ({"rows": None}, PACKED, "results.dev.rows"),
        (COUNTED, {"rows": 5, "bits": "!"}, "not Base64"),
        (COUNTED, [True, False], "results.dev_correct"),
    ],
)
def test_rows_that_are_not_those_counted_are_an_error(tmp_path: Path, dev: Any, packed: Any, problem: str) -> None:
    fields = record().model_dump(mode="json")
    fields["results"] = {**RESULTS, "dev": {**DEV, **dev}, "dev_correct": packed}
    path = record_path(tmp_path, "afqmc-tiny-1")
    path.write_text(json.dumps(fields), encoding="utf-8")
    with pytest.raises(ClueBenchError, match=re.escape(problem)) as caught:
        read_record(path)
    assert str(path) in caught.value.message


RECORDS = Path(__file__).parents[2] / "leaderboards" / "records"


@pytest.mark.parametrize("path", sorted(RECORDS.rglob("*.record.json")), ids=lambda path: path.name)
def test_an_old_record_is_written_as_it_was_read(path: Path) -> None:
    written = json.loads(path.read_text(encoding="utf-8"))
    found = read_record(path)
    assert found.model_dump(mode="json", exclude_unset=True) == written
    whole = found.model_dump(mode="json")  # with the values of keys that were not yet written then
    assert whole["results"] == written["results"]
    assert {**whole, "task": written["task"], "model": written["model"]} == written


@pytest.mark.parametrize(
    "facts",
    [
        {"results": {}},
        {"results": None},
        {"results": {**RESULTS, "novelty": 1}},
        {"results": {**RESULTS, "dev": {**DEV, "correct": 5000}}},
        {"results": {**RESULTS, "dev": {**DEV, "accuracy": 0.8}}},
        {"results": {**RESULTS, "dev": {**DEV, "macro_f1": float("nan")}}},
        {"results": {**RESULTS, "best_step": -1}},
        {"results": PRETRAINED},
        {"task": None},
    ],
)
def test_a_completed_run_has_whole_results(facts: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        record(**facts)


@pytest.mark.parametrize(
    "curve",
    [
        {"tokens": [], "loss": []},
        {"tokens": [1, 2], "loss": [1.0]},
        {"tokens": [2, 1], "loss": [1.0, 1.0]},
        {"tokens": [1], "loss": [float("inf")]},
    ],
)
def test_a_curve_that_contradicts_itself_is_refused(curve: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="curve"):
        record(kind="pretrain", task=None, results={**PRETRAINED, "curve": curve})


@pytest.mark.parametrize("status", ["failed", "interrupted"])
def test_a_run_without_results_says_so(status: str) -> None:
    found = record(status=status, results={})
    assert found.results is None
    assert found.model_dump(mode="json")["results"] == {}
    with pytest.raises(ClueBenchError, match=f"'afqmc-tiny-1' is {status}"):
        _ = found.completed_results


def test_the_schema_in_the_documentation_is_current() -> None:
    path = Path(__file__).parents[2] / "docs" / "schema" / "record.schema.json"
    again = 'python -c "from clue_bench.doors.records import write_schema; write_schema()"'
    assert json.loads(path.read_text(encoding="utf-8")) == record_schema(), f"run {again}"
