"""Texts that stand more than once: within a split, with different labels, and in two splits.

Input: the rows of splits. Output: counts. Two rows have the same texts if every character of every text agrees, the
texts of a pair in their order; an index without white space counts "a b" and "ab" as the same, too.

What is counted, for the word "duplicates" has three meanings:

- duplicate rows: rows whose texts an earlier row of the split has already, that is rows minus distinct texts. A text
  that stands three times gives two. (TNEWS dev: 235; test of 1.1: 1,174)
- conflicting texts: distinct texts that stand with more than one label. (TNEWS dev: 28, in 69 rows)
- shared texts: distinct texts that stand in both splits (TNEWS dev and test1.0: 252), beside the rows that have them in
  the one and in the other (371 and 396).
"""

from dataclasses import dataclass

from clue_bench.tasks.read import UNLABELLED, Rows

Texts = tuple[str, ...]


@dataclass(frozen=True)
class Duplicates:
    """Repeated texts of one split; conflicts are None where there are no labels."""

    rows: int
    conflicting_texts: int | None
    conflicting_rows: int | None


@dataclass(frozen=True)
class Shared:
    """Distinct texts that stand in two splits, and the rows of each that have them."""

    texts: int
    first_rows: int
    second_rows: int
    conflicting_texts: int | None
    """Those with more than one label over both splits; None unless both have labels."""


@dataclass(frozen=True)
class Overlap:
    """What two splits share, character by character and but for white space."""

    first: str
    second: str
    exact: Shared
    but_for_spaces: Shared


class Index:
    """How often each distinct text stands in a split, and with which labels."""

    def __init__(self, rows: Rows, *, spaces: bool = True) -> None:
        """Index `rows`; without `spaces`, white space in texts does not count."""
        self.is_labelled = bool((rows.labels != UNLABELLED).all())
        self.rows_of: dict[Texts, int] = {}
        self.labels_of: dict[Texts, frozenset[int]] = {}
        for texts, label in zip(rows.texts, rows.labels.tolist(), strict=True):
            key = texts if spaces else tuple("".join(text.split()) for text in texts)
            self.rows_of[key] = self.rows_of.get(key, 0) + 1
            known = self.labels_of.get(key)
            if known is None or label not in known:
                self.labels_of[key] = frozenset({label}) | (known or frozenset())

    def duplicates(self) -> Duplicates:
        """Count what stands more than once."""
        repeated = sum(self.rows_of.values()) - len(self.rows_of)
        if not self.is_labelled:
            return Duplicates(repeated, None, None)
        conflicting = [texts for texts, labels in self.labels_of.items() if len(labels) > 1]
        return Duplicates(repeated, len(conflicting), sum(self.rows_of[texts] for texts in conflicting))


def shared(first: Index, second: Index) -> Shared:
    """Count what two splits share."""
    both = first.rows_of.keys() & second.rows_of.keys()
    conflicting = None
    if first.is_labelled and second.is_labelled:
        conflicting = sum(len(first.labels_of[texts] | second.labels_of[texts]) > 1 for texts in both)
    return Shared(
        texts=len(both),
        first_rows=sum(first.rows_of[texts] for texts in both),
        second_rows=sum(second.rows_of[texts] for texts in both),
        conflicting_texts=conflicting,
    )
