"""What kinds of tokens a vocabulary holds, as CLUECorpus2020 counts them, and a small vocabulary of a large one.

Input: a vocabulary. Output: how many of its tokens are simplified Chinese, traditional, English, and so on; and the
vocabulary pruned by the rules that took Google's 21,128 tokens to CLUE's, with what each rule dropped and what was
added. Tokens keep their order, so Google's file gives CLUE's 8,021 tokens in CLUE's order, and 132 more: CLUE dropped
these by hand, and no rule is known for them (NO_RULE).

A token is of the type of its first character, the mark "##" or "▁" before it apart; special tokens go by their names.
CLUE told traditional from simplified by a conversion table of the Chinese Wikipedia of that time: a character is
traditional if the table changes it. The package nstoolspack contains that table, and with it every Chinese count of
the paper is reproduced (of 14,642 Chinese tokens 3,264 are traditional). Other tables do not agree: opencc 1.4.2
finds 3,434 traditional tokens, zhconv 1.4.3 3,520, hanziconv 0.3.2 3,270, of which 85 are others than CLUE's.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

from clue_bench.errors import ClueBenchError
from clue_bench.vocab.rules import SPECIAL_TOKENS
from clue_bench.vocab.vocabulary import CONTINUATION, Vocabulary

Type = Literal["simplified", "traditional", "english", "japanese", "korean", "emoji", "numbers", "special", "other"]
TYPES: dict[Type, str] = {  # names, in the paper's order
    "simplified": "simplified Chinese",
    "traditional": "traditional Chinese",
    "english": "English",
    "japanese": "Japanese",
    "korean": "Korean",
    "emoji": "emoji",
    "numbers": "numbers",
    "special": "special tokens",
    "other": "other",
}
NAMED = {*SPECIAL_TOKENS, "<S>", "<T>"}

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


class Published(NamedTuple):
    """Counts that were published for one vocabulary file."""

    name: str
    counts: tuple[int, ...]
    """In the order of TYPES."""
    note: str


PUBLISHED = {  # by the vocabulary's sha256; counts from the paper on CLUECorpus2020, arXiv:2003.01355
    "8550a78ca2dd304e6a4b45baa9780db8a93cfacc564b4d1c319905db0122f1e4": Published(
        "google_vocab",
        (11_378, 3_264, 3_529, 573, 84, 56, 1_179, 106, 959),
        "English and other: 28 tokens are English here and other in the paper. As many are the letters a to z, which "
        "its CLUE column does count as English, with ##f2016 and ##cm～, which CLUE removed by hand (inferred).",
    ),
    "56422dd8466980a627a7d48e51de044681242ea26e0595819e7e0418df0eb2bc": Published(
        "clue_vocab", (5_689, 0, 1_320, 0, 0, 0, 140, 106, 766), ""
    ),
}


def count_types(vocabulary: Vocabulary) -> dict[Type, int]:
    """Return how many tokens are of each type."""
    counts: dict[Type, int] = dict.fromkeys(TYPES, 0)
    type_of = type_finder(vocabulary)
    for token in vocabulary.tokens:
        counts[type_of(token)] += 1
    return counts


def type_finder(vocabulary: Vocabulary) -> Callable[[str], Type]:
    """Return a function from a token of `vocabulary` to its type."""
    import regex  # for Unicode's properties, which `re` does not know
    from nstoolspack.zhtools.langconv import Converter

    simplify = Converter("zh-hans").convert
    # The ranges are CLUE's, so that its counts come out. What lies beyond them is "other": rare Chinese characters such
    # as 㗎, half-width marks such as ｰ, the Korean dot ㆍ. And ᗜ, of the Canadian syllabics, is Korean to CLUE.
    chinese = regex.compile(r"[\u4E00-\u9FA5]")
    beginnings: dict[Type, regex.Pattern[str]] = {
        "korean": regex.compile(r"[\u1100-\u11FF\uAC00-\uD7FFᗜ]"),
        "japanese": regex.compile(r"[\u3040-\u30FF\uFF71-\uFF9D]"),
        "english": regex.compile(r"[A-Za-z]"),
        "emoji": regex.compile(r"\p{Extended_Pictographic}"),
        "numbers": regex.compile(r"\d"),
    }

    def type_of(token: str) -> Type:
        if token in NAMED or token.startswith("[unused"):
            return "special"
        text = bare(token, vocabulary)
        if chinese.match(text):
            return "simplified" if simplify(text) == text else "traditional"
        return next((name for name, beginning in beginnings.items() if beginning.match(text)), "other")

    return type_of


def bare(token: str, vocabulary: Vocabulary) -> str:
    """Return `token` without the mark before it."""
    return token.removeprefix(CONTINUATION if vocabulary.kind == "wordpiece" else "▁")


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
        raise ClueBenchError(
            "a sentencepiece vocabulary cannot be pruned",
            "train a smaller one: run clue-bench vocab train --kind sentencepiece --size N",
        )
    type_of = type_finder(vocabulary)
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
