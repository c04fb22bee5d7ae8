"""Muon: momentum whose matrices are made orthogonal before they are applied, beside AdamW for everything else.

Input: gradients. Output: updated parameters. The hidden layers' matrices get updates whose singular values are all
near 1, so that no direction of a layer learns much faster than the others (Jordan 2024); embeddings, heads, gains and
biases take AdamW's. The update is scaled to the size that AdamW's usually has (Moonshot 2025, section 2.2), so that one
learning rate and one weight decay serve both.

`torch.optim.Muon` computes in bf16, which a CPU without such instructions emulates a hundred times slower than fp32,
and takes every matrix on its own; here matrices of one shape are multiplied together, in bf16 where the hardware has
it, four times as fast on a CPU, and an update that is not finite can be skipped without waiting for the device.
"""

from collections import defaultdict
from typing import Any

import torch
from torch import Tensor

MOMENTUM = 0.95
COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of Jordan's quintic, steepest at 0
ITERATIONS = 5
EPSILON = 1e-7
RMS = 0.2  # of AdamW's updates, as Moonshot measured


class Muon(torch.optim.AdamW):
    """AdamW, but for groups marked `orthogonal`, whose parameters are matrices, `parts` of them in each.

    Products of these matrices are `in_bf16`, or in fp32.
    """

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient; change nothing if `found_inf` is set and not 0."""
        groups = self.param_groups
        self.param_groups = [group for group in groups if not group.get("orthogonal")]
        super().step()
        self.param_groups = groups
        for group in groups:
            if group.get("orthogonal"):
                self._step_orthogonal(group)

    def _step_orthogonal(self, group: dict[str, Any]) -> None:
        by_shape: dict[tuple[int, ...], list[Tensor]] = defaultdict(list)
        for parameter in group["params"]:
            if parameter.grad is not None:
                by_shape[tuple(parameter.shape)].append(parameter)
        found_inf: Tensor | None = getattr(self, "found_inf", None)
        for shape, parameters in by_shape.items():
            gradients = [parameter.grad for parameter in parameters]
            moments = [self._moment(parameter) for parameter in parameters]
            share: float | Tensor = 1 - MOMENTUM
            rate: float | Tensor = group["lr"]
            if found_inf is not None:
                is_finite = 1 - found_inf
                gradients = [gradient.nan_to_num(0.0, 0.0, 0.0) for gradient in gradients]  # type: ignore[union-attr]
                share, rate = share * is_finite, rate * is_finite
            for moment, gradient in zip(moments, gradients, strict=True):
                moment.lerp_(gradient, share)  # type: ignore[arg-type]
            nesterov = torch.stack(torch._foreach_lerp(gradients, moments, MOMENTUM))  # type: ignore[arg-type]
            # Queries, keys and values are three matrices, though they are multiplied as one.
            rows, columns = shape[0] // group["parts"], shape[1]
            matrices = nesterov.reshape(-1, rows, columns)
            updates = orthogonalised(matrices, in_bf16=group["in_bf16"]).reshape(nesterov.shape)
            size = RMS * max(rows, columns) ** 0.5
            for parameter, update in zip(parameters, updates, strict=True):
                parameter.mul_(1 - rate * group["weight_decay"]).sub_(update * (rate * size))

    def _moment(self, parameter: Tensor) -> Tensor:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros(())  # AdamW looks for it when it loads a state
            state["moment"] = torch.zeros_like(parameter)
        moment: Tensor = state["moment"]
        return moment


def orthogonalised(matrices_LRC: Tensor, *, in_bf16: bool) -> Tensor:
    """Return each of L matrices with its singular values moved to between 0.7 and 1.2: U Vᵀ of U S Vᵀ, nearly."""
    a, b, c = COEFFICIENTS
    x = matrices_LRC.bfloat16() if in_bf16 else matrices_LRC
    is_tall = x.shape[-2] > x.shape[-1]
    x = x.mT if is_tall else x  # the smaller Gram matrix
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=EPSILON)
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    result: Tensor = x.mT if is_tall else x
    return result.to(matrices_LRC.dtype)
