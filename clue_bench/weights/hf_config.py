"""Architectures as config.json: ours ⇄ Hugging Face, for every family."""

from collections.abc import Mapping
from typing import Any, cast, get_args

from clue_bench.errors import ClueBenchError
from clue_bench.models.config import Activation, Family, ModelConfig
from clue_bench.numbers import article
from clue_bench.weights.names import class_of

ACTIVATIONS: dict[str, Activation] = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
}
_HF_ACTIVATION: dict[Activation, str] = {"gelu": "gelu", "gelu_tanh": "gelu_new", "relu": "relu"}
_ENCODER_KEYS = {
    "hidden_size": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "feed_forward_size": "intermediate_size",
    "max_positions": "max_position_embeddings",
    "segment_types": "type_vocab_size",
    "layer_norm_eps": "layer_norm_eps",
    "dropout": "hidden_dropout_prob",
}
KEYS: dict[Family, dict[str, str]] = {
    "bert": _ENCODER_KEYS,
    "albert": _ENCODER_KEYS,
    "roformer": _ENCODER_KEYS,
    "gpt2": {
        "hidden_size": "n_embd",
        "layers": "n_layer",
        "heads": "n_head",
        "feed_forward_size": "n_inner",
        "max_positions": "n_positions",
        "layer_norm_eps": "layer_norm_epsilon",
        "dropout": "resid_pdrop",
    },
}
"""Our names of sizes → transformers'."""
_ACTIVATION_KEY = {family: "activation_function" if family == "gpt2" else "hidden_act" for family in KEYS}


_CHOICE = ("bert", "albert")


def pretraining_class(family: Family, *, sentence_order: bool) -> str:
    """Return the class of `transformers` that holds every head of a pretrained model (RoFormer has none with SOP)."""
    return class_of(family, {"lm"} if family == "gpt2" else {"mlm", "sp"} if sentence_order else {"mlm"})


def classifier_class(family: Family, kind: str = "classification") -> str:
    """Return the class of `transformers` that holds a fine-tuned classifier of `family` for a kind of task.

    That of multiple choice has the head of classes with one output; RoFormer's has another one, and GPT2 has none. That
    of tags has its last layer, for every token.
    """
    name = class_of(family, {"qa" if kind == "span" else "cls"})
    if kind == "tags":
        return name.replace("Sequence", "Token")
    is_choice = kind in ("choice", "cloze") and family in _CHOICE
    return name.replace("SequenceClassification", "MultipleChoice") if is_choice else name


def claimed_class(values: Mapping[str, Any]) -> str:
    """Return the first of `architectures` in a config.json, "" if there is none."""
    listed = values.get("architectures")
    return str(listed[0]) if isinstance(listed, list) and listed else ""


def hugging_face_config(config: ModelConfig, *, architecture: str, pad: int, start: int, end: int) -> dict[str, Any]:
    """Return the contents of config.json for `architecture`, e.g. "BertForMaskedLM"; the others are token ids."""
    family = config.family
    values: dict[str, Any] = {
        "architectures": [architecture],
        "model_type": family,
        "vocab_size": config.vocab_size,
        "initializer_range": 0.02,
        "pad_token_id": pad,
        "tie_word_embeddings": config.tied_head,
        "dtype": "float32",
        **{key: getattr(config, ours) for ours, key in KEYS[family].items()},
        _ACTIVATION_KEY[family]: _HF_ACTIVATION[config.activation],
    }
    more_dropout = ("embd_pdrop", "attn_pdrop") if family == "gpt2" else ("attention_probs_dropout_prob",)
    values |= dict.fromkeys(more_dropout, config.dropout)
    if family in ("albert", "gpt2"):
        values |= {"bos_token_id": start, "eos_token_id": end}
    if family in ("albert", "roformer"):
        values["embedding_size"] = config.embedding_width
    if family == "albert":
        values |= {"num_hidden_groups": 1, "inner_group_num": 1, "classifier_dropout_prob": config.dropout}
    if family == "roformer":
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
            "run clue-bench doctor, which says what the weights are",
        )
    family = cast(Family, kind)
    _refuse(values, family, where)
    activation = values.get(_ACTIVATION_KEY[family], "gelu_new" if family in ("gpt2", "albert") else "gelu")
    if not isinstance(activation, str) or activation not in ACTIVATIONS:
        raise ClueBenchError(
            f"{where}: hidden_act is {activation!r}, expected one of {', '.join(ACTIVATIONS)}",
            "give another model: clue-bench computes no other activation",
        )
    sizes = {ours: _number(values, key, ours, family, where) for ours, key in KEYS[family].items()}
    if family == "albert" and values.get("embedding_size") is not None:
        sizes["embedding_size"] = _number(values, "embedding_size", "embedding_size", family, where)
    try:
        return ModelConfig(
            family=family,
            vocab_size=_number(values, "vocab_size", "vocab_size", family, where),
            activation=ACTIVATIONS[activation],
            tied_head=family == "gpt2" or values.get("tie_word_embeddings", True),
            **{"segment_types": 0, **sizes},
        )
    except (TypeError, ValueError) as error:
        raise ClueBenchError(f"{where}: {error}", f"give {article(family)} config.json") from error


def _number(values: Mapping[str, Any], key: str, ours: str, family: Family, where: str) -> Any:
    """Return a number of config.json, or what transformers takes where it is not there."""
    defaults: dict[str, Any] = {"max_positions": 512, "segment_types": 2, "layer_norm_eps": 1e-12, "dropout": 0.1}
    if family == "gpt2":
        defaults |= {"max_positions": 1024, "layer_norm_eps": 1e-5}
        if ours == "feed_forward_size" and not values.get(key):
            return 4 * _number(values, KEYS[family]["hidden_size"], "hidden_size", family, where)
    value = values.get(key, defaults.get(ours))
    if value is None:
        problem = f"key '{key}' is missing" if key not in values else f"{key} is null"
        raise ClueBenchError(f"{where}: {problem}", "give the complete config.json")
    is_share = ours in ("layer_norm_eps", "dropout")
    if isinstance(value, bool) or not isinstance(value, (int, float) if is_share else int) or not value >= 0:
        raise ClueBenchError(f"{where}: {key} is {value!r}, expected a number", "correct config.json")
    if is_share and not value < 1:
        raise ClueBenchError(f"{where}: {key} is {value!r}, expected less than 1", "correct config.json")
    return value


def computes(values: Mapping[str, Any]) -> bool:
    """Return whether our networks compute what a config.json describes; it may still be incomplete."""
    family = values.get("model_type")
    if family not in get_args(Family):
        return False
    try:
        _refuse(values, cast(Family, family), "")
    except ClueBenchError:
        return False
    return str(values.get(_ACTIVATION_KEY[cast(Family, family)], "gelu")) in ACTIVATIONS


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
        raise ClueBenchError(
            f"{where}: embedding_size is {embedding}, hidden_size {width}", "give a roformer whose two are the same"
        )
    for key, expected in _FIXED.items():
        if values.get(key, expected) != expected:
            raise ClueBenchError(
                f"{where}: {key} is {values[key]!r}, expected {expected!r}", f"give another model: no {family} of ours"
            )
