"""Names of parameters: ours ⇄ Hugging Face, for every family.

Input: our state dictionary or a Hugging Face one. Output: the other. Our fused query-key-value projection is split
into the three of BERT, and joined again; GPT2's matrices are stored transposed there. Tensors that only other heads or
older versions use are dropped by name; any other unknown name is an error.
"""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from clue_bench.errors import ClueBenchError
from clue_bench.models.attention import rotary_angles
from clue_bench.models.config import Family, ModelConfig

_LAYER_NAMES = {
    "attention.out": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "up": "intermediate.dense",
    "down": "output.dense",
    "feed_forward_norm": "output.LayerNorm",
}
_BERT_LAYERS = {f"encoder.layers.{{n}}.{ours}": f"encoder.layer.{{n}}.{hub}" for ours, hub in _LAYER_NAMES.items()}
_BERT_HEAD = {
    "transform_norm": "cls.predictions.transform.LayerNorm",
    "transform": "cls.predictions.transform.dense",
    "decoder": "cls.predictions.decoder",
    "bias": "cls.predictions.bias",
    "classifier": "classifier",
}
_EMBEDDINGS = {
    "encoder.embeddings.word": "embeddings.word_embeddings",
    "encoder.embeddings.position": "embeddings.position_embeddings",
    "encoder.embeddings.segment": "embeddings.token_type_embeddings",
    "encoder.embeddings.norm": "embeddings.LayerNorm",
}
_ALBERT_LAYER = "encoder.albert_layer_groups.{n}.albert_layers.0."
_ROTARY_TABLE = "roformer.encoder.embed_positions.weight"


def _under(prefix: str, names: Mapping[str, str]) -> dict[str, str]:
    return {ours: f"{prefix}.{hub}" for ours, hub in names.items()}


# Ours → Hugging Face; {n} is a layer number. The part after the match (".weight", ".bias") is kept.
_NAMES: dict[Family, dict[str, str]] = {
    "bert": _under("bert", _EMBEDDINGS | _BERT_LAYERS | {"pooler.dense": "pooler.dense"})
    | _BERT_HEAD
    | {"order": "cls.seq_relationship"},
    # RoFormer has no class with a pooler in transformers: these two names are ours, and it reports them as unused.
    "roformer": _under("roformer", _EMBEDDINGS | _BERT_LAYERS)
    | _BERT_HEAD
    | {"pooler.dense": "sop_classifier.pooler", "order": "sop_classifier.classifier"}
    | {"classifier.dense": "classifier.dense", "classifier.out_proj": "classifier.out_proj"},
    "albert": _under(
        "albert",
        _EMBEDDINGS
        | {
            "encoder.embeddings.project": "encoder.embedding_hidden_mapping_in",
            "encoder.layers.{n}.attention.out": f"{_ALBERT_LAYER}attention.dense",
            "encoder.layers.{n}.attention_norm": f"{_ALBERT_LAYER}attention.LayerNorm",
            "encoder.layers.{n}.up": f"{_ALBERT_LAYER}ffn",
            "encoder.layers.{n}.down": f"{_ALBERT_LAYER}ffn_output",
            "encoder.layers.{n}.feed_forward_norm": f"{_ALBERT_LAYER}full_layer_layer_norm",
            "pooler.dense": "pooler",
        },
    )
    | {
        "transform_norm": "predictions.LayerNorm",
        "transform": "predictions.dense",
        "decoder": "predictions.decoder",
        "bias": "predictions.bias",
        "order": "sop_classifier.classifier",
        "classifier": "classifier",
    },
    "gpt2": {
        "word": "transformer.wte",
        "position": "transformer.wpe",
        "layers.{n}.attention_norm": "transformer.h.{n}.ln_1",
        "layers.{n}.attention.qkv": "transformer.h.{n}.attn.c_attn",
        "layers.{n}.attention.out": "transformer.h.{n}.attn.c_proj",
        "layers.{n}.feed_forward_norm": "transformer.h.{n}.ln_2",
        "layers.{n}.up": "transformer.h.{n}.mlp.c_fc",
        "layers.{n}.down": "transformer.h.{n}.mlp.c_proj",
        "norm": "transformer.ln_f",
        "score": "score",
        "classifier": "classifier",  # of tokens
    },
}
_QKV = "encoder.layers.{n}.attention.qkv"
_SPLIT: dict[Family, str] = {
    "bert": "bert.encoder.layer.{n}.attention.self.",
    "roformer": "roformer.encoder.layer.{n}.attention.self.",
    "albert": f"albert.{_ALBERT_LAYER}attention.",
    "gpt2": "",
}
_PROJECTIONS = ("query", "key", "value")
_PREFIX: dict[Family, str] = {"bert": "bert.", "roformer": "roformer.", "albert": "albert.", "gpt2": "transformer."}
_TRANSPOSED = re.compile(r"\.(c_attn|c_proj|c_fc)\.weight$")  # transformers' GPT2 keeps matrices as (in, out)

# In files of others: buffers, tables that are computed, second copies of tied tensors, heads of question answering.
_DEAD = re.compile(
    r"(qa_outputs\.(weight|bias)|\w+\.embeddings\.(position_ids|token_type_ids)|roformer\.encoder\.embed_positions\.weight"
    r"|(cls\.)?predictions\.decoder\.bias|lm_head\.weight|transformer\.h\.\d+\.attn\.(masked_)?bias)$"
)
_TIED_DECODER = re.compile(r"(cls\.)?predictions\.decoder\.weight$")
_LAYER = re.compile(r"\.(\d+)\.")
_BASE_PREFIXES = ("embeddings.", "encoder.", "pooler.", "wte.", "wpe.", "h.", "ln_f.")


def to_hugging_face(state: Mapping[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """Return `state` under the names of the family's classes in `transformers`, contiguous."""
    family = config.family
    names = _NAMES[family]
    renamed: dict[str, Tensor] = {}
    for name, tensor in state.items():
        pattern, layer = _generalised(name)
        stem, _, leaf = pattern.rpartition(".")
        if family != "gpt2" and stem == _QKV:
            for projection, part in zip(_PROJECTIONS, tensor.chunk(3), strict=True):
                renamed[f"{_SPLIT[family].format(n=layer)}{projection}.{leaf}"] = part.contiguous()
            continue
        hub_name = names[pattern] if pattern in names else f"{names[stem]}.{leaf}"
        hub_name = hub_name.format(n=layer)
        renamed[hub_name] = (tensor.T if _TRANSPOSED.search(hub_name) else tensor).contiguous()
    if "decoder.weight" in state:  # an untied head has its bias twice there
        renamed[f"{names['decoder']}.bias"] = state["bias"].clone()
    if family == "roformer":
        angles = rotary_angles(torch.arange(config.max_positions), config.head_size)
        renamed[_ROTARY_TABLE] = torch.cat((angles.sin, angles.cos), dim=-1)
    return renamed


def from_hugging_face(state: Mapping[str, Tensor], config: ModelConfig, *, where: str) -> dict[str, Tensor]:
    """Return `state`, whose names are those of `transformers`, under ours. `where` names the file in errors.

    Raises ClueBenchError for a name that the family does not have, or a projection that is missing.
    """
    family, prefix = config.family, _PREFIX[config.family]
    back = {hub: ours for ours, hub in _NAMES[family].items()}
    full = {_full_name(name, prefix): (name, tensor) for name, tensor in state.items()}
    renamed: dict[str, Tensor] = {}
    for name, (original, tensor) in full.items():
        pattern, layer = _generalised(name)
        stem, _, leaf = pattern.rpartition(".")
        if _DEAD.match(name) or (config.tied_head and _TIED_DECODER.match(name)):
            continue
        if family != "gpt2" and stem.removeprefix(_SPLIT[family]) in _PROJECTIONS:
            continue
        ours = back.get(pattern) or (f"{back[stem]}.{leaf}" if stem in back else None)
        if ours is None:
            raise ClueBenchError(
                f"{where}: parameter '{original}' is not one of {family}'s", f"is this a {family} checkpoint?"
            )
        renamed[ours.format(n=layer)] = tensor.T.contiguous() if _TRANSPOSED.search(name) else tensor
    for number in range(_num_layers(renamed) if family != "gpt2" else 0):
        for leaf in ("weight", "bias"):
            names = [f"{_SPLIT[family].format(n=number)}{projection}.{leaf}" for projection in _PROJECTIONS]
            try:
                parts = [full[name][1] for name in names]
            except KeyError as error:
                raise ClueBenchError(f"{where}: parameter {error} is missing", "is the file complete?") from error
            renamed[f"{_QKV.format(n=number)}.{leaf}"] = torch.cat(parts)
    return renamed


def is_bert_called_roberta(values: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether config.json `values` say roberta, and the weights are BERT's: hub models clue/*, for example.

    A RoBERTa has one segment, and 514 position rows for 512 tokens, the first two for padding.
    """
    if values.get("model_type") != "roberta":
        return False

    def rows(table: str) -> int:
        return next((shape[0] for name, shape in shapes.items() if name.endswith(f"embeddings.{table}.weight")), 0)

    return rows("token_type_embeddings") == 2 and rows("position_embeddings") % 64 != 2


def _full_name(name: str, prefix: str) -> str:
    """Return `name` as files of today spell it: a bare model leaves the prefix out, old files say gamma and beta."""
    name = f"{prefix}{name}" if name.startswith(_BASE_PREFIXES) else name
    return re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", name))


def _generalised(name: str) -> tuple[str, str]:
    """Return `name` with its layer number replaced by {n}, and the number."""
    found = _LAYER.search(name)
    return (_LAYER.sub(".{n}.", name, count=1), found[1]) if found else (name, "")


def _num_layers(state: Mapping[str, Tensor]) -> int:
    numbers = [int(found[1]) for name in state if (found := re.match(r"encoder\.layers\.(\d+)\.", name))]
    return max(numbers, default=-1) + 1
