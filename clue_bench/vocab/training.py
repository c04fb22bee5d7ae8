"""Train vocabularies: WordPiece, Chinese by character and lower case, and sentencepiece, as UER's word models have it.

The same text gives the same vocabulary. Sentencepiece trains in a process of its own, because the library writes its
log to file descriptor 2, cannot be interrupted, and needs many times the text's memory:

1. Sentences go to `python -m clue_bench.vocab.training MODEL SIZE SAMPLE`, which keeps them in memory, or a random
   SAMPLE of them (0 for all).
2. The library makes up to a million candidate pieces and drops a quarter of them a round, until SIZE are left.
3. The model comes back as a `Vocabulary`.
"""

import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from clue_bench.errors import ClueBenchError
from clue_bench.vocab.reading import read_vocabulary
from clue_bench.vocab.rules import SPECIAL_TOKENS
from clue_bench.vocab.vocabulary import CONTINUATION, LONGEST_WORD, Vocabulary

MEMORY_PER_BYTE = 24  # bytes of memory a byte of text; measured 21 (482 MiB for 22.9 MiB of text and 100,000 pieces)
BYTES_BETWEEN_CHECKS = 2**24
SECONDS_BETWEEN_READS = 0.2
LONGEST_SENTENCE = 1024  # bytes
ARGUMENTS: dict[str, Any] = {
    # Of UER's word models (clue_6, CLUECorpusSmall); what is not named is the library's default, normalisation nmt_nfkc
    # and 16 threads among them.
    "max_sentence_length": LONGEST_SENTENCE,
    "max_sentencepiece_length": 6,
    "user_defined_symbols": ["[MASK]", *(f"[unused{number}]" for number in range(1, 11))],
    "pad_id": 0,
    "unk_id": 1,
    "bos_id": 2,
    "eos_id": 3,
    "pad_piece": "[PAD]",
    "unk_piece": "[UNK]",
    "bos_piece": "[CLS]",
    "eos_piece": "[SEP]",
    "train_extremely_large_corpus": True,
}


def train_wordpiece(lines: Iterable[str], *, size: int, min_frequency: int = 2) -> Vocabulary:
    """Train a WordPiece vocabulary of at most `size` tokens on `lines`; special tokens take ids 0 to 4.

    Characters come first, the most frequent ones kept, then merged pieces. The same text gives the same vocabulary.
    `min_frequency` is tokenizers' default: a character seen once is no basis for an embedding.
    Raises ClueBenchError if the text has no character that is frequent enough.
    """
    words = _count_words(lines)
    alphabet = _alphabet(words, size=size - len(SPECIAL_TOKENS), min_frequency=min_frequency)
    if not alphabet:
        raise ClueBenchError(
            f"no text to train a vocabulary on: no character occurs {min_frequency} times", "give more text"
        )
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
    """Return the most frequent characters, also with "##" if they occur inside words; at most `size` pieces."""
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


class Trained(NamedTuple):
    """A trained vocabulary, and what of the text it was trained on."""

    vocabulary: Vocabulary
    sentences: int
    """Sentences that the trainer was given; with a sample, those it was drawn from."""
    too_long: int
    """Sentences of more than LONGEST_SENTENCE bytes, which were left out."""


def train_sentencepiece(
    sentences: Iterable[str], *, size: int, sample: int | None, on_round: Callable[[int], None]
) -> Trained:
    """Train a model of `size` pieces; `on_round` is called with the number of pieces that are left.

    `sample` bounds the memory: so many sentences are drawn at random; without it all of them are used.
    Raises ClueBenchError if the text is too small or too large for that, or `size` too small for its characters.
    """
    with tempfile.TemporaryDirectory(prefix="clue-bench-") as folder:
        model, log = Path(folder, "spiece.model"), Path(folder, "log")
        command = [sys.executable, "-m", "clue_bench.vocab.training", str(model), str(size), str(sample or 0)]
        with log.open("wb") as errors, subprocess.Popen(command, stdin=subprocess.PIPE, stderr=errors) as process:
            try:
                assert process.stdin is not None
                used, too_long = _feed(process.stdin, sentences, is_bounded=sample is not None)
                _watch(process, log, on_round)
            finally:
                if process.poll() is None:
                    process.kill()
        if process.returncode:
            raise _failure(log.read_text(encoding="utf-8", errors="replace"), size, process.returncode)
        return Trained(read_vocabulary(model), used, too_long)


def _feed(stdin: IO[bytes], sentences: Iterable[str], *, is_bounded: bool) -> tuple[int, int]:
    """Write the sentences, one a line, and close; return how many there were and how many were too long."""
    used = too_long = size = checked = 0
    try:
        with stdin:
            for sentence in sentences:
                data = sentence.encode()
                if len(data) > LONGEST_SENTENCE:
                    too_long += 1
                    continue
                stdin.write(data + b"\n")
                used, size = used + 1, size + len(data)
                if not is_bounded and size - checked >= BYTES_BETWEEN_CHECKS:
                    _check_memory(size)
                    checked = size
    except BrokenPipeError:
        pass  # the process has ended; its log says why
    return used, too_long


def _check_memory(size: int) -> None:
    """Raise ClueBenchError if `size` bytes of text are more than can be trained on here."""
    free = _free_memory()
    if free is not None and size * (MEMORY_PER_BYTE - 1) > free:  # the text itself is in the process by now
        raise ClueBenchError(
            f"over {size / 2**20:,.0f} MiB of text need more memory to train on than the "
            f"{free / 2**30:.1f} GiB that are free",
            "give --sentences 5000000 to train on a random sample of so many sentences",
        )


def _free_memory() -> int | None:
    """Return the bytes that processes can still have, None where the system does not say."""
    facts = Path("/proc/meminfo")
    found = re.search(r"MemAvailable:\s+(\d+) kB", facts.read_text()) if facts.is_file() else None
    return int(found[1]) * 1024 if found else None


def _watch(process: "subprocess.Popen[bytes]", log: Path, on_round: Callable[[int], None]) -> None:
    """Report each round of the process from its log until it ends."""
    with log.open(encoding="utf-8", errors="replace") as lines:
        has_ended = False
        while not has_ended:
            has_ended = process.poll() is not None  # before the last read, which sees the whole log
            for pieces in re.findall(r"EM sub_iter=0 size=(\d+)", lines.read()):
                on_round(int(pieces))
            if not has_ended:
                time.sleep(SECONDS_BETWEEN_READS)


def _failure(log: str, size: int, code: int) -> ClueBenchError:
    """Return the error for the library's last message."""
    if found := re.search(r"too high \(\d+\)\. Please set it to a value <= (\d+)", log):
        most = int(found[1])
        return ClueBenchError(
            f"the text is too small for {size:,} pieces: {most:,} is the largest possible size",
            f"give --size {most} or less, or more text",
        )
    if found := re.search(r"smaller than required_chars\. \d+ vs (\d+)", log):
        least = int(found[1])
        return ClueBenchError(
            f"{size:,} pieces are too few: the text's characters and the special tokens are {least:,}",
            f"give --size {least} or more",
        )
    if "!sentences_.empty()" in log:
        return ClueBenchError(
            "no text to train a vocabulary on: every sentence is empty, or too long",
            f"give text with sentences of at most {LONGEST_SENTENCE:,} bytes",
        )
    if code < 0:
        return ClueBenchError(
            f"training was ended by signal {-code}, perhaps because memory ran out",
            "give --sentences N to train on a sample",
        )
    return ClueBenchError(
        f"sentencepiece ended with its message: {(log.strip() or str(code)).splitlines()[-1]}",
        "change the text or --size, and run it again",
    )


def _train(model: Path, *, size: int, sample: int) -> None:
    """Train on stdin and write `model`."""
    import sentencepiece

    sentences = _sentences()
    with model.open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(_sampled(sentences, sample)) if sample else sentences,
            model_writer=file,
            vocab_size=size,
            **ARGUMENTS,
        )


def _sentences() -> Iterator[str]:
    for line in sys.stdin.buffer:
        yield line.removesuffix(b"\n").decode()


def _sampled(sentences: Iterable[str], number: int) -> list[str]:
    """Return `number` of the sentences, each equally likely; the same ones every time, as the library's are not."""
    draw = random.Random(0)  # noqa: S311
    sample: list[str] = []
    for index, sentence in enumerate(sentences):
        if index < number:
            sample.append(sentence)
        elif (place := draw.randrange(index + 1)) < number:
            sample[place] = sentence
    return sample


if __name__ == "__main__":
    _train(Path(sys.argv[1]), size=int(sys.argv[2]), sample=int(sys.argv[3]))
