"""What `AlbertTokenizer` makes of a saved sentencepiece vocabulary, and every way in which it differs."""

import json
import lzma
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import AlbertTokenizer, AutoTokenizer, BertConfig

from clue_bench.corpus.text import clean_line
from clue_bench.vocab import SPECIAL_TOKENS, Vocabulary, read_vocabulary
from clue_bench.vocab.sentencepieces import read_pieces

DOCUMENTS = 1_500  # of a part's 7,432


@pytest.fixture(scope="module")
def vocabulary(model_file: Path) -> Vocabulary:
    return read_vocabulary(model_file)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, vocabulary: Vocabulary) -> Path:
    """A folder as a checkpoint of a BERT model has it."""
    folder = tmp_path_factory.mktemp("saved")
    vocabulary.save(folder, max_length=64)
    BertConfig(vocab_size=len(vocabulary)).save_pretrained(folder)
    return folder


def test_what_is_saved_is_read_again(saved: Path, vocabulary: Vocabulary) -> None:
    assert read_vocabulary(saved) == vocabulary
    assert {path.name for path in saved.iterdir()} == {"spiece.model", "tokenizer_config.json", "config.json"}


def test_auto_tokenizer_of_a_bert_folder_is_an_albert_tokenizer(saved: Path) -> None:
    assert json.loads((saved / "config.json").read_text())["model_type"] == "bert"
    assert isinstance(AutoTokenizer.from_pretrained(saved), AlbertTokenizer)


def test_special_tokens_and_length_reach_transformers(saved: Path) -> None:
    loaded = AlbertTokenizer.from_pretrained(saved)
    tokens = [loaded.pad_token, loaded.unk_token, loaded.cls_token, loaded.sep_token, loaded.mask_token]
    assert tokens == [*SPECIAL_TOKENS]
    assert loaded.convert_tokens_to_ids(tokens) == [0, 1, 2, 3, 4]
    assert loaded.model_max_length == 64


@pytest.mark.parametrize(
    "text", ["中国的首都是北京。", "中国 的首都 ab", "ＡＢ，２０２０ Bc……35℃", "é 中国", "没有的字😀中", " 中  国 "]
)
def test_ids_of_ordinary_text_are_ours(saved: Path, vocabulary: Vocabulary, text: str) -> None:
    loaded = AutoTokenizer.from_pretrained(saved)
    ids = loaded(text)["input_ids"]
    assert [ids] == [[vocabulary.start, *found, vocabulary.separator] for found in encode(vocabulary, [text])]


def test_beside_a_mask_the_blank_mark_comes_after_it_not_before(saved: Path, vocabulary: Vocabulary) -> None:
    loaded = AutoTokenizer.from_pretrained(saved)
    (ours,) = encode(vocabulary, ["[MASK]国"])
    assert [vocabulary.tokens[index] for index in ours][:2] == ["▁", "[MASK]"]
    assert loaded.tokenize("[MASK]国")[0] == "[MASK]"
    assert loaded.tokenize("[MASK]国")[1].startswith("▁")


def encode(vocabulary: Vocabulary, texts: list[str]) -> list[list[int]]:
    return vocabulary.encoder(special_tokens=True).ids(texts)


@pytest.mark.slow
def test_on_real_text_albert_tokenizer_differs_for_two_reasons_only(real_data: Path, tmp_path: Path) -> None:
    """Of 5,000 documents' 91,504 lines 39 differ (0.04 %): where it takes "``" or "''" for '"', or the other of two
    segmentations that are equally likely."""
    shutil.copy(real_data / "vocab" / "cluecorpussmall_spm.model", tmp_path / "spiece.model")
    vocabulary = read_vocabulary(tmp_path)
    vocabulary.save(tmp_path, max_length=10**6)
    with lzma.open(real_data / "corpus" / "part-000.txt.xz", "rt", encoding="utf-8") as file:
        documents = file.read().split("\n\n")[:DOCUMENTS]
    lines = [line for document in documents for line in map(clean_line, document.split("\n")) if line]
    ours = encode(vocabulary, lines)
    theirs = AlbertTokenizer.from_pretrained(tmp_path)(lines, add_special_tokens=False)["input_ids"]
    assert vocabulary.encoder(special_tokens=False).ids(lines) == ours  # no special token is written in the text
    different = [row for row in zip(lines, ours, theirs, strict=True) if row[1] != row[2]]
    scores = piece_scores(vocabulary)
    reasons = Counter(reason(*row, vocabulary, scores) for row in different)
    assert set(reasons) <= {"quotes", "equally likely"}
    assert len(different) / len(lines) < 0.001
    assert len(lines) > 20_000


def reason(line: str, ours: list[int], theirs: list[int], vocabulary: Vocabulary, scores: list[float]) -> str:
    """Return why ids differ."""
    if "``" in line or "''" in line:
        return "quotes"
    same_text = "".join(vocabulary.tokens[i] for i in ours) == "".join(vocabulary.tokens[i] for i in theirs)
    likelihoods = [sum(scores[index] for index in ids) for ids in (ours, theirs)]
    is_tie = likelihoods[0] == pytest.approx(likelihoods[1], rel=1e-5)
    return "equally likely" if same_text and is_tie else f"unknown: {line}"


def piece_scores(vocabulary: Vocabulary) -> list[float]:
    from sentencepiece import SentencePieceProcessor

    assert vocabulary.model is not None
    library = SentencePieceProcessor(model_proto=vocabulary.model)
    assert len(read_pieces(vocabulary.model)) == len(library)
    return [library.get_score(index) for index in range(len(library))]


@pytest.mark.slow
def test_on_real_text_ids_and_places_are_the_librarys(encode: Callable[..., Any], real_data: Path) -> None:
    from sentencepiece import SentencePieceProcessor

    model = real_data / "vocab" / "cluecorpussmall_spm.model"
    library = SentencePieceProcessor(model_file=str(model))
    encoder = read_vocabulary(model).encoder(special_tokens=False)
    with lzma.open(real_data / "corpus" / "part-001.txt.xz", "rt", encoding="utf-8") as file:
        lines = [clean_line(line) for _, line in zip(range(20_000), file, strict=False)]
    tokens = encode(encoder, lines)
    expected = library.encode(lines, return_type="offset_mapping")
    assert tokens.ids.tolist() == [index for found in expected for index in found["ids"]]
    assert tokens.starts.tolist() == [start for found in expected for start, _ in found["offsets"]]
