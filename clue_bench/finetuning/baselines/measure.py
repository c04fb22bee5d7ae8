"""The floor of a task: models without any pretraining, run and recorded like a fine-tuned one.

Input: a task and its rows. Output: predictions of dev and every test split, and a run record (door 3) whose model says
`is_floor`, so that the board can mark what does not beat it. A floor takes seconds; a completed one is not repeated.
No torch.
"""

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from clue_bench import versions
from clue_bench.doors import records
from clue_bench.doors.predictions import are_as_written
from clue_bench.doors.records import MAJORITY_CLASS, BaselineRecord, ModelFacts, write_record
from clue_bench.doors.results import BaselineResults
from clue_bench.errors import ClueBenchError, nearest
from clue_bench.finetuning.baselines.models import SPECIFICATIONS, Fitted, fit_majority, fit_tfidf, log_loss
from clue_bench.finetuning.score import SavedPredictions, dev_scores, save_predictions, score
from clue_bench.tasks.files import describe
from clue_bench.tasks.rows import Rows
from clue_bench.tasks.task import Task
from clue_bench.training import hardware

FLOORS = ("majority", "tfidf")


def floor_run_id(task: Task, rows: dict[str, Rows], *, kind: str, seed: int) -> str:
    """Return task, kind, a hash of specification, card and data, and the seed. Raises ClueBenchError: no such kind."""
    identity = {
        "task": task.model_dump(mode="json"),
        "specification": _specification(kind),
        "data": {split: part.facts.md5 for split, part in rows.items()},
    }
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]
    return f"finetune-{task.name}-floor-{kind}-{digest}-s{seed}"


def completed_floor(out: Path, run_id: str) -> BaselineRecord | None:
    """Return the record of this very run if `out` holds it, complete, with its predictions.

    Raises ClueBenchError if the folder holds another run.
    """
    record = records.completed_record(out, run_id, BaselineRecord)
    if record is not None and are_as_written(out, record.completed_results):
        return record
    return None


def run_floor(
    task: Task, rows: dict[str, Rows], *, data: Path, kind: str, seed: int, out: Path, asked: dict[str, Any]
) -> BaselineRecord:
    """Train the floor `kind`, predict, write everything into `out`; return its record, also of an earlier such run.

    `data` is the folder that `rows` were read from; `seed` is that of liblinear's order, the majority class has no use
    for it. Raises ClueBenchError (recorded as failed).
    """
    run_id = floor_run_id(task, rows, kind=kind, seed=seed)
    done = completed_floor(out, run_id)
    if done is not None:
        return done
    started = time.perf_counter()
    record = _record(task, rows, data=data, kind=kind, seed=seed, asked=asked)
    write_record(out, record)
    try:
        fitted = _fit(task, rows, kind=kind, seed=seed)
        train_seconds = time.perf_counter() - started
        found = ((split, shares.argmax(axis=1), np.exp(shares)) for split, shares in fitted.log_shares.items())
        predicted = save_predictions(out, task, rows, found)
        results, hits_majority = _results(task, rows, fitted, train_seconds, predicted)
    except ClueBenchError as error:
        seconds = time.perf_counter() - started
        records.write_failed(out, record, error=error.message, finished_at=versions.now(), wall_seconds=seconds)
        raise
    completed = record.model_copy(
        update={
            "status": "completed",
            "finished_at": versions.now(),
            "wall_seconds": time.perf_counter() - started,
            "model": record.model.model_copy(update={"parameters": fitted.parameters}),
            "results": results,
            "flags": [MAJORITY_CLASS] if hits_majority else [],
        }
    )
    write_record(out, completed)
    return completed


def _specification(kind: str) -> dict[str, Any]:
    if kind not in FLOORS:
        raise ClueBenchError(f"no floor '{kind}': {nearest(kind, FLOORS)}", f"one of {', '.join(FLOORS)}")
    return SPECIFICATIONS[kind]


def _record(
    task: Task, rows: dict[str, Rows], *, data: Path, kind: str, seed: int, asked: dict[str, Any]
) -> BaselineRecord:
    """Return the record of a run that has begun.

    The model's hash is that of its specification: a floor is one model, a row of the board, whatever the task.
    """
    specification = _specification(kind)
    return BaselineRecord(
        run_id=floor_run_id(task, rows, kind=kind, seed=seed),
        status="interrupted",
        started_at=versions.now(),
        asked=asked,
        effective=specification,
        seed=seed,
        task=task.facts,
        data=describe(task, data, {split: part.facts for split, part in rows.items()}),
        model=ModelFacts(
            name=f"floor-{kind}",
            parameters=0,
            sha256=hashlib.sha256(json.dumps(specification, sort_keys=True).encode()).hexdigest(),
            layers=0,
            hidden_size=0,
            is_floor=True,
        ),
        code=versions.describe_code(),
        packages=versions.describe_packages(),
        hardware=hardware.describe_hardware(),
    )


def _fit(task: Task, rows: dict[str, Rows], *, kind: str, seed: int) -> Fitted:
    if kind == "majority":
        return fit_majority(rows, num_classes=len(task.labels))
    return fit_tfidf(rows, num_classes=len(task.labels), metric=task.metric, seed=seed)


def _results(
    task: Task, rows: dict[str, Rows], fitted: Fitted, train_seconds: float, predicted: SavedPredictions
) -> tuple[BaselineResults, bool]:
    """Return the record's results, and whether dev is no better than the majority class."""
    gold, log_shares = rows["dev"].labels, fitted.log_shares["dev"]
    scores = score(gold, log_shares.argmax(axis=1))
    results = BaselineResults(
        dev=dev_scores(task, scores, loss=log_loss(log_shares, gold)),
        best_step=0,  # no steps: scored once, when trained
        best_epoch=0,
        total_steps=0,
        evaluations=[],
        **fitted.choices,
        weights_sha256=fitted.weights_sha256,
        peak_memory_mib=hardware.peak_memory_mib(),
        train_seconds=train_seconds,
        **predicted._asdict(),
    )
    return results, scores.hits_majority
