"""Results and reports in Chinese: one table of English texts and their Chinese, used where text leaves the program.

Input: a finished text for people. Output: its Chinese from the `language.*.zh.toml` here, or the text itself where none
has it, such as names and numbers. In the English, "{}" stands for anything, "{#}" for a number, "{w}" for a word, and
"(s)" for an s that may be there; in the Chinese, "{0}", "{1}" stand for the same, "{0:zh}" for what is a text of ours
in its turn, "{0:found}" for names, or a text of ours if there are none, "{0:list}" for a list of our words and
"{0:quoted}" for names in quotes. Of a text that is not in the table, its lines, or parts between wide gaps or dots,
are looked up one by one; the parts of a list, if all of them are there; and what stands before and behind the first
colon. Values, JSON, CSV and records stay as they are, and so do names and texts of users and data: `tables` and
`translated_markup` say what these are.
"""

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache, lru_cache
from importlib import resources
from typing import Literal, get_args

from clue_bench.errors import ClueBenchError

Language = Literal["en", "zh"]
TABLES = ("language.zh.toml", "language.help.zh.toml", "language.errors.zh.toml")
LOCALES = ("LC_ALL", "LC_MESSAGES", "LANG")  # the first one that is set counts, as everywhere
JOINTS = ("\n", "  ", " · ")  # between texts that stand side by side
LISTS = {"; ": "；", ", ": "，"}
IN_BOTH = re.compile(r"(.*\()?(模型|参数|无预训练|多数类|TF-IDF \+ 线性|无实体|实体词典)(\)?)")
PLACE = re.compile(r"(\{[#w]?\}|\(s\))")
KEPT = ' translate="no"'
NONE = re.compile(r"\(?none\)?|nothing|no \w+|\w+ and \w+ columns")
QUOTED = re.compile(r"'([^']*)'")
END = "\0"  # of a part, beside which Chinese and other letters get a blank
NO_BLANK = re.compile(f"(?<=[\u4e00-\u9fff]){END}(?=[A-Za-z\\d])|(?<=[A-Za-z\\d]){END}(?=[\u4e00-\u9fff])")
TAG = re.compile(r"<(/?)(\w+)")
TEXT_NODE = re.compile(r"(<(?:style|script)\b.*?</(?:style|script)>|<[^>]*>)", re.DOTALL)

_chosen: list[Language] = ["en"]


def use_language(language: Language) -> None:
    """Print and write results in `language`, "en" or "zh", from now on. Raises ClueBenchError for another."""
    if language not in get_args(Language):
        raise ClueBenchError(f"language '{language}', expected en or zh", 'give "en" or "zh"')
    _chosen[-1] = language


@contextmanager
def using(language: Language) -> Iterator[None]:
    """Use `language` for a while."""
    _chosen.append(language)
    try:
        yield
    finally:
        _chosen.pop()


def language_of_locale(environment: Mapping[str, str] = os.environ) -> Language:
    """Return the language that the user's locale asks for: Chinese, or else English."""
    found = next((environment[name] for name in LOCALES if environment.get(name)), "")
    return "zh" if found.lower().startswith("zh") else "en"


def is_chinese() -> bool:
    """Return whether results are to be in Chinese."""
    return _chosen[-1] == "zh"


def translated(text: str) -> str:
    """Return a whole text, or else its parts, in the language in use, with the blanks around it."""
    if not is_chinese():
        return text
    found = _whole(text)
    if found is not None:
        return found
    for joint in JOINTS:
        if joint in text.strip():
            return joint.join(map(translated, text.split(joint)))
    for joint, chinese in LISTS.items():
        given = text.split(joint)
        parts = [_whole(part) for part in given]
        if len(parts) > 1 and None not in parts and any(" " in part for part in given):  # words alone may be names
            return chinese.join(map(str, parts))
    where, _, what = text.partition(": ")
    both = [_whole(part) if " " in part else None for part in (where, what)]
    return f"{both[0] or where}：{both[1] or what}" if any(both) else text


def _whole(text: str) -> str | None:
    """Return a text of the table in the language in use, None for one that is not there."""
    words = " ".join(text.split())
    chinese = _chinese(words) if words and is_chinese() else None
    if chinese is None:
        return None
    return text[: len(text) - len(text.lstrip())] + chinese + text[len(text.rstrip()) :]


def worded(text: str) -> str:
    """Return a heading or a cell in the language in use."""
    return translated(text) if is_chinese() else in_english(text)


def in_english(text: str) -> str:
    """Return a text without the Chinese words of boards, which are written for readers of both languages.

    They may stand in parentheses behind something else. In Chinese, everything stays what it is.
    """
    found = None if is_chinese() else IN_BOTH.fullmatch(text)
    return text if found is None else f"{found[1] or ''}{_english()[found[2]]}{found[3]}"


def kept() -> str:
    """Return the attribute of markup for an element with a name or a text of users or data, in Chinese."""
    return KEPT * is_chinese()


def translated_markup(markup: str) -> str:
    """Return HTML or SVG with every text between two tags in the language in use; styles and scripts stay.

    So does what is no text of ours: it stands in a `bdi` element, or in one with `translate="no"`.
    """
    if not is_chinese():
        return markup
    shown, inside = [], ""  # the tag inside which all stays, and how often it is open
    depth = 0
    for place, part in enumerate(TEXT_NODE.split(markup)):  # texts and, at odd places, tags
        if place % 2 == 0:
            shown.append(part if depth else _whole(part) or part)
            continue
        shown.append(part)
        tag = TAG.match(part)
        if tag is None or part.endswith("/>"):
            continue
        if depth:
            depth += (-1 if tag[1] else 1) if tag[2] == inside else 0
        elif not tag[1] and (tag[2] == "bdi" or KEPT in part):
            inside, depth = tag[2], 1
    return "".join(shown)


def texts() -> dict[str, str]:
    """Return the table, English to Chinese."""
    return dict(_table())


class _Part(str):
    """A part of a text: in a format, "{0}" is itself, and with a `spec` its Chinese, between two marks of its ends."""

    def __format__(self, spec: str) -> str:
        if spec == "list":
            return "、".join(map(translated, self.split(", ")))
        if spec == "quoted":
            return QUOTED.sub(r"“\1”", self.replace("' and '", "'、'").replace("', '", "'、'"))
        is_ours = spec == "zh" or (spec == "found" and NONE.fullmatch(self))
        return f"{END}{translated(str(self))}{END}" if is_ours else str(self)


@lru_cache(maxsize=10_000)
def _chinese(words: str) -> str | None:
    table = _table()
    if words in table:
        return table[words]
    for begin, longest, end, english, chinese in _with_places():
        may_be = words.startswith(begin) and words.endswith(end) and longest in words
        if may_be and (match := _pattern(english, True).fullmatch(words) or _pattern(english, False).fullmatch(words)):
            return NO_BLANK.sub(" ", chinese.format(*map(_Part, match.groups()))).replace(END, "")
    return None


@cache
def _table() -> dict[str, str]:
    found: dict[str, str] = {}
    for name in TABLES:
        found |= tomllib.loads(resources.files(__package__).joinpath(name).read_text(encoding="utf-8"))
    return found


@cache
def _english() -> dict[str, str]:
    return {chinese: english for english, chinese in _table().items()} | {
        "参数": "parameters",
        "TF-IDF + 线性": "TF-IDF + linear",
    }


@cache
def _with_places() -> list[tuple[str, str, str, str, str]]:
    """Return the entries with places for anything, the longest first.

    Each stands behind how it begins, its longest part and how it ends, which are looked for before its pattern is made.
    """
    found = []
    for english, chinese in _table().items():
        begin, *others = PLACE.sub("\0", english).split("\0")
        if others:
            found.append((begin, max(begin, *others, key=len), others[-1], english, chinese))
    return sorted(found, key=lambda each: -len(each[3]))


@cache
def _pattern(english: str, is_strict: bool) -> re.Pattern[str]:
    """Return the pattern of an entry. "Anything" between quotes may be empty, and does not reach behind them.

    If strict, it reaches over no colon or semicolon either, but at the beginning and the end, where a place may stand
    before what is said of it, and another text behind.
    """
    meant = {"{#}": r"([-+\d][\d.,]*)", "{w}": r"([\w-]+)", "(s)": "s?"}
    parts = list(filter(None, PLACE.split(english)))
    pattern = ""
    for place, part in enumerate(parts):
        before, behind = parts[place - 1] if place else "", parts[place + 1] if place + 1 < len(parts) else ""
        if part != "{}":
            pattern += meant.get(part, re.escape(part))
        elif before.endswith("'") and behind.startswith("'"):
            pattern += r"((?:(?!'(?:[\s),;:.]|$)).)*?)"
        elif not place:  # at the beginning, it does not reach from one part of a list into the next
            pattern += "((?:(?!; ).)+?)"
        else:
            pattern += "((?:(?![:;] ).)+?)" if is_strict and behind else "(.+?)"
    return re.compile(pattern)
