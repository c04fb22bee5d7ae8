"""Names of parameters: UER-py ⇄ Hugging Face, for every family that both have.

A stem is a name without its last part. UER-py calls the parts of its norms gamma and beta, transformers weight and
bias; the other parts have the same names. {n} is a layer number. UER-py has renamed its parameters twice (2021, 2022):
`today` gives the names of its master branch (2024-05), which the tables use.
"""

import re
from typing import Literal

Family = Literal["bert", "albert", "gpt2"]

_ATTENTION = "self_attn.linear_layers"
PROJECTIONS = tuple(f"{_ATTENTION}.{index}" for index in range(3))  # query, key, value
_BERT_LAYER = {
    **dict(zip(PROJECTIONS, ("attention.self.query", "attention.self.key", "attention.self.value"), strict=True)),
    "self_attn.final_linear": "attention.output.dense",
    "layer_norm_1": "attention.output.LayerNorm",
    "feed_forward.linear_1": "intermediate.dense",
    "feed_forward.linear_2": "output.dense",
    "layer_norm_2": "output.LayerNorm",
}
_ALBERT_LAYER = {
    **dict(zip(PROJECTIONS, ("attention.query", "attention.key", "attention.value"), strict=True)),
    "self_attn.final_linear": "attention.dense",
    "layer_norm_1": "attention.LayerNorm",
    "feed_forward.linear_1": "ffn",
    "feed_forward.linear_2": "ffn_output",
    "layer_norm_2": "full_layer_layer_norm",
}
_GPT2_LAYER = {
    "self_attn.final_linear": "attn.c_proj",
    "layer_norm_1": "ln_1",
    "feed_forward.linear_1": "mlp.c_fc",
    "feed_forward.linear_2": "mlp.c_proj",
    "layer_norm_2": "ln_2",
}
_EMBEDDINGS = {
    "embedding.word.embedding": "embeddings.word_embeddings",
    "embedding.pos.embedding": "embeddings.position_embeddings",
    "embedding.seg.embedding": "embeddings.token_type_embeddings",
    "embedding.layer_norm": "embeddings.LayerNorm",
}
UER_LAYER: dict[Family, str] = {
    "bert": "encoder.transformer.{n}.",
    "albert": "encoder.transformer.",  # one layer, applied again and again
    "gpt2": "encoder.transformer.{n}.",
}
HUB_LAYER: dict[Family, str] = {
    "bert": "bert.encoder.layer.{n}.",
    "albert": "albert.encoder.albert_layer_groups.0.albert_layers.0.",
    "gpt2": "transformer.h.{n}.",
}


def _layers(family: Family, names: dict[str, str]) -> dict[str, str]:
    return {f"{UER_LAYER[family]}{uer}": f"{HUB_LAYER[family]}{hub}" for uer, hub in names.items()}


# What every model of the family has.
BODY: dict[Family, dict[str, str]] = {
    "bert": {uer: f"bert.{hub}" for uer, hub in _EMBEDDINGS.items()} | _layers("bert", _BERT_LAYER),
    "albert": {uer: f"albert.{hub}" for uer, hub in _EMBEDDINGS.items()}
    | {"encoder.linear": "albert.encoder.embedding_hidden_mapping_in"}
    | _layers("albert", _ALBERT_LAYER),
    # The three projections become one, attn.c_attn.
    "gpt2": {
        "embedding.word.embedding": "transformer.wte",
        "embedding.pos.embedding": "transformer.wpe",
        "encoder.layer_norm": "transformer.ln_f",
    }
    | _layers("gpt2", _GPT2_LAYER),
}
# Heads by what they predict. The bias of the masked-language-model head lies beside its decoder in transformers.
HEADS: dict[Family, dict[str, dict[str, str]]] = {
    "bert": {
        "mlm": {
            "target.mlm.linear_1": "cls.predictions.transform.dense",
            "target.mlm.layer_norm": "cls.predictions.transform.LayerNorm",
            "target.mlm.linear_2": "cls.predictions.decoder",
        },
        "sp": {"target.sp.linear_1": "bert.pooler.dense", "target.sp.linear_2": "cls.seq_relationship"},
        "cls": {"output_layer_1": "bert.pooler.dense", "output_layer_2": "classifier"},
    },
    "albert": {
        "mlm": {
            "target.mlm.linear_1": "predictions.dense",
            "target.mlm.layer_norm": "predictions.LayerNorm",
            "target.mlm.linear_2": "predictions.decoder",
        },
        "sp": {"target.sp.linear_1": "albert.pooler", "target.sp.linear_2": "sop_classifier.classifier"},
        "cls": {"output_layer_1": "albert.pooler", "output_layer_2": "classifier"},
    },
    "gpt2": {"lm": {"target.lm.output_layer": "lm_head"}},
}
DECODER: dict[Family, str] = {"bert": "cls.predictions.decoder", "albert": "predictions.decoder", "gpt2": "lm_head"}
DECODER_BIAS: dict[Family, str] = {"bert": "cls.predictions.bias", "albert": "predictions.bias"}
WORDS: dict[Family, str] = {
    "bert": "bert.embeddings.word_embeddings.weight",
    "albert": "albert.embeddings.word_embeddings.weight",
    "gpt2": "transformer.wte.weight",
}
SEGMENTS: dict[Family, str] = {
    "bert": "bert.embeddings.token_type_embeddings.weight",
    "albert": "albert.embeddings.token_type_embeddings.weight",
}
UER_WORDS = "embedding.word.embedding.weight"
UER_POSITIONS = "embedding.pos.embedding.weight"
UER_SEGMENTS = "embedding.seg.embedding.weight"

# Which class of transformers holds which heads; the first whose heads are all there.
CLASSES: dict[Family, tuple[tuple[frozenset[str], str], ...]] = {
    "bert": (
        (frozenset({"cls"}), "BertForSequenceClassification"),
        (frozenset({"mlm", "sp"}), "BertForPreTraining"),
        (frozenset({"mlm"}), "BertForMaskedLM"),
        (frozenset({"sp"}), "BertForNextSentencePrediction"),
        (frozenset(), "BertModel"),
    ),
    "albert": (
        (frozenset({"cls"}), "AlbertForSequenceClassification"),
        (frozenset({"mlm", "sp"}), "AlbertForPreTraining"),
        (frozenset({"mlm"}), "AlbertForMaskedLM"),
        (frozenset(), "AlbertModel"),
    ),
    "gpt2": ((frozenset({"lm"}), "GPT2LMHeadModel"), (frozenset(), "GPT2Model")),
}

# Earlier names → those of today, applied in this order. "module." comes from training on several devices.
_EARLIER = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        (r"^module\.", ""),
        (r"^embedding\.word_embedding\.", "embedding.word.embedding."),
        (r"^embedding\.position_embedding\.", "embedding.pos.embedding."),
        (r"^embedding\.segment_embedding\.", "embedding.seg.embedding."),
        (r"^target\.(?:mlm\.)?mlm_linear_([12])\.", r"target.mlm.linear_\1."),
        (r"^target\.layer_norm\.", "target.mlm.layer_norm."),
        (r"^target\.(?:sp\.)?(?:sp|nsp|sop)_linear_([12])\.", r"target.sp.linear_\1."),
        (r"^target\.output_layer\.", "target.lm.output_layer."),
        (r"^target\.(?:cls\.)?linear_([12])\.", r"output_layer_\1."),  # UER-py's classification target
    )
)


def today(name: str) -> str:
    """Return the name that UER-py's master branch gives to parameter `name` of any of its versions."""
    for pattern, replacement in _EARLIER:
        name = pattern.sub(replacement, name, count=1)
    return name


def generalised(name: str) -> tuple[str, str]:
    """Return `name` with the number of its layer replaced by {n}, and the number ("" where it has none)."""
    head, _, rest = name.partition("encoder.transformer.")
    number, _, tail = rest.partition(".")
    if head == "" and number.isdigit():
        return f"encoder.transformer.{{n}}.{tail}", number
    return name, ""


def architecture(family: Family, heads: frozenset[str]) -> str:
    """Return the class of transformers that holds `heads`."""
    return next(name for wanted, name in CLASSES[family] if wanted <= heads)


def heads_of(family: Family, names: frozenset[str]) -> frozenset[str]:
    """Return which heads `names`, in the Hugging Face layout, belong to; a head counts when its last part is there."""
    found = set()
    for head, table in HEADS[family].items():
        last = list(table.values())[-1]
        weight = f"{last}.weight"
        if weight in names or (head == "mlm" and DECODER_BIAS[family] in names):
            found.add(head)
    return frozenset(found)


def is_transposed(name: str) -> bool:
    """Return whether transformers keeps the matrix `name` as (in, out); only its GPT2 does."""
    return name.startswith("transformer.h.") and name.endswith((".c_attn.weight", ".c_proj.weight", ".c_fc.weight"))


def generalised_hub(name: str, family: Family) -> tuple[str, str]:
    """Return `name` of transformers with the number of its layer replaced by {n}, and the number ("" without one)."""
    head, separator, _ = HUB_LAYER[family].partition("{n}")
    number, dot, rest = name.removeprefix(head).partition(".")
    if separator and name.startswith(head) and number.isdigit():
        return f"{head}{{n}}{dot}{rest}", number
    return name, ""
