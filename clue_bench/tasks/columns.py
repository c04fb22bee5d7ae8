"""Find the columns that hold texts and label.

Input: names of columns, and what the user named. Output: the columns, and a note where they were found by their names
alone. Only obvious names are: one label, and one text or the two of a known pair; anything else is an error that lists
the columns.
"""

from collections.abc import Sequence
from typing import NamedTuple

from clue_bench.errors import ClueBenchError

Columns = str | int | Sequence[str | int]
"""A column of texts, or the two of pairs; a column may be called by a number."""

_TEXTS: tuple[str, ...]
_LABELS: tuple[str, ...]
_TEXTS = ("text", "sentence", "content", "title", "review", "comment", "query", "question")
_TEXTS += ("文本", "内容", "正文", "句子", "标题", "评论", "评价", "问题")
_PAIRS: tuple[tuple[str, str], ...]
_PAIRS = (("text_a", "text_b"), ("text1", "text2"), ("text_1", "text_2"), ("text", "text2"), ("text", "text_pair"))
_PAIRS += (("sentence1", "sentence2"), ("sentence_a", "sentence_b"), ("sentence_1", "sentence_2"))
_PAIRS += (("question1", "question2"), ("q1", "q2"), ("s1", "s2"), ("premise", "hypothesis"), ("query", "title"))
_PAIRS += (("句子1", "句子2"), ("文本1", "文本2"), ("问题1", "问题2"), ("前提", "假设"))
_LABELS = ("label", "labels", "class", "category", "target", "sentiment", "标签", "类别", "分类", "类型", "情感")
_PASSAGES = ("passage", "context", "article", "content", "text", "文章", "短文", "材料", "原文", "正文")
_QUESTIONS = ("question", "query", "问题", "题目", "题干")
_ANSWERS = ("answer", "answers", "label", "答案", "正确答案")
_CHOICE_LISTS = ("choices", "choice", "options", "选项")
_CHOICE_NAMES = ("{a}", "choice_{a}", "option_{a}", "选项{a}", "choice{n}", "choice_{n}", "option{n}", "选项{n}")
MAX_NAME, MAX_ASCII_NAME = 6, 30  # characters
_OTHERS = ("", "id", "idx", "index", "unnamed: 0", "split", "序号", "编号")


class Found(NamedTuple):
    """The columns of texts and label, and a note if not all of them were named, else ""."""

    texts: list[str]
    label: str
    note: str


def as_names(text: Columns) -> list[str]:
    """Return names of columns as a list of strings."""
    return [str(each) for each in ([text] if isinstance(text, str | int) else text)]


def find_columns(columns: Sequence[str], *, text: Columns | None, label: str | int | None, where: str) -> Found:
    """Return the columns that hold texts and label; those that are not given are found if their names are obvious.

    Raises ClueBenchError that lists the columns if they are not.
    """
    texts = None if text is None else as_names(text)
    if texts is not None and len(texts) not in (1, 2):
        raise ClueBenchError(f"{len(texts)} columns of texts, expected one or two", "give one, or two for pairs")
    given = [*(texts or []), *([] if label is None else [str(label)])]
    if repeated := next((column for column in given if given.count(column) > 1), None):
        raise ClueBenchError(
            f"{where}: column {repeated} is given twice", "name a column for each text and one for the label"
        )
    if texts is not None and label is not None:
        return Found(texts, str(label), "")
    free = [column for column in columns if column not in (texts or [])]
    chosen = guess_label(free) if label is None else str(label)
    if texts is None and chosen is not None:
        texts = guess_texts([column for column in free if column != chosen])
    if texts is None or chosen is None:
        wanted = "the label" if chosen is None else "the texts"
        header = "" if any(_plain(column) in (*_LABELS, *_TEXTS) for column in columns) else _NO_HEADER
        raise ClueBenchError(
            f"{where}: which column holds {wanted}? found {', '.join(columns) or 'none'}",
            f"name the columns: --text COLUMN --label COLUMN, and --text2 COLUMN for pairs{header}",
        )
    called = " and ".join(f"'{each}'" for each in texts)
    note = f"{where}: texts are read from {called}, labels from '{chosen}' (--text and --label name other columns)"
    return Found(texts, chosen, note)


def are_found(columns: Sequence[str], *, text: Columns | None, label: str | int | None) -> bool:
    """Return whether columns of texts and label are there: those that are given, or else obvious ones."""
    if text is None and label is None and find_questions(columns, where="") is not None:
        return True
    try:
        found = find_columns(columns, text=text, label=label, where="")
    except ClueBenchError:
        return False
    return {*found.texts, found.label} <= set(columns)


_NO_HEADER = "; or write a header as the first line: text,label"


class QuestionColumns(NamedTuple):
    """The columns of questions: passage and question, or the question alone; choices, if any; the answer."""

    texts: list[str]
    choices: list[str]
    label: str
    note: str


def find_questions(columns: Sequence[str], *, where: str) -> QuestionColumns | None:
    """Return the columns of questions if their names are obvious, None if they are not.

    Without choices, there must be a passage that the answer is found in, and no column of labels.
    """
    names = {_plain(column): column for column in columns}
    lists = [names[name] for name in _CHOICE_LISTS if name in names]
    each = next((found for name in _CHOICE_NAMES if len(found := _lettered(names, name)) > 1), [])
    choices = lists if len(lists) == 1 else each
    questions, answers = ([names[name] for name in known if name in names] for known in (_QUESTIONS, _ANSWERS))
    passages = [names[name] for name in _PASSAGES if name in names]
    if len(questions) != 1 or len(answers) != 1 or len(passages) > 1 or (lists and each):
        return None
    if not choices and (not passages or _plain(answers[0]) in _LABELS):
        return None
    called = ", ".join([*passages, *questions, *choices, *answers])
    kind = "questions with choices" if choices else "questions whose answers stand in a passage"
    return QuestionColumns([*passages, *questions], choices, answers[0], f"{where}: {kind}, read from {called}")


def _lettered(names: dict[str, str], name: str) -> list[str]:
    """Return the columns called A, B, … or 1, 2, … in order, of which the first two are there."""
    signs = "abcdefgh" if "{a}" in name else "12345678"
    found: list[str] = []
    for sign in signs:
        column = names.get(name.format(a=sign, n=sign))
        if column is None:
            break
        found.append(column)
    return found


def guess_label(columns: Sequence[str]) -> str | None:
    """Return the column of labels if one name is obvious, else None."""
    fitting = [column for column in columns if _plain(column) in _LABELS]
    return fitting[0] if len(fitting) == 1 else None


def guess_texts(columns: Sequence[str]) -> list[str] | None:
    """Return the column of a text, or the two of a pair, if their names are obvious, else None."""
    names = {_plain(column): column for column in columns if _plain(column) not in _OTHERS}
    if len(names) < sum(_plain(column) not in _OTHERS for column in columns):
        return None  # two differ in case or blanks only
    pairs = [pair for pair in _PAIRS if all(name in names for name in pair)]
    if pairs:
        return [names[name] for name in pairs[0]] if len(pairs) == 1 else None
    fitting = [names[name] for name in _TEXTS if name in names] or list(names.values())
    return fitting if len(fitting) == 1 else None


def is_free(column: str) -> bool:
    """Return whether a column's name is not that of ids, rows' numbers or splits, which are no texts."""
    return _plain(column) not in _OTHERS


def is_text(column: str) -> bool:
    """Return whether a column's name is obviously that of texts, or of one of a pair."""
    return _plain(column) in (*_TEXTS, *(name for pair in _PAIRS for name in pair))


def is_name(column: str) -> bool:
    """Return whether the first line may name a column so; a longer one is a text, of a file without a header."""
    return len(column) <= (MAX_ASCII_NAME if column.isascii() else MAX_NAME)


def _plain(column: str) -> str:
    return column.strip().lower()
