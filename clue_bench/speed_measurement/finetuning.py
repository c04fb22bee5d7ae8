"""Measure how fast a model fine-tunes and predicts.

Input: a model, a task and its rows. Output: a `FinetuningClock`, which times updates of the very loop that `finetune`
runs, and a `PredictionClock`, which times what `predict` and `serve` do: texts in, labels and probabilities out.

Both work on the same few rows of the training set, the same ones for every model: of a pool as wide as that which
training sorts by length, every eighth batch. So padding is that of a real run, and every repetition does the same work.
"""

import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from clue_bench.finetuning.base_models.pretrained import Pretrained
from clue_bench.finetuning.encode import POOL_BATCHES
from clue_bench.finetuning.run import Plan, prepare
from clue_bench.finetuning.settings import Settings, make_settings
from clue_bench.finetuning.train import FinetuningReport
from clue_bench.prediction.predictor import Description, Predictor, Texts
from clue_bench.stats.timing import passes, percentile
from clue_bench.tasks.rows import Rows
from clue_bench.tasks.task import Task
from clue_bench.training import hardware
from clue_bench.training.counter_rng import Int64s, derive, permuted

SEED = 1
EVERY = 8  # of a pool's batches, one is timed
BATCHES = (1, 32)  # rows of a call whose latency is taken
CALLS = (10, 50)  # the fewest and the most calls of a batch size in a repetition
MAX_TIMES = 5.0  # the seconds asked for, that the calls of one batch size may take before there are fewer of them

# No epoch ends the run and no evaluation interrupts it.
ENDLESS = {"epochs": 10**6, "steps": None, "max_evaluations": 1, "evaluations_per_epoch": 1}


class FinetuningTrial(NamedTuple):
    """One repetition."""

    rows_per_second: float


class PredictionTrial(NamedTuple):
    """One repetition. `latencies`: p50 and p95 of the calls of each batch size, in ms."""

    rows_per_second: float
    latencies: dict[int, tuple[float, float]]


def timed_rows(rows: Rows, *, batch_size: int) -> Rows:
    """Return the rows that are timed, in a random order. Lengths are characters: the same rows for any tokeniser."""
    size = len(rows)
    pool = permuted(np.arange(min(size, batch_size * POOL_BATCHES)), size=size, key=derive(SEED, "timed rows"))
    lengths = np.array([sum(map(len, rows.texts[row])) for row in pool])
    ordered = pool[np.argsort(lengths, kind="stable")]
    batches = [ordered[at : at + batch_size] for at in range(0, len(ordered), batch_size)]
    chosen: Int64s = np.concatenate(batches[min(EVERY // 2, len(batches) - 1) :: EVERY])
    shuffled = chosen[permuted(np.arange(len(chosen)), size=len(chosen), key=derive(SEED, "order of timed rows"))]
    return Rows(
        [rows.texts[row] for row in shuffled], rows.labels[shuffled], [rows.ids[row] for row in shuffled], rows.facts
    )


class FinetuningClock:
    """A fine-tuning run in memory, warmed up; every `repetition` goes over the timed rows, once or several times."""

    def __init__(self, base: Pretrained, task: Task, rows: Rows, *, seconds: float) -> None:
        """Warm up, and decide how often to go over the rows so that it takes at least `seconds`."""
        self.settings = make_settings(task, base.sizes, ENDLESS, train_rows=len(rows))
        self.rows = timed_rows(rows, batch_size=self.settings.batch_size)
        splits = {"train": self.rows, "dev": self.rows}
        plan = Plan(task=task, start=base, settings=self.settings, seed=SEED, rows=splits, data=Path())
        self.finetuning = prepare(plan)
        self._reports: Iterator[FinetuningReport] = self.finetuning.reports()
        self._passes = 1
        self._epochs(1)
        self._passes = passes(self._epochs(1), least_seconds=seconds)

    @property
    def facts(self) -> dict[str, Any]:
        """Return what was decided while warming up, under the names of the record."""
        settings = self.settings
        sizes = {"batch_size": settings.batch_size, "max_length": settings.max_length, "rows": len(self.rows)}
        return {**sizes, "precision": "bf16" if self.finetuning.autocast is torch.bfloat16 else "fp32"}

    def repetition(self) -> FinetuningTrial:
        """Time some passes over the rows."""
        return FinetuningTrial(len(self.rows) * self._passes / self._epochs(self._passes))

    def _epochs(self, num: int) -> float:
        """Return the seconds of going over the rows `num` times."""
        hardware.wait_for(self.finetuning.device)
        started = time.perf_counter()
        for _ in islice(self._reports, num * self.finetuning.steps_per_epoch):
            pass
        hardware.wait_for(self.finetuning.device)
        return time.perf_counter() - started


class PredictionClock:
    """A classifier in memory, warmed up; a `repetition` predicts the timed rows at once, then in single calls."""

    def __init__(self, base: Pretrained, task: Task, rows: Rows, *, seconds: float) -> None:
        """Warm up, and decide how often to predict the rows, and how many calls there are of each batch size."""
        settings: Settings = make_settings(task, base.sizes, {}, train_rows=len(rows))
        self._max_length = settings.max_length
        self._texts: list[Texts] = timed_rows(rows, batch_size=settings.batch_size).texts
        self._predictor = _predictor(base, task, settings)
        self._precision = hardware.pick_precision(settings.precision, hardware.pick_device())
        self._predict_all(1)
        self._passes = passes(self._predict_all(1), least_seconds=seconds)
        self.calls = {batch: self._affordable(batch, MAX_TIMES * seconds) for batch in BATCHES}

    @property
    def facts(self) -> dict[str, Any]:
        """Return what was decided while warming up, under the names of the record."""
        sizes = {"max_length": self._max_length, "rows": len(self._texts), "calls": self.calls}
        return {**sizes, "precision": self._precision}

    def repetition(self) -> PredictionTrial:
        """Time predictions of all rows, then calls of few rows."""
        rate = len(self._texts) * self._passes / self._predict_all(self._passes)
        return PredictionTrial(rate, {batch: _percentiles(self._call(batch, num)) for batch, num in self.calls.items()})

    def _predict_all(self, num: int) -> float:
        started = time.perf_counter()
        for _ in range(num):
            self._predictor.predict(self._texts)
        return time.perf_counter() - started

    def _call(self, batch: int, num: int) -> list[float]:
        """Return the milliseconds of each of `num` calls of `batch` rows: the same rows in every repetition."""
        milliseconds = []
        for call in range(num):
            rows = [self._texts[(call * batch + row) % len(self._texts)] for row in range(batch)]
            started = time.perf_counter()
            self._predictor.predict(rows)
            milliseconds.append(1e3 * (time.perf_counter() - started))
        return milliseconds

    def _affordable(self, batch: int, seconds: float) -> int:
        fewest, most = CALLS
        slowest = max(self._call(batch, 3)) / 1e3
        return min(most, max(fewest, int(seconds / slowest)))


def _percentiles(milliseconds: list[float]) -> tuple[float, float]:
    return percentile(milliseconds, 50), percentile(milliseconds, 95)


def _predictor(base: Pretrained, task: Task, settings: Settings) -> Predictor:
    """Return a predictor with a new head, as fast as a trained one."""
    labels = tuple(task.labels)
    description = Description(
        run_id=base.name,
        model=base.name,
        task=task.name,
        title=task.title,
        labels=labels,
        descriptions=("",) * len(labels),
        num_texts=len(task.text_fields),
        max_length=settings.max_length,
        pretrained_length=base.pretrained_length,
    )
    return Predictor(
        folder=base.folder,
        description=description,
        task=task,
        classifier=base.classifier(labels, dropout=settings.dropout),
        tokeniser=base.tokeniser,
        precision=settings.precision,
    )
