"""The file of a run's state: written whole or not at all, and read without executing anything in it."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from clue_bench import files
from clue_bench.errors import ClueBenchError

FILE = "state.pt"


def write_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write `state`, plain values and tensors, replacing an earlier one. Raises ClueBenchError on a full disk."""
    with files.writing(path), files.replacing(path) as temporary:
        torch.save(dict(state), temporary)


def read_state(path: Path, *, device: torch.device) -> dict[str, Any]:
    """Return what was written to `path`, on `device`. Raises ClueBenchError if a bit of it is not what was written."""
    try:
        with zipfile.ZipFile(path) as parts:  # torch writes checksums, and does not look at them
            if damaged := parts.testzip():
                raise ValueError(f"the checksum of {damaged} is another")
        state = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:
        raise ClueBenchError(f"{path}: damaged: {_first_line(error)}", "delete the file to start over") from error
    if not isinstance(state, dict):
        raise ClueBenchError(f"{path}: damaged: no state of a run", "delete the file to start over")
    return state


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
