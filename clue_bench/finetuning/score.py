"""Score predictions and save both, for fine-tuned models and no-pretraining baselines alike. No torch.

Input: class numbers, gold and predicted, and their probabilities. Output: accuracy and macro-F1, the very numbers of
scikit-learn, which takes as long to import as torch; the score of the majority class alone; the run's files of
predictions. `metrics/clue_classification.py` offers the same scores to the `evaluate` library.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from clue_bench.doors.predictions import Prediction, predictions_path, write_predictions
from clue_bench.doors.results import CONSTANT_SHARE, CleanScores, DevScores, RowBits
from clue_bench.errors import ClueBenchError
from clue_bench.tasks.rows import UNLABELLED, Rows, repeated_rows
from clue_bench.tasks.task import Task

Classes = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class Scores(NamedTuple):
    """Scores on one split, as shares of 1. `top_class` is the most predicted one, `top_share` its share."""

    rows: int
    correct: int
    accuracy: float
    macro_f1: float
    top_class: int
    top_share: float
    majority_class: int
    majority_share: float

    @property
    def is_constant(self) -> bool:
        """Return whether (nearly) every prediction is the same class."""
        return self.top_share >= CONSTANT_SHARE

    @property
    def hits_majority(self) -> bool:
        """Return whether the model predicts (nearly) only the majority class, or is no better than doing so."""
        says_majority = self.is_constant and self.top_class == self.majority_class
        return says_majority or self.accuracy <= self.majority_share


def score(gold: Classes, predicted: Classes) -> Scores:
    """Return the scores of `predicted` against `gold`. Macro-F1 is over the classes that occur in either.

    Raises ClueBenchError if there is nothing to score, or the lengths differ.
    """
    if not len(gold) or len(gold) != len(predicted):
        raise ClueBenchError(
            f"cannot score {len(predicted)} predictions against {len(gold)} labels", "give one prediction a row"
        )
    top, majority = np.bincount(predicted), np.bincount(gold)
    is_right = gold == predicted
    hits, both = np.bincount(gold[is_right]), np.bincount(np.concatenate([gold, predicted]))
    hits = np.pad(hits, (0, len(both) - len(hits)))[both > 0]
    return Scores(
        rows=len(gold),
        correct=int(is_right.sum()),
        accuracy=float(is_right.mean()),
        macro_f1=float((2 * hits / both[both > 0]).mean()),
        top_class=int(top.argmax()),
        top_share=float(top.max() / len(predicted)),
        majority_class=int(majority.argmax()),
        majority_share=float(majority.max() / len(gold)),
    )


def dev_scores(task: Task, scores: Scores, *, loss: float) -> DevScores:
    """Return `scores` on dev as a record keeps them."""
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


class SavedPredictions(NamedTuple):
    """A record's facts about predictions: their files and hashes by split, and which rows of dev are right.

    `test` has the scores of labelled test sets, `dev_clean` those on the dev rows that training does not repeat.
    """

    predictions: dict[str, str]
    predictions_sha256: dict[str, str]
    dev_correct: RowBits | None
    dev_clean: CleanScores | None
    test: dict[str, DevScores]


def save_predictions(
    run: Path, task: Task, rows: dict[str, Rows], predicted: Iterable[tuple[str, Classes, Floats]]
) -> SavedPredictions:
    """Write the predictions of every split, given as name, classes (rows,) and probabilities (rows, classes)."""
    files, hashes, dev_correct, dev_clean = {}, {}, None, None
    test: dict[str, DevScores] = {}
    for split, classes, probabilities in predicted:
        path = predictions_path(run, split)
        if split == "dev":
            right = classes == rows[split].labels
            dev_correct, clean = RowBits.pack(right), right[~repeated_rows(rows)]
            if len(clean):
                num_right = int(clean.sum())
                dev_clean = CleanScores(rows=len(clean), correct=num_right, accuracy=num_right / len(clean))
        elif (is_known := rows[split].labels != UNLABELLED).any():
            test[split] = _scores_of(task, rows[split].labels[is_known], classes[is_known], probabilities[is_known])
        hashes[split] = write_predictions(path, _predictions(task, rows[split], classes, probabilities))
        files[split] = str(path.relative_to(run))
    return SavedPredictions(files, hashes, dev_correct, dev_clean, test)


def _scores_of(task: Task, gold: Classes, classes: Classes, probabilities: Floats) -> DevScores:
    shares = np.maximum(probabilities[np.arange(len(gold)), gold], np.finfo(np.float64).tiny)
    return dev_scores(task, score(gold, classes), loss=float(-np.log(shares).mean()))


def _predictions(task: Task, rows: Rows, classes: Classes, probabilities: Floats) -> Iterator[Prediction]:
    """Yield a prediction for each row, in the rows' order."""
    for number, best in enumerate(classes):
        gold = int(rows.labels[number])
        is_known = gold != UNLABELLED
        yield Prediction(
            id=rows.ids[number],
            label=task.labels[best],
            probability=round(float(probabilities[number, best]), 6),
            gold=task.labels[gold] if is_known else None,
            gold_probability=round(float(probabilities[number, gold]), 6) if is_known else None,
        )
