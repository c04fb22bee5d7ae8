"""Training state: everything that a continued run needs to go on as if it had never stopped.

Enters: model, optimizer and the number of finished steps. Leaves: one file, replaced atomically, that is loaded without
executing anything in it. The order of samples and every random draw are functions of the step, so the step is all
there is to save of them.
"""

import pickle
from pathlib import Path
from typing import Any

import torch
from torch import nn

from clue_bench import atomic
from clue_bench.errors import ClueBenchError

FILE = "state.pt"


def save_state(
    path: Path,
    *,
    step: int,
    seconds: float,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    identity: dict[str, Any],
) -> None:
    """Write the state after `step` steps and `seconds` of training. `identity` says which run this is."""
    state = {
        "step": step,
        "seconds": seconds,
        "identity": identity,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
    }
    with atomic.replacing(path) as temporary:
        torch.save(state, temporary)


def load_state(
    path: Path, *, model: nn.Module, optimizer: torch.optim.Optimizer, identity: dict[str, Any], device: torch.device
) -> tuple[int, float]:
    """Load the state into `model` and `optimizer`; return finished steps and seconds.

    Raises ClueBenchError if it belongs to a run with another recipe or corpus.
    """
    try:
        state = torch.load(path, map_location=device, weights_only=True)
        found_identity = state["identity"]
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError, KeyError, TypeError) as error:
        reason = str(error).partition("\n")[0]
        raise ClueBenchError(f"{path}: damaged: {reason}", "delete the file to start over") from error
    for key, asked in identity.items():
        found = found_identity.get(key)
        if found != asked:
            raise ClueBenchError(
                f"{path.parent} holds a run with {key} = {found!r}; asked for {asked!r}",
                "give another --out, or the settings of that run to continue it",
            )
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return state["step"], state["seconds"]
