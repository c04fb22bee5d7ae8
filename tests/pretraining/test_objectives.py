"""Masking: shares over a million tokens, what is never touched, and independence of the batch."""

import numpy as np
import pytest
import torch

from clue_bench.pretraining.objectives import IGNORED, Masking, RowDraws
from clue_bench.vocab import Vocabulary

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[unused1]")
VOCABULARY = Vocabulary((*SPECIAL, *(chr(0x4E00 + number) for number in range(994))))
CPU = torch.device("cpu")


def masked(rows: int, length: int = 128, rate: float = 0.15, epoch: int = 0, seed: int = 1):
    generator = np.random.default_rng(0)
    ids = generator.integers(len(SPECIAL), len(VOCABULARY), (rows, length))
    ids[:, 0], ids[:, -1] = VOCABULARY.start, VOCABULARY.separator
    masking = Masking.for_vocabulary(VOCABULARY, rate=rate, length=length, device=CPU)
    samples = np.arange(rows)
    tensor = torch.from_numpy(ids)
    return tensor, masking(tensor, RowDraws(np.full(rows, epoch), samples, seed))


def test_shares_over_a_million_tokens():
    ids, batch = masked(8192)
    assert ids.numel() > 1_000_000
    predictions = (batch.targets_BK != IGNORED).sum().item()
    assert predictions / (8192 * 126) == pytest.approx(0.15, abs=0.001)
    counted = batch.targets_BK != IGNORED
    shown, targets = batch.ids_BS.gather(1, batch.at_BK)[counted], batch.targets_BK[counted]
    share_masked = (shown == VOCABULARY.mask).float().mean().item()
    share_kept = (shown == targets).float().mean().item()
    # One sigma of these shares is 0.001; a random replacement equals the truth once in 994 times.
    assert share_masked == pytest.approx(0.8, abs=0.005)
    assert share_kept == pytest.approx(0.1, abs=0.005)
    assert 1 - share_masked - share_kept == pytest.approx(0.1, abs=0.005)


def test_every_position_is_chosen_equally_often():
    _, batch = masked(8192)
    counts = torch.bincount(batch.at_BK.flatten(), minlength=128)[1:-1].double()
    expected = 8192 * 19 / 126
    # Chi-square with 125 degrees of freedom: 99.9 % lie below 182.
    assert ((counts - expected) ** 2 / expected).sum() < 182


def test_random_replacements_are_ordinary_tokens():
    _, batch = masked(4096)
    shown = batch.ids_BS.gather(1, batch.at_BK)
    counted = batch.targets_BK != IGNORED
    others = shown[counted & (shown != VOCABULARY.mask) & (shown != batch.targets_BK)]
    assert len(others) > 5_000
    assert others.min() >= len(SPECIAL)
    assert len(others.unique()) > 900


def test_only_chosen_positions_change_and_targets_are_the_truth():
    ids, batch = masked(64)
    changed = batch.ids_BS != ids
    chosen = torch.zeros_like(changed).scatter(1, batch.at_BK, True)
    assert not (changed & ~chosen).any()
    counted = batch.targets_BK != IGNORED
    assert torch.equal(ids.gather(1, batch.at_BK)[counted], batch.targets_BK[counted])
    assert not changed.gather(1, batch.at_BK)[~counted].any()
    assert all(len(set(row.tolist())) == len(row) for row in batch.at_BK)


def test_special_and_unknown_tokens_are_never_chosen():
    ids, _ = masked(256)
    ids[:, 5:60] = VOCABULARY.unknown
    ids[:, 60:70] = VOCABULARY.separator
    masking = Masking.for_vocabulary(VOCABULARY, rate=0.15, length=128, device=CPU)
    batch = masking(ids, RowDraws(np.zeros(256, dtype=np.int64), np.arange(256), 1))
    targets = batch.targets_BK[batch.targets_BK != IGNORED]
    assert targets.min() >= len(SPECIAL)
    # 61 ordinary tokens are left in each row: 9.15 predictions, rounded at random.
    counts = (batch.targets_BK != IGNORED).sum(1)
    assert set(counts.tolist()) == {9, 10}


@pytest.mark.parametrize("length", [8, 32, 128, 512])
def test_the_share_is_the_same_at_every_length(length):
    _, batch = masked(rows=2**19 // length, length=length)
    predictions = (batch.targets_BK != IGNORED).sum().item()
    assert predictions / (len(batch.ids_BS) * (length - 2)) == pytest.approx(0.15, abs=0.002)


def test_a_row_without_ordinary_tokens_has_no_predictions():
    ids = torch.full((2, 16), VOCABULARY.unknown)
    masking = Masking.for_vocabulary(VOCABULARY, rate=0.15, length=16, device=CPU)
    batch = masking(ids, RowDraws(np.zeros(2, dtype=np.int64), np.arange(2), 1))
    assert (batch.targets_BK == IGNORED).all()
    assert torch.equal(batch.ids_BS, ids)


def test_masks_depend_on_epoch_and_seed():
    masks = [masked(8, epoch=0), masked(8, epoch=1), masked(8, seed=2)]
    ids = [batch.ids_BS for _, batch in masks]
    assert not torch.equal(ids[0], ids[1])
    assert not torch.equal(ids[0], ids[2])
    assert torch.equal(ids[0], masked(8)[1].ids_BS)


def test_a_rows_mask_does_not_depend_on_the_batch_around_it():
    ids, batch = masked(32)
    masking = Masking.for_vocabulary(VOCABULARY, rate=0.15, length=128, device=CPU)
    part = masking(ids[20:24], RowDraws(np.zeros(4, dtype=np.int64), np.arange(20, 24), 1))
    assert torch.equal(part.ids_BS, batch.ids_BS[20:24])
    assert torch.equal(part.targets_BK, batch.targets_BK[20:24])
