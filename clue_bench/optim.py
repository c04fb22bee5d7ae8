"""The optimizer and its schedule, for pretraining and fine-tuning alike.

Enters: a module and plain numbers. Leaves: AdamW over two parameter groups, or two for each layer, and learning rates
by step.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


def adamw(
    module: nn.Module,
    *,
    learning_rate: float,
    weight_decay: float,
    betas: tuple[float, float],
    epsilon: float,
    scale_of: Callable[[str], float] = lambda _: 1.0,
) -> torch.optim.AdamW:
    """Return AdamW (with bias correction) that decays matrices and spares biases and norms, as BERT does.

    `scale_of` says by what a parameter's learning rate is multiplied; `set_learning_rate` keeps to it.
    """
    parameters: dict[tuple[bool, float], list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        parameters.setdefault((parameter.ndim >= 2, scale_of(name)), []).append(parameter)
    groups = [
        {"params": parameters[is_matrix, scale], "weight_decay": weight_decay if is_matrix else 0.0, "scale": scale}
        for is_matrix, scale in sorted(parameters, reverse=True)
    ]
    return torch.optim.AdamW(groups, lr=learning_rate, betas=betas, eps=epsilon, fused=True)


def linear_schedule(step: int, *, peak: float, warmup_steps: int, total_steps: int, final: float = 0.0) -> float:
    """Return the learning rate of step `step` (0-based): up to `peak` over the warm-up, then down to `final`."""
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    return final + (peak - final) * (total_steps - step) / max(1, total_steps - warmup_steps)


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Use `learning_rate`, times the group's own scale, for the next update of every group."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group.get("scale", 1.0)


def set_uncorrected_rate(
    optimizer: torch.optim.Optimizer, learning_rate: float, *, step: int, epsilon: float, weight_decay: float
) -> None:
    """Use `learning_rate` for update `step` (0-based), undoing Adam's bias correction, as BERT's own optimizer has it.

    With corrections c1 = 1 - beta1^t and c2 = 1 - beta2^t, Adam's update is lr·(m/c1)/(√(v/c2) + eps): a rate of
    lr·c1/√c2 and an epsilon of eps/√c2 make it lr·m/(√v + eps). The decay keeps its own lr·weight_decay.
    """
    # torch does not count skipped updates; its t must be ours, or the two corrections do not cancel.
    counts = [state["step"] for state in optimizer.state.values()]
    if counts:
        torch._foreach_zero_(counts)
        torch._foreach_add_(counts, step)
    for group in optimizer.param_groups:
        beta1, beta2 = group["betas"]
        root = (1 - beta2 ** (step + 1)) ** 0.5
        group["lr"] = learning_rate * (1 - beta1 ** (step + 1)) / root
        group["eps"] = epsilon / root
        if group["weight_decay"]:
            group["weight_decay"] = weight_decay * learning_rate / group["lr"] if group["lr"] else weight_decay


def keep_weights_if(optimizer: Any, skipped: Tensor) -> None:
    """Make the next update leave weights and moments as they are where `skipped` (a bool scalar) is True.

    The fused kernels read the flag on the device, so nothing waits for it; it is the one that loss scaling uses.
    """
    optimizer.found_inf = skipped.float()
