"""Task rows as token ids, and batches of them.

Input: rows, and a tokeniser: an encoder of texts, and the layout of special tokens around them. Output: flat token ids
with offsets, and padded tensors of rows of similar length.

Training: each epoch is a permutation of all rows; within pools of POOL_BATCHES batches rows are sorted by length, cut
into batches, and the batches are permuted. Prediction: rows sorted by length, batches of about equal token counts.

Legend: B rows, S positions (of the longest row in the batch).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from clue_bench.errors import ClueBenchError
from clue_bench.tasks.rows import Rows
from clue_bench.training.counter_rng import Int64s, derive, permuted
from clue_bench.training.hardware import on_device
from clue_bench.vocab import Vocabulary

ROWS_PER_CALL = 4096  # bounds the Rust tokenizer's results, which are larger than the texts
POOL_BATCHES = 64  # wide enough that hardly any padding is left, narrow enough that epochs differ
TEXT = -1
"""The place of a text in a template."""

Template = tuple[tuple[int, int], ...]
"""Token ids, or TEXT for a text, and their segments, in the order of a row."""


class Layout(NamedTuple):
    """Templates for rows of one text and of two, and the id that pads rows to the longest of a batch."""

    single: Template
    pair: Template
    pad: int


class IdEncoder(Protocol):
    """Turns texts into ids, without special tokens."""

    def ids(self, texts: list[str]) -> list[list[int]]: ...  # noqa: D102


class Tokeniser(NamedTuple):
    """Turns rows into ids."""

    encoder: IdEncoder
    layout: Layout


@dataclass(frozen=True)
class Encoded:
    """Token ids of a split. Row i is `ids[offsets[i]:offsets[i+1]]`; `segments` has the same shape."""

    ids: npt.NDArray[np.int32]
    segments: npt.NDArray[np.int8]
    offsets: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    truncated: npt.NDArray[np.bool_]  # (rows,)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def truncated_rows(self) -> int:
        """Return the number of rows that were cut."""
        return int(self.truncated.sum())

    @cached_property  # needed for every batch
    def lengths(self) -> npt.NDArray[np.int64]:
        """Return the number of tokens of each row."""
        return np.diff(self.offsets)


def bert_layout(vocabulary: Vocabulary, *, has_segments: bool) -> Layout:
    """Return [CLS] a [SEP] and [CLS] a [SEP] b [SEP]; what follows the first [SEP] is segment 1 if `has_segments`."""
    start, separator, second = vocabulary.start, vocabulary.separator, int(has_segments)
    single = ((start, 0), (TEXT, 0), (separator, 0))
    return Layout(single, (*single, (TEXT, second), (separator, second)), vocabulary.pad)


def bert_tokeniser(vocabulary: Vocabulary, *, has_segments: bool = True) -> Tokeniser:
    """Return the tokeniser of native models. "[MASK]" written in a text is the token, as in `transformers`."""
    return Tokeniser(vocabulary.encoder(special_tokens=True), bert_layout(vocabulary, has_segments=has_segments))


def encode(rows: Rows, tokeniser: Tokeniser | Vocabulary, *, max_length: int) -> Encoded:
    """Tokenise rows; those of more than `max_length` tokens lose the end of the longer text, never special tokens.

    A vocabulary stands for the tokeniser of native models with two segments. The result equals that of `transformers`
    with truncation="longest_first". Raises ClueBenchError if the special tokens alone are too many, or naming a row
    without any token: a network would read its answer off padding.
    """
    if isinstance(tokeniser, Vocabulary):
        tokeniser = bert_tokeniser(tokeniser)
    row_ids: list[list[int]] = []
    run_lengths: list[int] = []
    run_segments: list[int] = []
    truncated: list[bool] = []
    for tokens in _tokenised(rows.texts, tokeniser.encoder):
        template = tokeniser.layout.single if len(tokens) == 1 else tokeniser.layout.pair
        budget = max_length - (len(template) - len(tokens))
        if budget < 0:
            raise ClueBenchError(
                f"max_length {max_length} has no room for text", f"give --set max_length={len(template)} or more"
            )
        kept = _longest_first([len(part) for part in tokens], budget)
        truncated.append(sum(kept) < sum(map(len, tokens)))
        parts = iter([part[:length] for part, length in zip(tokens, kept, strict=True)])
        row: list[int] = []
        for token, segment in template:
            part = next(parts) if token == TEXT else [token]
            row += part
            run_lengths.append(len(part))
            run_segments.append(segment)
        if not row:
            raise ClueBenchError(
                f"row {len(row_ids)}: no tokens: the text is empty to this model's tokenizer", "leave the row out"
            )
        row_ids.append(row)
    lengths = np.array([len(row) for row in row_ids], dtype=np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    flat = np.fromiter(chain.from_iterable(row_ids), dtype=np.int32, count=int(offsets[-1]))
    segments = np.repeat(np.array(run_segments, dtype=np.int8), run_lengths)
    return Encoded(flat, segments, offsets, rows.labels, np.array(truncated, dtype=np.bool_))


class Encodings:
    """Splits as token ids, each tokenised once per length, so that the runs of a sweep share them."""

    def __init__(self) -> None:
        self._found: dict[tuple[int, int, Layout, int], tuple[Rows, IdEncoder, Encoded]] = {}

    def encode(self, rows: Rows, tokeniser: Tokeniser, *, max_length: int) -> Encoded:
        """Return the result of the function `encode`, computed once."""
        key = (id(rows), id(tokeniser.encoder), tokeniser.layout, max_length)
        if key not in self._found:
            # Rows and encoder are kept with the result, so that no other object gets their ids.
            self._found[key] = (rows, tokeniser.encoder, encode(rows, tokeniser, max_length=max_length))
        return self._found[key][2]


class TaskBatch(NamedTuple):
    """One padded batch. `rows_B` are the rows' numbers in the split; `keep_BS` is None where nothing is padded."""

    rows_B: Tensor
    ids_BS: Tensor
    segments_BS: Tensor
    keep_BS: Tensor | None
    labels_B: Tensor


def training_batches(lengths: Int64s, *, batch_size: int, seed: int, epoch: int) -> list[Int64s]:
    """Return the row numbers of each batch of an epoch; every row occurs once."""
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

    With a width there is always a `keep_BS`, so that batches of one width differ only in their values.
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


def _tokenised(texts: list[tuple[str, ...]], encoder: IdEncoder) -> Iterator[list[list[int]]]:
    """Yield the ids of each row's texts, not truncated by the tokenizer, which would keep every piece it cuts off."""
    for start in range(0, len(texts), ROWS_PER_CALL):
        batch = texts[start : start + ROWS_PER_CALL]
        ids = iter(encoder.ids(list(chain.from_iterable(batch))))
        for row in batch:
            yield [next(ids) for _ in row]


def _longest_first(lengths: list[int], budget: int) -> list[int]:
    """Return how many tokens of each text (one or two) to keep within `budget`, taking from the longer one first."""
    if len(lengths) == 1:
        return [min(lengths[0], budget)]
    shorter, longer = (0, 1) if lengths[0] <= lengths[1] else (1, 0)
    kept = list(lengths)
    if sum(kept) > budget:
        kept[shorter] = min(lengths[shorter], budget // 2)
        kept[longer] = budget - kept[shorter]
    return kept
