"""One optimizer step of pretraining.

Enters: a model, an optimizer and a masked batch. Leaves: updated weights, and sums for the report.

Legend: B rows of the global batch, K predictions per row, V vocabulary.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from clue_bench.engine.objectives import IGNORED, Masked
from clue_bench.models.encoder import MaskedLanguageModel


class StepSums(NamedTuple):
    """Scalars of one step, on the device: reading them would wait for it."""

    loss: Tensor
    correct: Tensor
    predictions: Tensor
    gradient_norm: Tensor


def train_step(
    model: MaskedLanguageModel,
    optimizer: torch.optim.Optimizer,
    batch: Masked,
    *,
    keep_BS: Tensor | None,
    micro_batch: int,
    clip_norm: float,
    autocast: torch.dtype | None,
) -> StepSums:
    """Accumulate the gradient of the mean loss over all predictions of the batch, clip it, and update.

    `autocast` is the type of matrix products, None for the weights' own. `keep_BS` is False at padding.
    """
    predictions = (batch.targets_BK != IGNORED).sum()
    loss_sum = torch.zeros((), device=predictions.device)
    correct = torch.zeros((), dtype=torch.int64, device=predictions.device)
    for start in range(0, len(batch.ids_BS), micro_batch):
        rows = slice(start, start + micro_batch)
        targets_BK = batch.targets_BK[rows]
        with torch.autocast(batch.ids_BS.device.type, dtype=autocast, enabled=autocast is not None):
            keep = None if keep_BS is None else keep_BS[rows]
            logits_BKV = model(batch.ids_BS[rows], keep_BS=keep, at_BK=batch.at_BK[rows])
        logits_MV, targets_M = logits_BKV.flatten(0, 1).float(), targets_BK.flatten()
        loss = F.cross_entropy(logits_MV, targets_M, ignore_index=IGNORED, reduction="sum")
        # Dividing by the whole batch's predictions, not the micro-batch's, makes the split irrelevant to the result.
        torch.autograd.backward(loss / predictions.clamp(min=1))
        loss_sum += loss.detach()
        correct += (logits_MV.detach().argmax(-1) == targets_M).sum()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), clip_norm, foreach=True)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return StepSums(loss_sum, correct, predictions, norm)
