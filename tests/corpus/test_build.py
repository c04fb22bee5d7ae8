"""Building a corpus: the same ids as BertTokenizer, the same bytes however it was built."""

import json
import lzma
import shutil
from collections.abc import Iterator
from pathlib import Path
from random import Random

import numpy as np
import pandas as pd
import pytest
from transformers import BertTokenizer

from clue_bench.corpus import build
from clue_bench.corpus.build import Progress, build_corpus
from clue_bench.corpus.text import clean_line
from clue_bench.doors.shards import Corpus, Counts
from clue_bench.errors import ClueBenchError
from clue_bench.vocab import SPECIAL_TOKENS

UNIT = 1500  # characters a shard, for several shards of little text
MARKS = "。！？!?…"
HAN = "的一是在不了有和人这中大为上个国我以要他"
WORDS = ["the", "clue", "bert", "Été", "Pretraining", "ＡＢ", "x" * 101, "3.14", "2026年", "don't", "№", "ﬁn"]
RARE = ["𠮷", "😀", "Ж", "龘", "\u200b", "\ufeff", "\u3000", "é", "e\u0301", "…", "[x]", "_", "\xa0", "👩\u200d💻"]
VOCAB = [
    *SPECIAL_TOKENS,
    "[unused1]",
    *HAN,
    *"。,!?“”…年.[]_abcdefghijklmnopqrstuvwxyz0123456789",
    *(f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz0123456789"),
    *("the", "clue", "pre", "##train", "##ing", "ber"),
]


def some_line(random: Random) -> str:
    """Return a line of Chinese, English, digits and rare characters, with sentence ends and blanks."""
    parts = []
    for _ in range(random.randint(1, 12)):
        kind = random.random()
        if kind < 0.6:
            parts.append("".join(random.choices(HAN, k=random.randint(1, 9))))
        elif kind < 0.8:
            parts.append(f" {random.choice(WORDS)} ")
        else:
            parts.append(random.choice(RARE))
        parts.append(random.choice(["", "", "", "，", "。", "!", "？”", "……", ". "]))
    return "".join(parts)


def some_documents() -> list[list[str]]:
    """Return documents of one to five lines, none blank, and now and then one of invisible characters only."""
    random = Random("documents")
    documents = []
    for number in range(90):
        lines = [some_line(random) for _ in range(random.randint(1, 5))]
        documents.append(["\u200b", "\x00\ufeff"] if number % 30 == 7 else [line for line in lines if line.strip()])
    return [document for document in documents if document]


DOCUMENTS = some_documents()


@pytest.fixture(scope="module", autouse=True)
def small_units() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "UNIT_CHARACTERS", UNIT)
        yield


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with texts/ (plain, xz and jsonl) and vocab.txt."""
    folder = tmp_path_factory.mktemp("inputs")
    (folder / "vocab.txt").write_text("\n".join(VOCAB) + "\n", encoding="utf-8")
    texts = folder / "texts"
    texts.mkdir()
    first, second, third = DOCUMENTS[:30], DOCUMENTS[30:60], DOCUMENTS[60:]
    as_text = "\n\n".join("\n".join(lines) for lines in first)
    (texts / "a.txt").write_bytes(as_text.encode())
    (texts / "b.txt.xz").write_bytes(lzma.compress("\r\n\r\n".join("\r\n".join(lines) for lines in second).encode()))
    (texts / "c.jsonl").write_text("".join(json.dumps({"text": "\n".join(lines)}) + "\n" for lines in third))
    return folder


@pytest.fixture(scope="module")
def reference(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus of `inputs`, built once by one worker; tests copy it before they change it."""
    out = tmp_path_factory.mktemp("reference") / "corpus"
    run(inputs, out)
    return out


@pytest.fixture
def corpus_copy(reference: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(reference, tmp_path / "corpus"))


def run(inputs: Path, out: Path, *, workers: int = 1) -> list[Progress]:
    return list(build_corpus([inputs / "texts"], vocabulary=inputs / "vocab.txt", out=out, workers=workers))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def expected_sentences(tokenizer: BertTokenizer) -> list[list[list[int]]]:
    """Return document → sentence → ids, as a loop over characters says it; blank documents are left out."""
    result = []
    for document in DOCUMENTS:
        pieces: list[str] = []
        for line in map(clean_line, document):
            start = 0
            for i in range(len(line)):
                is_last_mark = line[i] in MARKS and (i + 1 == len(line) or line[i + 1] not in f"{MARKS}”")
                if is_last_mark or (line[i] == "”" and i > start and line[i - 1] in MARKS):
                    pieces.append(line[start : i + 1])
                    start = i + 1
            pieces.append(line[start:])
        ids = [tokenizer.encode(piece, add_special_tokens=False) for piece in pieces]
        result.append([sentence for sentence in ids if sentence])
    return [document for document in result if document]


@pytest.fixture(scope="module")
def tokenizer() -> BertTokenizer:
    return BertTokenizer(vocab={token: index for index, token in enumerate(VOCAB)})


def slices(offsets: list[np.ndarray], ids: list[np.ndarray]) -> list[list[int]]:
    """Cut each shard's ids at its offsets."""
    pairs = zip(offsets, ids, strict=True)
    return [piece.tolist() for cuts, flat in pairs for piece in np.split(flat, cuts[1:-1])]


def test_the_ids_of_every_document_are_bert_tokenizers(reference: Path, tokenizer: BertTokenizer) -> None:
    corpus = Corpus.open(reference)
    assert len(corpus.ids) > 3
    encoded = [tokenizer.encode("\n".join(document), add_special_tokens=False) for document in DOCUMENTS]
    assert slices(corpus.documents, corpus.ids) == [ids for ids in encoded if ids]


def test_sentence_offsets_are_where_sentences_start(reference: Path, tokenizer: BertTokenizer) -> None:
    corpus = Corpus.open(reference)
    expected = [sentence for document in expected_sentences(tokenizer) for sentence in document]
    assert slices(corpus.sentences, corpus.ids) == expected
    for documents, sentences in zip(corpus.documents, corpus.sentences, strict=True):
        assert set(documents.tolist()) <= set(sentences.tolist())


def test_word_starts_are_the_tokens_without_hashes(reference: Path) -> None:
    corpus = Corpus.open(reference)
    for shard, ids in enumerate(corpus.ids):
        expected = [not VOCAB[token].startswith("##") for token in ids]
        assert corpus.starts_word(shard).tolist() == expected


def test_counts_are_those_of_the_text(reference: Path, tokenizer: BertTokenizer) -> None:
    expected = expected_sentences(tokenizer)
    ids = [token for document in expected for sentence in document for token in sentence]
    counts = Corpus.open(reference).manifest.counts
    assert counts.documents == len(expected)
    assert counts.sentences == sum(map(len, expected))
    assert counts.tokens == len(ids)
    assert counts.unknown_tokens == ids.count(VOCAB.index("[UNK]")) > 0
    assert counts.words == sum(not VOCAB[token].startswith("##") for token in ids) < len(ids)
    assert counts.characters == sum(len(clean_line(line)) for document in DOCUMENTS for line in document)
    assert counts.dropped_documents == {"empty": sum(lines == ["\u200b", "\x00\ufeff"] for lines in DOCUMENTS)}
    assert counts.split_documents == counts.split_lines == 0


def test_the_manifest_sums_the_shards_and_names_the_inputs(reference: Path, inputs: Path) -> None:
    manifest = Corpus.open(reference).manifest
    assert manifest.inputs == ["a.txt", "b.txt.xz", "c.jsonl"]
    assert [shard.index for shard in manifest.shards] == list(range(len(manifest.shards)))
    assert manifest.counts == sum((shard.counts for shard in manifest.shards), Counts())
    assert (reference / "tokenizer" / "vocab.txt").read_bytes() == (inputs / "vocab.txt").read_bytes()
    assert manifest.vocab_size == len(VOCAB)


def test_two_workers_write_the_same_bytes_as_one(reference: Path, inputs: Path, tmp_path: Path) -> None:
    progress = run(inputs, tmp_path / "corpus", workers=2)
    assert contents(tmp_path / "corpus") == contents(reference)
    number = len(Corpus.open(reference).manifest.shards)
    assert sorted({state.shards_done for state in progress}) == list(range(number + 1))
    assert progress[-1].bytes_done == progress[-1].bytes_total
    assert progress[-1].tokens == Corpus.open(reference).manifest.counts.tokens


@pytest.mark.parametrize("workers", [1, 2])
def test_progress_is_that_of_finished_shards_and_full_only_when_all_are(inputs: Path, tmp_path: Path, workers) -> None:
    progress = run(inputs, tmp_path / "corpus", workers=workers)
    number = progress[-1].shards_done
    assert (
        progress[0].shards_begun > progress[0].shards_done == progress[0].bytes_done == 0
    )  # something is said at once
    for state in progress:
        assert state.shards_done <= state.shards_begun <= min(number, state.shards_done + workers + 1)
        assert state.bytes_done < state.bytes_total or state is progress[-1]
    assert [state.bytes_done for state in progress] == sorted(state.bytes_done for state in progress)


def test_an_interrupted_build_continues_and_keeps_finished_shards(
    reference: Path, inputs: Path, corpus_copy: Path
) -> None:
    (corpus_copy / "manifest.json").unlink()
    (corpus_copy / "shard-00001.json").unlink()
    (corpus_copy / "shard-00002.words").write_bytes(b"")
    kept = [path for path in corpus_copy.glob("shard-*") if path.name[6:11] not in ("00001", "00002")]
    before = {path: path.stat().st_mtime_ns for path in kept}
    progress = run(inputs, corpus_copy)
    assert progress[-1].shards_found == progress[-1].shards_done - 2 > 0
    assert {path: path.stat().st_mtime_ns for path in kept} == before
    assert contents(corpus_copy) == contents(reference)


def test_a_build_that_is_broken_off_continues(reference: Path, inputs: Path, tmp_path: Path) -> None:
    out = tmp_path / "corpus"
    unfinished = build_corpus([inputs / "texts"], vocabulary=inputs / "vocab.txt", out=out, workers=1)
    while not next(unfinished).shards_done:
        pass
    unfinished.close()  # type: ignore[attr-defined]  # a generator
    with pytest.raises(ClueBenchError, match="unfinished"):
        Corpus.open(out)
    assert run(inputs, out)[-1].shards_found >= 1
    assert contents(out) == contents(reference)


def test_a_finished_corpus_is_found_and_left_as_it_is(reference: Path, inputs: Path, corpus_copy: Path) -> None:
    progress = run(inputs, corpus_copy)
    assert progress[-1].shards_found == progress[-1].shards_done == len(Corpus.open(reference).manifest.shards)
    assert contents(corpus_copy) == contents(reference)


@pytest.mark.parametrize(
    ("change", "message"),
    [("another vocabulary", "another vocabulary"), ("another file", "another inputs"), ("another text", "has changed")],
)
def test_a_folder_holds_one_build_only(
    corpus_copy: Path, inputs: Path, tmp_path: Path, change: str, message: str
) -> None:
    others = Path(shutil.copytree(inputs, tmp_path / "others"))
    if change == "another vocabulary":
        (others / "vocab.txt").write_text("\n".join([*VOCAB, "新"]), encoding="utf-8")
    elif change == "another file":
        (others / "texts" / "a.txt").rename(others / "texts" / "d.txt")
    else:
        text = (others / "texts" / "c.jsonl").read_text(encoding="utf-8")
        (others / "texts" / "c.jsonl").write_text(text + '{"text": "more"}\n', encoding="utf-8")
    before = contents(corpus_copy)
    with pytest.raises(ClueBenchError, match=message):
        run(others, corpus_copy)
    assert contents(corpus_copy) == before


def test_a_build_that_ended_before_its_first_shard_can_be_told_better(inputs: Path, tmp_path: Path) -> None:
    others = Path(shutil.copytree(inputs, tmp_path / "others"))
    for file in (others / "texts").iterdir():
        file.unlink()
    pd.DataFrame({"id": [1, 2], "content": ["我爱北京。", "我爱中国。"]}).to_parquet(others / "texts" / "a.parquet")
    with pytest.raises(ClueBenchError, match="no column 'text'") as caught:
        run(others, tmp_path / "corpus")
    assert "--text-field content" in caught.value.hint
    found = build_corpus(
        [others / "texts"], vocabulary=others / "vocab.txt", out=tmp_path / "corpus", workers=1, text_field="content"
    )
    assert list(found)[-1].shards_done == 1


def test_text_that_lost_whole_shards_has_changed(tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "vocab.txt").write_text("\n".join(VOCAB), encoding="utf-8")
    long_document = "的" * UNIT
    (tmp_path / "texts" / "a.txt").write_text(f"{long_document}\n\n{long_document}\n", encoding="utf-8")
    assert run(tmp_path, tmp_path / "corpus")[-1].shards_done == 2
    (tmp_path / "texts" / "a.txt").write_text(f"{long_document}\n", encoding="utf-8")
    with pytest.raises(ClueBenchError, match="has changed"):
        run(tmp_path, tmp_path / "corpus")


def test_a_document_longer_than_a_shard_is_cut_counted_and_complete(inputs: Path, tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    shutil.copy(inputs / "vocab.txt", tmp_path)
    (tmp_path / "texts" / "a.txt").write_text("的一是\n" * UNIT, encoding="utf-8")
    run(tmp_path, tmp_path / "corpus")
    corpus = Corpus.open(tmp_path / "corpus")
    assert np.concatenate(corpus.ids).tolist() == [VOCAB.index(character) for character in "的一是"] * UNIT
    assert corpus.manifest.counts.documents == corpus.manifest.counts.split_documents + 1 == 4


@pytest.mark.parametrize("name", ["notes.txt", "manifest.json"])
def test_a_folder_with_foreign_files_is_refused(inputs: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(ClueBenchError, match="not empty"):
        run(inputs, tmp_path)
    assert contents(tmp_path) == {name: b"mine"}


def test_a_file_in_the_place_of_the_folder_is_refused(inputs: Path, tmp_path: Path) -> None:
    (tmp_path / "corpus").write_text("mine")
    with pytest.raises(ClueBenchError, match="corpus"):
        run(inputs, tmp_path / "corpus")


@pytest.mark.parametrize("text", ["", "\n \n", "\u200b\n\n\ufffd\n"], ids=["nothing", "blank lines", "invisible"])
def test_text_without_a_character_is_an_error(inputs: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "texts").mkdir()
    shutil.copy(inputs / "vocab.txt", tmp_path)
    (tmp_path / "texts" / "a.txt").write_text(text, encoding="utf-8")
    with pytest.raises(ClueBenchError, match="no text in"):
        run(tmp_path, tmp_path / "corpus")
    assert not (tmp_path / "corpus" / "manifest.json").exists()


def test_unreadable_text_stops_the_build_without_a_manifest(inputs: Path, tmp_path: Path) -> None:
    others = Path(shutil.copytree(inputs, tmp_path / "others"))
    (others / "texts" / "a.txt").write_bytes(b"good\n\xff")
    with pytest.raises(ClueBenchError, match=r"a\.txt, line 2: invalid"):
        run(others, tmp_path / "corpus", workers=2)
    assert not (tmp_path / "corpus" / "manifest.json").exists()


def test_a_failure_in_a_worker_reaches_the_caller(inputs: Path, corpus_copy: Path) -> None:
    for name in ("manifest.json", "shard-00001.json", "shard-00001.ids"):
        (corpus_copy / name).unlink()
    (corpus_copy / "shard-00001.ids").mkdir()  # cannot be replaced by a file
    with pytest.raises(OSError, match=r"shard-00001\.ids"):
        run(inputs, corpus_copy)
    assert not (corpus_copy / "manifest.json").exists()
