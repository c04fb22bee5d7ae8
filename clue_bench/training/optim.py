"""The optimizer and its schedule, for pretraining and fine-tuning alike.

Input: a module and plain numbers. Output: AdamW over two parameter groups, or two for each layer, and learning rates
by step.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

UNCORRECTED = 2.0**20
"""Updates after which beta^t is 0 for every beta of the cards; far from 2^24, where fp32 no longer counts."""


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
        rate = learning_rate * group.get("scale", 1.0)
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def drop_bias_correction(optimizer: torch.optim.Optimizer) -> None:
    """Leave out Adam's bias correction, as BERT's own optimizer does; to be said again after loading a state.

    Adam divides its moments by 1 - beta^t. Updates are counted from UNCORRECTED on, where both are 1.
    """
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            state = optimizer.state[parameter]
            if not state:
                state["step"] = torch.zeros((), dtype=torch.float32, device=parameter.device)
                state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
            state["step"].fill_(UNCORRECTED)


def make_recordable(optimizer: torch.optim.Optimizer, device: torch.device) -> None:
    """Keep the learning rate on the device, so that a recorded update (`graphs`) reads it there when replayed."""
    for group in optimizer.param_groups:
        group["lr"] = torch.tensor(group["lr"], dtype=torch.float32, device=device)
        group["capturable"] = True


def load_moments(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Take moments and counts from a state; rates and other settings stay those that the optimizer was made with."""
    optimizer.load_state_dict({"state": state["state"], "param_groups": optimizer.state_dict()["param_groups"]})


def keep_weights_if(optimizer: Any, skipped: Tensor) -> None:
    """Make the next update leave weights and moments as they are where `skipped` (a bool scalar) is True.

    The fused kernels read the flag on the device, so nothing waits for it; it is the one that loss scaling uses.
    """
    optimizer.found_inf = skipped.float()
