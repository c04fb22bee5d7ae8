"""The losses of fine-tuning, and techniques that may raise scores: balanced classes, label smoothing, R-Drop, FGM, EMA.

Input: logits and labels; a model whose gradients have been computed; a model before its first update. Output: losses; a
moved embedding; an average of weights.

Legend: B rows, C classes.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

Tensors = tuple[Tensor, ...] | list[Tensor]


def class_weights(labels: Sequence[int] | npt.NDArray[np.int64], *, num_classes: int, power: float) -> Tensor:
    """Return a weight for each class (C,): one over its training rows to the `power`, of mean 1 over training rows.

    At 0 all classes have 1; at 1 all of them have the same share of the loss. A class without rows counts as one row.
    """
    rows_C = torch.bincount(torch.as_tensor(labels), minlength=num_classes).double()
    weights_C = rows_C.clamp(min=1) ** -power
    return (weights_C * len(labels) / (weights_C * rows_C).sum()).float()


def classification_loss(
    logits_BC: Tensor, labels_B: Tensor, *, smoothing: float, weights_C: Tensor | None = None
) -> Tensor:
    """Return the mean cross-entropy (nats), each row times the weight of its class.

    With `smoothing` e the target is 1 - e on the label and e spread over all classes (Szegedy et al. 2016).
    """
    logits_BC = logits_BC.float()
    if weights_C is None:
        return F.cross_entropy(logits_BC, labels_B, label_smoothing=smoothing)
    # Not by torch's `weight`: that weighs each class of a smoothed target, and divides by the weights of the batch.
    losses_B = F.cross_entropy(logits_BC, labels_B, label_smoothing=smoothing, reduction="none")
    return (losses_B * weights_C[labels_B]).mean()


def r_drop_loss(
    one_BC: Tensor,
    other_BC: Tensor,
    labels_B: Tensor,
    *,
    alpha: float,
    smoothing: float,
    weights_C: Tensor | None = None,
) -> Tensor:
    """Return the loss of two passes with different dropout masks (R-Drop, Liang et al. 2021).

    The mean of their cross-entropies, plus `alpha` times the mean of the two divergences between their distributions,
    per row.
    """
    entropy = (
        classification_loss(one_BC, labels_B, smoothing=smoothing, weights_C=weights_C)
        + classification_loss(other_BC, labels_B, smoothing=smoothing, weights_C=weights_C)
    ) / 2
    one, other = one_BC.float().log_softmax(-1), other_BC.float().log_softmax(-1)
    there = F.kl_div(one, other, reduction="batchmean", log_target=True)
    back = F.kl_div(other, one, reduction="batchmean", log_target=True)
    return entropy + alpha * (there + back) / 2


@contextmanager
def moved_embedding(embedding: nn.Parameter, *, epsilon: float) -> Iterator[bool]:
    """Move `embedding` by epsilon · g / ‖g‖, g its gradient, while the block runs (FGM, Miyato et al. 2017).

    This is the direction that increases the loss most, for a second pass. Yields whether it was moved, which it is not
    if the gradient is 0 or not finite. Afterwards it is restored, bit for bit.
    """
    gradient = embedding.grad
    norm = 0.0 if gradient is None else float(gradient.norm())
    if gradient is None or not 0.0 < norm < float("inf"):
        yield False
        return
    before = embedding.detach().clone()
    with torch.no_grad():
        embedding.add_(gradient, alpha=epsilon / norm)
    try:
        yield True
    finally:
        with torch.no_grad():
            embedding.copy_(before)


class WeightAverage:
    """EMA: an exponential moving average of a model's weights, which is evaluated and kept in their place.

    It moves a little towards the model with every update (Polyak and Juditsky 1992; Tarvainen and Valpola 2017) and
    starts as the weights after the first one. It costs a second copy of them, and one pass over both per update.

    A fine-tuning run is short: with a constant decay of 0.999, a third of the average would still be the initial
    weights after 1,000 updates, including a random head. So the decay of the update after `n` others is
    min(decay, (1 + n) / (10 + n)), the rule of TensorFlow's ExponentialMovingAverage.
    """

    def __init__(self, model: nn.Module, *, decay: float) -> None:
        def average(averaged: Tensors, current: Tensors, count: Tensor | int) -> None:
            torch._foreach_lerp_(averaged, current, 1 - decay_after(int(count), decay=decay))

        self._average = AveragedModel(model, multi_avg_fn=average)

    def update(self, model: nn.Module) -> None:
        """Move the average towards the current weights of `model`."""
        self._average.update_parameters(model)

    @property
    def state(self) -> dict[str, Tensor]:
        """Return the average and the number of updates in it."""
        return dict(self._average.state_dict())

    def load(self, state: dict[str, Tensor]) -> None:
        """Go on from a `state`."""
        self._average.load_state_dict(state)

    @property
    def model(self) -> nn.Module:
        """Return the copy that holds the average."""
        return self._average.module


def decay_after(count: int, *, decay: float) -> float:
    """Return the share of the average that stays after `count` updates."""
    return min(decay, (1 + count) / (10 + count))
