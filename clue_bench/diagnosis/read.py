"""Find a checkpoint and read what is in it, without trusting any of it.

Input: a folder, a run's folder, or a Hugging Face id. Output: the folder, its config.json as a dictionary, and
`Weights`: names, shapes and types from the header, tensors one at a time. No code of the checkpoint is run, and pickles
are read with weights_only=True.
"""

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import safetensors
import torch
from torch import Tensor

from clue_bench.doors.checkpoint import FOLDER, HUB_ID, hub_copy
from clue_bench.errors import ClueBenchError
from clue_bench.weights.read import read_object

CONFIG = "config.json"
_INDICES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
_SINGLE = ("model.safetensors", "pytorch_model.bin")
# What is fetched from the hub: configuration, tokenizers, and one copy of the weights.


@dataclass(frozen=True)
class Entry:
    """A tensor in a file."""

    shape: tuple[int, ...]
    dtype: str  # as torch prints it, without "torch."
    file: Path

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(torch.Size(self.shape).numel())

    @property
    def bytes(self) -> int:
        """Bytes on disk."""
        return self.size * int(getattr(torch, self.dtype).itemsize)


@dataclass(frozen=True)
class Weights:
    """The tensors of a checkpoint, by name."""

    entries: dict[str, Entry]
    pickled: dict[str, Tensor]  # of a .bin, which has no header; memory-mapped where the format allows

    @property
    def files(self) -> list[Path]:
        """The files, each once."""
        return sorted({entry.file for entry in self.entries.values()})

    def tensor(self, name: str) -> Tensor:
        """Return one tensor as float32, whatever it is stored as."""
        if name in self.pickled:
            return self.pickled[name].float()
        with safetensors.safe_open(self.entries[name].file, framework="pt") as file:
            tensor: Tensor = file.get_tensor(name)
            return tensor.float()

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Yield every tensor of numbers as float32, one in memory at a time."""
        for name in self.entries:
            yield name, self.tensor(name)


def find_folder(model: str) -> Path:
    """Return the checkpoint folder that `model` means: itself, its checkpoint/, or the copy of a hub model.

    Raises ClueBenchError if it is none of them, or the hub is out of reach.
    """
    path = Path(model)
    if (path / FOLDER / CONFIG).is_file():
        return path / FOLDER
    if path.is_dir():
        return path
    if path.exists() or not HUB_ID.fullmatch(model):
        found = "a file" if path.exists() else "no such folder"
        raise ClueBenchError(f"{model}: {found}, expected a checkpoint folder", "give the folder of config.json")
    return hub_copy(model)


def read_config(folder: Path) -> dict[str, Any]:
    """Read config.json. Raises ClueBenchError if it is missing or no JSON object."""
    if not (folder / CONFIG).is_file():
        tensorflow = any(folder.glob("*.ckpt.index"))
        hint = "clue-bench convert --from tf" if tensorflow else "give the --out of a pretraining run"
        found = "a TensorFlow checkpoint" if tensorflow else "no checkpoint folder"
        raise ClueBenchError(f"{folder}: no {CONFIG}, so {found}", hint)
    return read_object(folder / CONFIG)


def open_weights(folder: Path) -> Weights:
    """Read names, shapes and types of the weights: safetensors before pickles, one file or several.

    Raises ClueBenchError if there are none, or a file is damaged or missing.
    """
    for single, index in zip(_SINGLE, _INDICES, strict=True):
        if (folder / single).is_file():
            return _open([folder / single])
        if (folder / index).is_file():
            listed = read_object(folder / index).get("weight_map")
            names: dict[str, str] = listed if isinstance(listed, dict) else {}
            files = [folder / Path(str(name)).name for name in sorted(set(names.values()))]
            missing = [file.name for file in files if not file.is_file()]
            if missing or not files:
                raise ClueBenchError(f"{folder}: {index} names {missing or 'no files'}, not there", "copy them too")
            weights = _open(files)
            absent = sorted(set(names) - set(weights.entries))
            if absent:
                raise ClueBenchError(
                    f"{folder}: {index} names tensor '{absent[0]}', in no file", "copy the files again"
                )
            return weights
    raise ClueBenchError(f"{folder}: neither {_SINGLE[0]} nor {_SINGLE[1]}", "save the model with safetensors")


def _open(files: list[Path]) -> Weights:
    entries: dict[str, Entry] = {}
    pickled: dict[str, Tensor] = {}
    for file in files:
        if file.suffix == ".bin":
            tensors = _unpickle(file)
            pickled |= tensors
            found = {name: Entry(tuple(t.shape), str(t.dtype)[6:], file) for name, t in tensors.items()}
        else:
            found = _header(file)
        entries |= found
    if not entries:
        raise ClueBenchError(f"{files[0]}: no tensors in it", "save the model again")
    return Weights(entries, pickled)


# The header's names of types, in full: https://huggingface.co/docs/safetensors (Format).
_TYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}


def _header(file: Path) -> dict[str, Entry]:
    try:
        with safetensors.safe_open(file, framework="pt") as opened:
            slices = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118  it is no mapping
            return {
                name: Entry(tuple(part.get_shape()), _TYPES.get(part.get_dtype(), "uint8"), file)
                for name, part in slices.items()
            }
    except safetensors.SafetensorError as error:
        raise ClueBenchError(f"{file}: damaged or cut short: {error}", "copy the file again") from error


def _unpickle(file: Path) -> dict[str, Tensor]:
    try:
        values = torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
    except (RuntimeError, UnpicklingError, EOFError, ValueError, KeyError, AttributeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ClueBenchError(
            f"{file}: not readable as plain weights: {reason}", "copy the file again, or save it with safetensors"
        ) from error
    if not isinstance(values, dict):
        return {}
    return {name: value for name, value in values.items() if isinstance(value, Tensor)}
