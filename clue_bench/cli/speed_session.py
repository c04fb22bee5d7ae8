"""One session of `clue-bench speed`: the models take turns, and every one gets a record.

Input: models, a task and its data, how often and how long. Output: records of kind "speed" that share a session.

For each kind of measurement: start a process per model and let each warm up, then repetition 1 of all models,
repetition 2 of all in the opposite order, and so on, so that no model gains from a machine that warms up or cools
down; then end the processes. A measurement that fails is left out of its model's record, which says why.
"""

import secrets
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clue_bench import versions
from clue_bench.cli.speed_worker import Worker
from clue_bench.doors.records import NOISY_SPEED, RunRecord
from clue_bench.doors.speeds import (
    FEW_REPETITIONS,
    MEASUREMENTS,
    FinetuningSpeed,
    Latency,
    Measurement,
    Memory,
    PredictionSpeed,
    SpeedResults,
    TrainingSpeed,
)
from clue_bench.errors import ClueBenchError
from clue_bench.stats.timing import summarise

if TYPE_CHECKING:
    from clue_bench.cli.speed_models import SpeedModel
    from clue_bench.doors.records import DataFacts
    from clue_bench.tasks.task import Task

SEED = 1


@dataclass(frozen=True)
class Session:
    """What was asked of a session. `seconds` is the least that a repetition takes."""

    models: "list[SpeedModel]"
    task: "Task"
    task_reference: str
    data: Path
    data_facts: "DataFacts"
    scratch: Path
    repetitions: int
    seconds: float
    baseline: int
    asked: dict[str, Any]

    @property
    def rounds(self) -> int:
        """How often something is waited for: a warm-up and the repetitions of every measurement of every model."""
        measured = sum(kind not in model.reasons for model in self.models for kind in MEASUREMENTS)
        return measured * (self.repetitions + 1)


@dataclass
class Measured:
    """What one measurement of one model has given so far; `error` ends it."""

    opening: dict[str, Any] = field(default_factory=dict)
    trials: list[dict[str, Any]] = field(default_factory=list)
    memory: dict[str, Any] = field(default_factory=dict)
    error: str = ""


def run(session: Session, *, on_progress: Callable[[str], None]) -> list[RunRecord]:
    """Measure everything; return a record per model. `on_progress` is called before everything that is waited for."""
    started_at, started = versions.now(), time.perf_counter()
    measured = {kind: _measure(session, kind, on_progress) for kind in MEASUREMENTS}
    seconds = time.perf_counter() - started
    name = f"{started_at.translate(str.maketrans('', '', '-:'))}-{secrets.token_hex(2)}"
    ceiling = _ceilings(measured["training"])
    records = []
    for number, model in enumerate(session.models):
        parts = {kind: measured[kind][number] for kind in MEASUREMENTS}
        errors: dict[str, str] = {kind: part.error for kind, part in parts.items() if part.error}
        results = None
        if len(errors) < len(MEASUREMENTS):
            results = SpeedResults(
                session=name,
                position=number,
                is_baseline=number == session.baseline,
                vocab_size=model.vocab_size,
                weights_mib=model.weights_mib,
                vocabulary=model.vocabulary,
                training=None if "training" in errors else _training(parts["training"], model, ceiling),
                finetuning=None if "finetuning" in errors else _finetuning(parts["finetuning"]),
                prediction=None if "prediction" in errors else _prediction(parts["prediction"]),
                not_measured=errors,
            )
        opened = [part.opening for part in parts.values() if part.opening]
        records.append(
            RunRecord(
                kind="speed",
                run_id=f"speed-{name}-{model.facts.name}",
                status="failed" if results is None else "completed",
                error=None if results is not None else "; ".join(errors.values()),
                started_at=started_at,
                finished_at=versions.now(),
                wall_seconds=seconds,
                asked={**session.asked, "session": name},
                effective=_effective(session, model),
                seed=SEED,
                task=session.task.facts,
                data=_data(session, model),
                model=model.facts,
                code=versions.describe_code(),
                packages=versions.describe_packages(),
                hardware=opened[0]["hardware"] if opened else {},
                results={} if results is None else results.model_dump(mode="json"),
                flags=[] if results is None else _flags(results),
            )
        )
    return records


def _flags(results: SpeedResults) -> list[str]:
    return [NOISY_SPEED] * results.is_noisy + [FEW_REPETITIONS] * results.has_few_repetitions


def _measure(session: Session, kind: Measurement, on_progress: Callable[[str], None]) -> list[Measured]:
    found = [Measured(error=model.reasons.get(kind, "")) for model in session.models]

    def attempt(number: int, what: str, act: Callable[[], None]) -> None:
        if found[number].error:
            return
        on_progress(f"{session.models[number].facts.name}: {kind}, {what}")
        try:
            act()
        except ClueBenchError as error:
            found[number].error = error.message

    with ExitStack() as stack:
        workers: dict[int, Worker] = {}

        def warm_up(number: int) -> None:
            job = _job(session, session.models[number], kind)
            workers[number] = stack.enter_context(Worker(job, session.models[number].facts.name))
            found[number].opening = workers[number].answer()

        def repeat(number: int) -> None:
            found[number].trials.append(workers[number].repetition())

        def end(number: int) -> None:
            found[number].memory = workers[number].memory()

        order = list(range(len(found)))
        for number in order:
            attempt(number, "warm-up", lambda: warm_up(number))  # noqa: B023  called at once
        for repetition in range(session.repetitions):
            what = f"repetition {repetition + 1}"
            for number in order if repetition % 2 == 0 else reversed(order):
                attempt(number, what, lambda: repeat(number))  # noqa: B023
        for number in order:
            if not found[number].error:
                end(number)
    return found


def _job(session: Session, model: "SpeedModel", kind: Measurement) -> dict[str, Any]:
    job: dict[str, Any] = {"measurement": kind, "seconds": session.seconds}
    if kind == "training":
        assert model.recipe is not None
        assert model.corpus is not None
        folders = {"corpus": str(model.corpus.folder), "folder": str(session.scratch)}
        return {**job, **folders, "recipe": model.recipe.model_dump()}
    return {**job, "model": str(model.checkpoint), "task": session.task_reference, "data": str(session.data)}


def _ceilings(training: list[Measured]) -> dict[str, float]:
    """Return the best matrix products of the session at each precision: what MFU is held against."""
    best: dict[str, float] = {}
    for facts in (measured.opening["facts"] for measured in training if measured.opening):
        reached = facts["matrix_product_flops_per_second"]
        best[facts["precision"]] = max(reached, best.get(facts["precision"], 0.0))
    return best


def _training(measured: Measured, model: "SpeedModel", ceilings: dict[str, float]) -> TrainingSpeed:
    facts = measured.opening["facts"]
    ceiling = ceilings[facts["precision"]]

    def values(name: str, factor: float) -> list[float]:
        return [trial[name] * factor for trial in measured.trials]

    return TrainingSpeed(
        **{**facts, "matrix_product_flops_per_second": ceiling},
        data=model.data,
        seconds_per_1000_steps=summarise(values("seconds_per_step", 1e3)),
        useful_tokens_per_second=summarise(values("useful_tokens_per_second", 1.0)),
        mfu=summarise(values("model_flops_per_second", 1 / ceiling)),
        memory=Memory(**measured.memory),
    )


def _finetuning(measured: Measured) -> FinetuningSpeed:
    rates = summarise([trial["rows_per_second"] for trial in measured.trials])
    return FinetuningSpeed(**measured.opening["facts"], rows_per_second=rates, memory=Memory(**measured.memory))


def _prediction(measured: Measured) -> PredictionSpeed:
    latencies = []
    for batch, calls in measured.opening["calls"].items():
        times = [trial["latencies"][batch] for trial in measured.trials]
        p50, p95 = (summarise([each[name] for each in times]) for name in ("p50_ms", "p95_ms"))
        latencies.append(Latency(batch=int(batch), calls=calls, p50_ms=p50, p95_ms=p95))
    return PredictionSpeed(
        **measured.opening["facts"],
        rows_per_second=summarise([trial["rows_per_second"] for trial in measured.trials]),
        latencies=latencies,
        memory=Memory(**measured.memory),
    )


def _effective(session: Session, model: "SpeedModel") -> dict[str, Any]:
    return {
        "repetitions": session.repetitions,
        "seconds": session.seconds,
        "models": [each.facts.name for each in session.models],
        "recipe": None if model.recipe is None else model.recipe.model_dump(),
    }


def _data(session: Session, model: "SpeedModel") -> "DataFacts":
    """Return the task's data, and the corpus that was trained on beside it."""
    if model.corpus is None:
        return session.data_facts
    manifest = model.corpus.manifest
    corpus = {
        "tokens": manifest.counts.tokens,
        "corpus_sha256": manifest.corpus_sha256,
        "vocabulary_sha256": manifest.tokenizer_sha256,
    }
    return session.data_facts.model_copy(update=corpus)
