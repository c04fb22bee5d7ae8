"""Measure how fast a recipe trains.

Input: a recipe and a corpus. Output: a `TrainingClock`, which times steps of the very loop that `pretrain` runs.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from clue_bench.doors.shards import Corpus
from clue_bench.pretraining.recipe import Recipe
from clue_bench.pretraining.train import Pretraining
from clue_bench.speed_measurement.models import first_stage
from clue_bench.stats.timing import passes

MAX_TIMES = 10.0  # the seconds asked for, that a repetition may take before a smaller step is timed
WARM_UPS = 3  # whose fastest decides what is timed: a disturbed one would have small steps timed for large ones


class TrainingTrial(NamedTuple):
    """One repetition. A step is the card's, also where a smaller one was timed."""

    seconds_per_step: float
    useful_tokens_per_second: float
    model_flops_per_second: float
    hardware_flops_per_second: float


class TrainingClock:
    """A recipe's first stage in memory, warmed up; every `repetition` times some steps of it."""

    def __init__(self, recipe: Recipe, corpus: Corpus, *, seconds: float, folder: Path) -> None:
        """Warm up, and decide what to time: at least `seconds` per repetition, and not many times more.

        Raises ClueBenchError where recipe and corpus do not go together. `folder` is not written to.
        """
        self.pretraining = Pretraining(first_stage(recipe), corpus, folder)
        self.stage = recipe.stage1
        self.micro_batch = min(self.pretraining.micro_batch, self.stage.global_batch)
        self._timed(self.micro_batch, 1)
        one = min(self._timed(self.micro_batch, 1)[0] for _ in range(WARM_UPS))
        affordable = MAX_TIMES * seconds
        if one * self.stage.global_batch / self.micro_batch <= affordable:
            self.rows = self.stage.global_batch
            step, _ = self._timed(self.rows, 1)
            self.steps = passes(step, least_seconds=seconds)
        else:
            # Two points make a line: a step of one micro-batch, and one of as many as the time allows.
            self.rows = min(max(2, int(affordable / one)) * self.micro_batch, self.stage.global_batch)
            self.steps = 1

    @property
    def facts(self) -> dict[str, Any]:
        """Return what was decided while warming up, under the names of the record."""
        return {
            "global_batch": self.stage.global_batch,
            "micro_batch": self.micro_batch,
            "max_length": self.stage.max_length,
            "measured_rows": self.rows,
            "steps_per_repetition": self.steps,
            "precision": self.pretraining.precision,
            "matrix_product_flops_per_second": self.pretraining.ceiling,
        }

    def repetition(self) -> TrainingTrial:
        """Time some steps."""
        seconds, report = self._timed(self.rows, self.steps)
        if self.rows < self.stage.global_batch:
            parts = self.rows / self.micro_batch
            first, _ = self._timed(self.micro_batch, 1)
            further = (seconds - first) / (parts - 1)
            if further <= 0:  # something disturbed the first: one part cannot take as long as many
                first = further = seconds / parts
            seconds = first + (self.stage.global_batch / self.micro_batch - 1) * further
        rate = self.stage.global_batch * self.stage.max_length / seconds
        scale = rate / report.tokens_per_second
        flops, computed = report.model_flops_per_second * scale, report.hardware_flops_per_second * scale
        return TrainingTrial(seconds, rate * report.useful_share, flops, computed)

    def measure_ceiling(self) -> None:
        """Measure again what matrix products reach; `facts` has the best."""
        self.pretraining.measure_ceiling(max_age=0.0)

    def _timed(self, rows: int, steps: int) -> tuple[float, Any]:
        """Do `steps` steps of `rows` rows; return the seconds of one, and their report.

        A stage that ends after them makes the loop report once, so it waits for the device as seldom as in training.
        """
        pretraining = self.pretraining
        feeds = pretraining.feeds
        stage = self.stage.model_copy(
            update={"global_batch": rows, "steps": pretraining.step + steps - feeds.first_step, "warmup_share": 0.0}
        )
        pretraining.feeds = replace(feeds, stage=stage)
        before = pretraining.seconds
        report = next(pretraining.reports())
        return (pretraining.seconds - before) / steps, report
