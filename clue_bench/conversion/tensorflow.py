"""TensorFlow checkpoints of BERT and ALBERT to the Hugging Face layout.

Input: bert_model.ckpt.*, its configuration and vocab.txt, as Google, CLUE and brightmart publish them. Output: a
`Model`. TensorFlow itself (an optional extra) is needed only to read the file; renaming is a pure function of arrays.

Three ways of naming are known: Google's BERT; Google's ALBERT (group_0/inner_group_0); and the first albert_zh
(layer_shared, word_embeddings_2), which adds positions and segments behind the projection of the words. The last is
written as an ALBERT whose embedding is as wide as its layers: the product of its two tables, and a projection that
changes nothing. Norms need no folding: they are those of transformers, with 1e-12 under the root.
"""

import importlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from clue_bench.conversion import names
from clue_bench.conversion.dead import Dropped, why_dead
from clue_bench.conversion.model import Model, Source, labelled, rows_of
from clue_bench.conversion.names import Family
from clue_bench.conversion.read import read_object, source_of
from clue_bench.errors import ClueBenchError
from clue_bench.vocab import Vocabulary
from clue_bench.weights.hf_config import hugging_face_config, model_config

Arrays = Mapping[str, npt.NDArray[Any]]
_PIP = "pip install tensorflow-cpu, or pip install 'clue-bench[tensorflow]'"
_EPS = 1e-12  # of tf.contrib.layers.layer_norm

_EMBEDDINGS = {
    "bert/embeddings/word_embeddings": "embeddings.word_embeddings.weight",
    "bert/embeddings/position_embeddings": "embeddings.position_embeddings.weight",
    "bert/embeddings/token_type_embeddings": "embeddings.token_type_embeddings.weight",
    "bert/embeddings/LayerNorm": "embeddings.LayerNorm",
}
_LAYER = {
    "attention/self/query": "attention.self.query",
    "attention/self/key": "attention.self.key",
    "attention/self/value": "attention.self.value",
    "attention/output/dense": "attention.output.dense",
    "attention/output/LayerNorm": "attention.output.LayerNorm",
    "intermediate/dense": "intermediate.dense",
    "output/dense": "output.dense",
    "output/LayerNorm": "output.LayerNorm",
}
_SHARED_LAYER = {
    "attention/self/query": "attention.query",
    "attention/self/key": "attention.key",
    "attention/self/value": "attention.value",
    "attention/output/dense": "attention.dense",
    "attention/output/LayerNorm": "attention.LayerNorm",
    "intermediate/dense": "ffn",
    "output/dense": "ffn_output",
    "output/LayerNorm": "full_layer_layer_norm",
}
_GROUP = {
    "attention_1/self/query": "attention.query",
    "attention_1/self/key": "attention.key",
    "attention_1/self/value": "attention.value",
    "attention_1/output/dense": "attention.dense",
    "LayerNorm": "attention.LayerNorm",
    "ffn_1/intermediate/dense": "ffn",
    "ffn_1/intermediate/output/dense": "ffn_output",
    "LayerNorm_1": "full_layer_layer_norm",
}
_ALBERT_LAYER = names.HUB_LAYER["albert"]
# TensorFlow → transformers. A name that ends in a layer has kernel and bias, or gamma and beta, behind it.
NAMES: dict[Family, dict[str, str]] = {
    "bert": {
        **{tf: f"bert.{hub}" for tf, hub in _EMBEDDINGS.items()},
        **{f"bert/encoder/layer_{{n}}/{tf}": f"{names.HUB_LAYER['bert']}{hub}" for tf, hub in _LAYER.items()},
        "bert/pooler/dense": "bert.pooler.dense",
        "cls/predictions/transform/dense": "cls.predictions.transform.dense",
        "cls/predictions/transform/LayerNorm": "cls.predictions.transform.LayerNorm",
        "cls/predictions/output_bias": "cls.predictions.bias",
        "cls/seq_relationship/output_weights": "cls.seq_relationship.weight",
        "cls/seq_relationship/output_bias": "cls.seq_relationship.bias",
        "output_weights": "classifier.weight",
        "output_bias": "classifier.bias",
    },
    "albert": {
        **{tf: f"albert.{hub}" for tf, hub in _EMBEDDINGS.items()},
        "bert/encoder/embedding_hidden_mapping_in": "albert.encoder.embedding_hidden_mapping_in",
        **{f"bert/encoder/transformer/group_0/inner_group_0/{tf}": f"{_ALBERT_LAYER}{h}" for tf, h in _GROUP.items()},
        **{f"bert/encoder/layer_shared/{tf}": f"{_ALBERT_LAYER}{hub}" for tf, hub in _SHARED_LAYER.items()},
        "bert/pooler/dense": "albert.pooler",
        "cls/predictions/transform/dense": "predictions.dense",
        "cls/predictions/transform/LayerNorm": "predictions.LayerNorm",
        "cls/predictions/output_bias": "predictions.bias",
        "cls/seq_relationship/output_weights": "sop_classifier.classifier.weight",
        "cls/seq_relationship/output_bias": "sop_classifier.classifier.bias",
        "output_weights": "classifier.weight",
        "output_bias": "classifier.bias",
    },
}
_LEAVES = {"kernel": "weight", "bias": "bias", "gamma": "weight", "beta": "bias"}
_SECOND_TABLE = "bert/embeddings/word_embeddings_2"
_WORDS = "bert/embeddings/word_embeddings"


def read_tensorflow(path: Path, *, config: Path | None, vocabulary: Vocabulary) -> Model:
    """Read the checkpoint `path`: its folder, its prefix (bert_model.ckpt) or its .index file.

    Without `config`, the one .json beside it is taken. Raises ClueBenchError if TensorFlow is not installed, a file is
    missing, or a variable is unknown.
    """
    prefix = find_checkpoint(path)
    stated = read_object(config or find_config(prefix))
    arrays = _read(prefix)
    parts = sorted(prefix.parent.glob(f"{prefix.name}.data-*"))
    files = [prefix.with_name(f"{prefix.name}.index"), *parts]
    return from_tensorflow(arrays, stated, source=source_of(files, arrays), vocabulary=vocabulary)


def from_tensorflow(arrays: Arrays, stated: Mapping[str, Any], *, source: Source, vocabulary: Vocabulary) -> Model:
    """Return variables of TensorFlow as a `Model`; `stated` are the contents of bert_config.json.

    Raises ClueBenchError for an unknown variable, or a configuration that transformers' models do not compute.
    """
    where = str(source.files[0])
    live, dropped = _live(arrays)
    if _WORDS not in live:
        raise ClueBenchError(f"{where}: no {_WORDS}, so neither BERT nor ALBERT", "give bert_model.ckpt")
    family: Family = (
        "albert" if any("/embedding_hidden_mapping_in/" in n or "/layer_shared/" in n for n in live) else "bert"
    )
    hub = _renamed(live, family, where)
    facts: dict[str, Any] = {"family": family}
    values = {**stated, "model_type": family, "layer_norm_eps": _EPS, "tie_word_embeddings": True}
    notes = _notes(stated)
    if _SECOND_TABLE in live:
        values["embedding_size"] = _widen(hub, live)
        facts["embedding"] = "product of word_embeddings and word_embeddings_2, as wide as the layers"
        notes.append("first albert_zh: its two embedding tables are written as their product, one wide table")
    words = hub[names.WORDS[family]]
    rows_of(words, vocabulary=len(vocabulary), where=where)
    if stated.get("vocab_size") != len(words):
        notes.append(f"vocab_size: the configuration says {stated.get('vocab_size')}, the weights have {len(words)}")
        values["vocab_size"] = len(words)
    heads = names.heads_of(family, frozenset(hub))
    config = hugging_face_config(
        model_config(values, where=f"configuration of {where}"),
        architecture=names.architecture(family, heads),
        pad=vocabulary.pad,
        start=vocabulary.start,
        end=vocabulary.separator,
    )
    if "cls" in heads:
        config = labelled(config, len(hub["classifier.weight"]))
    return Model(hub, config, source, tuple(dropped), tuple(notes), facts)


def find_checkpoint(path: Path) -> Path:
    """Return the prefix of the checkpoint that `path` means. Raises ClueBenchError if there is not exactly one."""
    if path.is_dir():
        found = sorted(path.glob("*.index"))
        if len(found) != 1:
            listed = ", ".join(one.name for one in found) or "none"
            raise ClueBenchError(
                f"{path}: expected one TensorFlow checkpoint (*.index), found {listed}", "give bert_model.ckpt itself"
            )
        return found[0].with_name(found[0].name.removesuffix(".index"))
    prefix = path.with_name(re.sub(r"\.(index|meta|data-\d+-of-\d+)$", "", path.name))
    if not prefix.with_name(f"{prefix.name}.index").is_file():
        raise ClueBenchError(f"{prefix}.index: no such file", "give the folder or prefix of bert_model.ckpt.*")
    return prefix


def find_config(prefix: Path) -> Path:
    """Return the one configuration beside a checkpoint. Raises ClueBenchError if there are none or several."""
    found = sorted(prefix.parent.glob("*config*.json"))
    if len(found) != 1:
        listed = ", ".join(one.name for one in found) or "none"
        raise ClueBenchError(
            f"{prefix.parent}: expected one *config*.json beside the checkpoint, found {listed}",
            "the number of attention heads is not in the weights: --config bert_config.json",
        )
    return found[0]


def _live(arrays: Arrays) -> tuple[dict[str, npt.NDArray[Any]], list[Dropped]]:
    """Split variables into those a model may want and what none uses; "module/" is TensorFlow Hub's."""
    live, dropped = {}, []
    for name, array in arrays.items():
        reason = why_dead(name)
        if reason:
            dropped.append(Dropped(name, reason, array.size))
        else:
            live[name.removeprefix("module/")] = array
    return live, dropped


def _renamed(live: Arrays, family: Family, where: str) -> dict[str, Tensor]:
    hub: dict[str, Tensor] = {}
    for name, array in live.items():
        if name == _SECOND_TABLE:
            continue
        number = found[1] if (found := re.search(r"/layer_(\d+)/", name)) else ""
        pattern = name.replace(f"/layer_{number}/", "/layer_{n}/") if number else name
        stem, _, leaf = pattern.rpartition("/")
        if pattern in NAMES[family]:
            target = NAMES[family][pattern]
        elif stem in NAMES[family] and leaf in _LEAVES:
            target = f"{NAMES[family][stem]}.{_LEAVES[leaf]}"
        else:
            raise ClueBenchError(
                f"{where}: '{name}' is no variable of a {family} that is known",
                "BERT and ALBERT with their pretraining heads or one classifier can be converted",
            )
        tensor = torch.from_numpy(np.array(array, dtype=np.float32))
        hub[target.format(n=number)] = (tensor.T if leaf == "kernel" else tensor).contiguous()
    return hub


def _widen(hub: dict[str, Tensor], live: Arrays) -> int:
    """Make one table of the two of the first albert_zh, and add a projection that changes nothing; return the width."""
    narrow, second = (live[name].astype(np.float64) for name in (_WORDS, _SECOND_TABLE))
    width = second.shape[1]
    hub[names.WORDS["albert"]] = torch.from_numpy((narrow @ second).astype(np.float32))
    hub["albert.encoder.embedding_hidden_mapping_in.weight"] = torch.eye(width)
    hub["albert.encoder.embedding_hidden_mapping_in.bias"] = torch.zeros(width)
    return int(width)


def _notes(stated: Mapping[str, Any]) -> list[str]:
    """Return what the configuration leaves open. Raises ClueBenchError for norms before the layers."""
    if stated.get("ln_type", "postln") != "postln":
        raise ClueBenchError(
            f"ln_type is {stated['ln_type']!r}: norms before the layers, as in albert_zh xxlarge",
            "transformers has no class for it",
        )
    if stated.get("hidden_act") == "gelu":
        return [
            "hidden_act gelu is kept; transformers computes it exactly, TensorFlow's BERT code since 2019 by tanh "
            "(up to 5e-4 apart): for that form give a --config with gelu_new"
        ]
    return []


def _read(prefix: Path) -> dict[str, npt.NDArray[Any]]:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # or it reports the features of the processor on import
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # or it says that these are on; only files are read here
    try:
        tensorflow: Any = importlib.import_module("tensorflow")
    except ImportError as error:
        raise ClueBenchError(f"{prefix}: reading it needs TensorFlow, which is not installed", _PIP) from error
    try:
        reader = tensorflow.train.load_checkpoint(str(prefix))
        return {name: np.asarray(reader.get_tensor(name)) for name in sorted(reader.get_variable_to_shape_map())}
    except (tensorflow.errors.OpError, RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ClueBenchError(f"{prefix}: not a TensorFlow checkpoint, or damaged: {reason}", "copy it again") from error
