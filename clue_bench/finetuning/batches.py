"""Length-bucketed batches of a tokenised split.

Input: tokenised rows. Output: padded tensors of rows of similar length.

Training: each epoch is a permutation of all rows; within pools of POOL_BATCHES batches rows are sorted by length, cut
into batches, and the batches are permuted. Prediction: rows sorted by length, batches of about equal token counts.

Legend: B rows, S positions (of the longest row in the batch).
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from clue_bench.finetuning.encode import Encoded
from clue_bench.training.counter_rng import Int64s, derive, permuted
from clue_bench.training.hardware import on_device

POOL_BATCHES = 64  # wide enough that hardly any padding is left, narrow enough that epochs differ


class TaskBatch(NamedTuple):
    """One padded batch. `rows_B` are the rows' numbers in the split; `keep_BS` is None where nothing is padded."""

    rows_B: Tensor
    ids_BS: Tensor
    segments_BS: Tensor
    keep_BS: Tensor | None
    labels_B: Tensor


def training_batches(lengths: Int64s, *, batch_size: int, seed: int, epoch: int) -> list[Int64s]:
    """Return the row numbers of each batch of an epoch; every row comes once."""
    order = permuted(np.arange(len(lengths)), size=len(lengths), key=derive(seed, "order", epoch))
    pool = batch_size * POOL_BATCHES
    batches: list[Int64s] = []
    for start in range(0, len(order), pool):
        rows = order[start : start + pool]
        rows = rows[np.argsort(lengths[rows], kind="stable")]
        batches += [rows[at : at + batch_size] for at in range(0, len(rows), batch_size)]
    return [
        batches[at] for at in permuted(np.arange(len(batches)), size=len(batches), key=derive(seed, "batches", epoch))
    ]


def prediction_batches(lengths: Int64s, *, tokens: int) -> Iterator[Int64s]:
    """Yield row numbers, longest rows first, with at most `tokens` positions a batch (but at least one row)."""
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        size = max(1, tokens // int(lengths[order[start]]))
        yield order[start : start + size]
        start += size


def collate(split: Encoded, rows: Int64s, *, pad: int, device: torch.device, width: int | None = None) -> TaskBatch:
    """Return `rows` of `split` as tensors padded to the longest of them, or to `width` positions.

    With a width there is always a `keep_BS`, so that batches of one width differ in nothing but values.
    """
    lengths_B = split.lengths[rows]
    columns_S = np.arange(width or lengths_B.max())
    keep_BS = columns_S[None, :] < lengths_B[:, None]
    at_BS = np.where(keep_BS, split.offsets[rows][:, None] + columns_S, 0)

    def tensor(values: npt.NDArray[np.generic], fill: int) -> Tensor:
        return on_device(np.where(keep_BS, values[at_BS], fill).astype(np.int64), device)

    return TaskBatch(
        rows_B=on_device(rows, device),
        ids_BS=tensor(split.ids, pad),
        segments_BS=tensor(split.segments, 0),
        keep_BS=None if keep_BS.all() and width is None else on_device(keep_BS, device),
        labels_B=on_device(split.labels[rows], device),
    )
