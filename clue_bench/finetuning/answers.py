"""Predictions of rows, for neural models and floors alike. No torch.

Input: class scores of a split's rows. Output: the run's files of predictions, and what its record says of them.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from clue_bench.doors.predictions import Prediction, predictions_path, write_predictions
from clue_bench.doors.results import CorrectRows, DevScores
from clue_bench.finetuning.score import Scores
from clue_bench.tasks.rows import UNLABELLED, Rows
from clue_bench.tasks.task import Task

Classes = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def write_answers(
    run: Path, task: Task, rows: dict[str, Rows], answers: Iterable[tuple[str, Classes, Floats]]
) -> dict[str, Any]:
    """Write the predictions of every split in `answers`; return what the record says of them, by split.

    An answer is a split, the classes (rows,) that were chosen, and the probabilities (rows, classes). Of dev, the
    record also says which rows are right.
    """
    files, hashes, dev_correct = {}, {}, None
    for split, chosen, shares in answers:
        path = predictions_path(run, split)
        if split == "dev":
            dev_correct = CorrectRows.pack(chosen == rows[split].labels)
        hashes[split] = write_predictions(path, _predictions(task, rows[split], chosen, shares))
        files[split] = str(path.relative_to(run))
    return {"predictions": files, "predictions_sha256": hashes, "dev_correct": dev_correct}


def dev_scores(task: Task, scores: Scores, *, loss: float) -> DevScores:
    """Return what a record says of `scores` on dev."""
    return DevScores(
        rows=scores.rows,
        correct=scores.correct,
        accuracy=scores.accuracy,
        macro_f1=scores.macro_f1,
        loss=loss,
        top_label=task.labels[scores.top_class],
        top_share=scores.top_share,
        majority_label=task.labels[scores.majority_class],
        majority_share=scores.majority_share,
    )


def _predictions(task: Task, rows: Rows, chosen: Classes, shares: Floats) -> Iterator[Prediction]:
    """Yield a prediction per row, in the rows' order."""
    for number, best in enumerate(chosen):
        gold = int(rows.labels[number])
        is_known = gold != UNLABELLED
        yield Prediction(
            id=rows.ids[number],
            label=task.labels[best],
            probability=round(float(shares[number, best]), 6),
            gold=task.labels[gold] if is_known else None,
            gold_probability=round(float(shares[number, gold]), 6) if is_known else None,
        )
