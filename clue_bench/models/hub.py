"""Names of parameters and configuration keys: ours ⇄ Hugging Face.

Enters: our state dictionary or a Hugging Face one. Leaves: the other. Our fused query-key-value projection is split
into the three of BERT, and joined again. Tensors that only other heads or older versions use are dropped by name;
any other unknown name is an error.
"""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from clue_bench.errors import ClueBenchError
from clue_bench.models.encoder import EncoderConfig

# Ours → Hugging Face, tried in order; {n} is a layer number. The part after the match (".weight", ".bias") is kept.
_NAMES = {
    "encoder.embeddings.word": "bert.embeddings.word_embeddings",
    "encoder.embeddings.position": "bert.embeddings.position_embeddings",
    "encoder.embeddings.segment": "bert.embeddings.token_type_embeddings",
    "encoder.embeddings.norm": "bert.embeddings.LayerNorm",
    "encoder.layers.{n}.attention.out": "bert.encoder.layer.{n}.attention.output.dense",
    "encoder.layers.{n}.attention_norm": "bert.encoder.layer.{n}.attention.output.LayerNorm",
    "encoder.layers.{n}.up": "bert.encoder.layer.{n}.intermediate.dense",
    "encoder.layers.{n}.down": "bert.encoder.layer.{n}.output.dense",
    "encoder.layers.{n}.feed_forward_norm": "bert.encoder.layer.{n}.output.LayerNorm",
    "pooler.dense": "bert.pooler.dense",
    "classifier": "classifier",
    "transform_norm": "cls.predictions.transform.LayerNorm",
    "transform": "cls.predictions.transform.dense",
    "bias": "cls.predictions.bias",
}
_QKV = "encoder.layers.{n}.attention.qkv"
_SPLIT = "bert.encoder.layer.{n}.attention.self."
_PROJECTIONS = ("query", "key", "value")

# In files of others: buffers, the tied decoder, and the next-sentence head that no objective here has.
_DEAD = re.compile(
    r"(bert\.embeddings\.(position_ids|token_type_ids)|cls\.predictions\.decoder\.|cls\.seq_relationship)"
)
_LAYER = re.compile(r"\.(\d+)\.")
_BASE_PREFIXES = ("embeddings.", "encoder.layer.", "pooler.")


def to_hugging_face(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return `state` under the names of BertForMaskedLM, BertForSequenceClassification or BertModel, contiguous."""
    renamed: dict[str, Tensor] = {}
    for name, tensor in state.items():
        pattern, layer = _generalised(name)
        stem, _, leaf = pattern.rpartition(".")
        if stem == _QKV:
            for projection, part in zip(_PROJECTIONS, tensor.chunk(3), strict=True):
                renamed[f"{_SPLIT.format(n=layer)}{projection}.{leaf}"] = part.contiguous()
        elif pattern in _NAMES:
            renamed[_NAMES[pattern].format(n=layer)] = tensor.contiguous()
        else:
            renamed[f"{_NAMES[stem].format(n=layer)}.{leaf}"] = tensor.contiguous()
    return renamed


def from_hugging_face(state: Mapping[str, Tensor], *, where: str) -> dict[str, Tensor]:
    """Return `state`, whose names are BERT's, under ours. `where` names the file in errors.

    Raises ClueBenchError for a name that no BERT has, or a projection that is missing.
    """
    back = {theirs: ours for ours, theirs in _NAMES.items()}
    renamed: dict[str, Tensor] = {}
    for original, tensor in state.items():
        # Files of a bare BertModel leave the prefix out; files written before 2019 say gamma and beta.
        name = f"bert.{original}" if original.startswith(_BASE_PREFIXES) else original
        name = re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", name)
        name = re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", name)
        pattern, layer = _generalised(name)
        stem, _, leaf = pattern.rpartition(".")
        if _DEAD.match(name) or stem.removeprefix(_SPLIT) in _PROJECTIONS:
            continue
        ours = back.get(pattern) or (f"{back[stem]}.{leaf}" if stem in back else None)
        if ours is None:
            raise ClueBenchError(f"{where}: parameter '{original}' is not one of BERT's", "is this a BERT checkpoint?")
        renamed[ours.format(n=layer)] = tensor
    prefix = "" if any(name.startswith("bert.") for name in state) else "bert."
    for number in range(_num_layers(renamed)):
        for leaf in ("weight", "bias"):
            names = [f"{_SPLIT.format(n=number)}{projection}.{leaf}" for projection in _PROJECTIONS]
            try:
                parts = [state[name.removeprefix(prefix)] for name in names]
            except KeyError as error:
                raise ClueBenchError(f"{where}: parameter {error} is missing", "is the file complete?") from error
            renamed[f"{_QKV.format(n=number)}.{leaf}"] = torch.cat(parts)
    return renamed


def hugging_face_config(config: EncoderConfig, *, architecture: str, pad: int) -> dict[str, Any]:
    """Return the contents of config.json for `architecture`, e.g. "BertForMaskedLM"."""
    return {
        "architectures": [architecture],
        "model_type": "bert",
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "intermediate_size": config.feed_forward_size,
        "hidden_act": "gelu",
        "max_position_embeddings": config.max_positions,
        "type_vocab_size": config.segment_types,
        "layer_norm_eps": config.layer_norm_eps,
        "hidden_dropout_prob": config.dropout,
        "attention_probs_dropout_prob": config.dropout,
        "initializer_range": 0.02,
        "pad_token_id": pad,
        "tie_word_embeddings": True,
        "dtype": "float32",
    }


def encoder_config(values: Mapping[str, Any], *, where: str) -> EncoderConfig:
    """Return our configuration for the contents of a BERT config.json.

    Raises ClueBenchError if it is another kind of model, or a BERT with another activation.
    """
    kind, activation = values.get("model_type"), values.get("hidden_act", "gelu")
    if kind != "bert":
        raise ClueBenchError(f"{where}: model_type is {kind!r}, expected 'bert'", "give a BERT checkpoint")
    if activation != "gelu":
        raise ClueBenchError(f"{where}: hidden_act is {activation!r}, expected 'gelu'", "give a BERT checkpoint")
    positions = values.get("position_embedding_type", "absolute")
    if positions != "absolute":
        raise ClueBenchError(
            f"{where}: position_embedding_type is {positions!r}, expected 'absolute'", "not BERT's own"
        )
    try:
        return EncoderConfig(
            vocab_size=values["vocab_size"],
            layers=values["num_hidden_layers"],
            hidden_size=values["hidden_size"],
            heads=values["num_attention_heads"],
            feed_forward_size=values["intermediate_size"],
            max_positions=values.get("max_position_embeddings", 512),
            segment_types=values.get("type_vocab_size", 2),
            layer_norm_eps=values.get("layer_norm_eps", 1e-12),
            dropout=values.get("hidden_dropout_prob", 0.1),
        )
    except (TypeError, ValueError) as error:
        raise ClueBenchError(f"{where}: {error}", "is this a BERT config.json?") from error
    except KeyError as error:
        raise ClueBenchError(f"{where}: key {error} is missing", "is this a complete config.json?") from error


def _generalised(name: str) -> tuple[str, str]:
    """Return `name` with its layer number replaced by {n}, and the number."""
    found = _LAYER.search(name)
    return (_LAYER.sub(".{n}.", name, count=1), found[1]) if found else (name, "")


def _num_layers(state: Mapping[str, Tensor]) -> int:
    numbers = [int(found[1]) for name in state if (found := re.match(r"encoder\.layers\.(\d+)\.", name))]
    return max(numbers, default=-1) + 1
