"""What there is to know of a task's data before a model is trained on it.

Input: a task, a data folder, and a vocabulary if tokens are to be counted. Output: per split rows, lengths, labels and
duplicates (`lengths.py` and `duplicates.py` say how they are counted), what splits share, and findings: sentences about
what a user must know before believing a score. Rows with the card's dropped labels are counted and then left out.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from clue_bench.doors.records import FileFacts
from clue_bench.tasks.duplicates import Duplicates, Index, Overlap, shared
from clue_bench.tasks.files import available_splits
from clue_bench.tasks.lengths import Lengths, TokenLengths, characters_of, tokens_of
from clue_bench.tasks.read import LABELLED_SPLITS, Rows, read_split
from clue_bench.tasks.revision import describe
from clue_bench.tasks.task import Task
from clue_bench.vocab import Vocabulary


@dataclass(frozen=True)
class Majority:
    """The most frequent label of a split (the card's first of equals), and how often always giving it is right."""

    label: str
    count: int
    rows: int

    @property
    def rounded(self) -> str:
        """Its share in per cent, rounded half up to two decimals."""
        return percent(self.count, self.rows)

    @property
    def truncated(self) -> str:
        """Its share in per cent, cut after two decimals, as some tables print it."""
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

    @property
    def majority(self) -> Majority | None:
        """The most frequent label, None without labels."""
        if self.labels is None:
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

    def as_json(self) -> dict[str, Any]:
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
    together, of_fields = characters_of(rows.texts)
    labels = None
    if split in LABELLED_SPLITS:
        counts = np.bincount(rows.labels, minlength=len(task.labels)).tolist()
        labels = dict(zip(task.labels, counts, strict=True))
    return SplitAudit(
        split=split,
        file=rows.facts,
        rows=len(rows),
        empty_rows=sum(not all(text.strip() for text in texts) for texts in rows.texts),
        characters=together,
        characters_of_fields=dict(zip(task.text_fields, of_fields, strict=True)),
        tokens=None if vocabulary is None else tokens_of(rows.texts, vocabulary, max_length=task.max_length),
        labels=labels,
        duplicates=index.duplicates(),
    )


def percent(count: int, total: int) -> str:
    """Return `count` of `total` in per cent, rounded half up to two decimals, exactly: 2,978 of 4,316 is "69.00"."""
    return _decimals((20_000 * count + total) // (2 * total))


def _decimals(hundredths: int) -> str:
    return f"{hundredths // 100}.{hundredths % 100:02d}"
