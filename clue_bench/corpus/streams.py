"""Open text files as streams of bytes, whatever they are compressed with and however their lines end.

Input: a file, plain, .gz or .xz. Output: its bytes, with LF or CRLF at the ends of lines, and where in the file they
are. Damage is an error that names file and place, never an early end.
"""

import gzip
import io
import logging
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

from clue_bench.errors import ClueBenchError
from clue_bench.files import BEGINNING, refuse_pointer
from clue_bench.numbers import article

log = logging.getLogger(__name__)

BLOCK = 2**18  # bytes read at a time
_ARCHIVES = {
    b"\x1f\x8b": ("gzip", ".gz"),
    b"\xfd7zXZ\0": ("xz", ".xz"),
    b"PK\x03\x04": ("zip", ""),
    b"BZh91AY&SY": ("bzip2", ""),
    b"(\xb5/\xfd": ("zstd", ""),
}
"""First bytes → kind of archive, and the ending of its name where it can be read as it is."""


class Opened(NamedTuple):
    """A file's decompressed bytes, their beginning, and the file itself, whose `tell` says how much of it is read."""

    stream: IO[bytes]
    head: bytes
    raw: IO[bytes]


@contextmanager
def opened(file: Path) -> Iterator[Opened]:
    """Open `file` while the block runs. Raises ClueBenchError, also from within, if the archive is damaged."""
    with file.open("rb", buffering=BLOCK) as raw:
        refuse_pointer(raw.read(BEGINNING), file)
        raw.seek(0)
        try:
            stream = _decompressed(raw, file)
            head = stream.peek(BLOCK)
            if head.count(b"\r") - head.count(b"\r\n") > head.count(b"\n"):
                log.warning("%s: its lines end with CR alone, which is read as the end of a line", file)
                stream = io.BufferedReader(_CarriageReturns(stream), BLOCK)
                head = stream.peek(BLOCK)
            yield Opened(cast(IO[bytes], stream), head, raw)
        except (EOFError, lzma.LZMAError, zlib.error, gzip.BadGzipFile) as error:
            raise ClueBenchError(f"{file}: damaged or cut short: {error}", "fetch the file again") from error


def _decompressed(raw: IO[bytes], file: Path) -> Any:
    """Return the text in a file. Raises ClueBenchError if its name says something else than its first bytes."""
    start = raw.read(BEGINNING)
    raw.seek(0)
    kind, fitting = next((what for begin, what in _ARCHIVES.items() if start.startswith(begin)), ("", ""))
    named = file.suffix.lower() if file.suffix.lower() in (".gz", ".xz") else ""
    if kind and (named != fitting or not fitting):
        way = f"rename it so that it ends in {fitting}" if fitting else "unpack it, and give what is in it"
        raise ClueBenchError(f"{file}: {article(kind)} archive by its first bytes", way)
    if named and start and not kind:
        raise ClueBenchError(
            f"{file}: damaged, or no {named[1:]} archive",
            f"fetch the file again, or take {named} off its name if it is plain text",
        )
    if named == ".gz":
        return gzip.open(raw)
    return io.BufferedReader(_XzStreams(raw), BLOCK) if named else raw


class _XzStreams(io.RawIOBase):
    """Every stream of an .xz file, with the padding that may stand between them.

    `lzma.open` takes whatever follows a stream and is none, padding or damage, for the end of the file.
    """

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw, self._rest, self._start = raw, b"", 0
        self._decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = b""
        while not data and not (self._decoder.eof and not self._enters_next_stream()):
            piece = b""
            if self._decoder.needs_input:
                piece, self._rest = self._rest or self._raw.read(BLOCK), b""
                if not piece:
                    raise EOFError(f"it ends in the middle of the stream that begins at byte {self._start:,}")
            try:
                data = self._decoder.decompress(piece, len(buffer))
            except lzma.LZMAError as error:
                raise lzma.LZMAError(f"{error}, in the stream that begins at byte {self._start:,}") from error
            if self._decoder.eof:
                self._rest = self._decoder.unused_data
        buffer[: len(data)] = data
        return len(data)

    def _enters_next_stream(self) -> bool:
        """Skip padding, groups of four zero bytes; return whether anything follows."""
        padding = 0
        while self._rest or (piece := self._raw.read(BLOCK)):
            rest = self._rest or piece
            self._rest = rest.lstrip(b"\0")
            padding += len(rest) - len(self._rest)
            if self._rest:
                break
        if padding % 4:
            raise lzma.LZMAError(
                f"{padding} bytes of padding, no multiple of 4, behind the stream that begins at byte {self._start:,}"
            )
        if self._rest:
            self._start = self._raw.tell() - len(self._rest)
            self._decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ)
        return bool(self._rest)


class _CarriageReturns(io.RawIOBase):
    """Bytes with LF in place of CR and CRLF."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._follows_cr = stream, False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = b""
        while not data and (piece := self._stream.read(len(buffer))):
            data = piece.removeprefix(b"\n") if self._follows_cr else piece
            self._follows_cr = piece.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        buffer[: len(data)] = data
        return len(data)
