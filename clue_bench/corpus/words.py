"""Where words start, by a segmenter.

Input: cleaned lines and the places of their tokens. Output: for each token, whether it starts a word.

rjieba (jieba in Rust, Apache-2.0 and MIT) cuts text as it stands, blanks and line feeds being words too. It looks at
each stretch of Chinese characters, letters and digits by itself, so that lines cut together are cut as one by one.
A token starts a word if its first character is a word's first, or if it is its text's first token. So a token that
begins inside a word belongs to it, even where it reaches into the next; and of two tokens that begin at the same
character ("▁" and what follows it, or the "3" and "." of "⒊"), the second does not start a word.
"""

import numpy as np
import numpy.typing as npt

from clue_bench.vocab import text_of


def word_starts(
    codes: npt.NDArray[np.uint32], at: npt.NDArray[np.int64], begins: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    """Return (T,) whether each token starts a word.

    `codes`: (C,) code points of lines, each ending with a line feed. `at`: (T,) where the tokens begin. `begins`: (N,)
    where each text begins whose first token starts a word anyway.
    """
    import rjieba  # here, for its dictionary takes a moment to load and most builds do not need it

    words = rjieba.cut(text_of(codes))
    lengths = np.fromiter(map(len, words), np.int64, count=len(words))
    assert lengths.sum() == len(codes), "the segmenter lost or added characters"
    is_word_start = np.zeros(len(codes), dtype=np.bool_)
    is_word_start[np.cumsum(lengths) - lengths] = True
    starts: npt.NDArray[np.bool_] = is_word_start[at]
    starts[1:] &= at[1:] != at[:-1]
    firsts = np.searchsorted(at, begins)
    starts[firsts[np.diff(firsts, append=len(at)) > 0]] = True
    return starts
