"""Make a small simplified-Chinese vocabulary of a large one, by the rules that took Google's 21,128 tokens to CLUE's.

Input: a WordPiece vocabulary. Output: the pruned one, with what each rule dropped and what was added. Tokens keep
their order, so Google's file gives CLUE's 8,021 tokens in CLUE's order, and 132 more: CLUE dropped these by hand, and
no rule is known for them (NO_RULE).
"""

from typing import NamedTuple

from clue_bench.errors import ClueBenchError
from clue_bench.vocab.token_types import Type, bare, typed
from clue_bench.vocab.vocabulary import CONTINUATION, Vocabulary

QUOTES = ("“", "‘")  # added after '"'
NUMBERS = (*map(str, range(10, 101)), *map(str, range(2016, 2023)))  # added after "9"
ADDED = {'"': QUOTES, "9": NUMBERS}
RULES = (
    "traditional Chinese",
    "Chinese within words (##)",
    "Korean",
    "Japanese",
    "English words of several letters, but no ##",
    "emoji",
    "numbers of several characters",
    "zhuyin",
    "blanks",
)
NO_RULE = (
    "CLUE removed 132 tokens by hand (full-width letters, ornaments, pieces such as ▲topoct). No rule is stated for "
    "them, and others like them were kept, so they stay."
)


class Pruned(NamedTuple):
    """A pruned vocabulary, and how it came about."""

    vocabulary: Vocabulary
    dropped: dict[str, list[str]]
    """Rule → tokens, for every rule."""
    added: list[str]
    """Quotes, numbers, and what is left of blanks."""


class Comparison(NamedTuple):
    """How a vocabulary differs from another; tokens in the order of the one that has them."""

    common: int
    missing: list[str]
    extra: list[str]
    same_order: bool
    """Whether the common tokens follow each other alike."""


def prune(vocabulary: Vocabulary) -> Pruned:
    """Return `vocabulary` without what a model of simplified Chinese can spare.

    Raises ClueBenchError for a sentencepiece vocabulary: its ids are the model's.
    """
    if vocabulary.kind != "wordpiece":
        raise ClueBenchError("a sentencepiece vocabulary cannot be pruned", "train a smaller one: --size")
    type_of = typed(vocabulary)
    rules = {token: _rule(token, type_of(token), vocabulary) for token in vocabulary.tokens}
    kept: dict[str, None] = {}
    dropped: dict[str, list[str]] = {rule: [] for rule in RULES}
    added: list[str] = []
    for token, rule in rules.items():
        following: tuple[str, ...] = ADDED.get(token, ())
        if rule is None:
            kept[token] = None
        else:
            dropped[rule].append(token)
            if rule == "blanks" and token.strip():
                following = (token.strip(),)  # CLUE strips each line, so of "##" and a line separator "##" is left
        new = [other for other in following if other not in kept and rules.get(other, "not there") is not None]
        kept |= dict.fromkeys(new)
        added += new
    return Pruned(Vocabulary(tuple(kept)), dropped, added)


def compare(vocabulary: Vocabulary, other: Vocabulary) -> Comparison:
    """Return what of `other` is missing from `vocabulary`, and what it has besides."""
    common = [token for token in vocabulary.tokens if token in other.ids]
    return Comparison(
        common=len(common),
        missing=[token for token in other.tokens if token not in vocabulary.ids],
        extra=[token for token in vocabulary.tokens if token not in other.ids],
        same_order=common == [token for token in other.tokens if token in vocabulary.ids],
    )


def _rule(token: str, kind: Type, vocabulary: Vocabulary) -> str | None:
    """Return the rule by which `token`, which is of type `kind`, goes; None if it stays."""
    text, is_continuation = bare(token, vocabulary), token.startswith(CONTINUATION)
    (traditional, within, korean, japanese, words, emoji, numbers, zhuyin, blanks) = RULES
    by_type = {"traditional": traditional, "korean": korean, "japanese": japanese, "emoji": emoji}
    if kind in by_type:
        return by_type[kind]
    if kind == "simplified" and is_continuation:
        return within
    if kind == "english" and not is_continuation and len(text) > 1:
        return words
    if kind == "numbers" and len(text) > 1:
        return numbers
    if kind == "other" and "\u3105" <= text[:1] <= "\u312f" and text != "ㄧ":  # CLUE kept this one, which looks like 一
        return zhuyin
    return blanks if token.strip() != token else None
