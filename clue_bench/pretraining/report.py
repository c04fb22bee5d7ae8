"""The periodic report of a pretraining run, for progress displays, metrics.jsonl and trackers."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class TrainingReport:
    """What happened since the last report; as a line of metrics.jsonl it has these keys, null for None.

    `step` counts the steps of both stages together; `stage` is 1 or 2; `learning_rate` is the last step's. Losses
    (nats) and accuracies are means over the predictions made: `lm_loss` and `lm_accuracy` over masked or next tokens,
    `sop_…` over texts in two parts (None without sentence order), `bag_loss` over the tokens that [CLS] predicts (None
    without bags), `loss` their sum, that of bags by the recipe's `bag_weight`. `held_out_…` are those of the held-out
    part, None between two evaluations. `gradient_norm` is the last step's before clipping; `skipped` counts the
    updates so far that were left out as not finite. Tokens are positions of the rows, special tokens and padding
    included; `useful_share` is the share that is not padding. `mfu` and `hfu` are shares of what matrix products reach
    on this machine: `model_flops_per_second` are the model's nominal FLOPs, every layer in full, and
    `hardware_flops_per_second` those computed (None, as `hfu`, in older metrics). `seconds` is the training time so
    far, without evaluations. `loss_scale` is what losses are multiplied by in fp16, None elsewhere;
    `micro_batch` the rows of the last forward pass, None in older metrics; `mask_rate` the share of tokens that the
    last step predicted, 0 for next tokens, None in older metrics: training losses at two shares do not compare.
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
    bag_loss: float | None
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
    hardware_flops_per_second: float | None = None
    hfu: float | None = None
    loss_scale: float | None = None
    micro_batch: int | None = None
    mask_rate: float | None = None

    @property
    def held_out_perplexity(self) -> float | None:
        """Return e to the held-out loss, of masked tokens where tokens are masked; at most e to the 50."""
        return None if self.held_out_loss is None else math.exp(min(self.held_out_loss, 50.0))
