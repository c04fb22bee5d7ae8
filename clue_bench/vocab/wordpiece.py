"""Train WordPiece vocabularies: Chinese by character, lower case, the same text gives the same vocabulary."""

from collections import Counter
from collections.abc import Iterable

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from clue_bench.errors import ClueBenchError
from clue_bench.vocab.vocabulary import CONTINUATION, LONGEST_WORD, SPECIAL_TOKENS, Vocabulary


def train_vocabulary(lines: Iterable[str], *, size: int, min_frequency: int = 2) -> Vocabulary:
    """Train a WordPiece vocabulary of at most `size` tokens on `lines`; special tokens take ids 0 to 4.

    Characters come first, the most frequent ones kept, then merged pieces. The same text gives the same vocabulary.
    `min_frequency` is tokenizers' default: a character seen once is no basis for an embedding.
    Raises ClueBenchError if the text has no character that is frequent enough.
    """
    words = _count_words(lines)
    alphabet = _alphabet(words, size=size - len(SPECIAL_TOKENS), min_frequency=min_frequency)
    if not alphabet:
        raise ClueBenchError("no text to train a vocabulary on", f"no character occurs {min_frequency} times")
    # Left to itself, the trainer numbers "##x" in the order of a randomly seeded hash map, breaks ties among rare
    # characters by it, and counts neither against `size`. So it is given the characters, in order, as special tokens.
    trainer = trainers.WordPieceTrainer(
        vocab_size=size,
        min_frequency=min_frequency,
        special_tokens=[*SPECIAL_TOKENS, *sorted(alphabet)],
        continuing_subword_prefix=CONTINUATION,
        show_progress=False,
    )
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=LONGEST_WORD))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    mergeable = {word: count for word, count in words.items() if len(word) > 1 and alphabet.issuperset(word)}
    tokenizer.train_from_iterator((" ".join([word] * count) for word, count in sorted(mergeable.items())), trainer)
    ids = tokenizer.get_vocab()
    return Vocabulary(tuple(sorted(ids, key=ids.__getitem__)))


def _count_words(lines: Iterable[str]) -> Counter[str]:
    """Return how often each word occurs; a Chinese character is a word."""
    normalizer, splitter = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    words: Counter[str] = Counter()
    for line in lines:
        words.update(word for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(line)))
    return words


def _alphabet(words: Counter[str], *, size: int, min_frequency: int) -> set[str]:
    """Return the most frequent characters, with "##" as well where they stand inside words; at most `size` pieces."""
    characters: Counter[str] = Counter()
    for word, count in words.items():
        for character in word:
            characters[character] += count
    inner = {character for word in words for character in word[1:]}
    alphabet: set[str] = set()
    for character, count in sorted(characters.items(), key=lambda item: (-item[1], item[0])):
        pieces = {character, CONTINUATION + character} if character in inner else {character}
        if count >= min_frequency and len(alphabet) + len(pieces) <= size:
            alphabet |= pieces
    return alphabet
