"""Exact match and F1 of answers, by the three definitions that published scores of CMRC2018 used.

Input: a predicted answer and the right ones. Output: (exact match, F1), each the best over the right answers, as shares
of 1. The definitions, which never share a column:

    cmrc2018   the official one of CMRC2018, DRCD and CLUE. Lower case, a list of punctuation removed (`REMOVED`), most
               of ASCII's stays. Exact match is equality. F1 is that of the longest common run of segments: every
               character from 一 to 龥 is one, and what is between them is split into words as in the Penn Treebank.
    paddlenlp  the exact match and F1 of PaddleNLP: ASCII punctuation and English articles go, too; F1 is of the bag of
               characters up to the first blank. It is higher than the official one.
    squad      SQuAD 1.1's: ASCII punctuation and articles removed, F1 of the bag of words between blanks, so that a
               Chinese answer is right as a whole or not at all.

CLUE's score of CMRC2018 is the official exact match. NLTK, which the official script takes its words from, is not
needed: `_words` follows its rules, as far as they concern lower case without the punctuation that is removed before.
"""

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from difflib import SequenceMatcher
from functools import lru_cache
from typing import NamedTuple

from clue_bench.errors import ClueBenchError, nearest

REMOVED = "-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』"
"""Punctuation that the official definition ignores. Its list has "……", too, but is asked for single characters, so that
an ellipsis stays."""


class SpanScore(NamedTuple):
    """Exact match (0 or 1) and F1 of an answer, as shares of 1."""

    exact: float
    f1: float


def span_score(predicted: str, answers: Sequence[str], *, definition: str = "cmrc2018") -> SpanScore:
    """Return the scores of a predicted answer, the best over the right `answers`.

    Raises ClueBenchError for another definition, or without a right answer.
    """
    if definition not in DEFINITIONS:
        raise ClueBenchError(f"no definition '{definition}' of answers' scores", nearest(definition, DEFINITIONS))
    if not answers:
        raise ClueBenchError("cannot score an answer without a right one", "give the right answers")
    found = [DEFINITIONS[definition](predicted, answer) for answer in answers]
    return SpanScore(max(score.exact for score in found), max(score.f1 for score in found))


def _cmrc2018(predicted: str, answer: str) -> SpanScore:
    ours, right = _without_punctuation(predicted), _without_punctuation(answer)
    exact = float(ours == right)
    segments, right_segments = _segments(ours), _segments(right)
    run = SequenceMatcher(None, segments, right_segments, autojunk=False).find_longest_match().size
    return SpanScore(exact, _f1(run, len(segments), len(right_segments)))


def _paddlenlp(predicted: str, answer: str) -> SpanScore:
    ours, right = (_squad_text(predicted, also=_without_punctuation), _squad_text(answer, also=_without_punctuation))
    ours_first, right_first = "".join(ours.split()[:1]), "".join(right.split()[:1])
    is_empty = not ours_first and not right_first
    return SpanScore(float(ours == right), float(is_empty) or _bag_f1(ours_first, right_first))


def _squad(predicted: str, answer: str) -> SpanScore:
    ours, right = _squad_text(predicted), _squad_text(answer)
    return SpanScore(float(ours == right), _bag_f1(ours.split(), right.split()))


DEFINITIONS: dict[str, Callable[[str, str], SpanScore]] = {
    "cmrc2018": _cmrc2018,
    "paddlenlp": _paddlenlp,
    "squad": _squad,
}


def _f1(common: int, predicted: int, right: int) -> float:
    return 2 * common / (predicted + right) if common else 0.0


def _bag_f1(ours: Sequence[str], right: Sequence[str]) -> float:
    return _f1(sum((Counter(ours) & Counter(right)).values()), len(ours), len(right))


_REMOVE = str.maketrans("", "", REMOVED)
_ASCII = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")


def _without_punctuation(text: str) -> str:
    return text.lower().strip().translate(_REMOVE)


def _squad_text(text: str, *, also: Callable[[str], str] = str) -> str:
    """Return a text in lower case without ASCII punctuation, English articles and more than one blank at a place."""
    return " ".join(_ARTICLES.sub(" ", also(text.lower().translate(_ASCII))).split())


_CHINESE = re.compile("([\u4e00-\u9fa5])")

# A sentence ends behind "?" and "!", and behind the period of a word of two letters or more, unless that is one of the
# common titles and abbreviations that NLTK has learnt; it knows some hundred more.
_SENTENCE = re.compile(
    r"(?:(?<=[^\W\d_]{2}\.)|(?<=\.[^\W\d_]\.))(?<!\b(?:dr|st|mr|ms|jr|sr|co|vs|no)\.)(?<!\b(?:mrs|inc|ltd|u\.s|u\.k)\.)"
    r"(?<!\b(?:prof|corp)\.)(?=[\s)\";}\]@'({\[!?])(?![\"')\]}]+$)|(?<=[?!])(?=\s)"
)

# In the Treebank's order. An apostrophe in front of a clitic belongs to it; every other one stands alone.
_WORD_RULES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"[«‘„]", r" \g<0> "),
        (r"^\"", r" `` "),
        (r"([ (\[{<])(?:\"|'')", r"\1 `` "),
        (r"(?<!\w)'(?!(?:re|ve|ll|m|t|s|d|n)\b)(?=\w)", r"' "),
        (r"([^.])\.([\])}>\"'»\s]*)$", r"\1 . \2 "),
        (r",(?=\D|$)", " , "),
        (r"\.{2,}|[;@#$%&?!\u2012-\u2015]", r" \g<0> "),
        (r"([^'])' ", r"\1 ' "),
        (r"[\]\[(){}<>]", r" \g<0> "),
        (r"^|$", " "),
        (r"»", " » "),
        (r"''|\"", " '' "),
        (r"\s+", " "),
        (r"([^' ])('[smd]?) ", r"\1 \2 "),
        (r"([^' ])('ll|'re|'ve|n't) ", r"\1 \2 "),
        (r"\b(can)(not)\b|\b(d)('ye)\b|\b(gim)(me)\b|\b(gon)(na)\b|\b(got)(ta)\b|\b(lem)(me)\b|\b(more)('n)\b", None),
        (r"\b(wan)(na)(?=\s)| ('t)(is)\b| ('t)(was)\b", None),
    )
)


def _segments(text: str) -> list[str]:
    """Return the characters from 一 to 龥, and the words of what stands between them."""
    found: list[str] = []
    for part in _CHINESE.split(text):
        found += (part,) if _CHINESE.fullmatch(part) else _words(part)
    return found


@lru_cache(maxsize=2**16)
def _words(text: str) -> tuple[str, ...]:
    found: list[str] = []
    for sentence in _SENTENCE.split(text):
        for pattern, replacement in _WORD_RULES:
            sentence = pattern.sub(_in_two if replacement is None else replacement, sentence)
        found += sentence.split()
    return tuple(found)


def _in_two(match: re.Match[str]) -> str:
    return " " + " ".join(filter(None, match.groups())) + " "
