"""CLUE's classification scores as a module of the `evaluate` library; works offline.

import evaluate
from clue_bench.finetuning.metrics import METRIC_PATH

metric = evaluate.load(METRIC_PATH)
metric.compute(predictions=[0, 1], references=[0, 0])  # {"accuracy": 0.5, "macro_f1": …}
"""

from typing import Any

import datasets
import evaluate
import numpy as np

from clue_bench.finetuning.score import score

_DESCRIPTION = "Accuracy and macro-averaged F1 of single-label classification, as clue-bench reports them."
_ARGUMENTS = "predictions, references: class numbers, one a row."


class ClueClassification(evaluate.Metric):  # type: ignore[misc]
    """Accuracy and macro-F1, the very numbers of scikit-learn."""

    def _info(self) -> evaluate.MetricInfo:
        numbers = datasets.Value("int64")
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation="",
            inputs_description=_ARGUMENTS,
            features=datasets.Features({"predictions": numbers, "references": numbers}),
        )

    def _compute(self, predictions: list[int], references: list[int]) -> dict[str, Any]:
        scores = score(np.asarray(references, dtype=np.int64), np.asarray(predictions, dtype=np.int64))
        return {"accuracy": scores.accuracy, "macro_f1": scores.macro_f1}
