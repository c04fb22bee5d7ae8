"""Rows on the standard input, for "-" in place of a file.

Output: their bytes, and the name that a file of them would have: how they begin says whether they are JSON Lines, a
table or lines of text, since a pipe has no name.
"""

import re
import sys
from collections.abc import Collection
from pathlib import Path

STDIN = Path("-")
CALLED = "stdin"  # in notes and errors
_JSON = re.compile(rb"\s*(\{|\[\s*\{)")
_TABLES = {"\t": ".tsv", ",": ".csv"}


def read_stdin(fields: Collection[str], *, otherwise: str) -> tuple[bytes, str]:
    """Read the standard input to its end; return its bytes, and a file's name for them.

    Objects are JSON Lines, a first line with one of `fields` in it a table's header, and what is neither is a file that
    ends in `otherwise`.
    """
    raw = sys.stdin.buffer.read()
    if _JSON.match(raw.removeprefix(b"\xef\xbb\xbf")):
        return raw, f"{CALLED}.jsonl"
    first = raw.partition(b"\n")[0].removesuffix(b"\r")
    for encoding in ("utf-8-sig", "gb18030"):
        header = first.decode(encoding, errors="replace")
        for delimiter, suffix in _TABLES.items():
            if {cell.strip().strip('"') for cell in header.split(delimiter)} & set(fields):
                return raw, f"{CALLED}{suffix}"
    return raw, f"{CALLED}{otherwise}"
