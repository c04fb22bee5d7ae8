"""Lines for training a vocabulary.

Input: text files. Output: the cleaned lines that the corpus would be built from.
"""

import math
from collections.abc import Callable, Iterator
from pathlib import Path

from clue_bench.corpus.clean import clean_line
from clue_bench.corpus.read import Tally, read_documents

PIECE_CHARACTERS = 2**20  # longest piece of a document held at a time


def clean_lines(
    files: list[Path], *, tally: Tally, characters: int | None, on_line: Callable[[], None]
) -> Iterator[str]:
    """Yield the cleaned lines of every document, calling `on_line` after each; stop after about `characters`."""
    left = math.inf if characters is None else characters
    for document in read_documents(files, longest=PIECE_CHARACTERS, tally=tally):
        for line in document.lines:
            yield clean_line(line)
            on_line()
            left -= len(line)
        if left <= 0:
            return
