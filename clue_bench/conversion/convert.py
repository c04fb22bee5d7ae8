"""Convert a checkpoint: read it, check it against transformers, write it.

Input: the path of a checkpoint, its layout, and the layout to write. Output: a new folder and a
`Conversion`. The folder is complete or absent; an earlier one is never replaced.
"""

import shutil
from dataclasses import dataclass
from functools import partial
from html import escape
from pathlib import Path
from typing import Any, Literal

from clue_bench.conversion.huggingface import read_huggingface
from clue_bench.conversion.model import Dropped, DroppedGroup, Model, Source, grouped, rounding_notes, verify
from clue_bench.conversion.paddle import find_pdparams, read_paddlenlp
from clue_bench.conversion.tensorflow import find_checkpoint, read_tensorflow
from clue_bench.conversion.to_uer import UER_WEIGHTS, to_uer, write_uer
from clue_bench.conversion.uer import find_weights, read_uer
from clue_bench.doors.checkpoint import checkpoint_vocabulary, write_folder
from clue_bench.doors.model_folders import find_folder
from clue_bench.errors import ClueBenchError
from clue_bench.synthetic.corpus import lines_of_text
from clue_bench.tables import Column, Shown, Table, make_table
from clue_bench.versions import describe_code, describe_packages, now
from clue_bench.vocab import TOKENIZER_FILES, Vocabulary, read_vocabulary
from clue_bench.weights import WEIGHTS
from clue_bench.weights.exported import check_export
from clue_bench.weights.hf_config import claimed_class
from clue_bench.weights.read import StoredType

SourceKind = Literal["uer", "tf", "hf", "paddle"]
TargetKind = Literal["hf", "uer"]
_READERS = {"uer": read_uer, "tf": read_tensorflow, "hf": read_huggingface, "paddle": read_paddlenlp}


@dataclass(frozen=True, repr=False)
class Conversion(Shown):
    """The facts of a conversion. Tensors and parameters of the source are kept or dropped; `written` is the result's.

    The two differ where matrices are joined or split, zeros are added, or a tied tensor is written twice.
    """

    destination: Path
    source: Source
    source_kind: SourceKind
    target_kind: TargetKind
    architecture: str
    kept: tuple[int, int]  # tensors, parameters
    dropped: tuple[DroppedGroup, ...]
    written: tuple[int, int]
    bytes_before: int
    bytes_after: int
    weights_sha256: str
    notes: tuple[str, ...]

    @property
    def table(self) -> Table:
        """Return what was read, dropped, kept and written."""

        def row(what: str, tensors: int, parameters: int, size: int | None = None) -> tuple[str, ...]:
            return what, f"{tensors:,}", f"{parameters:,}", "" if size is None else f"{size:,} bytes"

        rows = [
            row("read", self.source.tensors, self.source.parameters, self.bytes_before),
            *(row(f"dropped: {group.reason}", group.tensors, group.parameters) for group in self.dropped),
            row("kept", *self.kept),
            row("written", *self.written, self.bytes_after),
        ]
        numbers = (Column(name, is_number=True) for name in ("tensors", "parameters", "size"))
        return make_table("", (Column(self.architecture, is_words=True, is_name=True), *numbers), rows)

    @property
    def summary(self) -> str:
        """Return where the result is, in one line."""
        return f"{self.destination}: {self.target_kind} layout, weights {self.weights_sha256[:8]}"

    @property
    def tables(self) -> tuple[Table]:
        """Return the table, for what shows tables."""
        return (self.table,)

    def in_full(self, width: int | None) -> str:
        """Return the table, the summary and the notes for a terminal."""
        return "\n".join([self.table.in_full(width), self.summary, *(f"note: {note}" for note in self.notes)])

    def _repr_html_(self) -> str:
        lines = (self.summary, *(f"note: {note}" for note in self.notes))
        return "\n".join([self.table.to_html(), *(f"<p>{escape(line)}</p>" for line in lines)])

    def to_json(self) -> dict[str, Any]:
        """Return everything as one JSON object."""
        source, (kept, kept_parameters), (written, written_parameters) = self.source, self.kept, self.written
        return {
            "destination": str(self.destination),
            "from": self.source_kind,
            "to": self.target_kind,
            "architecture": self.architecture,
            "source": {
                "files": [file.name for file in source.files],
                "sha256": source.sha256,
                "tensors": source.tensors,
                "parameters": source.parameters,
            },
            "kept": {"tensors": kept, "parameters": kept_parameters},
            "dropped": [
                {"reason": group.reason, "tensors": group.tensors, "parameters": group.parameters}
                for group in self.dropped
            ],
            "written": {"tensors": written, "parameters": written_parameters},
            "bytes_before": self.bytes_before,
            "bytes_after": self.bytes_after,
            "weights_sha256": self.weights_sha256,
            "notes": list(self.notes),
        }


def convert(
    path: Path,
    destination: Path,
    *,
    source_kind: SourceKind,
    target_kind: TargetKind = "hf",
    config: Path | None = None,
    vocabulary: Path | None = None,
    stored_as: StoredType = "float32",
) -> Conversion:
    """Convert the checkpoint `path` into the new folder `destination`.

    `config` is the configuration the model was trained with, `vocabulary` its vocab.txt or sentencepiece .model; a
    TensorFlow checkpoint or a Hugging Face folder brings its own. `stored_as` halves the file of a Hugging Face folder;
    what reads it computes in float32 all the same. Raises ClueBenchError if `destination` exists, the
    source cannot be read safely, or something in it would be lost or contradicts the rest.
    """
    _refuse_existing(destination)
    if target_kind == "uer" and stored_as != "float32":
        raise ClueBenchError(f"--dtype {stored_as}: UER-py's layout is float32", "leave out --dtype")
    tokens = _vocabulary(path, source_kind, vocabulary)
    is_copied = source_kind == "hf" and vocabulary is None and bool(tokens.refusal)
    if target_kind == "hf" and not is_copied:
        tokens.require_encoder()
    model = _READERS[source_kind](path, config=config, vocabulary=tokens)
    verify(model)
    uer = to_uer(model) if target_kind == "uer" else None
    dropped = (*model.dropped, *(uer.dropped if uer else ()))
    notes = (*model.notes, *(uer.notes if uer else ()), *rounding_notes(model.tensors, stored_as))
    provenance = _provenance(model, dropped, notes, source_kind=source_kind, target_kind=target_kind)
    if uer is None:
        positions = model.config.get("max_position_embeddings", model.config.get("n_positions"))
        sha256 = write_folder(
            destination,
            model.tensors,
            config=model.config,
            vocabulary=tokens,
            max_length=positions if isinstance(positions, int) else 512,
            provenance=provenance,
            save_tokenizer=partial(_copy_tokenizer, find_folder(path)) if is_copied else None,
            stored_as=stored_as,
        )
        if not is_copied:
            checked = check_export(destination, tokens, lines_of_text())
            notes += (f"the tokenizer: {checked.text}",) if checked.differing else ()
    else:
        sha256 = write_uer(destination, uer, tokens, provenance)
    tensors = uer.tensors if uer else model.tensors
    return Conversion(
        destination=destination,
        source=model.source,
        source_kind=source_kind,
        target_kind=target_kind,
        architecture=claimed_class(model.config),
        kept=(
            model.source.tensors - sum(one.tensors for one in dropped),
            model.source.parameters - sum(one.parameters for one in dropped),
        ),
        dropped=grouped(dropped),
        written=(len(tensors), sum(tensor.numel() for tensor in tensors.values())),
        bytes_before=model.source.bytes,
        bytes_after=(destination / (UER_WEIGHTS if uer else WEIGHTS)).stat().st_size,
        weights_sha256=sha256,
        notes=notes,
    )


def _copy_tokenizer(source: Path, folder: Path) -> None:
    """Copy the files of a tokenizer that cannot be followed: it stays the model's."""
    for name in TOKENIZER_FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)


def _refuse_existing(destination: Path) -> None:
    if destination.is_file() or destination.suffix in (".bin", ".safetensors"):
        raise ClueBenchError(
            f"{destination}: the result is a folder, this is a file or the name of one",
            "give a folder that does not exist yet",
        )
    if destination.is_dir() and any(destination.iterdir()):
        raise ClueBenchError(f"{destination}: exists and is not empty", "give another folder, or remove this one")


def _vocabulary(path: Path, kind: SourceKind, given: Path | None) -> Vocabulary:
    """Return the given vocabulary, else the one beside the weights."""
    if given:
        return read_vocabulary(given)
    if kind == "hf":
        return checkpoint_vocabulary(find_folder(path))
    if kind in ("tf", "paddle") or path.is_dir():
        folder = {"uer": find_weights, "tf": find_checkpoint, "paddle": find_pdparams}[kind](path).parent
        beside = [folder / "vocab.txt"] if (folder / "vocab.txt").is_file() else sorted(folder.glob("*.model"))
        if len(beside) == 1:
            return read_vocabulary(beside[0])
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
    """Return the contents of provenance.json: what the source says about itself, and what was done to it."""
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
            for one in grouped(dropped)
        ],
        "notes": list(notes),
        "code": describe_code(),
        "packages": describe_packages(),
        "created": now(),
    }
    return {**model.inherited, "converted": done | ({"before": earlier} if earlier else {})}
