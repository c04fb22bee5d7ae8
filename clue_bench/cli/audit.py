"""`clue-bench data audit`: what there is to know of task data before training on it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clue_bench.cli import terminal
from clue_bench.cli.options import Json

if TYPE_CHECKING:
    from clue_bench.tasks.audit import Lengths, Shared, SplitAudit, TaskAudit, TokenLengths
    from clue_bench.tasks.task import Task

LABELS_SHOWN = 6  # of a histogram; --json has all of them
NONE = "-"
NO_TOKENS = "without --vocab there are no token counts, no unknown tokens and no share truncated at max_length"


def audit(
    tasks: Annotated[list[str] | None, typer.Argument(help="Tasks; all cards if none is named.")] = None,
    data: Annotated[Path, typer.Option(help="Folder with a folder or zip per task.")] = Path("data"),
    vocab: Annotated[
        Path | None, typer.Option(help="vocab.txt, .model, or a folder that holds one; counts tokens, too.")
    ] = None,
    json: Json = False,
) -> None:
    """Examine task data: rows, lengths, labels, duplicates, conflicting labels, leaks between splits (检查数据质量).

    Texts are the same if every character of every text agrees, the two of a pair in their order. "repeated": rows
    whose texts an earlier row of the split has (rows minus distinct texts). "conflicting": distinct texts with more
    than one label, "in rows" the rows that have them. "shared texts": distinct texts in both splits, beside the rows
    of each; "but for white space" counts the same three without blanks. Characters are those of a row's texts together
    (--json: of each field, too), tokens include [CLS] and [SEP], percentiles are by nearest rank. "tokens left" and
    "unknown" are shares of the texts' own tokens. Rows of dropped labels are left out; test sets count as unlabelled.
    """
    from clue_bench.tasks.audit import audit_task
    from clue_bench.tasks.findings import findings
    from clue_bench.vocab import read_vocabulary

    vocabulary = None if vocab is None else read_vocabulary(vocab)
    present, missing = _present(tasks, data)
    audits: dict[str, TaskAudit] = {}
    total = sum(splits for _, splits in present.values())
    with terminal.bar("audit", total, count=True, on_interrupt="name one task: clue-bench data audit afqmc") as bar:
        done = 0

        def on_split(split: str) -> None:
            nonlocal done
            done += 1
            bar.update(done, f"{name} {split}")

        for name, (task, _) in present.items():
            audits[name] = audit_task(task, data, vocabulary=vocabulary, on_split=on_split)
    found = {name: findings(one) for name, one in audits.items()}
    if json:
        terminal.print_json(
            {
                "vocabulary": vocabulary and {"file": str(vocab), "sha256": vocabulary.sha256},
                "tasks": {name: one.as_json() | {"findings": found[name]} for name, one in audits.items()},
                "missing": missing,
            }
        )
        return
    _print(audits)
    typer.echo("")
    for name, why in missing.items():
        typer.echo(f"not audited: {name}: {why}")
    if vocabulary is None:
        typer.echo(NO_TOKENS)
    for name, lines in found.items():
        for line in lines:
            typer.echo(f"warning: {name}: {line}")


def _present(tasks: list[str] | None, data: Path) -> tuple[dict[str, tuple["Task", int]], dict[str, str]]:
    """Return the tasks that are to be examined with how many splits they have, and why the others are not.

    Raises ClueBenchError if a task that was named, or every one, is not there.
    """
    from clue_bench.cards import card_paths
    from clue_bench.errors import ClueBenchError
    from clue_bench.tasks.files import available_splits
    from clue_bench.tasks.task import load_task

    present: dict[str, tuple[Task, int]] = {}
    missing = {}
    for name in dict.fromkeys(tasks or card_paths("tasks")):
        task = load_task(name)
        try:
            present[name] = task, len(available_splits(task, data))
        except ClueBenchError as error:
            if tasks:
                raise
            missing[name] = error.message
    if not present:
        raise ClueBenchError(
            f"{data}: no data of any task, looked for {', '.join(missing)}",
            "give --data the folder that holds the task folders",
        )
    return present, missing


def _print(audits: dict[str, "TaskAudit"]) -> None:
    """Print four tables: rows, lengths, labels, and what splits share."""
    splits = [(name, split) for name, audit in audits.items() for split in audit.splits.values()]
    terminal.print_table(
        ["task", "split", "rows", "dropped", "left", "repeated", "conflicting", "in rows", "empty", "file"],
        [(name, *_rows(split)) for name, split in splits],
    )
    typer.echo("")
    _print_lengths(splits)
    typer.echo("")
    terminal.print_table(
        ["task", "split", "always", "is right", "rounded", "truncated", "rows of each label"],
        [
            (name, split.split, *_baseline(split), _histogram(split.labels, audits[name].task))
            for name, split in splits
            if split.labels
        ],
    )
    typer.echo("")
    terminal.print_table(
        ["task", "splits", "shared texts", "rows of 1st", "rows of 2nd", "but for white space"],
        [
            (name, f"{pair.first} / {pair.second}", *_three(pair.exact), " / ".join(_three(pair.but_for_spaces)))
            for name, audit in audits.items()
            for pair in audit.overlaps
        ],
    )


def _rows(split: "SplitAudit") -> list[str]:
    repeated = split.duplicates
    counts = [split.file.rows, split.file.dropped_rows, split.rows, repeated.rows]
    conflicts = [repeated.conflicting_texts, repeated.conflicting_rows]
    cells = [NONE if count is None else f"{count:,}" for count in [*counts, *conflicts, split.empty_rows]]
    known = split.file.expected_rows is not None or split.file.expected_md5 is not None
    return [split.split, *cells, "official" if split.file.is_official else "not official" if known else NONE]


def _print_lengths(splits: list[tuple[str, "SplitAudit"]]) -> None:
    """Print characters and, where they were counted, tokens."""
    header = ["p50", "p95", "p99", "max"]
    characters = [(name, split.split, *_percentiles(split.characters)) for name, split in splits]
    terminal.print_table(["task", "split", "characters: p50", *header[1:]], characters)
    tokens = [
        (name, split.split, *_percentiles(split.tokens.lengths), *_cut(split.tokens, split.rows))
        for name, split in splits
        if split.tokens is not None
    ]
    if tokens:
        typer.echo("")
        header = ["tokens: p50", *header[1:], "max_length", "rows cut", "share", "tokens left", "unknown"]
        terminal.print_table(["task", "split", *header], tokens)


def _cut(tokens: "TokenLengths", rows: int) -> list[str]:
    from clue_bench.tasks.audit import percent

    shares = [(tokens.truncated_rows, rows), (tokens.kept_tokens, tokens.text_tokens)]
    shares.append((tokens.unknown_tokens, tokens.text_tokens))
    cells = [f"{percent(count, total)} %" if total else NONE for count, total in shares]
    return [f"{tokens.max_length:,}", f"{tokens.truncated_rows:,}", *cells]


def _percentiles(lengths: "Lengths") -> list[str]:
    return [f"{length:,}" for length in (lengths.p50, lengths.p95, lengths.p99, lengths.max)]


def _baseline(split: "SplitAudit") -> tuple[str, ...]:
    """Return the most frequent label, and what always giving it scores."""
    majority = split.majority
    if majority is None:
        return (NONE,) * 4
    right = f"{majority.count:,}/{majority.rows:,}"
    return f"'{majority.label}'", right, f"{majority.rounded} %", f"{majority.truncated} %"


def _histogram(counts: dict[str, int], task: "Task") -> str:
    """Return the most frequent labels with what they mean and their rows, and the rarest one."""
    described = dict(zip(task.labels, task.label_descriptions, strict=True))
    order = sorted(counts, key=lambda label: -counts[label])
    cells = [f"{label} {described[label]} {counts[label]:,}" for label in order]
    if len(cells) > LABELS_SHOWN:
        cells[LABELS_SHOWN - 2 : -1] = [f"{len(cells) - LABELS_SHOWN + 1:,} more"]
    return ", ".join(cells)


def _three(pair: "Shared") -> tuple[str, str, str]:
    return f"{pair.texts:,}", f"{pair.first_rows:,}", f"{pair.second_rows:,}"
