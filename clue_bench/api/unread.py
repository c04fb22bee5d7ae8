"""What a model does not see of the rows that it is given, in words: the end of long ones.

Input: the numbers of each split, from its token ids or from a run's record. Output: notes, the same for every verb.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from clue_bench.numbers import counted

if TYPE_CHECKING:
    from clue_bench.doors.results import ReadTexts


def notes_on(read: "Mapping[str, ReadTexts]", *, max_length: int) -> list[str]:
    """Return what is to be said of splits, by name; "" is that of rows which are no split. Nothing is often."""
    found = []
    if any(each.truncated_rows for each in read.values()):
        parts = (f"{split} {each.truncated_rows:,} of {counted(each.rows, 'row')}" for split, each in read.items())
        found.append(f"cut to {max_length:,} tokens: {'; '.join(part.strip() for part in parts)}")
    return found
