"""Encode text as ids, with the places where tokens begin: the interface of encoders, and WordPiece's encoder.

Shapes: N texts, T tokens of all of them together, C characters, R runs. Offsets count characters of the text as it was
given, so they can be compared with those of words, whatever the tokenizer made of case, accents and width.

An encoder is a resource: slow to make, not to be passed between processes. `Vocabulary.encoder` makes one.

WordPiece ids come from a table, exactly as the Rust tokenizer gives them. Some 90 % of the characters of Chinese text
are words by themselves: Chinese characters, punctuation and blanks, which BERT's splitter cuts off on both sides
whatever stands there. Each has one id, or none, and is looked up. What lies between them, mostly digits and Latin
letters, is a run: a run is encoded apart from the rest, once, and remembered. The library itself says which characters
are words, when they are first met, so no rule is written twice. It says so of one character at a time, because its
steps (dropping controls, setting Chinese apart, dropping accents, lower case, splitting) each look at one character;
tests/vocab/test_encoders.py compares ids on any text.
"""

from itertools import pairwise, repeat
from threading import Lock
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

CODE_POINTS = 0x110000
REMEMBERED = 2**20
"""Characters of runs, of about six each: some 40 MB. Beyond it all are forgotten, and met again where they recur."""
LINE_FEED, BLANK = map(ord, "\n ")

_UNSEEN, _RUN, _NOTHING, _FIRST_ID = range(4)  # zeros take no memory until they are written

Codes = npt.NDArray[np.uint32]
Int64s = npt.NDArray[np.int64]


class Placed(NamedTuple):
    """Tokens of a text and where each begins, in characters of the text as it was given."""

    ids: Int64s
    """(T,)"""
    at: Int64s
    """(T,) Characters of the text before a token; never falling. Tokens that share a character, "3" and "." of "⒊",
    share it."""


class TextEncoder(Protocol):
    """What turns texts into ids, without [CLS] and [SEP]."""

    def ids(self, texts: list[str]) -> list[list[int]]:
        """Return the ids of each text."""
        ...

    def encode_lines(self, codes: Codes) -> Placed:
        """Return ids and places of the tokens of text whose lines each end with a line feed; none reaches across one.

        The fast way for much text. `codes`: (C,) code points.
        """
        ...


def codes_of(text: str) -> Codes:
    """Return (C,) the code points of `text`. Raises UnicodeEncodeError for half a surrogate pair."""
    return np.frombuffer(text.encode("utf-32-le"), dtype="<u4")


def text_of(codes: Codes) -> str:
    """Return the text of (C,) code points."""
    return codes.tobytes().decode("utf-32-le")


def lengths_of(texts: list[str]) -> Int64s:
    """Return (N,) how many characters each text has."""
    return np.fromiter(map(len, texts), np.int64, count=len(texts))


class WordPieceEncoder:
    """Encodes by table what a table can tell, the rest with the Rust tokenizer of a WordPiece vocabulary."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        symbols: tuple[str, ...],
        added: tuple[str, ...] = (),
        needs_library: bool = False,
    ) -> None:
        """Take `symbols` and `added` tokens, which the tokenizer finds in a text before anything else.

        Lines hold no symbols. `needs_library`: its steps look at more than one character, so that no table can help.
        """
        self._tokenizer = tokenizer
        self._table = CharacterTable(tokenizer)
        self._symbols = (*symbols, *added)
        self._added, self._needs_library = added, needs_library

    def ids(self, texts: list[str]) -> list[list[int]]:
        """Return the ids of each text."""
        found = self._by_table(texts)
        if found is None:
            return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
        (ids, at), firsts = found
        flat, cuts = ids.tolist(), [*np.searchsorted(at, firsts).tolist(), len(ids)]
        return [flat[start:end] for start, end in pairwise(cuts)]

    def encode_lines(self, codes: Codes) -> Placed:
        """Return ids and places: a line feed ends a word as any blank does."""
        assert len(self._symbols) == len(self._added), "text with symbols is encoded text by text"
        if not self._added and not self._needs_library:
            return self._table.encode(codes)
        text = text_of(codes)
        if not self._needs_library and not any(token in text for token in self._added):
            return self._table.encode(codes)
        lines = text.split("\n")[:-1]
        ends = np.cumsum(lengths_of(lines) + 1)
        encodings = self._tokenizer.encode_batch(lines, add_special_tokens=False)
        counts = np.fromiter((len(encoding.ids) for encoding in encodings), np.int64, count=len(lines))
        ids = np.fromiter((index for encoding in encodings for index in encoding.ids), np.int64, count=counts.sum())
        starts = np.fromiter((at for encoding in encodings for at, _ in encoding.offsets), np.int64, count=counts.sum())
        return Placed(ids, starts + np.repeat(ends - lengths_of(lines) - 1, counts))

    def _by_table(self, texts: list[str]) -> tuple[Placed, Int64s] | None:
        """Return the tokens of the texts and where each text begins, None if only the library can encode them."""
        if self._needs_library:
            return None
        joined = "\n".join(texts)
        if any(symbol in joined for symbol in self._symbols):
            return None
        try:
            codes = codes_of(joined)
        except UnicodeEncodeError:  # half a character: the library's own error
            return None
        lengths = lengths_of(texts) + 1
        return self._table.encode(codes), np.cumsum(lengths) - lengths


class _Memory(NamedTuple):
    """Runs that were met. Tokens firsts[r] … firsts[r] + counts[r] of `ids` and `starts` are those of run r."""

    firsts: Int64s
    counts: Int64s
    ids: Int64s
    starts: Int64s


class CharacterTable:
    """Encodes with a table of the characters that are words, and a memory of the runs between them."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._table = np.zeros(CODE_POINTS, dtype=np.int32)
        self._lock = Lock()  # a server's threads share an encoder
        self._rows: dict[str, int] = {}
        self._remembered = 0
        self._memory = _no_runs()

    def encode(self, codes: Codes) -> Placed:
        """Return the tokens of (C,) code points."""
        with self._lock:
            found = self._table[codes]
            if not found.all():
                self._learn(np.unique(codes[found == _UNSEEN]))
                found = self._table[codes]
            is_word = found >= _FIRST_ID
            words = Placed(found[is_word].astype(np.int64) - _FIRST_ID, np.flatnonzero(is_word))
            in_run = np.flatnonzero(found == _RUN)
            return _merged(words, self._encode_runs(codes, in_run)) if len(in_run) else words

    def _learn(self, codes: Codes) -> None:
        """Enter characters into the table: what is a word between any two others is one between two letters."""
        for code, character in zip(codes.tolist(), text_of(codes), strict=True):
            normal = self._tokenizer.normalizer.normalize_str(f"a{character}a")
            split = [word for word, _ in self._tokenizer.pre_tokenizer.pre_tokenize_str(normal)]
            ids = self._tokenizer.encode(character, add_special_tokens=False).ids
            if len(split) < 2 or split[0] != "a" or split[-1] != "a" or len(ids) > 1 or len(ids) != len(split) - 2:
                self._table[code] = _RUN
            else:
                self._table[code] = _FIRST_ID + ids[0] if ids else _NOTHING

    def _encode_runs(self, codes: Codes, in_run: Int64s) -> Placed:
        """Return the tokens of the runs; `in_run` holds the places of their characters."""
        is_first = np.diff(in_run, prepend=-2) != 1
        # A blank is never part of a run: written between them, one split gives them all.
        separated = np.full(len(in_run) + int(is_first.sum()), BLANK, dtype=np.uint32)
        separated[np.arange(len(in_run)) + np.cumsum(is_first)] = codes[in_run]
        rows = self._rows_of(text_of(separated[1:]).split(" "))
        memory = self._memory
        counts = memory.counts[rows]
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        source = np.repeat(memory.firsts[rows], counts) + within
        return Placed(memory.ids[source], np.repeat(in_run[is_first], counts) + memory.starts[source])

    def _rows_of(self, runs: list[str]) -> Int64s:
        """Return (R,) the row of each run, after entering those that are new."""
        rows = np.fromiter(map(self._rows.get, runs, repeat(-1)), np.int64, count=len(runs))
        if (rows >= 0).all():
            return rows
        if self._remembered > REMEMBERED:
            self._forget()
        new = [run for run in dict.fromkeys(runs) if run not in self._rows]
        encodings = self._tokenizer.encode_batch(new, add_special_tokens=False)
        counts = np.fromiter((len(encoding.ids) for encoding in encodings), np.int64, count=len(new))
        total = int(counts.sum())
        ids = np.fromiter((index for encoding in encodings for index in encoding.ids), np.int64, count=total)
        starts = np.fromiter((start for encoding in encodings for start, _ in encoding.offsets), np.int64, count=total)
        added = _Memory(len(self._memory.ids) + np.cumsum(counts) - counts, counts, ids, starts)
        self._memory = _Memory(*(np.concatenate(both) for both in zip(self._memory, added, strict=True)))
        self._rows.update(zip(new, range(len(self._rows), len(self._rows) + len(new)), strict=True))
        self._remembered += sum(map(len, new))
        return np.fromiter(map(self._rows.__getitem__, runs), np.int64, count=len(runs))

    def _forget(self) -> None:
        """Start with no run remembered."""
        self._rows.clear()
        self._remembered = 0
        self._memory = _no_runs()


def _no_runs() -> _Memory:
    return _Memory(*[np.empty(0, dtype=np.int64)] * 4)


def _merged(words: Placed, runs: Placed) -> Placed:
    """Return the tokens of both in the order of the text; none of one begins inside a token of the other."""
    number = len(words.ids) + len(runs.ids)
    is_word = np.ones(number, dtype=np.bool_)
    is_word[np.searchsorted(words.at, runs.at) + np.arange(len(runs.at))] = False
    both = Placed(np.empty(number, dtype=np.int64), np.empty(number, dtype=np.int64))
    for merged, of_words, of_runs in zip(both, words, runs, strict=True):
        merged[is_word], merged[~is_word] = of_words, of_runs
    return both
