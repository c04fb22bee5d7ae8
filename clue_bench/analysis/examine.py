"""One run on its dev rows, examined.

Input: a run's folder, a folder of task data. Output: an `Analysis`, everything that the report shows, as numbers.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clue_bench.analysis.calibration import (
    Bin,
    RiskCoverage,
    expected_calibration_error,
    reliability_bins,
    risk_coverage,
)
from clue_bench.analysis.confusion import (
    Block,
    ClassScores,
    ConfusedPair,
    class_scores,
    confused_pairs,
    confusion_matrix,
    most_confused_block,
)
from clue_bench.analysis.finished import FinishedRun, read_run, rows_of
from clue_bench.doors.predictions import Prediction
from clue_bench.stats.significance import Interval, bootstrap_interval
from clue_bench.tasks.task import Task, load_task

SPLIT = "dev"
MOST_CLASSES = 20  # in a confusion matrix: more cells cannot be read
MOST_PAIRS = 25
MOST_EXAMPLES = 40
BOOTSTRAP_SEED = 0


@dataclass(frozen=True)
class Example:
    """A row that was predicted wrongly. `at_most`: the gold probability is not known, but no more than that."""

    texts: tuple[str, ...]
    prediction: Prediction
    gold_probability: float
    at_most: bool


@dataclass(frozen=True)
class Analysis:
    """What is to be said of one run. Shares are of 1."""

    run: FinishedRun
    task: Task
    accuracy: float
    interval: Interval
    macro_f1: float
    majority_label: str
    majority_share: float
    num_wrong: int
    block: Block
    pairs: list[ConfusedPair]
    num_pairs: int
    classes: list[ClassScores]
    hardest: list[Example]
    bins: list[Bin]
    calibration_error: float
    mean_confidence: float
    risk: RiskCoverage


def examine(folder: Path, data: Path, *, card: Task | None = None) -> Analysis:
    """Examine the run in `folder` on the dev rows in `data`; `card` is the task's, looked up by its name if None.

    Raises ClueBenchError if the run is not finished, or the data are not those that it predicted.
    """
    run = read_run(folder, SPLIT)
    task = card or load_task(run.task.name)
    rows = rows_of(run, task, data)
    number_of = {label: number for number, label in enumerate(task.labels)}
    predicted = np.array([number_of[prediction.label] for prediction in run.predictions])
    confidence = np.array([prediction.probability for prediction in run.predictions])
    num_classes = len(task.labels)
    counts = confusion_matrix(rows.labels, predicted, num_classes=num_classes)
    pairs = confused_pairs(counts)
    classes = class_scores(rows.labels, predicted, num_classes=num_classes)
    majority = max(classes, key=lambda each: each.rows)
    bins = reliability_bins(confidence, run.correct)
    return Analysis(
        run=run,
        task=task,
        accuracy=float(run.correct.mean()),
        interval=bootstrap_interval(run.correct, seed=BOOTSTRAP_SEED),
        macro_f1=macro_f1(classes),
        majority_label=task.labels[majority.number],
        majority_share=majority.rows / len(rows),
        num_wrong=int((~run.correct).sum()),
        block=most_confused_block(counts, most=MOST_CLASSES),
        pairs=pairs[:MOST_PAIRS],
        num_pairs=len(pairs),
        classes=classes,
        hardest=hardest_examples(rows.texts, run.predictions)[:MOST_EXAMPLES],
        bins=bins,
        calibration_error=expected_calibration_error(bins),
        mean_confidence=float(confidence.mean()),
        risk=risk_coverage(confidence, run.correct),
    )


def macro_f1(classes: list[ClassScores]) -> float:
    """Return the mean F1 over the classes that occur, as gold label or prediction."""
    return float(np.mean([each.f1 for each in classes if each.rows or each.predicted]))


def hardest_examples(texts: list[tuple[str, ...]], predictions: list[Prediction]) -> list[Example]:
    """Return the wrong rows, those with the lowest gold probability first; ties in the order of the file.

    Where predictions carry no gold probability, it is taken as what the predicted label leaves.
    """
    wrong = []
    for row, prediction in zip(texts, predictions, strict=True):
        if prediction.is_right:
            continue
        known = prediction.gold_probability
        wrong.append(Example(row, prediction, 1 - prediction.probability if known is None else known, known is None))
    return sorted(wrong, key=lambda example: example.gold_probability)
