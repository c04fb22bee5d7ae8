"""Each kind of damage is called by its name; what is no error is a note; what cannot be read is one clear error."""

import json

import pytest
import torch
import transformers

from clue_bench.diagnosis.examine import examine
from clue_bench.errors import ClueBenchError

from .conftest import (
    DECODER,
    POSITIONS,
    TOKENIZER,
    UP,
    VOCABULARY,
    WORDS,
    change,
    drop,
    notes,
    replace,
    vocabulary,
    wrong,
)

DAMAGE = {
    "no model_type": (lambda f: change(f, model_type=None), "family", "has no model_type, the weights are BERT's"),
    "other class": (lambda f: change(f, architectures=["AlbertModel"]), "family", "but architectures says AlbertModel"),
    "no such class": (lambda f: change(f, architectures=["BertForNothing"]), "family", "transformers does not have"),
    "more layers": (lambda f: change(f, num_hidden_layers=12), "config", "says 12 hidden layers, the weights have 2"),
    "wider": (lambda f: change(f, hidden_size=128), "config", "says 128 hidden size, the weights have 64"),
    "a text for a number": (lambda f: change(f, hidden_size="wide"), "config", "transformers refuses config.json"),
    "no heads": (lambda f: change(f, num_attention_heads=0), "config", "cannot build BertForMaskedLM"),
    "odd heads": (lambda f: change(f, num_attention_heads=7), "config", "cannot build BertForMaskedLM"),
    "no head": (drop("cls."), "head", "head is missing: fill-mask would use random weights"),
    "half a head": (drop("cls.predictions.transform"), "tensors", "wants 4 tensors that the file lacks"),
    "a layer short": (drop("layer.1.attention"), "tensors", "tensors that the file lacks"),
    "one too many": (replace("strange", lambda _: torch.ones(2)), "tensors", "does not know: strange"),
    "wrong shape": (replace(UP[:-6] + "bias", lambda _: torch.ones(3)), "tensors", "[3] instead of [128]"),
    "untied": (replace(DECODER, lambda _: torch.randn(len(VOCABULARY), 64)), "tensors", "two different tensors"),
    "NaN": (replace(UP, lambda one: one.index_fill(0, torch.tensor([5]), float("nan"))), "numbers", "(64 of 8,192)"),
    "zeros": (replace(UP, torch.zeros_like), "numbers", "1 tensor is all zeros"),
    "fewer positions": (replace(POSITIONS, lambda one: one[:32]), "positions", "64, the weights have 32 rows"),
    "more segments": (lambda f: change(f, type_vocab_size=3), "segments", "says type_vocab_size 3, the weights have 2"),
    "no vocabulary": (lambda f: [(f / n).unlink() for n in ("vocab.txt", "tokenizer.json")], "vocabulary", "no vocab"),
    "short vocabulary": (vocabulary(lambda lines: lines[:-9]), "vocabulary", "the vocabulary is another model's"),
    "two vocabularies": (
        lambda f: (f / "vocab.txt").write_text("[PAD]\n", encoding="utf-8"),
        "vocabulary",
        "vocab.txt 1; they differ in",
    ),
    "no [MASK]": (
        vocabulary(lambda lines: [one.replace("[MASK]", "x") for one in lines]),
        "special tokens",
        "has no [MASK]: the tokenizer",
    ),
    "padding": (lambda f: change(f, pad_token_id=3), "special tokens", "pad_token_id 3 is '[SEP]', [PAD] is 0"),
    "tokenizer": (
        lambda f: change(f, TOKENIZER, tokenizer_class="RobertaTokenizer"),
        "tokenizer",
        "tokenizer_class is RobertaTokenizer, but vocab.txt is for BertTokenizer",
    ),
    "too long": (lambda f: change(f, TOKENIZER, model_max_length=512), "tokenizer", "the positions hold 64 tokens"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_called_by_its_name(name, bert):
    damage, check, text = DAMAGE[name]
    damage(bert)
    assert text in wrong(bert)[check]


def test_a_wrong_number_is_said_once_and_the_rest_is_read_with_the_right_one(bert):
    change(bert, num_hidden_layers=12, max_position_embeddings=512)
    assert set(wrong(bert)) == {"config", "positions"}
    assert examine(str(bert)).filled[0].answers[0].token == "京"


NOTES = {
    "optimizer slots": (
        replace(UP + ".adam_m", lambda _: torch.ones(1024, 512)),
        "optimizer state: 1 tensor that is not used, 524,288 parameters, 2.0 MiB",
    ),
    "sentence pairs": (replace("cls.seq_relationship.weight", lambda _: torch.ones(2, 64)), "the sentence-pair head"),
    "pooler": (replace("bert.pooler.dense.weight", lambda _: torch.ones(64, 64)), "the pooler: 1 tensor"),
    "buffers": (
        replace("bert.embeddings.position_ids", lambda _: torch.arange(64)),
        "positions and segments stored as buffers",
    ),
    "same segments": (
        replace("bert.embeddings.token_type_embeddings.weight", lambda _: torch.ones(2, 64)),
        "segments mean nothing, so the model was not trained with pairs",
    ),
    "zero segments": (replace("bert.embeddings.token_type_embeddings.weight", torch.zeros_like), "rows are zero"),
    "capitals": (lambda f: change(f, TOKENIZER, do_lower_case=False), "the vocabulary has no capitals"),
    "no length": (lambda f: change(f, TOKENIZER, model_max_length=None), "no model_max_length"),
}


@pytest.mark.parametrize("name", NOTES)
def test_what_is_no_error_is_a_note(name, bert):
    damage, text = NOTES[name]
    damage(bert)
    assert text in notes(bert)
    assert examine(str(bert)).healthy


def unindex(folder):
    (folder / "model.safetensors").rename(folder / "model-1.safetensors")
    index = {"weight_map": {WORDS: "model-1.safetensors", UP: "model-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")


def pickle(folder):
    (folder / "model.safetensors").unlink()
    torch.save({"code": transformers.BertConfig()}, folder / "pytorch_model.bin")


BROKEN = {
    "no config.json": lambda f: (f / "config.json").unlink(),
    "not JSON": lambda f: (f / "config.json").write_text("{", encoding="utf-8"),
    "expected a JSON object": lambda f: (f / "config.json").write_text("[]", encoding="utf-8"),
    "neither model.safetensors": lambda f: (f / "model.safetensors").unlink(),
    "damaged or cut short": lambda f: (f / "model.safetensors").write_bytes(b"\x10" * 40),
    "names model-2.safetensors, not there": unindex,
    "asks for 'transformers.": pickle,
    "not UTF-8": lambda f: (f / "vocab.txt").write_bytes(b"\xff\xfe"),
}


@pytest.mark.parametrize("problem", BROKEN)
def test_what_cannot_be_read_is_one_clear_error(problem, bert):
    BROKEN[problem](bert)
    with pytest.raises(ClueBenchError, match=problem) as caught:
        examine(str(bert))
    assert caught.value.hint
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("pattern", ["layer.1.output", "LayerNorm", "predictions.transform", "query.bias"])
def test_as_many_tensors_are_called_missing_as_transformers_starts_afresh(pattern, bert):
    drop(pattern)(bert)
    _, info = transformers.BertForMaskedLM.from_pretrained(bert, output_loading_info=True)
    assert f"wants {len(info['missing_keys'])} tensors that the file lacks" in wrong(bert)["tensors"]
