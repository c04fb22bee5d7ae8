"""Sentencepiece vocabularies: the library's ids, special tokens that are text in a text, places of tokens."""

import hashlib
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sentencepiece import SentencePieceProcessor

from clue_bench.errors import ClueBenchError
from clue_bench.vocab import SPECIAL_TOKENS, Vocabulary, read_vocabulary
from clue_bench.vocab.sentencepieces import read_pieces, without_symbols

TEXTS = [
    "中国的首都是北京。",
    "中国 的首都 ab",
    " 中国的",
    "",
    " ",
    "ＡＢ，２０２０年……35℃ ﬁn",
    "没有的字😀𠮷中",
    "e\u0301 é 中\u200b国\u0000",
    "  两个  空格 ",
]
WRITTEN = ["[MASK]", "中[MASK]国", "［MASK］", "[unused1]的[unused10]", "[CLS]中国[SEP]", "[PAD] [UNK]"]
ANY_TEXT = st.text(alphabet=st.one_of(st.sampled_from("中国的首都是北京。 ab…℃é，"), st.characters(codec="utf-8")))
ONE_FIXTURE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="session")
def vocabulary(model_file: Path) -> Vocabulary:
    return read_vocabulary(model_file)


@pytest.fixture(scope="session")
def library(model_file: Path) -> SentencePieceProcessor:
    return SentencePieceProcessor(model_file=str(model_file))


def test_tokens_and_special_ids_are_the_models(vocabulary: Vocabulary, library: SentencePieceProcessor) -> None:
    assert vocabulary.kind == "sentencepiece"
    assert list(vocabulary.tokens) == [library.id_to_piece(index) for index in range(len(library))]
    named = (vocabulary.pad, vocabulary.unknown, vocabulary.start, vocabulary.separator, vocabulary.mask)
    assert named == (0, 1, 2, 3, 4) == tuple(library.piece_to_id(token) for token in SPECIAL_TOKENS)


def test_the_hash_is_that_of_the_file(vocabulary: Vocabulary, model_file: Path) -> None:
    assert vocabulary.sha256 == hashlib.sha256(model_file.read_bytes()).hexdigest()


def test_special_unused_and_unknown_are_not_ordinary(vocabulary: Vocabulary) -> None:
    extraordinary = [token for token, is_it in zip(vocabulary.tokens, vocabulary.is_ordinary, strict=True) if not is_it]
    assert extraordinary == [*SPECIAL_TOKENS, *(f"[unused{number}]" for number in range(1, 11))]


def test_every_piece_starts_a_word(vocabulary: Vocabulary) -> None:
    assert vocabulary.starts_word.all()
    assert vocabulary.word_starts == "pieces"


@pytest.mark.parametrize("special_tokens", [True, False])
def test_ids_are_the_librarys(vocabulary: Vocabulary, library: SentencePieceProcessor, special_tokens: bool) -> None:
    assert vocabulary.encoder(special_tokens=special_tokens).ids(TEXTS) == library.encode(TEXTS)


@pytest.mark.parametrize("text", WRITTEN)
def test_special_tokens_in_a_text_are_text(vocabulary: Vocabulary, library: SentencePieceProcessor, text: str) -> None:
    (ids,) = vocabulary.encoder(special_tokens=False).ids([text])
    assert ids
    assert vocabulary.is_ordinary[[index for index in ids if index != vocabulary.unknown]].all()
    assert vocabulary.encoder(special_tokens=True).ids([text]) == library.encode([text])


@ONE_FIXTURE
@given(texts=st.lists(ANY_TEXT, max_size=5))
def test_any_text_has_the_librarys_ids_and_places(
    encode: Callable[..., Any], vocabulary: Vocabulary, library: SentencePieceProcessor, texts: list[str]
) -> None:
    texts = [text.replace("\n", "") for text in texts]
    tokens = encode(vocabulary.encoder(special_tokens=True), texts)
    expected = library.encode(texts, return_type="offset_mapping")
    assert tokens.lengths.tolist() == [len(found["ids"]) for found in expected]
    assert tokens.ids.tolist() == [index for found in expected for index in found["ids"]]
    assert tokens.starts.tolist() == [start for found in expected for start, _ in found["offsets"]]


def test_pieces_begin_where_their_text_does(encode: Callable[..., Any], vocabulary: Vocabulary) -> None:
    tokens = encode(vocabulary.encoder(special_tokens=False), ["中国的首都", "", "的 是", "……的"])
    pieces = [vocabulary.tokens[index] for index in tokens.ids]
    found = dict.fromkeys(range(4))
    firsts = np.cumsum(tokens.lengths) - tokens.lengths
    for text, (first, length) in enumerate(zip(firsts, tokens.lengths, strict=True)):
        found[text] = list(zip(pieces[first : first + length], tokens.starts[first : first + length], strict=True))
    assert [place for piece, place in found[0] if piece.endswith("首都")] == [3]
    assert found[1] == []
    assert found[2][-1] == ("▁是", 1)
    assert found[3][-1] == ("的", 2)


@pytest.mark.parametrize("name", ["spiece.model", "other.model"])
def test_a_file_or_a_folder_is_read(tmp_path: Path, model_file: Path, vocabulary: Vocabulary, name: str) -> None:
    shutil.copy(model_file, tmp_path / name)
    assert read_vocabulary(tmp_path / name) == vocabulary
    if name == "spiece.model":
        assert read_vocabulary(tmp_path) == vocabulary


def test_a_folder_with_two_vocabularies_is_an_error(tmp_path: Path, model_file: Path) -> None:
    shutil.copy(model_file, tmp_path / "spiece.model")
    (tmp_path / "vocab.txt").write_text("\n".join(SPECIAL_TOKENS))
    with pytest.raises(ClueBenchError, match=r"both vocab\.txt and spiece\.model"):
        read_vocabulary(tmp_path)


@pytest.mark.parametrize("part", ["start", "middle", "garbage", "empty", "text"])
def test_a_damaged_model_is_named(tmp_path: Path, model_file: Path, part: str) -> None:
    model = model_file.read_bytes()
    data = {"start": model[:1000], "middle": model[500:], "garbage": b"\xff" * 99, "empty": b"", "text": b"[PAD]\n"}
    (tmp_path / "spiece.model").write_bytes(data[part])
    with pytest.raises(ClueBenchError, match=r"spiece\.model: "):
        read_vocabulary(tmp_path)


def test_a_model_under_another_name_is_an_error_that_says_so(tmp_path: Path, model_file: Path) -> None:
    shutil.copy(model_file, tmp_path / "vocab.bin")
    with pytest.raises(ClueBenchError, match="part of a model") as caught:
        read_vocabulary(tmp_path / "vocab.bin")
    assert ".model" in caught.value.hint


def test_it_survives_a_pickle_for_worker_processes(vocabulary: Vocabulary) -> None:
    copy = pickle.loads(pickle.dumps(vocabulary))
    assert copy == vocabulary
    assert copy.encoder(special_tokens=False).ids(TEXTS) == vocabulary.encoder(special_tokens=False).ids(TEXTS)


def test_only_the_types_of_symbols_change(model_file: Path) -> None:
    model = model_file.read_bytes()
    changed = without_symbols(model)
    assert len(changed) == len(model)
    pairs = list(zip(read_pieces(model), read_pieces(changed), strict=True))
    assert {old.text for old, new in pairs if old != new} == {
        "[MASK]",
        *(f"[unused{number}]" for number in range(1, 11)),
    }


def test_it_has_no_rust_tokenizer(vocabulary: Vocabulary) -> None:
    with pytest.raises(AssertionError, match="encoder"):
        vocabulary.tokenizer()


def test_wordpiece_offsets_refer_to_the_text_as_given(encode: Callable[..., Any]) -> None:
    vocabulary = Vocabulary((*SPECIAL_TOKENS, "ete", "中", "国", "play", "##ing", "x"))
    texts = ["Été 中国 PLAYing", "", "e\u0301te\u0301x", "x"]
    tokens = encode(vocabulary.encoder(special_tokens=False), texts)
    assert tokens.lengths.tolist() == [5, 0, 1, 1]
    assert tokens.starts.tolist() == [0, 4, 5, 7, 11, 0, 0]
    assert tokens.ids.tolist() == [i for ids in vocabulary.encoder(special_tokens=False).ids(texts) for i in ids]


@pytest.mark.parametrize("special_tokens", [True, False])
def test_wordpiece_takes_mask_for_text_unless_asked(special_tokens: bool) -> None:
    vocabulary = Vocabulary((*SPECIAL_TOKENS, "[", "]", "mask", "中"))
    ids = vocabulary.encoder(special_tokens=special_tokens).ids(["中[MASK]"])
    assert ids == [[8, 4]] if special_tokens else ids == [[8, 5, 7, 6]]
