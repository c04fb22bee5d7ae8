"""Markdown of tables. Input: text and rows of text. Output: Markdown that shows the text as it is."""

import re
from collections.abc import Iterable, Sequence

# An underscore inside a word is plain text in Markdown; at a word's edge it starts emphasis.
_SPECIAL = re.compile(r"[\\|*`<>\[\]~&#]|(?<![^\W_])_|_(?![^\W_])")


def escape(text: str) -> str:
    """Return `text` as one line that Markdown shows as it is, in a table cell too."""
    return _SPECIAL.sub(r"\\\g<0>", " ".join(text.split()))


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table with centred columns; the cells are escaped already."""
    lines = ["| " + " | ".join(header) + " |", "|" + ":-:|" * len(header)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])
