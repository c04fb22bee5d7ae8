"""Do a pretraining run and write its files: shards in, checkpoint out.

1. Continue from the training state if there is one; write a record that says "interrupted" until the end.
2. After every step: append its report, if one is due, to metrics.jsonl; replace the state if it is due by steps or by
   time; stop after saving if SIGINT or SIGTERM has asked for it.
3. Draw loss.svg now and then and at the end, also if the run fails or is interrupted.
4. Write the checkpoint, then the completed record.

`out` holds checkpoint/ (door 2), state.pt and the state before it, metrics.jsonl, loss.svg and the run record (door 3).
"""

import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from clue_bench import files, versions
from clue_bench.doors import records
from clue_bench.doors.checkpoint import base_name, weights_sha256, write_checkpoint
from clue_bench.doors.records import (
    CHECKPOINT,
    LOCK,
    DataFacts,
    ModelFacts,
    PretrainRecord,
    claim_folder,
    read_record,
    record_path,
    write_record,
)
from clue_bench.doors.results import PretrainResults
from clue_bench.errors import AGAIN, ClueBenchError, Interrupted
from clue_bench.models.config import count_parameters
from clue_bench.pretraining import curve
from clue_bench.pretraining.identity import run_id_of
from clue_bench.pretraining.pauses import SECONDS_BETWEEN_SAVES, Pauses
from clue_bench.pretraining.report import TrainingReport
from clue_bench.pretraining.rising import Rising
from clue_bench.pretraining.state import with_continued_positions
from clue_bench.pretraining.train import Pretraining
from clue_bench.training import hardware
from clue_bench.training.state_file import FILE as STATE
from clue_bench.training.stopping import stop_requests
from clue_bench.weights import CONFIG
from clue_bench.weights.hf_config import pretraining_class

METRICS = "metrics.jsonl"
"""File with one `TrainingReport` per line; its docstring explains the keys."""

SECONDS_BETWEEN_PICTURES = 120.0  # drawing takes half a second, two for 20,000 reports; states are saved more often

log = logging.getLogger(__name__)


def run_id(pretraining: Pretraining) -> str:
    """Return the run's name: the recipe's, and a hash of everything that identifies the run."""
    return run_id_of(pretraining.recipe.name, pretraining.identity)


def completed_record(pretraining: Pretraining) -> PretrainRecord | None:
    """Return the record of this very run if it is complete and its checkpoint is there, unchanged.

    Raises ClueBenchError if the folder holds another run.
    """
    record = records.completed_record(
        pretraining.out, run_id(pretraining), PretrainRecord, hint=_another_run_hint(pretraining)
    )
    folder = pretraining.out / CHECKPOINT
    if record is None or weights_sha256(folder) != record.model.sha256 or not (folder / CONFIG).is_file():
        return None
    return record


def _another_run_hint(pretraining: Pretraining) -> str:
    """Return what to type where `out` holds another run: a finished one can be trained on, into another folder."""
    out = pretraining.out
    if not (out / CHECKPOINT / CONFIG).is_file():
        return "give another --out, or the settings of that run to continue it"
    corpus = pretraining.corpus.folder
    return (
        "give another --out; to train that model on, "
        f"clue-bench pretrain --from {out} --corpus {corpus} --out {out}-more --steps {pretraining.recipe.total_steps}"
    )


def run(pretraining: Pretraining, *, asked: dict[str, Any]) -> Iterator[TrainingReport]:
    """Train to the end as `run_steps` does; yield the reports alone."""
    return (report for report in run_steps(pretraining, asked=asked) if report is not None)


def run_steps(
    pretraining: Pretraining,
    *,
    asked: dict[str, Any],
    seconds_between_saves: float = SECONDS_BETWEEN_SAVES,
    check: Callable[[Path], dict[str, Any]] | None = None,
) -> Iterator[TrainingReport | None]:
    """Train to the end, keeping every file of the run up to date.

    Yields None once the run has been continued or begun, and after every step its report, None where none is due.
    `asked` is what the user typed, for the record. Of several processes, the first one writes the files. `check` is
    given the finished checkpoint's folder, and what it returns is recorded. Raises ClueBenchError if `out` holds
    another run, the loss diverges or `check` fails (both recorded as failed), and Interrupted after saving if SIGINT or
    SIGTERM asks for it.
    """
    claim_folder(pretraining.out, run_id(pretraining))
    pretraining.resume()
    pretraining.processes.wait()  # nobody writes before all have read
    try:
        if pretraining.processes.is_first:
            with files.held(pretraining.out / LOCK):
                yield from _run_with_files(pretraining, asked, seconds_between_saves, check)
        else:
            yield None
            yield from _steps(pretraining, lambda report: None, seconds_between_saves)
            pretraining.check_weights()
        pretraining.processes.wait()  # for the files: a process that leaves early is an error to torchrun
    finally:
        pretraining.leave()


def _run_with_files(
    pretraining: Pretraining,
    asked: dict[str, Any],
    seconds_between_saves: float,
    check: Callable[[Path], dict[str, Any]] | None,
) -> Iterator[TrainingReport | None]:
    out = pretraining.out
    _forget_reports_after(out / METRICS, pretraining.step)
    record = _record(pretraining, asked)
    path = record_path(out, record.run_id)
    if pretraining.step and path.is_file():
        record = record.model_copy(update={"started_at": read_record(path).started_at})
    write_record(out, record)
    started = time.perf_counter() - pretraining.seconds
    drawn = time.perf_counter()
    rising = Rising()

    def write(report: TrainingReport) -> None:
        nonlocal drawn
        with files.naming(out / METRICS), (out / METRICS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(report)) + "\n")
        if warning := rising.note(stage=report.stage, step=report.step, loss=report.loss):
            log.warning("%s", warning)
        if pretraining.ended_stage and report.step < pretraining.recipe.total_steps:
            # Before the state: a run killed in between repeats the stage's last steps and its checkpoint.
            _write_checkpoint(pretraining, record, out / f"{CHECKPOINT}-stage{report.stage}")
        if time.perf_counter() - drawn > SECONDS_BETWEEN_PICTURES:
            _draw(pretraining)
            drawn = time.perf_counter()

    try:
        yield None
        yield from _steps(pretraining, write, seconds_between_saves)
        pretraining.check_weights()
        sha256 = _write_checkpoint(pretraining, record, out / CHECKPOINT)
        if check is not None:
            record = record.model_copy(update={"effective": {**record.effective, **check(out / CHECKPOINT)}})
    except ClueBenchError as error:
        seconds = time.perf_counter() - started
        records.write_failed(out, record, error=error.message, finished_at=versions.now(), wall_seconds=seconds)
        raise
    finally:
        _draw(pretraining)
    write_record(out, _completed(pretraining, record, _last_report(out), sha256, time.perf_counter() - started))


def _steps(
    pretraining: Pretraining, write: Callable[[TrainingReport], None], seconds_between_saves: float
) -> Iterator[TrainingReport | None]:
    """Train; after every step `write` its report, save if that is due, and stop if asked: all processes alike."""
    total = pretraining.recipe.total_steps
    with stop_requests() as request:
        pauses = Pauses(pretraining.processes, pretraining.device, request, seconds_between_saves=seconds_between_saves)
        for report in pretraining.moments():
            if report is not None:
                write(report)
            pause = pauses.after_step()
            stops = pause.stop and pretraining.step < total
            if (report is not None and pretraining.is_at_save) or pause.save or stops:
                pretraining.save()
                pauses.saved()
            yield report
            if stops:
                raise Interrupted(
                    f"pretrain {pretraining.recipe.name}: stopped and saved at step {pretraining.step:,} of {total:,}",
                    AGAIN,
                )


def _record(pretraining: Pretraining, asked: dict[str, Any]) -> PretrainRecord:
    manifest = pretraining.corpus.manifest
    recipe = pretraining.recipe
    return PretrainRecord(
        run_id=run_id(pretraining),
        status="interrupted",
        started_at=versions.now(),
        asked=asked,
        effective={
            **recipe.model_dump(),
            "vocab_size": pretraining.config.vocab_size,
            "processes": pretraining.processes.size,
            "starts_from_sha256": None if pretraining.start is None else pretraining.start.sha256,
            **({} if pretraining.start_facts is None else {"start": pretraining.start_facts._asdict()}),
            "labelled_pairs": _labelled_pairs(pretraining),
            **({} if pretraining.frozen_layers is None else {"frozen_layers": pretraining.frozen_layers}),
            "held_out_tokens": pretraining.feeds.held_out_tokens,
            "precision": pretraining.precision,
            "working_weights": "fp32" if pretraining.network is pretraining.model else "bf16",
            **({"attention_dropout": "by its kernel"} if pretraining.dropout.is_by_kernel else {}),
            "sums": "in a fixed order" if pretraining.device.type == "cpu" else "in any order",  # of a GPU's atomics
        },
        seed=recipe.seed,
        data=DataFacts(
            name=pretraining.corpus.folder.name,
            revision=manifest.corpus_sha256[:8],
            tokens=manifest.counts.tokens,
            corpus_sha256=manifest.corpus_sha256,
            vocabulary_sha256=manifest.tokenizer_sha256,
        ),
        model=ModelFacts(
            name=recipe.name,
            parameters=count_parameters(pretraining.config),
            sha256="",
            layers=recipe.layers,
            hidden_size=recipe.hidden_size,
        ),
        code=versions.describe_code(),
        packages=versions.describe_packages(),
        hardware=hardware.describe_hardware(),
    )


def _labelled_pairs(pretraining: Pretraining) -> dict[str, Any] | None:
    """Return which labelled pairs were trained on, an explicit choice that readers of scores must see."""
    pairs = pretraining.pairs
    if pairs is None or pairs.labels is None:
        return None
    facts = pairs.labels.model_dump(exclude={"labels"})
    taken = pretraining.feeds.labelled_pairs
    too_long = len(pairs.labels.labels) - taken  # of the stage that the record was first written in
    return {**facts, "rows": taken, "longer_than_a_row": too_long, "corpus_sha256": pairs.manifest.corpus_sha256}


def _completed(
    pretraining: Pretraining, record: PretrainRecord, last: TrainingReport, sha256: str, wall_seconds: float
) -> PretrainRecord:
    model = record.model.model_copy(update={"sha256": sha256, "pretraining_tokens": pretraining.tokens_of_model})
    gpu_memory = hardware.peak_gpu_memory_mib()
    results = PretrainResults(
        **asdict(last),
        epochs=pretraining.epochs,
        mean_tokens_per_second=pretraining.tokens_seen / pretraining.seconds,
        matrix_product_flops_per_second=pretraining.ceiling,
        held_out_perplexity=last.held_out_perplexity,
        peak_memory_mib=hardware.peak_memory_mib(),
        **({} if gpu_memory is None else {"peak_gpu_memory_mib": gpu_memory}),
        curve=curve.recorded_curve(curve.read_reports(pretraining.out / METRICS)),
    )
    ended = {"status": "completed", "finished_at": versions.now(), "wall_seconds": wall_seconds}
    return record.model_copy(update={**ended, "model": model, "results": results})


def _write_checkpoint(pretraining: Pretraining, record: PretrainRecord, folder: Path) -> str:
    manifest, recipe, start = pretraining.corpus.manifest, pretraining.recipe, pretraining.start
    learned = pretraining.learned_positions(pretraining.feeds.number)
    # The head for labelled pairs has served its purpose, and no class of transformers has one.
    tensors = {n: t for n, t in pretraining.model.state_dict().items() if not n.startswith("pair.")}
    return write_checkpoint(
        folder,
        with_continued_positions(tensors, learned=learned, head_size=pretraining.config.head_size),
        architecture=pretraining_class(recipe.family, sentence_order=recipe.sentence_order != "none"),
        # With the dropout of this run: what a model has learnt without is partly lost under it (pretrain/LOG.md).
        config=pretraining.config,
        vocabulary=pretraining.vocabulary,
        provenance={
            "recipe": recipe.model_dump(),
            "steps": pretraining.step,
            "learned_positions": learned,
            "starts_from": record.effective["starts_from_sha256"],
            "starts_from_name": start and base_name(start.folder, start.provenance),
            "labelled_pairs": record.effective["labelled_pairs"],
            "corpus_sha256": manifest.corpus_sha256,
            "vocabulary_sha256": manifest.tokenizer_sha256,
            "tokens_seen": pretraining.tokens_of_model,
            "tokens_of_this_run": pretraining.tokens_seen,
            "seconds": pretraining.seconds,
            "precision": pretraining.precision,
            "code": record.code,
            "packages": record.packages,
            "hardware": record.hardware,
        },
    )


def _draw(pretraining: Pretraining) -> None:
    """Draw the run so far. A picture that cannot be written must not end a run of days."""
    metrics, picture = pretraining.out / METRICS, pretraining.out / curve.FILE
    try:
        if metrics.is_file():
            curve.write_curve(metrics, picture, title=pretraining.recipe.title)
    except OSError as error:
        log.warning("%s: not drawn: %s", picture, error)


def _forget_reports_after(path: Path, step: int) -> None:
    """Drop the reports of steps that will be repeated, and damaged lines, such as a last one that a crash cut short."""
    if not path.is_file():
        return
    kept = [json.dumps(report) + "\n" for report in curve.read_reports(path) if report["step"] <= step]
    files.write_text(path, "".join(kept))


def _last_report(out: Path) -> TrainingReport:
    """Return the last report on disk, for a run that was stopped between its last step and its checkpoint."""
    path = out / METRICS
    reports = curve.read_reports(path) if path.is_file() else []
    if not reports:
        raise ClueBenchError(f"{path}: the reports of this run are gone", f"delete {out / STATE} to train again")
    return TrainingReport(**reports[-1])
