"""Where words start, by a segmenter.

Enters: cleaned sentences and their tokens. Leaves: for each token, whether it starts a word.

rjieba (jieba in Rust, Apache-2.0 and MIT) cuts a sentence as it stands, blanks being words too. A token starts a word
if its first character is a word's first, or if it is the sentence's first token. So a token that begins inside a word
belongs to it, even where it reaches into the next; and of two tokens that begin at the same character ("▁" and what
follows it, or the "3" and "." of "⒊"), the second does not start a word.
"""

from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from clue_bench.vocab import Tokens


def word_starts(sentences: list[str], tokens: "Tokens") -> npt.NDArray[np.bool_]:
    """Return (T,) whether each token of the N sentences starts a word."""
    import rjieba  # here, for its dictionary takes a moment to load and most builds do not need it

    words = chain.from_iterable(map(rjieba.cut, sentences))
    word_lengths = np.fromiter(map(len, words), np.int64)
    lengths = np.fromiter(map(len, sentences), np.int64, count=len(sentences))
    firsts = np.cumsum(lengths) - lengths  # (N,) of the sentences, were they written one after the other
    is_word_start = np.zeros(int(lengths.sum()) + 1, dtype=np.bool_)
    is_word_start[np.cumsum(word_lengths) - word_lengths] = True
    assert word_lengths.sum() == lengths.sum(), "the segmenter lost or added characters"
    at = np.repeat(firsts, tokens.lengths) + tokens.starts
    starts: npt.NDArray[np.bool_] = is_word_start[at]
    starts[1:] &= at[1:] != at[:-1]
    starts[(np.cumsum(tokens.lengths) - tokens.lengths)[tokens.lengths > 0]] = True
    return starts
