"""Find the files of a task, and tell which revision of the data they are.

`<data>/<task>/<file>`, `<file>.gz`, or `<data>/<task>_public.zip` (files at the root or one folder down), under the
split's own file name or one of its other names. A `DATASET.json` in the data folder names a data set that is not
CLUE's, e.g. {"name": "synthetic"}.
"""

import gzip
import hashlib
import json
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from clue_bench.doors.records import OFFICIAL, DataFacts, FileFacts, HeldOut
from clue_bench.errors import ClueBenchError
from clue_bench.files import BEGINNING, refuse_pointer
from clue_bench.tasks.task import Task

LARGEST_FILE = 2**30  # bytes when unpacked; all of CLUE's archives are smaller, and a bomb must not fill the memory
# What zipfile raises for files that are none, or not wholly; a version that it does not know is a RuntimeError.
NO_ZIP = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError)
DAMAGED = "fetch the file again: run clue-bench data fetch"


class Found(NamedTuple):
    """A file of a split: its path, and the member's name if it lies in a zip."""

    path: Path
    member: str | None
    name: str  # as the card calls it, e.g. "train.json" or "train.csv"

    @property
    def where(self) -> str:
        """Return the file's name in errors."""
        return str(self.path) if self.member is None else f"{self.path}:{self.member}"


def available_splits(task: Task, data: Path) -> list[str]:
    """Return the splits of `task` that `data` has, in the card's order. Raises ClueBenchError without train or dev."""
    if task.answered_by:
        raise ClueBenchError(
            f"{task.name}: a test set without training data, which a model of {' or '.join(task.answered_by)} answers",
            f"run clue-bench submit RUN --data {data}, with the folder of a run of {task.answered_by[0]}",
        )
    return present_splits(task, data)


def present_splits(task: Task, data: Path) -> list[str]:
    """Return the splits that `data` has. Raises ClueBenchError without those that the task cannot do without."""
    found = [split for split in task.splits if locate(task, split, data) is not None]
    for needed in task.splits if task.answered_by else ("train", "dev"):
        if needed not in found:
            find(task, needed, data)  # raises
    return found


def find(task: Task, split: str, data: Path) -> Found:
    """Return the file of `split`. Raises ClueBenchError naming the places that were looked at."""
    found = locate(task, split, data)
    if found is None:
        file = task.splits[split].file
        if about := _other_tests(task, split, data):
            raise ClueBenchError(*about)
        if (data / archive_name(task)).is_file():
            raise ClueBenchError(
                f"{data / archive_name(task)}: no {file} in it, at the root or one folder down", DAMAGED
            )
        if task.archive is None:
            raise ClueBenchError(*_lacks(task, split, data))
        archive = f" or {archive_name(task)}"
        raise ClueBenchError(
            f"{data}: no {task.name}/{file}, {task.name}/{file}.gz{archive}",
            f"give --data the folder of the tasks, or run: clue-bench data fetch --task {task.name} --data {data}",
        )
    return found


def find_all(task: Task, split: str, data: Path) -> list[Found]:
    """Return the files of `split`: most have one. Raises ClueBenchError as `find` does."""
    first = find(task, split, data)
    found = [first]
    for name in task.splits[split].more_files:
        more = named_file(task.name, (name,), archive_name(task), data)
        if more is None:
            raise ClueBenchError(f"{data}: {first.name} of {task.name}, but no {name}", "copy both files")
        found.append(more)
    return found


def _other_tests(task: Task, split: str, data: Path) -> tuple[str, str] | None:
    """Return message and hint for a test set of which other ones are there, None for any other split."""
    trained = ("train", "dev")
    others = {name: locate(task, name, data) for name in task.splits if name not in (split, *trained)}
    there = {name: found.where for name, found in others.items() if found is not None}
    if split in trained or not there:
        return None
    message = f"{data}: no {split} of {task.name}; found {', '.join(f'{n} ({where})' for n, where in there.items())}"
    # A file of the split's own name that is another test set hides whatever would be fetched.
    if task.archive is None or _by_name(task, split, data) is not None:
        return message, f"give --split {next(iter(there))}"
    fetch = f"clue-bench data fetch --task {task.name} --data {data}"
    return message, f"give --split {next(iter(there))}, or run: {fetch}"


def _lacks(task: Task, split: str, data: Path) -> tuple[str, str]:
    """Return message and hint for a split of an own task without a file, which nothing can fetch."""
    train = locate(task, "train", data) if split != "train" and "train" in task.splits else None
    message = f"{data}: no {task.name}/{task.splits[split].file}, {task.name}/{task.splits[split].file}.gz"
    if train is not None and train.member is None:
        return message, f"give --data {train.path}: then {split} is held out of its rows; or write the file"
    return message, f"write {data / task.name / task.splits[split].file}, or give --data a single file of labelled rows"


def content(found: Found) -> bytes:
    """Return the uncompressed bytes of a file. Raises ClueBenchError if it is damaged."""
    path, member, _ = found
    try:
        if member is not None:
            with zipfile.ZipFile(path) as archive, archive.open(member) as unpacked:
                return _read(unpacked, path)
        with path.open("rb") as file:
            refuse_pointer(file.peek(BEGINNING)[:BEGINNING], path)
            if path.suffix == ".gz":
                with gzip.open(file) as unpacked:
                    return _read(unpacked, path)
            return file.read()
    except NO_ZIP as error:
        raise ClueBenchError(f"{path}: damaged or cut short: {error}", DAMAGED) from error


def _read(unpacked: IO[bytes] | gzip.GzipFile, path: Path) -> bytes:
    raw = unpacked.read(LARGEST_FILE + 1)
    if len(raw) > LARGEST_FILE:
        raise ClueBenchError(f"{path}: more than {LARGEST_FILE:,} bytes when unpacked", "give another file")
    return raw


def locate(task: Task, split: str, data: Path) -> Found | None:
    """Return the file of `split`, None if there is none.

    Test sets are known by their md5 where the card tells them: an early archive calls test.json what a later one calls
    test1.0.json.
    """
    found = _by_name(task, split, data)
    tests = {name: card.md5 for name, card in task.splits.items() if card.submission is not None and card.md5}
    if split not in tests or len(tests) == 1:
        return found
    if found is not None and md5_of(found) in {md5 for name, md5 in tests.items() if name != split}:
        found = None
    for other in () if found is not None else tests:
        candidate = _by_name(task, other, data)
        if candidate is not None and md5_of(candidate) == tests[split]:
            return candidate
    return found


def md5_of(*found: Found) -> str:
    """Return the md5 of the uncompressed bytes of a file, or of several, one behind the other."""
    return hashlib.md5(b"".join(map(content, found)), usedforsecurity=False).hexdigest()


def _by_name(task: Task, split: str, data: Path) -> Found | None:
    card = task.splits[split]
    return named_file(task.name, (card.file, *card.other_files), archive_name(task), data)


def named_file(folder: str, names: Sequence[str], archive_file: str, data: Path) -> Found | None:
    """Return the first file of these names in `<data>/<folder>`, else in `<data>/<archive_file>`, None if none is."""
    for name in names:
        for path in (data / folder / name, data / folder / f"{name}.gz"):
            if path.is_file():
                return Found(path, None, name)
    archive = data / archive_file
    if not archive.is_file():
        return None
    members = _members(archive)
    for name in names:
        for member in members:
            inside, _, last = member.rpartition("/")
            if last == name and "/" not in inside:
                return Found(archive, member, name)
    return None


def archive_name(task: Task) -> str:
    """Return what the official archive is called."""
    return task.archive.file if task.archive is not None else f"{task.name}_public.zip"


def _members(archive: Path) -> list[str]:
    try:
        with zipfile.ZipFile(archive) as opened:
            return opened.namelist()
    except NO_ZIP as error:
        raise ClueBenchError(f"{archive}: damaged or cut short: {error}", DAMAGED) from error


OFFICIAL_NAME, OWN_NAME = "clue", "own"
MARKER = "DATASET.json"


def describe(task: Task, data: Path, files: dict[str, FileFacts]) -> DataFacts:
    """Return which data set and revision `files` (split → facts) are.

    The data set is "clue" for a built-in card, "own" for a user's, or what DATASET.json says. Raises ClueBenchError if
    that file cannot be read.
    """
    stated = _stated(data / MARKER)
    name = stated.get("name") or (OFFICIAL_NAME if task.is_builtin else OWN_NAME)
    if name == OFFICIAL_NAME and all(facts.is_official for facts in files.values()):
        return DataFacts(name=name, revision=OFFICIAL, files=files)
    # A user's card may read other fields of the same files: then it is part of what the revision names.
    lines = [f"{split} {files[split].md5}" for split in sorted(files)]
    hashes = "\n".join([*lines, *([] if task.is_builtin else [task.sha256])])
    kind = "different" if name == OFFICIAL_NAME else name
    revision = f"{kind}-{hashlib.sha256(hashes.encode()).hexdigest()[:8]}"
    more = {key: stated.get(key) for key in ("held_out", "source_md5")}
    return DataFacts(name=name, revision=revision, files=files, **more)


def _stated(marker: Path) -> dict[str, Any]:
    """Return what a DATASET.json says, {} if there is none: a name, or of which file the rows are, and the held-out."""
    if not marker.is_file():
        return {}
    try:
        stated = json.loads(marker.read_text(encoding="utf-8"))
        held_out = stated.get("held_out")
        source = stated.get("source_md5")
        return {
            "name": str(stated["name"]) if held_out is None and source is None else "",
            "held_out": held_out and HeldOut.model_validate(held_out),
            "source_md5": source and str(source),
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ClueBenchError(f"{marker}: no name in it", 'write {"name": "…"} into it') from error
