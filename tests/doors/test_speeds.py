"""Records of speed are read as they were written, and numbers that contradict each other are refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from clue_bench.doors.records import DataFacts, ModelFacts, SpeedRecord, read_record, write_record
from clue_bench.errors import ClueBenchError
from clue_bench.stats.timing import summarise

FINETUNING: dict[str, Any] = {
    "batch_size": 32,
    "max_length": 128,
    "rows": 256,
    "precision": "fp32",
    "rows_per_second": summarise([99.0, 100.0, 101.0]).model_dump(),
    "memory": {"resident_mib": 800, "device_mib": None},
}
RESULTS: dict[str, Any] = {
    "session": "s",
    "position": 0,
    "is_baseline": True,
    "vocab_size": 8021,
    "weights_mib": 28.5,
    "vocabulary": "the model's own",
    "training": None,
    "finetuning": FINETUNING,
    "prediction": None,
    "not_measured": {"training": "no recipe", "prediction": "killed"},
}


def record(**facts: Any) -> SpeedRecord:
    fields: dict[str, Any] = {
        "kind": "speed",
        "run_id": "speed-s-tiny",
        "status": "completed",
        "started_at": "2026-01-01T00:00:00Z",
        "asked": {},
        "effective": {},
        "seed": 1,
        "data": DataFacts(name="clue", revision="official"),
        "model": ModelFacts(name="tiny", parameters=7_450_000, sha256="a" * 64, layers=4, hidden_size=312),
        "code": {},
        "packages": {},
        "hardware": {},
        "results": RESULTS,
    }
    return SpeedRecord.model_validate({**fields, **facts})


def test_a_record_of_speed_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = write_record(tmp_path, record())
    assert read_record(path) == record()
    results = record().completed_results
    assert results.intervals == {"finetuning.rows_per_second": summarise([99.0, 100.0, 101.0])}
    assert not results.is_noisy


@pytest.mark.parametrize(
    ("results", "complaint"),
    [
        ({}, r"results\.session: Field required"),
        ({**RESULTS, "novelty": 1}, r"results\.novelty: Extra inputs"),
        ({**RESULTS, "weights_mib": "28"}, r"results\.weights_mib: "),
        ({**RESULTS, "not_measured": {}}, r"not_measured explains \[\]"),
        (
            {**RESULTS, "finetuning": {**FINETUNING, "rows_per_second": 100.0}},
            r"results\.finetuning\.rows_per_second: ",
        ),
        (
            {
                **RESULTS,
                "finetuning": {**FINETUNING, "rows_per_second": {**FINETUNING["rows_per_second"], "median": 90.0}},
            },
            r"results\.finetuning\.rows_per_second: .*median is 90\.0, but the values give 100\.0",
        ),
    ],
)
def test_results_that_are_not_whole_are_refused(tmp_path: Path, results: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError):
        record(results=results)
    path = write_record(tmp_path, record())
    values = {**json.loads(path.read_text(encoding="utf-8")), "results": results}
    path.write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(ClueBenchError, match=complaint):
        read_record(path)


def test_a_failed_measurement_has_no_results() -> None:
    assert record(status="failed", error="killed", results={}).results is None
