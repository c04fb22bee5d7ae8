"""Training state: everything that a continued run needs to go on as if it had never stopped.

Input: model, optimizer and the number of finished steps. Output: one file, replaced atomically, that is loaded without
executing anything in it. The order of samples and every random draw are functions of the step, so the step is all
there is to save of them.
"""

import pickle
from pathlib import Path
from typing import Any, NamedTuple

import torch

from clue_bench import files
from clue_bench.errors import ClueBenchError

FILE = "state.pt"


class State(NamedTuple):
    """The state after `step` steps of all stages and `seconds` of training. `identity` says which run this is."""

    step: int
    seconds: float
    skipped: int
    identity: dict[str, Any]
    model: dict[str, Any]
    optimizer: dict[str, Any]


def save_state(path: Path, state: State) -> None:
    """Write `state`, replacing an earlier one."""
    try:
        with files.replacing(path) as temporary:
            torch.save(state._asdict(), temporary)
    except RuntimeError as error:  # of torch's writer, which does not say that the disk is full
        reason = str(error).partition("\n")[0]
        raise ClueBenchError(
            f"{path}: not written: {reason}", "is the disk full? The same command continues"
        ) from error


def load_state(path: Path, *, identity: dict[str, Any], device: torch.device) -> State:
    """Read the state at `path`.

    Raises ClueBenchError if it is damaged, or belongs to a run with another recipe or corpus.
    """
    try:
        state = State(**torch.load(path, map_location=device, weights_only=True))
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError, KeyError, TypeError) as error:
        reason = str(error).partition("\n")[0]
        raise ClueBenchError(f"{path}: damaged: {reason}", "delete the file to start over") from error
    for key, asked in identity.items():
        found = state.identity.get(key)
        if found != asked:
            raise ClueBenchError(
                f"{path.parent} holds a run with {key} = {found!r}; asked for {asked!r}",
                "give another --out, or the settings of that run to continue it",
            )
    return state
