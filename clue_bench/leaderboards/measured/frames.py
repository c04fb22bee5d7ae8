"""Run records as one pandas frame: a row per completed fine-tuning run.

Input: run records. Output: the frame (columns `FRAME_COLUMNS`), and the fine-tuning runs that are not in it because
they failed or were interrupted. Exact numbers stay exact: `correct` and `dev_rows` are integers, `accuracy` their
quotient as a Decimal. It neither averages nor rounds; that is `cells`.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pandas as pd
import pydantic

from clue_bench.doors.records import FileFacts, RunRecord, TaskFacts
from clue_bench.errors import ClueBenchError
from clue_bench.leaderboards.scores import SCORE

FRAME_COLUMNS = (
    "run_id",
    "model",
    "model_sha256",
    "parameters",
    "is_floor",
    "task",
    "column",
    "seed",
    "settings",  # fingerprint of everything in force but the seed, and precision as it was asked for
    "data_name",
    "data_revision",
    "other_files",  # which files read are not the task card's, in words; "" where all are, or none was named
    "dev_rows",
    "correct",
    "accuracy",  # Decimal
    "macro_f1",
    "majority_share",
    "best_step",
    "total_steps",
    "dev_scores",  # how many scores on dev the run's was chosen from
    "dev_correct",  # which dev rows are right, as `correct_rows` packs them; None in older records
    "pretraining_tokens",  # None where they are not known
    "flags",  # tuple of text
    "commit",  # "" where the code was no git checkout
    "dirty",
    "version",
    "precision",  # as the machine had it, "" where the record does not say
    "machine",  # the GPU, else the processor, "" where the record does not say
)

# `accuracy` is written beside `correct` and `rows`; it may be rounded, it may not contradict them.
ACCURACY_TOLERANCE = 1e-4


class DevResults(pydantic.BaseModel):
    """What the board needs of `results.dev`; other keys are left alone."""

    model_config = pydantic.ConfigDict(extra="ignore", frozen=True, strict=True, allow_inf_nan=False)

    rows: int = pydantic.Field(gt=0)
    correct: int = pydantic.Field(ge=0)
    accuracy: float = pydantic.Field(ge=0, le=1)
    macro_f1: float = pydantic.Field(ge=0, le=1)
    majority_share: float = pydantic.Field(ge=0, le=1)

    @pydantic.model_validator(mode="after")
    def _numbers_agree(self) -> "DevResults":
        if self.correct > self.rows:
            raise ValueError(f"{self.correct} correct of {self.rows} rows")
        if abs(self.correct / self.rows - self.accuracy) > ACCURACY_TOLERANCE:
            raise ValueError(f"accuracy {self.accuracy} is not {self.correct} of {self.rows} rows")
        return self


class FinetuneResults(pydantic.BaseModel):
    """What the board needs of a fine-tuning record's `results`."""

    model_config = pydantic.ConfigDict(extra="ignore", frozen=True, strict=True)

    dev: DevResults
    best_step: int = pydantic.Field(ge=0)
    total_steps: int = pydantic.Field(ge=0)
    evaluations: list[Any] = []
    tried: list[Any] = []  # of a floor: its settings, each scored on dev
    dev_correct: dict[str, Any] | None = None  # checked by `records`


@dataclass(frozen=True)
class UnfinishedRun:
    """A fine-tuning run that has no result. `status` is "failed" or "interrupted"."""

    run_id: str
    model: str
    task: str
    status: str
    error: str


def run_frame(records: Iterable[RunRecord]) -> pd.DataFrame:
    """Return the completed fine-tuning runs among `records`, a row each, sorted by run_id.

    Raises ClueBenchError naming the run_id if a record lacks a result, contradicts itself, comes twice, or is of a task
    whose column would be that of the mean.
    """
    by_id: dict[str, RunRecord] = {}
    for record in records:
        if record.run_id in by_id:
            raise ClueBenchError(f"run '{record.run_id}' is given twice", "remove one of the two records")
        if record.kind == "finetune" and record.task is not None and record.task.column == SCORE:
            raise ClueBenchError(
                f"run '{record.run_id}': its task {record.task.name} has the column {SCORE}, that of the mean",
                "change `column` in the task card and in the record",
            )
        by_id[record.run_id] = record
    completed = [record for record in by_id.values() if record.kind == "finetune" and record.status == "completed"]
    rows = [_row(record) for record in sorted(completed, key=lambda record: record.run_id)]
    return pd.DataFrame({name: pd.Series([row[name] for row in rows], dtype=object) for name in FRAME_COLUMNS})


def unfinished_runs(records: Iterable[RunRecord]) -> list[UnfinishedRun]:
    """Return the fine-tuning runs among `records` that failed or were interrupted, sorted by run_id."""
    unfinished = [
        UnfinishedRun(
            run_id=record.run_id,
            model=record.model.name,
            task=record.task.name if record.task else "",
            status=record.status,
            error=record.error or "",
        )
        for record in records
        if record.kind == "finetune" and record.status != "completed"
    ]
    return sorted(unfinished, key=lambda run: run.run_id)


def settings_fingerprint(effective: dict[str, Any], asked: dict[str, Any] | None = None) -> str:
    """Return 12 hex digits of the SHA-256 of every setting in force but the seed, whatever the order of the keys.

    Precision counts as it was `asked` for: what "auto" became is a fact of the machine, and two machines that run one
    sweep have tried no more settings than one.
    """
    settings = {key: value for key, value in effective.items() if key != "seed"}
    if "precision" in settings:
        chosen = (asked or {}).get("settings")
        settings["precision"] = chosen.get("precision", "auto") if isinstance(chosen, dict) else "auto"
    text = json.dumps(settings, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:12]


def _row(record: RunRecord) -> dict[str, Any]:
    """Return one row of the frame. Raises ClueBenchError naming the run."""
    task, results = _task(record), _results(record)
    dev = results.dev
    values = (
        record.run_id,
        record.model.name,
        record.model.sha256,
        record.model.parameters,
        record.model.is_floor,
        task.name,
        task.column,
        record.seed,
        settings_fingerprint(record.effective, record.asked),
        record.data.name,
        record.data.revision,
        _other_files(record.data.files),
        dev.rows,
        dev.correct,
        Decimal(dev.correct) / Decimal(dev.rows),
        dev.macro_f1,
        dev.majority_share,
        results.best_step,
        results.total_steps,
        max(1, len(results.evaluations), len(results.tried)),
        results.dev_correct,
        record.model.pretraining_tokens,
        tuple(sorted(set(record.flags))),
        str(record.code.get("commit", "")),
        record.code.get("dirty", False) is True,
        str(record.code.get("version", "")),
        str(record.effective.get("precision", "")),
        str(record.hardware.get("gpu") or record.hardware.get("processor", "")),
    )
    return dict(zip(FRAME_COLUMNS, values, strict=True))


def _other_files(files: dict[str, FileFacts]) -> str:
    """Return `train 7,503 of 12,133 rows, test (another md5)`: the files that are not those of the task card."""
    found = []
    for split, facts in files.items():
        if facts.is_official or facts.expected_rows is None:
            continue
        is_short = facts.rows + facts.dropped_rows != facts.expected_rows
        what = f"{facts.rows:,} of {facts.expected_rows:,} rows" if is_short else "(another md5)"
        found.append(f"{split} {what}")
    return ", ".join(found)


def _task(record: RunRecord) -> TaskFacts:
    """Return the task of a fine-tuning record. Raises ClueBenchError if it has none."""
    if record.task is None:
        raise ClueBenchError(f"run '{record.run_id}': a fine-tuning record without a task", "repeat the run")
    return record.task


def _results(record: RunRecord) -> FinetuneResults:
    """Return the results of a completed fine-tuning record. Raises ClueBenchError naming run and key."""
    try:
        return FinetuneResults.model_validate(record.results)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        key = ".".join(["results", *(str(part) for part in first["loc"])])
        message = first["msg"].removeprefix("Value error, ")
        raise ClueBenchError(
            f"run '{record.run_id}': {key}: {message}", "repeat the run, or move its record away"
        ) from error
