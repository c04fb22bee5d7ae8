"""One session of `clue-bench speed`: the models take turns, and every one gets a record.

Input: models, a task and its data, how often and how long. Output: records of kind "speed" that share a session.

For each kind of measurement: start a process per model and let each warm up, then repetition 1 of all models,
repetition 2 of all in the opposite order, and so on, so that no model gains from a machine that warms up or cools
down; then end the processes. A measurement that fails is left out of its model's record, which says why.
"""

import secrets
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clue_bench import versions
from clue_bench.doors.records import FEW_REPETITIONS, NOISY_SPEED, DataFacts, SpeedRecord
from clue_bench.doors.speed_results import (
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
from clue_bench.speed_measurement.models import SpeedModel, open_models
from clue_bench.speed_measurement.request import check_request
from clue_bench.speed_measurement.worker import Worker
from clue_bench.stats.timing import MedianInterval, summarise
from clue_bench.synthetic.tasks import TASKS, write_tasks
from clue_bench.tasks.files import describe
from clue_bench.tasks.rows import read_split
from clue_bench.tasks.task import Task, load_task

SEED = 1

OnProgress = Callable[[int, int, str], None]
"""Called before every wait, with the number of finished steps, of all steps, and the next step in words."""


def measure(
    models: Sequence[str],
    *,
    corpora: Sequence[Path] = (),
    task: str = "afqmc",
    data: Path | None = None,
    repetitions: int = 9,
    seconds: float = 2.0,
    baseline: str | None = None,
    settings: dict[str, Any] | None = None,
    on_progress: OnProgress = lambda done, total, what: None,
) -> list[SpeedRecord]:
    """Measure training, fine-tuning and prediction of `models`; return a record for each, in their order.

    A model is a checkpoint folder, a hub id, or a recipe (a name or a .toml file). A repetition takes at least
    `seconds`; `baseline` is one of `models`, by default the first. Without `corpora` models train on random ids,
    without `data` the task's rows are synthetic. `settings` are laid over every recipe.
    Raises ClueBenchError, before anything is measured, for a mistake in these.
    """
    check_request(models, corpora=corpora, task=task, data=data, baseline=baseline, settings=settings or {})
    asked: dict[str, Any] = {
        "models": [Path(each).name if Path(each).exists() else each for each in models],
        "corpus": [path.name for path in corpora],
        "task": task,
        "data": data.name if data else None,
        "repetitions": repetitions,
        "seconds": seconds,
        "baseline": baseline,
        "settings": settings or {},
    }
    with tempfile.TemporaryDirectory(prefix="clue-bench-speed-") as scratch:
        card = load_task(task)
        if card.kind == "tags":
            raise ClueBenchError(f"task {task}: entities of texts, which speed does not measure", "give --task tnews")
        folder = _synthetic_rows(Path(scratch, "tasks")) if data is None else data
        rows = read_split(card, "train", folder)
        session = Session(
            models=open_models(models, corpora=corpora, overrides=asked["settings"], scratch=Path(scratch)),
            task=card,
            task_reference=task,
            data=folder,
            data_facts=describe(card, folder, {"train": rows.facts}),
            scratch=Path(scratch),
            repetitions=repetitions,
            seconds=seconds,
            baseline=0 if baseline is None else list(models).index(baseline),
            asked=asked,
        )
        return _run(session, on_progress)


def _synthetic_rows(folder: Path) -> Path:
    cards = map(load_task, TASKS)
    labels = {card.name: dict(zip(card.labels, card.label_descriptions, strict=True)) for card in cards}
    write_tasks(folder, seed=SEED, labels=labels)
    return folder


@dataclass(frozen=True)
class Session:
    """What was asked of a session, opened and checked. `seconds` is the least that a repetition takes."""

    models: list[SpeedModel]
    task: Task
    task_reference: str
    data: Path
    data_facts: DataFacts
    scratch: Path
    repetitions: int
    seconds: float
    baseline: int
    asked: dict[str, Any]

    def job(self, model: SpeedModel, kind: Measurement) -> dict[str, Any]:
        """Return what a worker is given."""
        job: dict[str, Any] = {"measurement": kind, "seconds": self.seconds}
        if kind != "training":
            return {**job, "model": str(model.checkpoint), "task": self.task_reference, "data": str(self.data)}
        assert model.recipe is not None
        assert model.corpus is not None
        folders = {"corpus": str(model.corpus.folder), "folder": str(self.scratch)}
        return {**job, **folders, "recipe": model.recipe.model_dump()}


@dataclass
class Timing:
    """One measurement of one model, as far as it has come; an `error` ends it."""

    model: SpeedModel
    error: str
    opening: dict[str, Any] = field(default_factory=dict)
    trials: list[dict[str, Any]] = field(default_factory=list)
    memory: dict[str, Any] = field(default_factory=dict)
    worker: Worker | None = None

    def act(self, job: dict[str, Any], stack: ExitStack) -> None:
        """Start the worker and let it warm up, or have it measure once."""
        if self.worker is None:
            self.worker = stack.enter_context(Worker(job, self.model.facts.name))
            self.opening = self.worker.answer()
        else:
            self.trials.append(self.worker.repetition())

    def end(self) -> None:
        """End the worker, and ask for its last facts and its peak of memory."""
        if self.worker is not None and not self.error:
            try:
                end = self.worker.end()
                self.opening["facts"], self.memory = end["facts"], end["memory"]
            except ClueBenchError as error:
                self.error = error.message

    def interval(self, value: Callable[[dict[str, Any]], float]) -> MedianInterval:
        """Return the interval of `value` of each repetition."""
        return summarise([value(trial) for trial in self.trials])


def _run(session: Session, on_progress: OnProgress) -> list[SpeedRecord]:
    started_at, started = versions.now(), time.perf_counter()
    timings = _take_turns(session, on_progress)
    name = f"{started_at.translate(str.maketrans('', '', '-:'))}-{secrets.token_hex(2)}"
    times = {"started_at": started_at, "finished_at": versions.now(), "wall_seconds": time.perf_counter() - started}
    ceilings = _ceilings(timings["training"])
    return [
        _record(session, number, {kind: timings[kind][number] for kind in MEASUREMENTS}, ceilings, name, times)
        for number in range(len(session.models))
    ]


def _take_turns(session: Session, on_progress: OnProgress) -> dict[Measurement, list[Timing]]:
    """Do every measurement of every model; return for each kind a timing per model."""
    timings = {kind: [Timing(model, model.reasons.get(kind, "")) for model in session.models] for kind in MEASUREMENTS}
    waits = (session.repetitions + 1) * sum(not each.error for of_kind in timings.values() for each in of_kind)
    done = 0

    def attempt(timing: Timing, kind: Measurement, what: str, stack: ExitStack) -> None:
        nonlocal done
        if timing.error:
            return
        on_progress(done, waits, f"{timing.model.facts.name}: {kind}, {what}")
        done += 1
        try:
            timing.act(session.job(timing.model, kind), stack)
        except ClueBenchError as error:
            timing.error = error.message

    for kind, of_kind in timings.items():
        with ExitStack() as stack:
            for timing in of_kind:
                attempt(timing, kind, "warm-up", stack)
            for number in range(session.repetitions):
                for timing in of_kind if number % 2 == 0 else reversed(of_kind):
                    attempt(timing, kind, f"repetition {number + 1}", stack)
            for timing in of_kind:
                timing.end()
    on_progress(waits, waits, "")
    return timings


def _ceilings(training: list[Timing]) -> dict[str, float]:
    """Return the best matrix products of the session at each precision: what MFU and HFU are shares of."""
    best: dict[str, float] = {}
    for facts in (timing.opening["facts"] for timing in training if timing.opening):
        reached = facts["matrix_product_flops_per_second"]
        best[facts["precision"]] = max(reached, best.get(facts["precision"], 0.0))
    return best


def _record(
    session: Session,
    number: int,
    timings: dict[Measurement, Timing],
    ceilings: dict[str, float],
    name: str,
    times: dict[str, Any],
) -> SpeedRecord:
    model = session.models[number]
    errors: dict[str, str] = {kind: timing.error for kind, timing in timings.items() if timing.error}
    results = None
    if len(errors) < len(MEASUREMENTS):
        results = SpeedResults(
            session=name,
            position=number,
            is_baseline=number == session.baseline,
            vocab_size=model.vocab_size,
            weights_mib=model.weights_mib,
            vocabulary=model.vocabulary,
            training=None if "training" in errors else _training(timings["training"], ceilings),
            finetuning=None if "finetuning" in errors else _finetuning(timings["finetuning"]),
            prediction=None if "prediction" in errors else _prediction(timings["prediction"]),
            not_measured=errors,
        )
    opened = [timing.opening for timing in timings.values() if timing.opening]
    return SpeedRecord(
        run_id=f"speed-{name}-{model.facts.name}",
        status="failed" if results is None else "completed",
        error=None if results is not None else "; ".join(errors.values()),
        **times,
        asked={**session.asked, "session": name},
        effective={
            "repetitions": session.repetitions,
            "seconds": session.seconds,
            "models": [each.facts.name for each in session.models],
            "recipe": None if model.recipe is None else model.recipe.model_dump(),
        },
        seed=SEED,
        task=session.task.facts,
        data=_data_facts(session, model),
        model=model.facts,
        code=versions.describe_code(),
        packages=versions.describe_packages(),
        hardware=opened[0]["hardware"] if opened else {},
        results=results,
        flags=[] if results is None else _flags(results),
    )


def _flags(results: SpeedResults) -> list[str]:
    return [NOISY_SPEED] * results.is_noisy + [FEW_REPETITIONS] * results.has_few_repetitions


def _data_facts(session: Session, model: SpeedModel) -> DataFacts:
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


def _training(timing: Timing, ceilings: dict[str, float]) -> TrainingSpeed:
    facts = timing.opening["facts"]
    ceiling = ceilings[facts["precision"]]
    return TrainingSpeed(
        **{**facts, "matrix_product_flops_per_second": ceiling},
        data=timing.model.data,
        seconds_per_1000_steps=timing.interval(lambda trial: trial["seconds_per_step"] * 1e3),
        useful_tokens_per_second=timing.interval(lambda trial: trial["useful_tokens_per_second"]),
        mfu=timing.interval(lambda trial: trial["model_flops_per_second"] / ceiling),
        hfu=timing.interval(lambda trial: trial["hardware_flops_per_second"] / ceiling),
        memory=Memory(**timing.memory),
    )


def _finetuning(timing: Timing) -> FinetuningSpeed:
    rates = timing.interval(lambda trial: trial["rows_per_second"])
    return FinetuningSpeed(**timing.opening["facts"], rows_per_second=rates, memory=Memory(**timing.memory))


def _prediction(timing: Timing) -> PredictionSpeed:
    facts = dict(timing.opening["facts"])

    def latency(batch: str, calls: int) -> Latency:
        p50 = timing.interval(lambda trial: trial["latencies"][batch][0])
        p95 = timing.interval(lambda trial: trial["latencies"][batch][1])
        return Latency(batch=int(batch), calls=calls, p50_ms=p50, p95_ms=p95)

    latencies = [latency(*each) for each in facts.pop("calls").items()]
    rates = timing.interval(lambda trial: trial["rows_per_second"])
    return PredictionSpeed(**facts, rows_per_second=rates, latencies=latencies, memory=Memory(**timing.memory))
