"""Cut a text into words as RoFormer's tokenizer does: jieba's words that the vocabulary has, else what is in them.

transformers' own cutter does the same, and needs transformers; tests/vocab/test_rules.py compares the two.
"""

from collections.abc import Container
from typing import Any

from tokenizers import NormalizedString, PreTokenizedString, normalizers


class WordCutter:
    """A pre-tokenizer: what it cuts is looked up whole, or piece by piece where the vocabulary has no such word."""

    def __init__(self, vocabulary: Container[str]) -> None:
        import rjieba  # its dictionary takes a moment to load

        self._vocabulary, self._jieba = vocabulary, rjieba
        self._apart = normalizers.BertNormalizer(
            clean_text=False, handle_chinese_chars=True, strip_accents=False, lowercase=False
        )

    def pre_tokenize(self, pretok: PreTokenizedString) -> None:
        """Cut the parts of a text in place; the library calls it."""
        pretok.split(self._split)

    def _split(self, _index: int, part: NormalizedString) -> list[NormalizedString]:
        cuts: list[Any] = []  # the stubs say that a slice may be None
        for word, start, end in self._jieba.tokenize(str(part), hmm=False):
            if word in self._vocabulary:
                cuts.append(part[start:end])
                continue
            for piece in self._apart.normalize_str(word).split():
                cuts.append(part[start : start + len(piece)])
                start += len(piece)
        return cuts
