"""The weight files of a Hugging Face folder.

Input: a folder. Output: its tensors under the names they have there. safetensors before pickles, one file or several;
pickles are read with weights_only=True, so no code of a checkpoint is ever run.
"""

import json
import struct
import warnings
import zipfile
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file
from torch import Tensor

from clue_bench.errors import ClueBenchError

WEIGHTS = "model.safetensors"
PICKLE = "pytorch_model.bin"

# What torch's unpickler raises for bytes that are no weights.
_NOT_PLAIN = (
    *(RuntimeError, UnpicklingError, EOFError, LookupError, ValueError, TypeError, AttributeError),
    *(AssertionError, OSError, struct.error, zipfile.BadZipFile),
)


def weight_files(folder: Path) -> list[Path]:
    """Return the files of the weights in the order of their names, none if there are none.

    Raises ClueBenchError if an index names files that are not there.
    """
    for name in (WEIGHTS, PICKLE):
        if (folder / name).is_file():
            return [folder / name]
        index = folder / f"{name}.index.json"
        if index.is_file():
            listed = read_object(index).get("weight_map")
            # Only the last part of a name: an index must not lead out of its folder.
            parts = {folder / Path(str(part)).name for part in listed.values()} if isinstance(listed, dict) else set()
            missing = sorted(part.name for part in parts if not part.is_file())
            if missing or not parts:
                raise ClueBenchError(f"{index}: names {', '.join(missing) or 'no files'}, not there", "copy them too")
            return sorted(parts)
    return []


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Return the tensors of a folder. Raises ClueBenchError if there are none, or a file is damaged or unsafe."""
    files = weight_files(folder)
    if not files:
        raise ClueBenchError(f"{folder}: neither {WEIGHTS} nor {PICKLE}", "copy the weights beside config.json")
    tensors: dict[str, Tensor] = {}
    for file in files:
        tensors |= _unpickled(file) if file.suffix == ".bin" else _safe(file)
    if not tensors:
        raise ClueBenchError(f"{files[0]}: no tensors in it", "save the model again")
    return tensors


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises ClueBenchError naming the file."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ClueBenchError(f"{path}: not JSON: {error}", "copy the file again") from error
    if not isinstance(values, dict):
        raise ClueBenchError(f"{path}: expected a JSON object", "copy the file again")
    return values


def _safe(file: Path) -> dict[str, Tensor]:
    try:
        return load_file(file)
    except safetensors.SafetensorError as error:
        raise ClueBenchError(f"{file}: damaged or cut short: {error}", "copy the file again") from error


def _unpickled(file: Path) -> dict[str, Tensor]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about old formats; what cannot be read is an error all the same
            values = torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
    except _NOT_PLAIN as error:
        # Only the kind: torch's own text advises to load the file with its code.
        raise ClueBenchError(
            f"{file}: not readable as plain weights ({type(error).__name__})",
            "copy the file again, or save it with safetensors",
        ) from error
    if not isinstance(values, dict):
        raise ClueBenchError(f"{file}: a {type(values).__name__}, expected tensors by name", "save a state_dict")
    return {name: value for name, value in values.items() if isinstance(value, Tensor)}
