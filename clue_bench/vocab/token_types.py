"""What kinds of tokens a vocabulary holds, as CLUECorpus2020 counts them.

Input: a vocabulary. Output: how many of its tokens are simplified Chinese, traditional, English, and so on. A token
is of the type of its first character, the mark "##" or "▁" before it apart; special tokens go by their names.

CLUE told traditional from simplified with a conversion table of the Chinese Wikipedia's of that time: a character is
traditional if the table turns it into another one. The package nstoolspack holds that table, and with it every Chinese
count of the paper comes out (of 14,642 Chinese tokens 3,264 are traditional). Other tables do not agree: opencc 1.4.2
finds 3,434 traditional tokens, zhconv 1.4.3 3,520, hanziconv 0.3.2 3,270, of which 85 are others than CLUE's.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

from clue_bench.vocab.vocabulary import CONTINUATION, SPECIAL_TOKENS, Vocabulary

Type = Literal["simplified", "traditional", "english", "japanese", "korean", "emoji", "numbers", "special", "other"]
TYPES: dict[Type, tuple[str, str]] = {  # English and Chinese name, in the paper's order
    "simplified": ("simplified Chinese", "简体中文"),
    "traditional": ("traditional Chinese", "繁体中文"),
    "english": ("English", "英文"),
    "japanese": ("Japanese", "日文"),
    "korean": ("Korean", "韩文"),
    "emoji": ("emoji", "表情"),
    "numbers": ("numbers", "数字"),
    "special": ("special tokens", "特殊符号"),
    "other": ("other", "其他"),
}
NAMED = {*SPECIAL_TOKENS, "<S>", "<T>"}


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
    type_of = typed(vocabulary)
    for token in vocabulary.tokens:
        counts[type_of(token)] += 1
    return counts


def typed(vocabulary: Vocabulary) -> Callable[[str], Type]:
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
