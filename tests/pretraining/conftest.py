"""Corpora written token by token, corpora with words, two-stage recipes, and text of the real corpus."""

import lzma
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from clue_bench import files
from clue_bench.corpus.build import build_corpus
from clue_bench.doors import shards
from clue_bench.doors.shards import Corpus
from clue_bench.vocab import Vocabulary

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[unused1]")
REAL_CHARACTERS = 1_500_000

STAGE2 = """
[stage2]
max_length = 48
steps = 8
global_batch = 6
micro_batch = 4
learning_rate = 2e-3
final_learning_rate = 1e-4
warmup_share = 0.25
decay_share = 1.0
"""


@pytest.fixture(scope="session")
def vocabulary() -> Vocabulary:
    """Six special tokens and 94 characters."""
    return Vocabulary((*SPECIAL, *(chr(0x4E00 + number) for number in range(94))))


@pytest.fixture(scope="session")
def make_corpus(tmp_path_factory: pytest.TempPathFactory, vocabulary: Vocabulary) -> Callable[..., Corpus]:
    """What writes a corpus of given sentence lengths: `make(shards)`, shards of documents of sentences' lengths.

    Token number n of a shard is the n-th ordinary token, round and round; a word starts at two tokens of three.
    """

    def make(lengths: list[list[list[int]]], *, labels: list[int] | None = None) -> Corpus:
        folder = tmp_path_factory.mktemp("made")
        written = []
        for index, documents in enumerate(lengths):
            sentences = list(chain.from_iterable(documents))
            num = sum(sentences)
            written.append(
                shards.write_shard(
                    folder,
                    index,
                    ids=(len(SPECIAL) + np.arange(num) % 94).astype(np.uint16),
                    documents=np.cumsum([0, *map(sum, documents)]),
                    sentences=np.cumsum([0, *sentences]),
                    starts_word=np.arange(num) % 3 != 1,
                    counts=shards.Counts(documents=len(documents), sentences=len(sentences), tokens=num),
                    text_sha256=str(index),
                )
            )
        if labels is not None:
            facts = shards.Labels(task="made", split="train", classes=["0", "1"], left_out={}, labels=labels)
            files.write_json(folder / "labels.json", facts.model_dump())
        return shards.write_manifest(folder, shards=written, inputs=[], vocabulary=vocabulary)

    return make


@pytest.fixture(scope="session")
def words_folder(tmp_path_factory: pytest.TempPathFactory, text_file: Path, vocabulary_file: Path) -> Path:
    """The text of `corpus_folder`, cut into words."""
    out = tmp_path_factory.mktemp("words") / "corpus"
    for _ in build_corpus([text_file], vocabulary=vocabulary_file, out=out, workers=1, words="rjieba"):
        pass
    return out


@pytest.fixture
def two_stage_file(recipe_file: Path) -> Path:
    """The test recipe with a second stage of longer rows; eight steps each, and a held-out part."""
    text = recipe_file.read_text(encoding="utf-8").replace("steps = 24", "steps = 8")
    path = recipe_file.with_name("two.toml")
    path.write_text(text.replace("held_out_share = 0.0", "held_out_share = 0.1") + STAGE2, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def real_corpus(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """A corpus of over a million tokens of real text in CLUE's vocabulary, cut into words."""
    folder = tmp_path_factory.mktemp("real")
    with lzma.open(real_data / "corpus" / "part-000.txt.xz", "rt", encoding="utf-8") as file:
        (folder / "text.txt").write_text(file.read(REAL_CHARACTERS), encoding="utf-8")
    texts, vocabulary = [folder / "text.txt"], real_data / "vocab" / "clue_vocab_8021.txt"
    for _ in build_corpus(texts, vocabulary=vocabulary, out=folder / "corpus", workers=1, words="rjieba"):
        pass
    return Corpus.open(folder / "corpus")
