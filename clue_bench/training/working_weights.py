"""Copies of a model's weights in bf16, for its forward and backward passes; the model's own are the fp32 masters.

Input: a model. Output: a callable of the same results up to rounding, and gradients that the masters take over. Under
autocast every pass casts every weight, and hidden states stay in fp32 between the products; here hidden states are in
bf16, too, and weights are cast once per update. States and checkpoints hold the masters; copies are made of them anew.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from clue_bench.training.hardware import Precision


class WorkingWeights:
    """A model that computes with bf16 copies of its weights. Call `refresh` whenever the masters have changed."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self._copies: dict[str, Tensor] = {}
        for name, master in model.named_parameters():
            copy = master.detach().to(torch.bfloat16).requires_grad_(master.requires_grad)
            copy.grad_dtype = torch.float32  # sums over micro-batches, and frequent tokens
            self._copies[name] = copy

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the model returns, computed with the copies."""
        return functional_call(self.model, self._copies, args, kwargs)

    def parameters(self) -> Iterator[nn.Parameter]:
        """Return the masters."""
        return self.model.parameters()

    def hand_over_gradients(self) -> None:
        """Add the gradients of their copies, which have none then, to the masters'."""
        for name, master in self.model.named_parameters():
            copy = self._copies[name]
            if copy.grad is not None:
                master.grad = copy.grad if master.grad is None else master.grad + copy.grad
                copy.grad = None

    def forget_gradients(self) -> None:
        """Take from the copies what gradients they have, of a pass that was not ended."""
        for copy in self._copies.values():
            copy.grad = None

    @torch.no_grad()
    def refresh(self) -> None:
        """Make the copies of the masters as they are now, in place."""
        torch._foreach_copy_(list(self._copies.values()), list(self.model.parameters()))


Network = nn.Module | WorkingWeights


def has_working_weights(precision: Precision, device: torch.device) -> bool:
    """Return whether a pretraining computes with bf16 copies: on GPUs; CPUs' products alone gain by bf16."""
    return precision == "bf16" and device.type == "cuda"
