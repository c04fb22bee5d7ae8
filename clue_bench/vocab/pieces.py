"""The model files of sentencepiece, as far as a vocabulary needs them.

Input: the bytes of a `spiece.model`, a protocol buffer whose field 1 repeats the pieces: {1: text, 2: score, 3: type}.
Output: the pieces with their types, and the same model for which special tokens in a text are text.

The library itself does not say which pieces are "user-defined", and those matter: UER's models hold [MASK] and
[unused…] as such, and sentencepiece finds them in any text. The format is read here, without the protobuf package.
"""

from collections.abc import Iterator
from typing import NamedTuple

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)  # sentencepiece_model.proto
BLANK = "▁"  # U+2581, which sentencepiece writes for a space

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
