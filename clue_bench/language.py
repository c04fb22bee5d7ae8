"""Results and reports in Chinese: one table of English texts and their Chinese, used where text leaves the program.

Input: a finished text for people. Output: its Chinese from `language.zh.toml`, or the text itself where the table has
none, such as names and numbers. "{}" stands for anything in the English, and "{0}", "{1}" for the same in the Chinese.
Values, JSON, CSV and records stay as they are.
"""

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib import resources
from typing import Literal, get_args

from clue_bench.errors import ClueBenchError

Language = Literal["en", "zh"]
LOCALES = ("LC_ALL", "LC_MESSAGES", "LANG")  # the first one that is set counts, as everywhere
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
    """Return a whole text in the language in use, with the blanks around it."""
    words = " ".join(text.split())
    if not words or not is_chinese():
        return text
    chinese = _chinese(words)
    if chinese is None:
        return text
    return text[: len(text) - len(text.lstrip())] + chinese + text[len(text.rstrip()) :]


def translated_markup(markup: str) -> str:
    """Return HTML or SVG with every text between two tags in the language in use; styles and scripts stay."""
    if not is_chinese():
        return markup
    parts = TEXT_NODE.split(markup)  # texts and, at odd places, tags
    return "".join(part if place % 2 else translated(part) for place, part in enumerate(parts))


def texts() -> dict[str, str]:
    """Return the table, English to Chinese."""
    return dict(_table())


def _chinese(words: str) -> str | None:
    table = _table()
    if words in table:
        return table[words]
    for pattern, chinese in _patterns():
        if match := pattern.fullmatch(words):
            return chinese.format(*match.groups())
    return None


@cache
def _table() -> dict[str, str]:
    file = resources.files(__package__).joinpath("language.zh.toml")
    return {english: str(chinese) for english, chinese in tomllib.loads(file.read_text(encoding="utf-8")).items()}


@cache
def _patterns() -> list[tuple[re.Pattern[str], str]]:
    """Return the entries with places for anything, the longest first."""
    found = sorted((each for each in _table().items() if "{}" in each[0]), key=lambda each: -len(each[0]))
    return [(re.compile("(.+?)".join(map(re.escape, english.split("{}")))), chinese) for english, chinese in found]
