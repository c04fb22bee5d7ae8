"""Rows of token ids from shards.

Enters: a corpus and sample numbers. Leaves: packed rows [CLS] block [SEP].

A shard is read as one stream in which every document is followed by [SEP]. Row r of a shard holds the W = S - 2 tokens
from r·W on; the last row reaches back so that it is full too. So no token is left out, none is padding (a shard
shorter than W excepted), and a row is found from its number alone. Rows run across document ends, marked by [SEP].

Legend: B rows, S positions, W = S - 2.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from clue_bench.order import Int64s, derive, permuted
from clue_bench.shards import Corpus
from clue_bench.vocab import Vocabulary


@dataclass(frozen=True)
class PackedRows:
    """The rows of a corpus at one length."""

    corpus: Corpus
    vocabulary: Vocabulary
    length: int
    first_rows: Int64s  # number of each shard's first row, and of all rows

    @classmethod
    def of(cls, corpus: Corpus, vocabulary: Vocabulary, *, length: int) -> "PackedRows":
        """Lay rows of `length` tokens over `corpus`."""
        streams = [_stream_length(documents) for documents in corpus.documents]
        rows = [-(-stream // (length - 2)) for stream in streams]
        return cls(corpus, vocabulary, length, np.cumsum([0, *rows], dtype=np.int64))

    def __len__(self) -> int:
        return int(self.first_rows[-1])

    @cached_property
    def has_padding(self) -> bool:
        """Whether any row is shorter than the others: only shards shorter than one row have such."""
        return any(_stream_length(documents) < self.length - 2 for documents in self.corpus.documents)

    def gather(self, samples_B: Int64s) -> Int64s:
        """Return the ids of rows `samples_B`: (B, S) int64."""
        ids_BS = np.full((len(samples_B), self.length), self.vocabulary.pad, dtype=np.int64)
        ids_BS[:, 0] = self.vocabulary.start
        shards_B = np.searchsorted(self.first_rows, samples_B, side="right") - 1
        for shard in np.unique(shards_B):
            chosen = shards_B == shard
            ids_BS[chosen, 1:] = self._gather_from(int(shard), samples_B[chosen] - self.first_rows[shard])
        return ids_BS

    def _gather_from(self, shard: int, rows_B: Int64s) -> Int64s:
        """Return block and final [SEP] of rows of one shard: (B, W + 1)."""
        separator, width = self.vocabulary.separator, self.length - 2
        documents = np.asarray(self.corpus.documents[shard])
        stream = _stream_length(documents)
        starts_B = np.minimum(rows_B * width, max(stream - width, 0))
        at_BW = starts_B[:, None] + np.arange(min(width, stream))
        # In the stream, document d starts d places later than in the ids, for the d separators before it.
        document_BW = np.searchsorted(documents[:-1] + np.arange(len(documents) - 1), at_BW, side="right") - 1
        tokens_BW = at_BW - document_BW
        is_separator_BW = tokens_BW == documents[document_BW + 1]
        ids = self.corpus.ids[shard]
        found_BW = np.where(is_separator_BW, separator, ids[np.minimum(tokens_BW, len(ids) - 1)])
        block = np.full((len(rows_B), width + 1), self.vocabulary.pad, dtype=np.int64)
        block[:, : found_BW.shape[1]] = found_BW
        if stream >= width:
            block[:, -1] = separator
        return block


def samples_of_step(step: int, *, global_batch: int, num_rows: int, seed: int) -> tuple[Int64s, Int64s]:
    """Return epoch and row number of each sample of optimizer step `step` (0-based), (global_batch,) each.

    Every epoch is a permutation of all rows; a batch may span two epochs.
    """
    numbers = step * global_batch + np.arange(global_batch, dtype=np.int64)
    epochs, places = np.divmod(numbers, num_rows)
    samples = np.empty_like(places)
    for epoch in np.unique(epochs):
        chosen = epochs == epoch
        samples[chosen] = permuted(places[chosen], size=num_rows, key=derive(seed, "order", int(epoch)))
    return epochs, samples


def _stream_length(documents: npt.NDArray[np.int64]) -> int:
    """Tokens of a shard plus one separator after each document."""
    return int(documents[-1]) + len(documents) - 1
