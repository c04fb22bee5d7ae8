"""Small real checkpoints, made with the classes of transformers; a BERT and a GPT2 that know the built-in sentences."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from clue_bench.diagnosis.behaviour import CHARACTERS, MASK, STARTS
from clue_bench.diagnosis.examine import examine
from clue_bench.vocab import SPECIAL_TOKENS, Vocabulary

KNOWN = "".join(text.replace(MASK, right) for text, right in CHARACTERS) + "".join(STARTS)
VOCABULARY = Vocabulary((*SPECIAL_TOKENS, *sorted(set(KNOWN))))
SIZES = {
    "vocab_size": len(VOCABULARY),
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 128,
    "max_position_embeddings": 64,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "pad_token_id": 0,
}


def save(model: transformers.PreTrainedModel, folder: Path) -> Path:
    """Write a checkpoint as transformers does, with the vocabulary beside it."""
    model.save_pretrained(folder)
    VOCABULARY.save(folder, max_length=64)
    return folder


def change(folder: Path, file: str = "config.json", **values) -> None:
    """Change keys of a JSON file; None removes one."""
    read = json.loads((folder / file).read_text(encoding="utf-8"))
    read = {key: value for key, value in (read | values).items() if value is not None}
    (folder / file).write_text(json.dumps(read), encoding="utf-8")


def train(model: torch.nn.Module, batches: list[dict[str, torch.Tensor]]) -> None:
    """Learn `batches` by heart."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(40):
        for batch in batches:
            model(**batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval()


def ids(text: str) -> list[int]:
    return [*VOCABULARY.tokenizer().encode(text).ids]


@pytest.fixture(scope="session")
def trained_bert(tmp_path_factory):
    torch.manual_seed(0)
    model = transformers.BertForMaskedLM(transformers.BertConfig(**SIZES))
    batches = []
    for text, right in CHARACTERS:
        masked, full = ids(text), ids(text.replace(MASK, right))
        labels = [right if left != right else -100 for left, right in zip(masked, full, strict=True)]
        batches.append({"input_ids": torch.tensor([masked]), "labels": torch.tensor([labels])})
    train(model, batches)
    return save(model, tmp_path_factory.mktemp("bert") / "checkpoint")


@pytest.fixture(scope="session")
def trained_gpt2(tmp_path_factory):
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=len(VOCABULARY), n_embd=64, n_layer=2, n_head=2, n_positions=64, bos_token_id=2, eos_token_id=3
    )
    model = transformers.GPT2LMHeadModel(config)
    texts = [torch.tensor([ids(text)[:-1]]) for text in STARTS]
    train(model, [{"input_ids": text, "labels": text} for text in texts])
    return save(model, tmp_path_factory.mktemp("gpt2") / "checkpoint")


@pytest.fixture
def bert(trained_bert, tmp_path):
    """A copy of the trained BERT, to be damaged."""
    shutil.copytree(trained_bert, tmp_path / "model")
    return tmp_path / "model"


def wrong(folder: Path, **options) -> dict[str, str]:
    """Return check → text of what is wrong."""
    return {one.check: one.text for one in examine(str(folder), **options).findings if one.severity == "wrong"}


def notes(folder: Path, **options) -> str:
    """Return all notes, one a line."""
    return "\n".join(one.text for one in examine(str(folder), **options).findings if one.severity == "note")


WORDS = "bert.embeddings.word_embeddings.weight"
POSITIONS = "bert.embeddings.position_embeddings.weight"
UP = "bert.encoder.layer.0.intermediate.dense.weight"
DECODER = "cls.predictions.decoder.weight"
TOKENIZER = "tokenizer_config.json"


def rewrite(folder, edit):
    """Apply `edit` to the tensors of a checkpoint."""
    tensors = load_file(folder / "model.safetensors")
    save_file({name: tensor.contiguous() for name, tensor in edit(tensors).items()}, folder / "model.safetensors")


def drop(pattern):
    return lambda folder: rewrite(
        folder, lambda tensors: {name: one for name, one in tensors.items() if pattern not in name}
    )


def replace(name, make):
    return lambda folder: rewrite(folder, lambda tensors: {**tensors, name: make(tensors.get(name))})


def vocabulary(edit):
    def apply(folder):
        (folder / "tokenizer.json").unlink()
        lines = edit((folder / "vocab.txt").read_text(encoding="utf-8").splitlines())
        (folder / "vocab.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")

    return apply
