"""Read files of strangers: no code of theirs is run.

Input: a path. Output: tensors by name. Pickles are read with weights_only=True, which refuses everything but plain
containers and tensors; trainers' wrappers ({"model": …, "optimizer": …}) are opened.
"""

import hashlib
import json
import pickle
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file
from torch import Tensor

from clue_bench.conversion.dead import Dropped, parameters, why_dead
from clue_bench.conversion.model import Source
from clue_bench.errors import ClueBenchError

_GLOBAL = re.compile(r"GLOBAL ([\w.]+)")
# What torch.load raises for files that are damaged, or no files of torch.save at all.
_LOADING_FAILED = (pickle.UnpicklingError, RuntimeError, EOFError, LookupError, ValueError, AttributeError, TypeError)
_WRAPPERS = ("state_dict", "model_state_dict", "model", "module")  # where trainers keep the weights in what they save


def read_tensors(path: Path) -> dict[str, Any]:
    """Return what a .bin, .pt or .safetensors file holds, by name, as it is stored; non-tensors come along.

    Raises ClueBenchError if the file is missing, damaged, not a table of tensors, or asks for code to be run.
    """
    if not path.is_file():
        raise ClueBenchError(f"{path}: no such file", "give the .bin or .safetensors file of the weights")
    if path.suffix == ".safetensors":
        try:
            return dict(load_file(path))
        except safetensors.SafetensorError as error:
            raise ClueBenchError(f"{path}: damaged or cut short: {error}", "copy the file again") from error
    try:
        values = torch.load(path, map_location="cpu", weights_only=True)
    except _LOADING_FAILED as error:
        raise _unreadable(path, error) from error
    if not isinstance(values, Mapping):
        raise ClueBenchError(
            f"{path}: holds a {type(values).__name__}, expected a state dictionary of tensors",
            "save it with torch.save(model.state_dict(), file)",
        )
    return _opened(values)


def _unreadable(path: Path, error: Exception) -> ClueBenchError:
    found = _GLOBAL.search(str(error))
    if found:
        return ClueBenchError(
            f"{path}: its pickle asks for '{found[1]}', which could run code, so it was not loaded",
            "where you trust its origin, save the state dictionary alone: torch.save(model.state_dict(), file)",
        )
    lines = str(error).strip().splitlines()
    reason = lines[0] if lines else type(error).__name__
    return ClueBenchError(f"{path}: not a file of torch.save, or damaged: {reason}", "copy the file again")


def _opened(values: Mapping[Any, Any]) -> dict[str, Any]:
    """Return one flat table; the weights of a trainer's wrapper under their own names, its other parts under theirs."""
    wrapped = next((key for key in _WRAPPERS if isinstance(values.get(key), Mapping)), None)
    flat: dict[str, Any] = dict(_flat(values[wrapped], "")) if wrapped else {}
    rest = {key: value for key, value in values.items() if key != wrapped}
    return flat | dict(_flat(rest, ""))


def _flat(values: Mapping[Any, Any], prefix: str) -> Iterable[tuple[str, Any]]:
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}.")
        else:
            yield name, value


def live_tensors(values: Mapping[str, Any]) -> tuple[dict[str, Tensor], list[Dropped]]:
    """Split what a file holds into tensors that a model may want and what none uses."""
    live: dict[str, Tensor] = {}
    dropped: list[Dropped] = []
    for name, value in values.items():
        reason = why_dead(name)
        if not isinstance(value, Tensor):
            dropped.append(Dropped(name, reason or "not a tensor", 0, tensors=0))
        elif reason:
            dropped.append(Dropped(name, reason, value.numel()))
        else:
            live[name] = value
    return live, dropped


def source_of(files: Iterable[Path], values: Mapping[str, Any]) -> Source:
    """Return what was read: `files` are hashed; `values` are what they hold, tensors or arrays."""
    paths = tuple(files)
    hashes = [_sha256(path) for path in paths]
    lines = "".join(f"{one}  {path.name}\n" for one, path in zip(hashes, paths, strict=True))
    shaped = [value.shape for value in values.values() if hasattr(value, "shape")]
    return Source(
        files=paths,
        sha256=hashes[0] if len(hashes) == 1 else hashlib.sha256(lines.encode()).hexdigest(),
        bytes=sum(path.stat().st_size for path in paths),
        tensors=len(shaped),
        parameters=sum(parameters(shape) for shape in shaped),
    )


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises ClueBenchError if it is missing or something else."""
    if not path.is_file():
        raise ClueBenchError(f"{path}: no such file", "give the configuration that the model was trained with")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ClueBenchError(f"{path}: not JSON: {error}", "copy the file again") from error
    if not isinstance(values, dict):
        raise ClueBenchError(f"{path}: expected a JSON object", "copy the file again")
    return values


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
