"""The Hugging Face layout to UER-py: the inverse of `uer`.

Input: a `Model` of family BERT, ALBERT or GPT2. Output: tensors under the names of UER-py's master branch (2024-05),
its configuration, and what it has no place for. Gains of norms are unfolded; the segments get their padding row back:
the one that provenance.json kept, else zeros, which no output at a real token depends on.
"""

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clue_bench import files
from clue_bench.conversion import names
from clue_bench.conversion.dead import TIED, Dropped
from clue_bench.conversion.model import PADDING_ROW, Model
from clue_bench.conversion.names import PROJECTIONS, UER_SEGMENTS, UER_WORDS, Family
from clue_bench.conversion.norms import UER_EPS, unfolded
from clue_bench.conversion.settings import uer_config
from clue_bench.doors.checkpoint import PROVENANCE
from clue_bench.errors import ClueBenchError
from clue_bench.vocab import Vocabulary
from clue_bench.weights import hf_config

UER_WEIGHTS = "model.bin"
UER_CONFIG = "config.json"
_NO_PLACE = "pooler without a sentence head: UER-py has no place for it"
_MATRIX = {"mlm": "target.mlm.linear_2.weight", "lm": "target.lm.output_layer.weight"}  # tied to the words, or not
_LEAVES = {"weight": "gamma", "bias": "beta"}


@dataclass(frozen=True)
class UerModel:
    """What UER-py loads: its state dictionary and its configuration."""

    tensors: dict[str, Tensor]
    config: dict[str, Any]
    dropped: tuple[Dropped, ...]
    notes: tuple[str, ...]


def to_uer(model: Model) -> UerModel:
    """Return `model` as UER-py keeps it.

    Raises ClueBenchError for a family or a tensor that UER-py does not have.
    """
    where = str(model.source.files[0])
    config = hf_config.model_config(model.config, where=where)
    family = config.family
    if family == "roformer":
        raise ClueBenchError(f"{where}: UER-py has no RoFormer", "bert, albert and gpt2 can be converted")
    left = dict(model.tensors)
    heads = names.heads_of(family, frozenset(left))
    if family == "gpt2" and config.tied_head:
        heads |= {"lm"}
    dropped = _settle(left, family, heads)
    if family == "gpt2":
        _split(left)
    tensors, settings = _renamed(left, family, heads, where), uer_config(config, heads)
    notes = []
    if family != "gpt2":
        notes += _pad(tensors, str(model.inherited.get(PADDING_ROW, "")))
    for head in sorted(heads & _MATRIX.keys()):
        if _MATRIX[head] in tensors:
            settings.pop("tie_weights", None)
        else:
            tensors[_MATRIX[head]] = tensors[UER_WORDS]  # UER-py's own files hold both copies
    _refuse_incomplete(tensors, family, heads, where)
    if config.layer_norm_eps > UER_EPS:
        notes.append(
            f"layer_norm_eps {config.layer_norm_eps:g} becomes UER-py's fixed {UER_EPS:g} beside the deviation: "
            "outputs differ a little where norms see small numbers"
        )
    return UerModel(tensors, settings, tuple(dropped), tuple(notes))


def _settle(left: dict[str, Tensor], family: Family, heads: frozenset[str]) -> list[Dropped]:
    """Take out what UER-py has no place for, and give the decoder its one bias; return what was dropped."""
    dropped: list[Dropped] = []
    if family == "gpt2":
        return dropped
    decoder, bias = f"{names.DECODER[family]}.bias", names.DECODER_BIAS[family]
    if decoder in left:  # of an untied decoder, it is the one that transformers computes with
        kept = left.pop(decoder)
        if bias in left:
            dropped.append(Dropped(bias, TIED, left[bias].numel()))
        left[bias] = kept
    pooler = names.HEADS[family]["sp"]["target.sp.linear_1"]
    if not heads & {"sp", "cls"}:
        for leaf in ("weight", "bias"):
            if f"{pooler}.{leaf}" in left:
                name = f"{pooler}.{leaf}"
                dropped.append(Dropped(name, _NO_PLACE, left.pop(name).numel()))
    return dropped


def _split(left: dict[str, Tensor]) -> None:
    """Replace each fused attn.c_attn by the three projections, under UER-py's names."""
    for name in [name for name in left if ".attn.c_attn." in name]:
        tensor, number, leaf = left.pop(name), name.split(".")[2], name.rpartition(".")[2]
        parts = (tensor.T if leaf == "weight" else tensor).chunk(3)
        for projection, part in zip(PROJECTIONS, parts, strict=True):
            left[f"encoder.transformer.{number}.{projection}.{leaf}"] = part.contiguous()


def _renamed(left: Mapping[str, Tensor], family: Family, heads: frozenset[str], where: str) -> dict[str, Tensor]:
    """Return the tensors under UER-py's names, gains unfolded. A pooler goes to every head that UER-py gives one."""
    uer: dict[str, list[str]] = {}
    for table in (names.BODY[family], *(names.HEADS[family][head] for head in sorted(heads))):
        for ours, hub in table.items():
            uer.setdefault(hub, []).append(ours)
    if family in names.DECODER_BIAS:
        uer[names.DECODER_BIAS[family].removesuffix(".bias")] = ["target.mlm.linear_2"]
    tensors: dict[str, Tensor] = {}
    for name, tensor in left.items():
        if name.startswith("encoder.transformer."):
            tensors[name] = tensor
            continue
        pattern, number = names.generalised_hub(name, family)
        stem, _, leaf = pattern.rpartition(".")
        if stem not in uer:
            raise ClueBenchError(
                f"{where}: '{name}' is no parameter of a {family} of UER-py", "convert the model without that head"
            )
        for target in uer[stem]:
            is_norm = "norm" in target
            moved = tensor.T.contiguous() if names.is_transposed(name) else tensor
            moved = unfolded(moved) if is_norm and leaf == "weight" else moved.float()
            tensors[f"{target.format(n=number)}.{_LEAVES[leaf] if is_norm else leaf}"] = moved
    return tensors


def _refuse_incomplete(tensors: Mapping[str, Tensor], family: Family, heads: frozenset[str], where: str) -> None:
    """Raise ClueBenchError if a head lacks a part: UER-py would start it at random, without a word."""
    for head in sorted(heads):
        for stem in names.HEADS[family][head]:
            if f"{stem}.weight" not in tensors and f"{stem}.gamma" not in tensors:
                raise ClueBenchError(
                    f"{where}: nothing in it becomes {stem}, which UER-py's head '{head}' needs",
                    "heads for pretraining and for classifying texts can be converted",
                )


def _pad(tensors: dict[str, Tensor], kept: str) -> list[str]:
    """Give the segments (2, E) the padding row that UER-py has first; return a note where it is not the original."""
    rows = tensors[UER_SEGMENTS]
    width = rows.shape[1]
    if len(rows) > 2:
        raise ClueBenchError(f"{UER_SEGMENTS}: {len(rows)} segments, UER-py has two", "it cannot be converted")
    padding = [float(number) for number in kept.split()]
    known = len(padding) == width
    first = torch.tensor(padding if known else [0.0] * width)
    second = rows if len(rows) == 2 else torch.cat((rows, torch.zeros(1, width)))
    tensors[UER_SEGMENTS] = torch.cat((first[None], second))
    if known:
        return ["segments: the row of padding is the original one, from provenance.json"]
    return ["segments: the row of padding, which the Hugging Face layout lacks, is written as zeros; no output uses it"]


def write_uer(folder: Path, model: UerModel, vocabulary: Vocabulary, provenance: Mapping[str, Any]) -> str:
    """Write model.bin, UER-py's config.json, the vocabulary and provenance.json; return the sha256 of the weights.

    The folder is complete or absent.
    """
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    weights = temporary / UER_WEIGHTS
    torch.save(model.tensors, weights)
    files.sync(weights)
    files.write_json(temporary / UER_CONFIG, model.config)
    vocabulary.save(temporary, max_length=model.config["max_seq_length"])
    with weights.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    files.write_json(temporary / PROVENANCE, {**provenance, "weights_sha256": sha256})
    if folder.is_dir():
        folder.rmdir()  # it is empty, as `convert` made sure
    temporary.rename(folder)
    return sha256
