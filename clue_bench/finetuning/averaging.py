"""EMA: an exponential moving average of the weights, which is evaluated and kept in place of the weights themselves.

Input: a model before its first update. Output: a copy that follows it, a little with every update (Polyak and Juditsky
1992; Tarvainen and Valpola 2017). The average begins as the weights after the first update.

A fine-tuning run is short: with a constant decay of 0.999, a third of the average would after 1,000 updates still be
the weights that it began with, a head drawn at random. So the decay of the update after `n` others is
min(decay, (1 + n) / (10 + n)), the rule of TensorFlow's ExponentialMovingAverage.
"""

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

Tensors = tuple[Tensor, ...] | list[Tensor]


class WeightAverage:
    """The average of a model's weights. Costs a second copy of them, and one pass over both at every update."""

    def __init__(self, model: nn.Module, *, decay: float) -> None:
        def average(averaged: Tensors, current: Tensors, count: Tensor | int) -> None:
            torch._foreach_lerp_(averaged, current, 1 - decay_after(int(count), decay=decay))

        self._average = AveragedModel(model, multi_avg_fn=average)

    def update(self, model: nn.Module) -> None:
        """Move the average towards the weights that `model` has now."""
        self._average.update_parameters(model)

    @property
    def model(self) -> nn.Module:
        """The copy that holds the average."""
        return self._average.module


def decay_after(count: int, *, decay: float) -> float:
    """Return the share of the average that stays, `count` updates having gone into it."""
    return min(decay, (1 + count) / (10 + count))
