"""Task rows as token ids.

Enters: rows and a vocabulary. Leaves: flat token ids with offsets.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import numpy as np
import numpy.typing as npt

from clue_bench.task_data.read import Rows
from clue_bench.vocab import Vocabulary

ROWS_PER_CALL = 4096  # bounds the Rust tokenizer's results, which are larger than the texts


@dataclass(frozen=True)
class Encoded:
    """Token ids of a split. Row i is `ids[offsets[i]:offsets[i+1]]`; `segments` has the same shape."""

    ids: npt.NDArray[np.int32]
    segments: npt.NDArray[np.int8]
    offsets: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    truncated_rows: int

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property  # asked for at every batch
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of each row."""
        return np.diff(self.offsets)


def encode(rows: Rows, vocabulary: Vocabulary, *, max_length: int) -> Encoded:
    """Tokenise: [CLS] a [SEP], or [CLS] a [SEP] b [SEP] cut from the longer text first; segments 0 and 1.

    The final [SEP] is always kept. Equals `transformers` with truncation="longest_first".
    """
    start, separator = vocabulary.start, vocabulary.separator
    ids: list[list[int]] = []
    first_lengths: list[int] = []
    truncated = 0
    for tokens in _tokenised(rows.texts, vocabulary):
        budget = max_length - 1 - len(tokens)
        kept = _longest_first([len(part) for part in tokens], budget)
        truncated += sum(kept) < sum(map(len, tokens))
        row = [start]
        for part, length in zip(tokens, kept, strict=True):
            row += [*part[:length], separator]
        ids.append(row)
        first_lengths.append(kept[0] + 2)
    lengths = np.array([len(row) for row in ids], dtype=np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    flat = np.fromiter(chain.from_iterable(ids), dtype=np.int32, count=int(offsets[-1]))
    place_in_row = np.arange(len(flat)) - np.repeat(offsets[:-1], lengths)
    segments = (place_in_row >= np.repeat(first_lengths, lengths)).astype(np.int8)
    return Encoded(flat, segments, offsets, rows.labels, truncated)


def _tokenised(texts: list[tuple[str, ...]], vocabulary: Vocabulary) -> Iterator[list[list[int]]]:
    """Yield the ids of each row's texts. Not truncated by the tokenizer, which would keep every piece it cuts off."""
    encoder = vocabulary.encoder(special_tokens=True)
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
