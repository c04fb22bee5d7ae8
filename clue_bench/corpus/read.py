"""Read raw text as documents.

Input: .txt, .txt.gz, .txt.xz in CLUECorpus layout (a sentence or paragraph per line, a blank line between documents)
and .jsonl[.gz|.xz] (one object a line whose "text" is a document), or folders of them. Output: documents, in order,
as lists of lines. UTF-8 with or without byte order mark, LF or CRLF; anything else is an error naming file and byte.

Memory is bounded: a line longer than LONGEST_LINE bytes and a document longer than the caller's limit come in pieces,
and the pieces are counted.
"""

import gzip
import json
import lzma
import math
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

from clue_bench.corpus.text import clean_line
from clue_bench.errors import ClueBenchError

SUFFIXES = (".txt", ".txt.gz", ".txt.xz", ".jsonl", ".jsonl.gz", ".jsonl.xz")
LONGEST_LINE = 4 * 2**20  # bytes; the longest line of CLUECorpus-like text is some tens of kB
BLOCK = 2**18  # bytes read at a time, of as many whole lines
PIECE_CHARACTERS = 2**20  # the longest piece of a document held at a time for a vocabulary
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass
class Tally:
    """Counts of what has been read so far. `bytes_read` counts the files as stored on disk, for progress."""

    bytes_read: int = 0
    split_documents: int = 0
    split_lines: int = 0


class Document(NamedTuple):
    """Lines of one document, or of a piece of one that is longer than the limit."""

    lines: list[str]
    size: int
    """Characters, line ends counted once each."""


def find_inputs(paths: list[Path]) -> tuple[list[Path], list[Path]]:
    """Return the text files in `paths`, folders searched (not recursively), and the ignored files.

    Raises ClueBenchError for a path that does not exist, a file of another kind, or nothing to read at all.
    """
    files: list[Path] = []
    ignored: list[Path] = []
    for path in paths:
        if path.is_dir():
            for child in sorted(path.iterdir()):
                (files if child.is_file() and child.name.endswith(SUFFIXES) else ignored).append(child)
        elif not path.is_file():
            raise ClueBenchError(f"{path}: no such file or folder", "check the path")
        elif not path.name.endswith(SUFFIXES):
            raise ClueBenchError(f"{path}: unknown kind of text file", f"give one of {', '.join(SUFFIXES)}")
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


def read_documents(files: list[Path], *, longest: int, tally: Tally) -> Iterator[Document]:
    """Yield the documents of `files`, none longer than `longest` characters by more than one line."""
    before = 0
    for file in files:
        lines: list[str] = []
        size = 0
        for line in _lines_and_ends(file, tally, before):
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


def read_lines(
    files: list[Path], *, tally: Tally, characters: int | None, on_line: Callable[[], None]
) -> Iterator[str]:
    """Yield the cleaned lines that a corpus would be built from, calling `on_line` after each.

    Stops after the document in which `characters` are reached.
    """
    left = math.inf if characters is None else characters
    for document in read_documents(files, longest=PIECE_CHARACTERS, tally=tally):
        for line in document.lines:
            yield clean_line(line)
            on_line()
            left -= len(line)
        if left <= 0:
            return


def _is_jsonl(file: Path) -> bool:
    """Return whether `file` holds JSON Lines, judged by its suffix."""
    return file.name.removesuffix(".gz").removesuffix(".xz").endswith(".jsonl")


def _lines_and_ends(file: Path, tally: Tally, before: int) -> Iterator[str | None]:
    """Yield the lines of documents that are not blank, and None at every document's end."""
    is_jsonl = _is_jsonl(file)
    for number, (line, goes_on) in enumerate(_lines(file, tally, before), 1):
        if is_jsonl:
            yield from (part for part in _json_text(file, number, line).splitlines() if part.strip())
            yield None
        elif line.strip():
            yield line
        elif not goes_on:  # a blank piece of a long line ends nothing
            yield None


def _json_text(file: Path, number: int, line: str) -> str:
    if not line.strip():
        return ""
    try:
        value: Any = json.loads(line)
    except (ValueError, RecursionError) as error:  # ValueError: JSONDecodeError, or a number of over 4,300 digits
        raise ClueBenchError(f"{file}, line {number}: not JSON: {error}", "write one JSON object a line") from error
    text = value.get("text") if isinstance(value, dict) else None
    if not isinstance(text, str):
        raise ClueBenchError(f"{file}, line {number}: no string under the key 'text'", 'write {"text": "…"}')
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ClueBenchError(
            f"{file}, line {number}: half a character, {text[error.start]!r}", "remove the escape"
        ) from error
    return text


def _lines(file: Path, tally: Tally, before: int) -> Iterator[tuple[str, bool]]:
    """Yield decoded lines without their ends, and whether each continues the one before; count bytes in `tally`."""
    is_jsonl = _is_jsonl(file)
    with file.open("rb") as raw, _decompressed(raw, file) as stream:
        offset, rest, is_piece = 0, b"", False
        blocks = _blocks(file, stream)
        while data := rest + next(blocks, b""):
            # Without a line feed at its end it is one line, or the file's last.
            is_full = len(data) >= LONGEST_LINE and not data.endswith(b"\n")
            if not offset and data.startswith(BYTE_ORDER_MARK):
                data, offset = data.removeprefix(BYTE_ORDER_MARK), len(BYTE_ORDER_MARK)
            rest, goes_on, is_piece = b"", is_piece, False
            if is_full:
                if is_jsonl:
                    raise ClueBenchError(f"{file}: a line of over {LONGEST_LINE} bytes", "split its document")
                data, rest = _cut(data)
                tally.split_lines += 1
                is_piece = True
            try:
                text = data.decode()
            except UnicodeDecodeError as error:
                raise ClueBenchError(
                    f"{file}: invalid UTF-8 at byte {offset + error.start}", "convert the file to UTF-8"
                ) from error
            offset += len(data)
            tally.bytes_read = before + raw.tell()
            lines = text.removesuffix("\n").split("\n")
            yield lines[0].rstrip("\r\n"), goes_on
            for line in lines[1:]:
                yield line.rstrip("\r"), False


def _blocks(file: Path, stream: IO[bytes]) -> Iterator[bytes]:
    """Yield whole lines, many at a time, or a piece of LONGEST_LINE bytes of one that is longer."""
    read = _guarded(file, stream.read)
    readline = _guarded(file, stream.readline)
    while block := read(min(BLOCK, LONGEST_LINE)):
        start = block.rfind(b"\n") + 1  # of a line that may go on
        if block[:start]:
            yield block[:start]
        if start == len(block):
            continue
        piece = block[start:]
        if len(piece) < LONGEST_LINE:
            piece += readline(LONGEST_LINE - len(piece))
        yield piece
        while len(piece) == LONGEST_LINE and not piece.endswith(b"\n"):
            piece = readline(LONGEST_LINE)
            yield piece


def _cut(data: bytes) -> tuple[bytes, bytes]:
    """Split `data` before its last, perhaps incomplete, character."""
    end = len(data) - 1
    while end > len(data) - 4 and data[end] & 0xC0 == 0x80:
        end -= 1
    return data[:end], data[end:]


def _decompressed(raw: IO[bytes], file: Path) -> IO[bytes]:
    if file.suffix == ".gz":
        return cast(IO[bytes], gzip.open(raw))
    if file.suffix == ".xz":
        return cast(IO[bytes], lzma.open(raw))
    return raw


def _guarded(file: Path, read: Callable[[int], bytes]) -> Callable[[int], bytes]:
    """Return `read`, with errors that name damaged archives."""

    def guarded(size: int) -> bytes:
        try:
            return read(size)
        except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
            raise ClueBenchError(f"{file}: damaged or cut short: {error}", "fetch the file again") from error

    return guarded
