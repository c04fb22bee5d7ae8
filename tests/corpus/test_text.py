"""Cleaning lines: what goes, what stays; and splitting them into sentences."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clue_bench.corpus.text import clean_line, clean_lines, sentence_starts, split_sentences
from clue_bench.vocab import codes_of, text_of

# What is dropped, what becomes a space, and what stays, common enough to meet; the last planes' characters too.
MIXED = st.text(alphabet="\u200b\x00\x1c\ufeff\ufffd \t\r\u3000\xa0\u2028中a。\uffff\U00010000\U0010ffff")
# What decides about boundaries, common enough to meet: ends, closing marks, blanks, letters.
PUNCTUATED = st.text(alphabet="。!?…！？”’\"'」』）)》】]“「(,;. \u3000\u2028中文ab1")


@pytest.mark.parametrize(
    ("line", "cleaned"),
    [
        pytest.param("  两端 \t", "两端", id="blanks at both ends"),
        pytest.param("中 \u3000\xa0\t 文", "中 文", id="runs of blanks"),
        pytest.param("中\u2028文\x85字", "中 文 字", id="line ends inside a line"),
        pytest.param("\ufeff中\u200b文\u200d", "中文", id="zero-width characters"),
        pytest.param("\u202e中\u200f文\u202c", "中文", id="direction marks"),
        pytest.param("co\xadoperate", "cooperate", id="soft hyphen"),
        pytest.param("中\x00文\x1b[0m\x7f\x9f", "中文[0m", id="controls"),
        pytest.param("坏\ufffd字", "坏字", id="replacement character"),
        pytest.param("中 \u200b 文", "中 文", id="blanks that meet when what is between them goes"),
        pytest.param("\u200b\ufeff \x00", "", id="nothing visible"),
        pytest.param("", "", id="nothing"),
    ],
)
def test_invisible_characters_go_and_blanks_become_one_space(line: str, cleaned: str) -> None:
    assert clean_line(line) == cleaned


@pytest.mark.parametrize(
    "line", ["“引号”,(括号)。", "𠮷野家 😀", "Ａｂ１２ Été", "http://a.b/c?d=e&amp;f", "繁體 ㈱ ①"]
)
def test_everything_else_stays(line: str) -> None:
    assert clean_line(line) == line


@given(st.text())
def test_cleaning_twice_changes_nothing_more(line: str) -> None:
    assert clean_line(clean_line(line)) == clean_line(line)


@given(st.text(alphabet=st.characters(categories=["Lo", "Lu", "Nd", "Po", "Zs", "Cf", "Cc"])))
def test_letters_digits_and_punctuation_are_never_lost(line: str) -> None:
    def kept(text: str) -> str:
        return "".join(character for character in text if character.isalnum())

    assert kept(clean_line(line)) == kept(line)


@given(st.lists(st.one_of(MIXED, st.text(st.characters(codec="utf-8", exclude_characters="\n"))), max_size=8))
def test_many_lines_are_cleaned_as_one_by_one(lines: list[str]) -> None:
    def text(parts: list[str]) -> str:
        return "".join(f"{part}\n" for part in parts)

    assert text_of(clean_lines(codes_of(text(lines)))) == text(list(map(clean_line, lines)))


def test_every_character_is_cleaned_alike_among_many_lines() -> None:
    lines = [
        f"中 {chr(code)}{chr(code)}文" for code in range(0x11000) if chr(code) != "\n" and not 0xD800 <= code < 0xE000
    ]
    codes = clean_lines(codes_of("".join(f"{line}\n" for line in lines)))
    assert text_of(codes).split("\n")[:-1] == list(map(clean_line, lines))


@pytest.mark.parametrize(
    ("line", "sentences"),
    [
        ("今天晴。明天雨！后天呢？", ["今天晴。", "明天雨！", "后天呢？"]),
        ("Really? Yes! 好", ["Really?", " Yes!", " 好"]),
        ("他说：“走吧。”然后走了。", ["他说：“走吧。”", "然后走了。"]),
        ("「好！」（真的？）《书。》【完。】", ["「好！」", "（真的？）", "《书。》", "【完。】"]),
        ("什么？！不会吧……算了", ["什么？！", "不会吧……", "算了"]),
        ("圆周率是3.14, see v1.2. 完", ["圆周率是3.14, see v1.2. 完"]),
        ("算了。]（五）追悼", ["算了。", "]（五）追悼"]),
        ("没有句末标点", ["没有句末标点"]),
        ("一;二；三,四：五", ["一;二；三,四：五"]),
        ("。。。", ["。。。"]),
        ("好。 ", ["好。"]),
        ("", []),
        (" ", []),
    ],
)
def test_sentences_end_after_end_marks_and_closing_quotes(line: str, sentences: list[str]) -> None:
    assert split_sentences(line) == sentences


@given(st.one_of(PUNCTUATED, st.text()))
def test_the_sentences_of_a_cleaned_line_are_the_line_again(line: str) -> None:
    cleaned = clean_line(line)
    sentences = split_sentences(cleaned)
    assert "".join(sentences).replace(" ", "") == cleaned.replace(" ", "")
    assert all(sentence.strip() for sentence in sentences)


@given(PUNCTUATED)
def test_a_sentence_is_not_split_again(line: str) -> None:
    for sentence in split_sentences(clean_line(line)):
        assert split_sentences(sentence) == [sentence]


def test_a_very_long_line_is_split_in_linear_time() -> None:
    # 4 MB: with a quadratic pattern this would take hours.
    assert len(split_sentences("中" * 2**20 + "。”" * 2**20)) == 2**20


@given(st.lists(st.one_of(PUNCTUATED, st.text(st.characters(codec="utf-8"))), max_size=6))
def test_sentences_of_many_lines_start_where_those_of_each_do(texts: list[str]) -> None:
    lines = list(map(clean_line, texts))
    expected, at = [], 0
    for line in lines:
        for sentence in split_sentences(line) or [""]:
            expected.append(at)
            at += len(sentence)
        at += 1
    assert sentence_starts(codes_of("".join(f"{line}\n" for line in lines))).tolist() == expected
