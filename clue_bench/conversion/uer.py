"""UER-py's checkpoints to the Hugging Face layout.

Input: the state dictionary of a BERT, ALBERT or GPT2 of UER-py, of any of its versions, and its configuration. Output:
a `Model`. Steps: names of today; family, sizes and heads from names and shapes; a second copy of the embedding dropped;
gains of norms folded (see `norms`); the padding row of the segments put aside.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clue_bench.conversion import names
from clue_bench.conversion.dead import PADDING, TIED, Dropped
from clue_bench.conversion.model import PADDING_ROW, Model, Source, labelled, rows_of
from clue_bench.conversion.names import PROJECTIONS, UER_POSITIONS, UER_SEGMENTS, UER_WORDS, Family
from clue_bench.conversion.norms import folded, matching_eps
from clue_bench.conversion.read import live_tensors, read_object, read_tensors, source_of
from clue_bench.conversion.settings import decided
from clue_bench.errors import ClueBenchError
from clue_bench.vocab import Vocabulary
from clue_bench.weights.hf_config import hugging_face_config

_LEAVES = {"gamma": "weight", "beta": "bias"}
_KINDS = "BERT, ALBERT and GPT2 can be converted, with heads for mlm, sp, lm and classification"
_LAYER_BIAS = re.compile(r"encoder\.transformer\.(\d+\.)?(self_attn|feed_forward)\..*\.bias$")
_LAYER_MATRIX = re.compile(r"encoder\.transformer\.(\d+\.)?(self_attn|feed_forward)\..*\.weight$")
_LAST = {"mlm": "target.mlm.linear_2.weight", "lm": "target.lm.output_layer.weight"}  # the heads that may be tied


def find_weights(path: Path) -> Path:
    """Return the file of weights that `path` means: itself, or the one .bin in a folder."""
    if not path.is_dir():
        return path
    found = sorted(path.glob("*.bin"))
    if len(found) != 1:
        listed = ", ".join(one.name for one in found) or "none"
        raise ClueBenchError(f"{path}: expected one .bin of UER-py, found {listed}", "give the file itself")
    return found[0]


def read_uer(path: Path, *, config: Path | None, vocabulary: Vocabulary) -> Model:
    """Read a .bin of UER-py, or the same tensors as .safetensors. `config` is UER-py's, or one of transformers.

    In a folder, as `convert` writes it, its config.json is taken.

    Raises ClueBenchError if the file cannot be read safely, holds a tensor or a setting that transformers' models do
    not have, lacks one that they need, or contradicts `config` or the vocabulary.
    """
    weights = find_weights(path)
    if config is None and path.is_dir() and (path / "config.json").is_file():
        config = path / "config.json"
    values = read_tensors(weights)
    tensors, dropped = live_tensors(values)
    source = source_of([weights], values)
    stated = read_object(config) if config else {}
    model = from_uer(tensors, source=source, stated=stated, config=str(config or ""), vocabulary=vocabulary)
    return replace(model, dropped=(*dropped, *model.dropped))


def from_uer(
    tensors: Mapping[str, Tensor],
    *,
    source: Source,
    stated: Mapping[str, Any],
    config: str,
    vocabulary: Vocabulary,
) -> Model:
    """Return UER-py's `tensors` as a `Model`; `stated` are the contents of the configuration file `config`.

    Raises ClueBenchError as `read_uer` does.
    """
    where = str(source.files[0])
    renamed = _today(tensors, where)
    family = _family(renamed, where)
    rows_of(renamed[UER_WORDS], vocabulary=len(vocabulary), where=where)
    sizes = _sizes(renamed, family, where)
    architecture, notes = decided(stated, sizes, family, where=config, weights=where)
    _same_shapes(renamed, sizes, where)
    eps = matching_eps(renamed[UER_WORDS], renamed[UER_POSITIONS], renamed.get(UER_SEGMENTS))
    complete, added = _completed(renamed, family)
    heads, untied, dropped = _heads(complete, family, stated, where)
    hub, gains, more = _translated(complete, family, where)
    architecture = replace(architecture, layer_norm_eps=eps, tied_head=not untied)
    if untied and family in names.DECODER_BIAS:
        hub[f"{names.DECODER[family]}.bias"] = hub[names.DECODER_BIAS[family]].clone()
    values = hugging_face_config(
        architecture,
        architecture=names.architecture(family, heads),
        pad=vocabulary.pad,
        start=vocabulary.start,
        end=vocabulary.separator,
    )
    if "cls" in heads:
        values = labelled(values, len(hub["classifier.bias"]))
    if family != "gpt2" and not heads & {"sp", "cls"}:
        notes.append("no pooler in the file: BertModel and classifiers start one at random, fill-mask needs none")
    padding = renamed[UER_SEGMENTS][0].float().tolist() if UER_SEGMENTS in renamed else []
    return Model(
        tensors=hub,
        config=values,
        source=source,
        dropped=(*dropped, *more),
        notes=(*notes, *added),
        facts={
            "family": family,
            "norms_folded": gains,
            "norms": "gain multiplied by sqrt((N-1)/N), N the normalised width",
            "layer_norm_eps": eps,
        },
        inherited={PADDING_ROW: " ".join(map(repr, padding))} if padding else {},
    )


def _today(tensors: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    renamed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        current = names.today(name)
        if current in renamed:
            raise ClueBenchError(
                f"{where}: '{name}' and another tensor are both {current}", "save one model's state dictionary"
            )
        renamed[current] = tensor
    for name in (UER_WORDS, UER_POSITIONS):
        if name not in renamed:
            raise ClueBenchError(f"{where}: no {name}, so no model of UER-py that transformers has", _KINDS)
    return renamed


def _family(tensors: Mapping[str, Tensor], where: str) -> Family:
    """Tell the family from what it alone has. Raises ClueBenchError for a mixture that no class computes."""
    shared = any(name.startswith("encoder.transformer.self_attn.") for name in tensors)
    factorised = "encoder.linear.weight" in tensors
    norm_first = "encoder.layer_norm.gamma" in tensors
    embedding_norm = "embedding.layer_norm.gamma" in tensors
    kinds: dict[tuple[bool, bool, bool, bool], Family] = {
        (False, False, False, True): "bert",
        (True, True, False, True): "albert",
        (False, False, True, False): "gpt2",
    }
    family = kinds.get((shared, factorised, norm_first, embedding_norm))
    if family is None:
        parts = {
            "shared layers": shared,
            "a factorised embedding": factorised,
            "a norm behind the last layer": norm_first,
            "a norm of the embedding": embedding_norm,
        }
        found = ", ".join(part for part, there in parts.items() if there) or "no norm outside the layers"
        raise ClueBenchError(f"{where}: {found}: transformers has no class for that mixture", _KINDS)
    return family


def _sizes(tensors: Mapping[str, Tensor], family: Family, where: str) -> dict[str, int]:
    """Return the sizes that shapes show, under the names of `ModelConfig`; ALBERT's do not show the layers."""
    numbers = {int(number) for name in tensors if (number := names.generalised(name)[1])}
    first = names.UER_LAYER[family].format(n=min(numbers, default=0))
    try:
        up = tensors[f"{first}feed_forward.linear_1.weight"]
    except KeyError as error:
        raise ClueBenchError(f"{where}: parameter {error} is missing", "is the file complete?") from error
    vocab_size, embedding_size = tensors[UER_WORDS].shape
    sizes = {
        "vocab_size": vocab_size,
        "embedding_size": embedding_size,
        "hidden_size": up.shape[1],
        "feed_forward_size": up.shape[0],
        "max_positions": tensors[UER_POSITIONS].shape[0],
    }
    return sizes if family == "albert" else sizes | {"layers": len(numbers)}


def _same_shapes(tensors: Mapping[str, Tensor], sizes: Mapping[str, int], where: str) -> None:
    """Refuse heads whose widths do not add up to the hidden size, which transformers' models cannot have."""
    for name, tensor in tensors.items():
        if re.search(r"self_attn\.linear_layers\.\d\.weight$", name) and tensor.shape[0] != sizes["hidden_size"]:
            raise ClueBenchError(
                f"{where}: '{name}' is {tuple(tensor.shape)}, expected {sizes['hidden_size']} rows",
                "transformers has no model whose heads are wider together than its layers",
            )


def _completed(tensors: Mapping[str, Tensor], family: Family) -> tuple[dict[str, Tensor], list[str]]:
    """Add zeros for what transformers' class has and the model was trained without; the outputs stay the same."""
    complete, notes = dict(tensors), []
    if not any(_LAYER_BIAS.match(name) for name in tensors):
        for name, matrix in tensors.items():
            if _LAYER_MATRIX.match(name):
                complete[name.removesuffix("weight") + "bias"] = torch.zeros(len(matrix))
        notes.append("trained without biases in the layers: biases of zeros are written, which change nothing")
    if family != "gpt2" and UER_SEGMENTS not in tensors:
        complete[UER_SEGMENTS] = torch.zeros(3, tensors[UER_WORDS].shape[1])
        notes.append("trained without segments: segment embeddings of zeros are written, which change nothing")
    return complete, notes


def _heads(
    tensors: dict[str, Tensor], family: Family, stated: Mapping[str, Any], where: str
) -> tuple[frozenset[str], bool, list[Dropped]]:
    """Return the heads, whether one has a matrix of its own, and what was taken out of `tensors`."""
    heads = {head for head, stems in names.HEADS[family].items() if any(f"{s}.weight" in tensors for s in stems)}
    targets = stated.get("target", [])
    if stated.get("tie_weights") and "lm" in targets and family == "gpt2":
        heads.add("lm")  # a file that stores tied tensors once, as safetensors does
    dropped, untied = [], False
    for head in sorted(heads & _LAST.keys()):
        matrix, words = tensors.get(_LAST[head]), tensors[UER_WORDS]
        if matrix is None:
            continue
        if matrix.shape == words.shape and torch.equal(matrix, words):
            dropped.append(Dropped(_LAST[head], TIED, tensors.pop(_LAST[head]).numel()))
        elif stated.get("tie_weights"):
            raise ClueBenchError(
                f"{where}: the configuration ties {_LAST[head]} to the word embedding, but the two differ",
                'write "tie_weights": false into the configuration if the model was trained so',
            )
        else:
            untied = True
    bias = tensors.get("target.lm.output_layer.bias")
    if bias is not None and bool(bias.any()):
        raise ClueBenchError(
            f"{where}: target.lm.output_layer.bias is not zero, and transformers' GPT2 has no such bias",
            "it cannot be converted to the same outputs",
        )
    if bias is not None:
        del tensors["target.lm.output_layer.bias"]
        dropped.append(Dropped("target.lm.output_layer.bias", "bias of zeros that the class lacks", bias.numel()))
    return frozenset(heads), untied, dropped


def _translated(
    tensors: Mapping[str, Tensor], family: Family, where: str
) -> tuple[dict[str, Tensor], int, list[Dropped]]:
    """Return the tensors under the names of transformers, the number of folded norms, and what was put aside."""
    stems = dict(names.BODY[family])
    for table in names.HEADS[family].values():
        stems |= table
    hub: dict[str, Tensor] = {}
    projections: dict[tuple[str, str], dict[str, Tensor]] = {}
    gains, dropped = 0, []
    for name, tensor in tensors.items():
        pattern, number = names.generalised(name)
        stem, _, leaf = pattern.rpartition(".")
        part = stem.removeprefix(names.UER_LAYER[family])
        if family == "gpt2" and part in PROJECTIONS:
            projections.setdefault((number, leaf), {})[part] = tensor
            continue
        if stem not in stems or (leaf in _LEAVES) != ("norm" in stem):
            raise ClueBenchError(f"{where}: '{name}' is no parameter of a {family} that transformers has", _KINDS)
        gains += leaf == "gamma"
        target = f"{stems[stem].format(n=number)}.{_LEAVES.get(leaf, leaf)}"
        if name == UER_SEGMENTS:
            dropped.append(Dropped(f"{name}[0]", PADDING, tensor.shape[1], tensors=0))
            tensor = tensor[1:]
        if stems[stem] == names.DECODER[family] and leaf == "bias":
            target = names.DECODER_BIAS[family]
        tensor = folded(tensor) if leaf == "gamma" else tensor.float()
        hub[target] = tensor.T if names.is_transposed(target) else tensor
    for (number, leaf), parts in projections.items():
        missing = [part for part in PROJECTIONS if part not in parts]
        if missing:
            raise ClueBenchError(f"{where}: layer {number} has no {missing[0]}.{leaf}", "is the file complete?")
        joined = torch.cat([parts[part].float() for part in PROJECTIONS])
        hub[f"transformer.h.{number}.attn.c_attn.{leaf}"] = joined.T if leaf == "weight" else joined
    return {name: tensor.contiguous() for name, tensor in hub.items()}, gains, dropped
