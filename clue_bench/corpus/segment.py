"""Split lines into sentences.

Input: a cleaned line, or many as code points. Output: its sentences, whose concatenation is the line. A sentence
ends after 。！？!?… and any closing quotes or brackets that follow; a line end ends one too. ASCII "." does not: it
stands in numbers and names.
"""

import re

import numpy as np
import numpy.typing as npt

_MARKS = "。！？!?…"
_CLOSING = "”’\"'」』）)》】"
_SENTENCE = re.compile(rf"[^{_MARKS}]*(?:[{_MARKS}]+[{_CLOSING}]*|$)")

_LINE_FEED = ord("\n")


def split_sentences(line: str) -> list[str]:
    """Return the non-blank sentences of `line`, in order."""
    return [sentence for sentence in _SENTENCE.findall(line) if sentence.strip()]


def sentence_starts(codes: npt.NDArray[np.uint32]) -> npt.NDArray[np.int64]:
    """Return (S,) where the sentences of many cleaned lines begin, each line ending with a line feed.

    Every line begins a sentence, even an empty one; the line feed belongs to its last.
    """
    kinds = _KINDS[np.minimum(codes, len(_KINDS) - 1)]
    is_start = np.zeros(len(codes) + 1, dtype=np.bool_)
    at = np.flatnonzero(kinds)
    is_mark = kinds[at] == 1
    # Marks and closing characters that follow each other are a run; from its first mark on it ends a sentence.
    is_first = np.diff(at, prepend=-2) != 1
    marks = np.cumsum(is_mark)
    firsts = np.flatnonzero(is_first)
    before = np.repeat((marks - is_mark)[firsts], np.diff(firsts, append=len(at)))
    ends = marks > before
    # The next sentence begins after the run, and where a mark follows a closing character within it.
    goes_on = ~np.append(is_first[1:], True)
    goes_on[:-1] &= ~is_mark[1:] | is_mark[:-1]
    after = at[ends & ~goes_on] + 1
    is_start[after[codes[np.minimum(after, len(codes) - 1)] != _LINE_FEED]] = True
    is_start[np.flatnonzero(codes == _LINE_FEED) + 1] = True
    is_start[0], is_start[-1] = True, False
    return np.flatnonzero(is_start)


def _kinds() -> npt.NDArray[np.uint8]:
    """Return (65,537,) 1 for end marks, 2 for closing characters, 0 for others; the last stands for all beyond."""
    kinds = np.zeros(2**16 + 1, dtype=np.uint8)
    kinds[[ord(mark) for mark in _MARKS]] = 1
    kinds[[ord(closing) for closing in _CLOSING]] = 2
    return kinds


_KINDS = _kinds()
