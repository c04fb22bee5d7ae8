"""TensorFlow checkpoints of BERT and ALBERT to the Hugging Face layout.

Enters: bert_model.ckpt.*, its configuration and vocab.txt, as Google, CLUE and brightmart publish them. Leaves: a
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

from clue_bench.convert import names
from clue_bench.convert.dead import Dropped, why_dead
from clue_bench.convert.model import Model, Source, rows_of
from clue_bench.convert.names import Family
from clue_bench.convert.read import source_of
from clue_bench.errors import ClueBenchError
from clue_bench.models.hub_config import hugging_face_config, model_config
from clue_bench.vocab import Vocabulary

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
    stated = read_stated(config, prefix)
    arrays = _read(prefix)
    parts = sorted(prefix.parent.glob(f"{prefix.name}.data-*"))
    files = [prefix.with_name(f"{prefix.name}.index"), *parts]
    return from_tensorflow(arrays, stated, source=source_of(files, arrays), vocabulary=vocabulary)
