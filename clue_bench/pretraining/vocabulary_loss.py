"""Compute the cross-entropy over a vocabulary without keeping the logits.

Input: hidden states, the output matrix and targets. Output: the summed loss and the right answers. A large vocabulary's
logits are the largest tensor of a small model's step: here there is one such tensor, in the type of the matrix
products, in which exponentials replace the logits. With e = exp(logits - max), z its sum over the
vocabulary and w = 1 / z, the gradient of the logits is w·e less 1 at the target; w multiplies the small matrices
instead, and the target's part is added in fp32:

    d hidden = w·(e W) - W[target]        d W = eᵀ (w·hidden), less hidden at the targets        d bias = eᵀ w - counts

Logits are in units of ln 2: torch's exp2 is four times as fast as its exp, which MKL computes in fp32.

A GPU's kernels are as fast as its memory. There the bias is added by the product, one kernel makes probabilities, which
take the place of e with w = 1, and the vocabulary is padded: products of odd widths are slow.

Legend: M predictions, D width, V vocabulary.
"""

import math
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from clue_bench.pretraining.rows import IGNORED

LN_2 = math.log(2)

PADDED = 128
"""On a GPU the width of the logits is a multiple of this."""

BLOCK = 2**20
"""Logits whose exponentials a CPU computes at a time, so that their fp32 form stays in its cache."""


class Predicted(NamedTuple):
    """The sum of losses over all predictions, and how many of them are right.

    A prediction is right if the target's logit exceeds all others. In bf16, where many are equal, ties count as wrong.
    """

    loss: Tensor
    correct: Tensor


def vocabulary_loss(hidden: Tensor, weight_VD: Tensor, bias_V: Tensor | None, *, targets: Tensor) -> Predicted:
    """Return the summed loss of `hidden` (…, D) against `targets` (…), leaving out IGNORED ones.

    Matrix products are of autocast's type, if it is on.
    """
    device = hidden.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
    loss, correct = _Loss.apply(  # type: ignore[no-untyped-call]
        hidden.flatten(0, -2), weight_VD, bias_V, targets.flatten(), dtype
    )
    return Predicted(loss, correct)


class _Loss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden_MD: Tensor, weight_VD: Tensor, bias_V: Tensor | None, targets_M: Tensor, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        with torch.autocast(hidden_MD.device.type, enabled=False):
            typed_MD, typed_VD = hidden_MD.to(dtype), weight_VD.to(dtype)
            counts_M = targets_M != IGNORED
            targets_M = targets_M.clamp(min=0)
            inverse_M: Tensor | None = None
            if is_fast_softmax(hidden_MD):
                typed_VD, typed_V = _padded(typed_VD, bias_V)
                logits_MV = torch.addmm(typed_V, typed_MD, typed_VD.T)
                e_MV, losses_M, correct_M = _probabilities(logits_MV, targets_M)
            else:
                e_MV = (hidden_MD / LN_2).to(dtype) @ typed_VD.T
                shifts_V = None if bias_V is None else bias_V / LN_2
                inverse_M, losses_M, correct_M = _exponentials_(e_MV, shifts_V, targets_M)
            ctx.vocabulary = len(weight_VD)
            ctx.save_for_backward(typed_MD, typed_VD, e_MV, inverse_M, targets_M, counts_M)
            ctx.dtypes = hidden_MD.dtype, weight_VD.dtype, None if bias_V is None else bias_V.dtype
            correct = (correct_M & counts_M).sum()
            ctx.mark_non_differentiable(correct)
            return losses_M.where(counts_M, 0.0).sum(), correct

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        typed_MD, typed_VD, e_MV, inverse_M, targets_M, counts_M = ctx.saved_tensors
        hidden_type, weight_type, bias_type = ctx.dtypes
        share_M = counts_M * gradients[0].float()
        w_M = share_M if inverse_M is None else inverse_M * share_M
        d_hidden_MD = (e_MV @ typed_VD).float() * w_M[:, None]
        d_hidden_MD -= typed_VD[targets_M] * share_M[:, None]
        d_weight_VD = (e_MV.T @ (typed_MD * w_M[:, None]).to(e_MV.dtype))[: ctx.vocabulary].to(weight_type)
        d_weight_VD.index_add_(0, targets_M, (typed_MD * -share_M[:, None]).to(weight_type))
        d_bias_V = None
        if bias_type is not None:
            d_bias_V = (w_M.to(e_MV.dtype) @ e_MV)[: ctx.vocabulary].to(bias_type)
            d_bias_V.index_add_(0, targets_M, -share_M.to(bias_type))
        return d_hidden_MD.to(hidden_type), d_weight_VD, d_bias_V, None, None


def is_fast_softmax(x: Tensor) -> bool:
    """Return whether probabilities are made by one kernel that is bound by memory alone."""
    return x.is_cuda


def _padded(weight_VD: Tensor, bias_V: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return matrix and bias with tokens that nothing predicts, up to a multiple of PADDED."""
    num, width = weight_VD.shape
    padded = -(-num // PADDED) * PADDED
    padded_V = weight_VD.new_full((padded,), -torch.inf)
    padded_V[:num] = 0.0 if bias_V is None else bias_V
    if padded == num:
        return weight_VD, padded_V
    padded_VD = weight_VD.new_zeros((padded, width))
    padded_VD[:num] = weight_VD
    return padded_VD, padded_V


def _probabilities(logits_MV: Tensor, targets_M: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return probabilities in the type of the logits, losses and right answers, (M,) each: two reads and a write.

    The logarithm of the sum of exponentials is had from the likeliest token's probability, the largest and so the one
    that rounding moves least: in bf16 by 0.002 nats at most.
    """
    at_M1 = targets_M[:, None]
    target_M1 = logits_MV.gather(1, at_M1)
    best_M1, where_M1 = logits_MV.scatter_(1, at_M1, -torch.inf).max(1, keepdim=True)  # of all others
    probabilities_MV = F.softmax(logits_MV.scatter_(1, at_M1, target_M1), -1)
    is_right_M1 = target_M1 > best_M1
    largest_M1 = probabilities_MV.gather(1, torch.where(is_right_M1, at_M1, where_M1)).float()
    losses_M1 = (torch.maximum(target_M1, best_M1) - target_M1).float() - largest_M1.log()
    return probabilities_MV, losses_M1.squeeze(1), is_right_M1.squeeze(1)


def _exponentials_(logits_MV: Tensor, bias_V: Tensor | None, targets_M: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Replace logits by 2 to the (logits + bias - max); return 1 / their sums, losses, right answers, (M,) each."""
    rows, width = logits_MV.shape
    block = max(1, min(rows, BLOCK // width)) if logits_MV.is_cpu else rows
    buffer = torch.empty(block, width, dtype=torch.float32, device=logits_MV.device)
    sums_M = torch.empty(rows, dtype=torch.float32, device=logits_MV.device)
    target_M = torch.empty_like(sums_M)  # the target's logit less the largest one
    is_alone_M = torch.ones_like(sums_M, dtype=torch.bool)  # whether the largest one is; fp32 has hardly any ties
    for start in range(0, rows, block):
        some = slice(start, min(start + block, rows))
        x = buffer[: some.stop - start].copy_(logits_MV[some])
        if bias_V is not None:
            x += bias_V
        x -= x.amax(1, keepdim=True)
        target_M[some] = x.gather(1, targets_M[some, None]).squeeze(1)
        if logits_MV.dtype != torch.float32:
            is_alone_M[some] = (x == 0).sum(1) == 1
        x.exp2_()
        torch.sum(x, 1, out=sums_M[some])
        logits_MV[some] = x
    return 1 / sums_M, LN_2 * (sums_M.log2() - target_M), (target_M == 0) & is_alone_M
