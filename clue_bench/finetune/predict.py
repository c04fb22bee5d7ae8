"""Predictions of a classifier on a tokenised split.

Enters: a model and rows. Leaves: logits in the rows' order, and prediction files.
"""

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from clue_bench import atomic
from clue_bench.finetune.batches import collate, prediction_batches
from clue_bench.finetune.data import UNLABELLED, Encoded, Rows
from clue_bench.finetune.heads import SequenceClassifier
from clue_bench.finetune.task import Task

TOKENS_PER_BATCH = 8192  # enough to fill a machine's cores, small enough for any memory


@torch.inference_mode()
def predict_logits(
    model: SequenceClassifier, split: Encoded, *, pad: int, device: torch.device, autocast: torch.dtype | None
) -> npt.NDArray[np.float32]:
    """Return logits (rows, classes) in the split's order; leaves the model in the mode it was in."""
    was_training = model.training
    model.eval()
    logits = np.empty((len(split), model.classifier.out_features), dtype=np.float32)
    for rows in prediction_batches(split.lengths, tokens=TOKENS_PER_BATCH):
        batch = collate(split, rows, pad=pad, device=device)
        with torch.autocast(device.type, dtype=autocast, enabled=autocast is not None):
            logits_BC = model(batch.ids_BS, batch.segments_BS, batch.keep_BS)
        logits[rows] = logits_BC.float().cpu().numpy()
    model.train(was_training)
    return logits


def write_predictions(path: Path, task: Task, rows: Rows, logits: npt.NDArray[np.float32]) -> None:
    """Write one JSON object a line, in the rows' order: id, label, probability, and gold where it is known."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = shifted / shifted.sum(axis=1, keepdims=True)
    lines = []
    for number, best in enumerate(logits.argmax(axis=1)):
        line = {"id": rows.ids[number], "label": task.labels[best]}
        line["probability"] = round(float(probabilities[number, best]), 6)
        if rows.labels[number] != UNLABELLED:
            line["gold"] = task.labels[rows.labels[number]]
        lines.append(json.dumps(line, ensure_ascii=False) + "\n")
    atomic.write_text(path, "".join(lines))
