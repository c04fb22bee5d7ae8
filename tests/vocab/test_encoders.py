"""The table path: any text has the library's ids and places, whatever is remembered, and in any thread."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import BertTokenizer

from clue_bench.vocab import SPECIAL_TOKENS, Vocabulary, codes_of, encoders, read_vocabulary, text_of

VOCABULARY = Vocabulary(
    (
        *SPECIAL_TOKENS,
        *"的一是中文。，…“!?.-+",
        *(*"豈𠮷㐀", "か", "가", "각", "ᄀ", "##ᅡ", "##ᆨ", "ß", "ss", "##s", "##e"),
        *(*"abcdefghijklmnopqrstuvwxyz0123456789", *(f"##{c}" for c in "abcdfghijklmnopqrtuvwxyz0123456789")),
        *("the", "##ing", "😀", "##😀", "\u2028"),
    )
)
ENCODER = VOCABULARY.encoder(special_tokens=False)
WITH_SYMBOLS = VOCABULARY.encoder(special_tokens=True)

CHINESE = st.sampled_from("的一是中文豈\U0002f800\U00020bb7㐀㐁\u3007，。…“”（）！？")
LATIN = st.sampled_from("theingabcXYZÉéßﬁＡ１½①Ως.'-_+$")
MARKS = st.sampled_from("\u0301\u0338\u0345\u302a\u302e\u3099\U0001d165\u0f71\u0f80\u05b0\u093e\ufe0f\u20e3")
INVISIBLE = st.sampled_from("\u200b\u200c\u200d\u2060\ufeff\xad\x00\x1c\x7f\x85\ufffd\ue000\U000f0000\U000e0001")
BLANKS = st.sampled_from(" \t\n\r\x0b\x0c\xa0\u1680\u2000\u2028\u2029\u3000")
OTHERS = st.one_of(st.sampled_from("がカﾞ각가ᄀ가👩🏽‍💻😀🇨🇳กำาЙй"), st.characters(codec="utf-8"))
ANY_TEXT = st.text(st.one_of(CHINESE, LATIN, MARKS, INVISIBLE, BLANKS, OTHERS), max_size=60)


@pytest.fixture(scope="module")
def library() -> Tokenizer:
    """The same tokenizer, without a table."""
    tokenizer = VOCABULARY.tokenizer()
    tokenizer.encode_special_tokens = True
    return tokenizer


@pytest.fixture(scope="module")
def bert() -> BertTokenizer:
    return BertTokenizer(vocab=dict(VOCABULARY.ids))


@given(texts=st.lists(ANY_TEXT, max_size=6))
@example(["", "的\u0301\u0301", "e\u0301\u0301的e\u0338=\u0338", "\u0301", "中\u200b文", "a\u200bb", "x" * 101, "\n"])
@example(["中" * 101 + "9" * 100, "的th\x00e的", "\u037e\u2126\u212b", "\U0002f800\U0002fa1d", "[MASK]的[PAD]"])
def test_any_text_has_the_librarys_ids_and_places(
    encode: Callable[..., Any], library: Tokenizer, texts: list[str]
) -> None:
    expected = library.encode_batch(texts, add_special_tokens=False)
    tokens = encode(ENCODER, texts)
    assert ENCODER.ids(texts) == [encoding.ids for encoding in expected]
    assert tokens.ids.tolist() == [index for encoding in expected for index in encoding.ids]
    assert tokens.lengths.tolist() == [len(encoding.ids) for encoding in expected]
    assert tokens.starts.tolist() == [start for encoding in expected for start, _ in encoding.offsets]


@given(ANY_TEXT, st.sampled_from(["", *SPECIAL_TOKENS]), ANY_TEXT)
def test_with_symbols_any_text_has_bert_tokenizers_ids(
    bert: BertTokenizer, before: str, symbol: str, after: str
) -> None:
    text = before + symbol + after
    assert WITH_SYMBOLS.ids([text]) == [bert.encode(text, add_special_tokens=False)]


@pytest.mark.slow
def test_every_character_alone_and_between_letters_has_the_librarys_ids(library: Tokenizer) -> None:
    codes = [code for code in range(0x30000) if not 0xD800 <= code < 0xE000]
    texts = ["".join(f"{chr(code)}a{chr(code)}中" for code in codes[at : at + 512]) for at in range(0, len(codes), 512)]
    assert ENCODER.ids(texts) == [encoding.ids for encoding in library.encode_batch(texts, add_special_tokens=False)]


@given(texts=st.lists(ANY_TEXT, min_size=1, max_size=6))
def test_forgetting_runs_changes_nothing(texts: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoders, "REMEMBERED", 3)
        encoder = VOCABULARY.encoder(special_tokens=False)
        assert [encoder.ids([text])[0] for text in texts * 2] == ENCODER.ids(texts) * 2


def test_what_is_remembered_stays_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoders, "REMEMBERED", 1000)
    characters = encoders.CharacterTable(VOCABULARY.tokenizer())
    for number in range(2000):
        characters.encode(codes_of(f"的{number}号"))
    assert sum(map(len, characters._rows)) <= 1004
    assert len(characters._memory.ids) <= 2000


def test_threads_may_share_an_encoder() -> None:
    encoder = VOCABULARY.encoder(special_tokens=False)
    texts = [[f"的{number}the{number * turn}" for turn in range(20)] for number in range(200)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(encoder.ids, texts)) == [ENCODER.ids(few) for few in texts]


@pytest.mark.parametrize("special_tokens", [True, False])
def test_half_a_character_is_the_librarys_error(special_tokens: bool) -> None:
    with pytest.raises(TypeError):
        VOCABULARY.encoder(special_tokens=special_tokens).ids(["的\ud83d"])


@given(st.text(st.characters(codec="utf-8")))
def test_code_points_are_the_text_again(text: str) -> None:
    assert text_of(codes_of(text)) == text
    assert len(codes_of(text)) == len(text)


@pytest.mark.parametrize("name", ["google_zh_vocab_21128.txt", "clue_vocab_8021.txt"])
def test_every_token_of_a_real_vocabulary_has_the_librarys_ids(real_data: Path, name: str) -> None:
    vocabulary = read_vocabulary(real_data / "vocab" / name)
    tokenizer = vocabulary.tokenizer()
    tokenizer.encode_special_tokens = True
    texts = [f"中{token}{other}a" for token, other in zip(vocabulary.tokens, vocabulary.tokens[1:], strict=False)]
    expected = [encoding.ids for encoding in tokenizer.encode_batch(texts, add_special_tokens=False)]
    assert vocabulary.encoder(special_tokens=False).ids(texts) == expected
