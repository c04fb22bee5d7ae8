"""What a user must know of task data before believing a score on it, in sentences.

Input: an audit. Output: one line per finding: splits that share texts, texts with more than one label, a majority
class above two thirds, labels without rows, empty texts, rows cut at the model's length.
"""

from collections.abc import Iterator

from clue_bench.tasks.audit import Overlap, SplitAudit, TaskAudit, percent

LARGE_MAJORITY = (2, 3)  # of dev rows, from which on a good accuracy may be no result
MUCH_TRUNCATED = (1, 10)  # of the rows of a split
MANY_LABELS = 5  # that a line names at most


def findings(audit: TaskAudit) -> list[str]:
    """Return what is to be known of a task's data, the gravest first; an empty list if there is nothing."""
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
        f"{pair.first} and {pair.second} share {_counted(exact.texts, 'text')}: "
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
        yield f"{split.split} has {_counted(texts, 'text')} with more than one label each, in {_counted(rows, 'row')}"


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
            yield f"{name} has no row of {_counted(len(absent), 'label')}: {', '.join(absent[:MANY_LABELS])}{more}"


def _empty(split: SplitAudit) -> Iterator[str]:
    if split.empty_rows:
        yield f"{split.split} has {_counted(split.empty_rows, 'row')} with an empty text"


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


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'s' * (count != 1)}"
