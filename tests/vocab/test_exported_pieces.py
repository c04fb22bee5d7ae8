"""Sentencepiece models whose ids no tokenizer of transformers gives are refused, with the setting that is to blame."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import AlbertTokenizer, BertConfig

from clue_bench.errors import ClueBenchError
from clue_bench.vocab import Vocabulary, read_vocabulary
from clue_bench.weights.exported import check_export

SETTINGS: dict[str, tuple[dict[str, Any], str]] = {
    "byte fallback": ({"byte_fallback": True, "size": 400}, "falls back to bytes"),
    "byte pairs": ({"model_type": "bpe"}, "model_type is BPE"),
    "byte pairs with bytes": ({"model_type": "bpe", "byte_fallback": True, "size": 400}, "model_type is BPE"),
    "characters": ({"model_type": "char"}, "model_type is char"),
    "no blank in front": ({"add_dummy_prefix": False}, "add_dummy_prefix is off"),
    "blanks behind": ({"treat_whitespace_as_suffix": True}, "blanks stand behind words"),
    "blanks kept": ({"remove_extra_whitespaces": False}, "remove_extra_whitespaces is off"),
    "another unknown id": ({"unk_id": 2, "bos_id": 1}, "has not the id 1"),
    "words of the user's": ({"user_defined_symbols": ["[MASK]", "中国"]}, "user-defined pieces are text, '中国'"),
    "pieces over blanks": ({"split_by_whitespace": False, "size": 400, "hard_vocab_limit": False}, "reach over blanks"),
}


@pytest.fixture
def made(tmp_path: Path, train_pieces: Callable[..., bytes]) -> Callable[..., Vocabulary]:
    """What trains a model and reads it."""

    def made(**settings: Any) -> Vocabulary:
        (tmp_path / "spiece.model").write_bytes(train_pieces(**settings))
        return read_vocabulary(tmp_path / "spiece.model")

    return made


def exported(vocabulary: Vocabulary, folder: Path) -> Path:
    vocabulary.save(folder, max_length=64)
    BertConfig(vocab_size=len(vocabulary)).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(("settings", "reason"), SETTINGS.values(), ids=SETTINGS)
def test_a_model_that_transformers_reads_otherwise_is_refused(
    tmp_path: Path, made: Callable[..., Vocabulary], settings: dict[str, Any], reason: str
) -> None:
    vocabulary = made(**settings)
    assert reason in vocabulary.refusal
    with pytest.raises(ClueBenchError, match="no corpus"):
        vocabulary.encoder(special_tokens=False)
    assert reason in read_vocabulary(exported(vocabulary, tmp_path)).refusal


@pytest.mark.parametrize(
    "settings", [{}, {"normalization_rule_name": "identity"}, {"normalization_rule_name": "nmt_nfkc_cf"}]
)
def test_other_models_are_exported_with_equal_ids(
    tmp_path: Path, made: Callable[..., Vocabulary], training_lines: list[str], settings: dict[str, Any]
) -> None:
    vocabulary = made(**settings)
    lines = [" ".join(line.split()) for line in training_lines]
    checked = check_export(exported(vocabulary, tmp_path), vocabulary, lines)
    assert checked.lines == len(lines)
    assert checked.differing <= 0.01 * len(lines)


def test_an_export_with_other_ids_is_an_error_that_counts_them(
    tmp_path: Path, made: Callable[..., Vocabulary], training_lines: list[str]
) -> None:
    vocabulary = made()
    folder = exported(vocabulary, tmp_path)
    AlbertTokenizer.from_pretrained(folder, do_lower_case=True).save_pretrained(folder)
    with pytest.raises(ClueBenchError, match="other ids"):
        check_export(folder, vocabulary, training_lines)
