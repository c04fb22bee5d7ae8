"""The predictions of fine-tuning runs on the test sets of their tasks, of several runs of a task the best one's.

Input: folders with a record and predictions. Output: lines by the official names of their files. No torch.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from clue_bench.doors.predictions import check_as_written, predictions_path, read_predictions
from clue_bench.doors.records import FileFacts, TaskRecord, read_record, record_paths
from clue_bench.errors import ClueBenchError
from clue_bench.numbers import counted, percent
from clue_bench.prediction.submission.slots import Slot

METRICS = {"macro_f1": "macro-F1", "exact_match": "exact match", "entity_f1": "macro-F1"}
"""What people call a metric, where it is not its key."""

VALUES: dict[str, Callable[[str], Any]] = {"choice": int, "cloze": int, "tags": json.loads}
"""What a submission has for a label, by the kind of task; of others, the label."""


class SubmissionLine(NamedTuple):
    """One line of a submission."""

    id: int | str
    label: str | int | dict[str, Any]


@dataclass(frozen=True)
class RunSubmission:
    """The predictions of one run: file name → lines."""

    folder: Path
    record: TaskRecord
    task: str
    files: dict[str, list[SubmissionLine]]


def read_run(folder: Path, known: dict[str, Slot]) -> RunSubmission:
    """Read the predictions of a completed fine-tuning run on the test sets of its task.

    Raises ClueBenchError if the folder holds no such run, or one that predicted no test set.
    """
    record = _finetuned(folder)
    task = record.task.name
    test_sets = [slot for slot in known.values() if slot.task.name == task]
    if not test_sets:
        raise ClueBenchError(
            f"{folder}: a run of {task}, of which no known card has a submission",
            "give your own card: --task CARD.toml",
        )
    predicted = record.completed_results.predictions
    lines_of = {}
    for slot in test_sets:
        if slot.split in predicted:
            check_as_written(folder, slot.split, record.completed_results)
            lines = read_predictions(predictions_path(folder, slot.split))
            if (facts := record.data.files.get(slot.split)) is not None:
                check_has_ids(facts, slot, where=folder)
            _check_official(folder, slot, len(lines))
            value_of = VALUES.get(slot.task.kind, str)
            lines_of[slot.name] = [SubmissionLine(each.id, value_of(each.label)) for each in lines]
    if not lines_of:
        splits = ", ".join(slot.split for slot in test_sets)
        raise ClueBenchError(
            f"{folder}: predicted {', '.join(predicted) or 'nothing'}, expected {splits}",
            f"fine-tune with --data that holds {' or '.join(slot.task.splits[slot.split].file for slot in test_sets)}",
        )
    return RunSubmission(folder, record, task, lines_of)


def _check_official(folder: Path, slot: Slot, rows: int) -> None:
    """Raise ClueBenchError unless a run predicted as many rows as the official test file has: CLUE takes no others."""
    expected = slot.task.splits[slot.split].rows
    if expected is not None and rows != expected:
        raise ClueBenchError(
            f"{folder}: predicted {counted(rows, 'row')} of {slot.split}, CLUE's has {expected:,}; no zip was written",
            f"CLUE scores its own test files only: run clue-bench data fetch --task {slot.task.name}, fine-tune with "
            "that --data, then submit the run",
        )


def check_has_ids(facts: FileFacts, slot: Slot, *, where: Path) -> None:
    """Raise ClueBenchError for test rows whose file states no ids: by whatever name, it is not CLUE's.

    Row numbers would be right in any order. CLUE's C3 has ids, that of its authors has none, and another order.
    """
    if facts.is_numbered:
        raise ClueBenchError(
            f"{where}: {slot.split} of {slot.task.name} is of a file without ids, which CLUE's own has; in another "
            "order all answers would be wrong",
            f"CLUE scores its own test files only: run clue-bench data fetch --task {slot.task.name}, fine-tune with "
            "that --data, then submit the run",
        )


def choose_runs(folders: Iterable[Path], known: dict[str, Slot]) -> tuple[list[RunSubmission], list[str]]:
    """Return one run per task, of several the best on dev, and a sentence for every task that had a choice.

    Baselines and unfinished runs come last, so that all runs of a benchmark may be given. Raises ClueBenchError as
    `read_run` does for the run that is chosen.
    """
    of_task: dict[str, list[tuple[Path, TaskRecord]]] = {}
    for folder in dict.fromkeys(folders):
        record = _task_record(folder)
        of_task.setdefault(record.task.name, []).append((folder, record))
    chosen, notes = [], []
    for task, runs in of_task.items():
        best, record = max(runs, key=lambda each: _preference(each[1]))
        chosen.append(read_run(best, known))
        if len(runs) > 1:
            value = getattr(record.completed_results.dev, record.task.metric)
            name = METRICS.get(record.task.metric, record.task.metric)
            notes.append(f"{task}: {len(runs)} runs given, {best} has the best dev {name}, {percent(value)}")
    return chosen, notes


def _preference(record: TaskRecord) -> tuple[bool, bool, float]:
    if record.results is None:
        return False, False, 0.0
    return True, not record.model.is_floor, float(getattr(record.results.dev, record.task.metric))


def _task_record(folder: Path) -> TaskRecord:
    """Read the record in a run's folder, finished or not."""
    paths = record_paths(folder)
    if len(paths) != 1:
        raise ClueBenchError(
            f"{folder}: {counted(len(paths), 'run record') if paths else 'no run record'}, expected one",
            "give the folder that finetune wrote",
        )
    record = read_record(paths[0])
    if not isinstance(record, TaskRecord):
        raise ClueBenchError(
            f"{folder}: a {record.kind} run, expected a fine-tuning run", "give a folder that finetune wrote"
        )
    return record


def _finetuned(folder: Path) -> TaskRecord:
    record = _task_record(folder)
    if record.status != "completed":
        raise ClueBenchError(f"{folder}: the run is {record.status}, expected completed", "repeat the run")
    return record
