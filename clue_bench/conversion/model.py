"""The model that every reader of this package returns and every writer takes, in the Hugging Face layout.

Input: the tensors of a source and a config.json. Output: a `Model`; counts of what was dropped, and why; nothing, or an
error that names the tensor, where transformers would not load the model completely (`verify`).
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from clue_bench.doors.checkpoint import PADDING as MAX_PADDING
from clue_bench.doors.checkpoint import label_names
from clue_bench.errors import ClueBenchError
from clue_bench.weights.hf_classes import build, shapes_of
from clue_bench.weights.hf_config import claimed_class
from clue_bench.weights.names import why_dead
from clue_bench.weights.read import StoredType, Weights

TIED = "second copy of a tied tensor"
PADDING = "segment row of padding, kept in provenance.json"
PADDING_ROW = "uer_padding_segment"  # in provenance.json: numbers with blanks between, so that they take one line

_OTHER_HEADS = re.compile(r"^(cls|predictions|sop_classifier|classifier|lm_head|qa_outputs)\.|(^|\.)pooler\.")
# May be missing: classifiers train a pooler anew, which is said where it is missing; RoFormer computes its sinusoids.
_OPTIONAL = re.compile(r"(^|\.)pooler\.|embed_positions\.weight$")


@dataclass(frozen=True)
class Dropped:
    """A tensor that is not written, or a part of one (`tensors` is 0 then)."""

    name: str
    reason: str
    parameters: int
    tensors: int = 1


@dataclass(frozen=True)
class DroppedGroup:
    """How much was dropped for one reason."""

    reason: str
    tensors: int
    parameters: int
    examples: tuple[str, ...]


@dataclass(frozen=True)
class Source:
    """What was read, for reports and provenance. `tensors` and `parameters` count everything in the files."""

    files: tuple[Path, ...]
    sha256: str  # of the file; of the lines "sha256  name" where there are several
    bytes: int
    tensors: int
    parameters: int


@dataclass(frozen=True)
class Model:
    """A model in the Hugging Face layout.

    `tensors` and `config` (of config.json) have the names of transformers. `notes` are for the user: what was assumed
    or repaired. `facts` go into provenance.json under "converted"; `inherited` are its other entries.
    """

    tensors: dict[str, Tensor]
    config: dict[str, Any]
    source: Source
    dropped: tuple[Dropped, ...] = ()
    notes: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    inherited: Mapping[str, Any] = field(default_factory=dict)


def source_of(files: Iterable[Path], shapes: Iterable[tuple[int, ...]]) -> Source:
    """Return what was read: `files` are hashed; `shapes` are those of the tensors in them."""
    paths, sizes = tuple(files), [prod(shape) for shape in shapes]
    hashes = []
    for path in paths:
        with path.open("rb") as file:
            hashes.append(hashlib.file_digest(file, "sha256").hexdigest())
    lines = "".join(f"{one}  {path.name}\n" for one, path in zip(hashes, paths, strict=True))
    return Source(
        files=paths,
        sha256=hashes[0] if len(hashes) == 1 else hashlib.sha256(lines.encode()).hexdigest(),
        bytes=sum(path.stat().st_size for path in paths),
        tensors=len(sizes),
        parameters=sum(sizes),
    )


def live_tensors(weights: Weights) -> tuple[dict[str, Tensor], list[Dropped]]:
    """Split the tensors of files into those that a model may use and those that none uses."""
    live: dict[str, Tensor] = {}
    dropped = [Dropped(name, why_dead(name) or "not a tensor", 0, tensors=0) for name in weights.others]
    for name, tensor in weights.tensors():
        if reason := why_dead(name):
            dropped.append(Dropped(name, reason, tensor.numel()))
        else:
            live[name] = tensor
    return live, dropped


def grouped(dropped: Iterable[Dropped]) -> tuple[DroppedGroup, ...]:
    """Return what was dropped by reason, each with the first three names."""
    groups: dict[str, list[Dropped]] = {}
    for one in dropped:
        groups.setdefault(one.reason, []).append(one)
    return tuple(
        DroppedGroup(
            reason,
            sum(one.tensors for one in group),
            sum(one.parameters for one in group),
            tuple(one.name for one in group[:3]),
        )
        for reason, group in groups.items()
    )


def labelled(config: Mapping[str, Any], number: int) -> dict[str, Any]:
    """Return config.json of a classifier with `number` labels whose names the source does not give."""
    return {**config, **label_names(tuple(f"LABEL_{index}" for index in range(number)))}


def check_rows(words: Tensor, *, vocabulary: int, where: str) -> tuple[str, ...]:
    """Raise ClueBenchError unless the word embedding has a row for each of the `vocabulary` tokens.

    Rows of padding behind them, up to the next round number, are no error: return a note that counts them.
    """
    padding = len(words) - vocabulary if words.dim() == 2 else 0
    if 0 < padding < MAX_PADDING and len(words) % 8 == 0:
        return (f"{padding:,} of the {len(words):,} embedding rows have no token: padding, kept",)
    if words.dim() != 2 or padding:
        rows = f"{len(words):,} rows" if words.dim() == 2 else f"shape {tuple(words.shape)}"
        raise ClueBenchError(
            f"{where}: the word embedding has {rows}, the vocabulary {vocabulary:,} tokens",
            "give the vocabulary that the model was trained with: --vocab vocab.txt, or the .model of sentencepiece",
        )
    return ()


def verify(model: Model, built: PreTrainedModel | None = None) -> None:
    """Check `model` against its class in transformers, which is `built` if it was built before.

    Raises ClueBenchError for a tensor that is missing, left over, of another shape, or holds NaN or infinity.
    """
    where, name = str(model.source.files[0]), claimed_class(model.config)
    built = built or build(name, model.config, where=f"{where}, its configuration")
    wanted, tied = shapes_of(built), dict(built.all_tied_weights_keys)
    for one, shape in wanted.items():
        found = model.tensors.get(one, model.tensors.get(tied.get(one, "")))
        if found is None and not _OPTIONAL.search(one):
            raise ClueBenchError(
                f"{where}: nothing in it becomes {one}, which {name} needs", "copy the file again, or convert another"
            )
        if found is not None and tuple(found.shape) != shape:
            raise ClueBenchError(
                f"{where}: {one} would be {tuple(found.shape)}, {name} needs {shape} by the configuration",
                "give the configuration that belongs to these weights",
            )
    for one, tensor in model.tensors.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise ClueBenchError(
                f"{where}: {one} holds numbers that are not finite", "give a checkpoint from before the run diverged"
            )
        if one not in wanted and not _OTHER_HEADS.search(one):
            raise ClueBenchError(
                f"{where}: {one} has no place in {name} by the configuration",
                "give the configuration that belongs to these weights",
            )


def rounding_notes(tensors: Mapping[str, Tensor], stored_as: StoredType) -> list[str]:
    """Return a note on what storing `tensors` as `stored_as` rounds; none where it changes nothing.

    Raises ClueBenchError that names a tensor whose numbers are too large for it.
    """
    kept = getattr(torch, stored_as)
    error, size = 0.0, 0.0
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            continue
        exact = tensor.float()
        rounded = exact.to(kept).float()
        if not bool(rounded.isfinite().all()):
            raise ClueBenchError(
                f"{name}: {float(exact.abs().max()):g} is too large for {stored_as}", "give --dtype bfloat16"
            )
        error += float((rounded - exact).double().square().sum())
        size += float(exact.double().square().sum())
    share = (error / size) ** 0.5 if size else 0.0
    return [f"stored as {stored_as}: rounded by {share:.1e} of the weights' norm; computes in float32"] if share else []
