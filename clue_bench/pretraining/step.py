"""Make one optimizer step of pretraining, or evaluate rows without one.

Input: a model, an optimizer and a batch. Output: updated weights, and sums for the report. The model returns what its
heads need, and the losses are computed here. Several processes (`processes`) exchange the numbers of predictions before
`accumulate`, and the gradient between that and `update`.

Legend: B rows of this process, M predictions of a head, L its classes, C texts of a row, J tokens of a row's bag.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from clue_bench.models.encoder import Outputs
from clue_bench.pretraining.objectives import PretrainingBatch
from clue_bench.pretraining.rows import IGNORED
from clue_bench.pretraining.vocabulary_loss import Predicted, vocabulary_loss
from clue_bench.training.dropout import RowDropout
from clue_bench.training.optim import LossScale, apply_gradients
from clue_bench.training.working_weights import Network, WorkingWeights

Drops = Callable[[slice], RowDropout | None]
"""The dropout masks of some of the batch's rows."""


class Mean(NamedTuple):
    """Mean loss and accuracy of one head."""

    loss: float
    accuracy: float


class Means(NamedTuple):
    """The means of `Sums`, None over nothing."""

    lm: Mean | None = None
    sop: Mean | None = None
    pair: Mean | None = None
    bag: Mean | None = None
    tokens: int = 0

    def loss(self, *, bag_weight: float) -> float:
        """Return the sum of the heads' losses, that of bags by its weight."""
        bag = bag_weight * self.bag.loss if self.bag else 0.0
        return sum(head.loss for head in (self.lm, self.sop, self.pair) if head) + bag


class Sums(NamedTuple):
    """Sums over a batch, on the device.

    `heads_43` has a row each for tokens, order, labels and bags, and columns for loss, right answers and predictions;
    `tokens` counts positions that are not padding.
    """

    heads_43: Tensor
    tokens: Tensor

    @classmethod
    def zero(cls, device: torch.device) -> "Sums":
        """Return sums over nothing."""
        return cls(
            torch.zeros(4, 3, dtype=torch.float64, device=device), torch.zeros((), dtype=torch.int64, device=device)
        )

    def plus(self, other: "Sums") -> "Sums":
        """Return the sums over both."""
        return Sums(self.heads_43 + other.heads_43, self.tokens + other.tokens)

    def means(self) -> Means:
        """Return the means. Reading them waits for the device."""
        means = [Mean(loss / num, right / num) if num else None for loss, right, num in self.heads_43.tolist()]
        lm, sop, pair, bag = means
        return Means(lm, sop, pair, bag, int(self.tokens))


class StepSums(NamedTuple):
    """The results of one step: sums, the gradient's norm before clipping, and whether the update was skipped."""

    sums: Sums
    gradient_norm: Tensor
    skipped: Tensor


def train_step(
    model: Network,
    optimizer: torch.optim.Optimizer,
    batch: PretrainingBatch,
    *,
    drops: Drops,
    micro_batch: int,
    clip_norm: float,
    autocast: torch.dtype | None,
    bag_weight: float = 0.0,
    loss_scale: LossScale | None = None,
) -> StepSums:
    """Accumulate the gradient of the mean losses over the whole batch, clip it (0: do not), and update.

    The losses of tokens, order, labels and bags are each a mean over all of their predictions, and are summed, that of
    bags by `bag_weight`. `autocast` is the type of matrix products, None for the weights' own. An update whose gradient
    is not finite is skipped. In fp16 the gradient is one of losses times `loss_scale`.
    """
    sums = accumulate(
        model,
        batch,
        num_predictions(batch),
        drops=drops,
        micro_batch=micro_batch,
        autocast=autocast,
        bag_weight=bag_weight,
        loss_scale=loss_scale,
    )
    return update(model, optimizer, sums, clip_norm=clip_norm, loss_scale=loss_scale)


def num_predictions(batch: PretrainingBatch) -> Tensor:
    """Return the number of each head's predictions: (4,)."""
    none = torch.zeros((), dtype=torch.int64, device=batch.ids_BS.device)
    return torch.stack([none if targets is None else (targets != IGNORED).sum() for targets in batch.targets])


def accumulate(
    model: Network,
    batch: PretrainingBatch,
    predictions_4: Tensor,
    *,
    drops: Drops,
    micro_batch: int,
    autocast: torch.dtype | None,
    bag_weight: float = 0.0,
    loss_scale: LossScale | None = None,
) -> Sums:
    """Leave with the weights the gradient of the batch's losses, each over its head's `predictions_4`; return sums.

    The batch may be spread over several processes: dividing by the predictions of all, not the micro-batch's, makes the
    split irrelevant to the result.
    """
    scales = 1 / predictions_4.clamp(min=1)
    scales[-1] *= bag_weight
    scales = scales if loss_scale is None else scales * loss_scale.factor
    sums = Sums.zero(batch.ids_BS.device)
    for start in range(0, len(batch.ids_BS), micro_batch):
        rows = slice(start, start + micro_batch)
        if isinstance(model, WorkingWeights) and 0 < start > len(batch.ids_BS) - micro_batch:
            # Fewer rows than before: torch's compiler traces no weights that have a gradient of another type.
            model.hand_over_gradients()
        losses, part = _losses(model, batch.part(rows), drops(rows), autocast)
        scaled = [loss * scale for loss, scale in zip(losses, scales, strict=True) if loss is not None]
        torch.autograd.backward(torch.stack(scaled).sum())
        sums = sums.plus(part)
    if isinstance(model, WorkingWeights):
        model.hand_over_gradients()
    return sums


def update(
    model: Network,
    optimizer: torch.optim.Optimizer,
    sums: Sums,
    *,
    clip_norm: float,
    loss_scale: LossScale | None = None,
) -> StepSums:
    """Update the weights by their gradient, and clear it."""
    norm, skipped = apply_gradients(optimizer, model.parameters(), clip_norm=clip_norm, loss_scale=loss_scale)
    if isinstance(model, WorkingWeights):
        model.refresh()
    heads_43 = torch.where(skipped, 0.0, sums.heads_43)  # a sum of losses that are not finite is not finite either
    return StepSums(sums._replace(heads_43=heads_43), norm, skipped)


def try_out(
    model: Network,
    batch: PretrainingBatch,
    drop: RowDropout | None,
    *,
    autocast: torch.dtype | None,
) -> None:
    """Compute the gradient of a batch and forget it, for the memory that it takes."""
    losses, _ = _losses(model, batch, drop, autocast)
    torch.autograd.backward(torch.stack([loss for loss in losses if loss is not None]).sum())
    if isinstance(model, WorkingWeights):
        model.hand_over_gradients()
    for parameter in model.parameters():
        parameter.grad = None


@torch.no_grad()
def evaluate(model: Network, batch: PretrainingBatch, *, micro_batch: int, autocast: torch.dtype | None) -> Sums:
    """Return the sums over `batch` without training on it."""
    sums = Sums.zero(batch.ids_BS.device)
    for start in range(0, len(batch.ids_BS), micro_batch):
        part = batch.part(slice(start, start + micro_batch))
        sums = sums.plus(_losses(model, part, None, autocast)[1])
    return sums


def _losses(
    model: Network, batch: PretrainingBatch, drop: RowDropout | None, autocast: torch.dtype | None
) -> tuple[list[Tensor | None], Sums]:
    """Return the summed loss of each head, None where the batch has nothing for it, and the sums for the report."""
    with torch.autocast(batch.ids_BS.device.type, dtype=autocast, enabled=autocast is not None):
        outputs: Outputs = model(batch.ids_BS, drop=drop, **batch.model_inputs)
        of_tokens = partial(vocabulary_loss, weight_VD=outputs.matrix_VE, bias_V=outputs.bias_V)
        num = batch.targets_BK.shape[1]
        masked = of_tokens(outputs.hidden[:, :num], targets=batch.targets_BK)
        bag = None
        if batch.bag_BJ is not None:
            firsts_BJE = outputs.hidden[:, num:].expand(-1, batch.bag_BJ.shape[1], -1)
            bag = of_tokens(firsts_BJE, targets=batch.bag_BJ)
    predicted = [
        masked,
        _class_loss(outputs.order_BC2, batch.orders_BC),
        _class_loss(outputs.labels_BCL, batch.labels_BC),
        bag,
    ]
    sums = Sums.zero(batch.ids_BS.device)
    for head_3, head, targets in zip(sums.heads_43, predicted, batch.targets, strict=True):
        if head is not None and targets is not None:
            for column, value in enumerate((head.loss.detach(), head.correct, (targets != IGNORED).sum())):
                head_3[column] = value
    return [head and head.loss for head in predicted], sums._replace(tokens=batch.num_tokens)


def _class_loss(logits_BCL: Tensor | None, targets_BC: Tensor | None) -> Predicted | None:
    """Return summed loss and right answers of a head with few classes."""
    if logits_BCL is None or targets_BC is None:
        return None
    logits_ML, targets_M = logits_BCL.flatten(0, 1).float(), targets_BC.flatten()
    loss = F.cross_entropy(logits_ML, targets_M, ignore_index=IGNORED, reduction="sum")
    # As for the vocabulary, ties are wrong: in bf16 they are frequent, and would all count for the first class.
    best_ML = logits_ML.detach() == logits_ML.detach().amax(-1, keepdim=True)
    is_right_M = best_ML.gather(1, targets_M.clamp(min=0)[:, None])[:, 0] & (best_ML.sum(-1) == 1)
    return Predicted(loss, (is_right_M & (targets_M != IGNORED)).sum())
