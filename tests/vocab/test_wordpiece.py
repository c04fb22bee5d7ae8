"""Vocabularies: strictly read, the same ids as transformers' BertTokenizer, reproducibly trained."""

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import BertTokenizer

from clue_bench.errors import ClueBenchError
from clue_bench.vocab import SPECIAL_TOKENS, AddedToken, Vocabulary, WordPieceRules, read_vocabulary
from clue_bench.vocab.training import train_wordpiece

TOKENS = (
    *("[PAD]", "[unused1]", "[unused2]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "<S>"),
    *("的", "一", "是", "中", "文", "。", "，", "!", "?", "the", "clue", "e", "t", "play", "1", "2"),
    *("##ing", "##s", "##e", "##的", "##1", "##2"),
)
SEPARATORS = ("\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\u3000", "\xa0", "##\u2028")
"""Tokens that Python's splitlines() or strip() would tear or lose; Google's Chinese vocabulary holds U+2028."""

TEXTS = [
    "中文是CLUE, the playing!",
    "  Été  的的的1212 ",
    "没有的字 😀 𠮷",
    "",
    "x" * 101 + " the",
    "文\u200b中\x00\ufffd\ufeff",
    "[MASK] the [SEP] 中[unused1] <S>",
    "２１ Ｔｈｅ①",
]
OURS = Vocabulary(TOKENS + SEPARATORS).tokenizer()


@pytest.fixture
def vocab_file(tmp_path: Path) -> Path:
    return written(tmp_path / "vocab.txt", TOKENS)


def written(path: Path, tokens: tuple[str, ...], end: str = "\n", last: str = "\n") -> Path:
    path.write_bytes((end.join(tokens) + last).encode())
    return path


def test_the_line_number_is_the_id(vocab_file: Path) -> None:
    vocabulary = read_vocabulary(vocab_file)
    assert vocabulary.tokens == TOKENS
    assert len(vocabulary) == len(TOKENS)
    assert all(vocabulary.ids[token] == index for index, token in enumerate(TOKENS))
    named = (vocabulary.pad, vocabulary.unknown, vocabulary.start, vocabulary.separator, vocabulary.mask)
    assert named == tuple(TOKENS.index(token) for token in SPECIAL_TOKENS)


def test_a_folder_is_read_by_its_vocab_txt(vocab_file: Path) -> None:
    assert read_vocabulary(vocab_file.parent) == read_vocabulary(vocab_file)


@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("final", [True, False], ids=["final newline", "none"])
@pytest.mark.parametrize("start", ["", "\ufeff"], ids=["plain", "byte order mark"])
def test_line_ends_change_neither_tokens_nor_hash(tmp_path: Path, end: str, final: bool, start: str) -> None:
    file = written(tmp_path / "vocab.txt", (start + TOKENS[0], *TOKENS[1:]), end, end if final else "")
    vocabulary = read_vocabulary(file)
    assert vocabulary.tokens == TOKENS
    assert vocabulary.sha256 == hashlib.sha256("\n".join(TOKENS).encode()).hexdigest()


def test_the_hash_follows_the_order_of_tokens() -> None:
    assert Vocabulary(TOKENS).sha256 != Vocabulary(TOKENS[::-1]).sha256


def test_tokens_may_hold_unicode_line_separators_and_blanks(tmp_path: Path) -> None:
    tokens = TOKENS + SEPARATORS
    assert read_vocabulary(written(tmp_path / "vocab.txt", tokens)).tokens == tokens
    assert read_vocabulary(written(tmp_path / "vocab.txt", tokens, "\r\n", "")).tokens == tokens


@pytest.mark.parametrize(
    ("end", "last", "said"),
    [
        ("\n", "\n\n", "blank lines at its end, 1"),
        ("\n", "\n \n\n", "blank lines at its end, 2"),
        (" \n", " \n", "blanks behind tokens, 30"),
        ("\t\r\n", "", "blanks behind tokens, 29"),
    ],
)
def test_blanks_behind_tokens_and_blank_lines_at_the_end_are_no_tokens(
    tmp_path: Path, end: str, last: str, said: str
) -> None:
    vocabulary = read_vocabulary(written(tmp_path / "vocab.txt", TOKENS, end, last))
    assert vocabulary.tokens == TOKENS
    assert vocabulary.sha256 == Vocabulary(TOKENS).sha256
    (note,) = vocabulary.notes
    assert said in note


def test_words_that_no_text_gives_are_named() -> None:
    words = ("糖化血红蛋白", "CLUE", "c++", "é")
    assert Vocabulary((*TOKENS, *words)).never_given() == list(words)
    added = WordPieceRules(added=(AddedToken("糖化血红蛋白"),))
    assert Vocabulary((*TOKENS, *words), rules=added).never_given() == list(words[1:])
    cased = WordPieceRules(lower_case=False)
    assert Vocabulary((*TOKENS, *words), rules=cased).never_given() == ["糖化血红蛋白", "c++"]


@pytest.mark.parametrize("missing", [("[MASK]",), ("[PAD]", "[CLS]"), SPECIAL_TOKENS])
def test_missing_special_tokens_are_named(tmp_path: Path, missing: tuple[str, ...]) -> None:
    file = written(tmp_path / "vocab.txt", tuple(token for token in TOKENS if token not in missing))
    with pytest.raises(ClueBenchError) as caught:
        read_vocabulary(file)
    assert f"vocab.txt: no {', '.join(missing)} among" in caught.value.message


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"], ids=["plain", "byte order mark"])
def test_invalid_utf8_names_file_and_byte(tmp_path: Path, start: bytes) -> None:
    data = start + "[PAD]\n的\n".encode() + b"\xff\n"
    (tmp_path / "vocab.txt").write_bytes(data)
    with pytest.raises(ClueBenchError, match=rf"(?m)vocab\.txt, line 3: not UTF-8 at byte {data.index(0xFF)}$"):
        read_vocabulary(tmp_path / "vocab.txt")


@pytest.mark.parametrize("name", ["missing.txt", "."])
def test_a_missing_vocabulary_is_an_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(ClueBenchError, match=r"no such vocabulary|neither"):
        read_vocabulary(tmp_path / name)


def test_special_and_unused_tokens_are_not_ordinary() -> None:
    vocabulary = Vocabulary(TOKENS)
    extraordinary = [token for token, is_it in zip(TOKENS, vocabulary.is_ordinary, strict=True) if not is_it]
    assert extraordinary == ["[PAD]", "[unused1]", "[unused2]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def test_continuations_do_not_start_words() -> None:
    starts = Vocabulary(TOKENS).starts_word
    assert [token for token, is_it in zip(TOKENS, starts, strict=True) if not is_it] == list(TOKENS[-6:])


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    Vocabulary(TOKENS + SEPARATORS).save(folder, max_length=64)
    return folder


@pytest.fixture(scope="module")
def loaded(saved: Path) -> BertTokenizer:
    return BertTokenizer.from_pretrained(saved)


@pytest.fixture(scope="module")
def independent() -> BertTokenizer:
    """BertTokenizer made from nothing but the tokens."""
    return BertTokenizer(vocab={token: index for index, token in enumerate(TOKENS + SEPARATORS)})


def test_a_saved_vocabulary_loads_in_transformers(saved: Path, loaded: BertTokenizer) -> None:
    assert loaded.get_vocab() == {token: index for index, token in enumerate(TOKENS + SEPARATORS)}
    assert loaded.model_max_length == 64
    assert [loaded.pad_token, loaded.unk_token, loaded.cls_token, loaded.sep_token, loaded.mask_token] == [
        *SPECIAL_TOKENS
    ]
    assert read_vocabulary(saved).tokens == TOKENS + SEPARATORS


def test_a_tokenizer_json_alone_is_a_vocabulary(saved: Path, tmp_path: Path) -> None:
    shutil.copyfile(saved / "tokenizer.json", tmp_path / "tokenizer.json")
    assert read_vocabulary(tmp_path) == Vocabulary(TOKENS + SEPARATORS)


@pytest.mark.parametrize("second", [None, "the 文 。"], ids=["single", "pair"])
@pytest.mark.parametrize("first", TEXTS)
def test_ids_are_those_of_bert_tokenizer(
    loaded: BertTokenizer, independent: BertTokenizer, first: str, second: str | None
) -> None:
    texts = (first,) if second is None else (first, second)
    encoding = OURS.encode(*texts)
    for oracle in (loaded, independent):
        expected = oracle(*texts)
        assert encoding.ids == expected["input_ids"]
        assert encoding.type_ids == expected["token_type_ids"]


@given(st.text(alphabet=st.one_of(st.sampled_from("的一是中文。Thecluplays 12\u2028"), st.characters(codec="utf-8"))))
def test_any_text_has_bert_tokenizers_ids(independent: BertTokenizer, text: str) -> None:
    assert OURS.encode(text, add_special_tokens=False).ids == independent.encode(text, add_special_tokens=False)


@pytest.mark.parametrize("kind", ["BPE", "Unigram", None])
def test_a_tokenizer_of_another_kind_is_an_error(tmp_path: Path, kind: str | None) -> None:
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": {"type": kind, "vocab": {}}}))
    with pytest.raises(ClueBenchError, match=r"tokenizer\.json: .*expected WordPiece"):
        read_vocabulary(tmp_path)


def test_a_tokenizer_json_whose_ids_have_gaps_is_an_error(tmp_path: Path) -> None:
    model = {"type": "WordPiece", "vocab": {token: 2 * index for index, token in enumerate(TOKENS)}}
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": model}))
    with pytest.raises(ClueBenchError, match=r"tokenizer\.json"):
        read_vocabulary(tmp_path)


def training_lines() -> Iterator[str]:
    """Yield lines with many ties in the counts of words, pairs and characters."""
    random = Random("training")
    for _ in range(300):
        words = ["".join(random.choices("abcdefgh", k=random.randint(2, 6))) for _ in range(8)]
        yield "".join(random.choices("的一是不了有和人这中大为", k=20)) + " " + " ".join(words)


def test_training_keeps_specials_first_and_the_size() -> None:
    vocabulary = train_wordpiece(training_lines(), size=200)
    assert vocabulary.tokens[:5] == SPECIAL_TOKENS
    assert len(vocabulary) == len(set(vocabulary.tokens)) == 200
    assert {"的", "a", "##a"} < set(vocabulary.tokens)
    assert not any(len(token.removeprefix("##")) > 1 and "的" in token for token in vocabulary.tokens)


def test_training_lowers_case_and_strips_accents() -> None:
    tokens = train_wordpiece(["Été ÉTÉ ete"] * 5, size=100).tokens
    assert "ete" in tokens
    assert not set("ÉétTE") & set("".join(tokens[5:])) - {"t"}


@pytest.mark.parametrize(
    "lines", [["abcdefghijklmnopqrstuvwxyz zyxwvutsrqponmlkjihgfedcba"] * 3, ["的一是不了有和人" * 3]]
)
@pytest.mark.parametrize("size", [10, 20])
def test_training_never_exceeds_the_size(lines: list[str], size: int) -> None:
    assert len(train_wordpiece(lines, size=size)) <= size


def test_a_character_below_the_minimum_frequency_is_left_out() -> None:
    tokens = train_wordpiece(["的的的一一是"], size=100, min_frequency=2).tokens
    assert {"的", "一"} <= set(tokens)
    assert "是" not in tokens


TRAINING_SCRIPT = """
import sys
from clue_bench.vocab.training import train_wordpiece
print(train_wordpiece(sys.stdin.read().splitlines(), size=int(sys.argv[1])).sha256)
"""


@pytest.mark.parametrize("size", [200, 38, 30], ids=["ties among pairs", "among rare characters", "no room"])
def test_training_is_deterministic_in_any_process(size: int) -> None:
    text = "\n".join(training_lines()) + "\n" + "甲乙丙丁戊己庚辛壬癸" * 2
    command = [sys.executable, "-c", TRAINING_SCRIPT, str(size)]
    hashes = [subprocess.run(command, input=text, capture_output=True, check=True, text=True).stdout for _ in range(3)]
    assert hashes[1:] == hashes[:-1]
    assert hashes[0].strip() == train_wordpiece(text.splitlines(), size=size).sha256


def test_a_text_that_is_given_as_a_vocabulary_leads_to_training_one(tmp_path):
    (tmp_path / "my.txt").write_text("今天天气很好。\n\n我们去公园。\n", encoding="utf-8")
    with pytest.raises(ClueBenchError, match="among") as caught:
        read_vocabulary(tmp_path / "my.txt")
    assert caught.value.hint.startswith(f"run clue-bench vocab train {tmp_path / 'my.txt'} --out vocab.txt")
