"""Dropout whose masks belong to rows: shares, scale, independence of the split, and gradients."""

import numpy as np
import pytest
import torch

from clue_bench.models.attention import Attention
from clue_bench.models.config import ModelConfig
from clue_bench.training import dropout
from clue_bench.training.counter_rng import row_keys
from clue_bench.training.dropout import OFFSETS, DropoutPool

CPU = torch.device("cpu")


def keys(rows, *, epoch: int = 0, seed: int = 1) -> torch.Tensor:
    rows = np.asarray(rows)
    return row_keys(np.full_like(rows, epoch), rows, seed=seed, purpose="dropout")


def pool(rate: float = 0.1, seed: int = 7) -> DropoutPool:
    return DropoutPool(rate, seed=seed, device=CPU)


def masks(rows, *, sites: int = 3, rate: float = 0.1, shape=(40, 50), epoch: int = 0, seed: int = 7) -> torch.Tensor:
    """Masks of some rows at every site: (sites, rows, …)."""
    drop = pool(rate, seed).masks(keys(rows, epoch=epoch), sites=sites)
    return torch.stack([drop(torch.ones(len(rows), *shape)) for _ in range(sites)])


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_a_share_is_zero_and_the_rest_is_scaled_up(rate):
    got = masks(range(200), rate=rate)
    assert got.unique().tolist() == pytest.approx([0.0, 1 / (1 - rate)])
    # A pool of a million numbers stands behind these 1.2 million, drawn with repetition: one sigma is below
    # 0.5 / 1000 for the pool and the same again for the slices, so four of both are 0.003.
    assert (got == 0).float().mean().item() == pytest.approx(rate, abs=0.003)
    assert got.mean().item() == pytest.approx(1.0, abs=0.006)


def test_a_rows_masks_do_not_depend_on_the_rows_around_it():
    whole = masks([3, 1, 4, 15, 9])
    assert torch.equal(masks([4, 15]), whole[:, 2:4])
    assert torch.equal(masks([9]), whole[:, 4:])


def test_masks_differ_between_rows_sites_epochs_and_pools():
    whole = masks(range(20)).flatten(0, 1).flatten(1)
    # Two masks agree at 0.9² + 0.1² = 0.82 of 2,000 places; one sigma is 0.009.
    agreeing = [(a == b).float().mean().item() for n, a in enumerate(whole) for b in whole[:n]]
    assert max(agreeing) < 0.82 + 6 * 0.009
    assert not torch.equal(masks([5], epoch=1), masks([5]))
    assert not torch.equal(masks([5], seed=8), masks([5]))


def test_heads_have_masks_of_their_own_and_are_a_site_each():
    drop = pool().masks(keys([1, 2]), sites=5)
    of_heads = drop.per_head(torch.ones(2, 4, 10, 10))
    assert len({tuple(head.flatten().tolist()) for head in of_heads.flatten(0, 1)}) == 8
    assert set(of_heads.unique().tolist()) == {0.0, 1.0}  # not scaled up: attention scales its values
    last = drop(torch.ones(2, 100))
    with pytest.raises(AssertionError, match="more sites"):
        drop(torch.ones(2, 100))
    assert torch.equal(last, masks([1, 2], sites=5, shape=(100,))[4])


def test_attention_drops_weights_and_keeps_their_mean():
    attention = Attention(ModelConfig(vocab_size=1, layers=1, hidden_size=8, heads=2, feed_forward_size=8))
    with torch.no_grad():  # every position looks at all 100 alike, and every value is 1
        for parameter in attention.parameters():
            parameter.zero_()
        attention.qkv.bias[16:] = 1.0
        attention.out.weight.copy_(torch.eye(8))
    x = torch.randn(50, 100, 8)
    drop = pool(0.2).masks(keys(range(50)), sites=2)
    got = attention(x, drop=drop)
    torch.testing.assert_close(attention(x), torch.ones_like(x))
    # Of 100 weights of 0.01, 80 ± 4 stay, and are scaled by 1.25.
    assert got.mean().item() == pytest.approx(1.0, abs=0.01)
    assert got.std().item() == pytest.approx(0.05, abs=0.01)


def test_the_gradient_is_the_mask():
    x = torch.randn(6, 30, requires_grad=True)
    pool().masks(keys(range(6)), sites=1)(x).sum().backward()
    assert torch.equal(x.grad, masks(range(6), sites=1, shape=(30,))[0])


def test_a_pool_that_grew_gives_the_masks_it_gave_before():
    grown = pool()
    before = grown.masks(keys(range(8)), sites=1)(torch.ones(8, 64))
    grown.masks(keys(range(2)), sites=1)(torch.ones(2, OFFSETS + 5))
    assert torch.equal(grown.masks(keys(range(8)), sites=1)(torch.ones(8, 64)), before)
    bf16 = grown.masks(keys(range(8)), sites=1)(torch.ones(8, 64, dtype=torch.bfloat16))
    assert torch.equal(bf16 == 0, before == 0)


def test_nothing_is_dropped_at_rate_zero():
    assert pool(0.0).masks(keys([1]), sites=3) is None


def test_masks_that_are_bytes_are_the_same_masks(monkeypatch):
    x = torch.randn(6, 30, dtype=torch.bfloat16)
    whole, parts = [], []
    for found in (whole, parts):
        given = x.clone().requires_grad_()
        drop = pool().masks(keys(range(6)), sites=9)
        drop.by_kernel(4)
        dropped = drop.next(3)(given)
        dropped.sum().backward()
        found += [dropped, given.grad, drop(torch.ones(60, 5))]  # ten rows in each: flattened
        monkeypatch.setattr(dropout, "mask_type", lambda x: torch.bool)
    assert all(torch.equal(a, b) for a, b in zip(whole, parts, strict=True))
