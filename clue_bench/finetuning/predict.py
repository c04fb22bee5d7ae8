"""Predictions of a classifier on a tokenised split.

Input: a model and rows. Output: logits and predictions in the rows' order.
"""

import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat

import numpy as np
import numpy.typing as npt
import torch

from clue_bench.finetuning.base_models.heads import Classifier
from clue_bench.finetuning.encode import Encoded, collate, prediction_batches, scores_of_rows
from clue_bench.training.counter_rng import Int64s
from clue_bench.training.hardware import give_back_freed_memory

CPU_TOKENS = 2048  # positions in a batch: their activations in a layer stay in the processor's cache
GPU_TOKENS = 8192  # fills a GPU, and fits into any GPU's memory
SECONDS_AT_ONCE = 0.5  # between two words on how far predictions are


def predict_logits(
    model: Classifier,
    split: Encoded,
    *,
    pad: int,
    device: torch.device,
    autocast: torch.dtype | None,
    replicas: Sequence[Classifier] = (),
) -> npt.NDArray[np.float32]:
    """Return logits (rows, classes), or (rows, choices), in the split's order; leave the model in its mode.

    Of windows they are (tokens, 2), of tagged texts (tokens, tags), in the order of `split.ids`. `replicas` of the
    model on other devices take their part of the batches, a thread each.
    """
    if replicas:
        return _predict_together([model, *replicas], split, pad=pad, autocast=autocast)
    steps = predict_in_steps(model, split, pad=pad, device=device, autocast=autocast)
    while True:
        try:
            next(steps)
        except StopIteration as ended:
            logits: npt.NDArray[np.float32] = ended.value
            return logits


def predict_in_steps(
    model: Classifier, split: Encoded, *, pad: int, device: torch.device, autocast: torch.dtype | None
) -> Generator[int, None, npt.NDArray[np.float32]]:
    """Yield how many rows are done, now and then and at the end; return what `predict_logits` does."""
    was_training = model.training
    model.eval()
    done, logits = 0, _no_logits(model, split)
    batches = deque(_batches(split, device))
    while batches:
        until = time.monotonic() + SECONDS_AT_ONCE
        # Both are left before every yield: left by itself, inference mode would end autocast with it, in silence. Each
        # time, weights are cast once.
        with torch.inference_mode(), torch.autocast(device.type, dtype=autocast, enabled=autocast is not None):
            while (rows := _next(batches)) is not None:
                _fill(logits, model, split, rows, pad=pad, device=device)
                give_back_freed_memory()
                done += len(rows)
                if time.monotonic() >= until:
                    break
        yield done
    model.train(was_training)
    return logits


def _predict_together(
    models: Sequence[Classifier], split: Encoded, *, pad: int, autocast: torch.dtype | None
) -> npt.NDArray[np.float32]:
    """Return the logits, computed by equal models on several devices; each takes the next batch when it is free."""
    was_training = models[0].training
    logits = _no_logits(models[0], split)
    devices = [next(model.parameters()).device for model in models]
    batches = deque(_batches(split, devices[0]))

    @torch.inference_mode()
    def work(model: Classifier, device: torch.device) -> None:
        model.eval()
        with torch.autocast(device.type, dtype=autocast, enabled=autocast is not None):
            while (rows := _next(batches)) is not None:
                _fill(logits, model, split, rows, pad=pad, device=device)

    with ThreadPoolExecutor(len(models)) as pool:
        for done in [*map(pool.submit, repeat(work), models, devices)]:
            done.result()
    models[0].train(was_training)
    return logits


def _batches(split: Encoded, device: torch.device) -> Iterator[Int64s]:
    return prediction_batches(split.positions, tokens=CPU_TOKENS if device.type == "cpu" else GPU_TOKENS)


def _no_logits(model: Classifier, split: Encoded) -> npt.NDArray[np.float32]:
    lines = len(split.ids) if split.scores_tokens else len(split)
    return np.empty((lines, split.num_choices or model.num_classes), np.float32)


def _fill(
    logits: npt.NDArray[np.float32], model: Classifier, split: Encoded, rows: Int64s, *, pad: int, device: torch.device
) -> None:
    """Compute the logits of a batch, and put them where they belong."""
    batch = collate(split, rows, pad=pad, device=device)
    found = model(batch.ids_BS, batch.segments_BS, batch.keep_BS)
    if not split.scores_tokens:
        logits[rows] = scores_of_rows(found, batch).float().cpu().numpy()
        return
    places = np.concatenate([np.arange(*split.offsets[row : row + 2]) for row in rows])
    logits[places] = (found.flatten(0, 1) if batch.keep_BS is None else found[batch.keep_BS]).float().cpu()


def _next(batches: deque[Int64s]) -> Int64s | None:
    """Take the next batch, None if there is none; threads may call it."""
    try:
        return batches.popleft()
    except IndexError:
        return None


def label_probabilities(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return the sigmoid of logits (rows, labels): of each label by itself, as multi-label models are trained."""
    shares: npt.NDArray[np.float64] = 1 / (1 + np.exp(-np.clip(logits.astype(np.float64), -500, 500)))
    return shares


def probabilities(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return the softmax of logits (rows, classes)."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    shares: npt.NDArray[np.float64] = shifted / shifted.sum(axis=1, keepdims=True)
    return shares
