"""Vocabularies: read, check, train, save, count and prune the vocabularies of Chinese language models.

Two kinds behind one noun, `Vocabulary`: WordPiece (`vocab.txt`, one token a line, its line number is its id; text is
lower-cased and Chinese split into characters, as in Google's and CLUE's Chinese models, unless a folder's tokenizer
files say otherwise: `rules`) and sentencepiece
(`spiece.model`, as in UER's word models). Text becomes ids through `Vocabulary.encoder`.
"""

from clue_bench.vocab.encoders import Codes, Placed, TextEncoder, codes_of, text_of
from clue_bench.vocab.reading import OTHER_IDS, TOKENIZER_FILES, VOCABULARY_FILES, read_vocabulary, tokens_of_lines
from clue_bench.vocab.rules import SPECIAL_TOKENS, AddedToken, WordPieceRules
from clue_bench.vocab.vocabulary import (
    CONTINUATION,
    LONGEST_WORD,
    Vocabulary,
)

__all__ = [
    "CONTINUATION",
    "LONGEST_WORD",
    "OTHER_IDS",
    "SPECIAL_TOKENS",
    "TOKENIZER_FILES",
    "VOCABULARY_FILES",
    "AddedToken",
    "Codes",
    "Placed",
    "TextEncoder",
    "Vocabulary",
    "WordPieceRules",
    "codes_of",
    "read_vocabulary",
    "text_of",
    "tokens_of_lines",
]
