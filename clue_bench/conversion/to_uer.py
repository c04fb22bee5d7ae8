"""The Hugging Face layout to UER-py: the inverse of `uer`.

Input: a `Model` of family BERT, ALBERT or GPT2. Output: tensors under the names of UER-py's master branch (2024-05),
its configuration, and what it has no place for. Gains of norms are unfolded; the segments get their padding row back:
the one that provenance.json kept, else zeros, which no output at a real token depends on.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clue_bench import files
from clue_bench.conversion.model import PADDING_ROW, TIED, Dropped, Model
from clue_bench.conversion.settings import uer_config
from clue_bench.conversion.uer import TIED_MATRICES, UER_EPS, unfolded
from clue_bench.doors.checkpoint import fill_folder
from clue_bench.errors import ClueBenchError
from clue_bench.models.config import Family
from clue_bench.vocab import Vocabulary
from clue_bench.weights import CONFIG, names
from clue_bench.weights.hf_config import model_config
from clue_bench.weights.names import UER_SEGMENTS, UER_WORDS, Head

UER_WEIGHTS = "model.bin"
_NO_PLACE = "pooler without a sentence head: UER-py has no place for it"


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
    config = model_config(model.config, where=where)
    family = config.family
    if family == "roformer":
        raise ClueBenchError(f"{where}: UER-py has no RoFormer", "give a bert, albert or gpt2")
    left, notes = dict(model.tensors), []
    heads = names.heads_of(family, left)
    if family == "gpt2" and config.tied_head:
        heads |= {"lm"}
    dropped = [] if family == "gpt2" else _put_aside(left, family, heads)
    tensors = names.translate(left, family, source="hf", target="uer", where=where, heads=heads)
    tensors = {name: unfolded(one) if name.endswith(".gamma") else one.float() for name, one in tensors.items()}
    settings = uer_config(config, heads)
    if family != "gpt2":
        tensors[UER_SEGMENTS], note = _padded(tensors[UER_SEGMENTS], str(model.inherited.get(PADDING_ROW, "")))
        notes.append(note)
    for matrix in sorted(name for head, name in TIED_MATRICES.items() if head in heads):
        if matrix in tensors:
            settings.pop("tie_weights", None)
        else:
            tensors[matrix] = tensors[UER_WORDS]  # UER-py's own files hold both copies
    _refuse_incomplete(tensors, family, heads, where)
    if config.layer_norm_eps > UER_EPS:
        notes.append(
            f"layer_norm_eps {config.layer_norm_eps:g} becomes UER-py's fixed {UER_EPS:g} beside the deviation: "
            "outputs differ a little where norms see small numbers"
        )
    return UerModel(tensors, settings, tuple(dropped), tuple(notes))


def _put_aside(left: dict[str, Tensor], family: Family, heads: frozenset[Head]) -> list[Dropped]:
    """Take out what UER-py has no place for, and give the decoder its one bias; return what was dropped."""
    dropped: list[Dropped] = []
    decoder, bias = f"{names.stems(family, 'mlm', 'hf')[-1]}.bias", names.decoder_bias(family)
    if decoder in left:  # of an untied decoder, it is the one that transformers computes with
        kept = left.pop(decoder)
        if bias in left:
            dropped.append(Dropped(bias, TIED, left[bias].numel()))
        left[bias] = kept
    if not heads & {"sp", "cls"}:
        pooler = names.stems(family, "sp", "hf")[0]
        for name in (f"{pooler}.weight", f"{pooler}.bias"):
            if name in left:
                dropped.append(Dropped(name, _NO_PLACE, left.pop(name).numel()))
    return dropped


def _refuse_incomplete(tensors: Mapping[str, Tensor], family: Family, heads: frozenset[Head], where: str) -> None:
    """Raise ClueBenchError if a head lacks a part: UER-py would start it at random, without a word."""
    for head in sorted(heads):
        for stem in names.stems(family, head, "uer"):
            if stem and f"{stem}.weight" not in tensors and f"{stem}.gamma" not in tensors:
                raise ClueBenchError(
                    f"{where}: nothing in it becomes {stem}, which UER-py's head '{head}' needs",
                    "give a model with whole heads, for pretraining or for classifying texts",
                )


def _padded(rows: Tensor, kept: str) -> tuple[Tensor, str]:
    """Return the segments (2, E) with the padding row that UER-py has first, and a note on where it is from."""
    width = rows.shape[1]
    if len(rows) > 2:
        raise ClueBenchError(f"{UER_SEGMENTS}: {len(rows)} segments, UER-py has two", "give a model with two segments")
    try:
        padding = [float(number) for number in kept.split()]
    except ValueError:  # provenance.json was edited
        padding = []
    is_known = len(padding) == width
    second = rows if len(rows) == 2 else torch.cat((rows, torch.zeros(1, width)))
    table = torch.cat((torch.tensor(padding if is_known else [0.0] * width)[None], second))
    if is_known:
        return table, "segments: the row of padding is the original one, from provenance.json"
    return table, (
        "segments: the row of padding, which the Hugging Face layout lacks, is written as zeros; no output uses it"
    )


def write_uer(folder: Path, model: UerModel, vocabulary: Vocabulary, provenance: Mapping[str, Any]) -> str:
    """Write model.bin, UER-py's config.json, the vocabulary and provenance.json; return the sha256 of the weights."""

    def fill(temporary: Path) -> None:
        torch.save(model.tensors, temporary / UER_WEIGHTS)
        files.write_json(temporary / CONFIG, model.config)
        vocabulary.save(temporary, max_length=model.config["max_seq_length"])

    return fill_folder(folder, fill, provenance=provenance, weights=UER_WEIGHTS)
