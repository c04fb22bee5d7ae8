"""Clean lines of raw text, and split them into sentences: one line at a time, or many at once as code points.

Cleaning leaves out control and zero-width characters, makes runs of blanks one space, and strips. Nothing else is
judged or changed: which text is worth training on is the user's choice. A sentence ends after 。！？!?… and any closing
quotes or brackets that follow; a line end ends one too. ASCII "." does not: it stands in numbers and names.
"""

import re

import numpy as np
import numpy.typing as npt

_BLANKS = re.compile(r"[\s\u3000]+")
# C0/C1 controls, soft hyphen, zero-width and direction marks, byte order marks inside text, the replacement character.
_INVISIBLE = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u200b-\u200f\u202a-\u202e\u2060\ufeff\ufffd]")
_MARKS = "。！？!?…"
_CLOSING = "”’\"'」』）)》】"
_SENTENCE = re.compile(rf"[^{_MARKS}]*(?:[{_MARKS}]+[{_CLOSING}]*|$)")

LINE_FEED, SPACE = map(ord, "\n ")
_IS_BLANK, _IS_INVISIBLE = 1, 2
_IS_MARK, _IS_CLOSING = 1, 2


def clean_line(line: str) -> str:
    """Return the cleaned line, which may be empty."""
    return _BLANKS.sub(" ", _INVISIBLE.sub("", line)).strip()


def clean_lines(codes: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """Return the code points of many lines, each ending with a line feed, each cleaned as `clean_line` does."""
    kinds = _BLANK_KINDS[np.minimum(codes, len(_BLANK_KINDS) - 1)]
    unusual = np.flatnonzero(kinds)
    is_invisible = kinds[unusual] == _IS_INVISIBLE
    if is_invisible.any():
        return clean_lines(np.delete(codes, unusual[is_invisible]))
    # (B,) blanks and line feeds; those that follow each other are a run.
    is_feed = codes[unusual] == LINE_FEED
    is_first = np.diff(unusual, prepend=-2) != 1
    firsts = np.flatnonzero(is_first)
    # Of a run only the first blank stays, and none at a line's end or start.
    has_feed = np.logical_or.reduceat(is_feed, firsts) | (unusual[firsts] == 0)
    stays = is_first & ~np.repeat(has_feed, np.diff(firsts, append=len(unusual)))
    cleaned = codes.copy()
    cleaned[unusual[stays]] = SPACE
    goes = unusual[~stays & ~is_feed]
    return np.delete(cleaned, goes) if len(goes) else cleaned


def split_sentences(line: str) -> list[str]:
    """Return the non-blank sentences of `line`, in order."""
    return [sentence for sentence in _SENTENCE.findall(line) if sentence.strip()]


def sentence_starts(codes: npt.NDArray[np.uint32]) -> npt.NDArray[np.int64]:
    """Return (S,) where the sentences of many cleaned lines begin, each line ending with a line feed.

    Every line begins a sentence, even an empty one; the line feed belongs to its last.
    """
    kinds = _SENTENCE_KINDS[np.minimum(codes, len(_SENTENCE_KINDS) - 1)]
    is_start = np.zeros(len(codes) + 1, dtype=np.bool_)
    at = np.flatnonzero(kinds)
    is_mark = kinds[at] == _IS_MARK
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
    is_start[after[codes[np.minimum(after, len(codes) - 1)] != LINE_FEED]] = True
    is_start[np.flatnonzero(codes == LINE_FEED) + 1] = True
    is_start[0], is_start[-1] = True, False
    return np.flatnonzero(is_start)


# (65,537,) The kind of each character; the last stands for all beyond: none.
_BLANK_KINDS, _SENTENCE_KINDS = np.zeros((2, 2**16 + 1), dtype=np.uint8)
for _pattern, _kind in ((_BLANKS, _IS_BLANK), (_INVISIBLE, _IS_INVISIBLE)):
    for _match in _pattern.finditer("".join(map(chr, range(2**16)))):
        _BLANK_KINDS[_match.start() : _match.end()] = _kind  # the second last: "\x1c" is a blank to \s, but goes
_SENTENCE_KINDS[list(map(ord, _MARKS))] = _IS_MARK
_SENTENCE_KINDS[list(map(ord, _CLOSING))] = _IS_CLOSING
