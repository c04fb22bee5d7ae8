"""From text to ids, and to the places where tokens begin.

Shapes: N texts, T tokens of all of them together. Offsets count characters of the text as it was given, so they can be
compared with those of words, whatever the tokenizer made of case, accents and width.

An encoder is a resource: slow to make, not to be passed between processes. `Vocabulary.encoder` makes one.
"""

from itertools import chain
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from clue_bench.vocab import pieces

Int64s = npt.NDArray[np.int64]


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
        """Return the ids of each text: the fast way."""
        ...

    def tokens(self, texts: list[str]) -> Tokens:
        """Return the same ids, with the place in its text where each token begins."""
        ...


class WordPieceEncoder:
    """Encodes with the Rust tokenizer of a WordPiece vocabulary."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    def ids(self, texts: list[str]) -> list[list[int]]:
        """Return the ids of each text."""
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)]

    def tokens(self, texts: list[str]) -> Tokens:
        """Return ids and starts. The Rust offsets refer to the text before it was lower-cased and stripped."""
        encodings = self._tokenizer.encode_batch(texts, add_special_tokens=False)
        ids, lengths = _flat([encoding.ids for encoding in encodings])
        spans = chain.from_iterable(chain.from_iterable(encoding.offsets for encoding in encodings))
        return Tokens(ids, lengths, np.fromiter(spans, np.int64, count=2 * len(ids))[::2])


class SentencePieceEncoder:
    """Encodes with sentencepiece; ids are the library's own.

    The library's offsets cost thirteen times what its ids cost (4.7 s against 0.37 s for 3.25 million characters),
    because every token becomes a Python tuple. In 96 % of the sentences of real text a piece is as long as the text
    that it stands for, and its place follows from the lengths of those before it. Only the others ask the library.
    """

    def __init__(self, model: bytes) -> None:
        import sentencepiece  # here, for those who have WordPiece only

        self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        texts = self._processor.id_to_piece(list(range(len(self._processor))))
        self._widths = np.fromiter(map(len, texts), np.int64, count=len(texts))
        self._even: set[str] = set()
        self._uneven: set[str] = set()

    def ids(self, texts: list[str]) -> list[list[int]]:
        """Return the ids of each text."""
        ids: list[list[int]] = self._processor.encode(texts, num_threads=1)  # a build has a process per core already
        return ids

    def tokens(self, texts: list[str]) -> Tokens:
        """Return ids and starts; the "▁" before a text begins where the text does."""
        ids, lengths = _flat(self.ids(texts))
        firsts = np.cumsum(lengths) - lengths
        widths = self._widths[ids]
        ends = np.concatenate([[0], np.cumsum(widths)])
        # What sentencepiece cuts is "▁" and the text: one character more.
        starts = np.maximum(ends[:-1] - np.repeat(ends[firsts], lengths) - 1, 0)
        total = ends[firsts + lengths] - ends[firsts]
        is_unknown = np.concatenate([[0], np.cumsum(ids == self._processor.unk_id())])
        has_unknown = is_unknown[firsts + lengths] > is_unknown[firsts]  # whose width is not that of "[UNK]"
        as_long = total == np.fromiter(map(len, texts), np.int64, count=len(texts)) + 1
        others = [n for n in range(len(texts)) if not (as_long[n] and not has_unknown[n] and self._is_even(texts[n]))]
        asked = self._processor.encode([texts[n] for n in others], return_type="offset_mapping", num_threads=1)
        for n, found in zip(others, asked, strict=True):
            starts[firsts[n] : firsts[n] + lengths[n]] = [start for start, _ in found["offsets"]]
        return Tokens(ids, lengths, starts)

    def _is_even(self, text: str) -> bool:
        """Whether every character is written as one character: "，" as "," is, "…" as "..." or "ﬁ" as "fi" is not."""
        if self._even.issuperset(text):
            return True
        for character in set(text) - self._even:
            is_even = len(self._processor.normalize(f"a{character}a")) == len(f"▁a{character}a")
            (self._even if is_even else self._uneven).add(character)
        return self._uneven.isdisjoint(text)


def encoder_of_model(model: bytes, *, special_tokens: bool) -> SentencePieceEncoder:
    """Return the encoder of a model file; without `special_tokens`, "[MASK]" in a text is text."""
    return SentencePieceEncoder(model if special_tokens else pieces.without_symbols(model))


def _flat(ids: list[list[int]]) -> tuple[Int64s, Int64s]:
    """Return all ids, (T,), and how many each text has, (N,)."""
    lengths = np.fromiter(map(len, ids), np.int64, count=len(ids))
    return np.fromiter(chain.from_iterable(ids), np.int64, count=int(lengths.sum())), lengths
