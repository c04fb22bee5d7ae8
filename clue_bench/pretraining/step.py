"""One optimizer step of pretraining, and a look at rows without one.

Input: a model, an optimizer and a batch. Output: updated weights, and sums for the report. With several processes
each has some of the rows; gradients and counts are summed over all of them.

Legend: B rows of this process, K predictions per row, M predictions of a head, L its classes, C texts of a row.
"""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.distributed
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from clue_bench.models.encoder import Outputs
from clue_bench.pretraining.batches import IGNORED
from clue_bench.pretraining.objectives import Batch
from clue_bench.pretraining.vocabulary_loss import Predicted, vocabulary_loss
from clue_bench.training.dropout import RowDropout
from clue_bench.training.optim import keep_weights_if

Drops = Callable[[slice], RowDropout | None]
"""The dropout masks of some of the batch's rows."""


class Sums(NamedTuple):
    """Sums over a batch, on the device: reading them would wait for it.

    `heads_33` has a row each for vocabulary, order and labels, and columns for loss, right answers and predictions;
    `tokens` counts positions that are no padding.
    """

    heads_33: Tensor
    tokens: Tensor

    def plus(self, other: "Sums") -> "Sums":
        """Return the sums over both."""
        return Sums(self.heads_33 + other.heads_33, self.tokens + other.tokens)

    @classmethod
    def zero(cls, device: torch.device) -> "Sums":
        """Return sums over nothing."""
        return cls(
            torch.zeros(3, 3, dtype=torch.float64, device=device), torch.zeros((), dtype=torch.int64, device=device)
        )


class StepSums(NamedTuple):
    """Of one step: sums, the gradient's norm before clipping, and whether the update was skipped as not finite."""

    sums: Sums
    gradient_norm: Tensor
    skipped: Tensor


def train_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    *,
    drops: Drops,
    micro_batch: int,
    clip_norm: float,
    autocast: torch.dtype | None,
) -> StepSums:
    """Accumulate the gradient of the mean losses over the whole batch, clip it (0: do not), and update.

    Vocabulary, order and label losses are each a mean over all of their predictions, and are summed. `autocast` is the
    type of matrix products, None for the weights' own. An update whose gradient is not finite is skipped.
    """
    scales = _loss_scales(batch)
    sums = Sums.zero(batch.ids_BS.device)
    starts = range(0, len(batch.ids_BS), micro_batch)
    for start in starts:
        rows = slice(start, start + micro_batch)
        is_last = start == starts[-1]
        with _synchronised(model, is_last):
            losses, part = _losses(model, batch.part(rows), drops(rows), autocast)
            scaled = [loss * scale for loss, scale in zip(losses, scales, strict=True) if loss is not None]
            torch.autograd.backward(torch.stack(scaled).sum())
        sums = sums.plus(part)
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), clip_norm or float("inf"), foreach=True)
    skipped = ~norm.isfinite()
    keep_weights_if(optimizer, skipped)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    heads_33 = torch.where(skipped, 0.0, sums.heads_33)  # a sum of losses that are no numbers is none either
    return StepSums(sums._replace(heads_33=heads_33), norm, skipped)


@torch.no_grad()
def look(model: nn.Module, batch: Batch, *, micro_batch: int, autocast: torch.dtype | None) -> Sums:
    """Return the sums over `batch` without training on it."""
    sums = Sums.zero(batch.ids_BS.device)
    for start in range(0, len(batch.ids_BS), micro_batch):
        part = batch.part(slice(start, start + micro_batch))
        sums = sums.plus(_losses(model, part, None, autocast)[1])
    return sums


def _losses(
    model: nn.Module, batch: Batch, drop: RowDropout | None, autocast: torch.dtype | None
) -> tuple[list[Tensor | None], Sums]:
    """Return the summed loss of each head, None where the batch has nothing for it, and the sums for the report."""
    head = partial(vocabulary_loss, targets=batch.targets_BK)
    with torch.autocast(batch.ids_BS.device.type, dtype=autocast, enabled=autocast is not None):
        outputs: Outputs = model(batch.ids_BS, drop=drop, head=head, **dict(_given(batch)))
    losses: list[Tensor | None] = []
    sums = Sums.zero(batch.ids_BS.device)
    for number, (output, targets) in enumerate(zip(outputs, _targets(batch), strict=True)):
        if output is None or targets is None:
            losses.append(None)
            continue
        predicted = output if isinstance(output, Predicted) else _predicted(output, targets)
        losses.append(predicted.loss)
        for column, value in enumerate((predicted.loss.detach(), predicted.correct, (targets != IGNORED).sum())):
            sums.heads_33[number, column] = value
    return losses, sums._replace(tokens=_num_tokens(batch))


def _predicted(logits_BCL: Tensor, targets_BC: Tensor) -> Predicted:
    """Return summed loss and right answers of a head with few classes."""
    logits_ML, targets_M = logits_BCL.flatten(0, 1).float(), targets_BC.flatten()
    loss = F.cross_entropy(logits_ML, targets_M, ignore_index=IGNORED, reduction="sum")
    return Predicted(loss, (logits_ML.detach().argmax(-1) == targets_M).sum())


def _targets(batch: Batch) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Return what the model's outputs are held against, in their order."""
    return batch.targets_BK, batch.orders_BC, batch.labels_BC


def _num_tokens(batch: Batch) -> Tensor:
    """Return how many positions are no padding."""
    if batch.packing is not None:
        return (batch.packing.blocks_BS > 0).sum()
    if batch.keep_BS is not None:
        return batch.keep_BS.sum()
    return torch.full((), batch.ids_BS.numel(), device=batch.ids_BS.device)


def _given(batch: Batch) -> Iterator[tuple[str, Any]]:
    """Yield the model's arguments that this batch has: GPT2 knows neither segments nor chosen positions."""
    for name in ("at_BK", "keep_BS", "segments_BS", "packing", "starts_BC"):
        value = getattr(batch, name)
        if value is not None:
            yield name, value


def _loss_scales(batch: Batch) -> Tensor:
    """Return what makes each head's sum of losses a mean over the whole batch: (3,).

    The batch may lie on several processes. Dividing by the whole batch's predictions, not the micro-batch's, makes the
    split irrelevant to the result.
    """
    none = torch.zeros((), dtype=torch.int64, device=batch.ids_BS.device)
    counts = torch.stack([none if targets is None else (targets != IGNORED).sum() for targets in _targets(batch)])
    processes = 1
    if torch.distributed.is_initialized():
        torch.distributed.all_reduce(counts)
        processes = torch.distributed.get_world_size()  # DDP averages gradients over processes; the loss is a sum
    return processes / counts.clamp(min=1)


def _synchronised(model: nn.Module, is_last: bool) -> Any:
    """Exchange gradients between processes once per step, with the last micro-batch."""
    if isinstance(model, DistributedDataParallel) and not is_last:
        return model.no_sync()
    return nullcontext()
