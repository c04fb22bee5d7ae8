"""Vocabularies: read, check, train, save, count and prune the vocabularies of Chinese language models.

Two kinds behind one noun, `Vocabulary`: WordPiece (`vocab.txt`, one token a line, its line number is its id; text is
lower-cased and Chinese split into characters, as in Google's and CLUE's Chinese models) and sentencepiece
(`spiece.model`, as in UER's word models). Text becomes ids through `Vocabulary.encoder`.
"""

from clue_bench.vocab.encoders import Encoder, Tokens
from clue_bench.vocab.read import read_vocabulary, vocabulary_of_tokenizer_json
from clue_bench.vocab.table import Codes, Placed, codes_of, text_of
from clue_bench.vocab.vocabulary import CONTINUATION, LONGEST_WORD, SPECIAL_TOKENS, Vocabulary
from clue_bench.vocab.wordpiece import train_vocabulary

__all__ = [
    "CONTINUATION",
    "LONGEST_WORD",
    "SPECIAL_TOKENS",
    "Codes",
    "Encoder",
    "Placed",
    "Tokens",
    "Vocabulary",
    "codes_of",
    "read_vocabulary",
    "text_of",
    "train_vocabulary",
    "vocabulary_of_tokenizer_json",
]
