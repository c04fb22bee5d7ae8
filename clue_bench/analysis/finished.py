"""Read and check a finished fine-tuning run: its record, its predictions, and the predicted rows.

Input: a run's folder, task data. Output: `FinishedRun`, `Rows`. Predictions that are not those of the record, and rows
that are not those of the predictions, are errors: numbers over them would be about nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from clue_bench.doors.predictions import Prediction, check_as_written, predictions_path, read_predictions
from clue_bench.doors.records import RunRecord, TaskFacts, TaskRecord, read_record, record_paths
from clue_bench.errors import ClueBenchError
from clue_bench.stats.entity_scores import Counts, row_values
from clue_bench.stats.significance import Right
from clue_bench.tasks.entities import NO_ENTITIES, count_entities, entities_in, spelled_entities
from clue_bench.tasks.rows import Rows, read_split
from clue_bench.tasks.task import Task

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class FinishedRun:
    """A completed run and its predictions of one labelled split, in the rows' order."""

    folder: Path
    record: TaskRecord
    task: TaskFacts
    split: str
    predictions: list[Prediction]

    @property
    def correct(self) -> Bools:
        """Return which rows are right, (rows,)."""
        return np.array([prediction.is_right for prediction in self.predictions], dtype=np.bool_)

    @cached_property  # asked for with every part of the rows
    def entities(self) -> Counts | None:
        """Return (rows, types, 3) how many entities are right, found and there; None of other tasks."""
        return self.entity_counts() if self.task.metric == "entity_f1" else None

    def entity_counts(self, labels: Sequence[str] = ()) -> Counts:
        """Return the counts of types in the order of `labels`, by default of all that occur."""
        pairs = [(entities_in(each.label), entities_in(each.gold or NO_ENTITIES)) for each in self.predictions]
        occurring = sorted({entity.label for pair in pairs for side in pair for entity in side})
        return count_entities([found for found, _ in pairs], [right for _, right in pairs], labels or occurring)

    def values(self, rows: Bools | None = None) -> Right:
        """Return (rows,) which of `rows` are right, by default of all; of entities, numbers whose mean is the score."""
        chosen = np.ones(len(self.predictions), dtype=np.bool_) if rows is None else rows
        counts = self.entities
        return self.correct[chosen] if counts is None else row_values(counts[chosen])

    @property
    def md5(self) -> str:
        """Return the md5 of the file that was predicted."""
        return self.record.data.files[self.split].md5


def read_run(folder: Path, split: str) -> FinishedRun:
    """Read the run in `folder` with its predictions of `split`.

    Raises ClueBenchError if there is no such run, it did not complete, the split's gold labels are unknown, or the
    predictions are not those that the record counted.
    """
    record = _only_record(folder)
    if not isinstance(record, TaskRecord):
        raise ClueBenchError(
            f"{folder}: a {record.kind} run; expected a fine-tuning run", "run clue-bench runs list to find one"
        )
    if record.status != "completed":
        raise ClueBenchError(f"{folder}: the run is {record.status}, it has no result", "repeat the run")
    if split not in record.data.files:
        known = ", ".join(record.data.files)
        raise ClueBenchError(f"{folder}: the run read no split '{split}', but {known}", "give --split dev")
    path = predictions_path(folder, split)
    check_as_written(folder, split, record.completed_results)
    run = FinishedRun(folder, record, record.task, split, read_predictions(path))
    if any(prediction.gold is None for prediction in run.predictions):
        raise ClueBenchError(f"{path}: rows without a gold label: nothing can be right or wrong", "give --split dev")
    dev, found = record.completed_results.dev, (len(run.predictions), int(run.correct.sum()))
    if split == "dev" and found != (dev.rows, dev.correct):
        raise ClueBenchError(
            f"{path}: {found[1]:,} of {found[0]:,} rows right, but the record says {dev.correct:,} of {dev.rows:,}: "
            "not this run's predictions",
            "repeat the run",
        )
    return run


def rows_of(run: FinishedRun, task: Task, data: Path) -> Rows:
    """Read the rows that `run` predicted.

    Raises ClueBenchError if the file in `data` is another one than the run read, or a row is not the one predicted.
    """
    rows = read_split(task, run.split, data)
    if rows.facts.md5 != run.md5:
        raise ClueBenchError(
            f"{data}: {task.name}'s {run.split} has md5 {rows.facts.md5}, the run {run.record.run_id} read {run.md5}",
            f"give --data the folder with the data of revision {run.record.data.revision}",
        )
    if len(rows) != len(run.predictions):
        raise ClueBenchError(
            f"{run.folder}: {len(run.predictions):,} predictions for {len(rows):,} rows of {run.split}",
            "repeat the run",
        )
    for number, prediction in enumerate(run.predictions):
        found = (prediction.id, prediction.gold)
        if task.kind == "tags":
            gold = spelled_entities(rows.entities[number], rows.texts[number][0])
        else:
            gold = rows.answers[number][0].text if task.kind == "span" else task.labels[rows.labels[number]]
        expected = (rows.ids[number], gold)
        if found != expected:
            raise ClueBenchError(
                f"{run.folder}: prediction {number + 1} has id and gold label {found}, the data has {expected}",
                "repeat the run",
            )
        if task.kind not in ("span", "tags") and prediction.label not in task.labels:
            raise ClueBenchError(
                f"{run.folder}: prediction {number + 1}: '{prediction.label}' is no label of {task.name}",
                f"run clue-bench tasks show {task.name} to see its labels",
            )
    return rows


def _only_record(folder: Path) -> RunRecord:
    paths = record_paths(folder)
    if len(paths) != 1:
        found = f"{len(paths)} run records" if folder.is_dir() else "no such folder"
        raise ClueBenchError(
            f"{folder}: {found}, expected a run's folder, which has one", "run clue-bench runs list to find one"
        )
    return read_record(paths[0])
