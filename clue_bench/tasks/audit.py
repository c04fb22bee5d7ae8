"""Examine a task's data before a model is trained on it.

Input: a task, a data folder, and a vocabulary if tokens are to be counted. Output: per split rows, lengths, labels and
duplicates, and what splits share. Rows with the card's dropped labels are counted and then left out.

Two rows have the same texts if every character of every text agrees, the texts of a pair in their order; an index
without white space counts "a b" and "ab" as the same, too. The word "duplicates" has three meanings:

- duplicate rows: rows whose texts an earlier row of the split has already, that is rows minus distinct texts. A text
  that stands three times gives two. (TNEWS dev: 235; test of 1.1: 1,174)
- conflicting texts: distinct texts that stand with more than one label. (TNEWS dev: 28, in 69 rows)
- shared texts: distinct texts that stand in both splits (TNEWS dev and test1.0: 252), beside the rows that have them in
  the one and in the other (371 and 396).

Percentiles are by nearest rank: the smallest length that at least so many per cent of the rows do not exceed, so
always one that occurs.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from clue_bench.doors.records import FileFacts
from clue_bench.tasks.files import available_splits, describe
from clue_bench.tasks.rows import LABELLED_SPLITS, UNLABELLED, Rows, read_split
from clue_bench.tasks.task import Task
from clue_bench.vocab import Vocabulary

Texts = tuple[str, ...]


@dataclass(frozen=True)
class Duplicates:
    """Repeated texts of one split; conflicts are None where there are no labels."""

    rows: int
    conflicting_texts: int | None
    conflicting_rows: int | None


@dataclass(frozen=True)
class Shared:
    """Distinct texts that occur in two splits, and the rows of each that have them."""

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
    """How often each distinct text occurs in a split, and with which labels."""

    def __init__(self, rows: Rows, *, spaces: bool = True) -> None:
        """Index `rows`; without `spaces`, white space in texts does not count."""
        self.is_labelled = bool((rows.labels != UNLABELLED).all())
        self.rows_of: dict[Texts, int] = {}
        self.labels_of: dict[Texts, frozenset[Hashable]] = {}
        labels: Sequence[Hashable] = rows.entities if rows.entities and spaces else rows.labels.tolist()
        for texts, label in zip(rows.texts, labels, strict=True):
            key = texts if spaces else tuple("".join(text.split()) for text in texts)
            self.rows_of[key] = self.rows_of.get(key, 0) + 1
            known = self.labels_of.get(key)
            if known is None or label not in known:
                self.labels_of[key] = frozenset({label}) | (known or frozenset())

    def duplicates(self) -> Duplicates:
        """Count repeated texts."""
        repeated = sum(self.rows_of.values()) - len(self.rows_of)
        if not self.is_labelled:
            return Duplicates(repeated, None, None)
        conflicting = [texts for texts, labels in self.labels_of.items() if len(labels) > 1]
        return Duplicates(repeated, len(conflicting), sum(self.rows_of[texts] for texts in conflicting))


def shared(first: Index, second: Index) -> Shared:
    """Count the texts that two splits share."""
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


TEXTS_PER_CALL = 8192  # bounds the tokenizer's results, which are larger than the texts


@dataclass(frozen=True)
class Lengths:
    """Percentiles of the lengths of some rows."""

    p50: int
    p95: int
    p99: int
    max: int


@dataclass(frozen=True)
class TokenLengths:
    """Tokens of the rows of a split. `lengths` counts [CLS] and every [SEP], the other numbers the texts' tokens."""

    lengths: Lengths
    max_length: int
    truncated_rows: int
    text_tokens: int
    kept_tokens: int
    unknown_tokens: int


def lengths_of(counts: npt.NDArray[np.int64]) -> Lengths:
    """Return the percentiles of `counts`, one number a row."""
    p50, p95, p99 = np.percentile(counts, [50, 95, 99], method="inverted_cdf").tolist()
    return Lengths(p50=int(p50), p95=int(p95), p99=int(p99), max=int(counts.max()))


def characters_of(texts: list[tuple[str, ...]]) -> tuple[Lengths, list[Lengths]]:
    """Return the lengths of each row's texts together, without anything between them, and of each text by itself."""
    counts = np.array([[len(text) for text in row] for row in texts], dtype=np.int64)
    return lengths_of(counts.sum(axis=1)), [lengths_of(column) for column in counts.T]


def tokens_of(texts: list[tuple[str, ...]], vocabulary: Vocabulary, *, max_length: int) -> TokenLengths:
    """Count tokens as a BERT model reads them: [CLS] a [SEP] or [CLS] a [SEP] b [SEP], cut at `max_length`."""
    parts = len(texts[0])
    encoder, unknown = vocabulary.encoder(special_tokens=True), vocabulary.unknown
    flat = list(chain.from_iterable(texts))
    counts: list[int] = []
    unknown_tokens = 0
    for start in range(0, len(flat), TEXTS_PER_CALL):
        for ids in encoder.ids(flat[start : start + TEXTS_PER_CALL]):
            counts.append(len(ids))
            unknown_tokens += ids.count(unknown)
    in_row = np.array(counts, dtype=np.int64).reshape(-1, parts).sum(axis=1)
    special = 1 + parts
    return TokenLengths(
        lengths=lengths_of(in_row + special),
        max_length=max_length,
        truncated_rows=int((in_row + special > max_length).sum()),
        text_tokens=int(in_row.sum()),
        kept_tokens=int(np.minimum(in_row, max_length - special).sum()),
        unknown_tokens=unknown_tokens,
    )


@dataclass(frozen=True)
class Majority:
    """The most frequent label of a split (the card's first of equals), and how often always giving it is right."""

    label: str
    count: int
    rows: int

    @property
    def rounded(self) -> str:
        """Return the label's share in per cent, rounded half up to two decimals."""
        return percent(self.count, self.rows)

    @property
    def truncated(self) -> str:
        """Return the label's share in per cent, truncated to two decimals, as some tables print it."""
        return _decimals(10_000 * self.count // self.rows)


@dataclass(frozen=True)
class SplitAudit:
    """One split. `rows` are those that are left after dropping; `labels` is label → rows, None in test sets."""

    split: str
    file: FileFacts
    rows: int
    empty_rows: int  # rows with a text of nothing but white space
    characters: Lengths  # of a row's texts together
    characters_of_fields: dict[str, Lengths]
    tokens: TokenLengths | None  # None without a vocabulary
    labels: dict[str, int] | None
    duplicates: Duplicates
    counts_entities: bool = False  # `labels` is type → entities

    @property
    def majority(self) -> Majority | None:
        """Return the most frequent label, None without labels, or of entities."""
        if self.labels is None or self.counts_entities:
            return None
        label = max(self.labels, key=self.labels.__getitem__)
        return Majority(label, self.labels[label], self.rows)


@dataclass(frozen=True)
class TaskAudit:
    """Every split that the data folder has, each pair of them, and what to know of them."""

    task: Task
    revision: str
    splits: dict[str, SplitAudit]
    overlaps: list[Overlap]

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        splits = {}
        for name, split in self.splits.items():
            majority = split.majority
            splits[name] = asdict(split) | {
                "file": split.file.model_dump() | {"is_official": split.file.is_official},
                "majority": majority
                and asdict(majority) | {"percent": majority.rounded, "percent_truncated": majority.truncated},
            }
        return {
            "task": self.task.name,
            "revision": self.revision,
            "label_descriptions": dict(zip(self.task.labels, self.task.label_descriptions, strict=True)),
            "splits": splits,
            "overlaps": [asdict(pair) for pair in self.overlaps],
        }


def audit_task(
    task: Task,
    data: Path,
    *,
    vocabulary: Vocabulary | None = None,
    on_split: Callable[[str], None] = lambda split: None,
) -> TaskAudit:
    """Examine every split of `task` that the data folder has; `on_split` is called with each name when it is done.

    Raises ClueBenchError if train or dev is missing or a line is not as the card says.
    """
    splits: dict[str, SplitAudit] = {}
    exact: dict[str, Index] = {}
    bare: dict[str, Index] = {}
    for split in available_splits(task, data):
        rows = read_split(task, split, data)
        exact[split], bare[split] = Index(rows), Index(rows, spaces=False)
        splits[split] = _audit_split(task, split, rows, exact[split], vocabulary)
        on_split(split)
    overlaps = [
        Overlap(one, other, exact=shared(exact[one], exact[other]), but_for_spaces=shared(bare[one], bare[other]))
        for one, other in combinations(splits, 2)
    ]
    revision = describe(task, data, {split: found.file for split, found in splits.items()}).revision
    return TaskAudit(task, revision, splits, overlaps)


def _audit_split(task: Task, split: str, rows: Rows, index: Index, vocabulary: Vocabulary | None) -> SplitAudit:
    texts = [row[: task.num_texts] for row in rows.texts]  # of choices, a row has as many as it likes
    together, of_fields = characters_of(texts)
    labels = None
    if split in LABELLED_SPLITS and task.kind == "tags":
        found = Counter(entity.label for entities in rows.entities for entity in entities)
        labels = {label: found[label] for label in task.labels}
    elif split in LABELLED_SPLITS and task.labels:
        counts = np.bincount(rows.labels, minlength=len(task.labels)).tolist()
        labels = dict(zip(task.labels, counts, strict=True))
    return SplitAudit(
        split=split,
        file=rows.facts,
        rows=len(rows),
        empty_rows=rows.num_empty,
        characters=together,
        characters_of_fields=dict(zip(task.text_fields, of_fields, strict=True)),
        tokens=None if vocabulary is None else tokens_of(texts, vocabulary, max_length=task.max_length),
        labels=labels,
        duplicates=index.duplicates(),
        counts_entities=task.kind == "tags",
    )


def percent(count: int, total: int) -> str:
    """Return `count` of `total` in per cent, rounded half up to two decimals, exactly: 2,978 of 4,316 is "69.00"."""
    return _decimals((20_000 * count + total) // (2 * total))


def _decimals(hundredths: int) -> str:
    return f"{hundredths // 100}.{hundredths % 100:02d}"
