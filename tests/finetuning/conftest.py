"""A fine-tuning run of the smallest size, without any file: a random model, rows of random tokens."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentencepiece
import torch
import transformers

from clue_bench.finetuning.base_models.heads import Classifier, TransformersClassifier, new_classifier
from clue_bench.finetuning.encode import Encoded
from clue_bench.finetuning.settings import Settings
from clue_bench.finetuning.train import Finetuning
from clue_bench.models.config import ModelConfig
from clue_bench.training.dropout import DropoutPool

PLAIN: dict[str, Any] = {
    "learning_rate": 5e-3,
    "epochs": 2,
    "steps": None,
    "batch_size": 8,
    "max_length": 16,
    "warmup_share": 0.1,
    "weight_decay": 0.01,
    "clip_norm": 1.0,
    "dropout": 0.1,
    "evaluations_per_epoch": 2,
    "max_evaluations": 15,
    "patience": 0,
    "class_balance": 0.0,
    "label_smoothing": 0.0,
    "layer_decay": 1.0,
    "ema_decay": 0.0,
    "fgm_epsilon": 0.0,
    "r_drop_alpha": 0.0,
    "precision": "fp32",
}
CLASSES = 3
VOCABULARY = 24
SIZES = {"layers": 2, "hidden_size": 16, "heads": 2, "feed_forward_size": 32, "max_positions": 16}


def split(num_rows: int, *, seed: int) -> Encoded:
    """Rows whose class is their first token's number modulo 3: the model has to look for it."""
    generator = np.random.default_rng(seed)
    lengths = generator.integers(3, 12, num_rows)
    ids = generator.integers(2, VOCABULARY, int(lengths.sum())).astype(np.int32)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return Encoded(
        ids,
        np.zeros(len(ids), np.int8),
        offsets,
        ids[offsets[:-1]].astype(np.int64) % CLASSES,
        np.zeros(len(offsets) - 1, bool),
    )


def own_model(dropout: float) -> Classifier:
    return new_classifier(ModelConfig(vocab_size=VOCABULARY, dropout=dropout, **SIZES), CLASSES)


def foreign_model(dropout: float) -> Classifier:
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=VOCABULARY,
        num_hidden_layers=2,
        hidden_size=16,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=16,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        num_labels=CLASSES,
    )
    return TransformersClassifier(BertForSequenceClassification(config), has_segments=True)


@pytest.fixture(scope="session")
def tiny_settings() -> Callable[..., Settings]:
    """Return the settings of `tiny_run`, changed."""
    return lambda **changes: Settings(**{**PLAIN, **changes})


@pytest.fixture(scope="session")
def tiny_run() -> Callable[..., Finetuning]:
    """Make a run from settings; `is_foreign` trains a model of transformers, which draws its own dropout."""

    def make(
        *,
        is_foreign: bool = False,
        seed: int = 1,
        metric: str = "accuracy",
        dev_rows: int = 40,
        autocast: torch.dtype | None = None,
        **settings: Any,
    ) -> Finetuning:
        values = Settings(**{**PLAIN, **settings})
        torch.manual_seed(seed)
        model = (foreign_model if is_foreign else own_model)(values.dropout)
        return Finetuning(
            model=model,
            train=split(60, seed=1),
            dev=split(dev_rows, seed=2),
            settings=values,
            metric=metric,
            seed=seed,
            pad=0,
            dropout=DropoutPool(values.dropout, seed=seed, device=torch.device("cpu")),
            device=torch.device("cpu"),
            autocast=autocast,
        )

    return make


@pytest.fixture
def make_foreign(checkpoint_folder: Path) -> Callable[..., Path]:
    """Make a model of transformers alone: ELECTRA with a vocabulary of ours, XLM-R with sentencepiece's."""

    def make(kind: str, folder: Path, *, characters: list[str]) -> Path:
        sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
        sizes["max_position_embeddings"] = 66
        torch.manual_seed(0)
        config: Any
        if kind == "electra":
            ignored = shutil.ignore_patterns("*.json", "*.safetensors")
            shutil.copytree(checkpoint_folder / "checkpoint", folder, ignore=ignored)
            size = len((folder / "vocab.txt").read_text(encoding="utf-8").splitlines())
            config = transformers.ElectraConfig(vocab_size=size, embedding_size=32, **sizes)
            (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}', encoding="utf-8")
        else:
            folder.mkdir()
            with (folder / "sentencepiece.bpe.model").open("wb") as out:
                lines = ["".join(np.random.default_rng(n).choice(characters, 30)) for n in range(300)]
                sentencepiece.SentencePieceTrainer.train(
                    sentence_iterator=iter(lines),
                    model_writer=out,
                    vocab_size=60,
                    hard_vocab_limit=False,
                    minloglevel=2,
                )
            config = transformers.XLMRobertaConfig(vocab_size=70, type_vocab_size=1, pad_token_id=1, **sizes)
            (folder / "tokenizer_config.json").write_text(
                '{"tokenizer_class": "XLMRobertaTokenizer"}', encoding="utf-8"
            )
        transformers.AutoModel.from_config(config).save_pretrained(folder)
        return folder

    return make
