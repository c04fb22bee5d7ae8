"""A fine-tuning run and its files: checkpoint and task data in, run record out.

1. Open checkpoint and data, decide the settings, name the run after all of them.
2. Train, keeping the best weights on dev; write a record that says "interrupted" until the end. The state is saved by
   time, and when SIGINT or SIGTERM asks the run to stop; an interrupted run continues from it.
3. Predict dev and test with the best weights; write predictions/, checkpoint/ (door 2) and the record (door 3).

A completed run is not repeated, and keeps no state.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from clue_bench import files, versions
from clue_bench.doors import records
from clue_bench.doors.checkpoint import weights_sha256
from clue_bench.doors.predictions import are_as_written
from clue_bench.doors.records import (
    CHECKPOINT,
    LOCK,
    MAJORITY_CLASS,
    DataFacts,
    FinetuneRecord,
    ModelFacts,
    claim_folder,
    folder_in_use,
    write_record,
)
from clue_bench.doors.results import DevScores, EvaluationScores, FinetuneResults, ReadTexts
from clue_bench.errors import AGAIN, ClueBenchError, Interrupted
from clue_bench.finetuning.base_models.heads import Classifier
from clue_bench.finetuning.base_models.pretrained import Pretrained, provenance_after
from clue_bench.finetuning.encode import Encoded, Encodings
from clue_bench.finetuning.judge import answered
from clue_bench.finetuning.score import Answered, SavedPredictions, dev_scores, hits_majority, save_predictions
from clue_bench.finetuning.settings import Settings
from clue_bench.finetuning.state import load_state, save_state
from clue_bench.finetuning.train import ADAM, Evaluation, Finetuning, FinetuningReport, planned_steps
from clue_bench.tasks.rows import Rows, describe_rows
from clue_bench.tasks.task import Kind, Task
from clue_bench.training import hardware
from clue_bench.training.counter_rng import derive
from clue_bench.training.dropout import DropoutPool, kernels_draw
from clue_bench.training.optim import kept_state
from clue_bench.training.state_file import FILE as STATE
from clue_bench.training.state_file import remove_state
from clue_bench.training.stopping import StopRequest, stop_requests

SECONDS_BETWEEN_SAVES = 60.0
SECONDS_BETWEEN_LOOKS = 1.0  # at a folder that another process has locked
SAVED_SHARE = 20.0  # at most a twentieth of the time is spent on states


@contextmanager
def held_folder(out: Path, *, waits: bool = False) -> Iterator[None]:
    """Lock a run's folder while the block runs.

    Where another process has locked it, waits for that, or raises FolderInUseError.
    """
    with ExitStack() as stack:
        is_locked = False
        while not is_locked:
            try:
                stack.enter_context(files.held(out / LOCK))
                is_locked = True
            except ClueBenchError as error:
                if not waits:
                    raise folder_in_use(out) from error
                time.sleep(SECONDS_BETWEEN_LOOKS)
        yield


@dataclass(frozen=True)
class Plan:
    """Everything that determines a run's result."""

    task: Task
    start: Pretrained
    settings: Settings
    seed: int
    rows: dict[str, Rows]
    data: Path
    cuda_graphs: bool = False  # record updates, one for each shape; pads rows further, which changes dropout's masks

    @property
    def run_id(self) -> str:
        """Return task, model, a hash of settings, weights and data, and the seed."""
        identity = {
            "task": self.task.model_dump(mode="json"),
            "settings": records.told_apart(self.settings.model_dump()),
            **self.start.identity,
            "data": {split: rows.facts.md5 for split, rows in self.rows.items()},
            **self.recording,
        }
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]
        names = (files.name_part(name) for name in (self.task.name, self.start.name))
        return f"finetune-{'-'.join(names)}-{digest}-s{self.seed}"

    @property
    def recording(self) -> dict[str, bool]:
        """Return the CUDA graph setting for run ids and records; nothing if off, so that older ids stay the same."""
        return {"cuda_graphs": True} if self.cuda_graphs else {}

    @property
    def data_facts(self) -> DataFacts:
        """Return which data set and revision the rows are."""
        return describe_rows(self.task, self.data, self.rows)

    @property
    def total_steps(self) -> int:
        """Return the number of updates in the whole run."""
        return planned_steps(self.settings, train_rows=len(self.rows["train"]))


def completed_record(plan: Plan, out: Path, *, needs_weights: bool = True) -> FinetuneRecord | None:
    """Return the record of this very run if `out` holds it, complete, with its checkpoint and predictions.

    Where the weights are not needed, they may have been dropped on purpose (`drop_weights`).
    Raises ClueBenchError if the folder holds another run.
    """
    record = records.completed_record(out, plan.run_id, FinetuneRecord)
    if record is None:
        return None
    results = record.completed_results
    has_predictions = are_as_written(out, results)
    if results.weights_dropped and not needs_weights:
        return record if has_predictions else None
    return record if has_predictions and weights_sha256(out / CHECKPOINT) == results.weights_sha256 else None


def drop_weights(out: Path, record: FinetuneRecord) -> FinetuneRecord:
    """Delete the checkpoint of a completed run, after noting that in its record; return the record."""
    if not record.completed_results.weights_dropped:
        results = record.completed_results.model_copy(update={"weights_dropped": True})
        record = record.model_copy(update={"results": results})
        write_record(out, record)
    if (out / CHECKPOINT).is_dir():
        shutil.rmtree(out / CHECKPOINT)
    return record


def prepare(plan: Plan, encodings: Encodings | None = None) -> Finetuning:
    """Return the run before its first step: data tokenised (or found in `encodings`), weights loaded, head drawn.

    Raises ClueBenchError if updates are to be recorded but cannot be.
    """
    encodings = encodings or Encodings()
    hardware.keep_freed_memory()
    device = hardware.pick_device()
    precision = hardware.pick_precision(plan.settings.precision, device)
    tokeniser, length = plan.start.tokeniser, plan.settings.max_length
    torch.manual_seed(derive(plan.seed, "head"))
    model = plan.start.classifier(plan.task.outputs, dropout=plan.settings.dropout, kind=plan.task.kind).to(device)
    if plan.cuda_graphs:
        check_recordable(model, plan.settings, device, kind=plan.task.kind)
    return Finetuning(
        model=model,
        train=encodings.encode(plan.rows["train"], tokeniser, max_length=length, task=plan.task),
        dev=encodings.encode(plan.rows["dev"], tokeniser, max_length=length, task=plan.task),
        settings=plan.settings,
        metric=plan.task.metric,
        seed=plan.seed,
        pad=tokeniser.layout.pad,
        dropout=DropoutPool(plan.settings.dropout, seed=derive(plan.seed, "dropout pool"), device=device),
        device=device,
        autocast=hardware.autocast_type(precision),
        cuda_graphs=plan.cuda_graphs,
    )


def check_recordable(
    model: Classifier, settings: Settings, device: torch.device, *, kind: Kind = "classification"
) -> None:
    """Raise ClueBenchError if an update needs the host, its shapes hardly ever come again, or there is no GPU."""
    expected = {
        "no CUDA device": device.type == "cuda",
        "this model is one of transformers', which draws its own dropout": not model.draws_own_dropout,
        "batches of questions have too many shapes": kind == "classification",
        "fgm_epsilon asks the host for a norm in every update": not settings.fgm_epsilon,
    }
    for found, is_fine in expected.items():
        if not is_fine:
            raise ClueBenchError(f"--cuda-graphs: {found}", "leave out --cuda-graphs")


def resume(plan: Plan, finetuning: Finetuning, *, out: Path) -> None:
    """Bring a prepared run to the state that an interrupted one has left in `out`, if there is one."""
    load_state(out / STATE, finetuning, run_id=plan.run_id)


def run(
    plan: Plan,
    finetuning: Finetuning,
    *,
    out: Path,
    asked: dict[str, Any],
    encodings: Encodings | None = None,
    seconds_between_saves: float = SECONDS_BETWEEN_SAVES,
) -> Iterator[FinetuningReport]:
    """Train, predict and write everything; yield the reports. Test sets are tokenised, or found in `encodings`.

    Raises ClueBenchError if the run diverges; like any other exception, it is recorded as failed. Raises Interrupted
    after saving if SIGINT or SIGTERM asks for it. Callers that may not be alone lock the folder (`held_folder`).
    """
    claim_folder(out, plan.run_id)
    if not finetuning.last_step:
        resume(plan, finetuning, out=out)
    started = time.perf_counter() - finetuning.train_seconds - finetuning.evaluation_seconds
    record = _record(plan, asked, steps=finetuning.total_steps)
    try:
        with stop_requests() as request:
            write_record(out, record)
            yield from _trained(plan, finetuning, out / STATE, request, seconds_between_saves)
        completed = yield from _finish(plan, finetuning, out, encodings or Encodings())
    except Exception as error:
        seconds = time.perf_counter() - started
        records.write_failed(out, record, error=one_line(error), finished_at=versions.now(), wall_seconds=seconds)
        raise
    seconds = time.perf_counter() - started
    ended = {"status": "completed", "finished_at": versions.now(), "wall_seconds": seconds}
    write_record(out, record.model_copy(update={**ended, **completed}))
    remove_state(out / STATE)


def _trained(
    plan: Plan, finetuning: Finetuning, state: Path, request: StopRequest, seconds_between_saves: float
) -> Iterator[FinetuningReport]:
    """Train; after every update save if that is due, and stop if asked.

    A state is four times as large as the model, so one is due only after twenty times as long as writing it took.
    """
    saved, took = time.monotonic(), 0.0
    if finetuning.last_step:
        finetuning.kept = kept_state(state, finetuning.last_step)
    for report in finetuning.reports():
        if report.of_split:  # in the middle of an evaluation, of which a state knows nothing
            yield report
            continue
        ends = finetuning.stopped_early or report.step == finetuning.total_steps
        stops = request.is_made and not ends
        now = time.monotonic()
        if stops or (not ends and now - saved >= max(seconds_between_saves, SAVED_SHARE * took)):
            save_state(state, finetuning, run_id=plan.run_id)
            finetuning.kept = kept_state(state, report.step)
            saved = time.monotonic()
            took = saved - now
        yield report
        if stops:
            step = f"step {report.step:,} of {finetuning.total_steps:,}"
            raise Interrupted(f"finetune {plan.task.name}: stopped and saved at {step}", AGAIN)


def _finish(
    plan: Plan, finetuning: Finetuning, out: Path, encodings: Encodings
) -> Generator[FinetuningReport, None, dict[str, Any]]:
    """Write predictions and checkpoint of the best weights, with reports; return results and flags of the record."""
    best = finetuning.best
    assert best is not None
    finetuning.model.load_state_dict(finetuning.best_weights)
    answers = yield from _answers(plan, finetuning, encodings)
    predicted = save_predictions(out, plan.task, plan.rows, answers)
    read = {split: _encoded(plan, finetuning, encodings, split).read for split in plan.rows}
    weights = plan.start.write(
        out / CHECKPOINT,
        finetuning.model,
        labels=plan.task.outputs,
        kind=plan.task.kind,
        provenance=provenance_after(
            plan.start,
            task=plan.task.name,
            settings=plan.settings.model_dump(),
            seed=plan.seed,
            card=plan.task.to_carry,
        ),
    )
    return {
        "results": _results(plan, finetuning, best, predicted, weights, read=read),
        "flags": [MAJORITY_CLASS] if hits_majority(plan.task, best.scores) else [],
    }


def one_line(error: Exception) -> str:
    """Return a record's line about `error`, with the exception's name unless it is a ClueBenchError."""
    text = error.message if isinstance(error, ClueBenchError) else f"{type(error).__name__}: {error}"
    return " ".join(text.split())


def write_failure(plan: Plan, out: Path, *, asked: dict[str, Any], error: str) -> None:
    """Leave a record that says "failed", for a run that ended before its first step.

    Nothing of a finished earlier attempt is kept; of an interrupted one, `asked` and the start are.
    Raises ClueBenchError if the folder holds another run.
    """
    claim_folder(out, plan.run_id)
    path = records.record_path(out, plan.run_id)
    record = records.read_record_of(path, FinetuneRecord) if path.is_file() else None
    if record is None or record.status != "interrupted":
        record = _record(plan, asked)
    records.write_failed(out, record, error=error, finished_at=versions.now(), wall_seconds=record.wall_seconds)


def failed_record(plan: Plan, *, asked: dict[str, Any], error: str) -> FinetuneRecord:
    """Return the record of a failed run without writing it: the folder itself may be the cause."""
    ended = {"status": "failed", "error": error, "finished_at": versions.now()}
    return _record(plan, asked).model_copy(update=ended)


def _record(plan: Plan, asked: dict[str, Any], *, steps: int | None = None) -> FinetuneRecord:
    """Return the record of a run that has begun; `steps` are those of the whole run, where windows were counted."""
    start = plan.start
    device = hardware.pick_device()
    precision = hardware.pick_precision(plan.settings.precision, device)
    return FinetuneRecord(
        run_id=plan.run_id,
        status="interrupted",
        started_at=versions.now(),
        asked=asked,
        effective={**plan.settings.model_dump(), **ADAM, "steps": steps or plan.total_steps, "precision": precision}
        | plan.recording
        | ({"attention_dropout": "by its kernel"} if plan.settings.dropout and kernels_draw(device) else {}),
        seed=plan.seed,
        task=plan.task.facts,
        data=plan.data_facts,
        model=ModelFacts(
            name=start.name,
            parameters=start.num_parameters,
            sha256=start.sha256,
            layers=start.sizes.layers,
            hidden_size=start.sizes.hidden_size,
            pretraining_tokens=start.provenance.get("tokens_seen"),
            origin=start.origin,
        ),
        code=versions.describe_code(),
        packages=versions.describe_packages(),
        hardware=hardware.describe_hardware(),
    )


def _answers(
    plan: Plan, finetuning: Finetuning, encodings: Encodings
) -> Generator[FinetuningReport, None, list[tuple[str, Answered]]]:
    """Return the model's answers for dev and every test split, by name; yield reports of what takes a while."""
    assert finetuning.best_logits is not None
    found = []
    for split in plan.rows:
        if split == "train":
            continue
        logits, encoded = finetuning.best_logits, _encoded(plan, finetuning, encodings, split)
        if split != "dev":  # of dev: those of the best evaluation
            last = finetuning.evaluations[-1]
            report = FinetuningReport(finetuning.last_step, last.loss, of_split=len(encoded), split=split)
            logits = yield from finetuning.predicted(finetuning.model, encoded, report)
        found.append((split, answered(encoded, logits)))
    return found


def _encoded(plan: Plan, finetuning: Finetuning, encodings: Encodings, split: str) -> Encoded:
    """Return a split as token ids; test sets are tokenised where they are not found."""
    if split in ("train", "dev"):
        return finetuning.train if split == "train" else finetuning.dev
    length, tokeniser = plan.settings.max_length, plan.start.tokeniser
    return encodings.encode(plan.rows[split], tokeniser, max_length=length, task=plan.task)


def _results(
    plan: Plan,
    finetuning: Finetuning,
    best: Evaluation,
    predicted: SavedPredictions,
    weights_sha256: str,
    *,
    read: dict[str, ReadTexts],
) -> FinetuneResults:
    def scores(evaluation: Evaluation) -> DevScores:
        return dev_scores(plan.task, evaluation.scores, loss=evaluation.dev_loss)

    more: dict[str, Any] = {}
    if (gpu_memory := hardware.peak_gpu_memory_mib()) is not None:
        more["peak_gpu_memory_mib"] = gpu_memory
    if finetuning.loss_scale is not None:
        more["loss_scale"] = float(finetuning.loss_scale.factor)
    if finetuning.loss_scale is not None or finetuning.skipped:
        more["skipped"] = finetuning.skipped
    return FinetuneResults(
        dev=scores(best),
        best_step=best.step,
        best_epoch=best.epoch,
        total_steps=finetuning.total_steps,
        last_step=finetuning.last_step,
        stopped_early=finetuning.stopped_early,
        evaluation_rows_per_second=finetuning.evaluation_rows_per_second,
        evaluations=[
            EvaluationScores(step=e.step, epoch=e.epoch, train_loss=e.loss, right=e.right, **scores(e).model_dump())
            for e in finetuning.evaluations
        ],
        train_seconds=finetuning.train_seconds,
        train_rows_per_second=finetuning.trained_rows / finetuning.train_seconds,
        truncated_train_rows=finetuning.train.truncated_rows,
        read_texts=read,
        **predicted.facts,
        weights_sha256=weights_sha256,
        peak_memory_mib=hardware.peak_memory_mib(),
        **more,
    )
