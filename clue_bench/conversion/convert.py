"""Convert a checkpoint: read it, hold it against transformers, write it.

Input: the path of a checkpoint, of what kind it is, and of what kind it shall be. Output: a new folder and a `Report`.
The folder is complete or absent; an earlier one is never replaced.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from clue_bench.conversion.dead import Count, Dropped, counted
from clue_bench.conversion.huggingface import find_folder, read_huggingface
from clue_bench.conversion.model import Model, Source
from clue_bench.conversion.tensorflow import find_checkpoint, read_tensorflow
from clue_bench.conversion.to_uer import UER_WEIGHTS, to_uer, write_uer
from clue_bench.conversion.uer import find_weights, read_uer
from clue_bench.conversion.verify import verify
from clue_bench.doors.checkpoint import WEIGHTS, write_folder
from clue_bench.errors import ClueBenchError
from clue_bench.versions import describe_code, describe_packages, now
from clue_bench.vocab import Vocabulary, read_vocabulary, vocabulary_from_tokenizer_json

SourceKind = Literal["uer", "tf", "hf"]
TargetKind = Literal["hf", "uer"]
_READERS = {"uer": read_uer, "tf": read_tensorflow, "hf": read_huggingface}


@dataclass(frozen=True)
class Report:
    """What was converted. Tensors and parameters of the source are kept or dropped; `written` counts the result's.

    The two differ where matrices are joined or split, zeros are added, or a tied tensor is written twice.
    """

    destination: Path
    source: Source
    source_kind: SourceKind
    target_kind: TargetKind
    architecture: str
    kept: tuple[int, int]  # tensors, parameters
    dropped: tuple[Count, ...]
    written: tuple[int, int]
    bytes_before: int
    bytes_after: int
    weights_sha256: str
    notes: tuple[str, ...]


def convert(
    path: Path,
    destination: Path,
    *,
    source_kind: SourceKind,
    target_kind: TargetKind = "hf",
    config: Path | None = None,
    vocabulary: Path | None = None,
) -> Report:
    """Convert the checkpoint `path` into the new folder `destination`.

    `config` is the configuration the model was trained with, `vocabulary` its vocab.txt or sentencepiece .model; a
    TensorFlow checkpoint or a Hugging Face folder brings its own. Raises ClueBenchError if `destination` exists, the
    source cannot be read safely, or something in it would be lost or contradicts the rest.
    """
    _refuse_existing(destination)
    tokens = _vocabulary(path, source_kind, vocabulary)
    model = _READERS[source_kind](path, config=config, vocabulary=tokens)
    verify(model)
    uer = to_uer(model) if target_kind == "uer" else None
    dropped = (*model.dropped, *(uer.dropped if uer else ()))
    notes = (*model.notes, *(uer.notes if uer else ()))
    provenance = _provenance(model, dropped, notes, source_kind=source_kind, target_kind=target_kind)
    if uer is None:
        positions = model.config.get("max_position_embeddings", model.config.get("n_positions", 512))
        sha256 = write_folder(
            destination,
            model.tensors,
            config=model.config,
            vocabulary=tokens,
            max_length=int(positions),
            provenance=provenance,
        )
        tensors, size = model.tensors, (destination / WEIGHTS).stat().st_size
    else:
        sha256 = write_uer(destination, uer, tokens, provenance)
        tensors, size = uer.tensors, (destination / UER_WEIGHTS).stat().st_size
    return Report(
        destination=destination,
        source=model.source,
        source_kind=source_kind,
        target_kind=target_kind,
        architecture=str(model.config["architectures"][0]),
        kept=_kept(model.source, dropped),
        dropped=counted(dropped),
        written=(len(tensors), sum(tensor.numel() for tensor in tensors.values())),
        bytes_before=model.source.bytes,
        bytes_after=size,
        weights_sha256=sha256,
        notes=notes,
    )


def _refuse_existing(destination: Path) -> None:
    if destination.is_file() or destination.suffix in (".bin", ".safetensors"):
        raise ClueBenchError(
            f"{destination}: the result is a folder, this is a file or the name of one",
            "name a folder that is not there",
        )
    if destination.is_dir() and any(destination.iterdir()):
        raise ClueBenchError(f"{destination}: exists and is not empty", "name another folder, or remove this one")


def _vocabulary(path: Path, kind: SourceKind, given: Path | None) -> Vocabulary:
    """Return the vocabulary that was given, else the one that lies beside the weights."""
    if given:
        return read_vocabulary(given)
    folder = find_folder(path) if kind == "hf" else (find_weights if kind == "uer" else find_checkpoint)(path).parent
    beside = [folder / "vocab.txt"] if (folder / "vocab.txt").is_file() else sorted(folder.glob("*.model"))
    if len(beside) == 1 and (kind != "uer" or path.is_dir()):
        return read_vocabulary(beside[0])
    if kind == "hf" and (folder / "tokenizer.json").is_file():
        return vocabulary_from_tokenizer_json(folder / "tokenizer.json")
    raise ClueBenchError(
        f"{path}: no vocabulary was given, and {kind} weights hold none",
        "give the one that the model was trained with: --vocab vocab.txt, or the .model of sentencepiece",
    )


def _provenance(
    model: Model,
    dropped: tuple[Dropped, ...],
    notes: tuple[str, ...],
    *,
    source_kind: SourceKind,
    target_kind: TargetKind,
) -> dict[str, Any]:
    """Return provenance.json: what the source says of itself, and what was done to it here."""
    earlier = model.inherited.get("converted")
    done = {
        "from": source_kind,
        "to": target_kind,
        "files": [file.name for file in model.source.files],
        "sha256": model.source.sha256,
        "bytes": model.source.bytes,
        **model.facts,
        "dropped": [
            {"reason": one.reason, "tensors": one.tensors, "parameters": one.parameters, "first": list(one.examples)}
            for one in counted(dropped)
        ],
        "notes": list(notes),
        "code": describe_code(),
        "packages": describe_packages(),
        "created": now(),
    }
    return {**model.inherited, "converted": done | ({"before": earlier} if earlier else {})}


def _kept(source: Source, dropped: tuple[Dropped, ...]) -> tuple[int, int]:
    """Return the tensors and parameters of the source that the result holds."""
    tensors = source.tensors - sum(one.tensors for one in dropped)
    return tensors, source.parameters - sum(one.parameters for one in dropped)
