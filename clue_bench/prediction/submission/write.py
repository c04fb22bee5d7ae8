"""A submission from fine-tuning runs.

Input: run folders, their records and predictions. Output: the zip, under its name only once the checker is content.
"""

import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from clue_bench import files
from clue_bench.doors.predictions import check_as_written, predictions_path, read_predictions
from clue_bench.doors.records import TaskRecord, read_record, record_paths
from clue_bench.errors import ClueBenchError
from clue_bench.prediction.submission.check import Report, check_submission
from clue_bench.prediction.submission.names import Slot

EARLIEST = (1980, 1, 1, 0, 0, 0)  # that a zip can say; no clock: the same answers give the same bytes
UNIX = 3  # the system that a zip says it was made on, whatever it was


class Answer(NamedTuple):
    """One line of a submission."""

    id: int | str
    label: str


@dataclass(frozen=True)
class RunAnswers:
    """What one run answers: file name → lines."""

    folder: Path
    record: TaskRecord
    task: str
    files: dict[str, list[Answer]]


def read_run(folder: Path, known: dict[str, Slot]) -> RunAnswers:
    """Read what a completed fine-tuning run answers on the test sets of its task.

    Raises ClueBenchError if the folder holds no such run, or one that predicted no test set.
    """
    record = _finetuned(folder)
    task = record.task.name
    own = [slot for slot in known.values() if slot.task.name == task]
    if not own:
        raise ClueBenchError(
            f"{folder}: a run of {task}, of which no known card has a submission",
            "--task CARD.toml names your own card",
        )
    predicted = record.completed_results.predictions
    files = {}
    for slot in own:
        if slot.split in predicted:
            check_as_written(folder, slot.split, record.completed_results)
            lines = read_predictions(predictions_path(folder, slot.split))
            files[slot.name] = [Answer(line.id, line.label) for line in lines]
    if not files:
        raise ClueBenchError(
            f"{folder}: predicted {', '.join(predicted) or 'nothing'}, expected {', '.join(s.split for s in own)}",
            "fine-tune with --data that holds the test files",
        )
    return RunAnswers(folder, record, task, files)


def write_submission(out: Path, runs: Sequence[RunAnswers], *, known: dict[str, Slot], data: Path | None) -> Report:
    """Write the answers of `runs`, at most one a task, as a zip; the same answers give the same bytes.

    Raises ClueBenchError, and leaves an earlier zip as it was, if two runs are of one task or an answer is not right.
    """
    of_task: dict[str, RunAnswers] = {}
    for run in runs:
        other = of_task.setdefault(run.task, run)
        if other is not run:
            raise ClueBenchError(f"{other.folder} and {run.folder} are both runs of {run.task}", "give one of them")
    with files.replacing(out) as temporary:
        _write_zip(temporary, {name: lines for run in runs for name, lines in run.files.items()})
        return check_submission(temporary, known=known, data=data, called=out)


def _finetuned(folder: Path) -> TaskRecord:
    """Return the record in a run's folder."""
    paths = record_paths(folder)
    if len(paths) != 1:
        raise ClueBenchError(
            f"{folder}: {len(paths) or 'no'} run records, expected one", "give the folder that finetune wrote"
        )
    record = read_record(paths[0])
    if not isinstance(record, TaskRecord):
        raise ClueBenchError(f"{folder}: a {record.kind} run, expected a fine-tuning run", "clue-bench finetune")
    if record.status != "completed":
        raise ClueBenchError(f"{folder}: the run is {record.status}, expected completed", "repeat the run")
    return record


def _write_zip(path: Path, files: dict[str, list[Answer]]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in sorted(files):
            member = zipfile.ZipInfo(name, date_time=EARLIEST)
            member.compress_type, member.create_system = zipfile.ZIP_DEFLATED, UNIX
            member.external_attr = 0o644 << 16
            text = "".join(json.dumps(answer._asdict(), ensure_ascii=False) + "\n" for answer in files[name])
            archive.writestr(member, text.encode())
