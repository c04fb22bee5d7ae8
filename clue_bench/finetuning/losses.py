"""What fine-tuning minimises: cross-entropy, with smoothed labels or the R-Drop term.

Legend: B rows, C classes.
"""

import torch.nn.functional as F
from torch import Tensor


def classification_loss(logits_BC: Tensor, labels_B: Tensor, *, smoothing: float) -> Tensor:
    """Return the mean cross-entropy (nats).

    With `smoothing` e the target is 1 - e on the label and e spread over all classes (Szegedy et al. 2016).
    """
    return F.cross_entropy(logits_BC.float(), labels_B, label_smoothing=smoothing)


def r_drop_loss(one_BC: Tensor, other_BC: Tensor, labels_B: Tensor, *, alpha: float, smoothing: float) -> Tensor:
    """Return the loss of two passes with different dropout masks (R-Drop, Liang et al. 2021).

    The mean of their cross-entropies, plus `alpha` times the mean of the two divergences between their distributions,
    per row.
    """
    entropy = (
        classification_loss(one_BC, labels_B, smoothing=smoothing)
        + classification_loss(other_BC, labels_B, smoothing=smoothing)
    ) / 2
    one, other = one_BC.float().log_softmax(-1), other_BC.float().log_softmax(-1)
    there = F.kl_div(one, other, reduction="batchmean", log_target=True)
    back = F.kl_div(other, one, reduction="batchmean", log_target=True)
    return entropy + alpha * (there + back) / 2
