"""Clean lines of raw text.

Enters: a line as it stands in the file. Leaves: the line without control and zero-width characters, with runs of
blanks as one space, stripped. Nothing else is judged or changed: which text is worth training on is the user's choice.
"""

import re

_BLANKS = re.compile(r"[\s\u3000]+")
# C0/C1 controls, soft hyphen, zero-width and direction marks, byte order marks inside text, the replacement character.
_INVISIBLE = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u200b-\u200f\u202a-\u202e\u2060\ufeff\ufffd]")


def clean_line(line: str) -> str:
    """Return the cleaned line, which may be empty."""
    return _BLANKS.sub(" ", _INVISIBLE.sub("", line)).strip()
