"""Vocabularies: read, check, train, save, count and prune the vocabularies of Chinese language models.

Two kinds behind one noun, `Vocabulary`: WordPiece (`vocab.txt`, one token a line, its line number is its id; text is
lower-cased and Chinese split into characters, as in Google's and CLUE's Chinese models) and sentencepiece
(`spiece.model`, as in UER's word models). Text becomes ids through `Vocabulary.encoder`.
"""

from clue_bench.vocab.encoders import Codes, Placed, TextEncoder, codes_of, text_of
from clue_bench.vocab.vocabulary import (
    CONTINUATION,
    LONGEST_WORD,
    SPECIAL_TOKENS,
    Vocabulary,
    read_vocabulary,
    vocabulary_from_tokenizer_json,
)

__all__ = [
    "CONTINUATION",
    "LONGEST_WORD",
    "SPECIAL_TOKENS",
    "Codes",
    "Placed",
    "TextEncoder",
    "Vocabulary",
    "codes_of",
    "read_vocabulary",
    "text_of",
    "vocabulary_from_tokenizer_json",
]
