"""Rows on the standard input, for "-" in place of a file.

Output: their bytes, and the name that a file of them would have: how they begin says whether they are JSON Lines, a
table or lines of text, since a pipe has no name.
"""

import re
import sys
from collections.abc import Collection
from pathlib import Path

from clue_bench.tasks.columns import is_text
from clue_bench.tasks.formats import decode_text

STDIN = Path("-")
CALLED = "stdin"  # in notes and errors
_JSON = re.compile(r'\s*(\[\s*)?\{\s*"')  # a line of text may begin with "{" or "["
_TABLES = {",": ".csv", ";": ".csv", "\t": ".tsv"}  # one column without a delimiter is CSV, which has quotes


def read_stdin(fields: Collection[str], *, otherwise: str) -> tuple[bytes, str]:
    """Read the standard input to its end; return its bytes, and a file's name for them.

    Objects are JSON Lines, a first line with one of `fields` or an obvious name of texts in it a table's header, and
    what is neither is a file that ends in `otherwise`. Raises ClueBenchError for what is no text.
    """
    raw = b"" if sys.stdin is None else sys.stdin.buffer.read()  # None: closed, as by <&-
    text, _ = decode_text(raw, CALLED)
    if _JSON.match(text):
        return raw, f"{CALLED}.jsonl"
    header = text.partition("\n")[0]
    for delimiter, suffix in _TABLES.items():
        names = [cell.strip().strip('"') for cell in header.split(delimiter)]
        if any(name in fields or is_text(name) for name in names):
            return raw, f"{CALLED}{suffix}"
    return raw, f"{CALLED}{otherwise}"
