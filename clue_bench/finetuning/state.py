"""The state of a fine-tuning run: everything needed to continue as if it had never stopped.

Input: a run between two updates. Output: one file, replaced atomically, that is loaded without executing anything in
it; or the run as it was when the file was written. Batches and draws are functions of the step, so the step is all that
has to be saved of them. The file is deleted when the run is complete.
"""

import logging
from pathlib import Path
from typing import Any

import torch

from clue_bench.doors.results import RowBits
from clue_bench.errors import ClueBenchError
from clue_bench.finetuning.score import Scores
from clue_bench.finetuning.train import Evaluation, Finetuning
from clue_bench.training.state_file import read_state, write_state

log = logging.getLogger(__name__)


def save_state(path: Path, finetuning: Finetuning, *, run_id: str) -> None:
    """Write the state of the run, replacing an earlier one. Raises ClueBenchError, e.g. where the disk is full."""
    best, logits = finetuning.best, finetuning.best_logits
    state = {
        "run_id": run_id,
        "autocast": str(finetuning.autocast),
        "counters": finetuning.counters,
        "model": finetuning.model.state_dict(),
        "optimizer": finetuning.optimizer.state_dict(),
        "loss_scale": finetuning.loss_scale and finetuning.loss_scale.state(),
        "average": finetuning.average and finetuning.average.state,
        "evaluations": [_plain(evaluation) for evaluation in finetuning.evaluations],
        "best": best and finetuning.evaluations.index(best),
        "best_weights": finetuning.best_weights,
        "best_logits": None if logits is None else torch.from_numpy(logits),
    }
    write_state(path, state)


def load_state(path: Path, finetuning: Finetuning, *, run_id: str) -> None:
    """Bring a run that has not begun to the state at `path`, if there is one.

    A state that is damaged or of another run or precision is left aside with a warning: the run starts over.
    """
    try:
        state = read_state(path, device=finetuning.device)
    except ClueBenchError as error:
        log.warning("%s: starting over", error.message)
        return
    if state is None:
        return
    if (state.get("run_id"), state.get("autocast")) != (run_id, str(finetuning.autocast)):
        log.warning("%s: of another run or precision: starting over", path)
        return
    _restore(finetuning, state)


def _restore(finetuning: Finetuning, state: dict[str, Any]) -> None:
    finetuning.model.load_state_dict(state["model"])
    finetuning.load_moments(state["optimizer"])
    if finetuning.loss_scale is not None:
        finetuning.loss_scale.load(state["loss_scale"])
    if state["average"] is not None:
        finetuning.start_average().load(state["average"])
    finetuning.counters = state["counters"]
    finetuning.evaluations = [
        Evaluation(**{**each, "scores": Scores(**each["scores"]), "right": _bits(each.get("right"))})
        for each in state["evaluations"]
    ]
    if state["best"] is not None:
        finetuning.best = finetuning.evaluations[state["best"]]
        finetuning.best_weights = state["best_weights"]
        finetuning.best_logits = state["best_logits"].cpu().numpy()


def _plain(evaluation: Evaluation) -> dict[str, Any]:
    right = None if evaluation.right is None else evaluation.right.model_dump()
    return {**vars(evaluation), "scores": evaluation.scores._asdict(), "right": right}


def _bits(values: dict[str, Any] | None) -> RowBits | None:
    return None if values is None else RowBits(**values)
