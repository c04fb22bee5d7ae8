"""Self-attention and what it may look at.

Input: hidden states, and which positions belong together. Output: mixed hidden states.

Shape letters: B rows, S positions, K chosen positions of a row, X = B × S, D hidden size, N heads, H = D / N.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clue_bench.models.config import ModelConfig
from clue_bench.models.packed_attention import Texts, mix_within
from clue_bench.training.dropout import RowDropout

ROTARY_BASE = 10_000.0  # of RoFormer, as in the Transformer's sinusoids


class Packing(NamedTuple):
    """Several texts in one row: a position attends only to its own text, whose positions count from 0.

    `blocks_BS` numbers the texts of a row, `positions_BS` the positions in each.
    """

    blocks_BS: Tensor
    positions_BS: Tensor


class Rotary(NamedTuple):
    """Cosine and sine of each position's angles, and both as complex numbers, (…, S, H / 2)."""

    cos: Tensor
    sin: Tensor
    turns: Tensor

    def at(self, at_BK: Tensor) -> "Rotary":
        """Return the angles of positions `at_BK`: (B, 1, K, H / 2)."""
        return Rotary(*(_rows(angles, at_BK) for angles in self))

    def turn(self, x_BNSH: Tensor) -> Tensor:
        """Return `x_BNSH` with each pair of neighbouring elements turned by its position's angle."""
        if has_complex_kernel(x_BNSH):
            typed = x_BNSH.to(torch.promote_types(x_BNSH.dtype, torch.float32))
            pairs = torch.view_as_complex(typed.view(*typed.shape[:-1], -1, 2))
            return torch.view_as_real(pairs * self.turns).flatten(-2).to(x_BNSH.dtype)
        if torch.compiler.is_compiling():  # one kernel, which reads each pair forwards and backwards
            pairs = x_BNSH.view(*x_BNSH.shape[:-1], -1, 2)
            signs = 2 * torch.arange(2, device=pairs.device) - 1
            by_pairs: Tensor = pairs * self.cos[..., None] + pairs.flip(-1) * (self.sin[..., None] * signs)
            return by_pairs.flatten(-2).to(x_BNSH.dtype)
        even, odd = x_BNSH[..., 0::2], x_BNSH[..., 1::2]
        turned = torch.stack((even * self.cos - odd * self.sin, odd * self.cos + even * self.sin), dim=-1)
        return turned.flatten(-2).to(x_BNSH.dtype)


class Attention(nn.Module):
    """Multi-head self-attention with one fused projection for queries, keys and values."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.qkv = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.out = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(
        self,
        x_BSD: Tensor,
        *,
        queries_BKD: Tensor | None = None,
        bias: Tensor | None = None,
        is_causal: bool = False,
        rotary: Rotary | None = None,
        query_rotary: Rotary | None = None,
        drop: RowDropout | None = None,
        texts: Texts | None = None,
        rows: int | None = None,
    ) -> Tensor:
        """Attend from `queries_BKD` (all positions if None) to the positions of `x_BSD`; return as many.

        With `rows`, hidden states are (X, D), those of so many rows.

        `bias`, broadcastable to (B, N, K, S), is added to the scores; `is_causal` does without one, by the fused kernel
        (`has_fused_kernel`). `rotary` turns keys, and queries unless these have a `query_rotary` of their own. `texts`
        says of all positions what `bias` says, for a kernel that computes nothing between texts.
        """
        if queries_BKD is None:
            q_BKD, k_BSD, v_BSD = self.qkv(x_BSD).chunk(3, dim=-1)
        else:
            width = x_BSD.shape[-1]
            weight, linear_bias = self.qkv.weight, self.qkv.bias
            q_BKD = F.linear(queries_BKD, weight[:width], linear_bias[:width])
            k_BSD, v_BSD = F.linear(x_BSD, weight[width:], linear_bias[width:]).chunk(2, dim=-1)
        q_BNKH, k_BNSH, v_BNSH = (self._split(x, rows or len(x)) for x in (q_BKD, k_BSD, v_BSD))
        if rotary is not None:
            q_BNKH, k_BNSH = (query_rotary or rotary).turn(q_BNKH), rotary.turn(k_BNSH)
        if texts is not None and queries_BKD is None:
            within: Tensor = self.out(mix_within(q_BNKH, k_BNSH, v_BNSH, texts).view(q_BKD.shape))
            return within
        mixed_BKNH = _mix(q_BNKH, k_BNSH, v_BNSH, bias, is_causal, drop).transpose(1, 2)
        mixed: Tensor = self.out(mixed_BKNH.reshape(q_BKD.shape))
        return mixed

    def _split(self, x: Tensor, rows: int) -> Tensor:
        return x.view(rows, -1, self.heads, x.shape[-1] // self.heads).transpose(1, 2)


def has_complex_kernel(x: Tensor) -> bool:
    """Return whether pairs are turned as complex numbers: one kernel instead of seven, which a compiler fuses."""
    return x.is_cuda and not torch.compiler.is_compiling()


def has_fused_kernel(x: Tensor) -> bool:
    """Return whether attention is one kernel: on a GPU, where it draws its dropout itself (`training.dropout`).

    On the CPU its backward is slower than three operations at S <= 512.
    """
    return x.is_cuda


def _mix(
    q_BNKH: Tensor, k_BNSH: Tensor, v_BNSH: Tensor, bias: Tensor | None, is_causal: bool, drop: RowDropout | None
) -> Tensor:
    if is_causal or has_fused_kernel(q_BNKH):
        v_BNSH, rate = v_BNSH.to(q_BNKH.dtype), 0.0 if drop is None else drop.by_kernel(q_BNKH.shape[1])
        return F.scaled_dot_product_attention(q_BNKH, k_BNSH, v_BNSH, bias, dropout_p=rate, is_causal=is_causal)
    scores_BNKS = (q_BNKH * q_BNKH.shape[-1] ** -0.5) @ k_BNSH.transpose(-1, -2)
    if bias is not None:
        scores_BNKS = scores_BNKS + bias
    weights_BNKS = scores_BNKS.softmax(-1).to(v_BNSH.dtype)
    if drop is not None:
        weights_BNKS, v_BNSH = drop.per_head(weights_BNKS), v_BNSH * drop.scale
    mixed_BNKH: Tensor = weights_BNKS @ v_BNSH
    return mixed_BNKH


def rotary_angles(positions: Tensor, head_size: int) -> Rotary:
    """Return the angles of `positions` (S,) or (B, S), shaped to broadcast over (B, N, S, H / 2)."""
    frequencies = ROTARY_BASE ** (-torch.arange(0, head_size, 2, device=positions.device) / head_size)
    angles = positions[..., None].float() * frequencies
    angles = angles if positions.ndim == 1 else angles[:, None]
    cos, sin = angles.cos(), angles.sin()
    return Rotary(cos, sin, torch.complex(cos, sin))


def attention_bias(
    keep_BS: Tensor | None, packing: Packing | None, *, is_causal: bool, like_BSD: Tensor
) -> Tensor | None:
    """Return what to add to attention scores: 0 where a position may look, the most negative number elsewhere.

    `keep_BS` is False at padding. The shape broadcasts to (B, 1, S, S); None if everything may be seen. On a GPU the
    type is that of the matrix products: the lowest number in fp32 would be minus infinity there, which makes a row that
    sees nothing no number, and every layer would cast it again.
    """
    allowed: Tensor | None = None if keep_BS is None else keep_BS[:, None, None, :]
    if packing is not None:
        same = packing.blocks_BS[:, None, :, None] == packing.blocks_BS[:, None, None, :]
        allowed = same if allowed is None else allowed & same
    if is_causal:
        past = torch.ones(like_BSD.shape[1], like_BSD.shape[1], dtype=torch.bool, device=like_BSD.device).tril()
        allowed = past[None, None] if allowed is None else allowed & past
    if allowed is None:
        return None
    is_cast = like_BSD.is_cuda and torch.is_autocast_enabled("cuda")
    return bias_of(allowed, torch.get_autocast_dtype("cuda") if is_cast else like_BSD.dtype)


def bias_of(allowed: Tensor, dtype: torch.dtype) -> Tensor:
    """Return 0 where `allowed`, the most negative number of `dtype` elsewhere."""
    bias = torch.zeros(allowed.shape, dtype=dtype, device=allowed.device)
    return bias.masked_fill(~allowed, torch.finfo(dtype).min)


def bias_at(bias: Tensor | None, at_BK: Tensor) -> Tensor | None:
    """Return the rows `at_BK` of a bias: (B, 1, K, S), or (B, 1, 1, S) where all rows are alike."""
    return bias if bias is None or bias.shape[2] == 1 else _rows(bias, at_BK)


def _rows(x: Tensor, at_BK: Tensor) -> Tensor:
    """Return (B, 1, K, n) from (S, n), (1 or B, 1, S, n)."""
    x = x.view(-1, 1, *x.shape[-2:])
    if len(x) == 1:
        return x[0, 0][at_BK][:, None]
    return x.gather(2, at_BK[:, None, :, None].expand(-1, -1, -1, x.shape[-1]))
