"""First weights with which attention looks at neighbours, so that training need not discover that they matter.

Input: a freshly drawn encoder with learned positions. Output: the same encoder, other first weights.

A small post-LN model whose positions and attention are drawn at random mixes a whole row evenly: what a position learns
of the one before it is a share of 1 / S. It sits on the plateau of character frequencies until some head has found its
neighbours, the longer the row the later (pretrain/LOG.md). Here position s starts as the sinusoids of s, at the size of
the other embeddings, and heads 1, 2, … start with queries that match the keys of positions s - 1, s + 1, s - 2 and so
on: turning sinusoids by a fixed angle moves them by a fixed distance. All of it is a starting point: these are ordinary
weights of an ordinary BERT, and training may change them.

So what training makes of the first positions, where rows are short, says what it would have made of the later ones.

Legend: S positions, D hidden size, N heads, H = D / N, F = H / 2 frequencies, W waves and a constant.
"""

import math

import torch
from torch import Tensor

from clue_bench.models.config import MIN_LOCAL_HEAD
from clue_bench.models.encoder import INIT_STD, Encoder

DISTANCES = (-1, 1, -2, 2, 0, None, -3, 3)
"""Where each head looks first, and again from the start for more heads; None: as it was drawn."""

SHORTEST, LONGEST = 4.0, 64.0
"""Periods of the sinusoids, in positions."""

PEAK, PEAK_LENGTH = 8.0, 128
"""Score of the place that a head looks for, were all of a position's embedding its place; words and segment leave
about a third of that. Half of a head's attention then lies within two positions of the place, in rows of 128."""

PER_DOUBLING = 4.0
"""More of it for twice as many tokens a row. 2 would keep the place's share of the attention, since words and segment
leave ln 2 of that; 4 leaves the plateau sooner. Without it rows of 512 begin at a share of a quarter, and stay there
(pretrain/LOG.md). Shorter rows keep PEAK."""

RIDGE = 0.3  # least squares with much noise, or with little, do worse with 1e-3 or with 10

MOST_UNEXPLAINED = 0.4
"""Share of the variance of learned positions. A 4/312 after 10 million tokens has 0.12, drawn ones have about 0.8."""

MOST_MOVED = 0.25
"""Share of their size. Half precision moves them by 0.0003, fine-tuning by 0.02 to 0.1; of others it is about 1.3."""


@torch.no_grad()
def look_at_neighbours(encoder: Encoder, *, length: int) -> None:
    """Set positions, and add to queries and keys, so that heads start at the DISTANCES in rows of `length` tokens.

    Raises ValueError for a family without learned positions, or heads narrower than MIN_LOCAL_HEAD.
    """
    config = encoder.config
    table = encoder.embeddings.position
    if table is None or config.embedding_width != config.hidden_size:
        raise ValueError(f"{config.family} has no learned positions as wide as its layers")
    if config.head_size < MIN_LOCAL_HEAD:
        raise ValueError(f"heads of {config.head_size} are too narrow for sinusoids, expected {MIN_LOCAL_HEAD} or more")
    frequencies_F = _frequencies(config.head_size)
    num = len(frequencies_F)
    waves_SH = _waves(config.max_positions, config.head_size)
    # Each head's share of the width repeats the same waves; a cosine's variance is a half.
    table.weight.copy_(waves_SH.repeat(1, config.heads) * INIT_STD * math.sqrt(2))
    sum_HD = torch.eye(config.head_size).repeat(1, config.heads)  # over the repetitions: words, at random, cancel out
    peak = PEAK + PER_DOUBLING * max(0.0, math.log2(length / PEAK_LENGTH))
    size = (peak * math.sqrt(config.head_size) / num) ** 0.5 / config.heads
    for layer in encoder.layers:
        qkv_ND = layer.attention.qkv.weight  # type: ignore[union-attr]
        queries, keys = qkv_ND[: config.hidden_size], qkv_ND[config.hidden_size : 2 * config.hidden_size]  # type: ignore[index]
        for head in range(config.heads):
            distance = DISTANCES[head % len(DISTANCES)]
            if distance is None:
                continue
            rows = slice(head * config.head_size, (head + 1) * config.head_size)
            queries[rows] += size * sum_HD
            keys[rows] += size * _turned(frequencies_F * distance, config.head_size) @ sum_HD


def continued_positions(positions_SD: Tensor, *, learned: int, head_size: int) -> Tensor | None:
    """Return position embeddings of which those from `learned` on, which no row has reached, follow the others.

    Training moves and stretches the sinusoids, but leaves them sinusoids: least squares finds what has become of them
    in the learned rows, and goes on with that. None if they are none (any more), or if too few were learned to tell.
    """
    if head_size < 4 or learned >= len(positions_SD) or learned - 3 < 2 * (head_size + 1):
        return None
    rows = slice(1, learned - 2)  # the first is [CLS]'s; the last ones are mostly [SEP]'s, and rare in short rows
    waves_SW = torch.cat((_waves(len(positions_SD), head_size), torch.ones(len(positions_SD), 1)), 1).double()
    found_SD = positions_SD.detach().cpu().double()
    share_WW = waves_SW[rows].T @ waves_SW[rows] + RIDGE * torch.eye(waves_SW.shape[1])
    weights_WD = torch.linalg.solve(share_WW, waves_SW[rows].T @ found_SD[rows])
    continued_SD: Tensor = waves_SW @ weights_WD
    variance = (found_SD[rows] - found_SD[rows].mean(0)).square().sum()
    unexplained = (found_SD - continued_SD)[rows].square().sum() / variance
    if unexplained > MOST_UNEXPLAINED:
        return None
    continued_SD[:learned] = found_SD[:learned]
    return continued_SD.to(positions_SD)


def are_continued(positions_SD: Tensor, *, learned: int, head_size: int) -> bool:
    """Return whether the position embeddings from `learned` on are those of `continued_positions`, or nearly so.

    Weights of half precision and fine-tuning may have moved them.
    """
    continued = continued_positions(positions_SD, learned=learned, head_size=head_size)
    if continued is None:
        return False
    moved, size = (positions_SD - continued)[learned:].float().norm(), continued[learned:].float().norm()
    return bool(moved <= MOST_MOVED * size)


def _frequencies(head_size: int) -> Tensor:
    num = head_size // 2
    return 2 * math.pi / (SHORTEST * (LONGEST / SHORTEST) ** (torch.arange(num) / (num - 1)))


def _waves(positions: int, head_size: int) -> Tensor:
    """Return the sinusoids of positions 0, 1, 2, …: (S, H)."""
    angles_SF = torch.arange(positions)[:, None] * _frequencies(head_size)
    waves_SH = torch.zeros(positions, head_size)
    waves_SH[:, : 2 * (head_size // 2)] = torch.stack((angles_SF.cos(), angles_SF.sin()), -1).flatten(1)
    return waves_SH


def _turned(angles_F: Tensor, width: int) -> Tensor:
    """Return the (H, H) matrix that turns each pair of waves back by its angle."""
    turn = torch.zeros(width, width)
    even = torch.arange(len(angles_F)) * 2
    turn[even, even] = turn[even + 1, even + 1] = angles_F.cos()
    turn[even, even + 1], turn[even + 1, even] = angles_F.sin(), -angles_F.sin()
    return turn
