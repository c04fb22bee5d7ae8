"""A fine-tuning run and its files: checkpoint and task data in, run record out.

1. Read checkpoint and data, decide the settings, name the run after all of them.
2. Train, keeping the best weights on dev; write a record that says "interrupted" until the end.
3. Predict dev and test with the best weights; write predictions/, checkpoint/ (door 2) and the record (door 3).

A run is short and repeats itself exactly, so an interrupted one starts over; a completed one is not repeated.
"""

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from clue_bench import hardware, provenance, records
from clue_bench.checkpoint import FOLDER, Checkpoint, weights_sha256, write_checkpoint
from clue_bench.errors import ClueBenchError
from clue_bench.finetune.encode import encode
from clue_bench.finetune.heads import CLASSES, classifier_from
from clue_bench.finetune.predict import predict_logits, predictions_of
from clue_bench.finetune.settings import Settings
from clue_bench.finetune.train import ADAM, Evaluation, Finetuning, Report
from clue_bench.models.config import ModelConfig, count_parameters
from clue_bench.models.dropout import DropoutPool
from clue_bench.order import derive
from clue_bench.predictions import predictions_path, write_predictions
from clue_bench.records import (
    MAJORITY_CLASS,
    DataFacts,
    ModelFacts,
    RunRecord,
    claim_folder,
    write_record,
)
from clue_bench.task_data.read import Rows
from clue_bench.task_data.revision import describe
from clue_bench.task_data.task import Task


@dataclass(frozen=True)
class Plan:
    """Everything that decides a run's result."""

    task: Task
    checkpoint: Checkpoint
    settings: Settings
    seed: int
    rows: dict[str, Rows]
    data: Path

    @property
    def run_id(self) -> str:
        """Task, model, a hash of settings, weights and data, and the seed."""
        identity = {
            "task": self.task.model_dump(mode="json"),
            "settings": self.settings.model_dump(),
            "architecture": vars(self.checkpoint.config),
            "vocabulary": self.checkpoint.vocabulary.sha256,
            "weights": self.checkpoint.sha256,
            "data": {split: rows.facts.md5 for split, rows in self.rows.items()},
        }
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]
        return f"finetune-{self.task.name}-{self.checkpoint.name}-{digest}-s{self.seed}"

    @property
    def data_facts(self) -> DataFacts:
        """Which data set and revision the rows are."""
        return describe(self.task, self.data, {split: rows.facts for split, rows in self.rows.items()})

    @property
    def config(self) -> ModelConfig:
        """The checkpoint's architecture with the settings' dropout."""
        return replace(self.checkpoint.config, dropout=self.settings.dropout)


def completed_record(plan: Plan, out: Path) -> RunRecord | None:
    """Return the record of this very run if `out` holds it, complete, with its checkpoint and predictions.

    Raises ClueBenchError if the folder holds another run.
    """
    record = records.completed_record(out, plan.run_id)
    if record is None:
        return None
    files_are_there = all((out / file).is_file() for file in record.results["predictions"].values())
    is_whole = files_are_there and weights_sha256(out / FOLDER) == record.results["weights_sha256"]
    return record if is_whole else None


def prepare(plan: Plan) -> Finetuning:
    """Return the run before its first step: data tokenised, weights loaded, head drawn."""
    hardware.keep_freed_memory()
    device = hardware.pick_device()
    precision = hardware.pick_precision(plan.settings.precision, device)
    vocabulary = plan.checkpoint.vocabulary
    torch.manual_seed(derive(plan.seed, "head"))
    model = classifier_from(plan.checkpoint, plan.config, len(plan.task.labels)).to(device)
    length = plan.settings.max_length
    return Finetuning(
        model=model,
        train=encode(plan.rows["train"], vocabulary, max_length=length),
        dev=encode(plan.rows["dev"], vocabulary, max_length=length),
        settings=plan.settings,
        metric=plan.task.metric,
        seed=plan.seed,
        pad=vocabulary.pad,
        dropout=DropoutPool(plan.settings.dropout, seed=derive(plan.seed, "dropout pool"), device=device),
        device=device,
        autocast=torch.bfloat16 if precision == "bf16" else None,
    )


def run(plan: Plan, finetuning: Finetuning, *, out: Path, asked: dict[str, Any]) -> Iterator[Report]:
    """Train, predict and write everything; yield the reports. Raises ClueBenchError (recorded as failed)."""
    claim_folder(out, plan.run_id)
    started = time.perf_counter()
    record = _record(plan, finetuning, asked)
    write_record(out, record)
    try:
        yield from finetuning.reports()
    except ClueBenchError as error:
        seconds = time.perf_counter() - started
        records.write_failed(out, record, error=error.message, finished_at=provenance.now(), wall_seconds=seconds)
        raise
    best = finetuning.best
    assert best is not None
    finetuning.model.load_state_dict(finetuning.best_weights)
    predicted = _predict(plan, finetuning, out)
    weights = write_checkpoint(
        out / FOLDER,
        finetuning.model.state_dict(),
        architecture=CLASSES[plan.config.family],
        config=plan.config,
        vocabulary=plan.checkpoint.vocabulary,
        labels=tuple(plan.task.labels),
        provenance={
            **plan.checkpoint.provenance,
            "task": plan.task.name,
            "settings": plan.settings.model_dump(),
            "seed": plan.seed,
            "started_from_sha256": plan.checkpoint.sha256,
        },
    )
    completed = {
        "status": "completed",
        "finished_at": provenance.now(),
        "wall_seconds": time.perf_counter() - started,
        "results": {**_results(plan, finetuning, best, predicted), "weights_sha256": weights},
        "flags": [MAJORITY_CLASS] if best.scores.hits_majority else [],
    }
    write_record(out, record.model_copy(update=completed))


def _record(plan: Plan, finetuning: Finetuning, asked: dict[str, Any]) -> RunRecord:
    checkpoint = plan.checkpoint
    precision = "fp32" if finetuning.autocast is None else "bf16"
    return RunRecord(
        kind="finetune",
        run_id=plan.run_id,
        status="interrupted",
        started_at=provenance.now(),
        asked=asked,
        effective={**plan.settings.model_dump(), **ADAM, "steps": finetuning.total_steps, "precision": precision},
        seed=plan.seed,
        task=plan.task.facts,
        data=plan.data_facts,
        model=ModelFacts(
            name=checkpoint.name,
            parameters=count_parameters(checkpoint.config),
            sha256=checkpoint.sha256,
            layers=checkpoint.config.layers,
            hidden_size=checkpoint.config.hidden_size,
            pretraining_tokens=checkpoint.provenance.get("tokens_seen"),
        ),
        code=provenance.describe_code(),
        packages=provenance.describe_packages(),
        hardware=hardware.describe_hardware(),
    )


def _predict(plan: Plan, finetuning: Finetuning, out: Path) -> dict[str, str]:
    """Write the predictions of dev and every test split; return split → file name."""
    written = {}
    for split, rows in plan.rows.items():
        if split == "train":
            continue
        encoded = finetuning.dev
        if split != "dev":
            encoded = encode(rows, plan.checkpoint.vocabulary, max_length=plan.settings.max_length)
        logits = predict_logits(
            finetuning.model,
            encoded,
            pad=finetuning.pad,
            device=finetuning.device,
            autocast=finetuning.autocast,
        )
        path = predictions_path(out, split)
        write_predictions(path, predictions_of(plan.task, rows, logits))
        written[split] = str(path.relative_to(out))
    return written


def _results(plan: Plan, finetuning: Finetuning, best: Evaluation, predicted: dict[str, str]) -> dict[str, Any]:
    def scores(evaluation: Evaluation) -> dict[str, Any]:
        values = evaluation.scores
        return {
            "rows": values.rows,
            "correct": values.correct,
            "accuracy": values.accuracy,
            "macro_f1": values.macro_f1,
            "loss": evaluation.dev_loss,
            "top_label": plan.task.labels[values.top_class],
            "top_share": values.top_share,
            "majority_label": plan.task.labels[values.majority_class],
            "majority_share": values.majority_share,
        }

    return {
        "dev": scores(best),
        "best_step": best.step,
        "best_epoch": best.epoch,
        "total_steps": finetuning.total_steps,
        "evaluations": [
            {"step": e.step, "epoch": e.epoch, "train_loss": e.loss, **scores(e)} for e in finetuning.evaluations
        ],
        "train_seconds": finetuning.train_seconds,
        "train_rows_per_second": finetuning.trained_rows / finetuning.train_seconds,
        "truncated_train_rows": finetuning.train.truncated_rows,
        "predictions": predicted,
        "peak_memory_mib": hardware.peak_memory_mib(),
    }
