"""From text to ids, and to the places where tokens begin.

Shapes: N texts, T tokens of all of them together, C characters. Offsets count characters of the text as it was given,
so they can be compared with those of words, whatever the tokenizer made of case, accents and width.

An encoder is a resource: slow to make, not to be passed between processes. `Vocabulary.encoder` makes one.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from clue_bench.vocab import pieces
from clue_bench.vocab.table import CODE_POINTS, CharacterTable, Codes, Int64s, Placed, codes_of, text_of

LINE_FEED = ord("\n")


class Tokens(NamedTuple):
    """The tokens of N texts, one after the other."""

    ids: Int64s
    """(T,)"""
    lengths: Int64s
    """(N,) Tokens of each text; 0 where nothing is left of it."""
    starts: Int64s
    """(T,) Characters of its text before a token. Tokens that share a character, "3" and "." of "⒊", share it."""


class Encoder(Protocol):
    """What turns texts into ids, without [CLS] and [SEP]."""

    def ids(self, texts: list[str]) -> list[list[int]]:
        """Return the ids of each text."""
        ...

    def tokens(self, texts: list[str]) -> Tokens:
        """Return the same ids, with the place in its text where each token begins."""
        ...

    def encode_lines(self, codes: Codes) -> Placed:
        """Return ids and places of the tokens of text whose lines each end with a line feed; none reaches across one.

        The fast way for much text. `codes`: (C,) code points.
        """
        ...


class WordPieceEncoder:
    """Encodes by table what a table can tell, the rest with the Rust tokenizer of a WordPiece vocabulary."""

    def __init__(self, tokenizer: Tokenizer, *, symbols: tuple[str, ...]) -> None:
        """Take `symbols`, which the tokenizer finds in a text before anything else."""
        self._tokenizer = tokenizer
        self._table = CharacterTable(tokenizer)
        self._symbols = symbols

    def ids(self, texts: list[str]) -> list[list[int]]:
        """Return the ids of each text."""
        found = self._by_table(texts)
        if found is None:
            return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
        (ids, at), firsts = found
        flat, cuts = ids.tolist(), [*np.searchsorted(at, firsts).tolist(), len(ids)]
        return [flat[start:end] for start, end in pairwise(cuts)]

    def tokens(self, texts: list[str]) -> Tokens:
        """Return ids and starts. Offsets refer to the text before it was lower-cased and stripped."""
        found = self._by_table(texts)
        if found is not None:
            (ids, at), firsts = found
            lengths = np.diff(np.searchsorted(at, firsts), append=len(ids))
            return Tokens(ids, lengths, at - np.repeat(firsts, lengths))
        encodings = self._tokenizer.encode_batch(texts, add_special_tokens=False)
        arrays = [np.array(encoding.ids, dtype=np.int64) for encoding in encodings]
        starts = [start for encoding in encodings for start, _ in encoding.offsets]
        return Tokens(*_joined(arrays), np.array(starts, dtype=np.int64))

    def encode_lines(self, codes: Codes) -> Placed:
        """Return ids and places: a line feed ends a word as any blank does."""
        assert not self._symbols, "text with symbols is encoded text by text"
        return self._table.encode(codes)

    def _by_table(self, texts: list[str]) -> tuple[Placed, Int64s] | None:
        """Return the tokens of the texts and where each text begins, None if only the library can tell."""
        joined = "\n".join(texts)
        if any(symbol in joined for symbol in self._symbols):
            return None
        try:
            codes = codes_of(joined)
        except UnicodeEncodeError:  # half a character: the library's own error
            return None
        lengths = _lengths(texts) + 1
        return self._table.encode(codes), np.cumsum(lengths) - lengths


class SentencePieceEncoder:
    """Encodes with sentencepiece; ids are the library's own.

    The library's offsets cost five times what its ids cost (200 ms/MB against 39), because every token becomes a
    Python tuple. Where every character is normalised by itself, a token's place follows from the widths of those
    before it: of the pieces on one side, of the characters on the other. Only the other texts ask the library.
    """

    def __init__(self, model: bytes) -> None:
        import sentencepiece  # here, for those who have WordPiece only

        self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        texts = self._processor.id_to_piece(list(range(len(self._processor))))
        self._piece_widths = _lengths(texts)
        self._widths = WidthTable(self._processor.normalize)

    def ids(self, texts: list[str]) -> list[list[int]]:
        """Return the ids of each text."""
        ids: list[list[int]] = self._processor.encode(texts, num_threads=1)  # a build has a process per core already
        return ids

    def tokens(self, texts: list[str]) -> Tokens:
        """Return ids and starts; the "▁" before a text begins where the text does."""
        ends = np.cumsum(_lengths(texts) + 1) - 1
        tokens, lengths = self._place(texts, codes_of("".join(f"{text}\n" for text in texts)), ends)
        return Tokens(tokens.ids, lengths, tokens.at - np.repeat(ends - _lengths(texts), lengths))

    def encode_lines(self, codes: Codes) -> Placed:
        """Return ids and places, line by line."""
        tokens, _ = self._place(text_of(codes).split("\n")[:-1], codes, np.flatnonzero(codes == LINE_FEED))
        return tokens

    def _place(self, texts: list[str], codes: Codes, ends: Int64s) -> tuple[Placed, Int64s]:
        """Return the tokens and (N,) how many each text has. `codes`: (C,) the texts, each with one more at `ends`."""
        arrays: list[npt.NDArray[np.int32]] = self._processor.encode(texts, num_threads=1, return_type="numpy")
        ids, lengths = _joined(arrays)
        begins = ends - np.diff(ends, prepend=-1) + 1
        widths = self._widths.of(codes)
        widths[ends] = 0
        is_told = np.ones(len(texts), dtype=np.bool_)
        untold = np.flatnonzero(widths < 0)
        is_told[np.searchsorted(ends, untold)] = False
        widths[untold] = 0
        # What is cut is "▁" and the normalised text. `before`: (C+1,) of all texts without "▁", before a character.
        before = _offsets(widths)
        spans = self._spans(texts, ids, lengths)
        cuts = _offsets(spans)
        firsts = np.cumsum(lengths) - lengths
        is_told &= cuts[firsts + lengths] - cuts[firsts] == before[ends] - before[begins] + 1
        first_cuts = np.repeat(cuts[firsts] + 1 - before[begins], lengths)
        wanted = np.maximum(cuts[:-1] - first_cuts, np.repeat(before[begins], lengths))
        characters = np.append(np.repeat(np.arange(len(codes)), widths), len(codes) - 1)
        at = characters[np.minimum(wanted, len(characters) - 1)]
        others = np.flatnonzero(~is_told & (lengths > 0)).tolist()
        asked = self._processor.encode([texts[n] for n in others], return_type="offset_mapping", num_threads=1)
        for n, found in zip(others, asked, strict=True):
            starts = [start for start, _ in found["offsets"]]
            at[firsts[n] : firsts[n] + lengths[n]] = begins[n] + np.array(starts, dtype=np.int64)
        return Placed(ids, at), lengths

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

    def of(self, codes: Codes) -> npt.NDArray[np.int8]:
        """Return (C,) the widths, -1 for a character that only the text around it can tell."""
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


def encoder_of_model(model: bytes, *, special_tokens: bool) -> SentencePieceEncoder:
    """Return the encoder of a model file; without `special_tokens`, "[MASK]" in a text is text."""
    return SentencePieceEncoder(model if special_tokens else pieces.without_symbols(model))


def _lengths(texts: list[str]) -> Int64s:
    """Return (N,) how many characters each text has."""
    return np.fromiter(map(len, texts), np.int64, count=len(texts))


def _joined(arrays: list[npt.NDArray[np.int32]] | list[Int64s]) -> tuple[Int64s, Int64s]:
    """Return all ids, (T,), and how many each text has, (N,)."""
    lengths = np.fromiter(map(len, arrays), np.int64, count=len(arrays))
    return np.concatenate([np.empty(0, dtype=np.int64), *arrays]), lengths


def _offsets(lengths: npt.NDArray[np.int8] | Int64s) -> Int64s:
    """Return where each begins, and where the last ends."""
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets
