"""The optimizer and its schedule, for pretraining and fine-tuning alike.

Enters: a module and plain numbers. Leaves: AdamW over two parameter groups, and learning rates by step.
"""

import torch
from torch import nn


def adamw(
    module: nn.Module, *, learning_rate: float, weight_decay: float, betas: tuple[float, float], epsilon: float
) -> torch.optim.AdamW:
    """Return AdamW (with bias correction) that decays matrices and spares biases and norms, as BERT does."""
    decayed = [p for p in module.parameters() if p.ndim >= 2]
    spared = [p for p in module.parameters() if p.ndim < 2]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": spared, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=learning_rate, betas=betas, eps=epsilon, fused=True)


def linear_schedule(step: int, *, peak: float, warmup_steps: int, total_steps: int) -> float:
    """Return the learning rate of step `step` (0-based): up to `peak` over the warm-up, then down to 0 at the end."""
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    return peak * (total_steps - step) / max(1, total_steps - warmup_steps)


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Use `learning_rate` for the next update of every group."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
