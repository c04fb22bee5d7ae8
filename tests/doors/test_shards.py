"""Door 1: what is written is read again, and whatever is missing, short or damaged is named."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from clue_bench.doors.shards import (
    Corpus,
    Counts,
    Shard,
    finished_shard,
    id_type,
    part_path,
    write_manifest,
    write_shard,
)
from clue_bench.errors import ClueBenchError
from clue_bench.vocab import Vocabulary

BERT_SIZE = 21_128
LARGE_SIZE = 70_000
SENTENCES = [[[5, 6, 7], [8]], [[9, 10]], [[11], [12, 13], [14, 15, 16, 17]]]  # document → sentence → ids


def shard_of(folder: Path, index: int, documents: list[list[list[int]]], *, vocab_size: int = BERT_SIZE) -> Shard:
    """Write a shard of `documents`, in which odd ids start words."""
    ids = np.array([i for document in documents for s in document for i in s], dtype=id_type(vocab_size))
    sentence_lengths = [len(sentence) for document in documents for sentence in document]
    document_lengths = [sum(map(len, document)) for document in documents]
    return write_shard(
        folder,
        index,
        ids=ids,
        documents=np.cumsum([0, *document_lengths], dtype=np.int64),
        sentences=np.cumsum([0, *sentence_lengths], dtype=np.int64),
        starts_word=ids % 2 == 1,
        counts=Counts(documents=len(documents), sentences=len(sentence_lengths), tokens=len(ids)),
        text_sha256=f"{index:064d}",
    )


def corpus_of(folder: Path, *shards: list[list[list[int]]], vocab_size: int = BERT_SIZE) -> Corpus:
    """Write a complete corpus folder, its vocabulary included, and open it."""
    vocabulary = Vocabulary(tuple(f"token{number}" for number in range(vocab_size)))
    written = [shard_of(folder, index, documents, vocab_size=vocab_size) for index, documents in enumerate(shards)]
    return write_manifest(folder, shards=written, inputs=["a.txt"], vocabulary=vocabulary)


@pytest.mark.parametrize(
    ("vocab_size", "expected"), [(100, "uint16"), (65_536, "uint16"), (65_537, "uint32"), (250_000, "uint32")]
)
def test_ids_take_two_bytes_while_they_fit(vocab_size: int, expected: str) -> None:
    assert id_type(vocab_size) == expected


@pytest.mark.parametrize("vocab_size", [BERT_SIZE, 2**16, LARGE_SIZE])
def test_what_is_written_is_read_again(tmp_path: Path, vocab_size: int) -> None:
    large = [[[vocab_size - 1, 0, vocab_size - 2]]]
    corpus = corpus_of(tmp_path, SENTENCES, large, vocab_size=vocab_size)
    assert [ids.tolist() for ids in corpus.ids] == [list(range(5, 18)), large[0][0]]
    assert [offsets.tolist() for offsets in corpus.documents] == [[0, 4, 6, 13], [0, 3]]
    assert [offsets.tolist() for offsets in corpus.sentences] == [[0, 3, 4, 6, 7, 9, 13], [0, 3]]
    for shard, ids in enumerate(corpus.ids):
        assert ids.dtype == np.dtype(id_type(vocab_size))
        assert corpus.starts_word(shard).tolist() == [i % 2 == 1 for i in ids.tolist()]
    assert corpus.damaged_files() == []


def test_word_starts_are_found_at_any_positions(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    documents = [[draw.integers(0, BERT_SIZE, size=1_003).tolist()]]
    corpus = corpus_of(tmp_path, documents, SENTENCES)
    for shard in range(2):
        everything = corpus.starts_word(shard)
        positions = draw.integers(0, len(everything), size=(7, 50))
        assert corpus.starts_word_at(shard, positions).tolist() == everything[positions].tolist()
        in_order = np.arange(len(everything))
        assert corpus.starts_word_at(shard, in_order).tolist() == everything.tolist()
    assert corpus.starts_word_at(0, np.empty(0, dtype=np.int64)).tolist() == []


def test_a_position_beyond_the_shard_is_an_error(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path, SENTENCES)
    with pytest.raises(IndexError):
        corpus.starts_word_at(0, np.array([16]))


def test_a_shard_without_tokens_has_no_number(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path, [], SENTENCES)
    assert corpus.starts_word_at(0, np.arange(13)).tolist() == corpus.starts_word(0).tolist()


@pytest.mark.parametrize("word_starts", ["wordpiece", "pieces", "rjieba"])
def test_the_manifest_says_what_a_word_is(tmp_path: Path, word_starts: str) -> None:
    corpus_of(tmp_path, SENTENCES)
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "word_starts": word_starts}))
    assert Corpus.open(tmp_path).manifest.word_starts == word_starts


def test_a_sentencepiece_vocabulary_is_checked_by_its_bytes(tmp_path: Path) -> None:
    model = b"a model\n"
    vocabulary = Vocabulary(("a", "b"), model)
    corpus = write_manifest(
        tmp_path, shards=[shard_of(tmp_path, 0, SENTENCES)], inputs=["a.txt"], vocabulary=vocabulary
    )
    assert corpus.manifest.word_starts == "pieces"
    assert corpus.manifest.tokenizer_sha256 == hashlib.sha256(model).hexdigest()
    assert corpus.vocabulary_file == tmp_path / "tokenizer" / "spiece.model"
    assert corpus.damaged_files() == []
    corpus.vocabulary_file.write_bytes(model.strip())
    assert corpus.damaged_files() == [corpus.vocabulary_file]


def test_the_files_are_little_endian_as_the_format_says(tmp_path: Path) -> None:
    corpus_of(tmp_path, [[[1, 2, 3], [0x0405]]])
    assert part_path(tmp_path, 0, "ids").read_bytes() == bytes([1, 0, 2, 0, 3, 0, 5, 4])
    assert part_path(tmp_path, 0, "documents").read_bytes() == bytes([*[0] * 8, 4, *[0] * 7])
    assert part_path(tmp_path, 0, "words").read_bytes() == bytes([0b1101])


def test_big_endian_arrays_are_written_little_endian(tmp_path: Path) -> None:
    ids = np.array([1, 2], dtype=">u2")
    offsets = np.array([0, 2], dtype=">i8")
    write_shard(
        tmp_path,
        0,
        ids=ids,
        documents=offsets,
        sentences=offsets,
        starts_word=np.array([True, True]),
        counts=Counts(tokens=2),
        text_sha256="0" * 64,
    )
    assert part_path(tmp_path, 0, "ids").read_bytes() == bytes([1, 0, 2, 0])
    assert part_path(tmp_path, 0, "sentences").read_bytes() == bytes([*[0] * 8, 2, *[0] * 7])


def test_a_shard_without_tokens_is_passed_over(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path, [], SENTENCES)
    assert [len(ids) for ids in corpus.ids] == [len(flags) for flags in (corpus.starts_word(0),)] == [13]
    assert len(corpus.manifest.shards) == 2


def test_counts_add_up_and_reasons_are_joined() -> None:
    one = Counts(documents=1, tokens=5, dropped_documents={"empty": 2})
    two = Counts(documents=2, tokens=7, split_lines=1, dropped_documents={"empty": 1, "short": 4})
    assert one + two == Counts(documents=3, tokens=12, split_lines=1, dropped_documents={"empty": 3, "short": 4})


def test_the_corpus_hash_follows_the_text(tmp_path: Path) -> None:
    first = corpus_of(tmp_path / "a", SENTENCES).manifest.corpus_sha256
    assert corpus_of(tmp_path / "b", SENTENCES).manifest.corpus_sha256 == first
    assert corpus_of(tmp_path / "c", SENTENCES, SENTENCES).manifest.corpus_sha256 != first


@pytest.mark.parametrize("part", ["ids", "documents", "sentences", "words"])
@pytest.mark.parametrize(
    ("damage", "found"),
    [
        pytest.param(Path.unlink, "missing", id="missing"),
        pytest.param(lambda path: path.write_bytes(path.read_bytes()[:-1]), "bytes, expected", id="short"),
    ],
)
def test_a_missing_or_short_file_is_named(
    tmp_path: Path, part: str, damage: Callable[[Path], object], found: str
) -> None:
    corpus_of(tmp_path, SENTENCES, SENTENCES)
    damage(part_path(tmp_path, 1, part))
    with pytest.raises(ClueBenchError, match=rf"shard-00001\.{part}: .*{found}"):
        Corpus.open(tmp_path)
    assert finished_shard(tmp_path, 1) is None
    assert finished_shard(tmp_path, 0) is not None


@pytest.mark.parametrize("part", ["ids", "documents", "sentences", "words"])
def test_one_flipped_bit_is_found(tmp_path: Path, part: str) -> None:
    corpus_of(tmp_path, SENTENCES, SENTENCES)
    path = part_path(tmp_path, 1, part)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert Corpus.open(tmp_path).damaged_files() == [path]
    with pytest.raises(ClueBenchError, match=rf"shard-00001\.{part}: damaged"):
        Corpus.open(tmp_path).check()
    assert finished_shard(tmp_path, 1) is None
    assert finished_shard(tmp_path, 0) is not None


def test_a_shard_without_its_marker_is_not_finished(tmp_path: Path) -> None:
    shard = shard_of(tmp_path, 3, SENTENCES)
    assert finished_shard(tmp_path, 3) == shard
    part_path(tmp_path, 3, "json").unlink()
    assert finished_shard(tmp_path, 3) is None


@pytest.mark.parametrize("files", [["plan.json", "shard-00000.json"], ["plan.json"]], ids=["shards", "no shard yet"])
def test_an_unfinished_folder_says_so(tmp_path: Path, files: list[str]) -> None:
    for name in files:
        (tmp_path / name).write_text("{}")
    with pytest.raises(ClueBenchError, match="unfinished corpus build") as caught:
        Corpus.open(tmp_path)
    assert str(tmp_path) in caught.value.hint


@pytest.mark.parametrize("name", ["missing", "."])
def test_another_folder_is_no_corpus(tmp_path: Path, name: str) -> None:
    with pytest.raises(ClueBenchError, match="corpus folder"):
        Corpus.open(tmp_path / name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 2}, "format_version: Input should be 1"),
        ({"format_version": 2, "novelty": 1}, "format_version: Input should be 1"),
        ({"id_type": "uint8"}, "id_type"),
        ({"word_starts": "jieba"}, "word_starts"),
        ({"counts": None}, "counts"),
        ({"novelty": 1}, "novelty"),
    ],
)
def test_a_manifest_of_another_format_is_an_error(tmp_path: Path, change: dict[str, object], message: str) -> None:
    corpus_of(tmp_path, SENTENCES)
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ClueBenchError, match=rf"manifest\.json: .*format 1: {message}"):
        Corpus.open(tmp_path)


def test_a_manifest_that_is_no_json_is_an_error(tmp_path: Path) -> None:
    corpus_of(tmp_path, SENTENCES)
    (tmp_path / "manifest.json").write_text('{"format_version": 1')
    with pytest.raises(ClueBenchError, match=r"manifest\.json: .*format 1: \w.*JSON"):
        Corpus.open(tmp_path)


def test_a_changed_vocabulary_is_damage(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path, SENTENCES)
    path = corpus.tokenizer_folder / "vocab.txt"
    path.write_text(path.read_text().replace("token5\n", "token99999\n"))
    assert corpus.damaged_files() == [path]


def test_a_missing_vocabulary_is_named(tmp_path: Path) -> None:
    (corpus_of(tmp_path, SENTENCES).tokenizer_folder / "vocab.txt").unlink()
    with pytest.raises(ClueBenchError, match=r"vocab\.txt"):
        Corpus.open(tmp_path)
