"""Vocabularies: read, check, train and save the WordPiece vocabularies of Chinese BERT models.

Enters: a `vocab.txt` (one token a line, its line number is its id). Leaves: a `Vocabulary`, its Rust tokenizer, and the
tokenizer files of the Hugging Face layout. Text is lower-cased and Chinese is split into characters, as in Google's
and CLUE's Chinese models.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from clue_bench import atomic
from clue_bench.errors import ClueBenchError

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
CONTINUATION = "##"
LONGEST_WORD = 100  # characters; a longer run of non-Chinese text becomes one [UNK], as in BERT


@dataclass(frozen=True)
class Vocabulary:
    """A WordPiece vocabulary; `tokens[i]` has id i."""

    tokens: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.tokens)

    @cached_property
    def ids(self) -> dict[str, int]:
        """Token → id."""
        return {token: index for index, token in enumerate(self.tokens)}

    @property
    def pad(self) -> int:
        """Id of [PAD]."""
        return self.ids["[PAD]"]

    @property
    def unknown(self) -> int:
        """Id of [UNK]."""
        return self.ids["[UNK]"]

    @property
    def start(self) -> int:
        """Id of [CLS]."""
        return self.ids["[CLS]"]

    @property
    def separator(self) -> int:
        """Id of [SEP]."""
        return self.ids["[SEP]"]

    @property
    def mask(self) -> int:
        """Id of [MASK]."""
        return self.ids["[MASK]"]

    @cached_property
    def sha256(self) -> str:
        """Hash of the tokens joined by line feeds: the same for files that differ in line ends only."""
        return hashlib.sha256("\n".join(self.tokens).encode()).hexdigest()

    @cached_property
    def is_ordinary(self) -> npt.NDArray[np.bool_]:
        """(V,) True for tokens that text can contain: neither special nor [unused…]. Masking draws from these."""
        return np.array([not (t in SPECIAL_TOKENS or t.startswith("[unused")) for t in self.tokens])

    @cached_property
    def starts_word(self) -> npt.NDArray[np.bool_]:
        """(V,) False for tokens that continue a word ("##…")."""
        return np.array([not t.startswith(CONTINUATION) for t in self.tokens])

    def tokenizer(self) -> Tokenizer:
        """Return the Rust tokenizer: BERT's normaliser, splitter and WordPiece, with [CLS] a [SEP] b [SEP]."""
        model = models.WordPiece(self.ids, unk_token="[UNK]", max_input_chars_per_word=LONGEST_WORD)
        tokenizer = Tokenizer(model)
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.decoder = decoders.WordPiece(prefix=CONTINUATION)
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS]:0 $A:0 [SEP]:0",
            pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
            special_tokens=[("[CLS]", self.start), ("[SEP]", self.separator)],
        )
        tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
        return tokenizer

    def save(self, folder: Path, *, max_length: int) -> None:
        """Write vocab.txt, tokenizer.json and tokenizer_config.json, which `BertTokenizer` loads."""
        atomic.write_text(folder / "vocab.txt", "\n".join(self.tokens) + "\n")
        with atomic.replacing(folder / "tokenizer.json") as temporary:
            self.tokenizer().save(str(temporary))
        config: dict[str, object] = {f"{token.strip('[]').lower()}_token": token for token in SPECIAL_TOKENS}
        config |= {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": max_length}
        atomic.write_json(folder / "tokenizer_config.json", config)


def read_vocabulary(path: Path) -> Vocabulary:
    """Read `path`, a vocab.txt or a folder that holds one.

    Raises ClueBenchError if it is missing, not UTF-8, repeats a token, or lacks a special token.
    """
    file = path / "vocab.txt" if path.is_dir() else path
    if not file.is_file():
        raise ClueBenchError(f"{file}: no such vocabulary", "give a vocab.txt, or a folder that holds one")
    try:
        text = file.read_bytes().decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise ClueBenchError(f"{file}: not UTF-8 at byte {error.start}", "convert the file to UTF-8") from error
    # Not splitlines(): a vocabulary may hold characters that Python takes for line ends.
    lines = [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]
    return _checked(lines, file)


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


def vocabulary_of_tokenizer_json(path: Path) -> Vocabulary:
    """Return the WordPiece vocabulary inside a tokenizer.json, for checkpoints that ship no vocab.txt.

    Raises ClueBenchError if the tokenizer is of another kind.
    """
    try:
        model = json.loads(path.read_text(encoding="utf-8")).get("model", {})
    except (ValueError, AttributeError) as error:
        raise ClueBenchError(f"{path}: not a tokenizer: {error}", "copy the file again") from error
    if model.get("type") != "WordPiece":
        raise ClueBenchError(f"{path}: a {model.get('type')} tokenizer, expected WordPiece", "use a BERT checkpoint")
    ids: dict[str, int] = model["vocab"]
    if sorted(ids.values()) != list(range(len(ids))):
        raise ClueBenchError(f"{path}: ids are not 0 to {len(ids) - 1}", "use a checkpoint with a vocab.txt")
    return _checked(sorted(ids, key=ids.__getitem__), path)


def _checked(tokens: list[str], file: Path) -> Vocabulary:
    first_line: dict[str, int] = {}
    for number, token in enumerate(tokens, 1):
        if token in first_line:
            raise ClueBenchError(
                f"{file}, line {number}: token '{token}' stands on line {first_line[token]} already",
                "remove one of them; ids are line numbers, so models trained with the file need it as it is",
            )
        first_line[token] = number
    missing = [token for token in SPECIAL_TOKENS if token not in first_line]
    if missing:
        raise ClueBenchError(f"{file}: no {', '.join(missing)} among {len(tokens)} tokens", "add them, one a line")
    return Vocabulary(tuple(tokens))
