"""Door 2: checkpoints. A folder that `transformers` loads with no code of ours.

Format. A folder with

    config.json, model.safetensors                       Hugging Face layout, fp32 (a shipped or converted one may
                                                         store halves; config.json says fp32, in which it computes)
    vocab.txt, tokenizer.json, tokenizer_config.json     loads as `BertTokenizer`; for word models spiece.model
                                                         instead of the first two, which loads as `AlbertTokenizer`
    generation_config.json                               of GPT2: special tokens, and that [UNK] is never written
    provenance.json                                      what made it: recipe, data hashes, code, packages, hardware,
                                                         tokens seen, wall seconds; for a fine-tuned one also model (its
                                                         name), task, settings, seed, started_from_sha256, card (the
                                                         whole card of a task that is not built in), and earlier: the
                                                         same for every task before this one, without cards

Training state for resuming lies beside the folder, never in it. The folder is written under a temporary name and
renamed, so it is complete or not there. Models that are fine-tuned through `transformers` are written by its
`save_pretrained`, with the tokenizer files that it writes, and provenance.json.

Reader: `read_checkpoint`; it takes any folder of that layout whose family is ours, with or without provenance, weights
in one safetensors file or several or in pytorch_model.bin, the folder of a run whose `checkpoint/` is meant, and an id
of the Hugging Face hub. BERT weights whose config.json says roberta (hub models clue/*) are read as BERT, with a note.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from clue_bench import files
from clue_bench.doors.model_folders import find_folder
from clue_bench.doors.records import CHECKPOINT
from clue_bench.errors import ClueBenchError
from clue_bench.models.config import ModelConfig
from clue_bench.vocab import OTHER_IDS, Vocabulary, read_vocabulary
from clue_bench.weights import CONFIG, WEIGHTS, hf_config, names
from clue_bench.weights.as_bert import as_bert
from clue_bench.weights.configuration import read_config, read_object
from clue_bench.weights.read import StoredType, read_weights, weight_files

PROVENANCE = "provenance.json"
GENERATION = "generation_config.json"

PADDING = 128
"""Embeddings are padded to a multiple of at most this; more rows without a token are not padding."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint in memory. `tensors` have our names; `notes` say where the files were not taken at their word."""

    folder: Path
    config: ModelConfig
    tensors: dict[str, Tensor]
    vocabulary: Vocabulary
    provenance: dict[str, Any]
    sha256: str
    notes: tuple[str, ...] = ()


def model_name(folder: Path, provenance: Mapping[str, Any]) -> str:
    """Return a model's name, safe as a part of a file name.

    It is `base_name`, followed by "-after-" and the tasks that the model was already fine-tuned on, in order.
    """
    tasks = [str(run["task"]) for run in finetunings(provenance)]
    name = "-".join([base_name(folder, provenance), *(["after", *tasks] if tasks else [])])
    return re.sub(r"[^\w.-]+", "-", name).lstrip(".-") or "model"


def base_name(folder: Path, provenance: Mapping[str, Any]) -> str:
    """Return a model's recipe, its name before fine-tuning, its hub id, or its folder."""
    recipe = provenance.get("recipe")
    name = recipe.get("name") if isinstance(recipe, dict) else provenance.get("model")
    if name:
        return str(name)
    path = folder.resolve()
    if path.parent.name == "snapshots" and path.parents[1].name.startswith("models--"):  # the hub's cache
        return path.parents[1].name.removeprefix("models--").replace("--", "/")
    return path.parent.name if path.name == CHECKPOINT else path.name


def finetunings(provenance: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the fine-tuning runs behind a checkpoint, the earliest first; none for a pretrained one."""
    if "task" not in provenance:
        return []
    keys = ("task", "settings", "seed", "started_from_sha256", "weights_sha256")
    return [*provenance.get("earlier", []), {key: provenance.get(key) for key in keys}]


def write_checkpoint(
    folder: Path,
    state: Mapping[str, Tensor],
    *,
    architecture: str,
    config: ModelConfig,
    vocabulary: Vocabulary,
    provenance: Mapping[str, Any],
    labels: tuple[str, ...] = (),
    save_tokenizer: Callable[[Path], None] | None = None,
) -> str:
    """Write a model of ours as a checkpoint folder, replacing an earlier one; return the sha256 of its weights.

    `state` is a module's state dictionary; `architecture` the class that `transformers` should load it with.
    `save_tokenizer` writes tokenizer files into a folder, where they are not those of `vocabulary`.
    """
    values = hf_config.hugging_face_config(
        config, architecture=architecture, pad=vocabulary.pad, start=vocabulary.start, end=vocabulary.separator
    )
    if labels:
        values |= label_names(labels)
    return write_folder(
        folder,
        names.to_hugging_face(state, config),
        config=values,
        vocabulary=vocabulary,
        max_length=config.max_positions,
        provenance=provenance,
        save_tokenizer=save_tokenizer,
    )


def label_names(labels: tuple[str, ...]) -> dict[str, dict[str, str | int]]:
    """Return the class names for config.json, in both directions."""
    return {
        "id2label": {str(index): label for index, label in enumerate(labels)},
        "label2id": {label: index for index, label in enumerate(labels)},
    }


def write_folder(
    folder: Path,
    tensors: Mapping[str, Tensor],
    *,
    config: Mapping[str, Any],
    vocabulary: Vocabulary,
    max_length: int,
    provenance: Mapping[str, Any],
    save_tokenizer: Callable[[Path], None] | None = None,
    stored_as: StoredType = "float32",
) -> str:
    """Write a checkpoint folder from `tensors` and `config` that are already in the Hugging Face layout.

    Replaces an earlier one; returns the sha256 of the weights. `max_length` is the tokenizer's, in tokens.
    """

    def fill(temporary: Path) -> None:
        files.write_json(temporary / CONFIG, dict(config))
        if hf_config.claimed_class(config).endswith("LMHeadModel"):
            # Without it transformers would write [UNK], which no corpus of Chinese lacks and no reader wants.
            files.write_json(temporary / GENERATION, _generation(config, vocabulary))
        if save_tokenizer is None:
            vocabulary.save(temporary, max_length=max_length, has_segments=config.get("model_type") != "gpt2")
        else:
            save_tokenizer(temporary)
        stored = getattr(torch, stored_as)
        plain = {name: tensor.detach().cpu().to(stored).contiguous() for name, tensor in tensors.items()}
        save_file(plain, temporary / WEIGHTS, metadata={"format": "pt"})

    return fill_folder(folder, fill, provenance=provenance)


def _generation(config: Mapping[str, Any], vocabulary: Vocabulary) -> dict[str, Any]:
    ids = {key: config[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id") if config.get(key) is not None}
    return {**ids, "suppress_tokens": [vocabulary.unknown]}


def fill_folder(
    folder: Path, fill: Callable[[Path], None], *, provenance: Mapping[str, Any], weights: str | None = None
) -> str:
    """Write a checkpoint folder, replacing an earlier one; return the sha256 of the weights.

    `fill` writes everything but provenance.json into the folder that it is given; `weights` is the file's name where it
    is not one of the Hugging Face layout.
    """
    previous = folder.with_name(f".{folder.name}.previous")
    with files.staging(folder) as temporary:
        with files.writing(folder):
            fill(temporary)
        written = weight_files(temporary) if weights is None else [temporary / weights]
        assert written, "a folder was filled without weights"
        sha256 = files.sha256(*written)
        files.write_json(temporary / PROVENANCE, {**provenance, "weights_sha256": sha256})
        for path in temporary.iterdir():
            path.chmod(0o644)  # safetensors makes its files readable by their owner only
            files.sync(path)
        if folder.exists():
            files.remove(previous)
            folder.rename(previous)
        temporary.rename(folder)
    files.remove(previous)  # also one that a crash has left
    return sha256


def weights_sha256(folder: Path) -> str | None:
    """Return the sha256 of the weights in a checkpoint folder, None if it has none.

    For several files, hash their bytes one file after the other, in the order of their names.
    """
    found = weight_files(folder)
    return files.sha256(*found) if found else None


def checked_sha256(folder: Path, provenance: Mapping[str, Any], found: str | None = None) -> str:
    """Return the sha256 of a folder's weights, which is `found` if it was computed before.

    Raises ClueBenchError if provenance.json says another of the file that it was written beside. Weights that somebody
    saved as a pickle or in several files are other bytes.
    """
    found, said = found or weights_sha256(folder) or "", provenance.get("weights_sha256")
    if said and said != found and (folder / WEIGHTS).is_file():
        raise ClueBenchError(
            f"{folder}: the weights are damaged, or others than {PROVENANCE} speaks of",
            f"copy the folder again; remove {PROVENANCE} if you changed the weights yourself",
        )
    return found


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint folder, the one inside a run's folder, or a model on the hub.

    Raises ClueBenchError that names the file and what is wrong with it.
    """
    folder = find_folder(path)
    values = read_config(folder / CONFIG)
    tensors = read_weights(folder)
    names.refuse_nezha(values, tensors, where=folder)
    vocabulary, provenance = checkpoint_vocabulary(folder), read_provenance(folder)
    notes: tuple[str, ...] = ()
    if renamed := as_bert(values, tensors):
        values, tensors, note = renamed
        notes = (f"{folder / CONFIG} {note}",)
    config = hf_config.model_config(values, where=str(folder / CONFIG))
    if len(vocabulary) > config.vocab_size:
        raise ClueBenchError(
            f"{folder}: the vocabulary has {len(vocabulary)} tokens, config.json says {config.vocab_size}",
            "copy the tokenizer that belongs to the weights",
        )
    unused = config.vocab_size - len(vocabulary)
    if unused >= PADDING:
        notes += (
            f"{folder}: {config.vocab_size:,} embeddings, but {len(vocabulary):,} tokens in the vocabulary: "
            f"is it this model's? clue-bench doctor {folder} tells",
        )
    notes += vocabulary.notes
    if vocabulary.refusal.startswith(OTHER_IDS):
        notes += (f"{folder}: {vocabulary.refusal}: the model may have been trained on those of spiece.model",)
    return Checkpoint(
        folder=folder,
        config=config,
        tensors={
            name: tensor.float() if tensor.is_floating_point() else tensor  # whatever they are stored as
            for name, tensor in names.from_hugging_face(tensors, config, where=str(weight_files(folder)[0])).items()
        },
        vocabulary=vocabulary,
        provenance=provenance,
        sha256=checked_sha256(folder, provenance),
        notes=notes,
    )


def read_provenance(folder: Path) -> dict[str, Any]:
    """Return the contents of provenance.json, {} if there is none. Raises ClueBenchError for values of other types."""
    path = folder / PROVENANCE
    if not path.is_file():
        return {}
    values = read_object(path)
    runs = values.get("earlier")
    is_sound = runs is None or (isinstance(runs, list) and all(isinstance(run, dict) and "task" in run for run in runs))
    kinds = {
        "recipe": dict,
        "settings": dict,
        "converted": dict,
        "card": dict,
        "task": str,
        "model": str,
        "tokens_seen": int | None,
    }
    wrong = [key for key, kind in kinds.items() if key in values and not isinstance(values[key], kind)]
    if wrong or not is_sound:
        key = wrong[0] if wrong else "earlier"
        raise ClueBenchError(f"{path}: {key} is {values[key]!r}, no value for it", "copy the file again, or remove it")
    return values


def learned_positions(provenance: Mapping[str, Any], max_positions: int) -> int:
    """Return how many of a model's positions were pretrained: all, unless its own recipe had shorter rows."""
    stated = stated_positions(provenance)
    return max_positions if stated is None else stated


def stated_positions(provenance: Mapping[str, Any]) -> int | None:
    """Return how long the rows of a model's pretraining were, in tokens; None if it does not say so."""
    stated = provenance.get("learned_positions")
    if isinstance(stated, int):
        return stated
    recipe = provenance.get("recipe") or {}
    stages = [recipe.get(stage) or {} for stage in ("stage1", "stage2")]
    return max((stage["max_length"] for stage in stages if isinstance(stage.get("max_length"), int)), default=None)


def checkpoint_vocabulary(folder: Path) -> Vocabulary:
    """Return the vocabulary of a checkpoint folder. Raises ClueBenchError if it has none that we can read."""
    if any((folder / name).is_file() for name in ("vocab.txt", "spiece.model", "tokenizer.json", "merges.txt")):
        return read_vocabulary(folder)
    raise ClueBenchError(
        f"{folder}: neither vocab.txt, spiece.model nor tokenizer.json", "copy the tokenizer beside the weights"
    )
