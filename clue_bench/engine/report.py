"""What a pretraining run says about itself: one report every so many steps.

Enters: sums over predictions. Leaves: means, in a frozen `Report` that progress, metrics.jsonl and trackers consume.
"""

from dataclasses import dataclass

import torch

from clue_bench.engine.step import Sums


@dataclass(frozen=True)
class Report:
    """What happened since the last report.

    Losses (nats) and accuracies are means over the predictions made: `lm_loss` and `lm_accuracy` over masked or next
    tokens, `sop_…` over texts in two parts (None without sentence order), `loss` their sum. `held_out_…` are those of
    the held-out part, None between two looks at it. `gradient_norm` is the last step's before clipping; `skipped`
    counts the updates so far that were left out as not finite. Tokens are positions of the rows, special tokens and
    padding included; `useful_share` is the share that is no padding. `mfu` is the model's FLOPs against what this
    machine's matrix products reach.
    """

    step: int
    stage: int
    loss: float
    lm_loss: float
    lm_accuracy: float
    sop_loss: float | None
    sop_accuracy: float | None
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


@dataclass(frozen=True)
class Means:
    """Means of `step.Sums`, None over nothing."""

    lm_loss: float | None = None
    lm_accuracy: float | None = None
    sop_loss: float | None = None
    sop_accuracy: float | None = None
    tokens: float = 0.0
    tokens: float = 0.0

    @classmethod
    def of(cls, sums: Sums) -> "Means":
        """Return the means of `sums`. Reading them waits for the device."""
        loss, correct, predictions, order_loss, order_correct, orders, tokens = torch.stack(sums).tolist()
        lm = (loss / predictions, correct / predictions) if predictions else (None, None)
        sop = (order_loss / orders, order_correct / orders) if orders else (None, None)
        return cls(*lm, *sop, tokens)
