"""Check the tokenizer of a folder that was written: `transformers` must find in it the ids that were trained on.

Input: a folder, the vocabulary that its model was trained with, and lines of text. Output: an `ExportCheck`, or an
error if many lines have other ids. A few may: AlbertTokenizer breaks ties of equally likely segmentations, and reads
"``", in its own way (see `Vocabulary.save`).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from clue_bench.errors import ClueBenchError
from clue_bench.vocab import Vocabulary
from clue_bench.weights.hf_classes import explained

MOST_DIFFERING = 0.01  # of the lines; 0.04 % of real text are ties and quotes


class ExportCheck(NamedTuple):
    """How many lines were compared, and how many of them have other ids."""

    lines: int
    differing: int

    @property
    def text(self) -> str:
        """Return the result as a sentence."""
        return f"{self.lines - self.differing:,} of {self.lines:,} lines have the same ids in transformers"


def check_export(folder: Path, vocabulary: Vocabulary, lines: Sequence[str]) -> ExportCheck:
    """Compare the ids of `lines` by the tokenizer in `folder` with those of `vocabulary`.

    Raises ClueBenchError if more than MOST_DIFFERING of them differ.
    """
    from transformers import AutoTokenizer

    with explained(f"{folder}: transformers cannot load its tokenizer", "report it with the vocabulary's file"):
        tokenizer = AutoTokenizer.from_pretrained(folder)
        found = tokenizer(list(lines), add_special_tokens=False, verbose=False)["input_ids"] if lines else []
    expected = vocabulary.encoder(special_tokens=True).ids(list(lines))  # as transformers reads a "[MASK]" in a text
    differing = [line for line, one, other in zip(lines, found, expected, strict=True) if one != other]
    if len(differing) > MOST_DIFFERING * len(lines):
        raise ClueBenchError(
            f"{folder}: in transformers its tokenizer gives other ids than the model was trained on, for "
            f"{len(differing):,} of {len(lines):,} lines, e.g. {differing[0][:40]!r}",
            "do not use this folder's tokenizer; train again with a vocabulary that clue-bench vocab train makes",
        )
    return ExportCheck(len(lines), len(differing))
