"""Clean lines of raw text.

Input: a line as it stands in the file, or many as code points. Output: each without control and zero-width
characters, with runs of blanks as one space, stripped. Nothing else is judged or changed: which text is worth training
on is the user's choice.
"""

import re

import numpy as np
import numpy.typing as npt

_BLANKS = re.compile(r"[\s\u3000]+")
# C0/C1 controls, soft hyphen, zero-width and direction marks, byte order marks inside text, the replacement character.
_INVISIBLE = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u200b-\u200f\u202a-\u202e\u2060\ufeff\ufffd]")

LINE_FEED, SPACE = map(ord, "\n ")
_IS_BLANK, _IS_INVISIBLE = 1, 2


def clean_line(line: str) -> str:
    """Return the cleaned line, which may be empty."""
    return _BLANKS.sub(" ", _INVISIBLE.sub("", line)).strip()


def clean_lines(codes: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """Return the code points of many lines, each ending with a line feed, each cleaned as `clean_line` does."""
    kinds = _KINDS[np.minimum(codes, len(_KINDS) - 1)]
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


def _kinds() -> npt.NDArray[np.uint8]:
    """Return (65,537,) what the two patterns say of each character; the last stands for all beyond: neither."""
    kinds = np.zeros(2**16 + 1, dtype=np.uint8)
    characters = "".join(map(chr, range(2**16)))
    for pattern, kind in ((_BLANKS, _IS_BLANK), (_INVISIBLE, _IS_INVISIBLE)):
        for match in pattern.finditer(characters):
            kinds[match.start() : match.end()] = kind  # the second last: "\x1c" is a blank to \s, but goes
    return kinds


_KINDS = _kinds()
