"""The fine-tuning loop: a generator of reports.

Input: a classifier, tokenised train and dev splits, settings. Output: reports, and the best weights on dev.
"Best" is the highest by the task's metric, whatever was predicted, and the earlier evaluation wins ties. If an average
of the weights is kept (EMA), the average is evaluated and saved.

With every option of `settings` off, an update is one forward pass, one backward pass and one step of AdamW. The same
seed gives the same numbers with any of them: masks are functions of (seed, step, row), and torch's generator, from
which models of `transformers` draw theirs, is seeded before every update.
"""

import logging
import math
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from clue_bench.doors.results import RowBits
from clue_bench.errors import ClueBenchError
from clue_bench.finetuning.base_models.heads import Classifier
from clue_bench.finetuning.encode import Encoded, TaskBatch, collate, scores_of_rows, training_batches
from clue_bench.finetuning.judge import judge
from clue_bench.finetuning.predict import predict_in_steps
from clue_bench.finetuning.score import Scores
from clue_bench.finetuning.settings import Settings
from clue_bench.finetuning.techniques import (
    WeightAverage,
    class_weights,
    classification_loss,
    moved_embedding,
    r_drop_loss,
)
from clue_bench.numbers import typed
from clue_bench.training import hardware
from clue_bench.training.counter_rng import derive, row_keys
from clue_bench.training.dropout import DropoutPool, RowDropout
from clue_bench.training.optim import (
    MANY_SKIPPED,
    NOTHING_KEPT,
    LossScale,
    Updates,
    adamw,
    apply_gradients,
    check_weights,
    divergence,
    linear_schedule,
    load_moments,
    loss_scale_for,
)

log = logging.getLogger(__name__)

GRAPH_LENGTHS = 8  # recorded batches are padded to multiples of this many positions, so that there are few shapes
UNREAD_ON_GPU = 10  # updates
SECONDS_BETWEEN_REPORTS = 5.0  # while dev is evaluated

COUNTERS = (
    "last_step",
    "stopped_early",
    "train_seconds",
    "trained_rows",
    "evaluation_seconds",
    "losses",
    "skipped",
    "skipped_in_a_row",
)
"""Plain values that grow with a run."""

Given = tuple[tuple[TaskBatch, Tensor], ...]
"""The parts of a batch, each with its rows' step."""

ADAM = {"adam_beta1": 0.9, "adam_beta2": 0.999, "adam_epsilon": 1e-8}  # BERT's and CLUE's baselines'


def planned_steps(settings: Settings, *, train_rows: int) -> int:
    """Return the number of updates in a whole run."""
    every = math.ceil(train_rows / settings.batch_size) * settings.epochs
    return min(every, settings.steps or every)


def evaluation_steps(settings: Settings, *, train_rows: int) -> list[int]:
    """Return the steps after which dev is evaluated, evenly spread over the run and including the last."""
    total = planned_steps(settings, train_rows=train_rows)
    epochs = total / math.ceil(train_rows / settings.batch_size)
    num = min(settings.max_evaluations, math.ceil(epochs * settings.evaluations_per_epoch))
    return sorted({max(1, round(total * number / num)) for number in range(1, num + 1)})


@dataclass(frozen=True)
class Evaluation:
    """An evaluation on dev. `loss` is the mean training loss (nats) since the last one, `dev_loss` the loss on dev."""

    step: int
    epoch: float
    loss: float
    dev_loss: float
    scores: Scores
    right: RowBits | None = None  # which rows of dev; states of older versions lack it


@dataclass(frozen=True)
class FinetuningReport:
    """One update; `evaluation` is set if dev was evaluated after it. `loss` is the last one that was read.

    While dev is evaluated or a test set predicted, which may take minutes, there are reports of that alone: `evaluated`
    rows, or windows, of `of_split` are done, those of `split`.
    """

    step: int
    loss: float
    evaluation: Evaluation | None = None
    evaluated: int = 0
    of_split: int = 0
    split: str = "dev"


@dataclass
class Finetuning:
    """A run in progress: `evaluations` grow, and `best`, its weights and its dev logits follow the best one."""

    model: Classifier
    train: Encoded
    dev: Encoded
    settings: Settings
    metric: str
    seed: int
    pad: int
    dropout: DropoutPool
    device: torch.device
    autocast: torch.dtype | None
    cuda_graphs: bool = False
    evaluations: list[Evaluation] = field(default_factory=list)
    best: Evaluation | None = None
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    best_logits: npt.NDArray[np.float32] | None = None
    average: WeightAverage | None = None
    last_step: int = 0
    stopped_early: bool = False
    train_seconds: float = 0.0
    trained_rows: int = 0
    evaluation_seconds: float = 0.0
    losses: list[float] = field(default_factory=list)  # since the last evaluation
    skipped: int = 0  # updates that were not finite
    skipped_in_a_row: int = 0  # but for those in which fp16 finds its scale
    kept: str = NOTHING_KEPT  # what is left of the run if it diverges
    unread: list[Tensor] = field(default_factory=list)  # losses that are on the device yet
    num_parts: int = 1  # of a batch, which go through the network one after the other
    optimizer: torch.optim.Optimizer = field(init=False)
    updates: Updates = field(init=False)
    loss_scale: LossScale | None = field(init=False)
    class_weights: Tensor | None = field(init=False, default=None)  # (C,)

    def __post_init__(self) -> None:
        self.loss_scale = loss_scale_for(self.autocast, self.device)
        if power := self.settings.class_balance:
            weights_C = class_weights(self.train.labels, num_classes=self.model.num_classes, power=power)
            self.class_weights = weights_C.to(self.device)
        self.optimizer = adamw(
            self.model,
            learning_rate=self.settings.learning_rate,
            weight_decay=self.settings.weight_decay,
            betas=(ADAM["adam_beta1"], ADAM["adam_beta2"]),
            epsilon=ADAM["adam_epsilon"],
            scale_of=self._rate_scale,
        )
        self.updates = Updates(
            self._learn,
            self.optimizer,
            self._learning_rate,
            device=self.device,
            hint=lambda: f"give --set batch_size={max(1, self.settings.batch_size // 2)}",
            halve=self._halve_parts,
            cuda_graphs=self.cuda_graphs,
        )

    @property
    def steps_per_epoch(self) -> int:
        """Return the number of updates in an epoch."""
        return math.ceil(len(self.train) / self.settings.batch_size)

    @property
    def total_steps(self) -> int:
        """Return the updates of the schedule; `last_step` is lower if the run stopped early."""
        return planned_steps(self.settings, train_rows=len(self.train))

    @property
    def max_unread(self) -> int:
        """Return how many losses may stay unread: on a GPU, reading each one would wait for the device."""
        return UNREAD_ON_GPU if self.device.type == "cuda" else 1

    @property
    def evaluation_rows_per_second(self) -> float:
        """Return the number of rows of dev per second of prediction, over all evaluations so far."""
        return self.dev.num_rows * len(self.evaluations) / self.evaluation_seconds

    def reports(self) -> Iterator[FinetuningReport]:
        """Train from `last_step` to the end, or until patience runs out; yield a report after every update.

        Evaluations that take longer than SECONDS_BETWEEN_REPORTS have reports of their own.
        """
        if self.settings.ema_decay and self.average is None:
            self.start_average()
        self.model.train()
        evaluate_at = evaluation_steps(self.settings, train_rows=len(self.train))
        loss = self.losses[-1] if self.losses else self.evaluations[-1].loss if self.evaluations else math.nan
        for step, rows in enumerate(self._batches(), 1):
            if self.stopped_early:
                return
            if step <= self.last_step:  # of a run that is continued
                continue
            started = time.perf_counter()
            self.unread.append(self._update(step - 1, rows))
            self.last_step = step
            if len(self.unread) >= self.max_unread or step == 1 or step in evaluate_at:
                loss = (self.read_losses() or [loss])[-1]
            hardware.give_back_freed_memory()
            self.train_seconds += time.perf_counter() - started
            self.trained_rows += len(rows)
            evaluation = None
            if step in evaluate_at:
                if not self.losses:
                    raise self._divergence(f"no finite loss since the last evaluation, at step {step}")
                evaluation = yield from self._evaluate(step, sum(self.losses) / len(self.losses))
                self.losses = []
                self.stopped_early = step < self.total_steps and self._is_out_of_patience()
            yield FinetuningReport(step, loss, evaluation)

    @property
    def counters(self) -> dict[str, Any]:
        """Return the plain values of a state, once every loss has been read."""
        self.read_losses()
        return {name: getattr(self, name) for name in COUNTERS}

    @counters.setter
    def counters(self, values: dict[str, Any]) -> None:
        for name in COUNTERS:
            setattr(self, name, values.get(name, getattr(self, name)))  # older states do not count skipped updates

    def start_average(self) -> WeightAverage:
        """Begin to average the weights, before the first update."""
        self.average = WeightAverage(self.model, decay=self.settings.ema_decay)
        return self.average

    def load_moments(self, state: dict[str, Any]) -> None:
        """Take the optimizer's moments from a state."""
        load_moments(self.optimizer, state)

    def _batches(self) -> Iterator[np.ndarray]:
        left = self.total_steps
        for epoch in range(math.ceil(left / self.steps_per_epoch)):
            batches = training_batches(
                self.train.lengths, batch_size=self.settings.batch_size, seed=self.seed, epoch=epoch
            )
            yield from batches[:left]
            left -= len(batches[:left])

    def _rate_scale(self, parameter: str) -> float:
        """Return the factor of a parameter's learning rate: layer_decay, once per layer below the head."""
        return float(self.settings.layer_decay ** (self.model.num_layers + 1 - self.model.layer_of(parameter)))

    def _is_out_of_patience(self) -> bool:
        """Return whether there have been `patience` evaluations since the best one, constant ones not counted.

        As long as all predictions are one class, the model has not begun to learn, which is no reason to give up: small
        models stay at AFQMC's majority class for whole epochs.
        """
        if not self.settings.patience or self.best is None:
            return False
        since = [each for each in self.evaluations if each.step > self.best.step and not each.scores.is_constant]
        return len(since) >= self.settings.patience

    def _learning_rate(self, step: int) -> float:
        settings = self.settings
        warmup_steps = round(self.total_steps * settings.warmup_share)
        return linear_schedule(
            step, peak=settings.learning_rate, warmup_steps=warmup_steps, total_steps=self.total_steps
        )

    def _update(self, step: int, rows: np.ndarray) -> Tensor:
        """Make update `step` (0-based) on `rows`; return what `_learn` does."""
        self._rows = rows
        learned: Tensor = self.updates(step, self._given(step))
        if self.average is not None:
            self.average.update(self.model)
        return learned

    def _given(self, step: int) -> Given:
        """Return the parts of the batch; models that draw their own dropout begin it anew."""
        width = self._recorded_width(self._rows) if self.cuda_graphs else None
        self.dropout.begin(step)
        if self.model.draws_own_dropout:
            torch.manual_seed(derive(self.seed, "dropout", step))
        parts = np.array_split(self._rows, min(self.num_parts, len(self._rows)))
        batches = [collate(self.train, part, pad=self.pad, device=self.device, width=width) for part in parts]
        return tuple((batch, torch.full_like(batch.rows_B, step)) for batch in batches)

    def _halve_parts(self, _: Given) -> Given | None:
        """Cut batches into twice as many parts, after one that ran out of memory; return None if that is no way."""
        if self.num_parts >= len(self._rows):
            return None
        self.num_parts *= 2
        most = math.ceil(self.settings.batch_size / self.num_parts)
        log.warning("out of memory: %d rows at once from step %d on", most, self.last_step + 1)
        hardware.give_back_memory()
        return self._given(self.last_step)

    def _recorded_width(self, rows: np.ndarray) -> int:
        """Return how many positions a recorded batch of `rows` has."""
        longest = int(self.train.lengths[rows].max())
        return min(-(-longest // GRAPH_LENGTHS) * GRAPH_LENGTHS, self.settings.max_length)

    def _learn(self, given: Given) -> Tensor:
        """Train on a batch, given each row's step; return the loss, the gradient's norm, and whether it was skipped.

        Nothing in here may depend on the step except through `given` (`Updates`).
        """
        settings = self.settings
        loss = self._backward(given, self._loss)
        if settings.fgm_epsilon:
            with moved_embedding(self.model.word_embedding(), epsilon=settings.fgm_epsilon) as is_moved:
                if is_moved:
                    self._backward(given, self._adversarial_loss)
        scale = self.loss_scale
        norm, skipped = apply_gradients(
            self.optimizer, self.model.parameters(), clip_norm=settings.clip_norm, loss_scale=scale
        )
        if scale is not None:  # an update that is skipped to find the scale is no divergence
            norm = torch.where(skipped & ~scale.is_exhausted, 0.0, norm)
        return torch.stack((loss, norm, skipped.to(norm.dtype)))

    def _backward(self, given: Given, loss_of: Callable[[TaskBatch, Tensor], Tensor]) -> Tensor:
        """Add up the gradients of all parts' losses, each by its share of the labels; return the whole loss."""
        total, losses = sum(len(batch.labels_B) for batch, _ in given), []
        for batch, steps_B in given:
            loss = loss_of(batch, steps_B)
            loss = loss if len(given) == 1 else loss * (len(batch.labels_B) / total)
            torch.autograd.backward(self._scaled(loss))
            losses.append(loss.detach())
        return losses[0] if len(losses) == 1 else torch.stack(losses).sum()

    def _scaled(self, loss: Tensor) -> Tensor:
        return loss if self.loss_scale is None else loss * self.loss_scale.factor

    def read_losses(self) -> list[float]:
        """Read the losses that are on the device yet, the last `last_step`'s; return finite ones since an evaluation.

        An update whose gradient is not finite was skipped, and is counted. Raises ClueBenchError after many in a row.
        """
        values = torch.stack(self.unread).tolist() if self.unread else []
        self.unread = []
        for number, (loss, norm, skipped) in enumerate(values, self.last_step - len(values) + 1):
            self.skipped += int(skipped)
            if math.isfinite(loss + norm):
                self.losses.append(loss)
                self.skipped_in_a_row = 0
                continue
            self.skipped_in_a_row += 1
            if self.skipped_in_a_row == 1:
                log.warning("update %d was not finite and is skipped", number)
            if self.skipped_in_a_row == MANY_SKIPPED:
                found = f"the loss is {loss} at step {number}, the gradient's norm {norm}"
                raise self._divergence(f"{found}, and {MANY_SKIPPED} updates in a row were not finite")
        return self.losses

    def _divergence(self, found: str) -> ClueBenchError:
        return divergence(found, hint=self._slower, kept=self.kept)

    @property
    def _slower(self) -> str:
        return f"give --set learning_rate={typed(self.settings.learning_rate / 2)}"

    def _loss(self, batch: TaskBatch, steps_B: Tensor) -> Tensor:
        settings = self.settings
        logits_BC = self._logits(batch, steps_B, purpose="dropout")
        if not settings.r_drop_alpha:
            return self._classification_loss(logits_BC, batch)
        other_BC = self._logits(batch, steps_B, purpose="second dropout")
        return r_drop_loss(
            logits_BC,
            other_BC,
            batch.labels_B,
            alpha=settings.r_drop_alpha,
            smoothing=settings.label_smoothing,
            weights_C=self.class_weights,
        )

    def _adversarial_loss(self, batch: TaskBatch, steps_B: Tensor) -> Tensor:
        logits_BC = self._logits(batch, steps_B, purpose="adversarial dropout")
        return self._classification_loss(logits_BC, batch)

    def _classification_loss(self, logits_BC: Tensor, batch: TaskBatch) -> Tensor:
        smoothing = self.settings.label_smoothing
        return classification_loss(logits_BC, batch.labels_B, smoothing=smoothing, weights_C=self.class_weights)

    def _logits(self, batch: TaskBatch, steps_B: Tensor, *, purpose: str) -> Tensor:
        """Return the rows' logits under the dropout masks of this step and purpose."""
        drop: RowDropout | None = None
        if not self.model.draws_own_dropout:
            keys_B = row_keys(steps_B, batch.rows_B, seed=self.seed, purpose=purpose)
            drop = self.dropout.masks(keys_B, sites=self.model.dropout_sites)
        with torch.autocast(self.device.type, dtype=self.autocast, enabled=self.autocast is not None):
            logits_BC: Tensor = self.model(batch.ids_BS, batch.segments_BS, batch.keep_BS, drop)
        return scores_of_rows(logits_BC, batch)

    @property
    def evaluated(self) -> Classifier:
        """Return the model that is evaluated: the average of the weights where one is kept."""
        if self.average is None:
            return self.model
        return cast(Classifier, self.average.model)

    def _evaluate(self, step: int, loss: float) -> Generator[FinetuningReport, None, Evaluation]:
        """Yield reports of an evaluation that takes a while; return it."""
        model, started = self.evaluated, time.perf_counter()
        check_weights(model, step=step, hint=self._slower, kept=self.kept)
        logits = yield from self.predicted(model, self.dev, FinetuningReport(step, loss, of_split=len(self.dev)))
        self.evaluation_seconds += time.perf_counter() - started
        judged = judge(self.dev, logits)
        evaluation = Evaluation(
            step=step,
            epoch=step / self.steps_per_epoch,
            loss=loss,
            dev_loss=judged.loss,
            scores=judged.scores,
            right=judged.right,
        )
        self.evaluations.append(evaluation)
        if self.best is None or self._rank(evaluation) > self._rank(self.best):
            self.best = evaluation
            self.best_logits = logits
            self.best_weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        return evaluation

    def predicted(
        self, model: Classifier, encoded: Encoded, report: FinetuningReport
    ) -> Generator[FinetuningReport, None, npt.NDArray[np.float32]]:
        """Yield `report` every few seconds, with what has been done; return the logits of `predict_logits`."""
        steps = predict_in_steps(model, encoded, pad=self.pad, device=self.device, autocast=self.autocast)
        reported = time.monotonic()
        while True:
            try:
                done = next(steps)
            except StopIteration as ended:
                logits: npt.NDArray[np.float32] = ended.value
                return logits
            if (now := time.monotonic()) - reported >= SECONDS_BETWEEN_REPORTS:
                reported = now
                yield replace(report, evaluated=done)

    def _rank(self, evaluation: Evaluation) -> float:
        return float(getattr(evaluation.scores, self.metric))
