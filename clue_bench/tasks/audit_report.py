"""An audit of several tasks as tables, and as sentences about what a user must know before believing a score.

Input: names of tasks, a data folder. Output: tables of rows, lengths, labels and shared texts, and findings: splits
that share texts, texts with more than one label, a majority class above two thirds, labels without rows, empty texts,
rows cut at the model's length.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clue_bench.cards import card_paths
from clue_bench.errors import ClueBenchError
from clue_bench.language import is_chinese, translated
from clue_bench.numbers import counted
from clue_bench.tables import MISSING, Cell, Column, Shown, Table, make_table
from clue_bench.tasks.audit import Lengths, Overlap, Shared, SplitAudit, TaskAudit, TokenLengths, audit_task, percent
from clue_bench.tasks.files import available_splits
from clue_bench.tasks.task import Task, load_task
from clue_bench.vocab import Vocabulary, read_vocabulary

MAX_LABELS_SHOWN = 6  # of a histogram; `to_json` has all of them
NO_TOKENS = "without --vocab there are no token counts, no unknown tokens and no share truncated at max_length"
LARGE_MAJORITY = (2, 3)  # of dev rows, from which on a good accuracy may be no result
MUCH_TRUNCATED = (1, 10)  # of the rows of a split
FILE = Column("file", is_words=True)
MANY_LABELS = 5  # that a line names at most


@dataclass(frozen=True, repr=False)
class AuditReport(Shown):
    """What to know about the data of some tasks. `missing` says why others were not examined."""

    audits: Mapping[str, TaskAudit]
    missing: Mapping[str, str]
    vocabulary_file: Path | None = None
    vocabulary: Vocabulary | None = None

    @property
    def findings(self) -> dict[str, list[str]]:
        """Return what to know about each task's data, the most serious first."""
        return {name: findings(audit) for name, audit in self.audits.items()}

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        found = self.findings
        return {
            "vocabulary": self.vocabulary and {"file": str(self.vocabulary_file), "sha256": self.vocabulary.sha256},
            "tasks": {name: audit.to_json() | {"findings": found[name]} for name, audit in self.audits.items()},
            "missing": dict(self.missing),
        }

    @property
    def tables(self) -> list[Table]:
        """Return the tables of rows, lengths, labels and shared texts; the findings are notes of the last."""
        splits = [(name, split) for name, audit in self.audits.items() for split in audit.splits.values()]
        header = ["p50", "p95", "p99", "max"]
        tables = [
            make_table(
                "",
                ["task", "split", "rows", "dropped", "left", "repeated", "conflicting", "in rows", "empty", FILE],
                [(name, *_rows(split)) for name, split in splits],
            ),
            make_table(
                "",
                ["task", "split", "characters: p50", *header[1:]],
                [(name, split.split, *_percentiles(split.characters)) for name, split in splits],
            ),
        ]
        cut = [
            (name, split.split, *_percentiles(split.tokens.lengths), *_cut_cells(split.tokens, split.rows))
            for name, split in splits
            if split.tokens is not None
        ]
        if cut:
            header = ["tokens: p50", *header[1:], "max_length", "rows cut", "share", "tokens left", "unknown"]
            tables.append(make_table("", ["task", "split", *header], cut))
        tables.append(
            make_table(
                "",
                ["task", "split", "always", "is right", "rounded", "truncated", "rows of each label"],
                [
                    (name, split.split, *_baseline(split), _histogram(split.labels, self.audits[name].task))
                    for name, split in splits
                    if split.labels
                ],
            )
        )
        shared = [
            (name, f"{pair.first} / {pair.second}", *_three(pair.exact), " / ".join(_three(pair.but_for_spaces)))
            for name, audit in self.audits.items()
            for pair in audit.overlaps
        ]
        notes = [_said(f"not audited: {name}:", why) for name, why in self.missing.items()]
        notes += [translated(NO_TOKENS)] if self.vocabulary is None else []
        notes += [_said(f"warning: {name}:", line) for name, lines in self.findings.items() for line in lines]
        header = ["task", "splits", "shared texts", "rows of 1st", "rows of 2nd", "but for white space"]
        return [*tables, make_table("", header, shared, notes=["\n".join(notes)] if notes else [])]


def audit_tasks(
    names: list[str],
    data: Path,
    *,
    vocabulary_file: Path | None = None,
    on_split: Callable[[int, int, str], None] = lambda done, total, what: None,
) -> AuditReport:
    """Examine the data of the tasks called `names`, or of every card whose data is there if none is named.

    `on_split` is called after every split with how many are done, of how many, and its name. Raises ClueBenchError if
    the data of a task that was named, or of every one, is not there.
    """
    vocabulary = None if vocabulary_file is None else read_vocabulary(vocabulary_file)
    present: dict[str, Task] = {}
    total, missing = 0, {}
    for name in dict.fromkeys(names or card_paths("tasks")):
        task = load_task(name)
        try:
            total += len(available_splits(task, data))
            present[name] = task
        except ClueBenchError as error:
            if names:
                raise
            missing[name] = error.message
    if not present:
        raise ClueBenchError(
            f"{data}: no data of any task, looked for {', '.join(missing)}",
            "give --data the folder that holds the task folders",
        )
    audits: dict[str, TaskAudit] = {}
    done = 0

    def count(split: str) -> None:
        nonlocal done
        done += 1
        on_split(done, total, f"{name} {split}")

    for name, task in present.items():
        audits[name] = audit_task(task, data, vocabulary=vocabulary, on_split=count)
    return AuditReport(audits, missing, vocabulary_file, vocabulary)


def _said(start: str, what: str) -> str:
    """Return a line of the notes in the language in use, which cannot tell where a line of several ends."""
    return f"{translated(start)}{'' if is_chinese() else ' '}{translated(what)}"


def _rows(split: SplitAudit) -> list[str]:
    repeated = split.duplicates
    counts: list[int | None] = [split.file.rows, split.file.dropped_rows, split.rows, repeated.rows]
    counts += [repeated.conflicting_texts, repeated.conflicting_rows, split.empty_rows]
    cells = [MISSING if count is None else f"{count:,}" for count in counts]
    known = split.file.expected_rows is not None or split.file.expected_md5 is not None
    return [split.split, *cells, "official" if split.file.is_official else "not official" if known else MISSING]


def _cut_cells(tokens: TokenLengths, rows: int) -> list[str]:
    shares = [(tokens.truncated_rows, rows), (tokens.kept_tokens, tokens.text_tokens)]
    shares.append((tokens.unknown_tokens, tokens.text_tokens))
    cells = [f"{percent(count, total)} %" if total else MISSING for count, total in shares]
    return [f"{tokens.max_length:,}", f"{tokens.truncated_rows:,}", *cells]


def _percentiles(lengths: Lengths) -> list[str]:
    return [f"{length:,}" for length in (lengths.p50, lengths.p95, lengths.p99, lengths.max)]


def _baseline(split: SplitAudit) -> tuple[str, ...]:
    """Return the most frequent label, and what always giving it scores."""
    majority = split.majority
    if majority is None:
        return (MISSING,) * 4
    right = f"{majority.count:,}/{majority.rows:,}"
    return f"'{majority.label}'", right, f"{majority.rounded} %", f"{majority.truncated} %"


def _histogram(counts: dict[str, int], task: Task) -> Cell:
    """Return the most frequent labels with what they mean and their rows, and the rarest one."""
    described = dict(zip(task.labels, task.label_descriptions, strict=True))
    order = sorted(counts, key=lambda label: -counts[label])
    cells = [f"{label} {described[label]} {counts[label]:,}" for label in order]
    if len(cells) > MAX_LABELS_SHOWN:
        cells[MAX_LABELS_SHOWN - 2 : -1] = [f"{len(cells) - MAX_LABELS_SHOWN + 1:,} more"]
    return Cell(", ".join(cells), is_words=len(counts) > MAX_LABELS_SHOWN)


def _three(pair: Shared) -> tuple[str, str, str]:
    return f"{pair.texts:,}", f"{pair.first_rows:,}", f"{pair.second_rows:,}"


def findings(audit: TaskAudit) -> list[str]:
    """Return what to know about a task's data, the most serious first; an empty list if there is nothing."""
    return [
        *(_sharing(pair, audit) for pair in audit.overlaps if pair.but_for_spaces.texts),
        *(line for split in audit.splits.values() for line in _conflicts(split)),
        *_majority(audit.splits["dev"]),
        *_unseen_labels(audit),
        *(line for split in audit.splits.values() for line in _empty(split)),
        *_cut(audit),
    ]


def _sharing(pair: Overlap, audit: TaskAudit) -> str:
    first, second = audit.splits[pair.first], audit.splits[pair.second]
    exact, bare = pair.exact, pair.but_for_spaces
    line = "leak: " if pair.first == "train" else ""
    line += (
        f"{pair.first} and {pair.second} share {counted(exact.texts, 'text')}: "
        f"{_part(exact.second_rows, second)}, {_part(exact.first_rows, first)}"
    )
    if (bare.first_rows, bare.second_rows) != (exact.first_rows, exact.second_rows):
        line += f"; but for white space {bare.second_rows:,} and {bare.first_rows:,} rows"
    if exact.conflicting_texts:
        line += f"; {exact.conflicting_texts:,} of the shared texts with more than one label"
    return line


def _conflicts(split: SplitAudit) -> Iterator[str]:
    texts, rows = split.duplicates.conflicting_texts, split.duplicates.conflicting_rows
    if texts and rows:
        yield f"{split.split} has {counted(texts, 'text')} with more than one label each, in {counted(rows, 'row')}"


def _majority(dev: SplitAudit) -> Iterator[str]:
    majority = dev.majority
    if majority is not None and majority.count * LARGE_MAJORITY[1] > majority.rows * LARGE_MAJORITY[0]:
        yield (
            f"always answering '{majority.label}' is right on {majority.rounded} % of dev: "
            "an accuracy near that is no result"
        )


def _unseen_labels(audit: TaskAudit) -> Iterator[str]:
    train, dev = audit.splits["train"].labels or {}, audit.splits["dev"].labels or {}
    for name, counts in (("train", train), ("dev", dev)):
        absent = [f"'{label}'" for label, count in counts.items() if not count]
        if absent:
            more = f" and {len(absent) - MANY_LABELS:,} more" if len(absent) > MANY_LABELS else ""
            yield f"{name} has no row of {counted(len(absent), 'label')}: {', '.join(absent[:MANY_LABELS])}{more}"


def _empty(split: SplitAudit) -> Iterator[str]:
    if split.empty_rows:
        yield f"{split.split} has {counted(split.empty_rows, 'row')} with an empty text"


def _cut(audit: TaskAudit) -> Iterator[str]:
    much = [
        (split, tokens)
        for split in audit.splits.values()
        if (tokens := split.tokens) and tokens.truncated_rows * MUCH_TRUNCATED[1] > split.rows * MUCH_TRUNCATED[0]
    ]
    if much:
        kept, all_tokens = sum(tokens.kept_tokens for _, tokens in much), sum(tokens.text_tokens for _, tokens in much)
        parts = ", ".join(_part(tokens.truncated_rows, split) for split, tokens in much)
        yield (
            f"max_length {audit.task.max_length} cuts {parts}; {percent(kept, all_tokens)} % of their tokens are read"
        )


def _part(count: int, split: SplitAudit) -> str:
    return f"{count:,} of {split.rows:,} {split.split} rows ({percent(count, split.rows)} %)"
