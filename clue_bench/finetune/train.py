"""The fine-tuning loop: a generator of reports.

Enters: a classifier, tokenised train and dev splits, settings. Leaves: reports, and the best weights on dev.
"Best" is by the task's metric, the earlier evaluation winning ties; an evaluation whose predictions are all one class
counts only if there is no other, since a constant needs no model.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from clue_bench.errors import ClueBenchError
from clue_bench.finetune.batches import collate, training_batches
from clue_bench.finetune.encode import Encoded
from clue_bench.finetune.heads import SequenceClassifier
from clue_bench.finetune.predict import predict_logits
from clue_bench.finetune.score import Scores, score
from clue_bench.finetune.settings import Settings
from clue_bench.models.dropout import DropoutPool
from clue_bench.optim import adamw, linear_schedule, set_learning_rate
from clue_bench.order import row_keys

ADAM = {"adam_beta1": 0.9, "adam_beta2": 0.999, "adam_epsilon": 1e-8}  # BERT's and CLUE's baselines'


@dataclass(frozen=True)
class Evaluation:
    """One look at dev. `loss` is the mean training loss (nats) since the last one, `dev_loss` that on dev."""

    step: int
    epoch: float
    loss: float
    dev_loss: float
    scores: Scores


@dataclass(frozen=True)
class Report:
    """One update; `evaluation` is set where dev was looked at after it."""

    step: int
    loss: float
    evaluation: Evaluation | None = None


@dataclass
class Finetuning:
    """A run: the model moves, `evaluations` grow, `best` and `best_weights` follow the best one."""

    model: SequenceClassifier
    train: Encoded
    dev: Encoded
    settings: Settings
    metric: str
    seed: int
    pad: int
    dropout: DropoutPool
    device: torch.device
    autocast: torch.dtype | None
    evaluations: list[Evaluation] = field(default_factory=list)
    best: Evaluation | None = None
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    train_seconds: float = 0.0
    trained_rows: int = 0

    @property
    def steps_per_epoch(self) -> int:
        """Updates in an epoch."""
        return math.ceil(len(self.train) / self.settings.batch_size)

    @property
    def total_steps(self) -> int:
        """Updates in the whole run."""
        every = self.steps_per_epoch * self.settings.epochs
        return min(every, self.settings.steps or every)

    def reports(self) -> Iterator[Report]:
        """Train to the end; yield a report after every update."""
        optimizer = adamw(
            self.model,
            learning_rate=self.settings.learning_rate,
            weight_decay=self.settings.weight_decay,
            betas=(ADAM["adam_beta1"], ADAM["adam_beta2"]),
            epsilon=ADAM["adam_epsilon"],
        )
        self.model.train()
        evaluate_at = self._evaluation_steps()
        losses: list[float] = []
        for step, rows in enumerate(self._batches(), 1):
            started = time.perf_counter()
            loss = self._update(optimizer, step - 1, rows)
            losses.append(loss)
            self.train_seconds += time.perf_counter() - started
            self.trained_rows += len(rows)
            evaluation = None
            if step in evaluate_at:
                evaluation = self._evaluate(step, sum(losses) / len(losses))
                losses = []
            yield Report(step, loss, evaluation)

    def _batches(self) -> Iterator[np.ndarray]:
        left = self.total_steps
        for epoch in range(self.settings.epochs):
            batches = training_batches(
                self.train.lengths, batch_size=self.settings.batch_size, seed=self.seed, epoch=epoch
            )
            yield from batches[:left]
            left -= len(batches[:left])

    def _evaluation_steps(self) -> set[int]:
        """Return the steps after which dev is looked at: evenly over every epoch, and after the last step."""
        per_epoch = self.settings.evaluations_per_epoch
        looks = self.settings.epochs * per_epoch
        steps = {round(self.steps_per_epoch * look / per_epoch) for look in range(1, looks + 1)}
        return {step for step in steps if 0 < step <= self.total_steps} | {self.total_steps}

    def _update(self, optimizer: torch.optim.Optimizer, step: int, rows: np.ndarray) -> float:
        settings = self.settings
        rate = linear_schedule(
            step,
            peak=settings.learning_rate,
            warmup_steps=round(self.total_steps * settings.warmup_share),
            total_steps=self.total_steps,
        )
        set_learning_rate(optimizer, rate)
        keys = row_keys(np.full(len(rows), step), rows, seed=self.seed, purpose="dropout")
        drop = self.dropout.masks(
            torch.from_numpy(keys).to(self.device), places=self.model.encoder.config.dropout_places
        )
        batch = collate(self.train, rows, pad=self.pad, device=self.device)
        with torch.autocast(self.device.type, dtype=self.autocast, enabled=self.autocast is not None):
            logits_BC = self.model(batch.ids_BS, batch.segments_BS, batch.keep_BS, drop)
        loss = F.cross_entropy(logits_BC.float(), batch.labels_B)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), settings.clip_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise ClueBenchError(
                f"the loss is {value} at step {step + 1}: the run has diverged",
                f"--set learning_rate={settings.learning_rate / 2:g}",
            )
        return value

    def _evaluate(self, step: int, loss: float) -> Evaluation:
        logits = predict_logits(self.model, self.dev, pad=self.pad, device=self.device, autocast=self.autocast)
        gold = torch.from_numpy(self.dev.labels)
        evaluation = Evaluation(
            step=step,
            epoch=step / self.steps_per_epoch,
            loss=loss,
            dev_loss=float(F.cross_entropy(torch.from_numpy(logits), gold)),
            scores=score(self.dev.labels, logits.argmax(axis=1)),
        )
        self.evaluations.append(evaluation)
        if self.best is None or self._rank(evaluation) > self._rank(self.best):
            self.best = evaluation
            self.best_weights = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
        return evaluation

    def _rank(self, evaluation: Evaluation) -> tuple[bool, float]:
        return not evaluation.scores.is_constant, float(getattr(evaluation.scores, self.metric))
