"""Hugging Face folders as they are found: cleaned, with nothing lost in silence.

Input: a folder with config.json, weights (safetensors or a pickle, one file or several) and a vocabulary. Output: a
`Model` with the names that transformers writes today. Dropped are buffers, optimizer state and second copies of tied
tensors; anything else that no class knows is an error. One thing is repaired: BERT weights that call themselves roberta
(hub models clue/*, CLUEPretrainedModels#23).
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from clue_bench.conversion import names
from clue_bench.conversion.dead import TIED, Dropped
from clue_bench.conversion.model import Model, rows_of
from clue_bench.conversion.names import Family
from clue_bench.conversion.read import live_tensors, read_object, read_tensors, source_of
from clue_bench.conversion.verify import built, shapes
from clue_bench.doors.checkpoint import FOLDER, PROVENANCE
from clue_bench.errors import ClueBenchError
from clue_bench.vocab import Vocabulary

_FILES = ("model.safetensors", "pytorch_model.bin")
_KNOWN_HEADS = re.compile(r"^(cls\.(predictions|seq_relationship)|predictions|sop_classifier|classifier|lm_head)\.")
_PLAIN_PARTS = ("embeddings.", "encoder.", "pooler.", "wte.", "wpe.", "h.", "ln_f.")  # of an encoder saved by itself


def find_folder(path: Path) -> Path:
    """Return the checkpoint folder that `path` means: itself, or checkpoint/ in the folder of a run."""
    folder = path / FOLDER if (path / FOLDER / "config.json").is_file() else path
    if not (folder / "config.json").is_file():
        raise ClueBenchError(f"{path}: no config.json, so no Hugging Face folder", "give the folder, not the file")
    return folder


def read_huggingface(path: Path, *, config: Path | None, vocabulary: Vocabulary) -> Model:
    """Read a folder in the Hugging Face layout; `config` replaces its config.json.

    Raises ClueBenchError if the weights cannot be read safely, a tensor is unknown to the class, or the vocabulary has
    another size than the embedding.
    """
    folder = find_folder(path)
    stated = read_object(config or folder / "config.json")
    files = _files(folder)
    values: dict[str, Any] = {}
    for file in files:
        values |= read_tensors(file)
    live, dropped = live_tensors(values)
    tensors, stated, notes = _as_bert(_todays(live), stated, vocabulary)
    family = stated.get("model_type")
    where = str(files[0])
    if family in names.HEADS:
        stated, more = _architecture(stated, cast(Family, family), frozenset(tensors), where)
        notes += more
        words = tensors.get(names.WORDS[cast(Family, family)])
        if words is not None:
            rows_of(words, vocabulary=len(vocabulary), where=where)
            if stated.get("vocab_size") != len(words):
                notes.append(f"vocab_size in config.json corrected from {stated.get('vocab_size')} to {len(words)}")
                stated["vocab_size"] = len(words)
    kind = built(stated, where)
    _refuse_unknown(tensors, set(shapes(kind)), where)
    copies, more = _second_copies(tensors, kind)
    stated.pop("torch_dtype", None)
    stated["dtype"] = "float32"  # what is written
    notes += _tokenizer_notes(folder)
    inherited = read_object(folder / PROVENANCE) if (folder / PROVENANCE).is_file() else {}
    return Model(
        tensors=tensors,
        config=stated,
        source=source_of(files, values),
        dropped=(*dropped, *copies),
        notes=(*notes, *more),
        facts={"family": family},
        inherited=inherited,
    )


def _tokenizer_notes(folder: Path) -> list[str]:
    file = folder / "tokenizer_config.json"
    stated = read_object(file) if file.is_file() else {}
    if (folder / "vocab.txt").is_file() and stated.get("do_lower_case") is False:
        return ["tokenizer_config.json keeps capitals; the tokenizer that is written lower-cases, as all of ours do"]
    return []


def _files(folder: Path) -> list[Path]:
    """Return the files of the weights; safetensors before pickles, one file before several."""
    for name in _FILES:
        if (folder / name).is_file():
            return [folder / name]
        index = folder / f"{name}.index.json"
        if index.is_file():
            listed = read_object(index).get("weight_map")
            if not isinstance(listed, dict) or not listed:
                raise ClueBenchError(f"{index}: no weight_map", "copy the file again")
            return [folder / Path(str(part)).name for part in sorted(set(listed.values()))]
    raise ClueBenchError(f"{folder}: neither {' nor '.join(_FILES)}", "give a folder that holds weights")


def _todays(live: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors under the names that transformers writes today."""
    todays: dict[str, Tensor] = {}
    for name, tensor in live.items():
        name = re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", name))
        todays[name.removeprefix("module.")] = tensor
    return todays


def _as_bert(
    tensors: dict[str, Tensor], stated: dict[str, Any], vocabulary: Vocabulary
) -> tuple[dict[str, Tensor], dict[str, Any], list[str]]:
    """Give an encoder saved by itself its prefix, and call BERT weights bert where config.json says roberta."""
    notes: list[str] = []
    segments = next((t for name, t in tensors.items() if name.endswith("token_type_embeddings.weight")), None)
    if stated.get("model_type") == "roberta" and segments is not None and len(segments) == 2:  # a RoBERTa has one
        tensors = {re.sub(r"^roberta\.", "bert.", name): tensor for name, tensor in tensors.items()}
        architectures = [name.replace("Roberta", "Bert") for name in stated.get("architectures") or []]
        stated = {**stated, "model_type": "bert", "architectures": architectures, "pad_token_id": vocabulary.pad}
        for key in ("bos_token_id", "eos_token_id"):  # BERT's configuration has none, RoBERTa's are other tokens here
            stated.pop(key, None)
        notes.append("config.json says roberta, the weights are BERT's (two segments): written as bert")
    prefix = {"bert": "bert.", "albert": "albert.", "gpt2": "transformer.", "roformer": "roformer."}.get(
        str(stated.get("model_type"))
    )
    if prefix:
        tensors = {f"{prefix}{n}" if n.startswith(_PLAIN_PARTS) else n: tensor for n, tensor in tensors.items()}
    return tensors, dict(stated), notes


def _architecture(
    stated: dict[str, Any], family: Family, found: frozenset[str], where: str
) -> tuple[dict[str, Any], list[str]]:
    """Keep the class of config.json where the weights have its head, else name the one that they fill."""
    claimed = next(iter(stated.get("architectures") or []), None)
    heads = names.heads_of(family, found)
    if family == "gpt2" and stated.get("tie_word_embeddings", True):
        heads |= {"lm"}
    fitting = names.architecture(family, heads)
    if claimed:
        kind = built({**stated, "architectures": [claimed]}, where)
        tied = kind.all_tied_weights_keys
        lacking = [n for n in shapes(kind) if n not in found and n not in tied and _KNOWN_HEADS.match(n)]
        if not lacking:
            return stated, []
        note = f"config.json promises {claimed}, but {lacking[0]} is missing: written as {fitting}"
        return {**stated, "architectures": [fitting]}, [note]
    return {**stated, "architectures": [fitting]}, [f"config.json names no class: written as {fitting}"]


def _refuse_unknown(tensors: Mapping[str, Tensor], wanted: set[str], where: str) -> None:
    for name in tensors:
        if name not in wanted and "pooler." not in name and not _KNOWN_HEADS.match(name):
            raise ClueBenchError(
                f"{where}: '{name}' is unknown to the class in config.json, and no known buffer",
                "is config.json another model's?",
            )


def _second_copies(tensors: dict[str, Tensor], kind: Any) -> tuple[list[Dropped], list[str]]:
    """Take second copies of tied tensors out of `tensors`; return them, and notes where the copies differ."""
    dropped, notes = [], []
    for copy, original in kind.all_tied_weights_keys.items():
        if copy not in tensors or original not in tensors:
            continue
        if torch.equal(tensors[copy], tensors[original]):
            dropped.append(Dropped(copy, TIED, tensors.pop(copy).numel()))
        else:
            notes.append(f"config.json ties {copy} to {original}, but they differ: both are kept")
    return dropped, notes
