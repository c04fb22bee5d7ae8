"""The `results` of speed records: one model of a session, medians with intervals.

Input: the JSON of a record. Output: checked, frozen values, strict ones. Times are seconds unless their names say more.
"""

from typing import Literal, Self

import pydantic

from clue_bench.doors.results import Count, Results
from clue_bench.stats.timing import MedianInterval

Measurement = Literal["training", "finetuning", "prediction"]
MEASUREMENTS: tuple[Measurement, ...] = ("training", "finetuning", "prediction")

SYNTHETIC_ROWS = "synthetic rows"
"""Name of the training data of a speed measurement whose ids are drawn at random from the vocabulary."""


class SpeedFacts(Results):
    """Base of the speed results: strict, no infinities."""

    model_config = pydantic.ConfigDict(strict=True, allow_inf_nan=False)


class Memory(SpeedFacts):
    """Peaks of the process that did one measurement, Python and libraries included, in MiB.

    `device_mib` is the most that torch had allocated on the GPU, None without a GPU.
    """

    resident_mib: int = pydantic.Field(ge=0)
    device_mib: int | None


class TrainingSpeed(SpeedFacts):
    """Pretraining by a recipe's first stage.

    `measured_rows` is the batch that was timed. Where it is smaller than `global_batch`, the time of the card's step is
    that of its first micro-batch with the update, plus that of each further micro-batch.
    """

    global_batch: Count  # rows per step
    micro_batch: Count  # rows per forward pass
    max_length: Count  # tokens per row
    measured_rows: Count
    steps_per_repetition: Count
    data: str  # SYNTHETIC_ROWS, or the corpus's name
    precision: str
    matrix_product_flops_per_second: float = pydantic.Field(gt=0)  # the session's best: MFU and HFU are shares of it
    seconds_per_1000_steps: MedianInterval
    useful_tokens_per_second: MedianInterval  # padding is not useful
    mfu: MedianInterval  # of the model's nominal FLOPs
    hfu: MedianInterval | None = None  # of what is computed; not in older records
    memory: Memory

    @property
    def is_scaled(self) -> bool:
        """Return whether less than the card's step was timed."""
        return self.measured_rows < self.global_batch


class FinetuningSpeed(SpeedFacts):
    """Updates of fine-tuning on one task, tokenised beforehand."""

    batch_size: Count  # rows per update
    max_length: Count  # tokens
    rows: Count  # different rows; a repetition goes over them once or several times
    precision: str
    rows_per_second: MedianInterval
    memory: Memory


class Latency(SpeedFacts):
    """Time from the texts of `batch` rows to their labels, in ms; a repetition's p50 and p95 are over `calls` calls."""

    batch: Count
    calls: Count
    p50_ms: MedianInterval
    p95_ms: MedianInterval


class PredictionSpeed(SpeedFacts):
    """Prediction from texts to labels and probabilities, tokenisation included."""

    max_length: Count  # tokens
    rows: Count
    precision: str
    rows_per_second: MedianInterval
    latencies: list[Latency]
    memory: Memory

    def latency(self, batch: int) -> Latency | None:
        """Return the latency of batches of `batch` rows, None if it was not measured."""
        return next((latency for latency in self.latencies if latency.batch == batch), None)


class SpeedResults(SpeedFacts):
    """One model of a session: of one invocation of clue-bench speed, whose models took turns on one machine.

    Records of one session compare with each other and with no others. A part that is None has its reason in
    `not_measured`.
    """

    session: str = pydantic.Field(min_length=1)
    position: int = pydantic.Field(ge=0)  # in the session, as typed
    is_baseline: bool
    vocab_size: Count
    weights_mib: float = pydantic.Field(gt=0)  # on disk
    vocabulary: str  # where it comes from
    training: TrainingSpeed | None
    finetuning: FinetuningSpeed | None
    prediction: PredictionSpeed | None
    not_measured: dict[str, str]

    @pydantic.model_validator(mode="after")
    def _says_why(self) -> Self:
        missing = {name for name in MEASUREMENTS if getattr(self, name) is None}
        if missing != set(self.not_measured):
            raise ValueError(f"without numbers: {sorted(missing)}; not_measured explains {sorted(self.not_measured)}")
        return self

    @property
    def is_noisy(self) -> bool:
        """Return whether the repetitions of any measurement disagree."""
        return any(interval.is_noisy for interval in self.intervals.values())

    @property
    def has_few_repetitions(self) -> bool:
        """Return whether there are too few repetitions to know if they agree."""
        return any(interval.has_few_values for interval in self.intervals.values())

    @property
    def intervals(self) -> dict[str, MedianInterval]:
        """Return every interval under its name, e.g. "training.mfu"."""
        found: dict[str, MedianInterval] = {}
        for name in MEASUREMENTS:
            part = getattr(self, name)
            for field in type(part).model_fields if part is not None else ():
                if isinstance(value := getattr(part, field), MedianInterval):
                    found[f"{name}.{field}"] = value
        for latency in self.prediction.latencies if self.prediction else ():
            found[f"prediction.latency_{latency.batch}_p50_ms"] = latency.p50_ms
            found[f"prediction.latency_{latency.batch}_p95_ms"] = latency.p95_ms
        return found
