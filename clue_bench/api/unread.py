"""What a model does not see of the rows that it is given, in words: the end of long ones, and unknown characters.

Input: the numbers of each split, from its token ids or from a run's record. Output: notes, the same for every verb.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from clue_bench.numbers import counted

if TYPE_CHECKING:
    from clue_bench.doors.results import ReadTexts

MUCH_UNKNOWN = 0.01
"""Share of a split's tokens from which on their note is a warning. Simplified Chinese leaves less in any Chinese
vocabulary; titles in traditional characters leave a fifth in one of simplified ones."""


def notes_on(read: "Mapping[str, ReadTexts]", *, max_length: int, of: str = "") -> list[str]:
    """Return what is to be said of splits, by name; "" is that of rows which are no split. Often that is nothing.

    `of` says first which task and model they are of, where there are several.
    """
    where, found = f"{of}: " if of else "", []
    if any(each.truncated_rows for each in read.values()):
        parts = (f"{split} {each.truncated_rows:,} of {counted(each.rows, 'row')}" for split, each in read.items())
        found.append(f"{where}cut to {max_length:,} tokens: {'; '.join(part.strip() for part in parts)}")
    if any(each.unknown_tokens for each in read.values()):
        found.append(_unknown(read, where))
    return found


def _unknown(read: "Mapping[str, ReadTexts]", where: str) -> str:
    parts = [
        f"{split} {100 * each.unknown_share:.2f} % of tokens, in {each.unknown_rows:,} of {counted(each.rows, 'row')}"
        for split, each in read.items()
        if each.unknown_tokens
    ]
    note = f"{where}unknown tokens: {'; '.join(map(str.strip, parts))}"
    if max(each.unknown_share for each in read.values()) < MUCH_UNKNOWN:
        return note
    return f"warning: {note}. They stand for characters that the model's vocabulary lacks, which it cannot tell apart"
