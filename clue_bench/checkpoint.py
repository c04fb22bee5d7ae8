"""Door 2: checkpoints. A folder that `transformers` loads with no code of ours.

Format. A folder with

    config.json, model.safetensors                       Hugging Face layout, fp32
    vocab.txt, tokenizer.json, tokenizer_config.json     loads as `BertTokenizer`; for word models spiece.model
                                                         instead of the first two, which loads as `AlbertTokenizer`
    provenance.json                                      what made it: recipe, data hashes, code, packages, hardware,
                                                         tokens seen, wall seconds

Training state for resuming lies beside the folder, never in it. The folder is written under a temporary name and
renamed, so it is complete or not there.
Reader: `read_checkpoint`; it takes any folder of that layout whose family is ours, with or without provenance, and the
folder of a run whose `checkpoint/` is meant.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
from safetensors.torch import load_file, save_file
from torch import Tensor

from clue_bench import atomic
from clue_bench.errors import ClueBenchError
from clue_bench.models import hub, hub_config
from clue_bench.models.config import ModelConfig
from clue_bench.vocab import Vocabulary, read_vocabulary, vocabulary_of_tokenizer_json

WEIGHTS = "model.safetensors"
PROVENANCE = "provenance.json"
FOLDER = "checkpoint"


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint in memory. `tensors` carry our names."""

    folder: Path
    config: ModelConfig
    tensors: dict[str, Tensor]
    vocabulary: Vocabulary
    provenance: dict[str, Any]
    sha256: str

    @property
    def name(self) -> str:
        """What to call the model: the recipe it was trained by, else its folder."""
        recipe = self.provenance.get("recipe")
        name = recipe.get("name") if isinstance(recipe, dict) else None
        return re.sub(r"[^A-Za-z0-9._-]+", "-", str(name or self.folder.resolve().name)).lstrip(".-") or "model"


def write_checkpoint(
    folder: Path,
    state: Mapping[str, Tensor],
    *,
    architecture: str,
    config: ModelConfig,
    vocabulary: Vocabulary,
    provenance: Mapping[str, Any],
    labels: tuple[str, ...] = (),
) -> str:
    """Write a model of ours as a checkpoint folder, replacing an earlier one; return the sha256 of its weights.

    `state` is a module's state dictionary; `architecture` the class that `transformers` should load it with.
    """
    values = hub_config.hugging_face_config(
        config, architecture=architecture, pad=vocabulary.pad, start=vocabulary.start, end=vocabulary.separator
    )
    if labels:
        values["id2label"] = {str(index): label for index, label in enumerate(labels)}
        values["label2id"] = {label: index for index, label in enumerate(labels)}
    return write_folder(
        folder,
        hub.to_hugging_face(state, config),
        config=values,
        vocabulary=vocabulary,
        max_length=config.max_positions,
        provenance=provenance,
    )


def write_folder(
    folder: Path,
    tensors: Mapping[str, Tensor],
    *,
    config: Mapping[str, Any],
    vocabulary: Vocabulary,
    max_length: int,
    provenance: Mapping[str, Any],
) -> str:
    """Write a checkpoint folder whose `tensors` and `config` (of config.json) are in the Hugging Face layout already.

    Replaces an earlier one; returns the sha256 of the weights. `max_length` is the tokenizer's, in tokens.
    """
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    atomic.write_json(temporary / "config.json", dict(config))
    vocabulary.save(temporary, max_length=max_length)
    plain = {name: tensor.detach().cpu().float().contiguous() for name, tensor in tensors.items()}
    save_file(plain, temporary / WEIGHTS, metadata={"format": "pt"})
    (temporary / WEIGHTS).chmod(0o644)  # safetensors makes it readable by its owner only
    sha256 = _sha256(temporary / WEIGHTS)
    atomic.write_json(temporary / PROVENANCE, {**provenance, "weights_sha256": sha256})
    atomic.sync(temporary / WEIGHTS)
    if folder.exists():
        previous = folder.with_name(f".{folder.name}.previous")
        shutil.rmtree(previous, ignore_errors=True)
        folder.rename(previous)
        temporary.rename(folder)
        shutil.rmtree(previous)
    else:
        temporary.rename(folder)
    return sha256


def weights_sha256(folder: Path) -> str | None:
    """Return the sha256 of the weights in a checkpoint folder, None if it has none."""
    weights = folder / WEIGHTS
    return _sha256(weights) if weights.is_file() else None


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint folder, or the one inside a run's folder.

    Raises ClueBenchError naming the file and what is wrong with it.
    """
    folder = path / FOLDER if (path / FOLDER / "config.json").is_file() else path
    if not (folder / "config.json").is_file():
        raise ClueBenchError(f"{path}: no config.json, so no checkpoint folder", "give the --out of a pretraining run")
    values = _read_json(folder / "config.json")
    weights = folder / WEIGHTS
    if not weights.is_file():
        raise ClueBenchError(f"{folder}: no {WEIGHTS}", "save the model with safetensors")
    try:
        tensors = load_file(weights)
    except safetensors.SafetensorError as error:
        raise ClueBenchError(f"{weights}: damaged or cut short: {error}", "copy the file again") from error
    config = hub_config.model_config(values, where=str(folder / "config.json"))
    vocabulary = _read_vocabulary(folder)
    if len(vocabulary) > config.vocab_size:
        raise ClueBenchError(
            f"{folder}: the vocabulary has {len(vocabulary)} tokens, config.json says {config.vocab_size}",
            "the tokenizer belongs to another model",
        )
    provenance = _read_json(folder / PROVENANCE) if (folder / PROVENANCE).is_file() else {}
    return Checkpoint(
        folder=folder,
        config=config,
        tensors=hub.from_hugging_face(tensors, config, where=str(weights)),
        vocabulary=vocabulary,
        provenance=provenance,
        sha256=_sha256(weights),
    )


def _read_vocabulary(folder: Path) -> Vocabulary:
    if (folder / "vocab.txt").is_file() or (folder / "spiece.model").is_file():
        return read_vocabulary(folder)
    if (folder / "tokenizer.json").is_file():
        return vocabulary_of_tokenizer_json(folder / "tokenizer.json")
    raise ClueBenchError(
        f"{folder}: neither vocab.txt, spiece.model nor tokenizer.json", "copy the tokenizer beside the weights"
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ClueBenchError(f"{path}: not JSON: {error}", "copy the file again") from error
    if not isinstance(values, dict):
        raise ClueBenchError(f"{path}: expected a JSON object", "copy the file again")
    return values


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
