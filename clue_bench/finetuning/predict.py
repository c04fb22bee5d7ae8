"""Predictions of a classifier on a tokenised split.

Input: a model and rows. Output: logits and predictions in the rows' order.
"""

from collections.abc import Generator

import numpy as np
import numpy.typing as npt
import torch

from clue_bench.finetuning.base_models.heads import Classifier
from clue_bench.finetuning.encode import Encoded, collate, prediction_batches, scores_of_rows

CPU_TOKENS = 2048  # positions in a batch: their activations in a layer stay in the processor's cache
GPU_TOKENS = 8192  # fills a GPU, and fits into any GPU's memory


def predict_logits(
    model: Classifier, split: Encoded, *, pad: int, device: torch.device, autocast: torch.dtype | None
) -> npt.NDArray[np.float32]:
    """Return logits (rows, classes), or (rows, choices), in the split's order; leave the model in its mode.

    Of windows they are (tokens, 2), in the order of `split.ids`.
    """
    steps = predict_in_steps(model, split, pad=pad, device=device, autocast=autocast)
    while True:
        try:
            next(steps)
        except StopIteration as ended:
            logits: npt.NDArray[np.float32] = ended.value
            return logits


@torch.inference_mode()
def predict_in_steps(
    model: Classifier, split: Encoded, *, pad: int, device: torch.device, autocast: torch.dtype | None
) -> Generator[int, None, npt.NDArray[np.float32]]:
    """Yield how many rows are done, a batch at a time; return what `predict_logits` does."""
    was_training = model.training
    model.eval()
    has_windows, done = split.windows is not None, 0
    logits = np.empty((len(split.ids if has_windows else split), split.num_choices or model.num_classes), np.float32)
    with torch.autocast(
        device.type, dtype=autocast, enabled=autocast is not None
    ):  # keeps the cast weights until the block ends
        for rows in prediction_batches(split.positions, tokens=CPU_TOKENS if device.type == "cpu" else GPU_TOKENS):
            batch = collate(split, rows, pad=pad, device=device)
            found = model(batch.ids_BS, batch.segments_BS, batch.keep_BS)
            if has_windows:
                places = np.concatenate([np.arange(*split.offsets[row : row + 2]) for row in rows])
                logits[places] = (found.flatten(0, 1) if batch.keep_BS is None else found[batch.keep_BS]).float().cpu()
            else:
                logits[rows] = scores_of_rows(found, batch).float().cpu().numpy()
            done += len(rows)
            yield done
    model.train(was_training)
    return logits


def label_probabilities(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return the sigmoid of logits (rows, labels): of each label by itself, as multi-label models are trained."""
    shares: npt.NDArray[np.float64] = 1 / (1 + np.exp(-np.clip(logits.astype(np.float64), -500, 500)))
    return shares


def probabilities(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return the softmax of logits (rows, classes)."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    shares: npt.NDArray[np.float64] = shifted / shifted.sum(axis=1, keepdims=True)
    return shares
