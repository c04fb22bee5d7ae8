"""Check a zip against the cards, and with data against the ids of the test files. No torch.

Input: any zip. Output: what is in it, or an error that names file, line, what was found and what was expected.
"""

import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from clue_bench import files
from clue_bench.errors import ClueBenchError
from clue_bench.numbers import article, counted
from clue_bench.prediction.submission.runs import check_has_ids
from clue_bench.prediction.submission.slots import OF_NO_CARD, ONE_OBJECT, Slot, builtin_names, meant
from clue_bench.tasks.entities import LAYOUT, stated_entities
from clue_bench.tasks.files import NO_ZIP, locate
from clue_bench.tasks.rows import read_split

LARGEST_FILE = 2**26  # bytes; the longest official one, CMNLI's, has 0.6 MB
REQUIRED = ("id", "label")
ALLOWED = (*REQUIRED, "label_desc")  # which CLUE's TensorFlow baseline writes for TNEWS
BOM = b"\xef\xbb\xbf"
COMPLETE = "give one line for every row of the test file, in its order"

FIRST_IDS = {
    "afqmc_predict.json": 0,
    "tnews11_predict.json": 0,
    "tnews10_predict.json": 0,
    "iflytek_predict.json": 0,
    "cmnli_predict.json": 0,
    "ocnli_50k_predict.json": 0,
    "cluewsc10_predict.json": 1,
    "c311_predict.json": 0,
    "c310_predict.json": 0,
}
"""First id of the official test files whose ids are contiguous, counted on the files. CSL's are not; 1.1 of CLUEWSC and
files of own tasks are not known: their ids are compared with --data only."""


class CheckedFile(NamedTuple):
    """A file that passed the checks; `ids` says what its ids were compared with."""

    slot: Slot
    rows: int
    ids: str


@dataclass(frozen=True)
class SubmissionCheck:
    """The contents of a valid submission, the built-in test sets that it leaves out, and further notes."""

    files: list[CheckedFile]
    missing: list[str]
    notes: list[str]


class Expected(NamedTuple):
    """The known facts about a test file: rows (None if unknown), ids (empty if unknown), and the source of the ids."""

    rows: int | None
    ids: Sequence[int | str]
    source: str
    texts: Sequence[str] = ()  # with entities


def check_submission(
    path: Path, *, known: dict[str, Slot], data: Path | None, called: Path | None = None
) -> SubmissionCheck:
    """Check a zip against the cards, and with `data` against the test files' ids. `called` is its name in errors.

    Raises ClueBenchError for the first thing that is wrong.
    """
    called = called or path
    if not files.is_file(path):
        raise ClueBenchError(f"{called}: no such file", "check the path")
    try:
        with zipfile.ZipFile(path) as archive:
            names = _checked_names(archive, known, called)
            checked = [_checked_file(_content(archive, name, called), known[name], called, data) for name in names]
    except NO_ZIP as error:
        raise ClueBenchError(f"{called}: no readable zip: {error}", "write one: run clue-bench submit RUN…") from error
    notes = []
    if not called.name.startswith("submit"):
        notes.append(f"CLUE asks for names like submit_team_date.zip, and {called.name} may be refused (CLUE#154)")
    return SubmissionCheck(checked, [name for name in builtin_names() if name not in names], notes)


def _checked_names(archive: zipfile.ZipFile, known: dict[str, Slot], called: Path) -> list[str]:
    names = archive.namelist()
    if not names:
        raise ClueBenchError(f"{called}: an empty zip", "write one: run clue-bench submit RUN…")
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


def _content(archive: zipfile.ZipFile, name: str, called: Path) -> str:
    size = archive.getinfo(name).file_size
    if size > LARGEST_FILE:
        raise ClueBenchError(
            f"{called}:{name}: {size:,} bytes, expected at most {LARGEST_FILE:,}", "give a file of predictions"
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
    return text


def _answers(text: str, where: str, order: Sequence[int | str]) -> list[str]:
    """Return one object of ids and answers as lines, in the order of the test file where that is known."""
    try:
        pairs = json.loads(text, object_pairs_hook=list)
    except (ValueError, RecursionError) as error:
        raise ClueBenchError(f"{where}: not JSON ({error})", "write one object of ids and answers") from error
    if not isinstance(pairs, list) or not all(isinstance(each, tuple) for each in pairs):
        raise ClueBenchError(f"{where}: no JSON object of ids and answers", 'write {"TEST_0_QUERY_0": "…", …}')
    place_of = {str(identity): place for place, identity in enumerate(order)}
    pairs.sort(key=lambda pair: place_of.get(pair[0], -1))
    return [json.dumps({"id": identity, "label": answer}, ensure_ascii=False) for identity, answer in pairs]


def _checked_file(text: str, slot: Slot, called: Path, data: Path | None) -> CheckedFile:
    where = f"{called}:{slot.name}"
    expected = _expected(slot, data)
    if slot.task.kind in ONE_OBJECT:
        lines = _answers(text, where, expected.ids)
    else:
        lines = text.removesuffix("\n").split("\n") if text else []
    seen: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        own = expected.texts[number - 1] if number <= len(expected.texts) else None
        found = _identity(line, slot, f"{where}, line {number}", own)
        if number <= len(expected.ids) and str(found) != str(expected.ids[number - 1]):
            raise ClueBenchError(
                f"{where}, line {number}: id {found!r}, expected {expected.ids[number - 1]!r}", COMPLETE
            )
        other = seen.setdefault(str(found), number)
        if other != number:
            raise ClueBenchError(f"{where}, line {number}: id {found!r} again, which line {other} has", COMPLETE)
    if expected.rows is not None and len(lines) != expected.rows:
        raise ClueBenchError(f"{where}: {counted(len(lines), 'line')}, expected {expected.rows:,}", COMPLETE)
    if not lines:
        raise ClueBenchError(f"{where}: no lines", COMPLETE)
    return CheckedFile(slot, len(lines), expected.source)


def _expected(slot: Slot, data: Path | None) -> Expected:
    rows = slot.task.splits[slot.split].rows
    if data is not None:
        if locate(slot.task, slot.split, data) is None:
            message = f"{data}: no {slot.split} of {slot.task.name} to compare the ids with"
            raise ClueBenchError(message, "give --data a folder that has it, or leave out --data")
        found = read_split(slot.task, slot.split, data)
        check_has_ids(found.facts, slot, where=data)
        ids = found.ids
        if rows is not None and len(ids) != rows:
            raise ClueBenchError(
                f"{data}: the {slot.split} split of {slot.task.name} has {len(ids):,} rows, the official one {rows:,}",
                f"get the official file: run clue-bench data fetch --task {slot.task.name}",
            )
        texts = [each for (each,) in found.texts] if slot.task.kind == "tags" else ()
        return Expected(len(ids), ids, "those of the test file", texts)
    if rows is not None and slot.name in FIRST_IDS:
        first = FIRST_IDS[slot.name]
        return Expected(rows, range(first, first + rows), f"{first} … {first + rows - 1}")
    return Expected(rows, (), "not compared without --data")


def _identity(line: str, slot: Slot, where: str, text: str | None) -> int | str:
    """Return a line's id. Raises ClueBenchError if it is not {"id": …, "label": …} with a label of the task.

    `text` is the one that entities are of, where it is known.
    """
    is_number = slot.task.has_choices
    label: Any = 0 if is_number else [*slot.task.labels, "…"][0]
    label = {label: {"…": [[0, 0]]}} if slot.task.kind == "tags" else label
    example = json.dumps({"id": 0, "label": label}, ensure_ascii=False)
    if not line.strip():
        raise ClueBenchError(f"{where}: an empty line, expected {example}", COMPLETE)
    try:
        row = json.loads(line, object_pairs_hook=_without_repetition)
    except (ValueError, RecursionError) as error:
        raise ClueBenchError(
            f"{where}: not JSON ({error}), expected {example}", "write one JSON object a line"
        ) from error
    if not isinstance(row, dict):
        raise ClueBenchError(
            f"{where}: found {article(type(row).__name__)}, expected {example}", "write one JSON object a line"
        )
    strangers = [field for field in row if field not in ALLOWED]
    if strangers:
        raise ClueBenchError(f"{where}: field '{strangers[0]}', expected {' and '.join(REQUIRED)}", "remove the field")
    lacking = [field for field in REQUIRED if field not in row]
    if lacking:
        raise ClueBenchError(f"{where}: no field '{lacking[0]}', expected {example}", "add the field")
    identity, label = row["id"], row["label"]
    if isinstance(identity, bool) or not isinstance(identity, int | str):
        raise ClueBenchError(f"{where}: id {identity!r}, expected a number or a string", "use the ids of the test file")
    if slot.task.kind == "span":
        if not isinstance(label, str):
            raise ClueBenchError(f"{where}: answer {label!r}, expected a text", "write the words of the passage")
        return identity
    if slot.task.kind == "tags":
        _check_entities(label, slot, where, text)
        return identity
    if type(label) is not (int if is_number else str) or str(label) not in slot.task.labels:
        labels = f"{where}: label {label!r}, expected one of {slot.task.name}'s {len(slot.task.labels)} labels"
        raise ClueBenchError(
            f"{labels}, as a number" if is_number else f"{labels}, as a string",
            f"run clue-bench tasks show {slot.task.name}",
        )
    return identity


def _check_entities(label: Any, slot: Slot, where: str, text: str | None) -> None:
    """Raise ClueBenchError unless a label is in CLUENER's layout, with entities where they stand."""
    if not isinstance(label, dict):
        raise ClueBenchError(f"{where}: label {label!r}, expected an object of entities", LAYOUT)
    for kind, words, first, last in stated_entities(label, where):
        if kind not in slot.task.labels:
            raise ClueBenchError(
                f"{where}: type '{kind}', expected one of {slot.task.name}'s {len(slot.task.labels)} labels",
                f"run clue-bench tasks show {slot.task.name}",
            )
        found = "another number of characters" if text is None else f"'{text[first : last + 1]}'"
        if not words or last - first + 1 != len(words) or (text is not None and text[first : last + 1] != words):
            raise ClueBenchError(
                f"{where}: '{words}' at [{first}, {last}], where stands {found}",
                "give the places of its first and of its last character, from 0",
            )


def _without_repetition(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return a JSON object's fields. Raises ValueError if one is repeated: readers differ in which they use."""
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"field '{name}' is given twice")
    return dict(pairs)
