"""How long texts are, in characters and in tokens.

Input: texts, a vocabulary. Output: percentiles by nearest rank (the smallest length that at least so many per cent of
the rows do not exceed, so always one that occurs), how many rows a model's length cuts, and what it keeps of them.
"""

from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt

from clue_bench.vocab import Vocabulary

TEXTS_PER_CALL = 8192  # bounds the tokenizer's results, which are larger than the texts


@dataclass(frozen=True)
class Lengths:
    """Percentiles of the lengths of some rows."""

    p50: int
    p95: int
    p99: int
    max: int


@dataclass(frozen=True)
class TokenLengths:
    """Tokens of the rows of a split. `lengths` counts [CLS] and every [SEP], the other numbers the texts' tokens."""

    lengths: Lengths
    max_length: int
    truncated_rows: int
    text_tokens: int
    kept_tokens: int
    unknown_tokens: int


def lengths_of(counts: npt.NDArray[np.int64]) -> Lengths:
    """Return the percentiles of `counts`, one number a row."""
    p50, p95, p99 = np.percentile(counts, [50, 95, 99], method="inverted_cdf").tolist()
    return Lengths(p50=int(p50), p95=int(p95), p99=int(p99), max=int(counts.max()))


def characters_of(texts: list[tuple[str, ...]]) -> tuple[Lengths, list[Lengths]]:
    """Return the lengths of each row's texts together, without anything between them, and of each text by itself."""
    counts = np.array([[len(text) for text in row] for row in texts], dtype=np.int64)
    return lengths_of(counts.sum(axis=1)), [lengths_of(column) for column in counts.T]


def tokens_of(texts: list[tuple[str, ...]], vocabulary: Vocabulary, *, max_length: int) -> TokenLengths:
    """Count tokens as a BERT model reads them: [CLS] a [SEP] or [CLS] a [SEP] b [SEP], cut at `max_length`."""
    parts = len(texts[0])
    encoder, unknown = vocabulary.encoder(special_tokens=True), vocabulary.unknown
    flat = list(chain.from_iterable(texts))
    counts: list[int] = []
    unknown_tokens = 0
    for start in range(0, len(flat), TEXTS_PER_CALL):
        for ids in encoder.ids(flat[start : start + TEXTS_PER_CALL]):
            counts.append(len(ids))
            unknown_tokens += ids.count(unknown)
    in_row = np.array(counts, dtype=np.int64).reshape(-1, parts).sum(axis=1)
    special = 1 + parts
    return TokenLengths(
        lengths=lengths_of(in_row + special),
        max_length=max_length,
        truncated_rows=int((in_row + special > max_length).sum()),
        text_tokens=int(in_row.sum()),
        kept_tokens=int(np.minimum(in_row, max_length - special).sum()),
        unknown_tokens=unknown_tokens,
    )
