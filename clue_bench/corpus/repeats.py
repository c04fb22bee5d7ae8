"""Find documents and paragraphs that were read before, and leave them out where that is asked for.

Input: documents as lists of lines, in order. Output: what is kept of them, and counts. Texts are the same if they
differ in blanks only. A text is remembered as 64 bits, some 12 bytes of memory each; two texts of a hundred million
share them with a probability of 1 in 4,000.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from clue_bench.doors.shards import Droppable, Repeats

Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


class Seen:
    """The texts that were met, as sorted arrays of their hashes, each less than half as long as the one before."""

    def __init__(self) -> None:
        self._runs: list[Int64s] = []

    def mark(self, hashes: Int64s) -> Bools:
        """Return (N,) whether each of (N,) texts was met before, in another call or earlier in this; remember all."""
        unique, first, where = np.unique(hashes, return_index=True, return_inverse=True)
        is_old = np.zeros(len(unique), dtype=np.bool_)
        for run in self._runs:
            is_old |= run[np.minimum(np.searchsorted(run, unique), len(run) - 1)] == unique
        new = unique[~is_old]
        while self._runs and len(self._runs[-1]) < 2 * len(new):
            new = np.sort(np.concatenate([self._runs.pop(), new]), kind="stable")
        if len(new):
            self._runs.append(new)
        repeated: Bools = is_old[where] | (first[where] != np.arange(len(hashes)))
        return repeated


@dataclass
class RepeatCounter:
    """Counts repeated documents and paragraphs, and drops those that `drop` names; repeated documents with either."""

    drop: Droppable | None
    documents: int = 0
    paragraphs: int = 0
    dropped_documents: int = 0
    _documents: Seen = field(default_factory=Seen)
    _paragraphs: Seen = field(default_factory=Seen)

    @property
    def found(self) -> Repeats:
        """Return the counts for the manifest."""
        return Repeats(
            documents=self.documents,
            paragraphs=self.paragraphs,
            dropped=self.drop,
            dropped_documents=self.dropped_documents,
        )

    def kept(self, documents: list[list[str]]) -> list[list[str]]:
        """Return what is kept of some documents, after counting what repeats earlier text."""
        hashes = [[hash("".join(line.split())) for line in lines] for lines in documents]
        of_documents = self._documents.mark(np.array([hash(tuple(lines)) for lines in hashes], dtype=np.int64))
        of_paragraphs = self._paragraphs.mark(np.array([one for lines in hashes for one in lines], dtype=np.int64))
        self.documents += int(of_documents.sum())
        self.paragraphs += int(of_paragraphs.sum())
        if self.drop is None:
            return documents
        if self.drop == "documents":
            kept = [lines for lines, repeated in zip(documents, of_documents, strict=True) if not repeated]
        else:
            flags = iter(of_paragraphs.tolist())
            kept = [left for lines in documents if (left := [line for line in lines if not next(flags)])]
        self.dropped_documents += len(documents) - len(kept)
        return kept
