"""Objectives, which decide what to predict: masked tokens, masked whole words, or the next token.

Input: rows from the corpus and one key per row. Output: a `PretrainingBatch` on the device: what the model sees and
what it must predict. Masks are drawn anew in every epoch and depend on (seed, epoch, sample) alone.

Legend: B rows, S positions, K predictions per row (the same for all rows, so that shapes are static), J tokens of a
row's bag, C texts of a row, V vocabulary.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from clue_bench.errors import ClueBenchError
from clue_bench.models.attention import Packing
from clue_bench.pretraining.rows import IGNORED, Rows
from clue_bench.training.counter_rng import Int64s, draw, row_keys
from clue_bench.vocab import Vocabulary

MASKED_SHARE, RANDOM_SHARE = 0.8, 0.1  # of the chosen tokens or words; the rest stays as it is (BERT, section 3.1)

LONGEST_WORD = 6
"""In tokens. Longer words are masked in pieces of this size, since K is static and holds one word above the share."""


BAG_TOKENS = 4
"""Tokens of a row that [CLS] predicts in a step, drawn anew in every epoch."""

FREQUENT = 1e-4
"""Share of the text from which on a token is drawn for a bag less often than it occurs, as word2vec does: by the root
of FREQUENT over its share. Else most of a bag were 的 and commas, which say nothing of a row."""

COUNTED_TOKENS = 2**25
"""Most tokens of a corpus that are counted for these shares."""


class PretrainingBatch(NamedTuple):
    """What the model sees, the positions to predict (`at_BK`; all if None), and the true tokens there.

    `keep_BS` is False at padding, None if there is none. `bag_BJ` holds tokens of the row that its first position is to
    predict, and `at_BK` then ends with that position. With texts in two parts: packing, segments, the position
    `starts_BC` where each text starts, its order, and its label if it has one.
    """

    ids_BS: Tensor
    at_BK: Tensor | None
    targets_BK: Tensor
    keep_BS: Tensor | None = None
    segments_BS: Tensor | None = None
    packing: Packing | None = None
    starts_BC: Tensor | None = None
    orders_BC: Tensor | None = None
    labels_BC: Tensor | None = None
    bag_BJ: Tensor | None = None

    def part(self, rows: slice) -> "PretrainingBatch":
        """Return some of the rows."""

        def cut(value: Any) -> Any:
            return Packing(*map(cut, value)) if isinstance(value, Packing) else None if value is None else value[rows]

        return PretrainingBatch(*map(cut, self))

    @property
    def model_inputs(self) -> dict[str, Any]:
        """Return the model's arguments beside ids, as far as they are needed: GPT2 has neither segments nor `at_BK`."""
        names = ("at_BK", "keep_BS", "segments_BS", "packing", "starts_BC")
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    @property
    def targets(self) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]:
        """Return what has to be predicted: tokens, order and labels of texts, and the row's bag."""
        return self.targets_BK, self.orders_BC, self.labels_BC, self.bag_BJ

    @property
    def num_tokens(self) -> Tensor:
        """Return the number of positions that are not padding, on the device."""
        if self.packing is not None:
            return (self.packing.blocks_BS > 0).sum()
        if self.keep_BS is not None:
            return self.keep_BS.sum()
        return torch.full((), self.ids_BS.numel(), device=self.ids_BS.device)


def joined(first: PretrainingBatch, second: PretrainingBatch) -> PretrainingBatch:
    """Return the rows of two batches of texts in two parts, of the same length and number of predictions.

    The narrower one is padded with texts that do not count.
    """

    def both(name: str, fill: int = IGNORED) -> Any:
        values = [getattr(batch, name) for batch in (first, second)]
        if all(value is None for value in values):
            return None
        for number, batch in enumerate((first, second)):
            if values[number] is None:
                values[number] = torch.full_like(batch.orders_BC, IGNORED)  # type: ignore[arg-type]
        width = max(value.shape[1] for value in values)
        return torch.cat([F.pad(value, (0, width - value.shape[1]), value=fill) for value in values])

    assert first.packing is not None
    assert second.packing is not None
    return PretrainingBatch(
        both("ids_BS"),
        both("at_BK"),
        both("targets_BK"),
        segments_BS=both("segments_BS"),
        packing=Packing(*map(torch.cat, zip(first.packing, second.packing, strict=True))),
        starts_BC=both("starts_BC", fill=0),
        orders_BC=both("orders_BC"),
        labels_BC=both("labels_BC"),
    )


class Masked(NamedTuple):
    """Masked ids, the positions to predict, and the true tokens there (IGNORED where nothing counts)."""

    ids_BS: Tensor
    at_BK: Tensor
    targets_BK: Tensor


class RowDraws(NamedTuple):
    """The random draws of some rows, on their device: a function of (epoch, sample, seed, purpose)."""

    epochs_B: Tensor
    samples_B: Tensor
    seed: int

    def __call__(self, purpose: str, num: int) -> Tensor:
        """Return `num` uniform integers in [0, 2**32) for each row: (B, num) int64."""
        return draw(row_keys(self.epochs_B, self.samples_B, seed=self.seed, purpose=purpose), num)


@dataclass(frozen=True)
class Masking:
    """Choose `rate` of each row's ordinary tokens: single tokens, or `whole_words`.

    Special tokens and [UNK] are never chosen, and random replacements are drawn from ordinary tokens only: a model
    that predicts [UNK] or [unused7] has learnt nothing about the language. A word is hidden as a whole: the draw among
    [MASK], a random token and the true one is made once for all of its tokens.
    """

    mask: int
    rate: float
    num_predictions: int
    is_ordinary_V: Tensor
    ordinary_ids: Tensor
    whole_words: bool

    @classmethod
    def for_vocabulary(
        cls, vocabulary: Vocabulary, *, rate: float, length: int, device: torch.device, whole_words: bool = False
    ) -> "Masking":
        """Prepare masking of rows of `length` tokens on `device`. Raises ClueBenchError if there is nothing to mask."""
        if not vocabulary.is_ordinary.any():
            raise ClueBenchError(
                f"the vocabulary holds special tokens only, {len(vocabulary)} of them",
                "build the corpus with another one",
            )
        is_ordinary = torch.from_numpy(vocabulary.is_ordinary).to(device)
        ordinary_ids = is_ordinary.nonzero().squeeze(1)
        masking = cls(vocabulary.mask, rate, 0, is_ordinary, ordinary_ids, whole_words)
        return masking.with_rate(rate, length=length)

    def with_rate(self, rate: float, *, length: int) -> "Masking":
        """Return the masking of another share of rows of `length` tokens."""
        predictions = math.ceil(rate * (length - 2)) + (LONGEST_WORD - 1 if self.whole_words else 0)
        return replace(self, rate=rate, num_predictions=min(predictions, length))

    def __call__(self, ids_BS: Tensor, draws: RowDraws, *, starts_word_BS: Tensor | None = None) -> Masked:
        """Mask `ids_BS` (int64). `starts_word_BS` (bool) is needed for whole words only."""
        num = self.num_predictions
        if self.whole_words:
            assert starts_word_BS is not None, "whole words need their starts"
            at_BK, counts_BK, share_BK = self._choose_words(ids_BS, draws, starts_word_BS)
        else:
            at_BK, counts_BK = self._choose_tokens(ids_BS, draws)
            share_BK = draws("how", num)
        true_BK = ids_BS.gather(1, at_BK)
        share_BK = share_BK.double() / 2**32
        other_BK = self.ordinary_ids[draws("other", num) % len(self.ordinary_ids)]
        shown_BK = torch.where(share_BK < MASKED_SHARE, self.mask, true_BK)
        is_random = (share_BK >= MASKED_SHARE) & (share_BK < MASKED_SHARE + RANDOM_SHARE)
        shown_BK = torch.where(is_random, other_BK, shown_BK)
        shown_BK = torch.where(counts_BK, shown_BK, true_BK)
        return Masked(ids_BS.scatter(1, at_BK, shown_BK), at_BK, torch.where(counts_BK, true_BK, IGNORED))

    def _choose_tokens(self, ids_BS: Tensor, draws: RowDraws) -> tuple[Tensor, Tensor]:
        """Return K positions per row, and which of them count."""
        length, num = ids_BS.shape[1], self.num_predictions
        candidate_BS = self.is_ordinary_V[ids_BS]
        # The K highest draws win; adding the position makes draws distinct, so that ties cannot differ by device.
        scores_BS = draws("which", length) * length + torch.arange(length, device=ids_BS.device)
        at_BK = torch.where(candidate_BS, scores_BS, -1).topk(num, dim=1).indices
        # Rounded up or down at random, so that the share is `rate` at every length: 4.5 of 30 tokens is 4 or 5.
        wanted_B = (candidate_BS.sum(1) * self.rate + draws("how many", 1)[:, 0].double() / 2**32).floor()
        return at_BK, torch.arange(num, device=ids_BS.device)[None, :] < wanted_B[:, None]

    def _choose_words(self, ids_BS: Tensor, draws: RowDraws, starts_word_BS: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return K positions per row, which of them count, and for each the draw that decides how its word is hidden.

        Words stand in random order on a circle, and a window as long as the share opens at a random token of it; the
        words that start in the window are chosen. So each word is chosen with probability `rate`, whatever its length
        and its row's: taking words until the share is full would leave out long ones at the end.
        """
        length, num = ids_BS.shape[1], self.num_predictions
        candidate_BS = self.is_ordinary_V[ids_BS]
        word_BS = words_of(candidate_BS, starts_word_BS)
        total_B1 = candidate_BS.sum(1, keepdim=True)
        lucks_B2 = draws("how many", 2)
        wanted_B1 = (total_B1 * self.rate + lucks_B2[:, :1].double() / 2**32).floor()
        # The window opens at `cut` tokens into word `open`: that word comes first, or, if cut > 0, last.
        is_open_BS = candidate_BS & (candidate_BS.cumsum(1) - 1 == lucks_B2[:, 1:] % total_B1.clamp(min=1))
        open_B1 = (word_BS * is_open_BS).sum(1, keepdim=True)
        of_open_BS = candidate_BS & (word_BS == open_B1)
        cut_B1 = (of_open_BS & (is_open_BS.flip(1).cumsum(1).flip(1) - is_open_BS.long() > 0)).sum(1, keepdim=True)
        left_B1 = torch.where(cut_B1 > 0, of_open_BS.sum(1, keepdim=True) - cut_B1, 0)
        scores_BS = draws("which", length).gather(1, word_BS) + 1
        scores_BS = torch.where(of_open_BS, torch.where(cut_B1 > 0, 0, 2**32 + 1), scores_BS) * length + word_BS
        # All tokens of a word share its score; the position puts them in order behind each other.
        keys_BS = scores_BS * length + torch.arange(length, device=ids_BS.device).flip(0)
        at_BK = torch.where(candidate_BS, keys_BS, -1).topk(num, dim=1).indices
        chosen_BK = word_BS.gather(1, at_BK)
        rank_K = torch.arange(num, device=ids_BS.device)
        is_first_BK = torch.ones_like(chosen_BK, dtype=torch.bool)
        is_first_BK[:, 1:] = chosen_BK[:, 1:] != chosen_BK[:, :-1]
        begin_BK = torch.where(is_first_BK, rank_K, 0).cummax(1).values
        counts_BK = (left_B1 + begin_BK < wanted_B1) & candidate_BS.gather(1, at_BK)
        return at_BK, counts_BK, draws("how", length).gather(1, chosen_BK)


def words_of(candidate_BS: Tensor, starts_word_BS: Tensor) -> Tensor:
    """Return the number of the word that each position is in, from 0; long words are cut into pieces.

    A word begins where `starts_word_BS` says so, or after a position that cannot be masked.
    """
    length = candidate_BS.shape[1]
    at_S = torch.arange(length, device=candidate_BS.device)
    begins_BS = starts_word_BS | ~candidate_BS
    begins_BS[:, 1:] |= ~candidate_BS[:, :-1]
    begins_BS[:, 0].fill_(True)
    start_BS = torch.where(begins_BS, at_S, 0).cummax(1).values
    begins_BS |= (at_S - start_BS) % LONGEST_WORD == 0
    return begins_BS.long().cumsum(1) - 1


Objective = Callable[..., PretrainingBatch]
"""Turns rows of the corpus and their draws into the model's inputs and targets, by a `masking` if it masks."""


def bag_chances(counts_V: Int64s, is_ordinary_V: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Return how likely an occurrence of each token is to be drawn for a bag, relative to a rare token's: (V,)."""
    shares = counts_V / max(counts_V.sum(), 1)
    return np.where(is_ordinary_V, np.sqrt(FREQUENT / np.maximum(shares, FREQUENT)), 0.0)


def draw_bag(ids_BS: Tensor, draws: RowDraws, chances_V: Tensor) -> Tensor:
    """Return BAG_TOKENS different positions' tokens of each row: (B, J), IGNORED where a row has too few."""
    lucks_BS = (draws("bag", ids_BS.shape[1]).double() + 0.5) / 2**32
    chances_BS = chances_V[ids_BS]
    # The largest of log(u) / chance are a weighted draw without replacement (Efraimidis and Spirakis, 2006).
    keys_BS = torch.where(chances_BS > 0, lucks_BS.log() / chances_BS, -math.inf)
    best_BJ = keys_BS.topk(min(BAG_TOKENS, ids_BS.shape[1]), dim=1)
    return torch.where(best_BJ.values > -math.inf, ids_BS.gather(1, best_BJ.indices), IGNORED)


def masked_batch(
    rows: Rows[Tensor],
    draws: RowDraws,
    *,
    masking: Masking,
    pad: int,
    has_padding: bool,
    bag_chances_V: Tensor | None = None,
) -> PretrainingBatch:
    """Return a batch of masked rows, with bags of their tokens if `bag_chances_V` is given."""
    masked = masking(rows.ids_BS, draws, starts_word_BS=rows.starts_word_BS)
    bag_BJ = None
    if bag_chances_V is not None:
        bag_BJ = draw_bag(rows.ids_BS, draws, bag_chances_V)
        masked = masked._replace(at_BK=F.pad(masked.at_BK, (0, 1)))  # 0, the position of [CLS]
    packing = None
    if rows.blocks_BS is not None:
        assert rows.positions_BS is not None
        packing = Packing(rows.blocks_BS, rows.positions_BS)
    return PretrainingBatch(
        *masked,
        keep_BS=rows.ids_BS != pad if has_padding else None,
        segments_BS=rows.segments_BS,
        packing=packing,
        starts_BC=rows.starts_BC,
        orders_BC=rows.orders_BC,
        labels_BC=rows.labels_BC,
        bag_BJ=bag_BJ,
    )


def causal_batch(rows: Rows[Tensor], draws: RowDraws, *, is_ignored_V: Tensor) -> PretrainingBatch:
    """Return a batch whose targets are the next tokens, except padding and [UNK]."""
    assert rows.next_BS is not None
    return PretrainingBatch(rows.ids_BS, None, torch.where(is_ignored_V[rows.next_BS], IGNORED, rows.next_BS))
