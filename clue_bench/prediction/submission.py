"""Write and check CLUE's submission: one zip with a file of predictions per test set.

Input: folders of fine-tuning runs (their record and predictions), or any zip. Output: a zip that has passed the checks,
or an error that names file, line, what was found and what was expected.

Format (clue_submit_examples, 2021-09-04): JSON Lines {"id": 0, "label": "0"} in the order of the test file, since the
score server reads only `label`, line by line; of C3 the number of the choice, {"id": 0, "label": 0}; of CMRC2018 one
object, {"TEST_0_QUERY_0": "answer"}, and of CHID, {"#idiom1#": 0}. The names of the files are those of the task cards
(`submission`); any subset of tasks may be sent. A file under another name silently scores 0 (CLUE#104, #113:
ocnli_predict.json).
"""

import json
import re
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from clue_bench import files
from clue_bench.cards import builtin_folder, card_paths
from clue_bench.doors.predictions import check_as_written, predictions_path, read_predictions
from clue_bench.doors.records import TaskRecord, read_record, record_paths
from clue_bench.errors import ClueBenchError, nearest
from clue_bench.numbers import article, counted, percent
from clue_bench.tasks.files import NO_ZIP
from clue_bench.tasks.rows import read_split
from clue_bench.tasks.task import Kind, Task, load_task

EARLIEST = (1980, 1, 1, 0, 0, 0)  # that a zip can state; no clock, so that the same predictions give the same bytes
UNIX = 3  # the system that a zip says it was made on, whatever it was
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

OF_NO_CARD = ("ocnli_30k_predict.json",)
"""Official file names of test sets without a built-in card."""

ONE_OBJECT = ("span", "cloze")
"""Kinds of tasks whose file is one JSON object."""


METRICS = {"macro_f1": "macro-F1"}
"""What people call a metric, where it is not its key."""


class Slot(NamedTuple):
    """A file that a submission can contain: its official name and its test set."""

    name: str
    task: Task
    split: str


class SubmissionLine(NamedTuple):
    """One line of a submission."""

    id: int | str
    label: str | int


@dataclass(frozen=True)
class RunSubmission:
    """The predictions of one run: file name → lines."""

    folder: Path
    record: TaskRecord
    task: str
    files: dict[str, list[SubmissionLine]]


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


def slots(tasks: Iterable[Task]) -> dict[str, Slot]:
    """Return the files that submissions for `tasks` can contain, by name. Raises ClueBenchError for a shared name."""
    found: dict[str, Slot] = {}
    for task in tasks:
        for split, card in task.splits.items():
            if card.submission is None:
                continue
            other = found.setdefault(card.submission, Slot(card.submission, task, split))
            if (other.task.name, other.split) != (task.name, split):
                raise ClueBenchError(
                    f"{card.submission} is the submission of both {other.task.name} and {task.name}",
                    "change it in your own card",
                )
    return found


def known_slots(cards: Iterable[str] = ()) -> dict[str, Slot]:
    """Return the slots of every card; `cards` (names or .toml paths) replace those of the same name.

    Raises ClueBenchError for a broken card.
    """
    given = [load_task(card) for card in cards]
    names = {task.name for task in given}
    return slots([*given, *(load_task(name) for name in card_paths("tasks") if name not in names)])


def builtin_names() -> list[str]:
    """Return the names of the built-in cards' files, sorted: all of CLUE's that this package can fill."""
    paths = sorted(builtin_folder("tasks").glob("*.toml"))
    return sorted(slots(load_task(str(path)) for path in paths))


def meant(name: str, known: dict[str, Slot]) -> str:
    """Guess the intended name: those of the task that `name` begins with, else the nearest one.

    By letters alone, ocnli_predict.json is nearer to cmnli_predict.json than to its own.
    """
    word = re.split(r"[^a-z]", name.lower())[0]
    of_task = sorted(slot.name for slot in known.values() if word and slot.task.name.startswith(word))
    return f"did you mean {' or '.join(of_task)}?" if of_task else nearest(name, known)


def read_run(folder: Path, known: dict[str, Slot]) -> RunSubmission:
    """Read the predictions of a completed fine-tuning run on the test sets of its task.

    Raises ClueBenchError if the folder holds no such run, or one that predicted no test set.
    """
    record = _finetuned(folder)
    task = record.task.name
    test_sets = [slot for slot in known.values() if slot.task.name == task]
    if not test_sets:
        raise ClueBenchError(
            f"{folder}: a run of {task}, of which no known card has a submission",
            "give your own card: --task CARD.toml",
        )
    predicted = record.completed_results.predictions
    lines_of = {}
    for slot in test_sets:
        if slot.split in predicted:
            check_as_written(folder, slot.split, record.completed_results)
            lines = read_predictions(predictions_path(folder, slot.split))
            _check_official(folder, slot, len(lines))
            is_number = slot.task.has_choices
            lines_of[slot.name] = [SubmissionLine(e.id, int(e.label) if is_number else e.label) for e in lines]
    if not lines_of:
        splits = ", ".join(slot.split for slot in test_sets)
        raise ClueBenchError(
            f"{folder}: predicted {', '.join(predicted) or 'nothing'}, expected {splits}",
            f"fine-tune with --data that holds {' or '.join(slot.task.splits[slot.split].file for slot in test_sets)}",
        )
    return RunSubmission(folder, record, task, lines_of)


def _check_official(folder: Path, slot: Slot, rows: int) -> None:
    """Raise ClueBenchError unless a run predicted as many rows as the official test file has: CLUE takes no others."""
    expected = slot.task.splits[slot.split].rows
    if expected is not None and rows != expected:
        raise ClueBenchError(
            f"{folder}: predicted {counted(rows, 'row')} of {slot.split}, CLUE's has {expected:,}; no zip was written",
            f"CLUE scores its own test files only: run clue-bench data fetch --task {slot.task.name}, fine-tune with "
            "that --data, then submit the run",
        )


def choose_runs(folders: Iterable[Path], known: dict[str, Slot]) -> tuple[list[RunSubmission], list[str]]:
    """Return one run per task, of several the best on dev, and a sentence for every task that had a choice.

    Baselines and unfinished runs come last, so that all runs of a benchmark may be given. Raises ClueBenchError as
    `read_run` does for the run that is chosen.
    """
    of_task: dict[str, list[tuple[Path, TaskRecord]]] = {}
    for folder in dict.fromkeys(folders):
        record = _task_record(folder)
        of_task.setdefault(record.task.name, []).append((folder, record))
    chosen, notes = [], []
    for task, runs in of_task.items():
        best, record = max(runs, key=lambda each: _preference(each[1]))
        chosen.append(read_run(best, known))
        if len(runs) > 1:
            value = getattr(record.completed_results.dev, record.task.metric)
            name = METRICS.get(record.task.metric, record.task.metric)
            notes.append(f"{task}: {len(runs)} runs given, {best} has the best dev {name}, {percent(value)}")
    return chosen, notes


def _preference(record: TaskRecord) -> tuple[bool, bool, float]:
    if record.results is None:
        return False, False, 0.0
    return True, not record.model.is_floor, float(getattr(record.results.dev, record.task.metric))


def write_submission(
    out: Path, runs: Sequence[RunSubmission], *, known: dict[str, Slot], data: Path | None
) -> SubmissionCheck:
    """Write the predictions of `runs`, at most one per task, as a zip; the same predictions give the same bytes.

    Raises ClueBenchError, and keeps an earlier zip, if two runs are of one task or a prediction is not valid.
    """
    of_task: dict[str, RunSubmission] = {}
    for run in runs:
        other = of_task.setdefault(run.task, run)
        if other is not run:
            raise ClueBenchError(f"{other.folder} and {run.folder} are both runs of {run.task}", "give one of them")
    texts = {name: _text(lines, known[name].task.kind) for run in runs for name, lines in run.files.items()}
    with files.replacing(out) as temporary:
        _write_zip(temporary, texts)
        try:
            return check_submission(temporary, known=known, data=data, called=out)
        except ClueBenchError as error:
            raise ClueBenchError(f"no zip was written: {error.message}", error.hint) from error


def _task_record(folder: Path) -> TaskRecord:
    """Read the record in a run's folder, finished or not."""
    paths = record_paths(folder)
    if len(paths) != 1:
        raise ClueBenchError(
            f"{folder}: {counted(len(paths), 'run record') if paths else 'no run record'}, expected one",
            "give the folder that finetune wrote",
        )
    record = read_record(paths[0])
    if not isinstance(record, TaskRecord):
        raise ClueBenchError(
            f"{folder}: a {record.kind} run, expected a fine-tuning run", "give a folder that finetune wrote"
        )
    return record


def _finetuned(folder: Path) -> TaskRecord:
    record = _task_record(folder)
    if record.status != "completed":
        raise ClueBenchError(f"{folder}: the run is {record.status}, expected completed", "repeat the run")
    return record


def _text(lines: Sequence[SubmissionLine], kind: Kind) -> str:
    """Return a file of the submission: JSON Lines, or one object of answers found in passages."""
    if kind in ONE_OBJECT:
        return json.dumps({str(line.id): line.label for line in lines}, ensure_ascii=False) + "\n"
    return "".join(json.dumps(line._asdict(), ensure_ascii=False) + "\n" for line in lines)


def _write_zip(path: Path, texts: dict[str, str]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in sorted(texts.items()):
            member = zipfile.ZipInfo(name, date_time=EARLIEST)
            member.compress_type, member.create_system = zipfile.ZIP_DEFLATED, UNIX
            member.external_attr = 0o644 << 16
            archive.writestr(member, text.encode())


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
        found = _identity(line, slot, f"{where}, line {number}")
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
        ids = read_split(slot.task, slot.split, data).ids
        if rows is not None and len(ids) != rows:
            raise ClueBenchError(
                f"{data}: the {slot.split} split of {slot.task.name} has {len(ids):,} rows, the official one {rows:,}",
                f"get the official file: run clue-bench data fetch --task {slot.task.name}",
            )
        return Expected(len(ids), ids, "those of the test file")
    if rows is not None and slot.name in FIRST_IDS:
        first = FIRST_IDS[slot.name]
        return Expected(rows, range(first, first + rows), f"{first} … {first + rows - 1}")
    return Expected(rows, (), "not compared without --data")


def _identity(line: str, slot: Slot, where: str) -> int | str:
    """Return a line's id. Raises ClueBenchError if it is not {"id": …, "label": …} with a label of the task."""
    is_number = slot.task.has_choices
    label = 0 if is_number else [*slot.task.labels, "…"][0]
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
    if slot.task.kind == "span" and isinstance(label, str):
        return identity
    if type(label) is not (int if is_number else str) or str(label) not in slot.task.labels:
        labels = f"{where}: label {label!r}, expected one of {slot.task.name}'s {len(slot.task.labels)} labels"
        raise ClueBenchError(
            f"{labels}, as a number" if is_number else f"{labels}, as a string",
            f"run clue-bench tasks show {slot.task.name}",
        )
    return identity


def _without_repetition(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return a JSON object's fields. Raises ValueError if one is repeated: readers differ in which they use."""
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"field '{name}' is given twice")
    return dict(pairs)
