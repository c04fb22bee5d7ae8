"""Check that the score server will read a zip as it is meant.

Input: a zip, the slots that are known, perhaps the data folder with the test files. Output: what it holds and lacks,
or an error for the first thing that is wrong.
"""

import json
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from clue_bench.errors import ClueBenchError
from clue_bench.prediction.submission.names import FIRST_IDS, OF_NO_CARD, Slot, builtin_names, meant
from clue_bench.tasks.rows import read_split

LARGEST_FILE = 2**26  # bytes; the longest official one, CMNLI's, has 0.6 MB
REQUIRED = ("id", "label")
ALLOWED = (*REQUIRED, "label_desc")  # which CLUE's TensorFlow baseline writes for TNEWS
BOM = b"\xef\xbb\xbf"
COMPLETE = "one line for every row of the test file, in its order"


class Checked(NamedTuple):
    """A file that is as it should be; `ids` says what its ids were compared with."""

    slot: Slot
    rows: int
    ids: str


@dataclass(frozen=True)
class Report:
    """What a right submission holds, which built-in test sets it leaves out, and what else to know."""

    files: list[Checked]
    missing: list[str]
    notes: list[str]


class Expected(NamedTuple):
    """What is known of a test file: rows (None if not), ids (none if not), and where the ids come from."""

    rows: int | None
    ids: Sequence[int | str]
    source: str


def check_submission(path: Path, *, known: dict[str, Slot], data: Path | None, called: Path | None = None) -> Report:
    """Check a zip against the cards, and with `data` against the test files' ids. `called` is its name in errors.

    Raises ClueBenchError for the first thing that is wrong.
    """
    called = called or path
    try:
        with zipfile.ZipFile(path) as archive:
            names = _checked_names(archive, known, called)
            files = [_checked_file(_lines(archive, name, called), known[name], called, data) for name in names]
    except FileNotFoundError as error:
        raise ClueBenchError(f"{called}: no such file", "check the path") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise ClueBenchError(f"{called}: no readable zip: {error}", "clue-bench submit RUN… writes one") from error
    notes = []
    if not called.name.startswith("submit"):
        notes.append(f"CLUE asks for names like submit_team_date.zip, and {called.name} may be refused (CLUE#154)")
    return Report(files, [name for name in builtin_names() if name not in names], notes)


def _checked_names(archive: zipfile.ZipFile, known: dict[str, Slot], called: Path) -> list[str]:
    names = archive.namelist()
    if not names:
        raise ClueBenchError(f"{called}: an empty zip", "clue-bench submit RUN… writes one")
    for name in names:
        if "/" in name or "\\" in name:
            raise ClueBenchError(
                f"{called}: '{name}' lies in a folder, expected the files alone", "zip them without folders: zip -j"
            )
        if names.count(name) > 1:
            raise ClueBenchError(f"{called}: {name} is in it {names.count(name)} times, expected once", "keep one")
        if name in OF_NO_CARD and name not in known:
            raise ClueBenchError(
                f"{called}: {name} is an official name, but of no known task card, so it cannot be checked",
                "give a card that has it as a submission: --task CARD.toml",
            )
        if name not in known:
            raise ClueBenchError(
                f"{called}: {name} is no official name and would score 0; {meant(name, known)}", "rename the file"
            )
    return sorted(names)


def _lines(archive: zipfile.ZipFile, name: str, called: Path) -> list[str]:
    size = archive.getinfo(name).file_size
    if size > LARGEST_FILE:
        raise ClueBenchError(
            f"{called}:{name}: {size:,} bytes, expected at most {LARGEST_FILE:,}", "is it predictions?"
        )
    raw = archive.read(name)
    if raw.startswith(BOM):
        raise ClueBenchError(
            f"{called}:{name}, line 1: begins with a byte order mark, expected '{{'", "save it as UTF-8 without BOM"
        )
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise ClueBenchError(f"{called}:{name}: invalid UTF-8 at byte {error.start}", "save it as UTF-8") from error
    return text.removesuffix("\n").split("\n") if text else []


def _checked_file(lines: list[str], slot: Slot, called: Path, data: Path | None) -> Checked:
    where = f"{called}:{slot.name}"
    expected = _expected(slot, data)
    seen: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        found = _identity(line, slot, f"{where}, line {number}")
        if number <= len(expected.ids) and str(found) != str(expected.ids[number - 1]):
            raise ClueBenchError(
                f"{where}, line {number}: id {found!r}, expected {expected.ids[number - 1]!r}", COMPLETE
            )
        other = seen.setdefault(str(found), number)
        if other != number:
            raise ClueBenchError(f"{where}, line {number}: id {found!r} again, which line {other} has", COMPLETE)
    if expected.rows is not None and len(lines) != expected.rows:
        raise ClueBenchError(f"{where}: {len(lines):,} lines, expected {expected.rows:,}", COMPLETE)
    if not lines:
        raise ClueBenchError(f"{where}: no lines", COMPLETE)
    return Checked(slot, len(lines), expected.source)


def _expected(slot: Slot, data: Path | None) -> Expected:
    rows = slot.task.splits[slot.split].rows
    if data is not None:
        ids = read_split(slot.task, slot.split, data).ids
        if rows is not None and len(ids) != rows:
            raise ClueBenchError(
                f"{data}: the {slot.split} split of {slot.task.name} has {len(ids):,} rows, the official one {rows:,}",
                f"get the official file: clue-bench data fetch --task {slot.task.name}",
            )
        return Expected(len(ids), ids, "those of the test file")
    if rows is not None and slot.name in FIRST_IDS:
        first = FIRST_IDS[slot.name]
        return Expected(rows, range(first, first + rows), f"{first} … {first + rows - 1}")
    return Expected(rows, (), "not compared without --data")


def _identity(line: str, slot: Slot, where: str) -> int | str:
    """Return a line's id. Raises ClueBenchError if it is not {"id": …, "label": …} with a label of the task."""
    example = f'{{"id": 0, "label": "{slot.task.labels[0]}"}}'
    if not line.strip():
        raise ClueBenchError(f"{where}: an empty line, expected {example}", COMPLETE)
    try:
        row = json.loads(line, object_pairs_hook=_without_repetition)
    except (ValueError, RecursionError) as error:
        raise ClueBenchError(f"{where}: not JSON ({error}), expected {example}", "one JSON object a line") from error
    if not isinstance(row, dict):
        raise ClueBenchError(f"{where}: found a {type(row).__name__}, expected {example}", "one JSON object a line")
    strangers = [field for field in row if field not in ALLOWED]
    if strangers:
        raise ClueBenchError(f"{where}: field '{strangers[0]}', expected {' and '.join(REQUIRED)}", "remove the field")
    lacking = [field for field in REQUIRED if field not in row]
    if lacking:
        raise ClueBenchError(f"{where}: no field '{lacking[0]}', expected {example}", "add the field")
    identity, label = row["id"], row["label"]
    if isinstance(identity, bool) or not isinstance(identity, int | str):
        raise ClueBenchError(f"{where}: id {identity!r}, expected a number or a string", "take the test file's ids")
    if not isinstance(label, str) or label not in slot.task.labels:
        raise ClueBenchError(
            f"{where}: label {label!r}, expected one of {slot.task.name}'s {len(slot.task.labels)} labels, as a string",
            f"clue-bench tasks show {slot.task.name}",
        )
    return identity


def _without_repetition(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return a JSON object's fields. Raises ValueError if one comes twice: readers differ in which they take."""
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"field '{name}' comes twice")
    return dict(pairs)
