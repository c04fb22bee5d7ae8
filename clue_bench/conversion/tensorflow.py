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

from clue_bench.conversion.model import Dropped, Model, Source, check_rows, labelled, source_of
from clue_bench.errors import ClueBenchError
from clue_bench.models.config import Family
from clue_bench.numbers import article
from clue_bench.vocab import Vocabulary
from clue_bench.weights import names
from clue_bench.weights.configuration import read_config
from clue_bench.weights.hf_config import hugging_face_config, model_config
from clue_bench.weights.names import why_dead

Arrays = Mapping[str, npt.NDArray[Any]]
_PIP = "run pip install tensorflow-cpu, or pip install 'clue-bench[tensorflow]'"
_EPS = 1e-12  # of tf.contrib.layers.layer_norm

_LAYER = (  # in the order of transformers' parts
    *(f"attention/self/{part}" for part in ("query", "key", "value")),
    *("attention/output/dense", "attention/output/LayerNorm", "intermediate/dense", "output/dense", "output/LayerNorm"),
)
_GROUP = (
    *(f"attention_1/self/{part}" for part in ("query", "key", "value")),
    *("attention_1/output/dense", "LayerNorm", "ffn_1/intermediate/dense", "ffn_1/intermediate/output/dense"),
    "LayerNorm_1",
)


def _names(family: Family, layers: dict[str, tuple[str, ...]], head: str, pooler: str, order: str) -> dict[str, str]:
    """Return TensorFlow → transformers. A name that ends in a layer has kernel and bias, or gamma and beta, behind."""
    tables = ("word_embeddings", "position_embeddings", "token_type_embeddings")
    hf_layer = [row.hf for row in names.TABLES[family] if row.ours.startswith("encoder.layers.")]
    return {
        **{f"bert/embeddings/{table}": f"{family}.embeddings.{table}.weight" for table in tables},
        "bert/embeddings/LayerNorm": f"{family}.embeddings.LayerNorm",
        **{f"{scope}{tf}": hf for scope, parts in layers.items() for tf, hf in zip(parts, hf_layer, strict=True)},
        "bert/pooler/dense": pooler,
        "cls/predictions/transform/dense": names.stems(family, "mlm", "hf")[0],
        "cls/predictions/transform/LayerNorm": f"{head}LayerNorm",
        "cls/predictions/output_bias": names.decoder_bias(family),
        "cls/seq_relationship/output_weights": f"{order}.weight",
        "cls/seq_relationship/output_bias": f"{order}.bias",
        "output_weights": "classifier.weight",
        "output_bias": "classifier.bias",
    }


NAMES: dict[Family, dict[str, str]] = {
    "bert": _names(
        "bert",
        {"bert/encoder/layer_{n}/": _LAYER},
        head="cls.predictions.transform.",
        pooler="bert.pooler.dense",
        order="cls.seq_relationship",
    ),
    "albert": {
        "bert/encoder/embedding_hidden_mapping_in": "albert.encoder.embedding_hidden_mapping_in",
        **_names(
            "albert",
            {"bert/encoder/transformer/group_0/inner_group_0/": _GROUP, "bert/encoder/layer_shared/": _LAYER},
            head="predictions.",
            pooler="albert.pooler",
            order="sop_classifier.classifier",
        ),
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
    stated = read_config(config or _find_config(prefix))
    arrays = _read(prefix)
    parts = sorted(prefix.parent.glob(f"{prefix.name}.data-*"))
    files = [prefix.with_name(f"{prefix.name}.index"), *parts]
    return from_tensorflow(
        arrays, stated, source=source_of(files, (array.shape for array in arrays.values())), vocabulary=vocabulary
    )


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
    hf = _renamed(live, family, where)
    facts: dict[str, Any] = {"family": family}
    values = {**stated, "model_type": family, "layer_norm_eps": _EPS, "tie_word_embeddings": True}
    notes = _notes(stated)
    if _SECOND_TABLE in live:
        values["embedding_size"] = _widen(hf, live)
        facts["embedding"] = "product of word_embeddings and word_embeddings_2, as wide as the layers"
        notes.append("first albert_zh: its two embedding tables are written as their product, one wide table")
    words = hf[f"{family}.embeddings.word_embeddings.weight"]
    notes += check_rows(words, vocabulary=len(vocabulary), where=where)
    if stated.get("vocab_size") != len(words):
        notes.append(f"vocab_size: the configuration says {stated.get('vocab_size')}, the weights have {len(words)}")
        values["vocab_size"] = len(words)
    heads = names.heads_of(family, hf)
    config = hugging_face_config(
        model_config(values, where=f"{where}, its configuration"),
        architecture=names.class_of(family, heads),
        pad=vocabulary.pad,
        start=vocabulary.start,
        end=vocabulary.separator,
    )
    if "cls" in heads:
        config = labelled(config, len(hf["classifier.weight"]))
    return Model(hf, config, source, tuple(dropped), tuple(notes), facts)


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


def _find_config(prefix: Path) -> Path:
    """Return the one configuration beside a checkpoint. Raises ClueBenchError if there are none or several."""
    found = sorted(prefix.parent.glob("*config*.json"))
    if len(found) != 1:
        listed = ", ".join(one.name for one in found) or "none"
        raise ClueBenchError(
            f"{prefix.parent}: expected one *config*.json beside the checkpoint, found {listed}",
            "give --config bert_config.json: the weights do not show the number of attention heads",
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
    hf: dict[str, Tensor] = {}
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
                f"{where}: '{name}' is no variable of {article(family)} that is known",
                "give a BERT or ALBERT with its pretraining heads or one classifier",
            )
        tensor = torch.from_numpy(np.array(array, dtype=np.float32))
        hf[target.format(n=number or "0")] = (tensor.T if leaf == "kernel" else tensor).contiguous()
    return hf


def _widen(hf: dict[str, Tensor], live: Arrays) -> int:
    """Make one table of the two of the first albert_zh, and add a projection that changes nothing; return the width."""
    narrow, second = (live[name].astype(np.float64) for name in (_WORDS, _SECOND_TABLE))
    width = second.shape[1]
    hf["albert.embeddings.word_embeddings.weight"] = torch.from_numpy((narrow @ second).astype(np.float32))
    hf["albert.encoder.embedding_hidden_mapping_in.weight"] = torch.eye(width)
    hf["albert.encoder.embedding_hidden_mapping_in.bias"] = torch.zeros(width)
    return int(width)


def _notes(stated: Mapping[str, Any]) -> list[str]:
    """Return what the configuration leaves open. Raises ClueBenchError for norms before the layers."""
    if stated.get("ln_type", "postln") != "postln":
        raise ClueBenchError(
            f"ln_type is {stated['ln_type']!r}: norms before the layers, as in albert_zh xxlarge",
            "convert another model: transformers has no class for this one",
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
