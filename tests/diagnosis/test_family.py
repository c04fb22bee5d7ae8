"""Families are told from names and shapes; transformers' own classes are the oracle."""

import pytest
import torch
import transformers

from clue_bench.diagnosis.family import recognise

SIZES = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "pad_token_id": 0,
}
CLASSES = {
    "BertForPreTraining": "bert",
    "BertForMaskedLM": "bert",
    "BertModel": "bert",
    "BertForSequenceClassification": "bert",
    "RobertaForMaskedLM": "roberta",
    "AlbertForPreTraining": "albert",
    "AlbertModel": "albert",
    "RoFormerForMaskedLM": "roformer",
    "RoFormerModel": "roformer",
    "ElectraForPreTraining": "electra",
    "ElectraForMaskedLM": "electra",
    "ErnieForMaskedLM": "ernie",
    "MegatronBertForMaskedLM": "megatron-bert",
}


def shapes_of(name: str, *, bare: bool = False, **values) -> dict[str, tuple[int, ...]]:
    """Return names and shapes as the class writes them to a file; `bare` leaves the encoder's prefix out."""
    chosen = getattr(transformers, name)
    with torch.device("meta"):
        model = chosen(chosen.config_class(**{**SIZES, **values}))
    prefix = f"{model.base_model_prefix}." if bare else ""
    return {key.removeprefix(prefix): tuple(tensor.shape) for key, tensor in model.state_dict().items()}


def roformer_v2(hidden: int = 16, layers: int = 2) -> dict[str, tuple[int, ...]]:
    """Return the layout of RoFormerV2 as JunnYu/RoFormer_pytorch writes it: no biases, norms without parameters."""
    shapes = {
        "roformer.embeddings.word_embeddings.weight": (50, hidden),
        "roformer.embeddings.token_type_embeddings.weight": (2, hidden),
        "roformer.encoder.embed_positions.weight": (512, hidden // 2),
        "cls.predictions.decoder.weight": (50, hidden),
    }
    for layer in range(layers):
        stem = f"roformer.encoder.layer.{layer}."
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            shapes[f"{stem}attention.{part}.weight"] = (hidden, hidden)
        shapes[f"{stem}intermediate.dense.weight"] = (2 * hidden, hidden)
        shapes[f"{stem}output.dense.weight"] = (hidden, 2 * hidden)
    return shapes


@pytest.mark.parametrize("name", CLASSES)
def test_every_class_is_recognised_with_its_sizes(name):
    found = recognise(shapes_of(name))
    assert found.kind == CLASSES[name]
    assert found.sizes["vocab_size"] == 50
    assert found.sizes["hidden_size"] == 16
    assert found.sizes["intermediate_size"] == 24
    assert found.sizes.get("num_hidden_layers", 3) == 3
    assert found.has_head == name.endswith("MaskedLM") or name.startswith(("BertForPre", "AlbertForPre"))


def test_gpt2_is_recognised_with_its_sizes():
    found = recognise(shapes_of("GPT2LMHeadModel", n_embd=16, n_layer=3, n_head=2, n_inner=24))
    assert found.kind == "gpt2"
    assert found.has_head
    assert (found.sizes["hidden_size"], found.sizes["intermediate_size"]) == (16, 24)
    assert found.sizes["max_position_embeddings"] == 1024


def test_names_without_prefix_are_bert_ernie_or_electra():
    found = recognise(shapes_of("BertModel", bare=True))
    assert found.kind == "bert"
    assert found.compatible == {"bert", "ernie", "electra"}


def test_514_positions_and_one_segment_are_roberta_even_without_prefix():
    found = recognise(shapes_of("RobertaModel", bare=True, max_position_embeddings=514, type_vocab_size=1))
    assert found.kind == "roberta"
    assert "514 position rows" in found.evidence


def test_512_positions_and_two_segments_are_bert_unless_the_padding_row_is_zero():
    shapes = shapes_of("RobertaModel", bare=True, max_position_embeddings=512, type_vocab_size=2)
    assert recognise(shapes).kind == "bert"
    assert recognise(shapes, zero_position_row=True).kind == "roberta"


@pytest.mark.parametrize("prefix", ["roformer.", ""])
def test_roformer_v2_has_no_biases_and_norms_without_parameters(prefix):
    found = recognise({name.replace("roformer.", prefix): shape for name, shape in roformer_v2().items()})
    assert found.kind == "roformer_v2"
    assert found.has_head
    assert found.sizes["num_hidden_layers"] == 2


def test_uer_and_unknown_names_are_called_so():
    assert recognise({"encoder.transformer.0.self_attn.linear_layers.0.weight": (8, 8)}).kind == "uer"
    assert recognise({"model.layers.0.mlp.gate_proj.weight": (8, 8)}).kind == "unknown"
