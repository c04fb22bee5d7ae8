"""Make rows of texts in two parts, for sentence order.

Input: a corpus and sample numbers. Output: `Rows` with segments, order and packing.

A text is a run of whole sentences of one document (`texts`). It is laid out as [CLS] a [SEP] b [SEP], split between
two sentences, and in half of the cases b comes first. A text of a single sentence is [CLS] a [SEP] and has no order:
no side is ever empty. The last sentence of a, and whether the parts are swapped, are drawn anew in every epoch.
Texts that fit share a row (`pack`), so there is little padding; attention and positions stay inside a text.

Labelled pairs (documents of two sentences and a label) keep their order and have no order to guess.

Legend: B rows, S positions, C texts of a row, T texts of a batch or shard, R rows of a shard, n tokens of a batch's
texts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from clue_bench.doors.shards import Corpus
from clue_bench.pretraining.rows import IGNORED, HostRows, Rows
from clue_bench.pretraining.texts import counted_up, find_texts
from clue_bench.training.counter_rng import Int64s, draw, row_keys
from clue_bench.vocab import Vocabulary

SMALLEST_TEXT = 16
"""In tokens. Rows hold no more texts than would fit if all had this size."""


class Index(NamedTuple):
    """Texts of one shard. Text t is sentences first_T[t] to last_T[t] of `sentences`; row r starts with text rows_R[r].

    `sentences` are offsets in tokens, long sentences cut. `rows_R` ends with the number of texts. `labels_T` is there
    for labelled pairs.
    """

    sentences: Int64s
    first_T: Int64s
    last_T: Int64s
    rows_R: Int64s
    labels_T: Int64s | None = None


@dataclass(frozen=True)
class PairRows:
    """The rows of a corpus at one length."""

    corpus: Corpus
    vocabulary: Vocabulary
    length: int
    indices: tuple[Index, ...]
    first_rows: Int64s  # number of each shard's first row, and of all rows
    first_texts: Int64s  # number of each shard's first text
    max_texts: int  # in a row
    with_words: bool
    is_labelled: bool

    @classmethod
    def from_corpus(
        cls,
        corpus: Corpus,
        vocabulary: Vocabulary,
        *,
        length: int,
        documents: tuple[Int64s, ...] | None = None,
        max_sentences: int | None = None,
        with_words: bool = False,
        labels: tuple[Int64s, ...] | None = None,
    ) -> "PairRows":
        """Lay rows of `length` tokens over `documents` (all if None), texts of at most `max_sentences` sentences.

        `labels` are those of each shard's documents, for labelled pairs; a pair longer than a row is left out.
        """
        parts = tuple(corpus.documents) if documents is None else documents
        indices = tuple(
            _index(np.asarray(sentences), np.asarray(part), length=length, max_sentences=max_sentences)
            for sentences, part in zip(corpus.sentences, parts, strict=True)
        )
        if labels is not None:
            indices = tuple(map(_labelled, indices, parts, labels, [length] * len(parts)))
        rows = [len(index.rows_R) - 1 for index in indices]
        texts = [len(index.first_T) for index in indices]
        max_texts = max((int(np.diff(index.rows_R).max()) for index in indices if len(index.first_T)), default=1)
        return cls(
            corpus=corpus,
            vocabulary=vocabulary,
            length=length,
            indices=indices,
            first_rows=np.cumsum([0, *rows], dtype=np.int64),
            first_texts=np.cumsum([0, *texts], dtype=np.int64),
            max_texts=max_texts,
            with_words=with_words,
            is_labelled=labels is not None,
        )

    def __len__(self) -> int:
        return int(self.first_rows[-1])

    @property
    def tokens(self) -> int:
        """Return the number of tokens of the texts, without special ones."""
        return sum(int((i.sentences[i.last_T] - i.sentences[i.first_T]).sum()) for i in self.indices)

    @property
    def num_texts(self) -> int:
        """Return the number of texts in all rows."""
        return int(self.first_texts[-1])

    @property
    def has_padding(self) -> bool:
        """Return False: padding is a text of its own, so no mask is needed."""
        return False

    def touch(self, spans: Sequence[tuple[Int64s, Int64s]]) -> npt.NDArray[np.bool_]:
        """Return for each row whether it holds a token of the spans: begins and ends in tokens, for each shard."""
        touched = [np.zeros(0, dtype=np.bool_)]
        for index, (begins, ends) in zip(self.indices, spans, strict=True):
            order = np.argsort(begins, kind="stable")
            begins, furthest = begins[order], np.maximum.accumulate(ends[order]) if len(ends) else ends
            # The spans that begin before a text ends: does one of them reach into it?
            before_T = np.searchsorted(begins, index.sentences[index.last_T], side="left")
            reached_T = np.append(0, furthest)[before_T]
            is_touched_T = reached_T > index.sentences[index.first_T]
            if len(is_touched_T):
                touched.append(np.logical_or.reduceat(is_touched_T, index.rows_R[:-1]))
        return np.concatenate(touched)

    def gather(self, samples_B: Int64s, *, epochs_B: Int64s, seed: int) -> HostRows:
        """Return rows `samples_B`, as they are in the epochs `epochs_B`."""
        shape = (len(samples_B), self.length)
        rows: HostRows = Rows(
            ids_BS=np.full(shape, self.vocabulary.pad, dtype=np.int64),
            starts_word_BS=np.ones(shape, dtype=np.bool_) if self.with_words else None,
            segments_BS=np.zeros(shape, dtype=np.int64),
            blocks_BS=np.zeros(shape, dtype=np.int64),
            positions_BS=np.zeros(shape, dtype=np.int64),
            starts_BC=np.zeros((len(samples_B), self.max_texts), dtype=np.int64),
            orders_BC=np.full((len(samples_B), self.max_texts), IGNORED, dtype=np.int64),
            labels_BC=np.full((len(samples_B), self.max_texts), IGNORED) if self.is_labelled else None,
        )
        shards_B = np.searchsorted(self.first_rows, samples_B, side="right") - 1
        for shard in np.unique(shards_B):
            chosen = np.flatnonzero(shards_B == shard)
            self._fill(rows, int(shard), chosen, samples_B[chosen] - self.first_rows[shard], epochs_B[chosen], seed)
        return rows

    def _fill(self, rows: HostRows, shard: int, at_B: Int64s, rows_B: Int64s, epochs_B: Int64s, seed: int) -> None:
        """Write rows `rows_B` of a shard to the indices `at_B` of `rows`."""
        index = self.indices[shard]
        counts_B = index.rows_R[rows_B + 1] - index.rows_R[rows_B]
        owner_T, column_T = np.repeat(at_B, counts_B), counted_up(counts_B)
        texts_T = np.repeat(index.rows_R[rows_B], counts_B) + column_T
        begin_T, cut_T, end_T, swapped_T = self._parts(shard, texts_T, np.repeat(epochs_B, counts_B), seed)
        tokens_T = end_T - begin_T
        has_two_T = cut_T < end_T
        sizes_T = tokens_T + 2 + has_two_T
        # Where a text starts in its row: after the texts before it.
        before_T = np.cumsum(sizes_T) - sizes_T
        start_T = before_T - np.repeat(before_T[np.cumsum(counts_B) - counts_B], counts_B)
        # One entry per token of every text, its position j in the text.
        j_n, text_n = counted_up(sizes_T), np.repeat(np.arange(len(sizes_T)), sizes_T)
        left_T = np.where(swapped_T, end_T - cut_T, cut_T - begin_T)  # tokens of what is laid out first
        is_second_n = j_n > left_T[text_n] + 1
        offset_n = np.where(is_second_n, j_n - left_T[text_n] - 2, j_n - 1)
        from_second_T = np.where(swapped_T, begin_T, cut_T)
        from_first_T = np.where(swapped_T, cut_T, begin_T)
        token_n = np.where(is_second_n, from_second_T[text_n], from_first_T[text_n]) + offset_n
        is_separator_n = (j_n == left_T[text_n] + 1) | (j_n == sizes_T[text_n] - 1)
        is_special_n = is_separator_n | (j_n == 0)
        row_n, column_n = owner_T[text_n], start_T[text_n] + j_n
        inside_n = np.where(is_special_n, 0, token_n)
        ids_n = np.asarray(self.corpus.ids[shard])[inside_n].astype(np.int64)
        special_n = np.where(is_separator_n, self.vocabulary.separator, self.vocabulary.start)
        rows.ids_BS[row_n, column_n] = np.where(is_special_n, special_n, ids_n)
        if rows.starts_word_BS is not None:
            rows.starts_word_BS[row_n, column_n] = self.corpus.starts_word_at(shard, inside_n) | is_special_n
        for array, values_n in (
            (rows.segments_BS, is_second_n),
            (rows.blocks_BS, column_T[text_n] + 1),
            (rows.positions_BS, j_n),
        ):
            assert array is not None
            array[row_n, column_n] = values_n
        assert rows.starts_BC is not None
        assert rows.orders_BC is not None
        rows.starts_BC[owner_T, column_T] = start_T
        if rows.labels_BC is not None and index.labels_T is not None:
            rows.labels_BC[owner_T, column_T] = index.labels_T[texts_T]
        else:
            rows.orders_BC[owner_T, column_T] = np.where(has_two_T, swapped_T, IGNORED)

    def _parts(self, shard: int, texts_T: Int64s, epochs_T: Int64s, seed: int) -> tuple[Int64s, Int64s, Int64s, Int64s]:
        """Return begin, cut (end without one) and end of each text in tokens, and whether its parts are swapped."""
        index = self.indices[shard]
        first_T, last_T = index.first_T[texts_T], index.last_T[texts_T]
        num_T = last_T - first_T
        keys = row_keys(epochs_T, texts_T + self.first_texts[shard], seed=seed, purpose="sentence order")
        where_T, swap_T = draw(keys, 2).numpy().T
        has_two_T = num_T > 1
        cut_T = np.where(has_two_T, first_T + 1 + where_T % np.maximum(num_T - 1, 1), last_T)
        swapped_T = has_two_T & (swap_T < 2**31) & (not self.is_labelled)
        return index.sentences[first_T], index.sentences[cut_T], index.sentences[last_T], swapped_T


def _index(sentences: Int64s, documents: Int64s, *, length: int, max_sentences: int | None) -> Index:
    """Find the texts of a shard's `documents`, and which of them share a row."""
    cut, first_T, last_T = find_texts(
        sentences,
        documents,
        width=length - 3,  # [CLS] and two [SEP]
        max_sentences=max_sentences,
    )
    sizes_T = cut[last_T] - cut[first_T] + 2 + (last_T - first_T > 1)
    order_T, rows_R = pack(sizes_T, length=length, max_texts=_max_texts(length))
    return Index(cut, first_T[order_T], last_T[order_T], rows_R)


def _max_texts(length: int) -> int:
    """Return the most texts that a row may hold: each costs every row a position in the last layer."""
    return max(2, length // SMALLEST_TEXT)


def _labelled(index: Index, documents: Int64s, labels: Int64s, length: int) -> Index:
    """Return the index of the pairs that fit into a row, with their labels."""
    begin_T, end_T = index.sentences[index.first_T], index.sentences[index.last_T]
    owner_T = np.searchsorted(documents, begin_T, side="right") - 1
    is_whole_T = (begin_T == documents[owner_T]) & (end_T == documents[owner_T + 1])
    first_T, last_T = index.first_T[is_whole_T], index.last_T[is_whole_T]
    sizes_T = (end_T - begin_T)[is_whole_T] + 3
    order_T, rows_R = pack(sizes_T, length=length, max_texts=_max_texts(length))
    return Index(index.sentences, first_T[order_T], last_T[order_T], rows_R, labels[owner_T[is_whole_T]][order_T])


@dataclass
class _Bins:
    """A number `count` of rows that hold texts of the same sizes, `sizes`."""

    sizes: tuple[int, ...]
    count: int


def pack(sizes_T: Int64s, *, length: int, max_texts: int) -> tuple[Int64s, Int64s]:
    """Return the texts row by row, (T,), and the index there of each row's first text, with T at the end, (R + 1,).

    No row holds more than `length` tokens or `max_texts` texts; rows are nearly full as long as there are short texts
    to fill the gaps. This is best fit, longest text first. The classic algorithm takes texts one by one; here all texts
    of one size are placed at once, so the work grows with the number of sizes (at most the length of a row, squared).
    The same sizes give the same rows.
    """
    counts = np.bincount(sizes_T, minlength=length + 1)
    rows = _fill_bins(counts, length, max_texts)
    # Texts of each size, in order; every row takes the next one of each of its sizes.
    by_size = np.argsort(sizes_T, kind="stable")
    taken = np.cumsum([0, *counts])[:-1]
    parts, lengths = [], []
    for bins in rows:
        columns = []
        for size in bins.sizes:
            columns.append(by_size[taken[size] : taken[size] + bins.count])
            taken[size] += bins.count
        parts.append(np.stack(columns, axis=1).ravel())
        lengths += [len(bins.sizes)] * bins.count
    order = np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)
    return order, np.cumsum([0, *lengths], dtype=np.int64)


def _fill_bins(counts: Int64s, length: int, max_texts: int) -> list[_Bins]:
    """Return bins that hold `counts[s]` texts of each size s."""
    by_room: list[list[_Bins]] = [[] for _ in range(length + 1)]  # rows that have so much room left
    full: list[_Bins] = []
    for size in range(length, 0, -1):
        left, room = int(counts[size]), size
        while left:
            while room < length and not by_room[room]:
                room += 1
            if room < length:
                bins = by_room[room].pop()
                used = min(left, bins.count)
                if used < bins.count:
                    by_room[room].append(_Bins(bins.sizes, bins.count - used))
            else:  # no row has room: open as many as this size fills
                bins, used = _Bins((), 0), -(-left // min(length // size, max_texts))
            grown = _Bins((*bins.sizes, size), used)
            (full if len(grown.sizes) == max_texts else by_room[room - size]).append(grown)
            left, room = left - used, size
    return full + [bins for group in by_room for bins in group]
