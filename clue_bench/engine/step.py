"""One optimizer step of pretraining, and a look at rows without one.

Enters: a model, an optimizer and a batch. Leaves: updated weights, and sums for the report. With several processes
each has some of the rows; gradients and counts are summed over all of them.

Legend: B rows of this process, K predictions per row, M predictions, C texts of a row, V vocabulary.
"""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
import torch.distributed
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from clue_bench.engine.batches import IGNORED
from clue_bench.engine.objectives import Batch
from clue_bench.models.dropout import RowDropout
from clue_bench.models.encoder import Outputs
from clue_bench.optim import keep_weights_if

Drops = Callable[[slice], RowDropout | None]
"""The dropout masks of some of the batch's rows."""


class Sums(NamedTuple):
    """Sums over the predictions and texts of a batch, on the device: reading them would wait for it.

    `tokens` counts positions that are no padding.
    """

    lm_loss: Tensor
    correct: Tensor
    predictions: Tensor
    order_loss: Tensor
    order_correct: Tensor
    orders: Tensor
    tokens: Tensor

    def plus(self, other: "Sums") -> "Sums":
        """Return the sums over both."""
        return Sums(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))

    @classmethod
    def zero(cls, device: torch.device) -> "Sums":
        """Return sums over nothing."""
        return cls(*torch.zeros(len(cls._fields), dtype=torch.float64, device=device).unbind())


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

    Vocabulary and order losses are each a mean over all of their predictions, and are summed. `autocast` is the type of
    matrix products, None for the weights' own. An update whose gradient is not finite is skipped.
    """
    scales = _loss_scales(batch)
    sums = Sums.zero(batch.ids_BS.device)
    starts = range(0, len(batch.ids_BS), micro_batch)
    for start in starts:
        rows = slice(start, start + micro_batch)
        is_last = start == starts[-1]
        with _synchronised(model, is_last):
            loss, part = _losses(model, batch.part(rows), scales, drops(rows), autocast)
            torch.autograd.backward(loss)
        sums = sums.plus(part)
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), clip_norm or float("inf"), foreach=True)
    skipped = ~norm.isfinite()
    keep_weights_if(optimizer, skipped)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return StepSums(Sums(*(torch.where(skipped, 0.0, value) for value in sums)), norm, skipped)


@torch.no_grad()
def look(model: nn.Module, batch: Batch, *, micro_batch: int, autocast: torch.dtype | None) -> Sums:
    """Return the sums over `batch` without training on it."""
    sums = Sums.zero(batch.ids_BS.device)
    for start in range(0, len(batch.ids_BS), micro_batch):
        part = batch.part(slice(start, start + micro_batch))
        sums = sums.plus(_losses(model, part, (1.0, 1.0), None, autocast)[1])
    return sums


def _losses(
    model: nn.Module, batch: Batch, scales: tuple[Any, Any], drop: RowDropout | None, autocast: torch.dtype | None
) -> tuple[Tensor, Sums]:
    """Return the scaled loss to differentiate, and the sums for the report."""
    with torch.autocast(batch.ids_BS.device.type, dtype=autocast, enabled=autocast is not None):
        outputs: Outputs = model(batch.ids_BS, drop=drop, **dict(_given(batch)))
    logits_MV, targets_M = outputs.logits.flatten(0, 1).float(), batch.targets_BK.flatten()
    lm_loss = F.cross_entropy(logits_MV, targets_M, ignore_index=IGNORED, reduction="sum")
    correct = (logits_MV.detach().argmax(-1) == targets_M).sum()
    loss, none = lm_loss * scales[0], lm_loss.new_zeros(())
    order_loss = order_correct = orders = none
    if outputs.order_BC2 is not None and batch.orders_BC is not None:
        order_M2, orders_M = outputs.order_BC2.flatten(0, 1).float(), batch.orders_BC.flatten()
        order_loss = F.cross_entropy(order_M2, orders_M, ignore_index=IGNORED, reduction="sum")
        order_correct = (order_M2.detach().argmax(-1) == orders_M).sum()
        orders = (orders_M != IGNORED).sum()
        loss = loss + order_loss * scales[1]
    predictions = (targets_M != IGNORED).sum()
    values = (lm_loss.detach(), correct, predictions, order_loss.detach(), order_correct, orders, _num_tokens(batch))
    return loss, Sums(*(value.double() for value in values))


def _num_tokens(batch: Batch) -> Tensor:
    """Return how many positions are no padding."""
    if batch.packing is not None:
        return (batch.packing.blocks_BS > 0).sum()
    return batch.keep_BS.sum() if batch.keep_BS is not None else torch.tensor(batch.ids_BS.numel())


def _given(batch: Batch) -> Iterator[tuple[str, Any]]:
    """Yield the model's arguments that this batch has: GPT2 knows neither segments nor chosen positions."""
    for name in ("at_BK", "keep_BS", "segments_BS", "packing", "starts_BC"):
        value = getattr(batch, name)
        if value is not None:
            yield name, value


def _loss_scales(batch: Batch) -> tuple[Tensor, Tensor]:
    """Return what makes sums of losses means over the whole batch, which may lie on several processes.

    Dividing by the whole batch's predictions, not the micro-batch's, makes the split irrelevant to the result.
    """
    none = torch.zeros((), dtype=torch.int64, device=batch.ids_BS.device)
    orders = none if batch.orders_BC is None else (batch.orders_BC != IGNORED).sum()
    counts = torch.stack([(batch.targets_BK != IGNORED).sum(), orders])
    processes = 1
    if torch.distributed.is_initialized():
        torch.distributed.all_reduce(counts)
        processes = torch.distributed.get_world_size()  # DDP averages gradients over processes; the loss is a sum
    scale = processes / counts.clamp(min=1)
    return scale[0], scale[1]


def _synchronised(model: nn.Module, is_last: bool) -> Any:
    """Exchange gradients between processes once per step, with the last micro-batch."""
    if isinstance(model, DistributedDataParallel) and not is_last:
        return model.no_sync()
    return nullcontext()
