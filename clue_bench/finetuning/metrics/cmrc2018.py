"""Exact match and F1 of CMRC2018 and DRCD as a module of the `evaluate` library; works offline, without NLTK.

import evaluate
from clue_bench.finetuning.metrics import CMRC2018_METRIC_PATH

metric = evaluate.load(CMRC2018_METRIC_PATH)  # the official definition; or (CMRC2018_METRIC_PATH, "squad"), "paddlenlp"
metric.compute(
    predictions=[{"id": "DEV_0_QUERY_0", "prediction_text": "光荣"}],
    references=[{"id": "DEV_0_QUERY_0", "answers": {"text": ["光荣和ω-force"], "answer_start": [11]}}],
)  # {"exact_match": 0.0, "f1": 0.67}, shares of 1
"""

from typing import Any

import datasets
import evaluate
import numpy as np

from clue_bench.errors import ClueBenchError
from clue_bench.finetuning.metrics.spans import DEFINITIONS, span_score

_DESCRIPTION = "Exact match and F1 of extracted answers, as the official script of CMRC2018 defines them."
_ARGUMENTS = "predictions: id and prediction_text; references: id and answers, in SQuAD's layout."
_OFFICIAL = "cmrc2018"


class Cmrc2018(evaluate.Metric):  # type: ignore[misc]
    """Means over questions, by the definition that the configuration names."""

    def _info(self) -> evaluate.MetricInfo:
        text, number = datasets.Value("string"), datasets.Value("int64")
        answers = datasets.Sequence({"text": text, "answer_start": number})
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation="",
            inputs_description=_ARGUMENTS,
            features=datasets.Features(
                {
                    "predictions": {"id": text, "prediction_text": text},
                    "references": {"id": text, "answers": answers},
                }
            ),
        )

    def _compute(self, predictions: list[dict[str, Any]], references: list[dict[str, Any]]) -> dict[str, Any]:
        definition = self.config_name if self.config_name in DEFINITIONS else _OFFICIAL
        if [each["id"] for each in predictions] != [each["id"] for each in references]:
            raise ClueBenchError(
                "predictions and references have other ids, or another order", "give one prediction a reference"
            )
        scores = [
            span_score(given["prediction_text"], right["answers"]["text"], definition=definition)
            for given, right in zip(predictions, references, strict=True)
        ]
        exact, f1 = np.mean(scores, axis=0)
        return {"exact_match": float(exact), "f1": float(f1)}
