"""Splitting lines into sentences."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clue_bench.corpus.text import clean_line, sentence_starts, split_sentences
from clue_bench.vocab import codes_of

# What decides about boundaries, common enough to meet: ends, closing marks, blanks, letters.
PUNCTUATED = st.text(alphabet="。!?…！？”’\"'」』）)》】]“「(,;. \u3000\u2028中文ab1")


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


@settings(deadline=None)
@given(st.one_of(PUNCTUATED, st.text()))
def test_the_sentences_of_a_cleaned_line_are_the_line_again(line: str) -> None:
    cleaned = clean_line(line)
    sentences = split_sentences(cleaned)
    assert "".join(sentences).replace(" ", "") == cleaned.replace(" ", "")
    assert all(sentence.strip() for sentence in sentences)


@settings(deadline=None)
@given(PUNCTUATED)
def test_a_sentence_is_not_split_again(line: str) -> None:
    for sentence in split_sentences(clean_line(line)):
        assert split_sentences(sentence) == [sentence]


def test_a_very_long_line_is_split_in_linear_time() -> None:
    # 4 MB: with a quadratic pattern this would take hours.
    assert len(split_sentences("中" * 2**20 + "。”" * 2**20)) == 2**20


@settings(deadline=None, max_examples=300)
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
