"""Training sentencepiece: the card's arguments, the same model each time, and errors that say what would do."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from clue_bench.errors import ClueBenchError
from clue_bench.vocab import SPECIAL_TOKENS, training
from clue_bench.vocab.training import ARGUMENTS, Trained, train_sentencepiece

SIZE = 90


def train(sentences: list[str] | Iterator[str], *, size: int = SIZE, sample: int | None = None) -> Trained:
    return train_sentencepiece(sentences, size=size, sample=sample, on_round=lambda _: None)


def test_the_arguments_are_those_that_uers_model_was_trained_with(real_data: Path) -> None:
    protobuf = pytest.importorskip("sentencepiece.sentencepiece_model_pb2", reason="needs the package protobuf")
    model = protobuf.ModelProto.FromString((real_data / "vocab" / "cluecorpussmall_spm.model").read_bytes())
    spec = model.trainer_spec
    assert {name: getattr(spec, name) for name in ARGUMENTS if name != "user_defined_symbols"} == {
        name: value for name, value in ARGUMENTS.items() if name != "user_defined_symbols"
    }
    assert list(spec.user_defined_symbols) == ARGUMENTS["user_defined_symbols"]
    assert (spec.vocab_size, model.normalizer_spec.name) == (100_000, "nmt_nfkc")


def test_a_trained_vocabulary_has_its_size_and_uers_special_tokens(training_lines: list[str]) -> None:
    trained = train(training_lines)
    assert len(trained.vocabulary) == SIZE
    unused = [f"[unused{number}]" for number in range(1, 11)]
    assert trained.vocabulary.tokens[:15] == (*SPECIAL_TOKENS, *unused)
    assert trained.vocabulary.kind == "sentencepiece"
    assert max(len(token) for token in trained.vocabulary.tokens[15:]) <= 6
    assert trained.sentences == len(training_lines)


@pytest.mark.parametrize("sample", [None, 200])
def test_the_same_text_gives_the_same_model(training_lines: list[str], sample: int | None) -> None:
    first, second = (train(training_lines, sample=sample).vocabulary.sha256 for _ in range(2))
    assert first == second


def test_a_sample_is_part_of_the_text(training_lines: list[str]) -> None:
    assert train(training_lines, sample=200).vocabulary != train(training_lines).vocabulary
    assert train(training_lines, sample=10**6).vocabulary == train(training_lines).vocabulary


def test_sentences_that_are_too_long_are_left_out_and_counted(training_lines: list[str]) -> None:
    long, longest = "中" * 342, "中" * 341  # 1,026 and 1,023 bytes
    trained = train([*training_lines, long, longest])
    assert (trained.sentences, trained.too_long) == (len(training_lines) + 1, 1)
    assert trained.vocabulary == train([*training_lines, longest]).vocabulary


def test_text_that_is_too_small_names_the_largest_size(training_lines: list[str]) -> None:
    with pytest.raises(ClueBenchError, match="too small for 5,000 pieces") as caught:
        train(training_lines, size=5_000)
    found = re.search(r"--size (\d+) or less", caught.value.hint)
    assert found is not None
    assert len(train(training_lines, size=int(found[1])).vocabulary) == int(found[1])
    with pytest.raises(ClueBenchError, match="too small"):
        train(training_lines, size=int(found[1]) + 1)


def test_a_size_that_cannot_hold_the_characters_names_the_smallest(training_lines: list[str]) -> None:
    with pytest.raises(ClueBenchError, match="20 pieces") as caught:
        train(training_lines, size=20)
    found = re.search(r"--size (\d+) or more", caught.value.hint)
    assert found is not None
    assert len(train(training_lines, size=int(found[1])).vocabulary) == int(found[1])


@pytest.mark.parametrize("sentences", [[], [""], ["中" * 1000]], ids=["nothing", "blank", "too long"])
def test_no_text_is_an_error(sentences: list[str]) -> None:
    with pytest.raises(ClueBenchError, match="no text"):
        train(sentences)


def test_text_beyond_the_memory_asks_for_a_sample(monkeypatch: pytest.MonkeyPatch, training_lines: list[str]) -> None:
    monkeypatch.setattr(training, "_free_memory", lambda: 1000)
    monkeypatch.setattr(training, "BYTES_BETWEEN_CHECKS", 2000)
    with pytest.raises(ClueBenchError, match="need more memory") as caught:
        train(training_lines)
    assert "--sentences" in caught.value.hint
    assert len(train(training_lines, sample=500).vocabulary) == SIZE


def test_an_error_in_the_text_ends_the_training_process(training_lines: list[str]) -> None:
    def text() -> Iterator[str]:
        yield from training_lines
        raise ClueBenchError("damaged", "fetch it again")

    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    before = set(children.read_text().split()) if children.is_file() else set()
    with pytest.raises(ClueBenchError, match="damaged"):
        train(text())
    if children.is_file():
        new = set(children.read_text().split()) - before
        # Python's own tracker of shared resources starts with the first child and stays.
        assert all("resource_tracker" in Path(f"/proc/{child}/cmdline").read_text() for child in new)


def test_rounds_are_reported_with_falling_numbers_of_pieces(training_lines: list[str]) -> None:
    rounds: list[int] = []
    train_sentencepiece(training_lines, size=SIZE, sample=None, on_round=rounds.append)
    assert rounds == sorted(rounds, reverse=True)
    assert rounds[0] > rounds[-1] > 0
