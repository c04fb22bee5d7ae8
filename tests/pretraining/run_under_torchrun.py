"""What each process of a test of several processes does: runs whose losses are compared, then one that one of them is
asked to stop, and one that is killed.

    torchrun … run_under_torchrun.py CASES.json RESULTS.json STOPPED.json KILLED.json STEP

A case is a dictionary: recipe (path), overrides, corpus (folder), pairs (folder or null), out (folder); "recorded", if
its steps are replayed, as CUDA graphs are, but by calling what was recorded again; "copies", if it computes with bf16
copies of its weights; "short", the calls of the network in which the second process runs out of memory, where each
takes three rows at once at first.
"""

import itertools
import json
import os
import signal
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from clue_bench.doors.shards import Corpus
from clue_bench.errors import ClueBenchError, Interrupted
from clue_bench.pretraining import micro_batches, pauses, step, train
from clue_bench.pretraining.recipe import load_recipe
from clue_bench.pretraining.run import run, run_steps
from clue_bench.pretraining.train import Pretraining

LOSSES = step._losses


class Repeats:
    """Records a call by keeping the function."""

    def aside(self) -> Any:
        """Work as always."""
        return nullcontext()

    def record(self, function: Any, given: Any) -> Any:
        """Return what calls the function again."""
        return lambda: function(given)


def prepare(case: dict[str, Any]) -> Pretraining:
    """Return a case's run."""
    train.has_working_weights = lambda precision, device: bool(case.get("copies"))
    choose, micro_batches.choose = micro_batches.choose, lambda rows, length, **more: 3
    pretraining = _prepared(case)
    micro_batches.choose = choose
    step._losses = running_out(case.get("short", []), pretraining.processes.rank)
    if case.get("recorded"):
        pretraining.updates.record_with(Repeats())
    return pretraining


def running_out(calls: list[int], rank: int) -> Any:
    """Return the losses, which run out of memory in some calls of the second process: in the middle of a gradient."""
    count = itertools.count()

    def losses(*given: Any) -> Any:
        if torch.is_grad_enabled() and next(count) in calls and rank == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return LOSSES(*given)

    return losses


def _prepared(case: dict[str, Any]) -> Pretraining:
    pairs = Corpus.open(Path(case["pairs"])) if case.get("pairs") else None
    recipe = load_recipe(case["recipe"], case["overrides"])
    return Pretraining(recipe, Corpus.open(Path(case["corpus"])), Path(case["out"]), pairs=pairs)


def losses(pretraining: Pretraining) -> dict[str, Any]:
    """Return every report's numbers, or the error that ends the run."""
    try:
        reports = list(pretraining.reports())
    except ClueBenchError as error:
        return {"error": error.message, "hint": error.hint}
    names = (
        "micro_batch",
        "mask_rate",
        "loss",
        "lm_accuracy",
        "sop_loss",
        "pair_loss",
        "held_out_loss",
        "gradient_norm",
        "useful_share",
    )
    return {name: [getattr(report, name) for report in reports] for name in names}


def stopped(pretraining: Pretraining, *, step: int) -> str:
    """Return what is said when the second process is asked to stop after `step`."""
    pauses.SECONDS_BETWEEN_QUESTIONS = 0.0  # ask each other after every step
    pretraining.leave = lambda: None  # type: ignore[method-assign]  # the next run needs the others, too
    try:
        for _ in run_steps(pretraining, asked={}):
            if pretraining.step == step and not pretraining.processes.is_first:
                os.kill(os.getpid(), signal.SIGTERM)
    except Interrupted as interruption:
        return interruption.message
    return "completed"


def main() -> None:
    """Do what the arguments say."""
    cases, results, to_stop, killed, at = sys.argv[1:]
    torch.set_num_threads(1)
    found = {}
    for name, case in json.loads(Path(cases).read_text(encoding="utf-8")).items():
        pretraining = prepare(case)
        found[name] = losses(pretraining)
    is_first = pretraining.processes.is_first
    found["stopped"] = {"message": stopped(prepare(json.loads(Path(to_stop).read_text())), step=int(at) - 2)}
    if is_first:
        Path(results).write_text(json.dumps(found), encoding="utf-8")
    for report in run(prepare(json.loads(Path(killed).read_text(encoding="utf-8"))), asked={}):
        if report.step == int(at):
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
