"""PaddleNLP's checkpoints of BERT, RoBERTa (wwm) and ERNIE to the Hugging Face layout.

Input: model_state.pdparams or another .pdparams, its config.json or model_config.json, and vocab.txt. Output: a
`Model`. Paddle keeps the matrices of linear layers as (in, out): they are turned. Its norms have 1e-5 under the root
where the configuration says nothing else.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clue_bench.conversion.model import TIED, Dropped, Model, check_rows, labelled, source_of
from clue_bench.errors import ClueBenchError
from clue_bench.files import refuse_impostor
from clue_bench.vocab import Vocabulary
from clue_bench.weights.configuration import read_config
from clue_bench.weights.paddle import read_paddle

ENDING = ".pdparams"
_EPS = 1e-5  # of paddle.nn.LayerNorm
# The head's second names of tied tensors, in earlier and later versions of PaddleNLP.
_COPIES = {
    "cls.predictions.decoder_weight": "embeddings.word_embeddings.weight",
    "cls.predictions.decoder.weight": "embeddings.word_embeddings.weight",
    "cls.predictions.decoder.bias": "cls.predictions.decoder_bias",
}
_LAYER = {
    **{f"self_attn.{p}_proj": f"attention.self.{n}" for p, n in (("q", "query"), ("k", "key"), ("v", "value"))},
    **{"self_attn.out_proj": "attention.output.dense", "norm1": "attention.output.LayerNorm"},
    **{"linear1": "intermediate.dense", "linear2": "output.dense", "norm2": "output.LayerNorm"},
}
_WHOLE = {
    "cls.predictions.transform": "cls.predictions.transform.dense",
    "cls.predictions.layer_norm": "cls.predictions.transform.LayerNorm",
    "cls.seq_relationship": "cls.seq_relationship",
    "classifier": "classifier",
}
_KEYS = (
    *("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act"),
    *("hidden_dropout_prob", "attention_probs_dropout_prob", "max_position_embeddings", "type_vocab_size"),
    *("layer_norm_eps", "task_type_vocab_size", "use_task_id", "pad_token_id"),
)
_NEEDED = ("num_attention_heads", "hidden_act")  # which weights do not show


def find_pdparams(path: Path) -> Path:
    """Return the file of weights that `path` means: itself, or the one .pdparams in a folder."""
    if not path.is_dir():
        return path
    found = sorted(path.glob(f"*{ENDING}"))
    if len(found) != 1:
        listed = ", ".join(one.name for one in found) or "none"
        raise ClueBenchError(f"{path}: expected one {ENDING}, found {listed}", "give the file itself")
    return found[0]


def read_paddlenlp(path: Path, *, config: Path | None, vocabulary: Vocabulary) -> Model:
    """Read a .pdparams file, or the folder with one. `config` replaces the configuration beside it.

    Raises ClueBenchError if a file cannot be read safely, or an array has no place in BERT or ERNIE.
    """
    file = find_pdparams(path)
    stated = _stated(config or _config_beside(file))
    found = read_paddle(file)
    source = source_of([file], (tuple(tensor.shape) for tensor in found.values()))
    family = "ernie" if any(name.startswith("ernie.") for name in found) else "bert"
    tensors, dropped = _renamed(found, family, str(file))
    words = tensors.get(f"{family}.embeddings.word_embeddings.weight")
    if words is None:
        raise ClueBenchError(f"{file}: no word embeddings of BERT or ERNIE", "give the whole model's .pdparams")
    notes = list(check_rows(words, vocabulary=len(vocabulary), where=str(file)))
    values: dict[str, Any] = {
        "layer_norm_eps": _EPS,
        **{key: stated[key] for key in _KEYS if stated.get(key) is not None},
        **{"model_type": family, "architectures": [_class(family, tensors)], "vocab_size": len(words)},
        **{"dtype": "float32", "tie_word_embeddings": True, "pad_token_id": vocabulary.pad},
    }
    if "layer_norm_eps" not in stated:
        notes.append(f"layer_norm_eps: {_EPS:g}, Paddle's own, since the configuration says nothing")
    if "classifier.weight" in tensors:
        values = labelled(values, len(tensors["classifier.weight"]))
    return Model(tensors, values, source, tuple(dropped), tuple(notes), {"family": family})


def _class(family: str, tensors: Mapping[str, Tensor]) -> str:
    stem = family.capitalize()
    if "classifier.weight" in tensors:
        return f"{stem}ForSequenceClassification"
    has_mlm = "cls.predictions.bias" in tensors
    return f"{stem}For{'PreTraining' if 'cls.seq_relationship.weight' in tensors else 'MaskedLM'}" * has_mlm or (
        f"{stem}Model"
    )


def _config_beside(file: Path) -> Path:
    refuse_impostor(file)
    names = ("config.json", "model_config.json")
    beside = [file.with_name(name) for name in names if file.with_name(name).is_file()]
    if not beside:
        raise ClueBenchError(
            f"{file}: neither {' nor '.join(names)} beside it",
            "give --config config.json: the weights do not show the number of attention heads",
        )
    return beside[0]


def _stated(path: Path) -> dict[str, Any]:
    """Return the settings of a configuration; the older model_config.json keeps them one or two levels down."""
    values: Any = read_config(path)
    while (
        isinstance(values.get("init_args"), list) and values["init_args"] and isinstance(values["init_args"][0], dict)
    ):
        values = values["init_args"][0]
    if missing := [key for key in _NEEDED if key not in values]:
        raise ClueBenchError(f"{path}: key '{missing[0]}' is missing", "give the model's own config.json: --config")
    return dict(values)


def _renamed(found: Mapping[str, Tensor], family: str, where: str) -> tuple[dict[str, Tensor], list[Dropped]]:
    tensors: dict[str, Tensor] = {}
    dropped: list[Dropped] = []
    for name, tensor in found.items():
        plain = re.sub(r"^(bert|roberta|ernie)\.", "", name)
        if plain in _COPIES:
            original = next((one for key, one in found.items() if key.endswith(_COPIES[plain])), None)
            if original is None or not torch.equal(original, tensor):
                raise ClueBenchError(
                    f"{where}: '{name}' is no copy of {_COPIES[plain]}", "give a model whose head is tied to its words"
                )
            dropped.append(Dropped(name, TIED, tensor.numel()))
            continue
        target = _target(plain, family)
        if target is None:
            raise ClueBenchError(
                f"{where}: '{name}' has no place in {family.upper()}", "give a BERT, RoBERTa-wwm or ERNIE of PaddleNLP"
            )
        is_matrix = tensor.dim() == 2 and "embeddings." not in name
        tensors[target] = (tensor.T if is_matrix else tensor).contiguous().float()
    return tensors, dropped


def _target(name: str, family: str) -> str | None:
    """Return the name in transformers of a name without its family, None for an unknown one."""
    stem, _, leaf = name.rpartition(".")
    if name == "cls.predictions.decoder_bias":
        return "cls.predictions.bias"
    if leaf not in ("weight", "bias"):
        return None
    if layer := re.fullmatch(r"encoder\.layers\.(\d+)\.(.+)", stem):
        part = _LAYER.get(layer[2])
        return part and f"{family}.encoder.layer.{layer[1]}.{part}.{leaf}"
    if stem in _WHOLE:
        return f"{_WHOLE[stem]}.{leaf}"
    if re.fullmatch(r"embeddings\.(word|position|token_type|task_type)_embeddings|pooler\.dense", stem):
        return f"{family}.{name}"
    return f"{family}.embeddings.LayerNorm.{leaf}" if stem == "embeddings.layer_norm" else None
