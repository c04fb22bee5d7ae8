"""Task data: found, read, checked against the card, tokenised.

Enters: a task, a data folder, a vocabulary. Leaves: rows (texts and class numbers), the facts that say which revision
of the data they are, and token ids.

`<data>/<task>/<file>`, `<file>.gz` or `<data>/<task>_public.zip` (files at the root or one folder down) are found. A
`DATASET.json` in the data folder names a data set that is not CLUE's, e.g. {"name": "synthetic"}.
"""

import gzip
import hashlib
import json
import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from clue_bench.errors import ClueBenchError
from clue_bench.finetune.task import Task
from clue_bench.records import OFFICIAL, DataFacts, FileFacts
from clue_bench.vocab import Vocabulary

OFFICIAL_NAME, OWN_NAME = "clue", "own"
UNLABELLED = -1
_SURROGATE = re.compile("[\ud800-\udfff]")  # what JSON like "\\ud83d" leaves; no text in UTF-8 has it
ROWS_PER_CALL = 4096  # bounds the Rust tokenizer's results, which are larger than the texts


@dataclass(frozen=True)
class Rows:
    """The rows of a split: texts (one or two per row), class numbers (UNLABELLED in test sets), and ids as given."""

    texts: list[tuple[str, ...]]
    labels: npt.NDArray[np.int64]
    ids: list[int | str]
    facts: FileFacts

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True)
class Encoded:
    """Token ids of a split. Row i is `ids[offsets[i]:offsets[i+1]]`; `segments` has the same shape."""

    ids: npt.NDArray[np.int32]
    segments: npt.NDArray[np.int8]
    offsets: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    truncated_rows: int

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property  # asked for at every batch
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of each row."""
        return np.diff(self.offsets)


def read_split(task: Task, split: str, data: Path) -> Rows:
    """Read one split of `task` from the data folder.

    Raises ClueBenchError if there is no such file, or naming file, line and what is wrong with it.
    """
    where, content = _find(task, split, data)
    card = task.splits[split]
    texts: list[tuple[str, ...]] = []
    labels: list[int] = []
    ids: list[int | str] = []
    dropped = lines = 0
    classes = {label: number for number, label in enumerate(task.labels)}
    for number, line in enumerate(_decoded(content, where).split("\n"), 1):
        if not line.strip():
            continue
        lines += 1
        row = _parse(line, f"{where}, line {number}")
        if split in ("train", "dev"):
            label = _field(row, task.label_field, where, number)
            if label in task.dropped_labels:
                dropped += 1
                continue
            if label not in classes:
                raise ClueBenchError(
                    f"{where}, line {number}: label '{label}' is not one of {task.name}'s {len(classes)} labels",
                    f"clue-bench tasks show {task.name}",
                )
            labels.append(classes[label])
        else:
            labels.append(UNLABELLED)
        texts.append(tuple(_field(row, name, where, number) for name in task.text_fields))
        ids.append(row.get("id", lines - 1))
    if not texts:
        raise ClueBenchError(f"{where}: no rows", "fetch the file again")
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    facts = FileFacts(rows=lines, md5=md5, expected_rows=card.rows, expected_md5=card.md5, dropped_rows=dropped)
    return Rows(texts, np.array(labels, dtype=np.int64), ids, facts)


def available_splits(task: Task, data: Path) -> list[str]:
    """Return the splits of `task` that `data` has, in the card's order. Raises ClueBenchError without train or dev."""
    found = [split for split in task.splits if _locate(task, split, data) is not None]
    for needed in ("train", "dev"):
        if needed not in found:
            _find(task, needed, data)  # raises
    return found


def describe(task: Task, data: Path, files: dict[str, FileFacts]) -> DataFacts:
    """Return which data set and revision `files` (split → facts) are.

    The data set is "clue" for a built-in card, "own" for a user's, or what DATASET.json says. Raises ClueBenchError if
    that file cannot be read.
    """
    name = _named(data / "DATASET.json") or (OFFICIAL_NAME if task.is_builtin else OWN_NAME)
    if name == OFFICIAL_NAME and all(facts.is_official for facts in files.values()):
        return DataFacts(name=name, revision=OFFICIAL, files=files)
    # A user's card may read other fields of the same files: then it is part of what the revision names.
    lines = [f"{split} {files[split].md5}" for split in sorted(files)]
    hashes = "\n".join([*lines, *([] if task.is_builtin else [task.sha256])])
    kind = "different" if name == OFFICIAL_NAME else name
    revision = f"{kind}-{hashlib.sha256(hashes.encode()).hexdigest()[:8]}"
    return DataFacts(name=name, revision=revision, files=files)


def _named(marker: Path) -> str | None:
    """Return the name in a DATASET.json, None if there is no such file."""
    if not marker.is_file():
        return None
    try:
        return str(json.loads(marker.read_text(encoding="utf-8"))["name"])
    except (ValueError, KeyError, TypeError) as error:
        raise ClueBenchError(f"{marker}: no name in it", 'expected {"name": "…"}') from error


def encode(rows: Rows, vocabulary: Vocabulary, *, max_length: int) -> Encoded:
    """Tokenise: [CLS] a [SEP], or [CLS] a [SEP] b [SEP] cut from the longer text first; segments 0 and 1.

    The final [SEP] is always kept. Equals `transformers` with truncation="longest_first".
    """
    start, separator = vocabulary.start, vocabulary.separator
    ids: list[list[int]] = []
    first_lengths: list[int] = []
    truncated = 0
    for tokens in _tokenised(rows.texts, vocabulary):
        budget = max_length - 1 - len(tokens)
        kept = _longest_first([len(part) for part in tokens], budget)
        truncated += sum(kept) < sum(map(len, tokens))
        row = [start]
        for part, length in zip(tokens, kept, strict=True):
            row += [*part[:length], separator]
        ids.append(row)
        first_lengths.append(kept[0] + 2)
    lengths = np.array([len(row) for row in ids], dtype=np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    flat = np.fromiter(chain.from_iterable(ids), dtype=np.int32, count=int(offsets[-1]))
    place_in_row = np.arange(len(flat)) - np.repeat(offsets[:-1], lengths)
    segments = (place_in_row >= np.repeat(first_lengths, lengths)).astype(np.int8)
    return Encoded(flat, segments, offsets, rows.labels, truncated)


def _tokenised(texts: list[tuple[str, ...]], vocabulary: Vocabulary) -> Iterator[list[list[int]]]:
    """Yield the ids of each row's texts. Not truncated by the tokenizer, which would keep every piece it cuts off."""
    encoder = vocabulary.encoder(special_tokens=True)
    for start in range(0, len(texts), ROWS_PER_CALL):
        batch = texts[start : start + ROWS_PER_CALL]
        ids = iter(encoder.ids(list(chain.from_iterable(batch))))
        for row in batch:
            yield [next(ids) for _ in row]


def _longest_first(lengths: list[int], budget: int) -> list[int]:
    """Return how many tokens of each text (one or two) to keep within `budget`, taking from the longer one first."""
    if len(lengths) == 1:
        return [min(lengths[0], budget)]
    shorter, longer = (0, 1) if lengths[0] <= lengths[1] else (1, 0)
    kept = list(lengths)
    if sum(kept) > budget:
        kept[shorter] = min(lengths[shorter], budget // 2)
        kept[longer] = budget - kept[shorter]
    return kept


def _find(task: Task, split: str, data: Path) -> tuple[str, bytes]:
    """Return name and uncompressed content of the file of `split`."""
    found = _locate(task, split, data)
    if found is None:
        file = task.splits[split].file
        raise ClueBenchError(
            f"{data}: no {task.name}/{file}, {task.name}/{file}.gz or {task.name}_public.zip",
            "give --data the folder that holds the task folders",
        )
    path, member = found
    try:
        if member is not None:
            with zipfile.ZipFile(path) as archive:
                return f"{path}:{member}", archive.read(member)
        content = path.read_bytes()
        return str(path), gzip.decompress(content) if path.suffix == ".gz" else content
    except (OSError, EOFError, RuntimeError, zlib.error, zipfile.BadZipFile) as error:
        raise ClueBenchError(f"{path}: damaged or cut short: {error}", "fetch the file again") from error


def _locate(task: Task, split: str, data: Path) -> tuple[Path, str | None] | None:
    """Return the path of a split's file, and the member's name if it lies in a zip."""
    file = task.splits[split].file
    for path in (data / task.name / file, data / task.name / f"{file}.gz"):
        if path.is_file():
            return path, None
    archive = data / f"{task.name}_public.zip"
    if archive.is_file():
        try:
            with zipfile.ZipFile(archive) as opened:
                members = opened.namelist()
        except zipfile.BadZipFile as error:
            raise ClueBenchError(f"{archive}: damaged or cut short: {error}", "fetch the file again") from error
        for member in members:
            folder, _, name = member.rpartition("/")
            if name == file and "/" not in folder:
                return archive, member
    return None


def _decoded(content: bytes, where: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ClueBenchError(f"{where}: invalid UTF-8 at byte {error.start}", "fetch the file again") from error


def _parse(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ClueBenchError(f"{where}: not JSON: {error}", "one JSON object a line") from error
    if not isinstance(row, dict):
        raise ClueBenchError(f"{where}: found a {type(row).__name__}, expected a JSON object", "mend the line")
    return row


def _field(row: dict[str, Any], name: str, where: str, number: int) -> str:
    if name not in row:
        keys = ", ".join(row) or "none"
        raise ClueBenchError(f"{where}, line {number}: no field '{name}'; found {keys}", "mend the line")
    if not isinstance(row[name], str):
        raise ClueBenchError(f"{where}, line {number}: {name} is {row[name]!r}, expected a string", "mend the line")
    text = str(row[name])
    if _SURROGATE.search(text):
        raise ClueBenchError(f"{where}, line {number}: {name} holds half a character", "mend the line")
    return text
