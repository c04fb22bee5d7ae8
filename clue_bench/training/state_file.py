"""The file of a run's state: written whole or not at all, and read without executing anything in it.

The state before it stays beside it, so that a disk that loses one file does not lose a training of days.
"""

import logging
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from clue_bench import files
from clue_bench.errors import ClueBenchError

FILE = "state.pt"

log = logging.getLogger(__name__)


def previous(path: Path) -> Path:
    """Return where the state lies that was written before the one at `path`."""
    return path.with_stem(f"{path.stem}-previous")


def write_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write `state`, plain values and tensors, and keep the one before. Raises ClueBenchError on a full disk."""
    with files.writing(path), files.replacing(path) as temporary:
        torch.save(dict(state), temporary)
        if path.is_file():
            path.replace(previous(path))


def read_state(path: Path, *, device: torch.device) -> dict[str, Any] | None:
    """Return what was written to `path`, on `device`; None if nothing was.

    Where that is damaged, a warning says so, and the state before it is returned. Raises ClueBenchError if a bit of
    both is not what was written.
    """
    found = [each for each in (path, previous(path)) if each.is_file()]
    for each in found:
        try:
            return _read(each, device=device)
        except ClueBenchError as error:
            if each == found[-1]:
                raise
            log.warning("%s: going on from the state before it", error.message)
    return None


def remove_state(path: Path) -> None:
    """Remove a state that is not needed any more."""
    for each in (path, previous(path)):
        each.unlink(missing_ok=True)


def _read(path: Path, *, device: torch.device) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(path) as parts:  # torch writes checksums, and does not look at them
            if damaged := parts.testzip():
                raise ValueError(f"the checksum of {damaged} is another")
        state = torch.load(path, map_location=device, weights_only=True)
        if not isinstance(state, dict):
            raise ValueError("no state of a run")
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise ClueBenchError(f"{path}: damaged: {reason}", "delete the file to start over") from error
    return state
