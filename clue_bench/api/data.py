"""Fetch task data, compare it with the cards and examine it; list, check and copy the cards."""

import shlex
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clue_bench import files
from clue_bench.api.progress import Bar, Progress
from clue_bench.api.vocabularies import vocabulary_path
from clue_bench.cards import Card, Kind, card_paths, decode, find_card
from clue_bench.errors import ClueBenchError, Interrupted
from clue_bench.files import expanded
from clue_bench.tables import Column, Shown, Table, make_facts, make_table, our_words

if TYPE_CHECKING:
    from clue_bench.doors.records import DataFacts, FileFacts
    from clue_bench.tasks.audit_report import AuditReport
    from clue_bench.tasks.columns import Columns
    from clue_bench.tasks.fetch import Fetched
    from clue_bench.tasks.task import Task

COMPARED = Column("compared with the card", is_words=True)
AGAIN = "type the same command again: tasks that are complete are not fetched twice"


@dataclass(frozen=True, repr=False)
class FetchedData(Shown):
    """Where the data of each task came from, and why the data of other tasks could not be fetched."""

    fetched: Mapping[str, "Fetched"]
    failed: Mapping[str, ClueBenchError]

    def raise_failures(self) -> None:
        """Raise one ClueBenchError for all tasks whose data could not be fetched."""
        if self.failed:
            first, *others = self.failed.values()
            more = [line for error in others for line in error.message.split("\n  ")]
            message, *details = first.message.split("\n  ")
            raise ClueBenchError(message, first.hint, details=[*details, *more])

    def to_json(self) -> dict[str, Any]:
        """Return a key for each task; failed ones have an "error" instead of a source."""
        values: dict[str, Any] = {
            name: {
                "source": one.source,
                "path": str(one.path),
                "archive_md5": one.archive_md5,
                "revision": one.data.revision,
                "files": {split: file.model_dump() for split, file in one.data.files.items()},
                "passed_over": dict(one.passed_over),
            }
            for name, one in self.fetched.items()
        }
        return values | {name: {"error": error.message} for name, error in self.failed.items()}

    @property
    def tables(self) -> list[Table]:
        """Return one table, or none if no data could be fetched."""
        rows = [
            (
                name,
                " / ".join(f"{file.rows:,}" for file in one.data.files.values()),
                one.data.revision,
                one.source,
                str(one.path),
            )
            for name, one in self.fetched.items()
        ]
        return [make_table("", ["task", "rows", "revision", "from", "lies in"], rows)] if rows else []


def fetch_data(
    tasks: Sequence[str] = (), *, data: Path | str = "data", mirrors: Sequence[str] = (), progress: bool = True
) -> FetchedData:
    """Fetch missing task data into the folder `data`, of `tasks` or of every card that names a source.

    `mirrors` are URLs of folders that hold the zips, or templates with {file}; they are tried first. Raises
    ClueBenchError for a bad mirror or task before anything is fetched; a source without the data is part of the result.
    """
    from clue_bench.tasks.download import Patience
    from clue_bench.tasks.fetch import fetch_task, mirror_url
    from clue_bench.tasks.sources import load_from_hub
    from clue_bench.tasks.task import load_task

    show = Progress(progress)
    for url in mirrors:
        mirror_url(url, "")  # refuses a bad one before anything is fetched
    cards = [load_task(name) for name in tasks or card_paths("tasks")]
    fetched: dict[str, Fetched] = {}
    failed: dict[str, ClueBenchError] = {}
    try:
        for task in cards:
            if not tasks and task.archive is None:
                show.note(f"{task.name}: passed over, its card names no source")
                continue
            try:
                with ExitStack() as stack:
                    fetched[task.name] = fetch_task(
                        task,
                        expanded(data),
                        mirrors=list(mirrors),
                        patience=Patience(),
                        load_hub=load_from_hub,
                        watch=_Watch(show, stack),
                    )
            except ClueBenchError as error:
                failed[task.name] = error
    except KeyboardInterrupt as interruption:
        if isinstance(interruption, Interrupted):
            raise
        raise Interrupted("interrupted; no partial files are left", AGAIN) from interruption
    return FetchedData(fetched, failed)


class _Watch:
    """Notes, and one bar for each source."""

    def __init__(self, show: Progress, stack: ExitStack) -> None:
        self._show, self._stack = show, stack
        self._bar: Bar | None = None
        self._what = ""

    def note(self, text: str) -> None:
        self._close()
        self._show.note(text)

    def progress(self, what: str, done: int, total: int | None, unit: str) -> None:
        if not total:  # a server that does not say how much there is
            return
        if self._bar is None or what != self._what:
            self._close()
            self._bar, self._what = self._stack.enter_context(self._show.bar(what, total, on_interrupt=AGAIN)), what
        shown = f"{done / 1e6:.1f} of {total / 1e6:.1f} MB" if unit == "bytes" else f"{done:,} of {total:,} rows"
        self._bar.update(done, shown)

    def _close(self) -> None:
        self._stack.close()
        self._bar = None


@dataclass(frozen=True, repr=False)
class VerifiedData(Shown):
    """The files of each task, compared with its card; `missing` says why other tasks have none."""

    found: Mapping[str, "DataFacts"]
    splits: Mapping[str, list[str]]
    missing: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """Return the facts of each task's files."""
        return {name: facts.model_dump() for name, facts in self.found.items()}

    @property
    def tables(self) -> list[Table]:
        """Return one table with a line for each file."""
        rows = []
        for name, splits in self.splits.items():
            if name in self.missing:
                rows.append((name, "", "", self.missing[name], ""))
                continue
            files = self.found[name].files
            rows += [(name, split, f"{file.rows:,}", _compared(file), file.md5) for split, file in files.items()]
            rows += [(name, split, "", "missing", "") for split in splits if split not in files]
        return [make_table("", ["task", "split", "rows", COMPARED, "md5 found"], rows)]


def verify_data(tasks: Sequence[str] = (), *, data: Path | str = "data") -> VerifiedData:
    """Read every row of `tasks`, or of all, and compare row counts and md5 with the cards.

    Raises ClueBenchError if there are no data, or none of a given task, or a file is damaged.
    """
    from clue_bench.tasks.files import describe, present_splits
    from clue_bench.tasks.rows import read_split
    from clue_bench.tasks.task import load_task

    found, splits, missing = {}, {}, {}
    for name in tasks or card_paths("tasks"):
        task = load_task(name)
        splits[name] = list(task.splits)
        try:
            present = present_splits(task, expanded(data))
        except ClueBenchError as error:
            if tasks:
                raise
            missing[name] = error.message
            continue
        files = {split: read_split(task, split, expanded(data)).facts for split in present}
        found[name] = describe(task, expanded(data), files)
    if not found:
        raise ClueBenchError(f"{data}: data of no task", f"run clue-bench data fetch --data {data}")
    return VerifiedData(found, splits, missing)


def _compared(file: "FileFacts") -> str:
    """Return in words how a file differs from its card, and what the card does not state."""
    if file.is_official:
        return "official"
    differing = []
    if file.expected_rows is not None and file.rows != file.expected_rows:
        differing.append(f"{file.expected_rows:,} rows")
    if file.expected_md5 is not None and file.md5 != file.expected_md5:
        differing.append(f"md5 {file.expected_md5}")
    absent = [key for key, value in (("rows", file.expected_rows), ("md5", file.expected_md5)) if value is None]
    parts = [f"differs: the card has {', '.join(differing)}"] if differing else []
    parts += [f"the card has no {' and no '.join(absent)}"] if absent else []
    return "; ".join(parts)


def audit_data(
    tasks: Sequence[str] = (),
    *,
    data: Path | str = "data",
    vocabulary: Path | str | None = None,
    progress: bool = True,
) -> "AuditReport":
    """Examine the data of `tasks`, by default of all in the folder: rows, lengths, labels, duplicates, leaks.

    With a `vocabulary` tokens are counted, too. Raises ClueBenchError if the data of a given task is missing.
    """
    from clue_bench.tasks.audit_report import audit_tasks

    again = "name one task: clue-bench data audit --task afqmc"
    with Progress(progress).bar("audit", 1.0, on_interrupt=again) as bar:
        return audit_tasks(
            list(tasks),
            expanded(data),
            vocabulary_file=None if vocabulary is None else vocabulary_path(vocabulary),
            on_split=lambda done, total, what: bar.update(done / total, what),
        )


@dataclass(frozen=True, repr=False)
class NewCard(Shown):
    """The card that was written for rows of one's own."""

    path: Path
    task: "Task"
    rows: Mapping[str, int]  # by split
    data: Path

    @property
    def command(self) -> str:
        """Return what to type next."""
        return (
            shlex.join(["clue-bench", "finetune", "--task", str(self.path), "--data", str(self.data)])
            + " --model MODEL"
        )

    def to_json(self) -> dict[str, Any]:
        """Return card and rows as plain values."""
        return {"card": str(self.path), "rows": dict(self.rows), "next": self.command, **self.task.model_dump()}

    @property
    def tables(self) -> list[Table]:
        """Return one table: what the card says."""
        labels = ", ".join(self.task.labels)
        rows: list[tuple[object, object]] = [("name", self.task.name), ("texts", ", ".join(self.task.text_fields))]
        rows += [("label", self.task.label_field), (f"{len(self.task.labels)} labels", labels)]
        rows += [("rows", ", ".join(f"{split} {number:,}" for split, number in self.rows.items()))]
        rows += [("metric", self.task.metric), ("max_length", our_words(f"{self.task.max_length} tokens"))]
        return [make_facts(("card", str(self.path)), rows)]


def new_card(
    data: Path | str,
    *,
    text: "Columns | None" = None,
    label: str | None = None,
    name: str | None = None,
    out: Path | str | None = None,
    progress: bool = True,
) -> NewCard:
    """Write a card for the rows of a file, or of a folder with train.csv or the like, to `out` or <name>.toml.

    Columns that are not given are found if their names are obvious. Raises ClueBenchError, also if `out` exists.
    """
    from clue_bench.api.inputs import task_data
    from clue_bench.tasks.own import name_of
    from clue_bench.tasks.task import Task
    from clue_bench.tasks.writing import card_text

    path = expanded(out or f"{name or name_of(expanded(data))}.toml")
    if path.suffix != ".toml" or path.exists():
        problem = "exists already" if path.exists() else "does not end in .toml"
        raise ClueBenchError(f"{path} {problem}", "give --out a new file name ending in .toml")
    with task_data(None, data, text=text, label=label, show=Progress(progress)) as given:
        task = given.card.model_copy(update=dict.fromkeys(("name", "title", "column"), name) if name else {})
        new = NewCard(path, task, {split: len(rows) for split, rows in given.rows.items()}, expanded(data))
    decode(Task, task.model_dump(), where=f"--name {name}")  # raises if the name is none
    files.write_text(path, card_text(task, source=str(data), command=new.command))
    return new


def load_any_card(kind: Kind, reference: str) -> Card:
    """Return a task or a recipe by its name or path. Raises ClueBenchError."""
    if kind == "tasks":
        from clue_bench.tasks.task import load_task

        return load_task(reference)
    from clue_bench.pretraining.recipe import load_recipe

    return load_recipe(reference, {})


def list_cards(kind: Kind) -> list[dict[str, str | None]]:
    """Return name, title, path and error of every card."""
    rows: list[dict[str, str | None]] = []
    for name, paths in card_paths(kind).items():
        try:
            title, error = getattr(load_any_card(kind, name), "title", ""), None
        except ClueBenchError as broken:
            title, error = "", broken.message
        rows.append({"name": name, "title": title, "path": str(paths[0]), "error": error})
    return rows


def check_cards(kind: Kind, references: Sequence[str] = ()) -> list[str]:
    """Decode the given cards, or all of them; return their names. Raises ClueBenchError for the first mistake."""
    names = list(references or card_paths(kind))
    for name in names:
        load_any_card(kind, name)
    return names


def copy_card(kind: Kind, reference: str, to: Path) -> Path:
    """Copy a card to the new file `to`; return where it was. Raises ClueBenchError."""
    source, to = find_card(kind, reference), expanded(to)
    if to.suffix != ".toml" or to.exists():
        problem = "exists already" if to.exists() else "does not end in .toml"
        raise ClueBenchError(f"{to} {problem}", "give a new file name ending in .toml")
    files.write_text(to, source.read_text(encoding="utf-8-sig"))
    return source
