"""Masked language modelling: which tokens to predict, and what the model sees in their place.

Enters: rows of ids and one key per row. Leaves: what the model sees and what it must predict, on the same device.
Masks are drawn anew in every epoch and depend on (seed, epoch, sample) alone.

Legend: B rows, S positions, K predictions per row (the same for all rows, so that shapes are static), V vocabulary.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from clue_bench.order import Int64s, draw, row_keys
from clue_bench.vocab import Vocabulary

IGNORED = -100
"""Target of a prediction that does not count: torch's cross-entropy leaves it out."""

MASKED_SHARE, RANDOM_SHARE = 0.8, 0.1  # of the chosen tokens; the rest stays as it is (BERT, section 3.1)


class Masked(NamedTuple):
    """What the model sees (`ids_BS`), where the loss looks (`at_BK`), and the true tokens there (`targets_BK`)."""

    ids_BS: Tensor
    at_BK: Tensor
    targets_BK: Tensor


@dataclass(frozen=True)
class TokenMasking:
    """Choose `rate` of each row's ordinary tokens, independently of words.

    Special tokens and [UNK] are never chosen, and random replacements are drawn from ordinary tokens only: a model
    that predicts [UNK] or [unused7] has learnt nothing about the language.
    """

    mask: int
    rate: float
    num_predictions: int
    is_ordinary_V: Tensor
    ordinary_ids: Tensor

    @classmethod
    def of(cls, vocabulary: Vocabulary, *, rate: float, length: int, device: torch.device) -> "TokenMasking":
        """Prepare masking of rows of `length` tokens on `device`."""
        is_ordinary = torch.from_numpy(vocabulary.is_ordinary).to(device)
        predictions = math.ceil(rate * (length - 2))
        return cls(vocabulary.mask, rate, predictions, is_ordinary, is_ordinary.nonzero().squeeze(1))

    def __call__(self, ids_BS: Tensor, *, epochs_B: Int64s, samples_B: Int64s, seed: int) -> Masked:
        """Mask `ids_BS` (int64); the result depends on the arguments only."""

        def drawn(purpose: str, num: int) -> Tensor:
            keys = torch.from_numpy(row_keys(epochs_B, samples_B, seed=seed, purpose=purpose))
            return draw(keys.to(ids_BS.device), num)

        length, num = ids_BS.shape[1], self.num_predictions
        candidate_BS = self.is_ordinary_V[ids_BS]
        # The K highest draws win; adding the position makes draws distinct, so that ties cannot differ by device.
        scores_BS = drawn("which", length) * length + torch.arange(length, device=ids_BS.device)
        at_BK = torch.where(candidate_BS, scores_BS, -1).topk(num, dim=1).indices
        # Rounded up or down at random, so that the share is `rate` at every length: 4.5 of 30 tokens is 4 or 5.
        wanted_B = (candidate_BS.sum(1) * self.rate + drawn("how many", 1)[:, 0].double() / 2**32).floor()
        counts_BK = torch.arange(num, device=ids_BS.device)[None, :] < wanted_B[:, None]
        true_BK = ids_BS.gather(1, at_BK)
        share_BK = drawn("how", num).double() / 2**32
        other_BK = self.ordinary_ids[drawn("other", num) % len(self.ordinary_ids)]
        shown_BK = torch.where(share_BK < MASKED_SHARE, self.mask, true_BK)
        is_random = (share_BK >= MASKED_SHARE) & (share_BK < MASKED_SHARE + RANDOM_SHARE)
        shown_BK = torch.where(is_random, other_BK, shown_BK)
        shown_BK = torch.where(counts_BK, shown_BK, true_BK)
        return Masked(ids_BS.scatter(1, at_BK, shown_BK), at_BK, torch.where(counts_BK, true_BK, IGNORED))
