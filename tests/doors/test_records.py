"""Door 3: run records are read as they were written, and nothing wrong is passed over."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic_core import PydanticSerializationError

from clue_bench.doors import correct_rows
from clue_bench.doors.records import (
    DataFacts,
    FileFacts,
    ModelFacts,
    RunRecord,
    TaskFacts,
    read_record,
    read_records,
    record_path,
    write_record,
)
from clue_bench.errors import ClueBenchError

FILE = FileFacts(rows=4316, md5="0" * 32, expected_rows=4316, expected_md5="0" * 32)


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
        "results": {"dev": {"accuracy": 2977 / 4316, "rows": 4316}, "curve": [0.1, 1e-300]},
        "flags": ["majority_class"],
    }
    return RunRecord(**{**fields, **facts})


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"kind": "pretrain", "task": None, "results": {}, "flags": []},
        {"status": "failed", "error": "ValueError: 坏", "finished_at": None},
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
    assert list(value) == list(RunRecord.model_fields)
    assert value["format_version"] == 1
    assert value["results"]["dev"]["accuracy"] == 2977 / 4316
    assert "蚂蚁金融" in text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_none_is_not_lost_in_silence(tmp_path: Path, value: float) -> None:
    # JSON has no NaN. Whether it is refused or written as text, it must not be read back as "not measured".
    try:
        path = write_record(tmp_path, record(results={"loss": value}))
    except (ClueBenchError, ValueError):
        assert list(tmp_path.iterdir()) == []
    else:
        assert read_record(path).results["loss"] is not None


def test_a_later_record_of_a_run_replaces_the_earlier_one(tmp_path: Path) -> None:
    write_record(tmp_path, record(status="interrupted"))
    write_record(tmp_path, record(status="completed"))
    assert [found.status for found in read_records(tmp_path)] == ["completed"]
    assert [path.name for path in tmp_path.iterdir()] == ["afqmc-tiny-1.record.json"]


def test_a_record_that_cannot_be_written_leaves_the_earlier_one(tmp_path: Path) -> None:
    write_record(tmp_path, record(status="interrupted"))
    with pytest.raises(PydanticSerializationError):
        write_record(tmp_path, record(results={"dev": object()}))
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
    with pytest.raises(ClueBenchError, match=r"half\.record\.json: not a run record of format 1: the file: "):
        list(read_records(tmp_path))


def test_records_come_from_any_depth_in_the_order_of_their_paths(tmp_path: Path) -> None:
    write_record(tmp_path / "b" / "deep", record("b"))
    write_record(tmp_path / "a", record("a"))
    write_record(tmp_path, record("c"))
    (tmp_path / "a" / "metrics.jsonl").write_text("{}")
    (tmp_path / "a" / ".a.record.json.123.tmp").write_text("{")
    assert [found.run_id for found in read_records(tmp_path)] == ["a", "b", "c"]


def test_two_records_of_one_run_are_both_named(tmp_path: Path) -> None:
    paths = [write_record(tmp_path / name, record()) for name in ("a", "b")]
    with pytest.raises(ClueBenchError) as caught:
        list(read_records(tmp_path))
    assert all(str(path) in caught.value.message for path in paths)
    assert "afqmc-tiny-1" in caught.value.message


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
COUNTED = {"rows": 5, "correct": 3}


def test_a_record_keeps_which_dev_rows_were_right(tmp_path: Path) -> None:
    results = {"dev": COUNTED, "dev_correct": correct_rows.pack(RIGHT)}
    path = write_record(tmp_path, record(results=results))
    assert correct_rows.unpack(read_record(path).results["dev_correct"]) == RIGHT


@pytest.mark.parametrize(
    ("dev", "packed", "problem"),
    [
        ({"rows": 5, "correct": 2}, correct_rows.pack(RIGHT), "3 right of 5 rows; results.dev says 2 of 5"),
        ({"rows": 6, "correct": 3}, correct_rows.pack(RIGHT), "3 right of 5 rows; results.dev says 3 of 6"),
        (None, correct_rows.pack(RIGHT), "results.dev says None of None"),
        (COUNTED, {"rows": 5, "bits": "!"}, "not Base64"),
        (COUNTED, [True, False], "expected rows and bits"),
    ],
)
def test_rows_that_are_not_those_counted_are_an_error(tmp_path: Path, dev: Any, packed: Any, problem: str) -> None:
    fields = record().model_dump(mode="json")
    fields["results"] = {"dev": dev, "dev_correct": packed}
    path = record_path(tmp_path, "afqmc-tiny-1")
    path.write_text(json.dumps(fields), encoding="utf-8")
    with pytest.raises(ClueBenchError, match=re.escape(problem)) as caught:
        read_record(path)
    assert str(path) in caught.value.message
