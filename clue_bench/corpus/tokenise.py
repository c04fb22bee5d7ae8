"""From the text of one shard to its arrays.

Input: documents as text, a blank line after each. Output: what `shards.write_shard` takes: ids, offsets of documents
and sentences, word starts, counts. The steps: clean, split into sentences, encode, find the words; each over all the
characters of a piece of text at once, as arrays of code points.

Words are the vocabulary's, or rjieba's (jieba in Rust, Apache-2.0 and MIT). It cuts text as it stands, blanks and line
feeds being words too, and looks at each stretch of Chinese characters, letters and digits by itself, so that lines cut
together are cut as one by one. A token starts a word if its first character is a word's first, or if it is its text's
first token. So a token that begins inside a word belongs to it, even where it reaches into the next; and of two tokens
that begin at the same character ("▁" and what follows it, or the "3" and "." of "⒊"), the second starts no word.

Shapes: C characters, T tokens, S sentences, D documents.
"""

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from clue_bench.corpus.text import LINE_FEED, clean_lines, sentence_starts
from clue_bench.doors import shards
from clue_bench.vocab import TextEncoder, Vocabulary, codes_of, text_of

REPLACEMENT = 0xFFFD
PIECE_CHARACTERS = 2**16  # some 3 MB of arrays, which stay in the processor's cache

Segmenter = Literal["rjieba"]
Int64s = npt.NDArray[np.int64]


class Piece(NamedTuple):
    """The tokens of some whole lines."""

    ids: shards.Ids
    """(T,)"""
    starts_word: npt.NDArray[np.bool_]
    """(T,)"""
    lengths: Int64s
    """(S,) Tokens of each sentence, perhaps none."""
    sizes: Int64s
    """(S,) Characters of each sentence after cleaning."""
    ends: Int64s
    """(D,) Sentences before the end of each document that ends here."""
    lost: int
    """Replacement characters: what stood there was lost before."""


def tokenise(text: str, vocab: Vocabulary, encoder: TextEncoder, words: Segmenter | None = None) -> dict[str, Any]:
    """Return ids, offsets, word starts and counts of documents that are lines, each with a blank line after it.

    Documents of which no token is left are dropped and counted.
    """
    pieces = [_encode(piece, vocab, encoder, words) for piece in _pieces(text)]
    ids, starts_word, lengths, sizes = (np.concatenate(arrays) for arrays in list(zip(*pieces, strict=True))[:4])
    sentences = np.cumsum([0, *(len(piece.lengths) for piece in pieces)])[:-1]
    ends = np.concatenate([piece.ends + before for piece, before in zip(pieces, sentences.tolist(), strict=True)])
    document_lengths = np.diff(_offsets(lengths)[ends], prepend=0)
    characters = np.diff(_offsets(sizes)[ends], prepend=0)
    is_kept = document_lengths > 0
    counts = shards.Counts(
        documents=int(is_kept.sum()),
        sentences=int((lengths > 0).sum()),
        words=int(starts_word.sum()),
        tokens=len(ids),
        characters=int(characters[is_kept].sum()),
        unknown_tokens=int((ids == vocab.unknown).sum()),
        lost_characters=sum(piece.lost for piece in pieces),
        dropped_documents={} if is_kept.all() else {"empty": int((~is_kept).sum())},
    )
    return {
        "ids": ids,
        "documents": _offsets(document_lengths[is_kept]),
        "sentences": _offsets(lengths[lengths > 0]),
        "starts_word": starts_word,
        "counts": counts,
    }


def _pieces(text: str) -> Iterator[str]:
    """Cut text after line ends into pieces of PIECE_CHARACTERS, longer ones only where a line is."""
    start = 0
    while start < len(text):
        end = text.find("\n", start + PIECE_CHARACTERS) + 1 or len(text)
        yield text[start:end]
        start = end


def _encode(text: str, vocab: Vocabulary, encoder: TextEncoder, words: Segmenter | None) -> Piece:
    raw = codes_of(text)
    is_blank = np.diff(np.flatnonzero(raw == LINE_FEED), prepend=-1) == 1  # of each line: it ends a document
    codes = clean_lines(raw)
    begins = sentence_starts(codes)
    tokens = encoder.encode_lines(codes)
    line_ends = np.flatnonzero(codes == LINE_FEED)
    sentences = np.searchsorted(begins, line_ends, side="right")  # (lines,) up to the end of each
    sizes = np.diff(begins, append=len(codes))
    sizes[sentences - 1] -= 1  # the line feed
    ids = tokens.ids.astype(shards.id_type(len(vocab)))
    if words is None:
        starts_word = vocab.starts_word[ids]
    else:
        # Sentencepiece begins every text with "▁": a sentence inside a line has none, as in `transformers`.
        texts = begins if vocab.kind == "wordpiece" else line_ends - np.diff(line_ends, prepend=-1) + 1
        starts_word = word_starts(codes, tokens.at, texts)
    lengths = np.diff(np.searchsorted(tokens.at, begins), append=len(ids))
    return Piece(ids, starts_word, lengths, sizes, sentences[is_blank], int(np.count_nonzero(raw == REPLACEMENT)))


def _offsets(lengths: Int64s) -> Int64s:
    """Return where each begins, and where the last ends."""
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])


def word_starts(
    codes: npt.NDArray[np.uint32], at: npt.NDArray[np.int64], begins: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    """Return (T,) whether each token starts a word.

    `codes`: (C,) code points of cleaned lines, each ending with a line feed. `at`: (T,) where the tokens begin.
    `begins`: (N,) where each text begins whose first token starts a word anyway.
    """
    import rjieba  # here, for its dictionary takes a moment to load and most builds do not need it

    words = rjieba.cut(text_of(codes))
    lengths = np.fromiter(map(len, words), np.int64, count=len(words))
    assert lengths.sum() == len(codes), "the segmenter lost or added characters"
    is_word_start = np.zeros(len(codes), dtype=np.bool_)
    is_word_start[np.cumsum(lengths) - lengths] = True
    starts: npt.NDArray[np.bool_] = is_word_start[at]
    starts[1:] &= at[1:] != at[:-1]
    firsts = np.searchsorted(at, begins)
    starts[firsts[np.diff(firsts, append=len(at)) > 0]] = True
    return starts
