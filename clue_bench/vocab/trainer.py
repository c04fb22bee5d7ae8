"""The process that trains a sentencepiece model: sentences on stdin, the model into the file that is named.

A process of its own, because the library writes its log to file descriptor 2, cannot be interrupted, and needs many
times the text's memory. `python -m clue_bench.vocab.trainer MODEL SIZE SAMPLE`, SAMPLE 0 for all sentences.
"""

import random
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

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


def train(model: Path, *, size: int, sample: int) -> None:
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
    train(Path(sys.argv[1]), size=int(sys.argv[2]), sample=int(sys.argv[3]))
