"""Make rows of token ids from shards, for objectives over running text.

Input: a corpus and sample numbers. Output: `Rows`: NumPy arrays on the host (`PackedRows`), or the same as tensors from
a corpus that lies in the device's memory (`ResidentRows`), where the numbers of a step's rows are all that travels.

A shard is read as one stream in which every document is followed by [SEP]. Row r of a shard holds the W tokens from r·W
on; the last row reaches back so that it is full too. So no token is left out, none is padding (a shard shorter than W
excepted), and a row is found from its number alone. Rows run across document ends, marked by [SEP].

A masked row is [CLS] block [SEP], W = S - 2. A causal row is [CLS] and the block but for its last token, W = S: every
token of the block is the next token of some position, the first one that of [CLS].

`pairs.py` makes rows of separate texts in two parts, for sentence order.

Legend: B rows, S positions, W tokens of a row's block, C texts of a row, T tokens of all shards' streams, N shards.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from clue_bench.doors.shards import Corpus
from clue_bench.training.counter_rng import Int64s, derive, permuted
from clue_bench.vocab import Vocabulary

Bools = npt.NDArray[np.bool_]

Values = TypeVar("Values")  # NumPy arrays on the host, or tensors

MAX_RESIDENT = 0.125
"""Share of the device's free memory that a corpus may take before training: activations and moments come later."""

IGNORED = -100
"""Target that does not count: torch's cross-entropy ignores it."""


class Rows(NamedTuple, Generic[Values]):
    """Rows as they come from the corpus, unmasked; fields that an objective does not need are None.

    `next_BS`: the token after each position. `starts_word_BS`: whether a token starts a word. For texts in two parts:
    `segments_BS`, the numbers of texts `blocks_BS` (0 is padding) and positions in them, the position `starts_BC` where
    each text starts, its order (0 as written, 1 swapped, IGNORED none), and its label where it has one.
    """

    ids_BS: Values
    next_BS: Values | None = None
    starts_word_BS: Values | None = None
    segments_BS: Values | None = None
    blocks_BS: Values | None = None
    positions_BS: Values | None = None
    starts_BC: Values | None = None
    orders_BC: Values | None = None
    labels_BC: Values | None = None


HostRows = Rows[npt.NDArray[Any]]


@dataclass(frozen=True)
class PackedRows:
    """The rows of a corpus at one length. `documents` holds each shard's offsets, the end included."""

    corpus: Corpus
    vocabulary: Vocabulary
    length: int
    documents: tuple[Int64s, ...]
    first_rows: Int64s  # number of each shard's first row, and of all rows
    is_causal: bool
    with_words: bool

    @classmethod
    def from_corpus(
        cls,
        corpus: Corpus,
        vocabulary: Vocabulary,
        *,
        length: int,
        documents: tuple[Int64s, ...] | None = None,
        is_causal: bool = False,
        with_words: bool = False,
    ) -> "PackedRows":
        """Lay rows of `length` tokens over `documents` (all of the corpus if None)."""
        parts = tuple(corpus.documents) if documents is None else documents
        width = length if is_causal else length - 2
        rows = [-(-_stream_length(part) // width) for part in parts]
        return cls(corpus, vocabulary, length, parts, np.cumsum([0, *rows], dtype=np.int64), is_causal, with_words)

    def __len__(self) -> int:
        return int(self.first_rows[-1])

    @property
    def width(self) -> int:
        """Return W, the tokens of the stream in a row."""
        return self.length if self.is_causal else self.length - 2

    @cached_property
    def has_padding(self) -> bool:
        """Return whether any row is shorter than the others, as in shards shorter than one row."""
        return any(0 < _stream_length(part) < self.width for part in self.documents)

    @property
    def tokens(self) -> int:
        """Return the number of tokens of the documents, without special ones."""
        return sum(int(part[-1] - part[0]) for part in self.documents)

    @property
    def stream_sizes(self) -> Int64s:
        """Return the number of tokens of each shard's stream, separators included: (shards,)."""
        return np.array([_stream_length(part) for part in self.documents], dtype=np.int64)

    def touch(self, spans: Sequence[tuple[Int64s, Int64s]]) -> Bools:
        """Return for each row whether it holds a token of the spans: begins and ends in tokens, for each shard."""
        touched = [np.zeros(0, dtype=np.bool_)]
        for documents, (begins, ends), rows in zip(self.documents, spans, np.diff(self.first_rows), strict=True):
            covers = np.zeros(int(rows), dtype=np.bool_)
            stream = _stream_length(documents)
            starts = np.minimum(np.arange(rows) * self.width, max(stream - self.width, 0))
            # In the stream, document d starts d tokens later than in the ids.
            first, last = (
                tokens - documents[0] + np.searchsorted(documents[:-1], tokens, side="right") - 1
                for tokens in (begins, ends - 1)
            )
            for one, other in zip(
                np.searchsorted(starts + self.width, first, side="right"),
                np.searchsorted(starts, last, side="right"),
                strict=True,
            ):
                covers[one:other] = True
            touched.append(covers)
        return np.concatenate(touched)

    def gather(self, samples_B: Int64s, *, epochs_B: Int64s, seed: int) -> HostRows:
        """Return rows `samples_B`; they are the same in every epoch."""
        vocabulary = self.vocabulary
        blocks_BW = np.full((len(samples_B), self.width), vocabulary.pad, dtype=np.int64)
        starts_BW = np.ones(blocks_BW.shape, dtype=np.bool_) if self.with_words else None
        full_B = np.ones(len(samples_B), dtype=np.bool_)
        shards_B = np.searchsorted(self.first_rows, samples_B, side="right") - 1
        for shard in np.unique(shards_B):
            chosen = np.flatnonzero(shards_B == shard)
            found_BW, found_starts_BW = self._gather_from(int(shard), samples_B[chosen] - self.first_rows[shard])
            filled = found_BW.shape[1]
            blocks_BW[chosen, :filled] = found_BW
            full_B[chosen] = filled == self.width
            if starts_BW is not None and found_starts_BW is not None:
                starts_BW[chosen, :filled] = found_starts_BW
        start_B1 = np.full((len(samples_B), 1), vocabulary.start)
        if self.is_causal:
            return Rows(np.hstack([start_B1, blocks_BW[:, :-1]]), next_BS=blocks_BW)
        end_B1 = np.where(full_B, vocabulary.separator, vocabulary.pad)[:, None]
        true_B1 = np.ones(start_B1.shape, dtype=np.bool_)
        return Rows(
            np.hstack([start_B1, blocks_BW, end_B1]),
            starts_word_BS=None if starts_BW is None else np.hstack([true_B1, starts_BW, true_B1]),
        )

    def stream(self, shard: int) -> tuple[Int64s, Bools | None]:
        """Return the whole stream of a shard, separators included, and whether its tokens start words."""
        documents = np.asarray(self.documents[shard])
        ends = documents[1:] - documents[0]
        ids = np.asarray(self.corpus.ids[shard][documents[0] : documents[-1]]).astype(np.int64)
        starts = None
        if self.with_words:
            starts = np.insert(self.corpus.starts_word(shard)[documents[0] : documents[-1]], ends, True)
        return np.insert(ids, ends, self.vocabulary.separator), starts

    def _gather_from(self, shard: int, rows_B: Int64s) -> tuple[Int64s, Bools | None]:
        """Return blocks of one shard, (B, W) or as long as the shard, and whether their tokens start words."""
        documents = np.asarray(self.documents[shard])
        stream = _stream_length(documents)
        starts_B = np.minimum(rows_B * self.width, max(stream - self.width, 0))
        at_BW = starts_B[:, None] + np.arange(min(self.width, stream))
        # In the stream, document d starts d tokens later than in the ids, for the d separators before it.
        first, count = documents[0], np.arange(len(documents) - 1)
        document_BW = np.searchsorted(documents[:-1] - first + count, at_BW, side="right") - 1
        tokens_BW = first + at_BW - document_BW
        is_separator_BW = tokens_BW == documents[document_BW + 1]
        ids = self.corpus.ids[shard]
        inside_BW = np.minimum(tokens_BW, len(ids) - 1)
        found_BW = np.where(is_separator_BW, self.vocabulary.separator, ids[inside_BW])
        starts_BW = self.corpus.starts_word_at(shard, inside_BW) | is_separator_BW if self.with_words else None
        return found_BW, starts_BW


@dataclass(frozen=True)
class ResidentRows:
    """Rows from the shards' streams, which are kept in the device's memory one after the other.

    A token takes two bytes (int16 where ids fit: torch indexes no uint16) or four, and one more where words are masked.
    Texts in two parts (`pairs`) still come from the host.
    """

    rows: PackedRows
    tokens_T: Tensor
    starts_word_T: Tensor | None
    first_rows_N: Tensor  # number of each shard's first row
    begins_N: Tensor  # where its stream begins
    sizes_N: Tensor  # its tokens

    @classmethod
    def if_they_fit(cls, rows: PackedRows, device: torch.device) -> "ResidentRows | None":
        """Return the rows in a GPU's memory; None if they would take too much of what is free."""
        torch.cuda.empty_cache()
        free, _ = torch.cuda.mem_get_info(device)
        bytes_per_token = _token_type(rows).itemsize + rows.with_words
        return cls.from_rows(rows, device) if rows.stream_sizes.sum() * bytes_per_token <= MAX_RESIDENT * free else None

    @classmethod
    def from_rows(cls, rows: PackedRows, device: torch.device) -> "ResidentRows":
        """Copy the corpus to `device`."""
        sizes = rows.stream_sizes
        tokens_T = torch.empty(int(sizes.sum()), dtype=_token_type(rows), device=device)
        starts_T = torch.empty(len(tokens_T), dtype=torch.bool, device=device) if rows.with_words else None
        begins = np.cumsum(sizes) - sizes
        for shard, (begin, size) in enumerate(zip(begins, sizes, strict=True)):
            tokens, starts = rows.stream(shard)
            tokens_T[begin : begin + size] = torch.from_numpy(tokens).to(device, tokens_T.dtype)
            if starts_T is not None and starts is not None:
                starts_T[begin : begin + size] = torch.from_numpy(starts).to(device)
        first, begins_N, sizes_N = (torch.from_numpy(x).to(device) for x in (rows.first_rows[:-1], begins, sizes))
        return cls(rows, tokens_T, starts_T, first, begins_N, sizes_N)

    def gather(self, samples_B: Tensor) -> Rows[Tensor]:
        """Return rows `samples_B`."""
        rows, vocabulary = self.rows, self.rows.vocabulary
        width = rows.width
        shards_B = torch.searchsorted(self.first_rows_N, samples_B, right=True) - 1
        sizes_B = self.sizes_N[shards_B]
        # A shard's last row reaches back to be full, as in `PackedRows`.
        wanted_B = (samples_B - self.first_rows_N[shards_B]) * width
        starts_B = torch.minimum(wanted_B, (sizes_B - width).clamp(min=0))
        columns_W = torch.arange(width, device=samples_B.device)
        is_inside_BW = columns_W < sizes_B[:, None]
        at_BW = torch.where(is_inside_BW, (self.begins_N[shards_B] + starts_B)[:, None] + columns_W, 0)
        found_BW = self.tokens_T[at_BW].long()
        if self.tokens_T.dtype == torch.int16:
            found_BW &= 0xFFFF
        blocks_BW = torch.where(is_inside_BW, found_BW, vocabulary.pad)
        start_B1 = torch.full_like(blocks_BW[:, :1], vocabulary.start)
        if rows.is_causal:
            return Rows(torch.cat((start_B1, blocks_BW[:, :-1]), dim=1), next_BS=blocks_BW)
        end_B1 = torch.where(is_inside_BW[:, -1:], vocabulary.separator, vocabulary.pad)
        starts_BS = None
        if self.starts_word_T is not None:
            true_B1 = torch.ones_like(is_inside_BW[:, :1])
            starts_BS = torch.cat((true_B1, self.starts_word_T[at_BW] | ~is_inside_BW, true_B1), dim=1)
        return Rows(torch.cat((start_B1, blocks_BW, end_B1), dim=1), starts_word_BS=starts_BS)


def samples_of_step(step: int, *, global_batch: int, num_rows: int, seed: int) -> tuple[Int64s, Int64s]:
    """Return epoch and row number of each sample of optimizer step `step` (0-based), (global_batch,) each.

    Every epoch is a permutation of all rows; a batch may span two epochs.
    """
    numbers = step * global_batch + np.arange(global_batch, dtype=np.int64)
    epochs, indices = np.divmod(numbers, num_rows)
    samples = np.empty_like(indices)
    for epoch in np.unique(epochs):
        chosen = epochs == epoch
        samples[chosen] = permuted(indices[chosen], size=num_rows, key=derive(seed, "order", int(epoch)))
    return epochs, samples


def _stream_length(documents: npt.NDArray[np.int64]) -> int:
    """Return the tokens of some documents of a shard plus one separator after each."""
    return int(documents[-1] - documents[0]) + len(documents) - 1


def _token_type(rows: PackedRows) -> torch.dtype:
    return torch.int16 if len(rows.vocabulary) <= 2**16 else torch.int32
