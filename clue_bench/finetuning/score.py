"""Scores of predictions.

Input: class numbers, gold and predicted. Output: accuracy and macro-F1 by scikit-learn, and what the majority class
alone would give. The same scores stand behind the `evaluate` interface in `metrics/clue_classification.py`.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from clue_bench.errors import ClueBenchError

Classes = npt.NDArray[np.int64]

CONSTANT_SHARE = 0.99  # of predictions that fall on one class, from which on a model is called constant


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
        """Whether (nearly) every prediction is the same class."""
        return self.top_share >= CONSTANT_SHARE

    @property
    def hits_majority(self) -> bool:
        """Whether the model says (nearly) nothing but the majority class, or does no better than saying so."""
        says_majority = self.is_constant and self.top_class == self.majority_class
        return says_majority or self.accuracy <= self.majority_share


def score(gold: Classes, predicted: Classes) -> Scores:
    """Return the scores of `predicted` against `gold`. Macro-F1 is over the classes that occur in either.

    Raises ClueBenchError if there is nothing to score, or the lengths differ.
    """
    from sklearn.metrics import accuracy_score, f1_score

    if not len(gold) or len(gold) != len(predicted):
        raise ClueBenchError(
            f"cannot score {len(predicted)} predictions against {len(gold)} labels", "give one prediction a row"
        )
    top, majority = np.bincount(predicted), np.bincount(gold)
    return Scores(
        rows=len(gold),
        correct=int(accuracy_score(gold, predicted, normalize=False)),
        accuracy=float(accuracy_score(gold, predicted)),
        macro_f1=float(f1_score(gold, predicted, average="macro", zero_division=0.0)),
        top_class=int(top.argmax()),
        top_share=float(top.max() / len(predicted)),
        majority_class=int(majority.argmax()),
        majority_share=float(majority.max() / len(gold)),
    )
