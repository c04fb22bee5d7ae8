"""Columns of texts and labels are found by obvious names, and only by those."""

import pytest

from clue_bench.errors import ClueBenchError
from clue_bench.tasks.columns import find_columns


@pytest.mark.parametrize(
    ("columns", "texts", "label"),
    [
        (["text", "label"], ["text"], "label"),
        (["id", "内容", "标签"], ["内容"], "标签"),
        (["Label", "摘要"], ["摘要"], "Label"),
        (["sentence1", "sentence2", "label", "split"], ["sentence1", "sentence2"], "label"),
        (["query", "title", "label"], ["query", "title"], "label"),
        (["text", "author", "类别"], ["text"], "类别"),
    ],
)
def test_obvious_names_are_found_and_said(columns, texts, label):
    found = find_columns(columns, text=None, label=None, where="a.csv")
    assert (found.texts, found.label) == (texts, label)
    assert all(f"'{column}'" in found.note for column in (*texts, label))


def test_what_is_named_is_taken_and_only_the_rest_is_found():
    assert find_columns(["摘要", "内容", "标签"], text="摘要", label=None, where="")[:2] == (["摘要"], "标签")
    assert find_columns(["text", "y"], text=None, label="y", where="")[:2] == (["text"], "y")
    assert find_columns(["a", "b", "c"], text=("a", "b"), label="c", where="") == (["a", "b"], "c", "")
    assert find_columns(["0", "1"], text=0, label=1, where="") == (["0"], "1", "")


@pytest.mark.parametrize(
    "columns",
    [
        ["title", "content", "label"],
        ["text", "label", "标签"],
        ["今天天气不错", "1"],
        ["作者", "摘要", "label"],
        ["text", "label", "Text"],
    ],
)
def test_names_that_are_not_obvious_are_listed(columns):
    with pytest.raises(ClueBenchError, match="which column holds the") as caught:
        find_columns(columns, text=None, label=None, where="a.csv")
    assert ", ".join(columns) in caught.value.message
    assert "--text COLUMN --label COLUMN" in caught.value.hint
    assert ("header" in caught.value.hint) == (columns[1] == "1")


@pytest.mark.parametrize(("text", "label"), [(["q1", "q1"], "same"), (["q1", "q2"], "q2"), (["q1", "q1"], None)])
def test_a_column_that_is_given_twice_is_named(text, label):
    with pytest.raises(ClueBenchError, match="given twice"):
        find_columns(["q1", "q2", "same"], text=text, label=label, where="a.csv")
