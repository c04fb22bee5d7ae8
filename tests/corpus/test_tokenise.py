"""Tokenising a shard's text: the same arrays as the libraries give in a plain loop, sentence by sentence."""

import lzma
from bisect import bisect_right
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path

import numpy as np
import pytest
import rjieba
from hypothesis import given
from hypothesis import strategies as st
from sentencepiece import SentencePieceProcessor

from clue_bench.corpus import tokenise as module
from clue_bench.corpus.text import clean_line, split_sentences
from clue_bench.corpus.tokenise import Segmenter, tokenise
from clue_bench.vocab import SPECIAL_TOKENS, TextEncoder, Vocabulary, read_vocabulary
from clue_bench.vocab.sentencepieces import without_symbols

VOCABULARY = Vocabulary((*SPECIAL_TOKENS, *"的一是中国北京。，！？”]…ab1", *["##a", "##b", "##1"], "ab"))
LINES = st.text(
    st.one_of(st.sampled_from("的一中国北京。，！？”]… ab1\u200b\u3000e\u0301"), st.characters(codec="utf-8"))
)
DOCUMENTS = st.lists(
    st.lists(LINES.filter(lambda line: line.strip() and "\n" not in line), min_size=1, max_size=4),
    min_size=1,
    max_size=5,
)


def library_of(vocabulary: Vocabulary) -> Callable[[str], list[tuple[int, int]]]:
    """Return what gives id and place of each token of a text."""
    if vocabulary.model is None:
        tokenizer = vocabulary.tokenizer()
        tokenizer.encode_special_tokens = True

        def wordpiece(text: str) -> list[tuple[int, int]]:
            encoding = tokenizer.encode(text, add_special_tokens=False)
            return list(zip(encoding.ids, (start for start, _ in encoding.offsets), strict=True))

        return wordpiece
    processor = SentencePieceProcessor(model_proto=without_symbols(vocabulary.model))

    def sentencepiece(text: str) -> list[tuple[int, int]]:
        encoding = processor.encode(text, return_type="offset_mapping")
        return list(zip(encoding["ids"], (start for start, _ in encoding["offsets"]), strict=True))

    return sentencepiece


def starts_of(text: str, places: list[int]) -> list[bool]:
    """Return which tokens start a word: the first, and the first of those that begin where a word does."""
    words = set(accumulate(map(len, rjieba.cut(text)), initial=0))
    return [not n or (place in words and place != places[n - 1]) for n, place in enumerate(places)]


def plain(
    documents: list[list[str]], vocabulary: Vocabulary, words: Segmenter | None
) -> tuple[list[int], list[int], list[int], list[bool]]:
    """Return ids, offsets of documents and of sentences, and word starts."""
    ids: list[int] = []
    ends, cuts, starts = [0], [0], []
    library = library_of(vocabulary)
    for document in documents:
        for line in map(clean_line, document):
            sentences = split_sentences(line)
            for text in sentences if vocabulary.model is None else [line]:
                tokens = library(text)
                places = [place for _, place in tokens]
                starts += starts_of(text, places) if words else [bool(vocabulary.starts_word[n]) for n, _ in tokens]
                begins = [0] if vocabulary.model is None else list(accumulate(map(len, sentences[:-1]), initial=0))
                owners = [bisect_right(begins, place) for place in places]
                cuts += [len(ids) + n for n in range(1, len(tokens)) if owners[n] != owners[n - 1]]
                ids += [n for n, _ in tokens]
                cuts.append(len(ids))
        ends.append(len(ids))
    return ids, sorted(set(ends)), sorted(set(cuts)), starts


def check(documents: list[list[str]], vocabulary: Vocabulary, encoder: TextEncoder, words: Segmenter | None) -> None:
    text = "".join("".join(f"{line}\n" for line in document) + "\n" for document in documents)
    parts = tokenise(text, vocabulary, encoder, words)
    ids, ends, cuts, starts = plain(documents, vocabulary, words)
    assert parts["ids"].tolist() == ids
    assert parts["documents"].tolist() == ends
    assert parts["sentences"].tolist() == cuts
    assert parts["starts_word"].tolist() == starts
    counts = parts["counts"]
    assert (counts.documents, counts.sentences, counts.tokens) == (len(ends) - 1, len(cuts) - 1, len(ids))
    assert counts.unknown_tokens == ids.count(vocabulary.unknown)
    assert counts.documents + counts.dropped_documents.get("empty", 0) == len(documents)


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    return VOCABULARY.encoder(special_tokens=False)


@pytest.mark.parametrize("words", [None, "rjieba"])
@given(documents=DOCUMENTS, piece=st.sampled_from([1, 7, 2**16]))
def test_any_documents_have_the_arrays_of_the_plain_loop(
    encoder: TextEncoder, words: Segmenter | None, documents: list[list[str]], piece: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PIECE_CHARACTERS", piece)
        check(documents, VOCABULARY, encoder, words)


@pytest.mark.slow
@pytest.mark.parametrize("words", [None, "rjieba"])
@pytest.mark.parametrize("name", ["google_zh_vocab_21128.txt", "clue_vocab_8021.txt", "cluecorpussmall_spm.model"])
def test_real_text_has_the_arrays_of_the_plain_loop(real_data: Path, name: str, words: Segmenter | None) -> None:
    vocabulary = read_vocabulary(real_data / "vocab" / name)
    encoder = vocabulary.encoder(special_tokens=False)
    with lzma.open(real_data / "corpus" / "part-002.txt.xz", "rt", encoding="utf-8") as file:
        text = file.read(60_000).rpartition("\n\n")[0]
    documents = [document.split("\n") for document in text.split("\n\n")]
    assert len(documents) > 50
    check(documents, vocabulary, encoder, words)


def test_pieces_are_whole_lines_and_the_text_again() -> None:
    text = "".join(f"{'字' * (n % 50)}\n" for n in range(20_000))
    pieces = list(module._pieces(text))
    assert len(pieces) > 3
    assert "".join(pieces) == text
    assert all(piece.endswith("\n") for piece in pieces)


def test_a_line_end_that_cleaning_leaves_does_not_end_a_document(encoder: TextEncoder) -> None:
    parts = tokenise("的\n\u200b\n一\n\n\u200b\n\n中\n\n", VOCABULARY, encoder)
    assert parts["documents"].tolist() == np.cumsum([0, 2, 1]).tolist()
    assert parts["counts"].dropped_documents == {"empty": 1}
