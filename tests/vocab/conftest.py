"""A small sentencepiece model, trained by the library itself on random words."""

import io
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import sentencepiece

from clue_bench.vocab import TextEncoder, codes_of

SYMBOLS = ["[MASK]", *(f"[unused{number}]" for number in range(1, 11))]
SYLLABLES = ["中国", "首都", "北京", "的", "是", "一", "ab", "Bc", "é", "2020", "，", "。", "...", "℃", "我们", "他"]


@pytest.fixture(scope="session")
def training_lines() -> list[str]:
    """Lines of random words, some with a blank between."""
    draw = random.Random("pieces")
    return ["".join(draw.choices([*SYLLABLES, " "], k=draw.randint(3, 20))).strip() for _ in range(600)]


@pytest.fixture(scope="session")
def model_file(tmp_path_factory: pytest.TempPathFactory, train_pieces: Callable[..., bytes]) -> Path:
    """A spiece.model of 100 pieces, with special tokens as UER's has them."""
    path = tmp_path_factory.mktemp("model") / "spiece.model"
    path.write_bytes(train_pieces())
    return path


@pytest.fixture(scope="session")
def train_pieces(training_lines: list[str]) -> Callable[..., bytes]:
    """What trains a model with sentencepiece's own trainer, with special tokens as UER's models have them."""
    names = {"pad_piece": "[PAD]", "unk_piece": "[UNK]", "bos_piece": "[CLS]", "eos_piece": "[SEP]"}
    ids = {"pad_id": 0, "unk_id": 1, "bos_id": 2, "eos_id": 3}

    def train(*, size: int = 100, **settings: Any) -> bytes:
        writer = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(training_lines),
            model_writer=writer,
            vocab_size=size,
            minloglevel=2,
            **{"user_defined_symbols": SYMBOLS, **names, **ids, **settings},
        )
        return writer.getvalue()

    return train


class Tokens(NamedTuple):
    """The tokens of texts, one after the other: ids, how many each text has, and characters of its text before each."""

    ids: np.ndarray
    lengths: np.ndarray
    starts: np.ndarray


@pytest.fixture(scope="session")
def encode() -> Callable[[TextEncoder, list[str]], Tokens]:
    """What encodes texts without line feeds as lines."""

    def encode(encoder: TextEncoder, texts: list[str]) -> Tokens:
        ids, at = encoder.encode_lines(codes_of("".join(f"{text}\n" for text in texts)))
        firsts = np.cumsum([0, *(len(text) + 1 for text in texts)])
        counts = np.diff(np.searchsorted(at, firsts))
        return Tokens(ids, counts, at - np.repeat(firsts[:-1], counts))

    return encode
