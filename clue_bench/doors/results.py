"""The `results` of run records, one model for each kind of run. Door 3 (`records`) says where they are stored.

Input: the JSON of a record. Output: checked, frozen values. Shares are fractions of 1, times are seconds. Keys that
older records lack are optional; they are written only where they were given, so a record is written as it was read.

    pretrain   PretrainResults   the last report, totals, and the loss curve
    finetune   FinetuneResults   scores on dev at the chosen step and every evaluation, predictions, rates
    finetune   BaselineResults   of a model without any pretraining: scores on dev, and what was tried
    speed      SpeedResults      one model of a session: medians with intervals (speed_results)
"""

import base64
import binascii
import zlib
from collections.abc import Iterable
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import pydantic

ACCURACY_TOLERANCE = 1e-4  # `accuracy` is written beside `correct` and `rows`: it may be rounded, not contradict them

CONSTANT_SHARE = 0.99
"""Share of predictions in one class, above which a model counts as constant."""

Count = pydantic.PositiveInt
Share = pydantic.Field(ge=0.0, le=1.0)


class Facts(pydantic.BaseModel):
    """Base of a record's parts: frozen, no unknown keys."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="constants")


class FactsWithLateKeys(Facts):
    """Facts with keys that older records lack, which are written only where they say something."""

    late_keys: ClassVar[tuple[str, ...]]

    @pydantic.model_serializer(mode="wrap")
    def _without_late_keys(self, serialize: pydantic.SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in serialize(self).items() if value is not None or key not in self.late_keys}


class Results(Facts):
    """Base of the results of a kind of run."""

    @pydantic.model_serializer(mode="wrap")
    def _only_what_was_given(self, serialize: pydantic.SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in serialize(self).items() if key in self.model_fields_set}


class Curve(Facts):
    """The losses (nats per predicted token) of a pretraining run over the tokens that it had seen.

    At most a few hundred points, each the mean of the reports in between; `held_out_loss` is None where the run did not
    evaluate its held-out part.
    """

    model_config = pydantic.ConfigDict(allow_inf_nan=False)

    tokens: list[int] = pydantic.Field(min_length=1)
    loss: list[float]
    held_out_loss: list[float | None] = []

    @pydantic.model_validator(mode="after")
    def _lists_agree(self) -> Self:
        if len(self.loss) != len(self.tokens) or len(self.held_out_loss) not in (0, len(self.tokens)):
            raise ValueError("lists of different lengths")
        if any(later <= earlier for earlier, later in zip(self.tokens, self.tokens[1:], strict=False)):
            raise ValueError("tokens do not rise")
        return self

    @property
    def points(self) -> list[tuple[float, float]]:
        """Return the points (tokens, loss)."""
        return [(float(tokens), loss) for tokens, loss in zip(self.tokens, self.loss, strict=True)]

    @property
    def held_out_points(self) -> list[tuple[float, float]]:
        """Return the points (tokens, held-out loss) where the run evaluated."""
        pairs = zip(self.tokens, self.held_out_loss, strict=False)
        return [(float(tokens), loss) for tokens, loss in pairs if loss is not None]


class PretrainResults(Results):
    """What a pretraining run ended with: its last report, whose fields `metrics.jsonl` has too, and totals."""

    step: int
    stage: int | None = None
    loss: float
    lm_loss: float | None = None
    lm_accuracy: float | None = None
    mlm_accuracy: float | None = None  # the name of lm_accuracy in the oldest records
    sop_loss: float | None = None
    sop_accuracy: float | None = None
    pair_loss: float | None = None
    pair_accuracy: float | None = None
    bag_loss: float | None = None
    held_out_loss: float | None = None
    held_out_accuracy: float | None = None
    held_out_sop_accuracy: float | None = None
    learning_rate: float
    gradient_norm: float
    skipped: int | None = None
    tokens: int
    useful_share: float | None = None
    tokens_per_second: float
    model_flops_per_second: float
    mfu: float | None = None  # of the model's nominal FLOPs
    hardware_flops_per_second: float | None = None
    hfu: float | None = None  # of what is computed; neither is in older records
    loss_scale: float | None = None  # the last one, in fp16
    micro_batch: int | None = None  # rows of the last forward pass; older records have it among the settings only
    mask_rate: float | None = None  # of the last step; older records have it among the settings only
    seconds: float
    epochs: float
    mean_tokens_per_second: float
    matrix_product_flops_per_second: float | None = None
    held_out_perplexity: float | None = None
    peak_memory_mib: int
    peak_gpu_memory_mib: int | None = None  # on a GPU
    curve: Curve | None = None


class RowBits(Facts):
    """One bit for each row of a split, in their order: which are right, or which training repeats.

    `bits` is Base64 of one bit per row, the first row in the highest bit of the first byte; the bits that fill the last
    byte are 0. A dev set of 12,241 rows takes 2 KB.
    """

    model_config = pydantic.ConfigDict(strict=True)

    rows: Count
    bits: str

    @classmethod
    def pack(cls, correct: Iterable[bool]) -> Self:
        """Return the packed form of one boolean per row."""
        text = "".join("1" if right else "0" for right in correct)
        padded = text + "0" * (-len(text) % 8)
        packed = int(padded or "0", 2).to_bytes(len(padded) // 8, "big")
        return cls(rows=len(text), bits=base64.b64encode(packed).decode("ascii"))

    def unpack(self) -> list[bool]:
        """Return one boolean per row. Raises ValueError if `bits` do not match the number of rows."""
        try:
            data = base64.b64decode(self.bits, validate=True)
        except binascii.Error as error:
            raise ValueError(f"bits are not Base64: {error}") from error
        if len(data) != -(-self.rows // 8):
            raise ValueError(f"{self.rows:,} rows take {-(-self.rows // 8):,} bytes, found {len(data):,}")
        text = f"{int.from_bytes(data, 'big'):0{8 * len(data)}b}"
        if "1" in text[self.rows :]:
            raise ValueError(f"bits after the last of {self.rows:,} rows")
        return [bit == "1" for bit in text[: self.rows]]

    @pydantic.model_validator(mode="after")
    def _unpacks(self) -> Self:
        self.unpack()
        return self


class EntityCounts(Facts):
    """How many entities of each type each text of a split has: right ones, found ones, and such as are there.

    `counts` is Base64 of zlib of (rows, types, 3) numbers, 16 bits each, the lower byte first. 1,343 texts take 6 KB.
    """

    model_config = pydantic.ConfigDict(strict=True)

    rows: Count
    types: Count
    counts: str

    @classmethod
    def pack(cls, counts: npt.NDArray[np.int64]) -> Self:
        """Return the packed form of counts (rows, types, 3)."""
        packed = zlib.compress(counts.astype("<u2").tobytes(), 9)
        return cls(rows=len(counts), types=counts.shape[1], counts=base64.b64encode(packed).decode("ascii"))

    def unpack(self) -> npt.NDArray[np.int64]:
        """Return counts (rows, types, 3). Raises ValueError if `counts` do not match rows and types."""
        size = self.rows * self.types * 6
        try:
            data = zlib.decompressobj().decompress(base64.b64decode(self.counts, validate=True), size + 1)
        except (binascii.Error, zlib.error) as error:
            raise ValueError(f"counts are no Base64 of zlib: {error}") from error
        if len(data) != size:
            raise ValueError(f"{self.rows:,} rows of {self.types:,} types take {size:,} bytes, found {len(data):,}")
        found = np.frombuffer(data, dtype="<u2").astype(np.int64).reshape(self.rows, self.types, 3)
        if (found[:, :, :1] > found[:, :, 1:]).any():
            raise ValueError("more entities are right than found, or than there are")
        return found

    @pydantic.model_validator(mode="after")
    def _unpacks(self) -> Self:
        self.unpack()
        return self


class DevScores(Facts):
    """Scores on dev, or on a labelled test set.

    `top_label` is the most predicted one, `majority_label` the most frequent one among the rows. Of answers found in
    passages, labels are their texts, the accuracy is their exact match, and macro-F1 the mean of their F1. Of entities,
    labels are those of a text together, accuracy is the share of texts in which all are right, the majority that of
    texts without any, and macro-F1 the mean of the types' F1.
    """

    model_config = pydantic.ConfigDict(strict=True)

    rows: Count
    correct: int = pydantic.Field(ge=0)
    accuracy: float = Share
    macro_f1: float = Share
    loss: float  # nats
    top_label: str
    top_share: float = Share
    majority_label: str
    majority_share: float = Share

    @property
    def exact_match(self) -> float:
        """Return the share of answers found in passages that are right as a whole: their accuracy."""
        return self.accuracy

    @property
    def entity_f1(self) -> float:
        """Return the mean F1 of the types of entities: their macro-F1."""
        return self.macro_f1

    @property
    def is_constant(self) -> bool:
        """Return whether (nearly) every prediction is the same label."""
        return self.top_share >= CONSTANT_SHARE

    @property
    def hits_majority(self) -> bool:
        """Return whether (nearly) only the majority label was predicted, or nothing better than that."""
        says_majority = self.is_constant and self.top_label == self.majority_label
        return says_majority or self.accuracy <= self.majority_share

    @pydantic.model_validator(mode="after")
    def _numbers_agree(self) -> Self:
        if self.correct > self.rows:
            raise ValueError(f"{self.correct} correct of {self.rows} rows")
        if abs(self.correct / self.rows - self.accuracy) > ACCURACY_TOLERANCE:
            raise ValueError(f"accuracy {self.accuracy} is not {self.correct} of {self.rows} rows")
        return self


class EvaluationScores(DevScores, FactsWithLateKeys):
    """Scores of one evaluation on dev during training; `train_loss` is the mean since the previous evaluation.

    `right` says which rows are right, so that it can be told how much choosing among the evaluations flatters.
    """

    late_keys = ("right",)

    step: int
    epoch: float
    train_loss: float
    right: RowBits | None = pydantic.Field(default=None, strict=False)


class CleanScores(Facts):
    """Accuracy on the dev rows that training does not repeat; of entities the macro-F1, beside the right texts."""

    rows: Count
    correct: int = pydantic.Field(ge=0)
    accuracy: float = Share


class TaskResults(Results):
    """What a run on a task ended with, fine-tuned or not: the scores of the chosen weights.

    `test` has those on test sets whose labels the user has, by split; nothing was chosen by them.
    """

    dev: DevScores
    test: dict[str, DevScores] = {}
    best_step: int = pydantic.Field(ge=0)
    best_epoch: float | None = None
    total_steps: int = pydantic.Field(ge=0)
    evaluations: list[EvaluationScores] = []
    train_seconds: float | None = None
    predictions: dict[str, str] = {}  # by split, the file in the run's folder
    predictions_sha256: dict[str, str] = {}
    dev_correct: RowBits | None = None
    dev_entities: EntityCounts | None = None  # of tasks of tags
    dev_clean: CleanScores | None = None  # None where training repeats every row
    weights_sha256: str | None = None
    peak_memory_mib: int | None = None

    @property
    def non_constant(self) -> EvaluationScores | None:
        """Return the most accurate evaluation whose predictions are not all one label; None if there is none."""
        return max((each for each in self.evaluations if not each.is_constant), key=lambda e: e.accuracy, default=None)

    @property
    def choices(self) -> "list[EvaluationScores] | list[TriedC]":
        """Return the scores on dev that the run's score was chosen from; none where nothing was chosen."""
        return self.evaluations

    @pydantic.model_validator(mode="after")
    def _correct_rows_are_those_counted(self) -> Self:
        right = None if self.dev_correct is None else self.dev_correct.unpack()
        if right is not None and (self.dev.rows, self.dev.correct) != (len(right), sum(right)):
            found = f"{sum(right):,} right of {len(right):,} rows"
            raise ValueError(f"dev_correct: {found}; results.dev says {self.dev.correct} of {self.dev.rows}")
        return self


class ReadTexts(Facts):
    """What a model has read of the rows of a split.

    `truncated_rows` did not fit into max_length. `tokens` are those of the texts that were read, without special ones,
    and as often as they were read: a passage in every window, or with every choice. `unknown_tokens` of them are the
    one token for everything that the vocabulary lacks, and `unknown_rows` the rows that have any.
    """

    rows: int = pydantic.Field(ge=0)
    truncated_rows: int = pydantic.Field(ge=0)
    tokens: int = pydantic.Field(ge=0)
    unknown_tokens: int = pydantic.Field(ge=0)
    unknown_rows: int = pydantic.Field(ge=0)

    def __add__(self, other: Self) -> Self:
        """Return the numbers of two parts together."""
        return type(self)(**{name: getattr(self, name) + getattr(other, name) for name in type(self).model_fields})

    @property
    def unknown_share(self) -> float:
        """Return the share of the tokens that are unknown; 0 of no tokens."""
        return self.unknown_tokens / max(self.tokens, 1)


class FinetuneResults(TaskResults):
    """What a fine-tuning run ended with. `read_texts` is by split, not in older records."""

    last_step: int | None = None
    stopped_early: bool | None = None
    evaluation_rows_per_second: float | None = None
    train_rows_per_second: float | None = None
    truncated_train_rows: int | None = None
    read_texts: dict[str, ReadTexts] = {}
    skipped: int | None = None  # updates that were not finite, where there were any, or in fp16
    loss_scale: float | None = None
    peak_gpu_memory_mib: int | None = None  # on a GPU
    weights_dropped: bool = False  # the checkpoint was deleted on purpose; weights_sha256 is what it had


class TriedC(FactsWithLateKeys):
    """Scores on dev of a linear model with one strength of regularisation; `right` says which rows are right."""

    late_keys = ("right",)

    C: float
    accuracy: float = Share
    macro_f1: float = Share
    right: RowBits | None = None


class BaselineResults(TaskResults):
    """What a no-pretraining baseline ended with; of the majority class without what follows."""

    tried: list[TriedC] = []
    C: float | None = None
    temperature: float | None = None
    num_features: int | None = None

    @property
    def choices(self) -> list[EvaluationScores] | list[TriedC]:
        """Return the scores on dev that the run's score was chosen from; none where nothing was chosen."""
        return self.tried
