"""Held-out text that is also trained on: found as documents and long sentences, and its rows are not evaluated."""

from pathlib import Path

import numpy as np
import pytest

from clue_bench.doors import shards
from clue_bench.doors.shards import Corpus
from clue_bench.pretraining.held_out import LEAST_TOKENS, hold_out, trained_spans
from clue_bench.pretraining.pairs import PairRows
from clue_bench.pretraining.recipe import load_recipe
from clue_bench.pretraining.rows import PackedRows
from clue_bench.pretraining.train import Pretraining
from clue_bench.vocab import read_vocabulary

LONG, SHORT = LEAST_TOKENS + 4, LEAST_TOKENS - 1


@pytest.fixture
def write(tmp_path: Path, vocabulary_file: Path):
    """What writes a corpus of shards of documents of sentences, each a list of ids."""

    def write(*parts: list[list[list[int]]]) -> Corpus:
        written = []
        for index, documents in enumerate(parts):
            sentences = [sentence for document in documents for sentence in document]
            ids = np.array([one for sentence in sentences for one in sentence], dtype=np.uint16)
            written.append(
                shards.write_shard(
                    tmp_path / "corpus",
                    index,
                    ids=ids,
                    documents=np.cumsum([0, *(sum(map(len, document)) for document in documents)]),
                    sentences=np.cumsum([0, *map(len, sentences)]),
                    starts_word=np.ones(len(ids), dtype=np.bool_),
                    counts=shards.Counts(documents=len(documents), sentences=len(sentences), tokens=len(ids)),
                    text_sha256=str(index),
                )
            )
        vocabulary = read_vocabulary(vocabulary_file)
        return shards.write_manifest(tmp_path / "corpus", shards=written, inputs=["text"], vocabulary=vocabulary)

    return write


def sentence(seed: int, length: int = LONG) -> list[int]:
    return np.random.default_rng(seed).integers(10, 60, size=length).tolist()


def spans(corpus: Corpus, share: float) -> list[list[tuple[int, int]]]:
    found = trained_spans(corpus, *hold_out(corpus, share=share))
    return [sorted(set(zip(begins.tolist(), ends.tolist(), strict=True))) for begins, ends in found]


def test_a_held_out_sentence_of_another_shards_training_text_is_found(write) -> None:
    filler = [[[sentence(n) for n in range(m, m + 3)] for m in range(k, k + 30, 3)] for k in (0, 100)]
    shared = sentence(1)
    corpus = write(filler[0], [*filler[1], [sentence(500), shared, sentence(501)]])
    at = 31 * LONG
    assert spans(corpus, 0.05) == [[], [(at, at + LONG)]]


def test_short_sentences_are_language_but_a_whole_short_document_is_text(write) -> None:
    short = sentence(900, SHORT)
    filler = [[sentence(n), short] for n in range(9)]
    assert spans(write([*filler, [sentence(50), short]]), 0.05) == [[]]


def test_a_whole_short_document_is_text(write) -> None:
    short = sentence(900, SHORT)
    corpus = write([[short], *([sentence(n)] for n in range(9)), [short]])
    assert spans(corpus, 0.05) == [[(SHORT + 9 * LONG, 2 * SHORT + 9 * LONG)]]


def test_sentences_that_differ_in_one_token_are_two(write) -> None:
    long = sentence(1, 60)
    almost = [*long[:30], 61, *long[31:]]
    assert spans(write([[long], *([sentence(n)] for n in range(2, 40)), [almost]]), 0.05) == [[]]


@pytest.mark.parametrize("kind", [PackedRows, PairRows])
def test_rows_touch_exactly_the_spans_whose_tokens_they_hold(write, vocabulary_file: Path, kind) -> None:
    draw = np.random.default_rng(3)
    lengths = [[draw.integers(2, 30, size=draw.integers(1, 5)).tolist() for _ in range(40)] for _ in range(2)]
    corpus = write(*[[[sentence(9, n) for n in document] for document in part] for part in lengths])
    documents = hold_out(corpus, share=0.4)[1]
    rows = kind.from_corpus(corpus, read_vocabulary(vocabulary_file), length=32, documents=documents)
    some = [np.sort(draw.choice(sentences[:-1], size=4, replace=False)) for sentences in corpus.sentences]
    begins = [each[each >= part[0]] for each, part in zip(some, documents, strict=True)]
    ends = [
        sentences[np.searchsorted(sentences, each) + 1]
        for sentences, each in zip(corpus.sentences, begins, strict=True)
    ]
    marked = []
    for ids, first, last in zip(corpus.ids, begins, ends, strict=True):
        marks = np.zeros(len(ids), dtype=np.uint16)
        for one, other in zip(first, last, strict=True):
            marks[one:other] = 99
        marked.append(marks)
    vars(corpus)["ids"] = marked  # what rows gather, then, says which tokens they hold
    everything = np.arange(len(rows))
    held = rows.gather(everything, epochs_B=np.zeros_like(everything), seed=0)
    touched = rows.touch(list(zip(begins, ends, strict=True)))
    assert touched.tolist() == (held.ids_BS == 99).any(axis=1).tolist()
    assert touched.any()
    assert not touched.all()


def test_a_corpus_that_repeats_itself_has_no_held_out_part(write, recipe_file: Path, tmp_path: Path) -> None:
    texts = [[sentence(n), sentence(n + 1)] for n in range(0, 60, 2)]
    recipe = load_recipe(str(recipe_file), {"held_out_share": 0.1})
    assert Pretraining(recipe, write([*texts, *texts]), tmp_path / "run").feeds.held_out is None


def test_rows_with_text_that_is_trained_on_are_left_aside_and_counted(write, recipe_file: Path, tmp_path: Path) -> None:
    texts = [[sentence(n), sentence(n + 1)] for n in range(0, 600, 2)]
    recipe = load_recipe(str(recipe_file), {"held_out_share": 0.1})
    feeds = Pretraining(recipe, write([*texts, texts[0]]), tmp_path / "run").feeds
    rows = len(feeds.held_out.rows)
    assert feeds.held_out_samples().tolist() != []
    assert set(range(rows)) - set(feeds.held_out_samples().tolist()) == {rows - 1}
    assert feeds.held_out_note.startswith(f"held out: 1 of {rows} rows")
