"""Architectures as config.json: ours ⇄ Hugging Face, for every family."""

from collections.abc import Mapping
from typing import Any, cast, get_args

from clue_bench.errors import ClueBenchError
from clue_bench.models.config import Activation, Family, ModelConfig

_ACTIVATIONS: dict[str, Activation] = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
}
_HUB_ACTIVATION: dict[Activation, str] = {"gelu": "gelu", "gelu_tanh": "gelu_new", "relu": "relu"}

_CLASSES: dict[Family, tuple[str, str]] = {  # without and with a sentence-order head
    "bert": ("BertForMaskedLM", "BertForPreTraining"),
    "albert": ("AlbertForMaskedLM", "AlbertForPreTraining"),
    "roformer": ("RoFormerForMaskedLM", "RoFormerForMaskedLM"),
    "gpt2": ("GPT2LMHeadModel", "GPT2LMHeadModel"),
}
_CLASSIFIERS: dict[Family, str] = {
    "bert": "BertForSequenceClassification",
    "albert": "AlbertForSequenceClassification",
    "roformer": "RoFormerForSequenceClassification",
    "gpt2": "GPT2ForSequenceClassification",
}


def pretraining_class(family: Family, *, sentence_order: bool) -> str:
    """Return the class of `transformers` that holds every head of a pretrained model (RoFormer has none with SOP)."""
    return _CLASSES[family][sentence_order]


def classifier_class(family: Family) -> str:
    """Return the class of `transformers` that holds a fine-tuned classifier of `family`."""
    return _CLASSIFIERS[family]


def hugging_face_config(config: ModelConfig, *, architecture: str, pad: int, start: int, end: int) -> dict[str, Any]:
    """Return the contents of config.json for `architecture`, e.g. "BertForMaskedLM"; the others are token ids."""
    values: dict[str, Any] = {
        "architectures": [architecture],
        "model_type": config.family,
        "vocab_size": config.vocab_size,
        "initializer_range": 0.02,
        "pad_token_id": pad,
        "tie_word_embeddings": config.tied_head,
        "dtype": "float32",
    }
    if config.family == "gpt2":
        return values | {
            "n_embd": config.hidden_size,
            "n_layer": config.layers,
            "n_head": config.heads,
            "n_inner": config.feed_forward_size,
            "n_positions": config.max_positions,
            "activation_function": _HUB_ACTIVATION[config.activation],
            "layer_norm_epsilon": config.layer_norm_eps,
            "embd_pdrop": config.dropout,
            "attn_pdrop": config.dropout,
            "resid_pdrop": config.dropout,
            "bos_token_id": start,
            "eos_token_id": end,
        }
    values |= {
        "hidden_size": config.hidden_size,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "intermediate_size": config.feed_forward_size,
        "hidden_act": _HUB_ACTIVATION[config.activation],
        "max_position_embeddings": config.max_positions,
        "type_vocab_size": config.segment_types,
        "layer_norm_eps": config.layer_norm_eps,
        "hidden_dropout_prob": config.dropout,
        "attention_probs_dropout_prob": config.dropout,
    }
    if config.family in ("albert", "roformer"):
        values["embedding_size"] = config.embedding_width
    if config.family == "albert":
        values |= {"num_hidden_groups": 1, "inner_group_num": 1, "bos_token_id": start, "eos_token_id": end}
        values["classifier_dropout_prob"] = config.dropout
    if config.family == "roformer":
        values["rotary_value"] = False
    return values


def model_config(values: Mapping[str, Any], *, where: str) -> ModelConfig:
    """Return our configuration for the contents of a config.json.

    Raises ClueBenchError if it is another kind of model, or one with parts that ours do not have.
    """
    kind = values.get("model_type")
    if kind not in get_args(Family):
        raise ClueBenchError(
            f"{where}: model_type is {kind!r}, expected one of {', '.join(get_args(Family))}",
            "clue-bench doctor tells what the weights are",
        )
    family = cast(Family, kind)
    _refuse(values, family, where)
    default_act = {"gpt2": "gelu_new", "albert": "gelu_new"}.get(family, "gelu")
    activation = values.get("activation_function" if family == "gpt2" else "hidden_act", default_act)
    if activation not in _ACTIVATIONS:
        raise ClueBenchError(
            f"{where}: hidden_act is {activation!r}, expected one of {', '.join(_ACTIVATIONS)}", "no model of ours"
        )
    try:
        return _gpt2(values, activation) if family == "gpt2" else _encoder(values, family, activation)
    except (TypeError, ValueError) as error:
        raise ClueBenchError(f"{where}: {error}", f"is this a {family} config.json?") from error
    except KeyError as error:
        raise ClueBenchError(f"{where}: key {error} is missing", "is this a complete config.json?") from error


def computes(values: Mapping[str, Any]) -> bool:
    """Whether our networks compute what a config.json describes; whether it is complete is another matter."""
    family = values.get("model_type")
    if family not in get_args(Family):
        return False
    try:
        _refuse(values, cast(Family, family), "")
    except ClueBenchError:
        return False
    return values.get("activation_function" if family == "gpt2" else "hidden_act", "gelu") in _ACTIVATIONS


def _encoder(values: Mapping[str, Any], family: Family, activation: str) -> ModelConfig:
    return ModelConfig(
        family=family,
        vocab_size=values["vocab_size"],
        layers=values["num_hidden_layers"],
        hidden_size=values["hidden_size"],
        heads=values["num_attention_heads"],
        feed_forward_size=values["intermediate_size"],
        embedding_size=values.get("embedding_size") if family == "albert" else None,
        max_positions=values.get("max_position_embeddings", 512),
        segment_types=values.get("type_vocab_size", 2),
        activation=_ACTIVATIONS[activation],
        layer_norm_eps=values.get("layer_norm_eps", 1e-12),
        dropout=values.get("hidden_dropout_prob", 0.1),
        tied_head=values.get("tie_word_embeddings", True),
    )


def _gpt2(values: Mapping[str, Any], activation: str) -> ModelConfig:
    width = values["n_embd"]
    return ModelConfig(
        family="gpt2",
        vocab_size=values["vocab_size"],
        layers=values["n_layer"],
        hidden_size=width,
        heads=values["n_head"],
        feed_forward_size=values.get("n_inner") or 4 * width,
        max_positions=values.get("n_positions", 1024),
        segment_types=0,
        activation=_ACTIVATIONS[activation],
        layer_norm_eps=values.get("layer_norm_epsilon", 1e-5),
        dropout=values.get("resid_pdrop", 0.1),
    )


# Settings of transformers that change the computation, and the only value that ours compute.
_FIXED = {
    "position_embedding_type": "absolute",
    "num_hidden_groups": 1,
    "inner_group_num": 1,
    "rotary_value": False,
    "is_decoder": False,
    "scale_attn_by_inverse_layer_idx": False,
    "reorder_and_upcast_attn": False,
    "scale_attn_weights": True,
}


def _refuse(values: Mapping[str, Any], family: Family, where: str) -> None:
    width, embedding = values.get("hidden_size"), values.get("embedding_size", values.get("hidden_size"))
    if family == "roformer" and embedding != width:
        raise ClueBenchError(f"{where}: embedding_size is {embedding}, hidden_size {width}", "no roformer of ours")
    for key, expected in _FIXED.items():
        if values.get(key, expected) != expected:
            raise ClueBenchError(f"{where}: {key} is {values[key]!r}, expected {expected!r}", f"no {family} of ours")
