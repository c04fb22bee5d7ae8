"""Which position rows look trained."""

import torch

from clue_bench.weights.positions import trained_rows


def smooth(rows: int, hidden: int) -> torch.Tensor:
    """Rows that are related to their neighbours, as training makes them."""
    angles = torch.arange(rows)[:, None] / torch.logspace(0.5, 3, hidden // 2)
    return torch.cat([angles.sin(), angles.cos()], 1) * 0.05


def test_unrelated_rows_of_one_length_look_untrained():
    torch.manual_seed(0)
    fresh = torch.randn(512, 256) * 0.02
    assert trained_rows(fresh) == 0
    fresh[:128] = smooth(128, 256)
    assert trained_rows(fresh) == 128


def test_related_rows_look_trained_to_the_last():
    assert trained_rows(smooth(512, 256)) == 512


def test_narrow_or_broken_tables_are_not_judged():
    assert trained_rows(torch.randn(512, 32)) is None
    assert trained_rows(torch.full((512, 256), float("nan"))) is None
