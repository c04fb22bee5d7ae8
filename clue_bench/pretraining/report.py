"""What a pretraining run says about itself: one report every so many steps.

Input: sums over predictions. Output: means, in a frozen `Report` that progress, metrics.jsonl and trackers consume.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

from clue_bench.pretraining.step import Sums


@dataclass(frozen=True)
class Report:
    """What happened since the last report, and a line of metrics.jsonl: these are its keys, null where there is None.

    `step` is the last one's number, of both stages together; `stage` is 1 or 2; `learning_rate` is the last step's.
    Losses (nats) and accuracies are means over the predictions made: `lm_loss` and `lm_accuracy` over masked or next
    tokens, `sop_…` over texts in two parts (None without sentence order), `loss` their sum. `held_out_…` are those of
    the held-out part, None between two looks at it. `gradient_norm` is the last step's before clipping; `skipped`
    counts the updates so far that were left out as not finite. Tokens are positions of the rows, special tokens and
    padding included; `useful_share` is the share that is no padding. `mfu` is the model's FLOPs against what this
    machine's matrix products reach. `seconds` are those of training so far, looks at the held-out part left out.
    """

    step: int
    stage: int
    loss: float
    lm_loss: float
    lm_accuracy: float
    sop_loss: float | None
    sop_accuracy: float | None
    pair_loss: float | None
    pair_accuracy: float | None
    held_out_loss: float | None
    held_out_accuracy: float | None
    held_out_sop_accuracy: float | None
    learning_rate: float
    gradient_norm: float
    skipped: int
    tokens: int
    useful_share: float
    tokens_per_second: float
    model_flops_per_second: float
    mfu: float
    seconds: float

    @property
    def held_out_perplexity(self) -> float | None:
        """E to the held-out loss, of masked tokens where tokens are masked; at most e to the 50."""
        return None if self.held_out_loss is None else math.exp(min(self.held_out_loss, 50.0))


class Mean(NamedTuple):
    """Mean loss and accuracy of one head."""

    loss: float
    accuracy: float


class Means(NamedTuple):
    """Means of `step.Sums`, None over nothing."""

    lm: Mean | None = None
    sop: Mean | None = None
    pair: Mean | None = None
    tokens: int = 0

    @classmethod
    def of(cls, sums: Sums) -> "Means":
        """Return the means of `sums`. Reading them waits for the device."""
        lm, sop, pair = [Mean(loss / num, right / num) if num else None for loss, right, num in sums.heads_33.tolist()]
        return cls(lm, sop, pair, int(sums.tokens))
