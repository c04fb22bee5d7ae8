"""Sentencepiece vocabularies: their model files, as far as a vocabulary needs them, and their encoder.

A `spiece.model` is a protocol buffer whose field 1 repeats the pieces: {1: text, 2: score, 3: type}. The library does
not say which pieces are "user-defined", and those matter: UER's models hold [MASK] and [unused…] as such, and
sentencepiece finds them in any text. So the format is read here, without the protobuf package.

Shapes: N texts, T tokens, C characters.
"""

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from clue_bench.vocab.encoders import (
    CODE_POINTS,
    LINE_FEED,
    Codes,
    Int64s,
    Placed,
    lengths_of,
    text_of,
)

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)  # sentencepiece_model.proto
BLANK = "▁"  # U+2581, which sentencepiece writes for a space

_MODEL_TYPES = {2: "BPE", 3: "word", 4: "char"}
_MARK = re.compile(r"[\[<].*[\]>]")  # [MASK], <mask>: user-defined pieces that no text of a corpus holds
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types


class Piece(NamedTuple):
    """One piece; `type_at` is the place of its type in the file, None where the default, NORMAL, is not written."""

    text: str
    type: int
    type_at: int | None


def read_pieces(model: bytes) -> list[Piece]:
    """Return the pieces of a model file in the order of their ids.

    Raises ValueError, or IndexError where the file ends early, if this is no such file.
    """
    pieces = []
    for field, _, start, end in _fields(model, 0, len(model)):
        if field != 1:
            continue
        text, kind, at = "", NORMAL, None
        for inner, value, begin, finish in _fields(model, start, end):
            if inner == 1:
                text = model[begin:finish].decode()
            elif inner == 3:
                kind, at = value, begin
        pieces.append(Piece(text, kind, at))
    return pieces


def why_not_exported(model: bytes) -> str:
    """Return why `AlbertTokenizer` cannot give this model's ids, "" if it can.

    It is one kind of tokenizer, whatever the model says of itself: unigram pieces with "▁" in front and one unknown
    token of id 1, and words apart at blanks. Names and numbers of fields are those of sentencepiece_model.proto.
    """
    pieces = read_pieces(model)
    trainer, normalizer = _settings(model, 2), _settings(model, 3)
    if trainer.get(3, 1) != 1:
        return f"its model_type is {_MODEL_TYPES.get(trainer[3], trainer[3])}, not unigram"
    if trainer.get(35) or any(piece.type == BYTE for piece in pieces):
        return "it falls back to bytes (byte_fallback)"
    if trainer.get(24):
        return "its blanks stand behind words (treat_whitespace_as_suffix)"
    for field, name in ((3, "add_dummy_prefix"), (4, "remove_extra_whitespaces"), (5, "escape_whitespaces")):
        if not normalizer.get(field, 1):
            return f"{name} is off"
    if [number for number, piece in enumerate(pieces) if piece.type == UNKNOWN] != [1]:
        return "its unknown token has not the id 1"
    if words := [piece.text for piece in pieces if piece.type == USER_DEFINED and not _MARK.fullmatch(piece.text)]:
        return f"its user-defined pieces are text, {words[0]!r}, around which it writes other blanks"
    if any(BLANK in piece.text[1:] for piece in pieces if piece.type == NORMAL):
        return "it has pieces that reach over blanks (split_by_whitespace)"
    return ""


def _settings(model: bytes, number: int) -> dict[int, int]:
    """Return field → value of the integers in the message that is field `number` of a model file."""
    return {
        inner: value
        for field, _, start, end in _fields(model, 0, len(model))
        if field == number
        for inner, value, _, _ in _fields(model, start, end)
    }


def without_symbols(model: bytes) -> bytes:
    """Return the model with its user-defined pieces unused: "[MASK]" in a text is encoded as the text it is.

    Every other text has the same ids as before, since a piece keeps its place.
    """
    changed = bytearray(model)
    for piece in read_pieces(model):
        if piece.type == USER_DEFINED and piece.type_at is not None:
            changed[piece.type_at] = UNUSED
    return bytes(changed)


def _fields(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield number, value (of integers, else 0), begin and end of each field of the message in data[start:end]."""
    at = start
    while at < end:
        key, at = _integer(data, at)
        wire, value, begin = key & 7, 0, at
        if wire == _VARINT:
            value, at = _integer(data, at)
        elif wire == _BYTES:
            length, begin = _integer(data, at)
            at = begin + length
        elif wire in (_FIXED32, _FIXED64):
            at += 4 if wire == _FIXED32 else 8
        else:
            raise ValueError(f"no protocol buffer: wire type {wire} at byte {at}")
        if at > end:
            raise ValueError(f"a field reaches beyond byte {end}")
        yield key >> 3, value, begin, at


def _integer(data: bytes, at: int) -> tuple[int, int]:
    """Return the variable-length integer at `at`, and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


class SentencePieceEncoder:
    """Encodes with sentencepiece; ids are the library's own.

    The library's offsets cost five times what its ids cost (200 ms/MB against 39), because every token becomes a
    Python tuple. Where every character is normalised by itself, a token's place follows from the widths of those
    before it: of the pieces on one side, of the characters on the other. Only the other texts ask the library.
    """

    def __init__(self, model: bytes, *, special_tokens: bool) -> None:
        """Take a model file; without `special_tokens`, "[MASK]" in a text is text."""
        import sentencepiece  # here, for those who have WordPiece only

        used = model if special_tokens else without_symbols(model)
        self._processor = sentencepiece.SentencePieceProcessor(model_proto=used)
        texts = self._processor.id_to_piece(list(range(len(self._processor))))
        self._piece_widths = lengths_of(texts)
        self._widths = WidthTable(self._processor.normalize)

    def ids(self, texts: list[str]) -> list[list[int]]:
        """Return the ids of each text."""
        ids: list[list[int]] = self._processor.encode(texts, num_threads=1)  # a build has a process per core already
        return ids

    def encode_lines(self, codes: Codes) -> Placed:
        """Return ids and places, line by line; the "▁" before a line begins where the line does."""
        texts, ends = text_of(codes).split("\n")[:-1], np.flatnonzero(codes == LINE_FEED)
        arrays: list[npt.NDArray[np.int32]] = self._processor.encode(texts, num_threads=1, return_type="numpy")
        ids = np.concatenate([np.empty(0, dtype=np.int64), *arrays])
        lengths = np.fromiter(map(len, arrays), np.int64, count=len(arrays))
        begins = ends - np.diff(ends, prepend=-1) + 1
        widths = self._widths.widths(codes)
        widths[ends] = 0
        is_clear = np.ones(len(texts), dtype=np.bool_)
        unclear = np.flatnonzero(widths < 0)
        is_clear[np.searchsorted(ends, unclear)] = False
        widths[unclear] = 0
        # What is cut is "▁" and the normalised text. `before`: (C+1,) of all texts without "▁", before a character.
        before = _offsets(widths)
        spans = self._spans(texts, ids, lengths)
        cuts = _offsets(spans)
        firsts = np.cumsum(lengths) - lengths
        is_clear &= cuts[firsts + lengths] - cuts[firsts] == before[ends] - before[begins] + 1
        first_cuts = np.repeat(cuts[firsts] + 1 - before[begins], lengths)
        wanted = np.maximum(cuts[:-1] - first_cuts, np.repeat(before[begins], lengths))
        characters = np.append(np.repeat(np.arange(len(codes)), widths), len(codes) - 1)
        at = characters[np.minimum(wanted, len(characters) - 1)]
        others = np.flatnonzero(~is_clear & (lengths > 0)).tolist()
        asked = self._processor.encode([texts[n] for n in others], return_type="offset_mapping", num_threads=1)
        for n, found in zip(others, asked, strict=True):
            starts = [start for start, _ in found["offsets"]]
            at[firsts[n] : firsts[n] + lengths[n]] = begins[n] + np.array(starts, dtype=np.int64)
        return Placed(ids, at)

    def _spans(self, texts: list[str], ids: Int64s, lengths: Int64s) -> Int64s:
        """Return (T,) how much of the normalised text each token stands for.

        An unknown token stands for any number of characters. What the others of its text leave is divided among the
        unknown ones where there is one way to do so: there is one of them, or each is one character. Else they are
        given none, which agrees with no total.
        """
        spans = self._piece_widths[ids]
        unknown = np.flatnonzero(ids == self._processor.unk_id())
        spans[unknown] = 0
        sums, ends = _offsets(spans), np.cumsum(lengths)
        owners, numbers = np.unique(np.searchsorted(ends, unknown, side="right"), return_counts=True)
        others = sums[ends[owners]] - sums[ends[owners] - lengths[owners]]
        left = np.fromiter((len(self._processor.normalize(texts[n])) for n in owners), np.int64) - others
        each = np.where(numbers == 1, np.maximum(left, 0), numbers == left)
        spans[unknown] = np.repeat(each, numbers)
        return spans


class WidthTable:
    """How many characters each character becomes when text is normalised, asked of `normalize` once each."""

    def __init__(self, normalize: Callable[[str], str]) -> None:
        self._normalize = normalize
        self._table = np.zeros(CODE_POINTS, dtype=np.int8)  # width + 2; 0 is unseen

    def widths(self, codes: Codes) -> npt.NDArray[np.int8]:
        """Return (C,) the widths, -1 for a character whose width depends on the text around it."""
        found = self._table[codes]
        if not found.all():
            new = np.unique(codes[found == 0])
            for code, character in zip(new.tolist(), text_of(new), strict=True):
                self._table[code] = self._width(character) + 2
            found = self._table[codes]
        return found - np.int8(2)

    def _width(self, character: str) -> int:
        normal = self._normalize(f"a{character}a")
        width = len(normal) - len("▁aa")
        is_apart = normal.startswith("▁a") and normal.endswith("a") and 0 < width < 100
        # A blank beside a blank is dropped.
        return width if is_apart and (character == " " or "▁" not in normal[1:]) else -1


def _offsets(lengths: npt.NDArray[np.int8] | Int64s) -> Int64s:
    """Return where each begins, and where the last ends."""
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets
