"""Score predictions and save both, for fine-tuned models and no-pretraining baselines alike. No torch.

Input: class numbers, gold and predicted, and their probabilities; or answers found in passages, or entities in texts,
and the right ones. Output: accuracy and macro-F1, the very numbers of scikit-learn, which takes as long to import as
torch; the score of the majority class alone; the run's files of predictions. `metrics/clue_classification.py` offers
the same scores to the `evaluate` library.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from clue_bench.doors.predictions import Prediction, predictions_path, write_predictions
from clue_bench.doors.results import CONSTANT_SHARE, CleanScores, DevScores, EntityCounts, RowBits
from clue_bench.errors import ClueBenchError
from clue_bench.finetuning.metrics.spans import SpanScore, span_score
from clue_bench.finetuning.tags import FoundTags
from clue_bench.finetuning.windows import FoundAnswer
from clue_bench.stats.entity_scores import Counts, entity_f1
from clue_bench.tasks.entities import NO_ENTITIES, Entity, count_entities, spelled_entities
from clue_bench.tasks.rows import UNLABELLED, Rows, repeated_rows
from clue_bench.tasks.task import Task

Classes = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class Scores(NamedTuple):
    """Scores on one split, as shares of 1. `top_class` is the most predicted one, `top_share` its share.

    Answers found in passages have no classes: `answers` are then the most frequent one and the most frequent right one,
    and macro-F1 is the mean of the answers' F1, as SQuAD calls it. Of entities, accuracy is the share of texts in which
    all are right, and `answers` are the most frequent entities of a text, and none.
    """

    rows: int
    correct: int
    accuracy: float
    macro_f1: float
    top_class: int
    top_share: float
    majority_class: int
    majority_share: float
    answers: tuple[str, str] | None = None

    @property
    def exact_match(self) -> float:
        """Return the share of answers that are right as a whole, the accuracy of spans."""
        return self.accuracy

    @property
    def entity_f1(self) -> float:
        """Return the mean F1 of the types of entities, their macro-F1."""
        return self.macro_f1

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


class FoundClasses(NamedTuple):
    """Chosen classes (rows,) and the probabilities of all (rows, classes)."""

    classes: Classes
    probabilities: Floats

    def right(self, rows: Rows) -> npt.NDArray[np.bool_]:
        """Return which rows are right."""
        found: npt.NDArray[np.bool_] = self.classes == rows.labels
        return found

    def scores(self, rows: Rows, task: Task) -> DevScores:
        """Return the scores on the rows whose label is known, as a record keeps them."""
        known = rows.labels != UNLABELLED
        gold = rows.labels[known]
        shares = np.maximum(self.probabilities[known][np.arange(len(gold)), gold], np.finfo(np.float64).tiny)
        return dev_scores(task, score(gold, self.classes[known]), loss=float(-np.log(shares).mean()))

    def predictions(self, rows: Rows, task: Task) -> Iterator[Prediction]:
        """Yield a prediction for each row, in the rows' order."""
        for number, best in enumerate(self.classes):
            gold = int(rows.labels[number])
            is_known = gold != UNLABELLED
            yield Prediction(
                id=rows.ids[number],
                label=task.labels[best],
                probability=round(float(self.probabilities[number, best]), 6),
                gold=task.labels[gold] if is_known else None,
                gold_probability=round(float(self.probabilities[number, gold]), 6) if is_known else None,
            )


class FoundSpans(NamedTuple):
    """The answers found to each question, the best first."""

    answers: list[tuple[FoundAnswer, ...]]

    def right(self, rows: Rows) -> npt.NDArray[np.bool_]:
        """Return which answers are right as a whole; none where no right one is known."""
        return np.array([each is not None and each.exact == 1 for each in self._each(rows)], dtype=np.bool_)

    def score(self, rows: Rows) -> Scores:
        """Return the scores on the questions whose answers are known."""
        return span_scores(
            [best[0].text for best, right in zip(self.answers, rows.answers, strict=True) if right],
            [[each.text for each in right] for right in rows.answers if right],
        )

    def scores(self, rows: Rows, task: Task) -> DevScores:
        """Return the scores as a record keeps them; the loss is of the best answers' probabilities alone."""
        shares = [
            sum(each.probability for each in best if each.text in {one.text for one in right})
            for best, right in zip(self.answers, rows.answers, strict=True)
            if right
        ]
        return dev_scores(task, self.score(rows), loss=float(-np.log(np.maximum(shares, 1e-6)).mean()))

    def predictions(self, rows: Rows, task: Task) -> Iterator[Prediction]:
        """Yield a prediction for each row, in the rows' order."""
        for identity, best, right, exact in zip(rows.ids, self.answers, rows.answers, self._each(rows), strict=True):
            yield Prediction(
                id=identity,
                label=best[0].text,
                probability=best[0].probability,
                start=best[0].start,
                gold=right[0].text if right else None,
                is_exact=None if exact is None else exact.exact == 1,
            )

    def _each(self, rows: Rows) -> list[SpanScore | None]:
        return [
            span_score(best[0].text, [each.text for each in right]) if right else None
            for best, right in zip(self.answers, rows.answers, strict=True)
        ]


class FoundLabels(NamedTuple):
    """The entities found in each text."""

    tags: list[FoundTags]

    def entities(self) -> list[list[Entity]]:
        """Return the entities of each text without their probabilities."""
        return [[each.entity for each in found.entities] for found in self.tags]

    def right(self, rows: Rows) -> npt.NDArray[np.bool_]:
        """Return in which texts all entities are right, and none is missing; none where they are not known."""
        equal = [set(ours) == set(right) for ours, right in zip(self.entities(), rows.entities, strict=True)]
        found: npt.NDArray[np.bool_] = np.array(equal, dtype=np.bool_) & (rows.labels != UNLABELLED)
        return found

    def counts(self, rows: Rows, labels: Sequence[str]) -> Counts:
        """Return (texts, types, 3) how many entities are right, found and there, of texts where they are known."""
        known = np.flatnonzero(rows.labels != UNLABELLED)
        found = self.entities()
        return count_entities([found[row] for row in known], [rows.entities[row] for row in known], labels)

    def score(self, rows: Rows, labels: Sequence[str]) -> Scores:
        """Return the scores on the texts whose entities are known. Raises ClueBenchError if there are none."""
        known = np.flatnonzero(rows.labels != UNLABELLED)
        counts, right = self.counts(rows, labels), self.right(rows)[known]
        found = self.entities()
        top, times = Counter(spelled_entities(found[row], rows.texts[row][0]) for row in known).most_common(1)[0]
        return Scores(
            rows=len(known),
            correct=int(right.sum()),
            accuracy=float(right.mean()),
            macro_f1=entity_f1(counts),
            top_class=0,
            top_share=times / len(known),
            majority_class=0,
            majority_share=sum(not rows.entities[row] for row in known) / len(known),
            answers=(top, NO_ENTITIES),
        )

    def scores(self, rows: Rows, task: Task) -> DevScores:
        """Return the scores as a record keeps them; the loss is of the best tags' probabilities alone."""
        known = rows.labels != UNLABELLED
        shares = np.where(self.right(rows), [each.probability for each in self.tags], 0.0)[known]
        return dev_scores(task, self.score(rows, task.labels), loss=float(-np.log(np.maximum(shares, 1e-6)).mean()))

    def predictions(self, rows: Rows, task: Task) -> Iterator[Prediction]:
        """Yield a prediction for each row, in the rows' order."""
        for number, (found, entities) in enumerate(zip(self.tags, self.entities(), strict=True)):
            text, is_known = rows.texts[number][0], rows.labels[number] != UNLABELLED
            yield Prediction(
                id=rows.ids[number],
                label=spelled_entities(entities, text),
                probability=found.probability,
                gold=spelled_entities(rows.entities[number], text) if is_known else None,
            )


Answered = FoundClasses | FoundSpans | FoundLabels
"""The answers to every row of a split."""


def span_scores(predicted: Sequence[str], right: Sequence[Sequence[str]]) -> Scores:
    """Return the official scores of answers: exact match as accuracy, the mean F1 as macro-F1.

    Raises ClueBenchError if there is nothing to score.
    """
    found = [span_score(text, answers) for text, answers in zip(predicted, right, strict=True)]
    if not found:
        raise ClueBenchError("no answers to score against", "give a split whose answers are known")
    top, times = Counter(predicted).most_common(1)[0]
    usual = Counter(answers[0] for answers in right).most_common(1)[0][0]
    correct = int(sum(each.exact for each in found))
    return Scores(
        rows=len(found),
        correct=correct,
        accuracy=correct / len(found),
        macro_f1=float(np.mean([each.f1 for each in found])),
        top_class=0,
        top_share=times / len(found),
        majority_class=0,
        majority_share=float(np.mean([span_score(usual, answers).exact for answers in right])),
        answers=(top, usual),
    )


def hits_majority(task: Task, scores: Scores | DevScores) -> bool:
    """Return whether a model says nothing but the most frequent answer, or is no better than that.

    In texts with many entities all are seldom right, and a model that finds some of them is no worse than finding none.
    """
    return scores.macro_f1 == 0 if task.kind == "tags" else scores.hits_majority


def dev_scores(task: Task, scores: Scores, *, loss: float) -> DevScores:
    """Return `scores` on dev as a record keeps them."""
    top, majority = scores.answers or (task.labels[scores.top_class], task.labels[scores.majority_class])
    return DevScores(
        rows=scores.rows,
        correct=scores.correct,
        accuracy=scores.accuracy,
        macro_f1=scores.macro_f1,
        loss=loss,
        top_label=top,
        top_share=scores.top_share,
        majority_label=majority,
        majority_share=scores.majority_share,
    )


class SavedPredictions(NamedTuple):
    """A record's facts about predictions: their files and hashes by split, and which rows of dev are right.

    `test` has the scores of labelled test sets, `dev_clean` those on the dev rows that training does not repeat,
    `dev_entities` what was found of each type in each text.
    """

    predictions: dict[str, str]
    predictions_sha256: dict[str, str]
    dev_correct: RowBits | None
    dev_clean: CleanScores | None
    test: dict[str, DevScores]
    dev_entities: EntityCounts | None = None

    @property
    def facts(self) -> dict[str, Any]:
        """Return the fields by name; that of entities only where there are some."""
        return {key: value for key, value in self._asdict().items() if key != "dev_entities" or value is not None}


def save_predictions(
    run: Path, task: Task, rows: dict[str, Rows], predicted: Iterable[tuple[str, Answered]]
) -> SavedPredictions:
    """Write the predictions of every split, given by name."""
    files, hashes, dev_correct, dev_clean, dev_entities = {}, {}, None, None, None
    test: dict[str, DevScores] = {}
    for split, found in predicted:
        path = predictions_path(run, split)
        if split == "dev":
            right = found.right(rows[split])
            is_clean = ~repeated_rows(rows)
            dev_correct, clean = RowBits.pack(right), right[is_clean]
            counts = found.counts(rows[split], task.labels) if isinstance(found, FoundLabels) else None
            dev_entities = None if counts is None else EntityCounts.pack(counts)
            if len(clean) and (counts is None or counts[is_clean].any()):
                num_right = int(clean.sum())
                share = num_right / len(clean) if counts is None else entity_f1(counts[is_clean])
                dev_clean = CleanScores(rows=len(clean), correct=num_right, accuracy=share)
        elif (rows[split].labels != UNLABELLED).any():
            test[split] = found.scores(rows[split], task)
        hashes[split] = write_predictions(path, found.predictions(rows[split], task))
        files[split] = str(path.relative_to(run))
    return SavedPredictions(files, hashes, dev_correct, dev_clean, test, dev_entities)
