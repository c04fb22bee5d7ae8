"""Which labels a model takes for which.

Input: gold and predicted class numbers (rows,). Output: the confusion matrix, the most confused pairs, the block of
classes that is worth a picture, and scores per class. Counting and scores are scikit-learn's.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Classes = npt.NDArray[np.int64]


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
    """A part of the confusion matrix: `classes` in display order, and what lies outside of it.

    `counts[i, j]` is for gold `classes[i]`, predicted `classes[j]`; its last column, if `others`, is for every other
    class. `errors` is the number of wrong rows inside, between two of the classes.
    """

    classes: list[int]
    counts: Classes
    others: bool
    errors: int


def confusion_matrix(gold: Classes, predicted: Classes, *, num_classes: int) -> Classes:
    """Return counts (gold, predicted) over all classes of the task."""
    from sklearn import metrics

    counts: Classes = metrics.confusion_matrix(gold, predicted, labels=np.arange(num_classes))
    return counts


def confused_pairs(counts: Classes) -> list[ConfusedPair]:
    """Return every pair that was confused, the most frequent first; ties by share, then by class."""
    rows = counts.sum(axis=1)
    pairs = [
        ConfusedPair(
            int(gold), int(predicted), int(counts[gold, predicted]), float(counts[gold, predicted] / rows[gold])
        )
        for gold, predicted in np.argwhere(counts)
        if gold != predicted
    ]
    return sorted(pairs, key=lambda pair: (-pair.rows, -pair.share, pair.gold, pair.predicted))


def most_confused_block(counts: Classes, *, most: int) -> Block:
    """Return the whole matrix if it has at most `most` classes, else the block of the most confused ones.

    Classes enter by the pairs with the most errors, counted in both directions, so that classes that are taken for
    each other stand side by side.
    """
    num_classes = len(counts)
    if num_classes <= most:
        return Block([*range(num_classes)], counts, False, int(counts.sum() - np.trace(counts)))
    both = counts + counts.T
    pairs = sorted(
        ((int(both[a, b]), a, b) for a in range(num_classes) for b in range(a + 1, num_classes)),
        key=lambda pair: (-pair[0], pair[1], pair[2]),
    )
    classes: list[int] = []
    for _, a, b in pairs:
        new = [each for each in (a, b) if each not in classes]
        if len(classes) + len(new) <= most:
            classes += new
        if len(classes) == most:
            break
    inside = counts[np.ix_(classes, classes)]
    outside = counts[classes].sum(axis=1) - inside.sum(axis=1)
    shown = np.column_stack([inside, outside])
    return Block(classes, shown, True, int(inside.sum() - np.trace(inside)))


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
