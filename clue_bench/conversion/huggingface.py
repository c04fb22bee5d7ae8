"""Read Hugging Face folders and clean them, without losing anything silently.

Input: a folder with config.json, weights (safetensors or a pickle, one file or several) and a vocabulary. Output: a
`Model` with the names that transformers writes today. Dropped are buffers, optimizer state and second copies of tied
tensors; anything else that no class knows is an error. One thing is repaired: BERT weights that call themselves roberta
(hub models clue/*, CLUEPretrainedModels#23).
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from clue_bench.conversion.model import TIED, Dropped, Model, check_rows, live_tensors, source_of
from clue_bench.doors.checkpoint import checked_sha256, read_provenance
from clue_bench.doors.model_folders import find_folder
from clue_bench.errors import ClueBenchError
from clue_bench.models.config import Family
from clue_bench.vocab import Vocabulary, read_vocabulary
from clue_bench.weights import CONFIG, PICKLE, WEIGHTS, names
from clue_bench.weights.as_bert import as_bert
from clue_bench.weights.configuration import read_config
from clue_bench.weights.hf_classes import build, shapes_of
from clue_bench.weights.hf_config import claimed_class
from clue_bench.weights.read import open_files, weight_files

_HEADS = re.compile(r"^(cls\.(predictions|seq_relationship)|predictions|sop_classifier|classifier|lm_head)\.")


def read_huggingface(path: Path, *, config: Path | None, vocabulary: Vocabulary) -> Model:
    """Read a folder in the Hugging Face layout; `config` replaces its config.json.

    Raises ClueBenchError if the weights cannot be read safely, a tensor is unknown to the class, or the vocabulary has
    another size than the embedding.
    """
    folder = find_folder(path)
    values = read_config(config or folder / CONFIG)
    files = weight_files(folder)
    if not files:
        raise ClueBenchError(f"{folder}: neither {WEIGHTS} nor {PICKLE}", "give a folder that holds weights")
    provenance = read_provenance(folder)
    weights = open_files(files)
    source = source_of(files, weights.shapes.values())
    checked_sha256(folder, provenance, source.sha256)
    names.refuse_nezha(values, weights.shapes, where=folder)
    live, dropped = live_tensors(weights)
    tensors, values, notes = _as_bert(live, values, vocabulary)
    where = str(files[0])
    model_type = str(values.get("model_type"))
    if model_type in names.TABLES:
        family: Family = model_type
        notes += _choose_class(values, family, tensors, where)
        words = tensors.get(f"{names.TABLES[family][0].hf}.weight")
        if words is not None:
            notes += check_rows(words, vocabulary=len(vocabulary), where=where)
            if values.get("vocab_size") != len(words):
                notes.append(f"vocab_size in config.json corrected from {values.get('vocab_size')} to {len(words)}")
                values["vocab_size"] = len(words)
    built = build(claimed_class(values), values, where=str(folder / CONFIG))
    copies, more = _second_copies(tensors, built)
    values.pop("torch_dtype", None)
    values["dtype"] = "float32"  # what is written
    if vocabulary.refusal:
        notes.append(f"its tokenizer cannot be followed: {vocabulary.refusal}")
    elif (folder / "vocab.txt").is_file() and read_vocabulary(folder).rules != vocabulary.rules:
        notes.append("the vocabulary that was given has no tokenizer_config.json: what is written lower-cases")
    return Model(
        tensors=tensors,
        config=values,
        source=source,
        dropped=(*dropped, *copies),
        notes=(*notes, *more),
        facts={"family": values.get("model_type")},
        inherited=provenance,
    )


def _as_bert(
    live: Mapping[str, Tensor], values: Mapping[str, Any], vocabulary: Vocabulary
) -> tuple[dict[str, Tensor], dict[str, Any], list[str]]:
    """Return today's names, and call BERT weights bert where config.json says roberta."""
    values, notes = dict(values), []
    if values.get("model_type") == "roberta" and (found := as_bert(values, live)):
        values, live = found.values | {"pad_token_id": vocabulary.pad}, found.tensors
        notes.append("config.json says roberta, the weights are BERT's (two segments): written as bert")
    family = str(values.get("model_type"))
    return {names.todays(name, family): tensor for name, tensor in live.items()}, values, notes


def _choose_class(values: dict[str, Any], family: Family, found: Mapping[str, Tensor], where: str) -> list[str]:
    """Keep the class of config.json where the weights have its head, else name the one that they fill, with a note."""
    claimed = claimed_class(values)
    heads = names.heads_of(family, found)
    if family == "gpt2" and values.get("tie_word_embeddings", True):
        heads |= {"lm"}
    fitting = names.class_of(family, heads)
    note = f"config.json names no class: written as {fitting}"
    if claimed:
        built = build(claimed, values, where=f"{where}, its configuration")
        tied = built.all_tied_weights_keys
        lacking = [n for n in shapes_of(built) if n not in found and n not in tied and _HEADS.match(n)]
        if not lacking:
            return []
        note = f"config.json promises {claimed}, but {lacking[0]} is missing: written as {fitting}"
    values["architectures"] = [fitting]
    return [note]


def _second_copies(tensors: dict[str, Tensor], built: PreTrainedModel) -> tuple[list[Dropped], list[str]]:
    """Take second copies of tied tensors out of `tensors`; return them, and notes where the copies differ."""
    dropped, notes = [], []
    for copy, original in built.all_tied_weights_keys.items():
        if copy not in tensors or original not in tensors:
            continue
        if torch.equal(tensors[copy], tensors[original]):
            dropped.append(Dropped(copy, TIED, tensors.pop(copy).numel()))
        else:
            notes.append(f"config.json ties {copy} to {original}, but they differ: both are kept")
    return dropped, notes
