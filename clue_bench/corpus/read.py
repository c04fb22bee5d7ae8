"""Read raw text as documents.

Input: files, or folders of them, searched with everything below:

| file | what it holds |
|---|---|
| .txt | CLUECorpus layout: a sentence or paragraph a line, a blank line between documents |
| .jsonl, .json | a document a line: a string, or an object with the text under one of its keys; .json also one list |
| .parquet, .arrow | a document a row, in one column |
| without an ending | JSON Lines if it begins like that (wiki_zh); else it is left aside |

The first two may be compressed, .gz or .xz. Output: documents, in order, as lists of lines. UTF-8 with or without byte
order mark, lines that end with LF, CRLF or CR; anything else is an error naming file and place.

Memory is bounded, but for .json lists: a line longer than LONGEST_LINE bytes and a document longer than the caller's
limit come in pieces, and the pieces are counted.
"""

import json
import logging
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

from clue_bench.corpus.streams import BLOCK, Opened, opened
from clue_bench.corpus.text import clean_line
from clue_bench.errors import ClueBenchError
from clue_bench.files import BEGINNING, below, refuse_pointer
from clue_bench.numbers import article
from clue_bench.tasks.formats import rows_of_object

log = logging.getLogger(__name__)

COMPRESSED = ("", ".gz", ".xz")
SUFFIXES = (*(f"{kind}{end}" for kind in (".txt", ".jsonl", ".json") for end in COMPRESSED), ".parquet", ".arrow")
_TABLES = {".csv": "read_csv", ".tsv": "read_table", ".xlsx": "read_excel"}  # ending → what pandas reads it with
NO_TEXT = {"dataset_info.json", "state.json", "dataset_dict.json"}  # what datasets writes beside its .arrow files
TEXT_FIELD = "text"
LONGEST_LINE = 4 * 2**20  # bytes; the longest line of CLUECorpus-like text is some tens of kB
PIECE_CHARACTERS = 2**20  # the longest piece of a document held at a time for a vocabulary
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
BAD_SHARE = 0.02  # of the characters, from which on text that is no UTF-8 is another encoding rather than damaged
_UTF_32 = (b"\xff\xfe\0\0", b"\0\0\xfe\xff")  # its byte order marks
_TABLE = re.compile(rb'\{\s*(?:"[^"]*"\s*:\s*\{\s*"\d+"\s*:|"\d+"\s*:\s*\{|"columns"\s*:\s*\[|"schema"\s*:\s*\{)')
_LINE_ENDS = re.compile(r"\r\n|\r|\n")  # not str.splitlines, which splits at U+2028, U+0085, VT and FF, too


@dataclass
class Tally:
    """Counts of what has been read so far. `bytes_read` counts the files as stored on disk, for progress."""

    bytes_read: int = 0
    split_documents: int = 0
    split_lines: int = 0
    empty_texts: int = 0


class Document(NamedTuple):
    """Lines of one document, or of a piece of one that is longer than the limit."""

    lines: list[str]
    size: int
    """Characters, line ends counted once each."""


def find_inputs(paths: list[Path]) -> tuple[list[Path], list[Path]]:
    """Return the text files in `paths` and the ignored ones, folders searched to the bottom, through links.

    Raises ClueBenchError for a path that does not exist, a file of another kind, or nothing to read at all.
    """
    files: list[Path] = []
    ignored: list[Path] = []
    for path in paths:
        if path.is_dir():
            for child in below(path):
                (files if child.is_file() and _holds_text(child) else ignored).append(child)
        elif not path.is_file():
            raise ClueBenchError(f"{path}: no such file or folder", "check the path")
        elif not path.name.lower().endswith(SUFFIXES) and path.suffix:
            raise ClueBenchError(f"{path}: unknown kind of text file", _way_to_text(path))
        else:
            files.append(path)
    if not files:
        raise ClueBenchError(f"no text in {', '.join(map(str, paths))}", f"give files ending in {SUFFIXES[0]} …")
    seen: set[Path] = set()
    for file in files:
        if file.resolve() in seen:
            raise ClueBenchError(f"{file} is named twice", "name each file once")
        seen.add(file.resolve())
    return files, ignored


def _way_to_text(path: Path) -> str:
    """Return what to do about a file of another kind: a table's texts are a column to save."""
    if (kind := path.suffix.lower()) in _TABLES:
        return (
            f'save it as .parquet, and give that and --text-field COLUMN: python -c "import pandas; pandas.'
            f"{_TABLES[kind]}('{path}').to_parquet('{path.with_suffix('.parquet')}')\""
        )
    return f"give one of {', '.join(SUFFIXES)}"


def _holds_text(file: Path) -> bool:
    """Return whether a file in a folder is one to read: by its name, or by how it begins if it has no ending."""
    if file.suffix:
        return file.name.lower().endswith(SUFFIXES) and file.name not in NO_TEXT
    with file.open("rb") as stream:
        return _begins_with_object(stream.read(BLOCK))


def read_documents(
    files: list[Path], *, longest: int, tally: Tally, text_field: str = TEXT_FIELD
) -> Iterator[Document]:
    """Yield the documents of `files`, none longer than `longest` characters by more than one line.

    `text_field` is the key, or column, of the text in files that have several.
    """
    before = 0
    for file in files:
        lines: list[str] = []
        size, empty = 0, tally.empty_texts
        for line in _lines_and_ends(file, tally, before, text_field):
            if line is None or size >= longest:
                if lines:
                    yield Document(lines, size)
                lines, size = [], 0
                if line is None:
                    continue
                tally.split_documents += 1
            lines.append(line)
            size += len(line) + 1
        if lines:
            yield Document(lines, size)
        before += file.stat().st_size
        tally.bytes_read = before
        if tally.empty_texts > empty:
            log.warning("%s: empty texts left out: %d", file, tally.empty_texts - empty)


def read_lines(
    files: list[Path],
    *,
    tally: Tally,
    characters: int | None,
    on_line: Callable[[], None],
    text_field: str = TEXT_FIELD,
) -> Iterator[str]:
    """Yield the cleaned lines that a corpus would be built from, calling `on_line` after each.

    Stops after the document in which `characters` are reached.
    """
    left = math.inf if characters is None else characters
    for document in read_documents(files, longest=PIECE_CHARACTERS, tally=tally, text_field=text_field):
        for line in document.lines:
            yield clean_line(line)
            on_line()
            left -= len(line)
        if left <= 0:
            return


def _lines_and_ends(file: Path, tally: Tally, before: int, text_field: str) -> Iterator[str | None]:
    """Yield the lines of documents that are not blank, and None at every document's end."""
    if file.suffix.lower() in (".parquet", ".arrow"):
        for text in _column(file, tally, before, text_field):
            yield from _lines_of(text, tally)
        return
    name = file.name.lower().removesuffix(".gz").removesuffix(".xz")
    with opened(file) as found:
        is_json = name.endswith((".jsonl", ".json")) or ("." not in name and _begins_with_object(found.head))
        is_lines = name.endswith(".jsonl")
        if is_json and (_is_one_object(found.head) or (not is_lines and _begins(found.head, b"["))):
            for number, value in enumerate(_json_list(file, found.stream), 1):
                yield from _lines_of(_json_text(value, f"{file}, text {number}", text_field), tally)
            return
        for number, (line, goes_on) in enumerate(_lines(file, found, tally, before, may_cut=not is_json), 1):
            if is_json and line.strip():
                where = f"{file}, line {number}"
                yield from _lines_of(_json_text(_decoded(line, where), where, text_field), tally)
            elif not is_json and line.strip():
                yield line
            elif not goes_on:  # a blank piece of a long line ends nothing
                yield None


def _begins_with_object(head: bytes) -> bool:
    """Return whether the first line is an object of JSON: a brace alone begins many a text."""
    try:
        return isinstance(json.loads(head.removeprefix(BYTE_ORDER_MARK).lstrip().partition(b"\n")[0]), dict)
    except (ValueError, RecursionError):
        return False


def _is_one_object(head: bytes) -> bool:
    """Return whether the file seems to be one object: over several lines, or a table as pandas' to_json() writes it."""
    first, _, rest = head.removeprefix(BYTE_ORDER_MARK).lstrip().partition(b"\n")
    return first.rstrip() == b"{" or (bool(_TABLE.match(first)) and not rest.strip())


def _begins(head: bytes, start: bytes) -> bool:
    return head.removeprefix(BYTE_ORDER_MARK).lstrip().startswith(start)


def _lines_of(text: str, tally: Tally) -> Iterator[str | None]:
    """Yield the lines of a document that stands in one string, and its end."""
    tally.empty_texts += not text.strip()
    yield from (line for line in _LINE_ENDS.split(text) if line.strip())
    yield None


def _decoded(line: str, where: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:  # ValueError: JSONDecodeError, or a number of over 4,300 digits
        raise ClueBenchError(
            f"{where}: not JSON: {error}", "write one JSON value a line, as jq -c . does; or, in .json, one list"
        ) from error


def _json_list(file: Path, stream: IO[bytes]) -> list[Any]:
    """Return the texts, or rows with texts, of a file that is one JSON value."""
    try:
        value: Any = json.load(stream)
    except (ValueError, RecursionError) as error:
        raise ClueBenchError(f"{file}: not JSON: {error}", "write one list, or one JSON value a line") from error
    if isinstance(value, list):
        return value
    if (rows := rows_of_object(value)) is not None:
        return rows
    return [value]


def _json_text(value: Any, where: str, text_field: str) -> str:
    text = value.get(text_field) if isinstance(value, dict) else value
    if isinstance(value, dict) and text_field in value and not isinstance(text, str):
        if text is None:  # a cell that holds nothing
            return ""
        raise ClueBenchError(
            f"{where}: {article(type(text).__name__)} under the key '{text_field}', expected a string",
            f'write one string there, lines of one document joined by \\n: {{"{text_field}": "…"}}',
        )
    if not isinstance(text, str):
        others = {key: each for key, each in value.items() if isinstance(each, str)} if isinstance(value, dict) else {}
        found = f"found {', '.join(value) or 'no keys'}" if isinstance(value, dict) else f"found {type(value).__name__}"
        longest = max(others, key=lambda key: len(others[key]), default=None)
        hint = f"give --text-field {longest}" if longest else f'write {{"{text_field}": "…"}}'
        raise ClueBenchError(f"{where}: no string under the key '{text_field}', {found}", hint)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ClueBenchError(f"{where}: half a character, {text[error.start]!r}", "remove the escape") from error
    return text


def _column(file: Path, tally: Tally, before: int, text_field: str) -> Iterator[str]:
    """Yield the texts of a table's column, "" of cells that hold nothing."""
    import pyarrow as arrow
    from pyarrow import ipc, parquet

    with file.open("rb") as opened_file:
        refuse_pointer(opened_file.read(BEGINNING), file)
    size, done = file.stat().st_size, 0
    try:
        if file.suffix.lower() == ".parquet":
            table = parquet.ParquetFile(file)
            schema, rows = table.schema_arrow, max(1, table.metadata.num_rows)
            # On this thread, as tables of tasks are (tasks.formats).
            batches = (
                table.iter_batches(columns=[text_field], use_threads=False) if text_field in schema.names else iter(())
            )
        else:
            reader = ipc.open_stream(arrow.memory_map(str(file)))
            schema, rows, batches = reader.schema, 0, reader
        if text_field not in schema.names:
            texts = [each.name for each in schema if str(each.type) in ("string", "large_string")]
            raise ClueBenchError(
                f"{file}: no column '{text_field}', found {', '.join(schema.names)}",
                f"give --text-field {texts[0] if len(texts) == 1 else 'COLUMN'}",
            )
        for batch in batches:
            done += batch.num_rows
            tally.bytes_read = before + (size * done // rows if rows else 0)
            for number, text in enumerate(batch.column(batch.schema.get_field_index(text_field)).to_pylist(), 1):
                where = f"{file}, row {done - batch.num_rows + number}"
                yield "" if text is None else _json_text(text, where, text_field)
    except (arrow.ArrowInvalid, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise ClueBenchError(f"{file}: damaged or another kind of file: {reason}", "fetch the file again") from error


def _lines(file: Path, found: Opened, tally: Tally, before: int, *, may_cut: bool) -> Iterator[tuple[str, bool]]:
    """Yield decoded lines without their ends, and whether each continues the one before; count bytes in `tally`."""
    offset, rest, is_piece, num_lines = 0, b"", False, 0
    blocks = _blocks(found.stream)
    while data := rest + next(blocks, b""):
        # Without a line feed at its end it is one line, or the file's last.
        is_full = len(data) >= LONGEST_LINE and not data.endswith(b"\n")
        if not offset and data.startswith(BYTE_ORDER_MARK):
            data, offset = data.removeprefix(BYTE_ORDER_MARK), len(BYTE_ORDER_MARK)
        rest, goes_on, is_piece = b"", is_piece, False
        if is_full:
            if not may_cut:
                raise ClueBenchError(f"{file}: a line of over {LONGEST_LINE} bytes", "split its document")
            data, rest = _cut(data)
            tally.split_lines += 1
            is_piece = True
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            raise _not_utf8(file, data, error, offset=offset, lines=num_lines) from error
        offset += len(data)
        num_lines += data.count(b"\n")
        tally.bytes_read = before + found.raw.tell()
        lines = text.removesuffix("\n").split("\n")
        yield lines[0].rstrip("\r\n"), goes_on
        for line in lines[1:]:
            yield line.rstrip("\r"), False


def _not_utf8(file: Path, data: bytes, error: UnicodeDecodeError, *, offset: int, lines: int) -> ClueBenchError:
    """Return the error of text that does not decode: another encoding as a whole, or damaged in places."""
    line = lines + data.count(b"\n", 0, error.start) + 1
    text = data.decode(errors="replace")
    begin = data[:4]
    if not offset and (begin in _UTF_32 or begin[:2] in (b"\xff\xfe", b"\xfe\xff") or data.count(0) > len(data) // 8):
        wide = "utf-32" if begin in _UTF_32 else "utf-16" if begin[0] >= 0xFE else "utf-16le"
        hint = f"convert the file: iconv -f {wide} -t utf-8 {file.name}"
    elif text.count("\ufffd") > max(1, BAD_SHARE * len(text)):
        hint = f"convert the file: iconv -f gb18030 -t utf-8 {file.name} (or -f big5, … as it was written)"
    else:
        hint = f"correct line {line}: the text around it is UTF-8"
    # The place comes last: it may be long.
    return ClueBenchError(f"{file}, line {line}: invalid UTF-8 at byte {offset + error.start}", hint)


def _blocks(stream: IO[bytes]) -> Iterator[bytes]:
    """Yield whole lines, many at a time, or a piece of LONGEST_LINE bytes of one that is longer."""
    while block := stream.read(min(BLOCK, LONGEST_LINE)):
        start = block.rfind(b"\n") + 1  # of a line that may go on
        if block[:start]:
            yield block[:start]
        if start == len(block):
            continue
        piece = block[start:]
        if len(piece) < LONGEST_LINE:
            piece += stream.readline(LONGEST_LINE - len(piece))
        yield piece
        while len(piece) == LONGEST_LINE and not piece.endswith(b"\n"):
            piece = stream.readline(LONGEST_LINE)
            yield piece


def _cut(data: bytes) -> tuple[bytes, bytes]:
    """Split `data` before its last, perhaps incomplete, character."""
    end = len(data) - 1
    while end > len(data) - 4 and data[end] & 0xC0 == 0x80:
        end -= 1
    return data[:end], data[end:]
