"""Token types and pruning: small cases by hand, and the published counts and file on the real vocabularies."""

from pathlib import Path

import pytest

from clue_bench.errors import ClueBenchError
from clue_bench.vocab import SPECIAL_TOKENS, Vocabulary, read_vocabulary
from clue_bench.vocab.token_types import (
    NUMBERS,
    PUBLISHED,
    QUOTES,
    RULES,
    TYPES,
    compare,
    count_types,
    prune,
    type_finder,
)

CASES = {
    "simplified": ["中", "##国", "的"],
    "traditional": ["國", "##國", "體"],
    "english": ["a", "##ing", "word", "mp3", "##t00"],
    "japanese": ["の", "カ", "##ン", "ｲ"],
    "korean": ["한", "ᄀ", "##ᆼ"],
    "emoji": ["😂", "##❤", "©", "❤2017"],
    "numbers": ["9", "##10", "2017", "４", "3d"],
    "special": ["[PAD]", "[unused1]", "[MASK]", "<S>", "<T>"],
    "other": ["。", "##,", "ㄅ", "##", "ж", "ａ", "㗎", "\u2028"],
}
PRUNED = {
    "traditional Chinese": ["國", "##國"],
    "Chinese within words (##)": ["##中"],
    "Korean": ["ᄀ", "##한"],
    "Japanese": ["の", "##ン"],
    "English words of several letters, but no ##": ["word", "mp3"],
    "emoji": ["❤", "##❤"],
    "numbers of several characters": ["10", "##10", "3d", "2030"],
    "zhuyin": ["ㄅ", "##ㄚ"],
    "blanks": ["\u2028"],
}


@pytest.mark.parametrize("kind", TYPES)
def test_a_token_is_of_the_type_of_its_first_character(kind: str) -> None:
    type_of = type_finder(Vocabulary(SPECIAL_TOKENS))
    assert {token: type_of(token) for token in CASES[kind]} == dict.fromkeys(CASES[kind], kind)


def test_the_mark_before_a_sentencepiece_word_does_not_count(model_file: Path) -> None:
    vocabulary = read_vocabulary(model_file)
    type_of = type_finder(vocabulary)
    assert [type_of(token) for token in ("▁中国", "▁2020", "▁ab", "▁", "##中")] == [
        *("simplified", "numbers", "english", "other", "other")
    ]
    assert sum(count_types(vocabulary).values()) == len(vocabulary)
    assert count_types(vocabulary)["special"] == 15


@pytest.mark.parametrize(
    ("name", "differing"), [("google_zh_vocab_21128", {"english": 28, "other": -28}), ("clue_vocab_8021", {})]
)
def test_the_published_counts_come_out(real_data: Path, name: str, differing: dict[str, int]) -> None:
    vocabulary = read_vocabulary(real_data / "vocab" / f"{name}.txt")
    counts, published = count_types(vocabulary), PUBLISHED[vocabulary.sha256]
    assert sum(published.counts) == sum(counts.values()) == len(vocabulary)
    pairs = zip(counts.items(), published.counts, strict=True)
    differences = {kind: count - said for (kind, count), said in pairs if count != said}
    assert differences == differing
    assert bool(published.note) == bool(differing)


def test_the_28_that_differ_are_the_letters_and_two_that_went_by_hand(real_data: Path) -> None:
    vocabulary = read_vocabulary(real_data / "vocab" / "google_zh_vocab_21128.txt")
    type_of = type_finder(vocabulary)
    letters = [token for token in vocabulary.tokens if len(token) == 1 and type_of(token) == "english"]
    assert letters == sorted("abcdefghijklmnopqrstuvwxyz")
    assert [type_of(token) for token in ("##f2016", "##cm～")] == ["english"] * 2


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_drops_what_it_says(rule: str) -> None:
    pruned = prune(Vocabulary((*SPECIAL_TOKENS, *PRUNED[rule], "中")))
    assert pruned.dropped == {**{other: [] for other in RULES}, rule: PRUNED[rule]}
    assert pruned.vocabulary.tokens == (*SPECIAL_TOKENS, "中")


def test_what_simplified_chinese_needs_stays() -> None:
    tokens = (*SPECIAL_TOKENS, "[unused1]", "<S>", "中", "a", "##a", "##ing", "1", "##1", "。", "##。", "ж", "ａ", "ㄧ")
    assert prune(Vocabulary(tokens)).vocabulary.tokens == tokens


def test_quotes_and_numbers_are_added_in_place_and_once() -> None:
    pruned = prune(Vocabulary((*SPECIAL_TOKENS, '"', "#", "9", "10", "x")))
    assert pruned.vocabulary.tokens == (*SPECIAL_TOKENS, '"', *QUOTES, "#", "9", *NUMBERS, "x")
    assert pruned.added == [*QUOTES, *NUMBERS]
    again = prune(pruned.vocabulary)
    assert again.vocabulary == pruned.vocabulary
    assert again.added == [*NUMBERS]


def test_a_sentencepiece_vocabulary_cannot_be_pruned(model_file: Path) -> None:
    with pytest.raises(ClueBenchError, match="sentencepiece"):
        prune(read_vocabulary(model_file))


def test_a_comparison_names_what_is_missing_and_extra() -> None:
    one, two = Vocabulary((*SPECIAL_TOKENS, "a", "b", "c")), Vocabulary((*SPECIAL_TOKENS, "d", "c", "b"))
    assert compare(one, two) == (7, ["d"], ["a"], False)
    assert compare(one, one) == (8, [], [], True)


def test_googles_vocabulary_becomes_clues_but_for_the_tokens_that_went_by_hand(real_data: Path) -> None:
    pruned = prune(read_vocabulary(real_data / "vocab" / "google_zh_vocab_21128.txt"))
    official = read_vocabulary(real_data / "vocab" / "clue_vocab_8021.txt")
    compared = compare(pruned.vocabulary, official)
    assert (compared.common, compared.missing, len(compared.extra)) == (8_021, [], 132)
    assert compared.same_order
    assert {rule: len(tokens) for rule, tokens in pruned.dropped.items()} == dict(
        zip(RULES, (3_264, 5_689, 84, 573, 2_235, 56, 1_137, 36, 2), strict=True)
    )
    assert len(pruned.added) == len([*QUOTES, *NUMBERS, "##"]) == 101
