"""Read a configuration file of any toolkit, and check it against the shapes of the weights.

Input: a config of UER-py, TensorFlow's bert_config.json or a config.json of transformers, and sizes read from shapes.
Output: a `ModelConfig`, and notes on what neither of them says and was assumed.
"""

from collections.abc import Mapping
from typing import Any

from clue_bench.errors import ClueBenchError
from clue_bench.models.config import Activation, Family, ModelConfig
from clue_bench.numbers import article
from clue_bench.weights.hf_config import ACTIVATIONS, KEYS
from clue_bench.weights.names import Head

_UER_KEYS = {
    "embedding_size": "emb_size",
    "feed_forward_size": "feedforward_size",
    "hidden_size": "hidden_size",
    "activation": "hidden_act",
    "heads": "heads_num",
    "layers": "layers_num",
    "max_positions": "max_seq_length",
    "dropout": "dropout",
}
"""Our names of sizes → UER-py's."""
_MORE_KEYS = {"vocab_size": "vocab_size", "embedding_size": "embedding_size", "activation": "activation_function"}
# Ours → the names that files use: UER-py's, BERT's, GPT2's.
_KEYS = {
    ours: [table[ours] for table in (_UER_KEYS, KEYS["bert"], KEYS["gpt2"], _MORE_KEYS) if ours in table]
    for ours in ("vocab_size", *_UER_KEYS)
}
_UER_ACTIVATION: dict[Activation, str] = {"gelu": "gelu", "gelu_tanh": "gelu_fast", "relu": "relu"}
# What UER-py's own configurations of each family say.
_USUAL_ACTIVATION: dict[Family, Activation] = {"bert": "gelu", "albert": "relu", "gpt2": "gelu_tanh"}
_USUAL_DROPOUT: dict[Family, float] = {"bert": 0.1, "albert": 0.0, "gpt2": 0.1}
_HEAD_SIZE = 64  # in all of them

# UER-py's settings that change the computation, and what the models of transformers compute.
_FIXED: dict[str, tuple[Any, ...]] = {
    "encoder": ("transformer", "bert", "albert", "gpt", "gpt2"),  # earlier releases had a name per model
    "decoder": (None,),
    "relative_position_embedding": (False,),
    "remove_attention_scale": (False,),
    "feed_forward": ("dense",),
    "layernorm": ("normal",),
    "has_residual_attention": (False,),
}


def _fixed(family: Family) -> dict[str, tuple[Any, ...]]:
    gpt2, albert = family == "gpt2", family == "albert"
    return _FIXED | {
        "mask": ("causal" if gpt2 else "fully_visible",),
        "layernorm_positioning": ("pre" if gpt2 else "post",),
        "parameter_sharing": (albert,),
        "factorized_embedding_parameterization": (albert,),
        "remove_embedding_layernorm": (gpt2,),
    }


def settled(
    stated: Mapping[str, Any], sizes: Mapping[str, int], family: Family, *, where: str, weights: str
) -> tuple[ModelConfig, list[str]]:
    """Return the architecture of a UER-py model, and notes on what was assumed.

    `stated` are the contents of the configuration `where` ({} where there is none), `sizes` what the shapes in the file
    `weights` give away. Raises ClueBenchError where they contradict each other, or something is in neither.
    """
    _refuse_others(stated, family, where)
    values: dict[str, Any] = dict(sizes)
    for ours, keys in _KEYS.items():
        key = next((key for key in keys if stated.get(key) is not None), None)
        if key is None:
            continue
        if ours in sizes and type(stated[key]) is int and stated[key] != sizes[ours]:
            raise ClueBenchError(
                f"{where}: {key} is {stated[key]!r}, the weights in {weights} have {sizes[ours]}",
                "give the configuration that the model was trained with",
            )
        _check_kind(ours, key, stated[key], where)
        values[ours] = stated[key]
    assumed = _assume(values, family, weights)
    if values["activation"] not in ACTIVATIONS:
        raise ClueBenchError(
            f"{where}: hidden_act is {values['activation']!r}, expected one of {', '.join(ACTIVATIONS)}",
            "convert another model: clue-bench does not compute this activation",
        )
    values["activation"] = ACTIVATIONS[values["activation"]]
    if family != "albert":
        values.pop("embedding_size", None)
    try:
        return ModelConfig(family=family, **values), assumed
    except (TypeError, ValueError) as error:
        raise ClueBenchError(f"{where or weights}: {error}", "correct heads and widths in the configuration") from error


def _check_kind(ours: str, key: str, value: Any, where: str) -> None:
    """Raise ClueBenchError for a size that is not a positive number, or an activation that is not a name."""
    if ours == "activation":
        expected, is_right = "a name", isinstance(value, str)
    elif ours == "dropout":
        expected, is_right = "a share of 1", isinstance(value, int | float) and 0 <= value < 1
    else:
        expected, is_right = "a positive whole number", type(value) is int and value > 0
    if not is_right:
        raise ClueBenchError(f"{where}: {key} is {value!r}, expected {expected}", "correct the configuration")


def _assume(values: dict[str, Any], family: Family, weights: str) -> list[str]:
    """Fill in what weights do not show, as UER-py's configurations have it; return a note that says so."""
    if "layers" not in values:
        raise ClueBenchError(
            f"{weights}: the layers of an ALBERT share their weights, so their number is not in the file",
            "give UER-py's configuration: --config albert_config.json",
        )
    assumed = []
    if "heads" not in values:
        width = values["hidden_size"]
        if width % _HEAD_SIZE:
            raise ClueBenchError(
                f"{weights}: the number of attention heads is not in the file, and hidden size {width} is no multiple "
                f"of {_HEAD_SIZE}",
                "give UER-py's configuration: --config config.json",
            )
        values["heads"] = width // _HEAD_SIZE
        assumed.append(f"{values['heads']} attention heads of {_HEAD_SIZE}")
    if "activation" not in values:
        values["activation"] = _UER_ACTIVATION[_USUAL_ACTIVATION[family]]
        assumed.append(f"activation {values['activation']}")
    if "dropout" not in values:
        values["dropout"] = _USUAL_DROPOUT[family]
        assumed.append(f"dropout {values['dropout']}")
    if not assumed:
        return []
    return [f"assumed, as weights do not show it and no configuration says it: {', '.join(assumed)}; see --config"]


def _refuse_others(stated: Mapping[str, Any], family: Family, where: str) -> None:
    """Raise ClueBenchError for a setting of UER-py that transformers' model of `family` does not compute."""
    for key, allowed in _fixed(family).items():
        if key in stated and stated[key] not in allowed:
            raise ClueBenchError(
                f"{where}: {key} is {stated[key]!r}; the weights are those of {article(family)}, which has "
                f"{allowed[0]!r}",
                "give the configuration of this model; transformers has no class for another setting",
            )
    sizes = [stated.get(key) for key in ("heads_num", "hidden_size", "attention_head_size")]
    heads, width, size = (one if type(one) is int else 0 for one in sizes)
    if heads and width and size and size * heads != width:
        raise ClueBenchError(
            f"{where}: attention_head_size is {size}, with {heads} heads expected {width // heads}",
            "convert another model: transformers has no such class",
        )


def uer_config(config: ModelConfig, heads: frozenset[Head]) -> dict[str, Any]:
    """Return UER-py's configuration of `config`, with the targets that `heads` belong to."""
    gpt2, albert = config.family == "gpt2", config.family == "albert"
    targets = [target for target in ("mlm", "sp", "lm", "cls") if target in heads]
    processor = "lm" if gpt2 else "albert" if albert else "bert"
    own = {"embedding_size": config.embedding_width, "activation": _UER_ACTIVATION[config.activation]}
    values: dict[str, Any] = {
        **{key: own.get(ours, getattr(config, ours)) for ours, key in _UER_KEYS.items()},
        "data_processor": "mlm" if targets == ["mlm"] else "cls" if targets == ["cls"] else processor,
        "embedding": ["word", "pos"] if gpt2 else ["word", "pos", "seg"],
        "encoder": "transformer",
        "mask": "causal" if gpt2 else "fully_visible",
        "target": targets or (["lm"] if gpt2 else ["mlm"]),
    }
    if albert:
        values |= {"factorized_embedding_parameterization": True, "parameter_sharing": True}
    if gpt2:
        values |= {"remove_embedding_layernorm": True, "layernorm_positioning": "pre"}
    if config.tied_head and ("mlm" in heads or gpt2):
        values["tie_weights"] = True
    return values
