"""What a record of kind "speed" holds in `results`: one model, measured in one session.

Input: the JSON of a record. Output: checked values. A session is one invocation of clue-bench speed: its models took
turns, on one machine, with the same settings, so its records compare with each other and with no others.
"""

from typing import Literal, Self

import pydantic

from clue_bench.stats.timing import MedianInterval

FEW_REPETITIONS = "few_repetitions"
"""Flag: there are too few repetitions for intervals of 95 %."""

Measurement = Literal["training", "finetuning", "prediction"]
MEASUREMENTS: tuple[Measurement, ...] = ("training", "finetuning", "prediction")

SYNTHETIC_ROWS = "synthetic rows"
"""Training data: ids drawn at random from the vocabulary."""

Count = pydantic.PositiveInt


class _Facts(pydantic.BaseModel):
    """Frozen, strict, no unknown keys."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Memory(_Facts):
    """Peaks of the process that did one measurement, Python and libraries included, in MiB.

    `device_mib` is what torch had allocated on the GPU at most, None without one.
    """

    resident_mib: int = pydantic.Field(ge=0)
    device_mib: int | None


class TrainingSpeed(_Facts):
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
    matrix_product_flops_per_second: float = pydantic.Field(gt=0)  # the session's best, which MFU is held against
    seconds_per_1000_steps: MedianInterval
    useful_tokens_per_second: MedianInterval  # padding is not useful
    mfu: MedianInterval
    memory: Memory

    @property
    def is_scaled(self) -> bool:
        """Whether less than the card's step was timed."""
        return self.measured_rows < self.global_batch


class FinetuningSpeed(_Facts):
    """Updates of fine-tuning on one task, tokenised beforehand."""

    batch_size: Count  # rows per update
    max_length: Count  # tokens
    rows: Count  # different rows; a repetition goes over them once or several times
    precision: str
    rows_per_second: MedianInterval
    memory: Memory


class Latency(_Facts):
    """Time from the texts of `batch` rows to their labels, in ms; a repetition's p50 and p95 are over `calls` calls."""

    batch: Count
    calls: Count
    p50_ms: MedianInterval
    p95_ms: MedianInterval


class PredictionSpeed(_Facts):
    """Prediction from texts to labels and probabilities, tokenisation included."""

    max_length: Count  # tokens
    rows: Count
    precision: str
    rows_per_second: MedianInterval
    latencies: list[Latency]
    memory: Memory

    def latency(self, batch: int) -> Latency | None:
        """Return the latency of batches of so many rows, None if it was not measured."""
        return next((latency for latency in self.latencies if latency.batch == batch), None)


class SpeedResults(_Facts):
    """One model of a session. A part that is None has its reason in `not_measured`."""

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
        """Whether any measurement does not agree with itself."""
        return any(interval.is_noisy for interval in self.intervals.values())

    @property
    def has_few_repetitions(self) -> bool:
        """Whether there are too few repetitions to know if a measurement agrees with itself."""
        return any(interval.has_few_values for interval in self.intervals.values())

    @property
    def intervals(self) -> dict[str, MedianInterval]:
        """Every interval under its name, e.g. "training.mfu"."""
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
