"""The errors and the calibration of one run on its dev rows.

Input: a run's folder, a folder of task data. Output: an `Analysis`, everything that the report shows, as numbers:
which labels the model takes for which, and whether it knows when it is right. Counting and scores per class are
scikit-learn's.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from clue_bench.analysis.finished import FinishedRun, read_run, rows_of
from clue_bench.doors.predictions import Prediction
from clue_bench.stats.entity_scores import Counts, entity_f1_interval
from clue_bench.stats.score_intervals import grouped_interval
from clue_bench.stats.significance import Bools, ConfidenceInterval, Floats, accuracy_interval
from clue_bench.tasks.answers import NOWHERE, Answer
from clue_bench.tasks.entities import Entity, entities_in
from clue_bench.tasks.own import data_folder
from clue_bench.tasks.rows import Rows
from clue_bench.tasks.run_data import data_of_run
from clue_bench.tasks.scores import named_f1, score_names
from clue_bench.tasks.task import Task, carried_task, load_task

Classes = npt.NDArray[np.int64]
"""Class numbers (rows,), or counts (gold, predicted)."""

SPLIT = "dev"
MAX_CLASSES = 20  # in a confusion matrix: more cells cannot be read
MAX_PAIRS = 25
MAX_EXAMPLES = 40
NUM_BINS = 15  # as in Guo et al. 2017, "On Calibration of Modern Neural Networks"
COVERAGES = (0.5, 0.8)  # at which the accuracy is reported


class ConfusedPair(NamedTuple):
    """Rows of class `gold` predicted as class `predicted`; `share` is of the gold class's rows."""

    gold: int
    predicted: int
    rows: int
    share: float


class ClassScores(NamedTuple):
    """Scores of one class; `rows` have it as gold label (its support), `predicted` as prediction."""

    number: int
    precision: float
    recall: float
    f1: float
    rows: int
    predicted: int


class Block(NamedTuple):
    """A part of the confusion matrix: `classes` in display order, and the counts outside of it.

    `counts[i, j]` is for gold `classes[i]`, predicted `classes[j]`; its last column, if `has_others`, is for every
    other class. `errors` is the number of wrong rows inside, between two of the classes.
    """

    classes: list[int]
    counts: Classes
    has_others: bool
    errors: int


class Example(NamedTuple):
    """A row that was predicted wrongly. `at_most` marks a gold probability that is only an upper bound."""

    texts: tuple[str, ...]
    prediction: Prediction
    gold_probability: float
    at_most: bool


class Bin(NamedTuple):
    """Rows with a confidence in (low, high]; the means are None without any."""

    low: float
    high: float
    rows: int
    confidence: float | None
    accuracy: float | None


class RiskCoverage(NamedTuple):
    """The risk at every coverage: `risks[k - 1]` is the share of errors among the k most confident rows."""

    risks: Floats
    best_risks: Floats  # if confidence put every right row before every wrong one

    @property
    def area(self) -> float:
        """Return AURC, the mean of the risks (Geifman and El-Yaniv 2017); lower is better."""
        return float(self.risks.mean())

    @property
    def best_area(self) -> float:
        """Return the AURC of the best order that this accuracy allows."""
        return float(self.best_risks.mean())

    def accuracy_at(self, coverage: float) -> float:
        """Return the accuracy on the most confident share `coverage` of the rows, at least one row."""
        rows = max(1, round(coverage * len(self.risks)))
        return 1.0 - float(self.risks[rows - 1])


@dataclass(frozen=True)
class Analysis:
    """The full analysis of one run. Shares are of 1. `interval` is of the score: of entities the macro-F1."""

    run: FinishedRun
    task: Task
    accuracy: float
    interval: ConfidenceInterval
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

    @property
    def f1_name(self) -> str:
        """Return what the F1 is called, "" where it means nothing."""
        return score_names([self.task.kind])[1]

    def to_json(self) -> dict[str, Any]:
        """Return the figures as plain values; shares are of 1."""
        return {
            "run_id": self.run.record.run_id,
            "task": self.task.name,
            "dev_rows": len(self.run.predictions),
            "metric": self.task.metric,
            "accuracy": self.accuracy,
            "interval": self.interval._asdict(),
            **named_f1(self.task.kind, self.macro_f1),
            "majority_label": self.majority_label,
            "majority_share": self.majority_share,
            "calibration_error": self.calibration_error,
            "area_under_risk_coverage": self.risk.area,
            "accuracy_at_coverage": {str(share): self.risk.accuracy_at(share) for share in COVERAGES},
            "flags": self.run.record.flags,
        }


def examine(folder: Path, data: Path | None = None, *, card: Task | None = None) -> Analysis:
    """Examine the run in `folder` on the dev rows in `data`, by default those that it kept, else the folder "data".

    `card` is the task's, by default the one that the record carries, else the one of its name.

    Raises ClueBenchError if the run is not finished, or the data are not those that it predicted.
    """
    run = read_run(folder, SPLIT)
    facts = run.task
    task = card or carried_task(facts.name, facts.card, where=str(folder)) or load_task(facts.name)
    with data_folder(task, data or data_of_run(task, SPLIT, folder)) as rows_folder:
        rows = rows_of(run, task, rows_folder)
    confidence = np.array([prediction.probability for prediction in run.predictions])
    counts, classes = np.zeros((0, 0), dtype=np.int64), list[ClassScores]()
    dev = run.record.completed_results.dev
    entities = None
    if task.kind == "tags":
        entities = run.entity_counts(task.labels)
        classes = entity_scores(entities)
    elif task.kind != "span":
        number_of = {label: number for number, label in enumerate(task.labels)}
        predicted = np.array([number_of[prediction.label] for prediction in run.predictions])
        counts = confusion_matrix(rows.labels, predicted, num_classes=len(task.labels))
        classes = class_scores(rows.labels, predicted, num_classes=len(task.labels))
    pairs = confused_pairs(counts)
    majority = max(classes, key=lambda each: each.rows, default=None) if entities is None else None
    texts = rows.texts
    if rows.answers:
        texts = [_marked(*each) for each in zip(rows.texts, rows.answers, run.predictions, strict=True)]
    elif rows.entities:
        found = (entities_in(each.label) for each in run.predictions)
        texts = [_with_entities(*each) for each in zip(rows.texts, rows.entities, found, strict=True)]
    bins = reliability_bins(confidence, run.correct)
    return Analysis(
        run=run,
        task=task,
        accuracy=float(run.correct.mean()),
        interval=_interval(run, rows, task, entities),
        macro_f1=macro_f1(classes) if classes and entities is None else dev.macro_f1,
        majority_label=task.labels[majority.number] if majority else dev.majority_label,
        majority_share=majority.rows / len(rows) if majority else dev.majority_share,
        num_wrong=int((~run.correct).sum()),
        block=most_confused_block(counts, max_classes=MAX_CLASSES),
        pairs=pairs[:MAX_PAIRS],
        num_pairs=len(pairs),
        classes=classes,
        hardest=hardest_examples(texts, run.predictions)[:MAX_EXAMPLES],
        bins=bins,
        calibration_error=expected_calibration_error(bins),
        mean_confidence=float(confidence.mean()),
        risk=risk_coverage(confidence, run.correct),
    )


def _interval(run: FinishedRun, rows: Rows, task: Task, entities: Counts | None) -> ConfidenceInterval:
    """Return the interval of the score over another draw of rows, or of passages."""
    if entities is not None:
        return entity_f1_interval(entities)
    if task.kind == "classification":
        return accuracy_interval(run.correct)
    return grouped_interval(run.correct.astype(np.float64), rows.passages)


def entity_scores(counts: Counts) -> list[ClassScores]:
    """Return precision, recall and F1 of every type; what has nothing to divide by is 0."""
    found = []
    for number, (right, predicted, there) in enumerate(counts.sum(axis=0).tolist()):
        f1 = 2 * right / max(predicted + there, 1)
        found.append(ClassScores(number, right / max(predicted, 1), right / max(there, 1), f1, there, predicted))
    return found


def _with_entities(texts: tuple[str, ...], right: tuple[Entity, ...], found: set[Entity]) -> tuple[str, ...]:
    """Return a text with the right entities and the model's marked in it."""
    places = [(each.first, each.last + 1, "【】") for each in right]
    return (_with_marks(texts[0], [*places, *((each.first, each.last + 1, "⟦⟧") for each in sorted(found))]),)


def _marked(texts: tuple[str, ...], right: tuple[Answer, ...], prediction: Prediction) -> tuple[str, ...]:
    """Return passage and question with the first right answer and the model's marked in the passage."""
    passage, *others = texts
    places = [(each.start, each.start + len(each.text), "【】") for each in right[:1] if each.start != NOWHERE]
    if prediction.start is not None and prediction.label:
        places.append((prediction.start, prediction.start + len(prediction.label), "⟦⟧"))
    return (_with_marks(passage, places), *others)


def _with_marks(text: str, places: list[tuple[int, int, str]]) -> str:
    """Return a text with the two signs of each mark around its place."""
    # At one place ends come before beginnings, the end of the inner one first, the beginning of the outer one first.
    signs = [(at, 1, -end, number, mark[0]) for number, (at, end, mark) in enumerate(places)]
    signs += [(end, 0, -at, -number, mark[1]) for number, (at, end, mark) in enumerate(places)]
    for at, *_, sign in sorted(signs, reverse=True):
        text = text[:at] + sign + text[at:]
    return text


def confusion_matrix(gold: Classes, predicted: Classes, *, num_classes: int) -> Classes:
    """Return counts (gold, predicted) over all classes of the task."""
    from sklearn import metrics

    counts: Classes = metrics.confusion_matrix(gold, predicted, labels=np.arange(num_classes))
    return counts


def confused_pairs(counts: Classes) -> list[ConfusedPair]:
    """Return every pair that was confused, the most frequent first; ties by share, then by class."""
    rows = counts.sum(axis=1)
    pairs = [
        ConfusedPair(int(a), int(b), int(counts[a, b]), float(counts[a, b] / rows[a]))
        for a, b in np.argwhere(counts)
        if a != b
    ]
    return sorted(pairs, key=lambda pair: (-pair.rows, -pair.share, pair.gold, pair.predicted))


def most_confused_block(counts: Classes, *, max_classes: int) -> Block:
    """Return the whole matrix if it has at most `max_classes`, else the block of the most confused ones.

    Classes enter by the pairs with the most errors, counted in both directions, so that classes that are taken for
    each other stand side by side.
    """
    num_classes = len(counts)
    if num_classes <= max_classes:
        return Block([*range(num_classes)], counts, False, int(counts.sum() - np.trace(counts)))
    both = counts + counts.T
    pairs = sorted((-int(both[a, b]), a, b) for a in range(num_classes) for b in range(a + 1, num_classes))
    classes: list[int] = []
    for _, a, b in pairs:
        new = [each for each in (a, b) if each not in classes]
        if len(classes) + len(new) <= max_classes:
            classes += new
        if len(classes) == max_classes:
            break
    inside = counts[np.ix_(classes, classes)]
    outside = counts[classes].sum(axis=1) - inside.sum(axis=1)
    return Block(classes, np.column_stack([inside, outside]), True, int(inside.sum() - np.trace(inside)))


def class_scores(gold: Classes, predicted: Classes, *, num_classes: int) -> list[ClassScores]:
    """Return precision, recall and F1 of every class; what has no rows to divide by is 0, as in the macro-F1."""
    from sklearn.metrics import precision_recall_fscore_support

    numbers = np.arange(num_classes)
    columns = precision_recall_fscore_support(gold, predicted, labels=numbers, zero_division=0.0)
    times = np.bincount(predicted, minlength=num_classes)
    return [
        ClassScores(int(number), float(precision), float(recall), float(f1), int(rows), int(times[number]))
        for number, precision, recall, f1, rows in zip(numbers, *columns, strict=True)
    ]


def macro_f1(classes: list[ClassScores]) -> float:
    """Return the mean F1 over the classes that occur, as gold label or prediction."""
    return float(np.mean([each.f1 for each in classes if each.rows or each.predicted]))


def hardest_examples(texts: list[tuple[str, ...]], predictions: list[Prediction]) -> list[Example]:
    """Return the wrong rows, those with the lowest gold probability first; ties in the order of the file.

    If predictions have no gold probability, what the predicted label leaves is used.
    """
    wrong = []
    for row, prediction in zip(texts, predictions, strict=True):
        if not prediction.is_right:
            known = prediction.gold_probability
            share = 1 - prediction.probability if known is None else known
            wrong.append(Example(row, prediction, share, known is None))
    return sorted(wrong, key=lambda example: example.gold_probability)


def reliability_bins(confidence: Floats, correct: Bools, *, num_bins: int = NUM_BINS) -> list[Bin]:
    """Return bins of equal width over (0, 1]; a confidence (the predicted label's probability) of 0 is in the first."""
    edges = np.linspace(0.0, 1.0, num_bins + 1)
    # Closed on the right, so that 1.0 is in the last one.
    bin_of = np.clip(np.digitize(confidence, edges, right=True) - 1, 0, num_bins - 1)
    bins = []
    for number in range(num_bins):
        inside = bin_of == number
        rows = int(inside.sum())
        means = (float(confidence[inside].mean()), float(correct[inside].mean())) if rows else (None, None)
        bins.append(Bin(float(edges[number]), float(edges[number + 1]), rows, *means))
    return bins


def expected_calibration_error(bins: list[Bin]) -> float:
    """Return the mean distance of accuracy and confidence over bins, each weighted by its rows (ECE)."""
    distances = [
        (each.rows, abs(each.accuracy - each.confidence))
        for each in bins
        if each.accuracy is not None and each.confidence is not None
    ]
    return sum(rows * distance for rows, distance in distances) / sum(rows for rows, _ in distances)


def risk_coverage(confidence: Floats, correct: Bools) -> RiskCoverage:
    """Return the risk at every coverage, the most confident row first.

    Rows of the same confidence have no order: each counts as wrong by the share of wrong ones among them, which is the
    expectation over all orders, so the order of the file does not matter.
    """
    levels, level_of, counts = np.unique(-confidence, return_inverse=True, return_counts=True)
    wrong = np.bincount(level_of, weights=~correct, minlength=len(levels))
    answered = np.arange(1, len(confidence) + 1)
    risks = np.cumsum(np.repeat(wrong / counts, counts)) / answered
    best = np.maximum(0, answered - int(correct.sum())) / answered
    return RiskCoverage(risks, best)
