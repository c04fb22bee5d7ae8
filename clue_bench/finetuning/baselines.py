"""The no-pretraining baselines of a task: simple models, run and recorded like a fine-tuned one. No torch.

Input: a task and its rows. Output: predictions of dev and every test split, and a run record (door 3) whose model says
`is_floor`, so that a leaderboard can mark what does not beat it. A baseline takes seconds; a completed one is not
repeated.

majority  the most frequent class of train; probabilities are the classes' shares in train, one added to every count
tfidf     TF-IDF of character 1- to 3-grams and a linear support vector machine per class, by scikit-learn

For pairs, a bag of the n-grams of both texts says little: what matters is what they share. The linear model gets three
blocks, the n-grams in both (the smaller of the two weights), the rest of the first and the rest of the second, and six
numbers: cosine, shared weight over all and over either side's, and the log ratio of lengths with its absolute value.

For questions with choices, the linear model scores each choice by its overlap with the passage, with the question and
with both, six numbers each, and learns from the differences between the right choice and the others.

For spans of a passage, nothing is trained: the answer is the sentence with the largest cosine to the question; and the
majority class is the answer that is the most frequent one in train, whatever the passage says.

For blanks, the majority class is the candidate that train has most often; and the linear model is the one whose mean
surroundings in train have the largest cosine to the blank's.

For entities of texts, two others stand in their place: `nothing` finds none, and `dictionary` has train's entities, the
longest at each place, each with the type that it most often has.

C and the temperature that turns margins into probabilities are chosen on dev, like a fine-tuned model's checkpoint and
settings: without that advantage, a baseline would be easier to beat than it looks. It has no other advantage.
"""

import hashlib
import json
import time
from pathlib import Path
from typing import Any

from clue_bench import versions
from clue_bench.doors import records
from clue_bench.doors.predictions import are_as_written
from clue_bench.doors.records import MAJORITY_CLASS, BaselineRecord, ModelFacts, write_record
from clue_bench.doors.results import BaselineResults
from clue_bench.errors import ClueBenchError, nearest
from clue_bench.finetuning.entity_baselines import find_nothing, look_up_entities
from clue_bench.finetuning.linear_baselines import (
    CHOICES_OF_C,
    MIN_DF,
    NGRAMS,
    TOLERANCE,
    Fitted,
    featurize,
    featurize_choices,
    fit_majority,
    fit_tfidf,
)
from clue_bench.finetuning.question_baselines import find_sentences, find_usual, fit_idioms
from clue_bench.finetuning.score import SavedPredictions, hits_majority, save_predictions
from clue_bench.tasks.rows import Rows, describe_rows
from clue_bench.tasks.task import Task
from clue_bench.training import hardware

SPECIFICATIONS: dict[str, dict[str, Any]] = {
    "majority": {"floor": "majority", "added_to_counts": 1},
    "tfidf": {
        "floor": "tfidf",
        "ngrams": list(NGRAMS),
        "min_df": MIN_DF,
        "sublinear_tf": True,
        "pairs": "n-grams in both, in the first only, in the second only; cosine, three overlaps, two length ratios",
        "classifier": "LinearSVC",
        "tolerance": TOLERANCE,
        "C": list(CHOICES_OF_C),
        "chosen_on": "dev",
    },
    "nothing": {"floor": "nothing"},
    "dictionary": {"floor": "dictionary", "at_each_place": "longest", "type": "most frequent"},
}
"""What determines a baseline's numbers besides data and seed; change it with the code, so that runs get new names."""

FLOORS = ("majority", "tfidf")
OF_ENTITIES = {"majority": "nothing", "tfidf": "dictionary"}
"""What stands in their place where entities are to be found."""


def floor_run_id(task: Task, rows: dict[str, Rows], *, kind: str, seed: int) -> str:
    """Return task, kind, a hash of specification, card and data, and the seed. Raises ClueBenchError: unknown kind."""
    identity = {
        "task": task.model_dump(mode="json"),
        "specification": SPECIFICATIONS[_name(task, kind)],
        "data": {split: part.facts.md5 for split, part in rows.items()},
    }
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]
    return f"finetune-{task.name}-floor-{_name(task, kind)}-{digest}-s{seed}"


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
    """Train the baseline `kind`, predict and write everything to `out`, unless that was done before; return its record.

    `data` is the folder that `rows` were read from; `seed` sets liblinear's order and does not affect the majority
    class. Raises ClueBenchError (recorded as failed).
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
        predicted = save_predictions(out, task, rows, fitted.answers.items())
        results, hits = _results(task, rows, fitted, train_seconds, predicted)
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
            "flags": [MAJORITY_CLASS] if hits else [],
        }
    )
    write_record(out, completed)
    return completed


def _name(task: Task, kind: str) -> str:
    if kind not in FLOORS:
        raise ClueBenchError(f"no floor '{kind}': {nearest(kind, FLOORS)}", f"give one of {', '.join(FLOORS)}")
    return OF_ENTITIES[kind] if task.kind == "tags" else kind


def _record(
    task: Task, rows: dict[str, Rows], *, data: Path, kind: str, seed: int, asked: dict[str, Any]
) -> BaselineRecord:
    """Return the record of a run that has begun.

    The model's hash is that of its specification: a baseline is one model, a row of the board, whatever the task.
    """
    specification = SPECIFICATIONS[_name(task, kind)]
    return BaselineRecord(
        run_id=floor_run_id(task, rows, kind=kind, seed=seed),
        status="interrupted",
        started_at=versions.now(),
        asked=asked,
        effective=specification,
        seed=seed,
        task=task.facts,
        data=describe_rows(task, data, rows),
        model=ModelFacts(
            name=f"floor-{_name(task, kind)}",
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
    if task.kind == "cloze":
        return fit_idioms(rows, kind=kind, assignment=task.assignment, num_candidates=len(task.labels))
    if task.kind == "span":
        return find_usual(rows) if kind == "majority" else find_sentences(rows)
    if task.kind == "tags":
        return find_nothing(rows) if kind == "majority" else look_up_entities(rows)
    if kind == "majority":
        return fit_majority(rows, num_classes=len(task.labels))
    featurized = featurize_choices(rows, num_choices=len(task.labels)) if task.has_choices else featurize(rows)
    return fit_tfidf(rows, featurized, num_classes=len(task.labels), metric=task.metric, seed=seed)


def _results(
    task: Task, rows: dict[str, Rows], fitted: Fitted, train_seconds: float, predicted: SavedPredictions
) -> tuple[BaselineResults, bool]:
    """Return the record's results, and whether dev is no better than the majority class."""
    dev = fitted.answers["dev"].scores(rows["dev"], task)
    results = BaselineResults(
        dev=dev,
        best_step=0,  # no steps: scored once, when trained
        best_epoch=0,
        total_steps=0,
        evaluations=[],
        **fitted.choices,
        weights_sha256=fitted.weights_sha256,
        peak_memory_mib=hardware.peak_memory_mib(),
        train_seconds=train_seconds,
        **predicted.facts,
    )
    return results, hits_majority(task, dev)
