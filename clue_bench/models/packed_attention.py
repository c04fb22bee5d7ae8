"""Attention within the texts of packed rows by one kernel, which computes nothing between texts.

Input: queries, keys and values of packed rows, and where their texts begin. Output: mixed hidden states. The kernel is
PyTorch's for sequences of several lengths (FlashAttention), for GPUs, in halves, without dropout. No test has had a GPU
for it: on each device a small example is computed both ways first, and the kernel is used only if they agree.

Shape letters: B rows, S positions, N heads, H width of a head, T texts of all rows, X = B × S.
"""

import logging
from functools import cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from clue_bench.training.dropout import RowDropout

log = logging.getLogger(__name__)

HALVES = (torch.bfloat16, torch.float16)
AGREES = 2e-2  # of numbers around 1, in bf16


class Texts(NamedTuple):
    """Where texts begin in the rows laid end to end, and the end of all, (T + 1,) int32; none is longer than `most`.

    There are as many entries in every batch: the end is repeated, as texts without positions.
    """

    starts: Tensor
    most: int


def texts_of_rows(blocks_BS: Tensor, *, most_texts: int) -> Texts:
    """Return the texts of rows that hold `most_texts` each or fewer, and padding at their end. Waits for nothing."""
    rows, length = blocks_BS.shape
    begins_BS = torch.ones_like(blocks_BS, dtype=torch.bool)
    begins_BS[:, 1:] = blocks_BS[:, 1:] != blocks_BS[:, :-1]
    at_X = torch.arange(rows * length, device=blocks_BS.device, dtype=torch.int32)
    starts_X = torch.where(begins_BS.flatten(), at_X, rows * length).sort().values
    return Texts(F.pad(starts_X, (0, 1), value=rows * length)[: rows * (most_texts + 1) + 1], length)


def mix_within(q_BNSH: Tensor, k_BNSH: Tensor, v_BNSH: Tensor, texts: Texts) -> Tensor:
    """Return attention's values (B, S, N × H), mixed within each text."""
    q_XNH, k_XNH, v_XNH = (x.transpose(1, 2).flatten(0, 1) for x in (q_BNSH, k_BNSH, v_BNSH))
    mixed_XNH = _kernel(q_XNH, k_XNH, v_XNH, texts.starts, texts.most)
    return mixed_XNH.view(len(q_BNSH), -1, q_BNSH.shape[1] * q_BNSH.shape[3])


def has_packed_kernel(x_BSD: Tensor, drop: RowDropout | None, *, head_size: int) -> bool:
    """Return whether attention within texts is one kernel here, which was found right on this device."""
    return x_BSD.is_cuda and drop is None and x_BSD.dtype in HALVES and _is_right(x_BSD.device, x_BSD.dtype, head_size)


def _kernel(q_XNH: Tensor, k_XNH: Tensor, v_XNH: Tensor, starts: Tensor, most: int) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn

    mixed_XNH = varlen_attn(q_XNH, k_XNH, v_XNH, starts, starts, most, most)
    assert isinstance(mixed_XNH, Tensor)
    return mixed_XNH


@cache
def _is_right(device: torch.device, dtype: torch.dtype, head_size: int) -> bool:
    """Return whether the kernel gives what masked attention gives on a small example, gradients too."""
    generator = torch.Generator(device).manual_seed(1)
    blocks_BS = torch.tensor([[1] * 5 + [2] * 9 + [0] * 2, [1] * 3 + [2] * 13], device=device)
    found = []
    try:
        with torch.enable_grad():
            qkv = [torch.randn(2, 2, 16, head_size, device=device, generator=generator) for _ in range(3)]
            for is_packed in (True, False):
                q_BNSH, k_BNSH, v_BNSH = given = [x.to(dtype).requires_grad_() for x in qkv]
                if is_packed:
                    mixed = mix_within(q_BNSH, k_BNSH, v_BNSH, texts_of_rows(blocks_BS, most_texts=3))
                else:
                    same = (blocks_BS[:, :, None] == blocks_BS[:, None, :])[:, None]
                    mixed_BNSH = F.scaled_dot_product_attention(q_BNSH, k_BNSH, v_BNSH, attn_mask=same)
                    mixed = mixed_BNSH.transpose(1, 2).flatten(2)
                found.append([mixed.detach(), *torch.autograd.grad(mixed.float().pow(2).sum(), given)])
        is_right = all(
            torch.allclose(own, masked, atol=AGREES, rtol=AGREES) for own, masked in zip(*found, strict=True)
        )
    except (RuntimeError, ImportError, NotImplementedError, TypeError) as error:
        log.info("attention within texts has no kernel of its own here: %s", error)
        return False
    if not is_right:
        log.warning("attention within texts is wrong on this device by its own kernel, which is not used")
    return is_right
